"""CacheConfig: which earlier job stands in for a new one, against the local endpoint over HTTP."""

from __future__ import annotations

import json
import logging
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError

from airflow_sagemaker_pipelines.definition import StepType
from airflow_sagemaker_pipelines.local.service_model import sagemaker_model
from airflow_sagemaker_pipelines.steps import cache
from airflow_sagemaker_pipelines.steps.names import execution_id
from airflow_sagemaker_pipelines.steps.registry import runner_of
from airflow_sagemaker_pipelines.steps.status import Verdict
from tests.integration.documents import CLUSTER, IMAGE, processing, training
from tests.steps.types.step_runs import BUCKET, EndpointClients, finish, outputs_of, start, wait
from tests.steps.types.step_runs import step_run as make_run

pytestmark = pytest.mark.usefixtures("bucket")

CACHED = {"CacheConfig": {"Enabled": True, "ExpireAfter": "P30D"}}


@pytest.fixture
def bucket(local_sagemaker):
    local_sagemaker.client("s3").create_bucket(Bucket=BUCKET)


@pytest.fixture(scope="module")
def clients(local_sagemaker_session):
    """Clients are expensive to make."""
    return EndpointClients(local_sagemaker_session)


@pytest.fixture
def run_of(local_sagemaker, clients):
    """Give one run of a step in the DAG run of a name."""

    def make(step, run_id="first", *, pipeline="pipeline", life=0, **keys):
        run = make_run(local_sagemaker, step, **{"life": life, "clients": clients} | keys)
        execution = execution_id("dag", run_id, "")
        return replace(
            run,
            identity=replace(run.identity, run_id=run_id, execution_id=execution),
            execution=replace(run.execution, execution_id=execution, pipeline_name=pipeline),
        )

    return make


def transform(**arguments):
    source = {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/in"}}}
    return {
        "Name": "Score",
        "Type": "Transform",
        "Arguments": {
            "ModelName": "m",
            "TransformInput": source,
            "TransformOutput": {"S3OutputPath": f"s3://{BUCKET}/out"},
            "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
            **arguments,
        },
        **CACHED,
    }


def tuning(**arguments):
    definition = training("Tune")["Arguments"]
    definition["StaticHyperParameters"] = {"depth": "3"}
    definition["AlgorithmSpecification"]["MetricDefinitions"] = [{"Name": "rmse", "Regex": "rmse=(.*)"}]
    return {
        "Name": "Tune",
        "Type": "Tuning",
        "Arguments": {
            "HyperParameterTuningJobConfig": {
                "Strategy": "Random",
                "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "rmse"},
                "ResourceLimits": {"MaxNumberOfTrainingJobs": 2, "MaxParallelTrainingJobs": 2},
                "ParameterRanges": {
                    "ContinuousParameterRanges": [{"Name": "eta", "MinValue": "0", "MaxValue": "1"}],
                },
            },
            "TrainingJobDefinition": definition,
            **arguments,
        },
        **CACHED,
    }


def auto_ml(**arguments):
    data = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/in"}}
    return {
        "Name": "Auto",
        "Type": "AutoML",
        "Arguments": {
            "InputDataConfig": [{"DataSource": data, "TargetAttributeName": "rings"}],
            "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/auto"},
            "AutoMLJobObjective": {"MetricName": "Accuracy"},
            "ProblemType": "BinaryClassification",
            "AutoMLJobConfig": {"Mode": "ENSEMBLING", "CompletionCriteria": {"MaxCandidates": 3}},
            **arguments,
        },
        **CACHED,
    }


def quality_check(name="Check", **keys):
    target = {"S3Uri": f"s3://{BUCKET}/check", "LocalPath": "/opt/ml/processing/out", "S3UploadMode": "EndOfJob"}
    return {
        "Name": name,
        "Type": "QualityCheck",
        "CheckType": "DATA_QUALITY",
        "SkipCheck": True,
        "RegisterNewBaseline": True,
        "Arguments": {
            "ProcessingResources": {"ClusterConfig": CLUSTER},
            "AppSpecification": {"ImageUri": IMAGE},
            "ProcessingOutputConfig": {"Outputs": [{"OutputName": "quality_check_output", "S3Output": target}]},
        },
        **CACHED,
        **keys,
    }


def clarify_check(**keys):
    step = quality_check(**keys)
    step["Arguments"]["ProcessingOutputConfig"]["Outputs"][0]["OutputName"] = "analysis_result"
    config = {"S3Uri": f"s3://{BUCKET}/config/analysis_config.json", "LocalPath": "/opt/ml/processing/input/config"}
    more = {"S3DataType": "S3Prefix", "S3InputMode": "File"}
    step["Arguments"]["ProcessingInputs"] = [{"InputName": "analysis_config", "S3Input": config | more}]
    return step | {"Type": "ClarifyCheck", "CheckType": "MODEL_BIAS", "ModelName": "m", **keys}


