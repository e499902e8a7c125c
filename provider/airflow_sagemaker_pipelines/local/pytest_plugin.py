"""Pytest plugin: the ``local_sagemaker`` fixture.

Installed with the package, so it is imported by every pytest run of the environment: it imports nothing heavy.

A test of a DAG, offline::

    def test_training_fails(local_sagemaker):
        local_sagemaker.rule(kind="Training", outcome="Failed", reason="AlgorithmError: no data")
        dag_run = dag.test()
        assert dag_run.state == "failed"
        assert local_sagemaker.calls()["sagemaker.CreateTrainingJob"] == 1
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .endpoint import LocalEndpoint

NO_MOTO = "The local_sagemaker fixture needs moto: pip install 'airflow-provider-sagemaker-pipelines[local]' ({error})"
# They would win over, or spoil, the dummy credentials.
_UNWANTED = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN", "AWS_ROLE_ARN")


@pytest.fixture(scope="session")
def local_sagemaker_settings() -> dict[str, Any]:
    """Settings of the session's endpoint; override the fixture in a conftest.py, e.g. ``{"run_code": True}``."""
    return {"duration": 0.2}


@pytest.fixture(scope="session")
def local_sagemaker_session(local_sagemaker_settings: dict[str, Any]) -> Iterator[LocalEndpoint]:
    """Run one endpoint for all tests of a session: it takes a second to start."""
    try:
        from .endpoint import LocalEndpoint  # noqa: PLC0415 - only a session that uses it pays for it
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("moto", "werkzeug", "flask", "flask_cors"):
            raise
        pytest.fail(NO_MOTO.format(error=error), pytrace=False)
    with LocalEndpoint(**local_sagemaker_settings) as endpoint:
        yield endpoint


@pytest.fixture
def local_sagemaker(local_sagemaker_session: LocalEndpoint, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalEndpoint]:
    """Give a test an empty local AWS: Airflow's ``aws_default`` and plain boto3 both reach it, with no other set-up.

    After the test everything in it is forgotten, and jobs that still run are ended.
    """
    for name in _UNWANTED:
        monkeypatch.delenv(name, raising=False)
    for name, value in local_sagemaker_session.environment().items():
        monkeypatch.setenv(name, value)
    local_sagemaker_session.reset()
    yield local_sagemaker_session
    local_sagemaker_session.reset()
