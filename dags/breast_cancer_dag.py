"""A SageMaker pipeline as an Airflow DAG: every step of the definition is a task.

The definition is what `pipeline.definition()` of the SageMaker SDK returned; `breast_cancer/build_definition.py` has
saved it. Its parameters are the fields of the *Trigger* form: raise `AccuracyThreshold` above what the model reaches,
and the run takes the other branch of the condition.
"""

from datetime import datetime
from pathlib import Path

from airflow_sagemaker_pipelines import pipeline_dag

dag = pipeline_dag(
    dag_id="breast_cancer",
    definition=Path(__file__).parent / "breast_cancer" / "definition.json",
    orchestrator="airflow",
    role_arn="arn:aws:iam::123456789012:role/SageMakerPipelineRole",
    # A schedule such as "@daily" goes here, and so does every other argument of a DAG.
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    tags=["sagemaker", "example"],
)
