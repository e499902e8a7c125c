"""What EventBridge tells of pipeline executions and of what steps make, and the queue that it tells it to.

AWS delivers the events of SageMaker, EMR and EMR Serverless by best effort: a few are lost, some come twice or late.
An event is a reason to ask AWS for the state, never the state itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_sagemaker_pipelines.definition import StepType
from airflow_sagemaker_pipelines.steps.status import VERDICTS

if TYPE_CHECKING:
    from airflow_sagemaker_pipelines.steps.aws import Clients
    from airflow_sagemaker_pipelines.steps.runner import Handle

#: An hour outlasts a restart of the triggerer; what is older has been seen by polling. Receives wait
#: for messages as long as SQS allows. EventBridge can write into an unencrypted queue, or with SQS's own key; a KMS key
#: would need a policy that lets events.amazonaws.com use it, which the key that AWS manages for SQS cannot have.
QUEUE_ATTRIBUTES: Mapping[str, int | bool] = {
    "MessageRetentionPeriod": 3600,
    "ReceiveMessageWaitTimeSeconds": 20,
    "VisibilityTimeout": 30,
    "SqsManagedSseEnabled": True,
}

_STATEMENT = "EventBridge"
_TARGET = "queue"
_DESCRIPTION = "Tells Airflow what happens in SageMaker pipeline executions, and when jobs of steps have ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class EventType:
    """Events that wake steps of one type, or who waits for a pipeline execution.

    :param step_type: the type; ``None`` for executions that SageMaker orchestrates.
    :param source: the service.
    :param detail_type: what EventBridge calls them.
    :param name_member: the member of the event's detail that names the thing.
    :param status_member: the member with its status.
    :param statuses: those that are news for somebody who waits; ``None`` if every change is.
    """

    step_type: StepType | None
    source: str
    detail_type: str
    name_member: str
    status_member: str
    statuses: frozenset[str] | None

    def is_news(self, status: Any) -> bool:
        """Whether a status is a reason to look."""
        return isinstance(status, str) and (self.statuses is None or status in self.statuses)


def _final(shape: str) -> frozenset[str]:
    return frozenset(status for status, meaning in VERDICTS[shape].items() if meaning.is_final)


def _in_events(statuses: frozenset[str]) -> frozenset[str]:
    """Add "IN_SERVICE" to "InService": AWS's example of an endpoint's event has the former."""
    return statuses | {re.sub(r"(?<=[a-z])(?=[A-Z])", "_", status).upper() for status in statuses}


def _sagemaker(step_type: StepType, words: str, stem: str, **more: Any) -> EventType:
    columns = {
        "source": "aws.sagemaker",
        "detail_type": f"SageMaker {words} State Change",
        "name_member": f"{stem}Name",
        "status_member": f"{stem}Status",
        "statuses": _final(f"{stem}Status"),
        **more,
    }
    return EventType(step_type=step_type, **columns)


def _execution(words: str, status_member: str) -> EventType:
    # One look, at the list of an execution's steps, shows the news of all of them.
    return EventType(
        step_type=None,
        source="aws.sagemaker",
        detail_type=f"SageMaker Model Building Pipeline Execution {words}Status Change",
        name_member="pipelineExecutionArn",
        status_member=status_member,
        statuses=None,
    )


#: All that AWS documents. There is none for AutoML jobs, inference components and jobs of CreateJob.
#: SageMaker: https://docs.aws.amazon.com/eventbridge/latest/ref/events-ref-sagemaker.html,
#: https://docs.aws.amazon.com/sagemaker/latest/dg/automating-sagemaker-with-eventbridge.html
#: EMR: https://docs.aws.amazon.com/emr/latest/ManagementGuide/emr-manage-cloudwatch-events.html
#: EMR Serverless: https://docs.aws.amazon.com/emr/latest/EMR-Serverless-UserGuide/using-eventbridge.html
EVENT_TYPES: tuple[EventType, ...] = (
    _sagemaker(StepType.TRAINING, "Training Job", "TrainingJob"),
    _sagemaker(StepType.PROCESSING, "Processing Job", "ProcessingJob"),
    _sagemaker(StepType.TRANSFORM, "Transform Job", "TransformJob"),
    _sagemaker(StepType.TUNING, "HyperParameter Tuning Job", "HyperParameterTuningJob"),
    _sagemaker(StepType.ENDPOINT, "Endpoint", "Endpoint", statuses=_in_events(_final("EndpointStatus"))),
    # A version in a group has no name.
    _sagemaker(StepType.REGISTER_MODEL, "Model Package", "ModelPackage", name_member="ModelPackageArn"),
    # The names of EMR steps are as unique as those of jobs, and known before the id of a step on a cluster of its own
    # is. Such a cluster has the step's name: a cluster that does not start has no step to tell of it.
    EventType(
        step_type=StepType.EMR,
        source="aws.emr",
        detail_type="EMR Step Status Change",
        name_member="name",
        status_member="state",
        statuses=_final("StepState"),
    ),
    EventType(
        step_type=StepType.EMR,
        source="aws.emr",
        detail_type="EMR Cluster State Change",
        name_member="name",
        status_member="state",
        statuses=_final("ClusterState"),
    ),
    EventType(
        step_type=StepType.EMR_SERVERLESS,
        source="aws.emr-serverless",
        detail_type="EMR Serverless Job Run State Change",
        name_member="jobRunId",
        status_member="state",
        statuses=_final("JobRunState"),
    ),
    # A step with an application of its own starts its job run when that takes one.
    EventType(
        step_type=StepType.EMR_SERVERLESS,
        source="aws.emr-serverless",
        detail_type="EMR Serverless Application State Change",
        name_member="applicationId",
        status_member="state",
        statuses=frozenset({"CREATED", "TERMINATED"}),
    ),
    _execution("", "currentPipelineExecutionStatus"),
    _execution("Step ", "currentStepStatus"),
)

_BY_DETAIL_TYPE = {row.detail_type: row for row in EVENT_TYPES}
_KINDS = frozenset(row.step_type for row in EVENT_TYPES if row.step_type)
#: Checks are processing jobs.
_KIND_OF = {StepType.QUALITY_CHECK: StepType.PROCESSING, StepType.CLARIFY_CHECK: StepType.PROCESSING}


# --- events


def resource_to_look_at(event: str | Mapping[str, Any]) -> str | None:
    """Return what an event is about, if it is a reason to look at it.

    News of a pipeline execution or of one of its steps is: any change of status. Of what a step has made, only what
    tells that there is nothing more to wait for is.

    :param event: the event, or the body of the SQS message that holds it.
    :returns: the ARN of the execution, or the key that :func:`event_key` gives for what a step has made; ``None`` for
        any other event, and for what is no event. Never raises.
    """
    document = _document(event) if isinstance(event, str) else event
    detail_type, detail = (_get(document, member) for member in ("detail-type", "detail"))
    row = _BY_DETAIL_TYPE.get(detail_type) if isinstance(detail_type, str) else None
    if row is None or _get(document, "source") != row.source:
        return None
    name = _get(detail, row.name_member)
    if not (row.is_news(_get(detail, row.status_member)) and isinstance(name, str) and name):
        return None
    return _key(row.step_type, name)


def event_key(step_type: StepType | str, handle: Handle) -> str | None:
    """Return the key that :func:`resource_to_look_at` gives for what a step has made.

    It changes with the handle: an EMR Serverless step waits for its application first, and then for its job run.

    :param step_type: the step's type.
    :param handle: what its runner returned.
    :returns: ``None`` if AWS sends no events for steps of this type: only polling sees their end.
    """
    kind = _KIND_OF.get(StepType(step_type), StepType(step_type))
    if kind not in _KINDS:
        return None
    name = handle.get("run") or handle.get("application") if kind is StepType.EMR_SERVERLESS else handle.get("name")
    return _key(kind, str(name)) if name else None


def _key(kind: StepType | None, name: str) -> str:
    # A model package is known by its ARN, or without a group by its name too; ARNs are in lower case.
    return name.rsplit(":model-package/", 1)[-1].lower() if kind is StepType.REGISTER_MODEL else name


def _document(body: str) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _get(node: Any, member: str) -> Any:
    return node.get(member) if isinstance(node, Mapping) else None


# --- the queue


def event_pattern() -> dict[str, Any]:
    """Return the pattern of a rule that matches what :func:`resource_to_look_at` understands, and nothing else."""
    statuses: dict[str, set[str]] = {}
    for row in EVENT_TYPES:
        statuses.setdefault(row.status_member, set()).update(row.statuses or ())
    return {
        "source": sorted({row.source for row in EVENT_TYPES}),
        "detail-type": [row.detail_type for row in EVENT_TYPES],
        "detail": {"$or": [{member: sorted(found) or [{"exists": True}]} for member, found in statuses.items()]},
    }


def queue_policy(queue_arn: Any, rule_arn: Any) -> dict[str, Any]:
    """Return the queue's policy, by which the rule, and only the rule, may write into it.

    :param queue_arn: the queue's ARN, or a CloudFormation function that gives it.
    :param rule_arn: the rule's.
    """
    statement = {
        "Sid": _STATEMENT,
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue_arn,
        "Condition": {"ArnEquals": {"aws:SourceArn": rule_arn}},
    }
    return {"Version": "2012-10-17", "Statement": [statement]}


def cloudformation_template(*, queue_name: str, rule_name: str) -> dict[str, Any]:
    """Return a CloudFormation template that makes the same as :func:`create_event_queue`."""
    queue_arn, rule_arn = {"Fn::GetAtt": ["Queue", "Arn"]}, {"Fn::GetAtt": ["Rule", "Arn"]}
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": f"{_DESCRIPTION}.",
        "Resources": {
            "Queue": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": queue_name, **QUEUE_ATTRIBUTES}},
            "QueuePolicy": {
                "Type": "AWS::SQS::QueuePolicy",
                "Properties": {"Queues": [{"Ref": "Queue"}], "PolicyDocument": queue_policy(queue_arn, rule_arn)},
            },
            "Rule": {
                "Type": "AWS::Events::Rule",
                "Properties": {
                    "Name": rule_name,
                    "EventPattern": event_pattern(),
                    "Targets": [{"Id": _TARGET, "Arn": queue_arn}],
                },
            },
        },
        "Outputs": {"QueueUrl": {"Value": {"Ref": "Queue"}}, "QueueArn": {"Value": queue_arn}},
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class EventQueue:
    """A queue, and the rule that feeds it."""

    url: str
    arn: str
    rule_arn: str


def create_event_queue(clients: Clients, *, queue_name: str, rule_name: str) -> EventQueue:
    """Make the queue and the rule that feeds it, or bring what exists up to date.

    Called again, or after it was cut short, it does what is missing. An existing queue keeps its attributes and the
    other statements of its policy; an existing rule gets the pattern, and keeps its other targets. So a rule that an
    earlier version made learns of events that are new here.

    Takes the permissions ``sqs:GetQueueUrl``, ``sqs:CreateQueue``, ``sqs:GetQueueAttributes``,
    ``sqs:SetQueueAttributes``, ``events:PutRule`` and ``events:PutTargets``.

    :param clients: of the account and region in which the pipelines run.
    :param queue_name: the queue's name; no FIFO queue.
    :param rule_name: the name of the rule on the default event bus.
    :raises botocore.exceptions.ClientError: if AWS refuses.
    :raises RuntimeError: if EventBridge does not take the queue as target.
    """
    sqs, events = clients("sqs"), clients("events")
    url = _ensure_queue(sqs, queue_name)
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn", "Policy"])["Attributes"]
    queue_arn = attributes["QueueArn"]
    rule_arn = events.put_rule(
        Name=rule_name,
        EventPattern=json.dumps(event_pattern(), separators=(",", ":")),
        State="ENABLED",
        Description=_DESCRIPTION,
    )["RuleArn"]
    policy = _merged(attributes.get("Policy"), queue_policy(queue_arn, rule_arn))
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})
    answer = events.put_targets(Rule=rule_name, Targets=[{"Id": _TARGET, "Arn": queue_arn}])
    if answer["FailedEntryCount"]:
        raise RuntimeError(f"EventBridge did not take {queue_arn} as target: {answer['FailedEntries']}")
    return EventQueue(url=url, arn=queue_arn, rule_arn=rule_arn)


def _ensure_queue(sqs: Any, name: str) -> str:
    try:
        return str(sqs.get_queue_url(QueueName=name)["QueueUrl"])
    except sqs.exceptions.QueueDoesNotExist:
        # SQS takes strings.
        attributes = {attribute: json.dumps(value) for attribute, value in QUEUE_ATTRIBUTES.items()}
        return str(sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"])


def _merged(existing: str | None, ours: dict[str, Any]) -> dict[str, Any]:
    """Put our statement into a policy, in the place of an earlier one."""
    if not existing:
        return ours
    policy: dict[str, Any] = json.loads(existing)
    statements = policy.get("Statement") or []
    others = [
        statement
        for statement in (statements if isinstance(statements, list) else [statements])
        if statement.get("Sid") != _STATEMENT
    ]
    return {**policy, "Statement": [*others, *ours["Statement"]]}
