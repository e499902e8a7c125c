"""EMR steps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from airflow_sagemaker_pipelines.definition import StepType
from airflow_sagemaker_pipelines.steps.aws import Clients, aws_call, error_code, required, to_json
from airflow_sagemaker_pipelines.steps.errors import StepCallError, StepRequestError
from airflow_sagemaker_pipelines.steps.job import operation_name, without_nulls
from airflow_sagemaker_pipelines.steps.names import MAX_GENERATIONS
from airflow_sagemaker_pipelines.steps.runner import Handle, State, StepRun, StepRunner
from airflow_sagemaker_pipelines.steps.status import Verdict, verdict

#: UNCERTAIN: what the service gives a step whose definition says nothing. EMR's own default, TERMINATE_CLUSTER, would
#: take down a cluster that others use.
DEFAULT_ACTION_ON_FAILURE = "CONTINUE"

#: Lists are read back to the start of the DAG run; what is older cannot be this run's. The margin covers clocks that
#: disagree.
CLOCK_MARGIN = timedelta(hours=1)

#: AWS answers a cancellation on a cluster that is gone with one of these.
_NOTHING_TO_STOP = frozenset({"InvalidRequestException", "ValidationException"})


class EMR(StepRunner):
    """A step on an EMR cluster: on one that runs (``ClusterId``), or on one made for it (``ClusterConfig``).

    EMR takes two steps, or two clusters, of one name, and knows no idempotency tokens. So the step and its cluster
    have names that are the same at every try, and before anything is made, what the list calls show is searched for
    them (which takes permission for ListSteps, ListClusters and DescribeCluster). botocore does not repeat
    AddJobFlowSteps and RunJobFlow by itself; when their answer is lost, the lists are searched once more, and only
    another try of the task adds again. What remains possible: the answer is lost, and EMR's lists show the step or
    cluster only after the next try has looked. Then there are two, and the later one counts.

    A cluster of the step's own terminates by itself after the step, whether it succeeded or not.
    """

    step_type = StepType.EMR
    noun = "EMR step"

    def request(self, run: StepRun) -> dict[str, Any]:
        """Return the body of AddJobFlowSteps, or that of RunJobFlow."""
        arguments: dict[str, Any] = without_nulls(run.resolve(run.step.arguments))
        if not arguments.get("StepConfig", {}).get("HadoopJarStep"):
            raise StepRequestError("its StepConfig has no HadoopJarStep", step=run.step.name)
        steps = [_step_config(arguments["StepConfig"], next(_names(run)))]
        config = arguments.get("ClusterConfig")
        if config is None:
            role = {key: value for key, value in arguments.items() if key == "ExecutionRoleArn"}
            return {"JobFlowId": arguments["ClusterId"], "Steps": steps, **role}
        ends_by_itself = {"KeepJobFlowAliveWhenNoSteps": False, "TerminationProtected": False}
        instances = {**config.get("Instances", {}), **ends_by_itself}
        return {**config, "Name": steps[0]["Name"], "Instances": instances, "Steps": steps}

    def start(self, run: StepRun, request: dict[str, Any]) -> State:
        """Add the step or run the cluster, unless an earlier try did."""
        earlier = self._earlier(run, request)
        for name in _names(run):
            found = earlier.get(name)
            if found is None:
                return self._submit(run, request, name)
            with aws_call("DescribeStep", step=run.step.name):
                state = self.poll(run.clients, found)
            if run.makes_do_with(state):
                _rename(request, name)
                return state
        raise StepRequestError(f"{MAX_GENERATIONS} {self.noun}s of this task have failed", step=run.step.name)

    def _earlier(self, run: StepRun, request: Mapping[str, Any]) -> dict[str, Handle]:
        """Return what this execution's tries may have made, by name."""
        emr, since = run.clients("emr"), run.execution.start_time - CLOCK_MARGIN
        if cluster := request.get("JobFlowId"):
            with aws_call("ListSteps", step=run.step.name):
                steps = list(_until(since, _pages(emr, "list_steps", "Steps", ClusterId=cluster)))
            return {step["Name"]: _handle(step["Name"], cluster, step["Id"]) for step in reversed(steps)}
        with aws_call("ListClusters", step=run.step.name):
            clusters = list(_pages(emr, "list_clusters", "Clusters", CreatedAfter=since))
        return {item["Name"]: _handle(item["Name"], item["Id"], None, own=True) for item in reversed(clusters)}

    def _submit(self, run: StepRun, request: dict[str, Any], name: str) -> State:
        _rename(request, name)
        try:
            handle = _add(run, request, name)
        except StepCallError:
            # Lost on the way there, or on the way back?
            found = self._earlier(run, request).get(name)
            if found is None:
                raise
            handle = found
        return State(handle=handle, verdict=Verdict.RUNNING)

    def poll(self, clients: Clients, handle: Handle) -> State:
        """Describe the step; and its cluster, as long as that may be why there is nothing to wait for."""
        emr, cluster = clients("emr"), handle["cluster"]
        step_id = handle["step"] or _step_id(emr, handle)
        step = {}
        if step_id:
            step = required(emr.describe_step(ClusterId=cluster, StepId=step_id), "Step", "DescribeStep")
        status = step.get("Status", {})
        state = State(
            handle={**handle, "step": step_id},
            verdict=verdict("StepState", status.get("State")),
            description=to_json(step) | {"ClusterId": cluster},
            reason=_reason(status),
        )
        waits = not state.verdict.is_final and not status.get("Timeline", {}).get("StartDateTime")
        if waits or state.verdict is Verdict.STOPPED:
            return _with_cluster(emr, state)
        return state

    def stop(self, clients: Clients, handle: Handle) -> None:
        """Terminate the step's own cluster, or cancel the step on another. What is over is left alone."""
        try:
            if handle["own_cluster"]:
                clients("emr").terminate_job_flows(JobFlowIds=[handle["cluster"]])
            else:
                clients("emr").cancel_steps(ClusterId=handle["cluster"], StepIds=[handle["step"]])
        except ClientError as error:
            if error_code(error) not in _NOTHING_TO_STOP:
                raise

    def resource(self, handle: Handle) -> str:
        """Name the step and its cluster."""
        return f"{super().resource(handle)} on cluster {handle.get('cluster', '')}".strip()


