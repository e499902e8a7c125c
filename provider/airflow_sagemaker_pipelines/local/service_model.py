"""SageMaker's own service model, as botocore carries it: the one source of shapes for requests and answers."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import botocore.session

if TYPE_CHECKING:
    from botocore.model import OperationModel, ServiceModel, StructureShape


@cache
def sagemaker_model() -> ServiceModel:
    """Return botocore's model of the SageMaker API; parsing it takes about 0.2 s, once."""
    return botocore.session.Session().get_service_model("sagemaker")


@cache
def operation_model(operation: str) -> OperationModel | None:
    """Return the model of one operation, or None for a name that SageMaker does not have."""
    model = sagemaker_model()
    return model.operation_model(operation) if operation in model.operation_names else None


@cache
def output_members(operation: str) -> frozenset[str]:
    """Return the names of the top-level members of an operation's answer."""
    model = operation_model(operation)
    shape = model.output_shape if model else None
    return frozenset(shape.members) if shape else frozenset()


@cache
def summary_members(operation: str, member: str) -> frozenset[str]:
    """Return the member names of one entry of a List answer."""
    model = operation_model(operation)
    if model is None or model.output_shape is None:
        return frozenset()
    entry: StructureShape = model.output_shape.members[member].member  # type: ignore[attr-defined]
    return frozenset(entry.members)
