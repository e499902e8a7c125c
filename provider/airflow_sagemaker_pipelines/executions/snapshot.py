"""What is known of an execution at one moment: its own status, and the steps that have started."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_sagemaker_pipelines.executions.calls import pipeline_call
from airflow_sagemaker_pipelines.steps.aws import required, to_json
from airflow_sagemaker_pipelines.steps.status import Verdict, verdict

if TYPE_CHECKING:
    from airflow_sagemaker_pipelines.steps.aws import Clients

_PAGE_SIZE = 100


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One entry of ListPipelineExecutionSteps, as JSON."""

    entry: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The step's name; of a step in a loop's body, ``<step>-<index>``."""
        return str(self.entry["StepName"])

    @property
    def verdict(self) -> Verdict:
        """What its status means."""
        return verdict("StepStatus", self.entry.get("StepStatus"))

    @property
    def ended(self) -> str | None:
        """When it ended, which tells one end from that of a later attempt."""
        end: str | None = self.entry.get("EndTime")
        return end

    @property
    def reason(self) -> str | None:
        """Why it failed, in AWS's words."""
        text: str | None = self.entry.get("FailureReason")
        return text or None

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What it has made, by its type."""
        return self.entry.get("Metadata") or {}

    @property
    def outcome(self) -> bool | None:
        """The outcome of a Condition step."""
        text = (self.metadata.get("Condition") or {}).get("Outcome")
        return None if text is None else str(text).lower() == "true"

    @property
    def callback_token(self) -> str | None:
        """The token of a Callback step."""
        token: str | None = (self.metadata.get("Callback") or {}).get("CallbackToken")
        return token

    @property
    def cache_source(self) -> str | None:
        """The execution whose outputs were found in the cache."""
        return (self.entry.get("CacheHitResult") or {}).get("SourcePipelineExecutionArn") or None

    @property
    def reused_from(self) -> str | None:
        """The execution that made it, if a selective execution reuses it."""
        return (self.entry.get("SelectiveExecutionResult") or {}).get("SourcePipelineExecutionArn") or None

    @property
    def iteration(self) -> tuple[str, int] | None:
        """The loop that it belongs to, and the number of the item."""
        context = self.entry.get("IterationContext")
        return (str(context["ParentStepName"]), int(context["Index"])) if context else None


#: By name; a step in a loop's body by the loop, the item's number and its name.
Steps = Mapping[str, StepRecord]


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """An execution at one moment."""

    steps: Steps
    verdict: Verdict
    status: str
    """``Executing`` also if nobody had to ask for it."""
    reason: str | None = None
    pages: int = 1
    """How many calls the listing took."""

    @property
    def is_over(self) -> bool:
        """Whether nothing more happens by itself."""
        return self.verdict.is_final

    def children(self, loop: str) -> list[StepRecord]:
        """Return the steps of a loop's iterations."""
        return [step for step in self.steps.values() if step.iteration is not None and step.iteration[0] == loop]


def read(clients: Clients, arn: str) -> Snapshot:
    """Look at an execution.

    While a listed step goes on, so does the execution, and one listing is enough. Otherwise it is asked, too.

    :raises PipelineCallError: if AWS cannot answer now, or an answer is cut off.
    :raises PipelineRequestError: if it refuses.
    """
    steps, pages = _list(clients, arn)
    if any(not step.verdict.is_final for step in steps.values()):
        return Snapshot(steps=steps, verdict=Verdict.RUNNING, status="Executing", pages=pages)
    answer = describe_execution(clients, arn)
    status = answer["PipelineExecutionStatus"]
    meaning = verdict("PipelineExecutionStatus", status)
    if meaning.is_final:
        # A step may have begun and ended between the two calls.
        steps, pages = _list(clients, arn)
    return Snapshot(steps=steps, verdict=meaning, status=str(status), reason=answer.get("FailureReason"), pages=pages)


def describe_execution(clients: Clients, arn: str) -> dict[str, Any]:
    """Return DescribePipelineExecution's answer."""
    with pipeline_call("DescribePipelineExecution", arn):
        answer = clients("sagemaker").describe_pipeline_execution(PipelineExecutionArn=arn)
        required(answer, "PipelineExecutionStatus", "DescribePipelineExecution")
    return dict(answer)


def read_steps(clients: Clients, arn: str) -> Steps:
    """Return the steps of an execution that have started, by name."""
    return _list(clients, arn)[0]


def _list(clients: Clients, arn: str) -> tuple[Steps, int]:
    entries: list[Mapping[str, Any]] = []
    pages = 0
    with pipeline_call("ListPipelineExecutionSteps", arn):
        listing = clients("sagemaker").get_paginator("list_pipeline_execution_steps")
        for page in listing.paginate(
            PipelineExecutionArn=arn, SortOrder="Ascending", PaginationConfig={"PageSize": _PAGE_SIZE}
        ):
            entries += required(page, "PipelineExecutionSteps", "ListPipelineExecutionSteps")
            pages += 1
    return _newest(entries), pages


def _newest(entries: Iterable[Mapping[str, Any]]) -> Steps:
    """Keep the last attempt of each step: AWS does not say whether a retry leaves the earlier one in the list."""
    return {_key(step): step for step in (StepRecord(to_json(entry)) for entry in entries)}


def _key(step: StepRecord) -> str:
    # No step's name has a slash.
    return step.name if step.iteration is None else "/".join(map(str, (*step.iteration, step.name)))
