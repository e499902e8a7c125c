"""SageMaker on moto: our operations first, then moto's, and an error that is not retried for the rest."""

from __future__ import annotations

import json
import logging
from typing import Any

import moto.sagemaker.urls
from moto.core.exceptions import ServiceException
from moto.sagemaker.models import SageMakerModelBackend, sagemaker_backends
from moto.sagemaker.responses import SageMakerResponse

from . import operations
from .engine import Engine
from .errors import AwsError, not_implemented
from .experiments import ExperimentsBackend
from .service_model import operation_model
from .state import current
from .store import Store
from .validation import validate

log = logging.getLogger(__name__)

Answer = tuple[int, dict[str, Any], str]


class LocalSageMakerBackend(ExperimentsBackend):
    """moto's backend of one account and region, with an engine for the resources that are ours."""

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        store = Store(region=region_name, account=account_id, partition=self.partition)
        self.engine = Engine(current(), store)

    def reset(self) -> None:
        """End what runs, then forget everything."""
        self.engine.close()
        super().reset()

    @property
    def _url_module(self) -> Any:
        # moto looks for a module `urls` beside the backend's own module.
        return moto.sagemaker.urls


class LocalSageMakerResponse(SageMakerResponse):
    """Answers one request."""

    def __init__(self) -> None:
        super().__init__()
        # moto parses while it sets up, outside of its own error handling; we parse and check below.
        self.automated_parameter_parsing = False

    def call_action(self) -> Answer:
        """Check the request and answer it. Every error is JSON with an AWS code; none is an HTML page."""
        name = str(self._get_action())
        try:
            return self._answer(name)
        except (AwsError, ServiceException) as error:
            status = error.status if isinstance(error, AwsError) else 400
            return self._json({"__type": error.code, "message": error.message}, status)
        except NotImplementedError:
            missing = not_implemented(name)
            return self._json({"__type": missing.code, "message": missing.message}, missing.status)
        except Exception:
            log.exception("SageMaker's %s failed inside the local endpoint", name)
            return self._json({"__type": "InternalFailure", "message": f"{name} failed; see the log."}, 500)

    def _answer(self, name: str) -> Answer:
        model = operation_model(name)
        if model is None:
            raise AwsError("UnknownOperationException", f"SageMaker has no operation {name}.")
        params = self._params()
        validate(model.input_shape, params)
        backend = self.sagemaker_backend
        if not isinstance(backend, LocalSageMakerBackend):
            raise TypeError("the local backend is not installed")
        operation = operations.find(backend.engine, name, params)
        if operation is not None:
            return self._json(operation(backend.engine, params), 200)
        self.automated_parameter_parsing = True
        self.parse_parameters(self.normalized_request)
        status, headers, body = super().call_action()
        return status, headers, str(body)

    def _params(self) -> dict[str, Any]:
        try:
            params = json.loads(self.body or "{}")
        except ValueError as error:
            raise AwsError("SerializationException", "The request is not JSON.") from error
        if not isinstance(params, dict):
            raise AwsError("SerializationException", "The request is not a JSON object.")
        # A member that is null counts as absent, as it does for AWS.
        return {name: value for name, value in params.items() if value is not None}

    def _json(self, document: dict[str, Any], status: int) -> Answer:
        headers: dict[str, Any] = {**self.response_headers, "Content-Type": "application/x-amz-json-1.1"}
        headers["status"] = str(status)
        headers, body = self._enrich_response(headers, json.dumps(document))
        return status, headers, str(body)


def install_backend() -> None:
    """Put our SageMaker in moto's place; it serves the server and ``mock_aws`` alike."""
    moto.sagemaker.urls.url_paths["{0}/$"] = LocalSageMakerResponse.dispatch
    sagemaker_backends.backend = LocalSageMakerBackend
    sagemaker_backends.clear()


def uninstall_backend() -> None:
    """Give moto its SageMaker back."""
    moto.sagemaker.urls.url_paths["{0}/$"] = SageMakerResponse.dispatch
    sagemaker_backends.backend = SageMakerModelBackend
    sagemaker_backends.clear()
