"""``CacheConfig``: an earlier job's result instead of a new job (section 4.3 of the AWS semantics).

Nothing is stored but what AWS keeps anyway. The name of a job whose step is cached ends in a token made of the
pipeline's name, the step's name and the key attributes; a List call finds the jobs with the same token, and a Describe
call shows whether the attributes really are the same.

* The most recent job that succeeded within ``ExpireAfter``, counted from its end, is used. Failed and stopped jobs
  never are, and a job that still runs is not waited for.
* Pipelines are the same if they have the same name, in one account and region: runs and backfills of a DAG share
  results, and so does another DAG with the same ``pipeline_name``. Children of a loop are steps of their own, by index.
* Retries within a run find the run's own job first. After a clear, the task takes the result of its own earlier job,
  when that has succeeded and not expired. To run such a step anew, switch its ``CacheConfig`` off.
* Only S3 locations are compared, never what is there.
* Where a key attribute comes out of a JSON file that changes between two tries, the second try starts a job of its own.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_sagemaker_pipelines.definition import ExecutionVariable, Step, StepType
from airflow_sagemaker_pipelines.definition.expressions import ExecutionReference, Get, Join, JsonGet
from airflow_sagemaker_pipelines.steps.aws import aws_call
from airflow_sagemaker_pipelines.steps.compare import differences
from airflow_sagemaker_pipelines.steps.errors import StepRequestError
from airflow_sagemaker_pipelines.steps.names import digest
from airflow_sagemaker_pipelines.steps.status import Verdict

if TYPE_CHECKING:
    from airflow_sagemaker_pipelines.steps.job import SageMakerJob
    from airflow_sagemaker_pipelines.steps.runner import State, StepRun

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class KeyAttributes:
    """What makes two runs of a step the same."""

    members: tuple[str, ...]
    """Of the request; a dot leads into a member."""
    settings: tuple[str, ...] = ()
    """Members of the step beside its Arguments. A Describe answer does not show them; the token alone has them."""


_PROCESSING = ("AppSpecification", "Environment", "ProcessingInputs")
_CHECK = ("CheckType", "ModelPackageGroupName", "RegisterNewBaseline", "SkipCheck", "SuppliedBaselineConstraints")

#: By step type. Those that are not here are never cached: AWS lists no earlier runs of them under names of ours.
#:
#: The checks' CheckConfig and CheckJobConfig are objects of the SDK; in a definition they are the job's arguments,
#: ``CheckType`` and ``ModelName``.
KEY_ATTRIBUTES: Mapping[StepType, KeyAttributes] = {
    StepType.PROCESSING: KeyAttributes(_PROCESSING),
    StepType.TRAINING: KeyAttributes(
        (
            "AlgorithmSpecification",
            "CheckpointConfig",
            "DebugHookConfig",
            "DebugRuleConfigurations",
            "Environment",
            "HyperParameters",
            "InputDataConfig",
        )
    ),
    StepType.TUNING: KeyAttributes(
        (
            "HyperParameterTuningJobConfig",
            "TrainingJobDefinition.AlgorithmSpecification",
            "TrainingJobDefinition.HyperParameterRanges",
            "TrainingJobDefinition.InputDataConfig",
            "TrainingJobDefinition.StaticHyperParameters",
            "TrainingJobDefinition.TuningObjective",
            "TrainingJobDefinitions",
        )
    ),
    StepType.AUTO_ML: KeyAttributes(
        (
            "AutoMLJobConfig.CandidateGenerationConfig",
            "AutoMLJobConfig.CompletionCriteria",
            "AutoMLJobConfig.DataSplitConfig",
            "AutoMLJobConfig.Mode",
            "AutoMLJobObjective",
            "InputDataConfig",
            "ProblemType",
        )
    ),
    StepType.TRANSFORM: KeyAttributes(("DataProcessing", "Environment", "ModelName", "TransformInput")),
    StepType.CLARIFY_CHECK: KeyAttributes(_PROCESSING, (*_CHECK, "ModelName")),
    StepType.QUALITY_CHECK: KeyAttributes(_PROCESSING, (*_CHECK, "SuppliedBaselineStatistics")),
}

#: Attributes that AWS fills in when a request leaves them out, so that a Describe answer has them all the same.
_FILLED_IN = frozenset(
    {
        "AutoMLJobConfig.CandidateGenerationConfig",
        "AutoMLJobConfig.CompletionCriteria",
        "AutoMLJobConfig.DataSplitConfig",
        "AutoMLJobConfig.Mode",
        "AutoMLJobObjective",
        "DataProcessing",
        "DebugHookConfig",
        "ProblemType",
    }
)

#: Objects whose keys are the author's; AWS adds none.
_FREE_KEYS = frozenset({"Environment", "HyperParameters", "TrainingJobDefinition.StaticHyperParameters"})
#: … but this one, when it describes a tuning job.
_ADDED_KEYS = frozenset({"_tuning_objective_metric"})

#: Never the same twice; names of jobs are made of the key attributes, so these cannot depend on them either.
_NEVER_THE_SAME = frozenset(
    {
        ExecutionVariable.CURRENT_DATE_TIME,
        ExecutionVariable.TRAINING_JOB_NAME,
        ExecutionVariable.PROCESSING_JOB_NAME,
    }
)

#: The two parts of the token have ten characters, as SageMaker's entity token has.
_SCOPE_LENGTH = 4
_KEY_LENGTH = 6
_PAGE = 25


@dataclass(frozen=True, slots=True)
class CacheKey:
    """Names what a run of a cached step may share with others."""

    scope: str
    """Of the pipeline and the step."""
    key: str
    """Of the key attributes as well."""

    @property
    def token(self) -> str:
        """What stands in the job's name."""
        return f"{self.scope}{self.key}"


