"""Run Amazon SageMaker Pipelines definitions as Apache Airflow DAGs."""

from __future__ import annotations

__version__ = "0.1.0"
