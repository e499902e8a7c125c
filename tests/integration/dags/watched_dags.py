"""The Airflow DAGs of test_real_sagemaker.py: SageMaker walks the graph."""

import json
from datetime import timedelta
from pathlib import Path

from airflow_sagemaker_pipelines import pipeline_dag

ROLE = "arn:aws:iam::123456789012:role/SageMakerPipelineRole"
DEFINITION = Path(__file__).parent / "abalone.json"

_evaluate = next(step for step in json.loads(DEFINITION.read_text())["Steps"] if step["Name"] == "Evaluate")


def _processing(name, **keys):
    """Make a Processing step without references out of the definition's."""
    arguments = {key: item for key, item in _evaluate["Arguments"].items() if key != "ProcessingInputs"}
    return {"Name": name, "Type": "Processing", "Arguments": arguments, **keys}


def _dag(dag_id, *steps, **arguments):
    return pipeline_dag(
        dag_id,
        {"Version": "2020-12-01", "Steps": list(steps)},
        orchestrator="sagemaker",
        role_arn=ROLE,
        poll_interval=2,
        schedule=None,
        default_args={"retry_delay": timedelta(seconds=1)},
        **arguments,
    )


# A step whose job the endpoint lets fail once, or run for hours, says so in its name.
watched = _dag(
    "watched",
    _processing("First"),
    _processing("Second", DependsOn=["First"]),
    _processing("FailsOnce", DependsOn=["First"]),
    _processing("Last", DependsOn=["Second", "FailsOnce"]),
)
killed = _dag("killed", _processing("RunsForHours"), _processing("GoesOn"), _processing("After", DependsOn=["GoesOn"]))
stopped = _dag("stopped", _processing("RunsForHours"), _processing("After", DependsOn=["RunsForHours"]))
