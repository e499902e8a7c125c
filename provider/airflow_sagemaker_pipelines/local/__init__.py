"""A local AWS endpoint for a first try and for offline tests. Nothing else in the package imports it.

As a process: ``python -m airflow_sagemaker_pipelines.local --port 5005``. In a test: the ``local_sagemaker``
fixture. In a program: :class:`LocalEndpoint`. It needs ``airflow-provider-sagemaker-pipelines[local]``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .endpoint import LocalEndpoint
    from .pipelines.settings import PipelineSettings
    from .rules import Rule

__all__ = ["LocalEndpoint", "PipelineSettings", "Rule"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is used: pytest loads this package for its plugin, and moto takes a second."""
    if name == "LocalEndpoint":
        from .endpoint import LocalEndpoint  # noqa: PLC0415

        return LocalEndpoint
    if name == "Rule":
        from .rules import Rule  # noqa: PLC0415

        return Rule
    if name == "PipelineSettings":
        from .pipelines.settings import PipelineSettings  # noqa: PLC0415

        return PipelineSettings
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
