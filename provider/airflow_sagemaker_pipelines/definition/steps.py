"""The steps of a pipeline, as immutable values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from airflow_sagemaker_pipelines.definition.conditions import Condition
from airflow_sagemaker_pipelines.definition.errors import Location
from airflow_sagemaker_pipelines.definition.expressions import IterationOutputReference, Reference, Value, empty
from airflow_sagemaker_pipelines.definition.parameters import ParameterType
from airflow_sagemaker_pipelines.definition.policies import CacheConfig, RetryPolicy


class StepType(StrEnum):
    """The step types that SageMaker knows."""

    PROCESSING = "Processing"
    TRAINING = "Training"
    TUNING = "Tuning"
    TRANSFORM = "Transform"
    AUTO_ML = "AutoML"
    MODEL = "Model"
    REGISTER_MODEL = "RegisterModel"
    CONDITION = "Condition"
    FAIL = "Fail"
    CALLBACK = "Callback"
    LAMBDA = "Lambda"
    QUALITY_CHECK = "QualityCheck"
    CLARIFY_CHECK = "ClarifyCheck"
    EMR = "EMR"
    EMR_SERVERLESS = "EMRServerless"
    ENDPOINT_CONFIG = "EndpointConfig"
    ENDPOINT = "Endpoint"
    INFERENCE_COMPONENT = "InferenceComponent"
    LINEAGE = "Lineage"
    JOB = "Job"
    CLEANUP = "Cleanup"
    FOR_EACH = "ForEach"
    ATHENA = "Athena"
    HUB_CONTENT = "HubContent"
    BEDROCK_CUSTOM_MODEL = "BedrockCustomModel"
    BEDROCK_CUSTOM_MODEL_DEPLOYMENT = "BedrockCustomModelDeployment"
    BEDROCK_PROVISIONED_MODEL_THROUGHPUT = "BedrockProvisionedModelThroughput"
    BEDROCK_MODEL_IMPORT = "BedrockModelImport"


#: The service reports these types, but no public source says what their Arguments hold.
UNDOCUMENTED_STEP_TYPES = frozenset(
    {
        StepType.ATHENA,
        StepType.HUB_CONTENT,
        StepType.BEDROCK_CUSTOM_MODEL,
        StepType.BEDROCK_CUSTOM_MODEL_DEPLOYMENT,
        StepType.BEDROCK_PROVISIONED_MODEL_THROUGHPUT,
        StepType.BEDROCK_MODEL_IMPORT,
    }
)

#: Steps of these types make nothing that another step could refer to.
STEP_TYPES_WITHOUT_PROPERTIES = frozenset({StepType.FAIL, StepType.CLEANUP})


class Trigger(StrEnum):
    """The state of an upstream step that lets a dependent step start."""

    COMPLETED = "Completed"
    FAILED = "Failed"
    STOPPED = "Stopped"
    ANY = "Any"


@dataclass(frozen=True, slots=True)
class Dependency:
    """One entry of ``DependsOn``."""

    step: str
    trigger: Trigger = Trigger.COMPLETED
    location: Location = field(default=(), repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PropertyFile:
    """A JSON file that a Processing step leaves in one of its outputs."""

    name: str
    output_name: str
    file_path: str
    """Relative to the output's S3 URI."""


@dataclass(frozen=True, slots=True)
class Branch:
    """The branch of a Condition step that a step belongs to."""

    condition: str
    outcome: bool
    """``True``: IfSteps, ``False``: ElseSteps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step. Types with members of their own have a subclass."""

    name: str
    type: StepType
    arguments: Mapping[str, Value] = field(default_factory=empty)
    """The body of the AWS request, with expressions."""
    settings: Mapping[str, Value] = field(default_factory=empty)
    """Members beside ``Arguments`` that only some types have, such as ``FunctionArn`` or ``SkipCheck``."""
    output_parameters: Mapping[str, ParameterType] = field(default_factory=empty)
    """What a Lambda or Callback step declares to return."""
    depends_on: tuple[Dependency, ...] = ()
    display_name: str | None = None
    description: str | None = None
    retry_policies: tuple[RetryPolicy, ...] = ()
    cache_config: CacheConfig = field(default_factory=CacheConfig)
    property_files: Mapping[str, PropertyFile] = field(default_factory=empty)
    branch: Branch | None = None
    loop: str | None = None
    """The ForEach step whose body this step belongs to."""
    location: Location = ()
    references: tuple[tuple[Reference, Location], ...] = field(default=(), repr=False)
    """Every reference in the step with its place, without those of steps inside it."""
    source: str = field(default="", repr=False)
    """The step's own JSON, compact; without its branches or body."""

    def __deepcopy__(self, memo: dict[int, object]) -> Step:
        # Immutable; and Airflow copies tasks, which hold their step.
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionStep(Step):
    """Chooses one of two branches."""

    conditions: tuple[Condition, ...]
    """All of them must hold for ``if_steps`` to run."""
    if_steps: tuple[Step, ...]
    else_steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Selector:
    """Which iteration's outputs a loop offers as ``Selected``."""

    pick: str
    """``MaxBy`` or ``MinBy``."""
    field: IterationOutputReference


@dataclass(frozen=True, slots=True, kw_only=True)
class ForEachStep(Step):
    """Runs its body once for every item."""

    iterable_items: Value
    max_concurrency: int
    """How many child steps may run at once."""
    body: tuple[Step, ...]
    selector: Selector | None = None
