"""What is done to pipelines that are deployed in SageMaker, and to their executions.

boto3 clients are passed in; nothing here knows Airflow.
"""
