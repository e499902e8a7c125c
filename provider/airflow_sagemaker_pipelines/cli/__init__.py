"""``airflow sagemaker-pipelines …``."""
