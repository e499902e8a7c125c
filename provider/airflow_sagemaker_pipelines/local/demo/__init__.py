"""The demo: a real Airflow runs the example pipelines against the local AWS endpoint.

`python -m airflow_sagemaker_pipelines.local.demo`, or `make demo`.
"""
