"""Operators for pipelines that are deployed in SageMaker, for DAGs that are written by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from airflow_sagemaker_pipelines._compat import AirflowFailException
from airflow_sagemaker_pipelines.definition import (
    PipelineDefinition,
    PipelineParameterError,
    load_definition,
    start_values,
)
from airflow_sagemaker_pipelines.hooks.aws import AwsClients, AwsConnection
from airflow_sagemaker_pipelines.operators.kills import stop_if_abandoned
from airflow_sagemaker_pipelines.operators.lives import life_of
from airflow_sagemaker_pipelines.operators.retried_calls import RetriedCallsOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_sagemaker_pipelines.definition import DefinitionSource
    from airflow_sagemaker_pipelines.executions.control import Selection
    from airflow_sagemaker_pipelines.executions.deployment import Deploy


class PipelineOperator(RetriedCallsOperator):
    """What all operators of deployed pipelines have in common.

    What AWS refuses fails the task for good; a call that it cannot answer now is made again by another try.

    :param aws_conn_id: the Airflow connection to AWS.
    :param region_name: instead of the connection's region.
    :param verify: instead of the connection's setting for TLS certificates.
    :param botocore_config: arguments of ``botocore.config.Config`` for every client.
    """

    def __init__(
        self,
        *,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        verify: bool | str | None = None,
        botocore_config: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.connection = AwsConnection(
            aws_conn_id=aws_conn_id, region_name=region_name, verify=verify, botocore_config=botocore_config
        )

    @cached_property
    def clients(self) -> AwsClients:
        """The AWS clients of this task."""
        return AwsClients(self.connection)

    def execute(self, context: Context) -> Any:
        """Make the calls."""
        from airflow_sagemaker_pipelines.executions.errors import (  # noqa: PLC0415
            PipelineChangedError,
            PipelineRequestError,
        )

        try:
            return self.call(context)
        except (PipelineRequestError, PipelineChangedError, PipelineParameterError) as error:
            raise AirflowFailException(str(error)) from error

    def call(self, context: Context) -> Any:
        """Make the calls; the result is the task's."""
        raise NotImplementedError

    def request_token(self, context: Context, *purpose: object) -> str:
        """Return a ``ClientRequestToken`` that all tries make until somebody clears the task."""
        from airflow_sagemaker_pipelines.executions.control import request_token  # noqa: PLC0415

        ti = context["ti"]
        return request_token(*purpose, ti.dag_id, ti.run_id, ti.task_id, ti.map_index, life_of(ti))


class SageMakerUpsertPipelineOperator(PipelineOperator):
    """Creates a pipeline, or updates it if its definition or role differs.

    Several that do so at once with one definition make one version. The result is ``{"PipelineArn": …,
    "PipelineVersionId": …, "Action": "created" | "updated" | "unchanged"}``; the version only of an update.

    :param pipeline_name: the pipeline's name.
    :param definition: a path, JSON text, a dict, or an object with ``.definition()``.
    :param role_arn: the pipeline's role; needed to create it. ``None`` leaves the role of one that exists.
    :param description: of a new pipeline.
    :param tags: of a new pipeline.
    :param arguments: those of :class:`PipelineOperator`.
    """

    template_fields: Sequence[str] = ("pipeline_name", "role_arn", "description")

    def __init__(
        self,
        *,
        pipeline_name: str,
        definition: DefinitionSource,
        role_arn: str | None = None,
        description: str | None = None,
        tags: Mapping[str, str] | None = None,
        **arguments: Any,
    ) -> None:
        super().__init__(**arguments)
        self.pipeline_name = pipeline_name
        self.definition = load_definition(definition)
        self.role_arn = role_arn
        self.description = description
        self.tags = dict(tags or {})

    def call(self, context: Context) -> dict[str, Any]:
        """Create or update."""
        from airflow_sagemaker_pipelines.executions.deployment import upsert  # noqa: PLC0415

        deployment = upsert(
            self.clients,
            self.definition,
            name=self.pipeline_name,
            role_arn=self.role_arn,
            token=self.request_token(context, "create"),
            description=self.description,
            tags=self.tags,
        )
        self.log.info("Pipeline %s is %s", self.pipeline_name, deployment.action)
        return {
            "PipelineArn": deployment.arn,
            "PipelineVersionId": deployment.version_id,
            "Action": deployment.action,
        }


