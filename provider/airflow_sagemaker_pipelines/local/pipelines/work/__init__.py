"""What each type of step does: a function that begins an attempt.

It returns the outcome if there is one already, else None; then it has seen to it that the outcome is handed in by the
context later, and has set ``run.stop`` if what it began can be stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from airflow_sagemaker_pipelines.definition import StepType

from .. import callbacks, loops
from ..calls import StepError
from . import checks, cleanup, emr, emr_serverless, functions, instant, jobs, lineage, registry, serving

if TYPE_CHECKING:
    from ..context import Context
    from ..step_run import Outcome

_WORK: Mapping[StepType, Callable[[Context], Outcome | None]] = {
    StepType.PROCESSING: jobs.begin,
    StepType.TRAINING: jobs.begin,
    StepType.TUNING: jobs.begin,
    StepType.TRANSFORM: jobs.begin,
    StepType.AUTO_ML: jobs.begin,
    StepType.JOB: jobs.begin,
    StepType.QUALITY_CHECK: checks.begin,
    StepType.CLARIFY_CHECK: checks.begin,
    StepType.MODEL: registry.create_model,
    StepType.REGISTER_MODEL: registry.register,
    StepType.ENDPOINT_CONFIG: serving.create_config,
    StepType.ENDPOINT: serving.deploy_endpoint,
    StepType.INFERENCE_COMPONENT: serving.deploy_component,
    StepType.CONDITION: instant.decide,
    StepType.FAIL: instant.fail,
    StepType.CALLBACK: callbacks.begin,
    StepType.LAMBDA: functions.begin,
    StepType.EMR: emr.begin,
    StepType.EMR_SERVERLESS: emr_serverless.begin,
    StepType.LINEAGE: lineage.begin,
    StepType.CLEANUP: cleanup.begin,
    StepType.FOR_EACH: loops.begin,
}


def begin(context: Context) -> Outcome | None:
    """Begin an attempt of a step.

    :raises StepError: if it cannot be done.
    """
    work = _WORK.get(context.step.type)
    if work is None:
        raise StepError(f"Steps of type {context.step.type} are not supported by the local endpoint")
    return work(context)