def why_ignored(step: Step) -> str | None:
    """Return why a step's ``CacheConfig`` has no effect; ``None`` when it has one, or caching is off."""
    if not step.cache_config.enabled:
        return None
    if step.type not in KEY_ATTRIBUTES:
        return f"steps of type {step.type} have none"
    if never_the_same(_key_values(step)):
        return "its key attributes hold the time, or the name of its own job"
    return None


def note_ignored(step: Step) -> None:
    """Say in the log when a step's ``CacheConfig`` has no effect."""
    if reason := why_ignored(step):
        log.info("Step '%s' runs without its CacheConfig: %s", step.name, reason)


def cache_key(run: StepRun) -> CacheKey | None:
    """Return the key of a step that may use an earlier result, ``None`` for any other step.

    :raises StepRequestError: if an expression has no value.
    """
    if not run.step.cache_config.enabled or why_ignored(run.step):
        return None
    resolved = {path: run.resolve(value) for path, value in _key_values(run.step).items()}
    values = json.dumps(_essence(resolved), sort_keys=True, separators=(",", ":"), default=str)
    same = (run.execution.pipeline_name, run.identity.step_name, run.identity.map_index)
    return CacheKey(
        scope=digest("cache scope", *same, length=_SCOPE_LENGTH),
        key=digest("cache key", *same, values, length=_KEY_LENGTH),
    )


def _key_values(step: Step) -> dict[str, Any]:
    table = KEY_ATTRIBUTES[step.type]
    return {
        **{path: _member(step.arguments, path) for path in table.members},
        # An argument may have the same name as a setting.
        **{f"/{name}": step.settings.get(name) for name in table.settings},
    }


def never_the_same(value: Any) -> bool:
    """Whether a value with expressions refers to what differs in every job."""
    match value:
        case Get(ExecutionReference(variable)):
            return variable in _NEVER_THE_SAME
        case Join():
            return never_the_same(value.values)
        case JsonGet():
            return never_the_same(value.source)
        case Mapping():
            return any(never_the_same(item) for item in value.values())
        case list() | tuple():
            return any(never_the_same(item) for item in value)
    return False


def find_cached(job: SageMakerJob, run: StepRun, request: Mapping[str, Any], key: CacheKey) -> State | None:
    """Return the state of an earlier job that stands in for a new one; ``None`` if there is none.

    Without permission to list jobs the step runs, with a warning.

    :param request: what would be sent to create the job.
    :raises StepCallError: if AWS could not answer now.
    """
    search = _Search(job, run, request, key)
    try:
        hit = search.hit()
        if hit is None:
            search.explain()
    except StepRequestError as error:
        log.warning("Step '%s' runs, because earlier results cannot be looked for: %s", run.step.name, error.message)
        return None
    return hit


