"""Pytest plugin: the ``local_sagemaker`` fixture."""
