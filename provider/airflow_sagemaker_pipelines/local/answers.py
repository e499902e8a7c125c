"""Errors on the wire: the shape in which each of AWS's protocols has its clients read an error."""

from __future__ import annotations

import json
import uuid
from xml.sax.saxutils import escape

from werkzeug.wrappers import Response

from .calls import ApiCall
from .errors import AwsError


def error_response(call: ApiCall, error: AwsError) -> Response:
    """Return the HTTP answer that botocore parses into this error; ``call.protocol`` decides how it looks."""
    request_id = str(uuid.uuid4())
    headers = {"x-amzn-RequestId": request_id}
    if call.protocol in ("query", "ec2", "rest-xml"):
        kind = "application/xml" if call.protocol == "rest-xml" else "text/xml"
        return Response(_xml(call, error, request_id), error.status, headers, content_type=kind)
    if call.protocol == "rest-json":
        headers["x-amzn-ErrorType"] = error.code
        body = json.dumps({"message": error.message, "Type": _sender(error)})
        return Response(body, error.status, headers, content_type="application/json")
    body = json.dumps({"__type": error.code, "message": error.message})
    version = "1.1"
    if call.service == "sqs":
        # AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-json-api-responses.html
        version = "1.0"
        headers["x-amzn-query-error"] = f"{error.code};{_sender(error)}"
    return Response(body, error.status, headers, content_type=f"application/x-amz-json-{version}")


def _sender(error: AwsError) -> str:
    return "Sender" if error.status < 500 else "Receiver"  # noqa: PLR2004 - HTTP


def _xml(call: ApiCall, error: AwsError, request_id: str) -> str:
    inner = f"<Code>{escape(error.code)}</Code><Message>{escape(error.message)}</Message>"
    if call.protocol == "rest-xml":
        body = f"<Error>{inner}<RequestId>{request_id}</RequestId></Error>"
    elif call.protocol == "ec2":
        body = f"<Response><Errors><Error>{inner}</Error></Errors><RequestID>{request_id}</RequestID></Response>"
    else:
        inner = f"<Type>{_sender(error)}</Type>{inner}"
        body = f"<ErrorResponse><Error>{inner}</Error><RequestId>{request_id}</RequestId></ErrorResponse>"
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{body}'
