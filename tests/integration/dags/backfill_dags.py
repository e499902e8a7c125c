"""The Airflow DAGs of test_backfill.py: one pipeline that scores a day, on a schedule and for backfills."""

from datetime import datetime

from airflow_sagemaker_pipelines import pipeline_dag

REGISTRY = "123456789012.dkr.ecr.us-east-1.amazonaws.com"


def definition(dag_id):
    """Make a pipeline whose jobs tell of which DAG, of which run and of which day they are."""

    def step(name, **keys):
        image = {"Std:Join": {"On": ":", "Values": [f"{REGISTRY}/{dag_id}", {"Get": "Parameters.Day"}]}}
        arguments = {
            "ProcessingResources": {
                "ClusterConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 30}
            },
            "AppSpecification": {"ImageUri": image},
            "Environment": {"DAY": {"Get": "Parameters.Day"}, "RUN": {"Get": "Parameters.Run"}},
        }
        return {"Name": name, "Type": "Processing", "Arguments": arguments, **keys}

    return {
        "Version": "2020-12-01",
        "Parameters": [{"Name": "Day", "Type": "String"}, {"Name": "Run", "Type": "String"}],
        "Steps": [step("Prepare"), step("Score", DependsOn=["Prepare"])],
    }


def daily(dag_id, orchestrator, **arguments):
    return pipeline_dag(
        dag_id,
        definition(dag_id),
        orchestrator=orchestrator,
        role_arn="arn:aws:iam::123456789012:role/SageMakerPipelineRole",
        parameters={"Day": "{{ ds }}", "Run": "{{ run_id }}"},
        poll_interval=2,
        schedule="@daily",
        start_date=datetime(2025, 1, 1),
        # The tenth day is the last one.
        end_date=datetime(2025, 1, 10),
        **arguments,
    )


# With catchup, the scheduler makes a run for each day; without, it makes none of days that have passed.
scheduled_airflow = daily("scheduled_airflow", "airflow", catchup=True, max_active_runs=3)
backfilled_airflow = daily("backfilled_airflow", "airflow", catchup=False)
scheduled_sagemaker = daily("scheduled_sagemaker", "sagemaker", catchup=True, max_active_runs=3)
backfilled_sagemaker = daily("backfilled_sagemaker", "sagemaker", catchup=False)
