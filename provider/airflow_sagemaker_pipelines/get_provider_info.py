"""What Airflow reads about this provider at every start."""

from __future__ import annotations

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """Describe the provider to Airflow.

    Every Airflow process calls this while it imports, and an error here stops all of them; so it is a constant.
    """
    return {
        "package-name": "airflow-provider-sagemaker-pipelines",
        "name": "Amazon SageMaker Pipelines",
        "description": "Run Amazon SageMaker Pipelines definitions as Airflow DAGs: a task per step.",
        # Airflow 3.2 and later.
        "cli": ["airflow_sagemaker_pipelines.cli.definition.get_cli_commands"],
    }
