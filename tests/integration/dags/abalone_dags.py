"""The Airflow DAGs of test_real_airflow.py."""

import json
from datetime import datetime, timedelta
from pathlib import Path

from airflow_sagemaker_pipelines import pipeline_dag

ROLE = "arn:aws:iam::123456789012:role/SageMakerPipelineRole"
DEFINITION = Path(__file__).parent / "abalone.json"

# catchup=False: of all the days since, only the last one runs, as soon as the DAG is unpaused.
daily = pipeline_dag(
    "abalone",
    DEFINITION,
    role_arn=ROLE,
    parameters={"InputDataUrl": "s3://lake/abalone/{{ dag_run.run_after | ds }}"},
    poll_interval=2,
    schedule="@daily",
    start_date=datetime(2025, 1, 1),
    catchup=False,
)

_train = next(step for step in json.loads(DEFINITION.read_text())["Steps"] if step["Name"] == "Train")
long = pipeline_dag(
    "long",
    {
        "Version": "2020-12-01",
        "Parameters": [{"Name": "InputDataUrl", "Type": "String", "DefaultValue": "s3://lake/abalone"}],
        "Steps": [_train | {"Name": "TrainForHours"}],
    },
    role_arn=ROLE,
    poll_interval=2,
    schedule=None,
)

_evaluate = next(step for step in json.loads(DEFINITION.read_text())["Steps"] if step["Name"] == "Evaluate")


def _processing(name, **keys):
    """Make a Processing step without references out of the definition's."""
    arguments = {key: item for key, item in _evaluate["Arguments"].items() if key != "ProcessingInputs"}
    return {"Name": name, "Type": "Processing", "Arguments": arguments, **keys}


rules = pipeline_dag(
    "rules",
    {
        "Version": "2020-12-01",
        "Steps": [
            {
                "Name": "Loop",
                "Type": "ForEach",
                "Arguments": {"IterableItems": ["a", "b"], "MaxConcurrency": 2, "ForEachBody": [_processing("Each")]},
            },
            # The endpoint lets its first job fail.
            _processing(
                "Retried",
                RetryPolicies=[{"ExceptionType": ["SageMaker.CAPACITY_ERROR"], "IntervalSeconds": 1, "MaxAttempts": 1}],
            ),
            _processing("Broken"),
            _processing("Handler", DependsOn=[{"Step": "Broken", "Trigger": "Failed"}, "Loop"]),
            _processing("Unreached", DependsOn=["Broken"]),
        ],
    },
    role_arn=ROLE,
    poll_interval=2,
    schedule=None,
    # Airflow 3.3 takes the delay from the retry policy instead.
    default_args={"retry_delay": timedelta(seconds=1)},
)
