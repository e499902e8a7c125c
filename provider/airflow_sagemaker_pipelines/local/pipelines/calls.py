"""The calls to AWS that steps make: inside this process, checked like those of any client.

They are not counted in ``calls``, which are the client's, and no fault strikes them. EMR and EMR Serverless, whose
requests moto reads in ways of its own, are called over HTTP.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from botocore import xform_name
from botocore.exceptions import BotoCoreError, ClientError
from moto.core.exceptions import JsonRESTError, ServiceException

from airflow_sagemaker_pipelines.definition import ExpressionError

from .. import s3_side
from ..errors import AwsError, JobError
from ..service_model import operation_model
from ..validation import validate
from .documents import without_nulls

if TYPE_CHECKING:
    from botocore.model import Shape

    from ..engine import Engine
    from ..store import Store


class StepError(Exception):
    """Raised while a step starts or ends; the text becomes its FailureReason."""


class CallError(Exception):
    """A call that was refused.

    :param service: as IAM names it: ``sagemaker``.
    :param operation: ``CreateTrainingJob``.
    :param error: what was answered.
    """

    def __init__(self, service: str, operation: str, error: AwsError) -> None:
        super().__init__(f"{service}:{operation}: {error}")
        self.service = service
        self.operation = operation
        self.error = error


@contextmanager
def call(service: str, operation: str) -> Iterator[None]:
    """Name a call whose answer is an error."""
    try:
        yield
    except AwsError as error:
        raise CallError(service, operation, error) from error
    except ServiceException as error:
        raise CallError(service, operation, AwsError(str(error.code), str(error.message))) from error
    except JsonRESTError as error:
        raise CallError(service, operation, AwsError(error.error_type, error.message)) from error
    except ClientError as error:
        details, status = error.response["Error"], error.response["ResponseMetadata"]["HTTPStatusCode"]
        raise CallError(service, operation, AwsError(details["Code"], details["Message"], status)) from error
    except BotoCoreError as error:
        raise CallError(service, operation, AwsError("ServiceUnavailable", str(error), 503)) from error


def sagemaker(engine: Engine, operation: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """Make a call to SageMaker.

    :raises CallError: if it is refused.
    """
    # Imported here because the table of operations holds those of pipelines, too.
    from .. import operations  # noqa: PLC0415

    model = operation_model(operation)
    if model is None or model.input_shape is None:
        raise TypeError(f"SageMaker has no operation {operation}")
    request = fitted(model.input_shape, without_nulls(params))
    with call("sagemaker", operation):
        engine.state.rules.refuse(operation, request)
        validate(model.input_shape, request)
        answer = operations.find(engine, operation, request)
        if answer is None:
            raise TypeError(f"the local endpoint has no {operation}")
        return answer(engine, request)


def emr(engine: Engine, operation: str, **params: Any) -> dict[str, Any]:
    """Make a call to EMR.

    :raises CallError: if it is refused.
    """
    with call("elasticmapreduce", operation):
        return _over_http(engine, "emr", operation, params)


def emr_serverless(engine: Engine, operation: str, **params: Any) -> dict[str, Any]:
    """Make a call to EMR Serverless.

    :raises CallError: if it is refused.
    """
    with call("emr-serverless", operation):
        return _over_http(engine, "emr-serverless", operation, params)


def _over_http(engine: Engine, service: str, operation: str, params: Mapping[str, Any]) -> dict[str, Any]:
    engine.state.rules.refuse(operation, params)
    answer: dict[str, Any] = getattr(engine.pipelines.client(service), xform_name(operation))(**params)
    answer.pop("ResponseMetadata", None)
    return answer


def send_message(engine: Engine, queue_url: str, message: Mapping[str, Any], *, group: str) -> None:
    """Send a message to a queue of SQS.

    :raises CallError: if there is no such queue.
    """
    from moto.sqs.models import sqs_backends  # noqa: PLC0415 - few executions send messages

    store = engine.store
    name = queue_url.rstrip("/").rsplit("/", 1)[-1]
    with call("sqs", "SendMessage"):
        engine.state.rules.refuse("SendMessage", {"QueueName": name})
        fifo: dict[str, Any] = {}
        if name.endswith(".fifo"):
            if not engine.state.pipelines.fifo_queues:
                raise AwsError("UnsupportedOperation", "FIFO queues are not supported.")
            fifo = {"group_id": group, "deduplication_id": f"{message['token']}-{message['status']}"}
        # A queue is in the account and region of its pipeline.
        sqs_backends[store.account][store.region].send_message(name, json.dumps(message), **fifo)


def read_text(store: Store, uri: str) -> str:
    """Read a file in S3.

    :raises ExpressionError: if there is none, or it is not text.
    """
    try:
        content = s3_side.get(store, uri)
    except JobError as error:
        raise ExpressionError(str(error)) from error
    if content is None:
        raise ExpressionError(f"{uri} does not exist")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ExpressionError(f"{uri} is not text: {error}") from error


def fitted(shape: Shape, value: Any) -> Any:
    """Give scalars the type that the model wants where that loses nothing: a number becomes text in a map of texts."""
    kind = shape.type_name
    if kind == "structure" and isinstance(value, dict):
        members = shape.members  # type: ignore[attr-defined]
        return {name: fitted(members[name], item) if name in members else item for name, item in value.items()}
    if kind == "list" and isinstance(value, list):
        return [fitted(shape.member, item) for item in value]  # type: ignore[attr-defined]
    if kind == "map" and isinstance(value, dict):
        return {key: fitted(shape.value, item) for key, item in value.items()}  # type: ignore[attr-defined]
    if kind == "string" and isinstance(value, bool | int | float):
        return str(value).lower() if isinstance(value, bool) else str(value)
    if isinstance(value, str):
        return _from_text(kind, value)
    return value


def _from_text(kind: str, text: str) -> Any:
    if kind in ("integer", "long") and re.fullmatch(r"[+-]?\d{1,19}", text):
        return int(text)
    if kind in ("float", "double") and re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", text):
        return float(text)
    if kind == "boolean" and text.lower() in ("true", "false"):
        return text.lower() == "true"
    return text
