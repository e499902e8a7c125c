"""SageMaker jobs: Create, Describe and Stop calls of one shape, distinguished by a few names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from botocore.exceptions import ClientError

from airflow_sagemaker_pipelines.definition import ExecutionVariable
from airflow_sagemaker_pipelines.steps.aws import (
    Clients,
    IncompleteAnswerError,
    aws_call,
    error_code,
    error_message,
    required,
    to_json,
)
from airflow_sagemaker_pipelines.steps.cache import cache_key, find_cached
from airflow_sagemaker_pipelines.steps.errors import RESOURCE_LIMIT_CODES, StepCallError, StepError, StepRequestError
from airflow_sagemaker_pipelines.steps.execution import ExecutionVariables
from airflow_sagemaker_pipelines.steps.experiments import add_experiment, add_mlflow, ensure_experiment
from airflow_sagemaker_pipelines.steps.names import LONG_NAME, MAX_GENERATIONS
from airflow_sagemaker_pipelines.steps.runner import Handle, Listing, State, StepRun, StepRunner
from airflow_sagemaker_pipelines.steps.status import Verdict, verdict

#: The most summaries that a List call gives.
_PAGE = 100


class NamedResource(StepRunner):
    """Something that is created under a name of ours, and described by it."""

    #: Names of the calls in boto3, and of members in the request and answer.
    create: ClassVar[str]
    describe: ClassVar[str]
    name_member: ClassVar[str]
    name_limit: ClassVar[int] = LONG_NAME
    role_member: ClassVar[str | None] = "RoleArn"
    #: The variable that holds the job's own name.
    name_variable: ClassVar[ExecutionVariable | None] = None

    def request(self, run: StepRun) -> dict[str, Any]:
        """Return the body of the Create call, for the first generation."""
        return self.named_request(run, generation=0)

    def named_request(self, run: StepRun, *, generation: int) -> dict[str, Any]:
        """Return the body of the Create call for one generation.

        A name in the definition is only a prefix, and the pipeline's role stands in where no role is given.
        """
        name = self.name(run, generation=generation)
        names = {self.name_variable: name} if self.name_variable else {}
        scope = replace(run.scope, execution=ExecutionVariables(run.execution, names))
        named = replace(run, scope=scope)
        request: dict[str, Any] = without_nulls(named.resolve(run.step.arguments)) | {self.name_member: name}
        self.complete(run, request)
        return request

    def name(self, run: StepRun, *, generation: int) -> str:
        """Return the name of one generation."""
        prefix = run.resolve(run.step.arguments.get(self.name_member))
        return run.identity.name(generation, prefix=prefix, limit=self.name_limit)

    def handle(self, run: StepRun, request: Mapping[str, Any]) -> Handle:
        """Return what names the resource that a request makes."""
        return {"name": request[self.name_member]}

    def key(self, handle: Handle) -> dict[str, Any]:
        """Return the members by which calls other than Create find the resource."""
        return {self.name_member: handle["name"]}

    def complete(self, run: StepRun, request: dict[str, Any]) -> None:
        """Add to a request what the service adds by itself."""
        if self.role_member is not None:
            set_role(run, request, self.role_member)

    def start(self, run: StepRun, request: dict[str, Any]) -> State:
        """Create it, or find what an earlier try created.

        Create comes first: AWS refuses a name that is taken, which makes one call do for both questions.
        """
        for generation in range(MAX_GENERATIONS):
            if generation:
                request.clear()
                request.update(self.named_request(run, generation=generation))
            handle = self.handle(run, request)
            if self._create(run, request):
                return self.started(run, handle)
            # An earlier try created it, or this one did and the answer was lost.
            state = self.look(run, handle)
            self.check_found(run, request, state)
            if run.makes_do_with(state):
                return state
        raise StepRequestError(f"{MAX_GENERATIONS} {self.noun}s of this task have failed", step=run.step.name)

    def check_found(self, run: StepRun, request: Mapping[str, Any], state: State) -> None:
        """Refuse to adopt what holds the name already; by default nothing is refused.

        :raises StepError: if it is not what the step describes.
        """

    def look(self, run: StepRun, handle: Handle) -> State:
        """Ask AWS for the state of what a step has made, in this run or another.

        :raises StepError: if AWS does not tell. Then nobody knows whether to adopt or to replace it.
        """
        operation = operation_name(self.describe)
        with aws_call(operation, step=run.step.name):
            state = self.poll(run.clients, handle)
            if not state.description:
                raise IncompleteAnswerError(operation=operation, member="content")
        return state

    def _exists(self, run: StepRun, handle: Handle) -> bool:
        with aws_call(operation_name(self.describe), step=run.step.name):
            try:
                getattr(run.clients("sagemaker"), self.describe)(**self.key(handle))
            except ClientError as error:
                if not is_missing(error):
                    raise
                return False
        return True

    def _create(self, run: StepRun, request: Mapping[str, Any]) -> bool:
        """Create it; return whether the name was free.

        When AWS does not say what became of the call, it is asked for the name at once: the next try may not come.
        """
        try:
            with aws_call(operation_name(self.create), step=run.step.name):
                getattr(run.clients("sagemaker"), self.create)(**request)
        except StepError as error:
            may_be_done = isinstance(error, StepCallError) and error.code not in RESOURCE_LIMIT_CODES
            if is_taken(error.__cause__ or error) or (may_be_done and self._is_there(run, request)):
                return False
            raise
        return True

    def _is_there(self, run: StepRun, request: Mapping[str, Any]) -> bool:
        try:
            return self._exists(run, self.handle(run, request))
        except StepError:
            return False

    def started(self, run: StepRun, handle: Handle) -> State:
        """Return the state right after creation."""
        return State(handle=handle, verdict=Verdict.RUNNING)


class SageMakerJob(NamedResource):
    """A job that takes time."""

    #: The member of the Describe answer that holds the status; also the name of botocore's enum.
    status_member: ClassVar[str]
    stop_call: ClassVar[str]
    log_group: ClassVar[str | None] = None
    #: Whether it has no log itself, but the jobs that it starts: ``<name>-<number>-<hexadecimal>``.
    logs_of_children: ClassVar[bool] = False
    #: The part of the console's URL, ``#/jobs/<name>``.
    console: ClassVar[str]
    #: Whether the List call takes a status and a part of the name.
    is_listed: ClassVar[bool] = True

    @property
    def kind(self) -> str:
        """What AWS calls it in the names of calls and members, such as ``TrainingJob``."""
        return self.name_member.removesuffix("Name")

    def name(self, run: StepRun, *, generation: int) -> str:
        """Return the name of one generation; that of a cached step tells its key attributes."""
        key = cache_key(run)
        if key is None:
            return super().name(run, generation=generation)
        prefix = run.resolve(run.step.arguments.get(self.name_member))
        return run.identity.name(generation, prefix=prefix, limit=self.name_limit, token=key.token)

    def complete(self, run: StepRun, request: dict[str, Any]) -> None:
        """Add the role, and where the job is recorded."""
        super().complete(run, request)
        operation = operation_name(self.create)
        add_experiment(run, request, operation)
        add_mlflow(run, request, operation)

    def start(self, run: StepRun, request: dict[str, Any]) -> State:
        """Create the job, or find what an earlier try created, or what an earlier run left in the cache."""
        # This run's own job comes first: a retry attaches to it, whatever other runs have finished since.
        key = cache_key(run)
        if key is not None and not self._exists(run, self.handle(run, request)):
            cached = find_cached(self, run, request, key)
            if cached is not None:
                return cached
        ensure_experiment(run, request)
        return super().start(run, request)

    def is_reusable(self, run: StepRun, state: State) -> bool:
        """Whether the result of an earlier run, which succeeded with the same key attributes, may be used."""
        return True

    def poll(self, clients: Clients, handle: Handle) -> State:
        """Describe the job."""
        answer = getattr(clients("sagemaker"), self.describe)(**self.key(handle))
        return State(
            handle=handle,
            verdict=verdict(self.status_member, answer.get(self.status_member)),
            description=to_json(answer),
            reason=self.reason(answer),
        )

    def in_progress(self, clients: Clients, *, name_contains: str) -> Listing | None:
        """List the jobs in progress, a hundred per call.

        :raises IncompleteAnswerError: if an answer has no list, as a truncated one does.
        """
        if not self.is_listed:
            return None
        filters = {"NameContains": name_contains} if name_contains else {}
        pages = list(self.list_pages(clients, {"StatusEquals": "InProgress", **filters}))
        return Listing(frozenset(summary[self.name_member] for page in pages for summary in page), len(pages))

    def list_pages(
        self, clients: Clients, request: Mapping[str, str], *, size: int = _PAGE
    ) -> Iterator[Sequence[Mapping[str, Any]]]:
        """List jobs: the summaries of one page after the other, each by one call.

        :param request: what the List calls ask for.
        :param size: the most summaries of a page.
        :raises IncompleteAnswerError: if an answer has no list, as a truncated one does.
        """
        paginator = clients("sagemaker").get_paginator(f"{self.describe.replace('describe', 'list', 1)}s")
        for page in paginator.paginate(**request, PaginationConfig={"PageSize": size}):
            yield required(page, f"{self.kind}Summaries", f"List{self.kind}s")

    def reason(self, description: Mapping[str, Any]) -> str | None:
        """Return why the job did not succeed."""
        return description.get("FailureReason") or description.get("ExitMessage")

    def stop(self, clients: Clients, handle: Handle) -> None:
        """Stop the job. One that is over already is left alone."""
        try:
            getattr(clients("sagemaker"), self.stop_call)(**self.key(handle))
        except ClientError as error:
            # AWS answers a stop of a finished or unknown job with one of these.
            if error_code(error) not in {"ValidationException", "ResourceNotFound"}:
                raise


def without_nulls(value: Any) -> Any:
    """Return a request without members that are null: SageMaker treats them as absent, boto3 refuses them."""
    if isinstance(value, Mapping):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value


def set_role(run: StepRun, request: dict[str, Any], member: str) -> None:
    """Let the pipeline's role stand in for one that the definition does not give.

    :raises StepRequestError: if there is neither.
    """
    if request.get(member):
        return
    if run.execution.role_arn is None:
        raise StepRequestError(
            f"its arguments have no {member}, and the pipeline has no role; pass role_arn=", step=run.step.name
        )
    request[member] = run.execution.role_arn


def is_taken(error: BaseException) -> bool:
    """Whether AWS refused to create something because its name is taken.

    Jobs answer ResourceInUse; models and endpoint configurations a ValidationException whose text says so.
    """
    code = error_code(error)
    return code in {"ResourceInUse", "ConflictException"} or (
        code == "ValidationException" and re.search(r"already exist|must be unique", error_message(error)) is not None
    )


def is_missing(error: BaseException) -> bool:
    """Whether AWS says that there is nothing of a name.

    Endpoints and models answer a ValidationException whose text says so.
    """
    code = error_code(error)
    return code in {"ResourceNotFound", "ResourceNotFoundException"} or (
        code == "ValidationException"
        and re.search(r"[Cc]ould not find|[Nn]ot found|does not exist", error_message(error)) is not None
    )


def operation_name(method: str) -> str:
    """``create_auto_ml_job`` → ``CreateAutoMLJob``, for messages."""
    return "".join("ML" if word == "ml" else word.capitalize() for word in method.split("_"))