class _Search:
    """A look for one earlier job."""

    def __init__(self, job: SageMakerJob, run: StepRun, request: Mapping[str, Any], key: CacheKey) -> None:
        self._job, self._run, self._request, self._key = job, run, request, key
        expire_after = run.step.cache_config.expire_after
        self._oldest = expire_after.before(datetime.now(UTC)) if expire_after else None

    def hit(self) -> State | None:
        """Return the most recent job that may be used."""
        for name, ended in self._completed(self._key.token):
            if self._has_expired(ended):
                continue
            state = self._describe(name)
            if state is None or state.verdict is not Verdict.SUCCEEDED or list(self._changes(state)):
                continue
            if self._job.is_reusable(self._run, state):
                arn = state.description[f"{self._job.kind}Arn"]
                return replace(state, cache_hit={"source_job": name, "source_arn": arn})
        return None

    def explain(self) -> None:
        """Say why there was no hit, by what distinguishes the most recent job of the step."""
        step = self._run.step.name
        for name, ended in self._completed(f"-{self._key.scope}"):
            state = self._describe(name)
            if state is None:
                continue
            changes = list(self._changes(state))
            if not changes and self._has_expired(ended):
                changes = [f"it has expired, having ended at {ended.isoformat(timespec='seconds')}"]
            elif not changes and state.verdict is not Verdict.SUCCEEDED:
                changes = [state.reason or "its step did not succeed"]
            unknown = "a key attribute differs that AWS does not show"
            log.info(
                "Step '%s' was not found in the cache. The latest earlier %s: %s",
                step,
                self._job.resource(state.handle),
                "; ".join(changes) or unknown,
            )
            return
        log.info("Step '%s' was not found in the cache: no earlier %s has succeeded", step, self._job.noun)

    def _completed(self, part: str) -> Iterator[tuple[str, datetime]]:
        """List completed jobs with a part of the token in their names: name and end, most recent first."""
        token = re.compile(rf"-{self._key.scope}[0-9a-z]{{{_KEY_LENGTH}}}(-\d+(x\d+)?)?$")
        request = {
            "NameContains": part,
            "StatusEquals": "Completed",
            "SortBy": "CreationTime",
            "SortOrder": "Descending",
        }
        with aws_call(f"List{self._job.kind}s", step=self._run.step.name):
            for page in self._job.list_pages(self._run.clients, request, size=_PAGE):
                for summary in page:
                    name = summary[self._job.name_member]
                    if token.search(name) and name != self._request[self._job.name_member]:
                        ends = [value for member, value in summary.items() if member.endswith("EndTime")]
                        yield name, ends[0] if ends else summary["CreationTime"]

    def _has_expired(self, ended: datetime) -> bool:
        return self._oldest is not None and ended < self._oldest

    def _describe(self, name: str) -> State | None:
        try:
            return self._job.look(self._run, {"name": name})
        except StepRequestError as error:
            # Deleted since, most likely.
            log.info("Earlier %s %s cannot be used: %s", self._job.noun, name, error.message)
            return None

    def _changes(self, state: State) -> Iterator[str]:
        """Say which key attributes of an earlier job are not what they would be now."""
        own = self._request[self._job.name_member]
        for path in KEY_ATTRIBUTES[self._run.step.type].members:
            wanted = _without_name(_essence(_member(self._request, path)), own)
            found = _without_name(_essence(_member(state.description, path)), state.handle["name"])
            if wanted is None and found is not None and path in _FILLED_IN:
                continue
            yield from differences(wanted, found, path)
            if path in _FREE_KEYS and isinstance(wanted, Mapping) and isinstance(found, Mapping):
                more = sorted(found.keys() - wanted.keys() - _ADDED_KEYS)
                yield from differences(dict.fromkeys(more), found, path)


def _member(document: Any, path: str) -> Any:
    for name in path.split("."):
        document = document.get(name) if isinstance(document, Mapping) else None
    return document


def _essence(value: Any) -> Any:
    """Return a value without what is empty, which is the same as absent to AWS; ``None`` for nothing at all."""
    if isinstance(value, Mapping):
        members = {str(name): _essence(item) for name, item in value.items()}
        return {name: item for name, item in members.items() if item is not None} or None
    if isinstance(value, list | tuple):
        return [_essence(item) for item in value] or None
    return value


def _without_name(value: Any, name: str) -> Any:
    """Blank the job's own name out of locations that are made of it."""
    if isinstance(value, Mapping):
        return {key: _without_name(item, name) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_name(item, name) for item in value]
    return value.replace(name, "<name>") if isinstance(value, str) else value