class SageMakerStartPipelineExecutionOperator(PipelineOperator):
    """Starts an execution of a pipeline, once until somebody clears the task, and does not wait for its end.

    The result is ``{"PipelineExecutionArn": …}``. A retry finds what the first try started. With a definition, the
    parameters are checked before the call, and an execution that runs another definition is stopped at once.

    :param pipeline_name: the pipeline's name, or its ARN in another account.
    :param definition: what the pipeline must be: a path, JSON text, a dict, or an object with ``.definition()``.
    :param deploy: ``"upsert"`` creates or updates the pipeline when it differs from the definition, ``"require"``
        fails if it does, ``"never"`` starts what is there. Default: ``"require"`` with a definition.
    :param role_arn: the role of a pipeline that is created or updated.
    :param parameters: values by name.
    :param version: the id (a number) or the alias of the pipeline's version to start; default: the latest.
    :param display_name: of the execution, at most 82 letters, digits and hyphens; others are replaced.
    :param description: of the execution.
    :param max_parallel_steps: how many steps may run at once.
    :param selected_steps: run these alone: a list, or text with commas between the names.
    :param source_execution_arn: the execution whose outputs the selected steps use.
    :param arguments: those of :class:`PipelineOperator`.
    :raises ValueError: if ``deploy`` needs a definition, or does not go with ``version``.
    """

    template_fields: Sequence[str] = (
        "pipeline_name",
        "parameters",
        "version",
        "display_name",
        "description",
        "selected_steps",
        "source_execution_arn",
    )

    # Kept on the class until there is something to keep.
    _arn: str | None = None
    _selection: Selection | None = None
    _ti: Any = None

    def __init__(
        self,
        *,
        pipeline_name: str,
        definition: DefinitionSource | None = None,
        deploy: Deploy | None = None,
        role_arn: str | None = None,
        parameters: Mapping[str, object] | None = None,
        version: str | int | None = None,
        display_name: str | None = None,
        description: str | None = None,
        max_parallel_steps: int | None = None,
        selected_steps: Sequence[str] | str | None = None,
        source_execution_arn: str | None = None,
        **arguments: Any,
    ) -> None:
        super().__init__(**arguments)
        self.pipeline_name = pipeline_name
        self.definition: PipelineDefinition | None = None if definition is None else load_definition(definition)
        self.deploy: Deploy = deploy or ("never" if definition is None else "require")
        check_deploy(self.deploy, has_definition=definition is not None, version=version)
        self.role_arn = role_arn
        self.parameters = dict(parameters or {})
        self.version = version
        self.display_name = display_name
        self.description = description
        self.max_parallel_steps = max_parallel_steps
        self.selected_steps = selected_steps
        self.source_execution_arn = source_execution_arn

    def call(self, context: Context) -> dict[str, Any]:
        """Deploy if asked to, start, and look at what was started."""
        from airflow_sagemaker_pipelines.executions.control import stop_other_definition  # noqa: PLC0415

        self._ti = context["ti"]
        parameters, self._selection = self.given_parameters(context), self.selection(context)
        self._arn = arn = self._start(context, parameters)
        self.log.info("Started %s", arn)
        if self.definition is not None:
            stop_other_definition(self.clients, self.definition, arn)
        return {"PipelineExecutionArn": arn}

    def given_parameters(self, context: Context) -> Mapping[str, Any]:
        """Return the values to start with; those of a definition's defaults are AWS's matter.

        :raises PipelineParameterError: if one does not fit the definition.
        """
        if self.definition is not None:
            start_values(self.definition.parameters, self.parameters)
        return self.parameters

    def selection(self, context: Context) -> Selection | None:
        """Return the steps to run, ``None`` for all."""
        from airflow_sagemaker_pipelines.executions.control import Selection  # noqa: PLC0415

        if not self.selected_steps:
            return None
        names = self.selected_steps
        steps = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
        return Selection(steps=steps, source_arn=self.source_execution_arn or None)

    def _start(self, context: Context, parameters: Mapping[str, Any]) -> str:
        from airflow_sagemaker_pipelines.executions import control  # noqa: PLC0415

        ti = context["ti"]
        return control.start(
            self.clients,
            pipeline_name=self.pipeline_name,
            token=self.request_token(context, "start"),
            parameters=parameters,
            display_name=control.display_name(self.display_name or ti.run_id),
            description=self.description or f"Run {ti.run_id} of the Airflow DAG {ti.dag_id}",
            max_parallel_steps=self.max_parallel_steps,
            version=self._deployed_version(context),
            selection=self._selection,
        )

    def _deployed_version(self, context: Context) -> dict[str, Any] | None:
        """Deploy, or look at what is deployed; return the version to start."""
        from airflow_sagemaker_pipelines.executions.deployment import require, upsert  # noqa: PLC0415

        version = version_request(self.version)
        if self.definition is None or self.deploy == "never":
            return version
        if self.deploy == "require":
            require(self.clients, self.definition, name=self.pipeline_name, version=version)
            return version
        deployment = upsert(
            self.clients,
            self.definition,
            name=self.pipeline_name,
            role_arn=self.role_arn,
            token=self.request_token(context, "create"),
        )
        self.log.info("Pipeline %s is %s", self.pipeline_name, deployment.action)
        # Another DAG may update it at once.
        return None if deployment.version_id is None else {"PipelineVersionId": deployment.version_id}

    def on_kill(self) -> None:
        """Stop what was started just now, of which nobody knows yet, unless another try goes on with it.

        Airflow kills a worker also because it has given it up as dead. Then the next try finds the same execution.
        """
        from airflow_sagemaker_pipelines.executions.control import stop  # noqa: PLC0415

        if self._arn is not None:
            stop_if_abandoned(self._ti, partial(stop, self.clients, self._arn), self.log)


