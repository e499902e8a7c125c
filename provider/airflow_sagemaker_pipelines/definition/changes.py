"""What differs between two definitions, in words."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_sagemaker_pipelines.definition.model import PipelineDefinition
    from airflow_sagemaker_pipelines.definition.steps import Step

#: Hexadecimal digits that are enough to tell the steps of one pipeline apart.
_DIGEST_LENGTH = 8


def step_digests(definition: PipelineDefinition) -> dict[str, str]:
    """Return a short digest of every step, by name."""
    return {name: _digest(step) for name, step in definition.all_steps.items()}


def _digest(step: Step) -> str:
    # The source keeps the order of its members, which means nothing.
    canonical = json.dumps(json.loads(step.source), sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:_DIGEST_LENGTH]


def describe_changes(old: Mapping[str, str] | None, new: Mapping[str, str]) -> str:
    """Say which steps differ.

    :param old: what :func:`step_digests` gave for the one definition; ``None`` if nobody knows.
    :param new: the same for the other.
    """
    if old is None:
        return "it is not known which steps"
    kinds = {
        "changed": [name for name in new if name in old and new[name] != old[name]],
        "added": [name for name in new if name not in old],
        "removed": [name for name in old if name not in new],
    }
    said = [f"{kind}: {', '.join(names)}" for kind, names in kinds.items() if names]
    return "; ".join(said) or "no step, but its parameters or settings"