@pytest.fixture
def score_model(local_sagemaker, bucket):
    local_sagemaker.client("sagemaker").create_model(
        ModelName="m", ExecutionRoleArn="arn:aws:iam::123456789012:role/R", PrimaryContainer={"Image": IMAGE}
    )
    local_sagemaker.client("s3").put_object(Bucket=BUCKET, Key="config/analysis_config.json", Body=b"{}")


EVERY_TYPE = [
    processing("Prepare", **CACHED),
    training("Train", **CACHED),
    transform(),
    tuning(),
    auto_ml(),
    quality_check(),
    clarify_check(),
]


def kinds(steps):
    return [step["Type"] for step in steps]


def creations(local_sagemaker):
    return {name: count for name, count in local_sagemaker.calls().items() if name.startswith("sagemaker.Create")}


@pytest.mark.usefixtures("score_model")
@pytest.mark.parametrize("step", EVERY_TYPE, ids=kinds(EVERY_TYPE))
def test_a_step_of_every_cached_type_takes_the_outputs_of_an_earlier_run(local_sagemaker, run_of, step):
    first = run_of(step)
    source = finish(first)
    before = creations(local_sagemaker)

    second = run_of(step, "second")
    hit = start(second)

    assert hit.verdict is Verdict.SUCCEEDED
    assert hit.cache_hit["source_job"] == source.handle["name"]
    assert hit.cache_hit["source_arn"].endswith(f"/{source.handle['name'].lower()}")
    assert hit.handle == source.handle
    assert creations(local_sagemaker) == before
    assert outputs_of(second, hit) == outputs_of(first, source)


def changed(step, path, value):
    step = json.loads(json.dumps(step))
    *above, last = path.split(".")
    target = step
    for name in above:
        target = target.setdefault(name, {})
    target[last] = value
    return step


INPUT = [{"ChannelName": "train", "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://b/2"}}}]


@pytest.mark.usefixtures("score_model")
@pytest.mark.parametrize(
    ("step", "change", "named"),
    [
        (processing("P", **CACHED), ("Arguments.Environment", {"day": "2"}), "Environment"),
        (processing("P", **CACHED), ("Arguments.AppSpecification.ContainerEntrypoint", ["sh"]), "ContainerEntrypoint"),
        (training("T", **CACHED), ("Arguments.HyperParameters", {"eta": "1"}), "HyperParameters"),
        (training("T", **CACHED), ("Arguments.InputDataConfig", INPUT), "InputDataConfig"),
        (transform(), ("Arguments.DataProcessing", {"InputFilter": "$[1:]"}), "DataProcessing is"),
        (tuning(), ("Arguments.TrainingJobDefinition.StaticHyperParameters", {"depth": "4"}), "depth is"),
        (tuning(), ("Arguments.HyperParameterTuningJobConfig.Strategy", "Bayesian"), "Strategy"),
        (auto_ml(), ("Arguments.AutoMLJobConfig.Mode", "HYPERPARAMETER_TUNING"), "AutoMLJobConfig.Mode"),
        (auto_ml(), ("Arguments.ProblemType", "MulticlassClassification"), "ProblemType"),
        (quality_check(), ("ModelPackageGroupName", "g"), "does not show"),
        (clarify_check(), ("ModelName", "other"), "does not show"),
    ],
)
def test_a_changed_key_attribute_is_a_miss_that_names_it(run_of, caplog, step, change, named):
    finish(run_of(step))
    caplog.set_level(logging.INFO, logger=cache.__name__)

    state = start(run_of(changed(step, *change), "second"))

    assert state.cache_hit is None
    assert state.verdict is Verdict.RUNNING
    assert named in caplog.text


def test_a_key_that_is_gone_is_named_too(run_of, caplog):
    finish(run_of(processing("P", arguments={"Environment": {"a": "1", "b": "2"}}, **CACHED)))
    caplog.set_level(logging.INFO, logger=cache.__name__)

    state = start(run_of(processing("P", arguments={"Environment": {"a": "1"}}, **CACHED), "second"))

    assert state.cache_hit is None
    assert 'Environment.b is "2", not absent' in caplog.text


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("Arguments.ProcessingResources.ClusterConfig.InstanceType", "ml.m5.4xlarge"),
        ("Arguments.RoleArn", "arn:aws:iam::123456789012:role/Another"),
        ("Arguments.StoppingCondition", {"MaxRuntimeInSeconds": 60}),
        ("Arguments.Tags", [{"Key": "a", "Value": "b"}]),
        ("Arguments.Environment", {}),
    ],
)
def test_anything_else_may_differ(run_of, path, value):
    step = processing("P", **CACHED)
    finish(run_of(step))

    assert start(run_of(changed(step, path, value), "second")).cache_hit


