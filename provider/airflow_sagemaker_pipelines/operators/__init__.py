"""Airflow tasks that run the steps of a pipeline."""
