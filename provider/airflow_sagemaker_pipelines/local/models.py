"""Models and model package groups: no life of their own, a few checks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .behaviours import Behaviour
from .errors import AwsError, validation_error
from .kinds import MODEL_PACKAGE

if TYPE_CHECKING:
    from .engine import Engine
    from .store import Resource

# Who the API says has made a thing; SageMaker shows the Studio user here.
CREATED_BY: dict[str, Any] = {}


class ModelBehaviour(Behaviour):
    """A model needs a container."""

    def check(self, engine: Engine, request: dict[str, Any]) -> None:
        """Refuse a model with both or none of PrimaryContainer and Containers; fill in defaults."""
        if bool(request.get("PrimaryContainer")) == bool(request.get("Containers")):
            raise validation_error("You must specify either PrimaryContainer or Containers, and not both.")
        request.setdefault("EnableNetworkIsolation", False)
        for container in filter(None, [request.get("PrimaryContainer"), *(request.get("Containers") or ())]):
            container.setdefault("Mode", "SingleModel")


class ModelPackageGroupBehaviour(Behaviour):
    """A group is there at once; it cannot go while it holds packages."""

    def describe(self, resource: Resource) -> dict[str, Any]:
        """Return the status, which a group has without having a life."""
        return {"ModelPackageGroupStatus": "Completed", "CreatedBy": CREATED_BY}

    def check_delete(self, engine: Engine, resource: Resource) -> None:
        """Refuse to delete a group with packages in it."""
        group = resource.name
        packages = engine.store.all(MODEL_PACKAGE)
        if any(package.request.get("ModelPackageGroupName") == group for package in packages):
            raise AwsError(
                "ConflictException",
                f"Model Package Group cannot be deleted because it still contains Model Packages: {resource.arn}",
            )