def test_the_most_recent_success_is_used(run_of, monkeypatch):
    step = processing("P", **CACHED)
    finish(run_of(step))
    with monkeypatch.context() as patch:
        patch.setattr(cache._Search, "hit", lambda self: None)
        latest = finish(run_of(step, "second"))

    assert start(run_of(step, "third")).handle == latest.handle


@pytest.mark.parametrize(
    "other",
    [{"pipeline": "other"}, {"step": processing("Q", **CACHED)}, {"step": processing("P")}],
    ids=["pipeline", "step", "not cached"],
)
def test_only_jobs_of_the_same_pipeline_and_cached_step_count(run_of, other):
    step = processing("P", **CACHED)
    finish(run_of(**{"step": step} | other))

    assert start(run_of(step, "second")).cache_hit is None


@pytest.mark.parametrize("outcome", ["Failed", "Stopped"])
def test_jobs_that_did_not_succeed_never_count(local_sagemaker, run_of, outcome):
    step = processing("P", **CACHED)
    local_sagemaker.rule(kind="Processing", outcome=outcome, times=1)
    finish(run_of(step))

    assert start(run_of(step, "second")).cache_hit is None


def test_a_job_in_progress_is_not_waited_for(local_sagemaker, run_of):
    step = processing("P", **CACHED)
    local_sagemaker.rule(kind="Processing", duration=30)
    first = start(run_of(step))

    second = start(run_of(step, "second"))

    assert second.cache_hit is None
    assert second.handle != first.handle


def test_a_result_expires_by_the_jobs_end(run_of, caplog, monkeypatch):
    step = processing("P", CacheConfig={"Enabled": True, "ExpireAfter": "T1h"})
    finish(run_of(step))
    caplog.set_level(logging.INFO, logger=cache.__name__)

    class Later(datetime):
        ahead = timedelta(minutes=59)

        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) + cls.ahead

    monkeypatch.setattr(cache, "datetime", Later)
    assert start(run_of(step, "in time")).cache_hit
    Later.ahead = timedelta(minutes=61)
    assert start(run_of(step, "too late")).cache_hit is None
    assert "it has expired" in caplog.text


