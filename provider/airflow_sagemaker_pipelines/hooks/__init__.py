"""From an Airflow connection to AWS clients."""