def check_deploy(deploy: str, *, has_definition: bool, version: object) -> None:
    """Refuse settings that contradict each other.

    :raises ValueError: if they do.
    """
    if deploy not in {"upsert", "require", "never"}:
        raise ValueError(f"deploy must be 'upsert', 'require' or 'never', not {deploy!r}")
    if deploy != "never" and not has_definition:
        raise ValueError(f"deploy={deploy!r} needs a definition")
    if deploy == "upsert" and version is not None:
        raise ValueError(
            "deploy='upsert' starts the version that it makes; leave version out, or pass deploy='require'"
        )


def version_request(version: str | int | None) -> dict[str, Any] | None:
    """Return how a request names a version. An alias never has digits only."""
    if version is None or version == "":
        return None
    text = str(version)
    return {"PipelineVersionId": int(text)} if text.isdecimal() else {"PipelineVersionAlias": text}


class SageMakerStopPipelineExecutionOperator(PipelineOperator):
    """Stops an execution, and does not wait for its end; nothing happens to one that is over.

    :param execution_arn: the execution.
    :param answer_callbacks: whether running Callback steps are answered as failed, without which AWS does not end it.
    :param arguments: those of :class:`PipelineOperator`.
    """

    template_fields: Sequence[str] = ("execution_arn",)

    def __init__(self, *, execution_arn: str, answer_callbacks: bool = True, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.execution_arn = execution_arn
        self.answer_callbacks = answer_callbacks

    def call(self, context: Context) -> None:
        """Stop."""
        from airflow_sagemaker_pipelines.executions.control import stop  # noqa: PLC0415

        stop(self.clients, self.execution_arn, answers_callbacks=self.answer_callbacks)


class SageMakerRetryPipelineExecutionOperator(PipelineOperator):
    """Has a failed or stopped execution go on in place, and does not wait for its end.

    What has succeeded stays. The result is ``{"PipelineExecutionArn": …}``. Several that ask at once make one retry,
    and one that already goes on is left alone.

    :param execution_arn: the execution.
    :param max_parallel_steps: how many steps may run at once from now on.
    :param arguments: those of :class:`PipelineOperator`.
    """

    template_fields: Sequence[str] = ("execution_arn",)

    def __init__(self, *, execution_arn: str, max_parallel_steps: int | None = None, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.execution_arn = execution_arn
        self.max_parallel_steps = max_parallel_steps

    def call(self, context: Context) -> dict[str, Any]:
        """Retry."""
        from airflow_sagemaker_pipelines.executions import control  # noqa: PLC0415

        control.resume(self.clients, self.execution_arn, max_parallel_steps=self.max_parallel_steps)
        return {"PipelineExecutionArn": self.execution_arn}