def test_without_an_expiry_a_result_lives_for_ever(run_of, monkeypatch):
    step = processing("P", CacheConfig={"Enabled": True})
    finish(run_of(step))

    class InAThousandYears(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime(3026, 1, 1, tzinfo=UTC)

    monkeypatch.setattr(cache, "datetime", InAThousandYears)
    assert start(run_of(step, "second")).cache_hit


def test_attributes_decide_even_when_tokens_collide(run_of, monkeypatch):
    monkeypatch.setattr(cache, "digest", lambda *_, length: "x" * length)
    finish(run_of(processing("P", arguments={"Environment": {"day": "1"}}, **CACHED)))

    state = start(run_of(processing("P", arguments={"Environment": {"day": "2"}}, **CACHED), "second"))

    assert state.cache_hit is None
    assert start(run_of(processing("P", arguments={"Environment": {"day": "1"}}, **CACHED), "third")).cache_hit


def test_a_retry_attaches_to_its_own_job_although_another_run_has_finished_since(local_sagemaker, run_of):
    step = processing("P", **CACHED)
    local_sagemaker.rule(kind="Processing", duration=30, times=1)
    first = start(run_of(step))
    finish(run_of(step, "second"))

    retried = start(run_of(step))

    assert retried.handle == first.handle
    assert retried.verdict is Verdict.RUNNING
    assert creations(local_sagemaker)["sagemaker.CreateProcessingJob"] == 3


def test_a_retry_adopts_its_own_finished_job_which_is_no_hit(run_of):
    run = run_of(processing("P", **CACHED))
    done = finish(run)

    again = start(run)

    assert (again.handle, again.cache_hit) == (done.handle, None)


def test_a_retry_after_a_failure_starts_another_job(local_sagemaker, run_of):
    run = run_of(processing("P", **CACHED))
    local_sagemaker.rule(kind="Processing", outcome="Failed", times=1)
    failed = finish(run)

    again = start(run)

    assert again.handle["name"] == f"{failed.handle['name']}-1"


def test_a_cleared_task_takes_its_own_success_but_not_a_job_that_is_being_stopped(local_sagemaker, run_of):
    step = processing("P", **CACHED)
    done = finish(run_of(step))
    assert start(run_of(step, life=1)).cache_hit["source_job"] == done.handle["name"]

    local_sagemaker.rule(kind="Processing", duration=30, times=2)
    other = processing("Q", **CACHED)
    stopped = run_of(other)
    before = start(stopped)
    runner_of(StepType.PROCESSING).stop(stopped.clients, before.handle)
    assert start(run_of(other, life=1)).handle != before.handle


def test_the_time_or_the_jobs_own_name_in_a_key_attribute_makes_it_ordinary(local_sagemaker, run_of):
    for variable in ("CurrentDateTime", "ProcessingJobName"):
        name = {"Get": f"Execution.{variable}"}
        step = processing(variable, arguments={"Environment": {"x": {"Std:Join": {"Values": [name]}}}}, **CACHED)
        run = run_of(step)
        done = finish(run)

        assert start(run).handle == done.handle
        assert start(run_of(step, "second")).cache_hit is None
        assert cache.why_ignored(run.step)
    assert "sagemaker.ListProcessingJobs" not in local_sagemaker.calls()


def test_types_that_aws_does_not_list_are_ignored(run_of):
    step = {"Name": "L", "Type": "Lambda", "FunctionArn": "f", "Arguments": {}, **CACHED}

    assert cache.why_ignored(run_of(step).step) == "steps of type Lambda have none"
    assert cache.why_ignored(run_of(processing("P", **CACHED)).step) is None
    assert cache.why_ignored(run_of(processing("P")).step) is None


@pytest.mark.parametrize("member", ["x" * 80, "base", "a_b"])
@pytest.mark.parametrize("life", [0, 12])
def test_the_token_is_whole_in_every_name(run_of, member, life):
    for step, name, limit in (
        (processing("P" * 64, **CACHED), "ProcessingJobName", 63),
        (changed(tuning(), "Name", "T" * 64), "HyperParameterTuningJobName", 32),
    ):
        for given in (step, changed(step, f"Arguments.{name}", member)):
            run = run_of(given, life=life)
            runner, key = runner_of(run.step.type), cache.cache_key(run)
            for generation in (0, 1, 42):
                made = runner.name(run, generation=generation)
                assert len(made) <= limit
                assert re.search(rf"-{key.token}(-\d+(x\d+)?)?$", made)


def test_a_name_in_the_definition_does_not_hide_a_result(run_of):
    step = processing("P", arguments={"ProcessingJobName": "my-base"}, **CACHED)
    finish(run_of(step))

    assert start(run_of(step, "second")).cache_hit["source_job"].startswith("my-base-")


def test_without_permission_to_list_the_step_runs(local_sagemaker, run_of, caplog):
    finish(run_of(processing("P", **CACHED)))
    run = run_of(processing("P", **CACHED), "second", clients=EndpointClients(local_sagemaker))

    def refuse(**_):
        raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "ListProcessingJobs")

    run.clients("sagemaker").meta.events.register("before-call.sagemaker.ListProcessingJobs", refuse)
    state = start(run)

    assert state.verdict is Verdict.RUNNING
    assert "ListProcessingJobs was refused with AccessDeniedException" in caplog.text


def check_with_drift(**keys):
    return quality_check(
        SkipCheck=False, RegisterNewBaseline=False, SuppliedBaselineConstraints=f"s3://{BUCKET}/base.json", **keys
    )


def test_a_check_that_found_violations_is_no_result(local_sagemaker, run_of):
    run = run_of(check_with_drift())
    state = start(run)
    report = b'{"violations": [{"feature_name": "a"}]}'
    local_sagemaker.client("s3").put_object(Bucket=BUCKET, Key="check/constraint_violations.json", Body=report)
    assert wait(run, state).verdict is Verdict.FAILED

    assert start(run_of(check_with_drift(), "second")).cache_hit is None


def test_a_check_whose_report_another_job_has_overwritten_is_no_result(local_sagemaker, run_of, monkeypatch):
    finish(run_of(check_with_drift()))
    assert start(run_of(check_with_drift(), "second")).cache_hit

    from airflow_sagemaker_pipelines.steps import checks

    real = checks.timedelta
    monkeypatch.setattr(checks, "timedelta", lambda seconds: real(hours=-seconds))
    local_sagemaker.client("s3").put_object(
        Bucket=BUCKET, Key="check/constraint_violations.json", Body=b'{"violations": []}'
    )
    assert start(run_of(check_with_drift(), "third")).cache_hit is None


def test_every_key_attribute_is_a_member_of_its_request():
    for kind, attributes in cache.KEY_ATTRIBUTES.items():
        runner = runner_of(kind)
        stem = runner.name_member.removesuffix("Name")
        shape = sagemaker_model().operation_model(f"Create{stem}").input_shape
        for path in attributes.members:
            inner = shape
            for name in path.split("."):
                assert name in inner.members, (kind, path)
                inner = inner.members[name]
