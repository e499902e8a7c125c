"""What a kind does that its row in the table cannot say. A kind without a class here behaves as the base class."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .engine import Engine
    from .kinds import Kind
    from .store import Resource


class Behaviour:
    """The life of a kind that has no ways of its own."""

    # True for a kind whose end follows from other resources: it is begun and stopped by its own methods.
    drives_itself = False

    def check(self, engine: Engine, request: dict[str, Any]) -> None:
        """Refuse what the service model allows and the service does not, and fill in the service's defaults."""

    def created(self, engine: Engine, resource: Resource) -> None:
        """Complete a new resource; called with the store's lock held."""

    def check_delete(self, engine: Engine, resource: Resource) -> None:
        """Refuse to delete a resource that is still needed."""

    def begin(self, engine: Engine, resource: Resource) -> None:
        """Set going a resource that drives itself."""

    def plan(self, resource: Resource, duration: float | None) -> None:
        """Lay out secondary statuses; ``duration`` is None for a job whose code is run."""

    def leave_outputs(self, engine: Engine, resource: Resource) -> None:
        """Do what a completed resource does last; raise JobError to fail it."""

    def stopping(self, resource: Resource, now: float) -> None:
        """Note a stop in the secondary statuses."""

    def stop(self, engine: Engine, resource: Resource) -> None:
        """Stop a resource that drives itself."""

    def close_phases(self, resource: Resource, now: float) -> None:
        """End the secondary statuses; called with the store's lock held."""

    def ended(self, engine: Engine, resource: Resource) -> None:
        """Follow up on an end."""

    def child_ended(self, engine: Engine, resource: Resource, child: Resource) -> None:
        """Follow up on the end of a resource that this one made."""

    def describe(self, resource: Resource) -> dict[str, Any]:
        """Return the members that only this kind's Describe answer has."""
        return {}


@cache
def _behaviours() -> dict[str, Behaviour]:
    # Imported here because the classes need the base class above.
    from . import automl, category_jobs, endpoints, inference_components, jobs, models, tuning  # noqa: PLC0415

    return {
        "Training": jobs.TrainingBehaviour(),
        "Processing": jobs.ProcessingBehaviour(),
        "Transform": jobs.TransformBehaviour(),
        "Tuning": tuning.TuningBehaviour(),
        "AutoML": automl.AutoMLBehaviour(),
        "AutoMLV2": automl.AutoMLBehaviour(),
        "Model": models.ModelBehaviour(),
        "EndpointConfig": endpoints.EndpointConfigBehaviour(),
        "Endpoint": endpoints.EndpointBehaviour(),
        "ModelPackageGroup": models.ModelPackageGroupBehaviour(),
        "InferenceComponent": inference_components.InferenceComponentBehaviour(),
        "Job": category_jobs.JobBehaviour(),
    }


_DEFAULT = Behaviour()


def behaviour_of(kind: Kind) -> Behaviour:
    """Return the behaviour of a kind."""
    return _behaviours().get(kind.name, _DEFAULT)