def _handle(name: str, cluster: str, step: str | None, *, own: bool = False) -> Handle:
    return {"name": name, "cluster": cluster, "step": step, "own_cluster": own}


def _add(run: StepRun, request: Mapping[str, Any], name: str) -> Handle:
    emr = run.clients("emr", repeats=False)
    if cluster := request.get("JobFlowId"):
        with aws_call("AddJobFlowSteps", step=run.step.name):
            (step_id,) = required(emr.add_job_flow_steps(**request), "StepIds", "AddJobFlowSteps")
        return _handle(name, cluster, step_id)
    with aws_call("RunJobFlow", step=run.step.name):
        cluster = required(emr.run_job_flow(**request), "JobFlowId", "RunJobFlow")
    # The answer has no step id; poll() asks for it.
    return _handle(name, cluster, None, own=True)


def _names(run: StepRun) -> Iterator[str]:
    """Yield the name of each generation; a name in the definition is a prefix, as it is for jobs."""
    config = run.step.arguments.get("StepConfig")
    prefix = run.resolve(config.get("Name")) if isinstance(config, Mapping) else None
    for generation in range(MAX_GENERATIONS):
        yield run.identity.name(generation, prefix=prefix)


def _rename(request: dict[str, Any], name: str) -> None:
    request["Steps"] = [request["Steps"][0] | {"Name": name}]
    if "JobFlowId" not in request:
        request["Name"] = name


def _step_config(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    jar = dict(config["HadoopJarStep"])
    if "Properties" in jar:
        # The developer guide's example spells them in lower case, EMR does not.
        jar["Properties"] = [{key.capitalize(): value for key, value in item.items()} for item in jar["Properties"]]
    return {"ActionOnFailure": DEFAULT_ACTION_ON_FAILURE, **config, "Name": name, "HadoopJarStep": jar}


def _pages(emr: Any, operation: str, member: str, **arguments: Any) -> Iterator[dict[str, Any]]:
    for page in emr.get_paginator(operation).paginate(**arguments):
        yield from required(page, member, operation_name(operation))


def _until(since: datetime, items: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield items, which come newest first, until they are too old: a cluster may have thousands of steps."""
    for item in items:
        created = item["Status"].get("Timeline", {}).get("CreationDateTime")
        if created is not None and created < since:
            return
        yield item


def _step_id(emr: Any, handle: Handle) -> str | None:
    steps = _pages(emr, "list_steps", "Steps", ClusterId=handle["cluster"])
    return next((str(step["Id"]) for step in steps if step["Name"] == handle["name"]), None)


def _with_cluster(emr: Any, state: State) -> State:
    """Say what the cluster's state makes of a step that has not begun, or was cancelled with its cluster."""
    answer = emr.describe_cluster(ClusterId=state.handle["cluster"])
    status = required(answer, "Cluster", "DescribeCluster").get("Status", {})
    judged = verdict("ClusterState", status.get("State"))
    if not judged.is_final or (judged is Verdict.STOPPED and state.verdict is Verdict.STOPPED):
        return state
    change = status.get("StateChangeReason", {})
    words = ": ".join(filter(None, (change.get("Code"), change.get("Message"))))
    reason = f"its cluster is {status['State']}{f': {words}' if words else ''}"
    return State(handle=state.handle, verdict=judged, description=state.description, reason=reason)


def _reason(status: Mapping[str, Any]) -> str | None:
    details = status.get("FailureDetails", {})
    # "Unknown Error." is EMR's usual one.
    words = ": ".join(filter(None, ((details.get("Reason") or "").rstrip("."), details.get("Message"))))
    words = words or status.get("StateChangeReason", {}).get("Message") or ""
    log = f" (log: {details['LogFile']})" if details.get("LogFile") else ""
    return f"{words}{log}".strip() or None
