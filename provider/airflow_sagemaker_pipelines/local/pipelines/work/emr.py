"""EMR steps: on a cluster that runs, or on one made for the step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..calls import CallError, StepError, emr
from ..dates import with_times_as_text
from ..step_run import FAILED, STOPPED, STOPPING, Outcome

if TYPE_CHECKING:
    from ..context import Context


def begin(context: Context) -> None:
    """Add the step, or run the cluster with it; the pipeline's step ends with EMR's."""
    arguments = context.arguments
    name = context.job_name
    step = _step(context, arguments["StepConfig"], name)
    config = arguments.get("ClusterConfig")
    if config is None:
        cluster = str(arguments["ClusterId"])
        role = {key: arguments[key] for key in ("ExecutionRoleArn",) if key in arguments}
        added = emr(context.engine, "AddJobFlowSteps", JobFlowId=cluster, Steps=[step], **role)
        step_id = str(added["StepIds"][0])
    else:
        cluster, step_id = _run_cluster(context, config, step, name)
    context.run.metadata = {"EMR": {"ClusterId": cluster, "StepId": step_id, "StepName": name}}
    context.run.stop = lambda: _stop(context, cluster, step_id)
    _backend(context).when_step_over(cluster, step_id, lambda: context.settle(lambda: _outcome(context)))


def _step(context: Context, config: Mapping[str, Any], name: str) -> dict[str, Any]:
    if not isinstance(config.get("HadoopJarStep"), Mapping):
        raise StepError("StepConfig has no HadoopJarStep")
    jar = dict(config["HadoopJarStep"])
    if "Properties" in jar:
        # The developer guide's example spells them in lower case, EMR does not.
        jar["Properties"] = [{key.capitalize(): value for key, value in item.items()} for item in jar["Properties"]]
    action = config.get("ActionOnFailure", context.settings.emr_action_on_failure)
    return {"Name": name, "ActionOnFailure": action, "HadoopJarStep": jar}


def _run_cluster(context: Context, config: Mapping[str, Any], step: Mapping[str, Any], name: str) -> tuple[str, str]:
    instances = {
        **(config.get("Instances") or {}),
        "KeepJobFlowAliveWhenNoSteps": False,
        "TerminationProtected": False,
    }
    request = {**config, "Name": name, "Instances": instances, "Steps": [step]}
    cluster = str(emr(context.engine, "RunJobFlow", **request)["JobFlowId"])
    steps = emr(context.engine, "ListSteps", ClusterId=cluster)["Steps"]
    return cluster, str(steps[0]["Id"])


def _backend(context: Context) -> Any:
    # moto takes most of a second to import EMR.
    from moto.emr.models import emr_backends  # noqa: PLC0415

    store = context.engine.store
    return emr_backends[store.account][store.region]


def _stop(context: Context, cluster: str, step_id: str) -> None:
    try:
        if "ClusterConfig" in context.arguments:
            emr(context.engine, "TerminateJobFlows", JobFlowIds=[cluster])
        else:
            emr(context.engine, "CancelSteps", ClusterId=cluster, StepIds=[step_id])
    except CallError:
        # It is over, which somebody tells us right now.
        return


def _outcome(context: Context) -> Outcome:
    place = context.run.metadata["EMR"]
    cluster, step_id = place["ClusterId"], place["StepId"]
    step = emr(context.engine, "DescribeStep", ClusterId=cluster, StepId=step_id)["Step"]
    status = step["Status"]
    if status["State"] == "COMPLETED":
        return Outcome(outputs={**with_times_as_text(_plain(step)), "ClusterId": cluster})
    reason = (status.get("FailureDetails") or {}).get("Message")
    if status["State"] == "CANCELLED":
        if context.run.status == STOPPING:
            return Outcome(status=STOPPED)
        found = emr(context.engine, "DescribeCluster", ClusterId=cluster)["Cluster"]["Status"]
        reason = reason or (found.get("StateChangeReason") or {}).get("Message")
    return Outcome(status=FAILED, reason=reason or f"The EMR step is in state {status['State']}")


def _plain(node: Any) -> Any:
    if isinstance(node, list):
        return [_plain(item) for item in node]
    if isinstance(node, Mapping):
        return {key: _plain(item) for key, item in node.items()}
    return node.timestamp() if hasattr(node, "timestamp") else node
