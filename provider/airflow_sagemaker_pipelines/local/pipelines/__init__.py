"""Pipelines and their executions: SageMaker's own walk over a definition's steps.

The steps make real jobs of this endpoint, as the service does: with its names, its role, its requests. ``store`` holds
pipelines and versions, ``execution`` walks the graph, ``work`` has a module per sort of step, ``api`` and
``execution_api`` answer requests. What AWS does not document is a choice in ``settings``.
"""
