"""The XCom keys under which a step's task leaves more than its result."""

from __future__ import annotations

#: What the task has made, before it waits: for people, and for whoever must stop it.
HANDLE_KEY = "sagemaker_resource"

#: The job of an earlier run whose result stands in for one of this run.
CACHE_HIT_KEY = "sagemaker_cache_hit"

#: By which definition the task ran.
DEFINITION_KEY = "sagemaker_definition"

#: How the task ended where Airflow only knows "failed".
OUTCOME_KEY = "sagemaker_outcome"
STOPPED = "stopped"

#: The execution of the SageMaker pipeline that a run is in, and what its tasks have seen of it.
EXECUTION_KEY = "sagemaker_execution"
SEEN_KEY = "sagemaker_seen"

#: By which callback SageMaker asks for the work of a Callback step, and with which arguments.
CALLBACK_KEY = "sagemaker_callback"
