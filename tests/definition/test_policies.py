from datetime import UTC, datetime

import pytest

from airflow_sagemaker_pipelines.definition import load_definition
from airflow_sagemaker_pipelines.definition.policies import Duration, ExceptionType

from .documents import document, only_problem, step


def load(**members):
    return load_definition(document(step("Train", **members))).all_steps["Train"]


def policy_of(**members):
    (policy,) = load(RetryPolicies=[{"ExceptionType": ["Step.THROTTLING"]} | members]).retry_policies
    return policy


# --- retry


def test_a_policy_has_defaults():
    policy = policy_of()

    assert policy.exception_types == (ExceptionType.THROTTLING,)
    assert (policy.interval_seconds, policy.backoff_rate) == (1, 2.0)
    assert (policy.max_attempts, policy.expire_after_minutes) == (5, None)


def test_members_of_a_policy_are_read():
    policy = policy_of(IntervalSeconds=30, BackoffRate=1.5, MaxAttempts=3)

    assert (policy.interval_seconds, policy.backoff_rate, policy.max_attempts) == (30, 1.5, 3)


def test_a_time_limit_replaces_the_number_of_attempts():
    policy = policy_of(ExpireAfterMin=60)

    assert (policy.max_attempts, policy.expire_after_minutes) == (None, 60)


@pytest.mark.parametrize("members", [{"MaxAttempts": 0}, {"ExpireAfterMin": 0}])
def test_zero_is_never_and_not_the_default(members):
    policy = policy_of(**members)

    assert 0 in (policy.max_attempts, policy.expire_after_minutes)


@pytest.mark.parametrize(
    "members",
    [
        {"IntervalSeconds": 43200},
        {"MaxAttempts": 20},
        {"ExpireAfterMin": 14400},
        {"BackoffRate": 0},
        {"BackoffRate": 2},
    ],
)
def test_the_bounds_themselves_are_legal(members):
    policy_of(**members)


@pytest.mark.parametrize(
    "name",
    [
        "Step.SERVICE_FAULT",
        "Step.THROTTLING",
        "SageMaker.JOB_INTERNAL_ERROR",
        "SageMaker.CAPACITY_ERROR",
        "SageMaker.RESOURCE_LIMIT",
        "Emr.RESOURCE_LIMIT",
    ],
)
def test_every_exception_type_is_known_in_a_list_and_alone(name):
    assert policy_of(ExceptionType=[name]).exception_types == (ExceptionType(name),)
    assert policy_of(ExceptionType=name).exception_types == (ExceptionType(name),)


def test_the_old_spelling_of_the_capacity_error_means_the_same():
    assert policy_of(ExceptionType=["SageMaker.JOB_CAPACITY_ERROR"]).exception_types == (ExceptionType.CAPACITY_ERROR,)


def test_several_policies_keep_their_order():
    policies = load(
        RetryPolicies=[
            {"ExceptionType": ["Step.THROTTLING", "Step.SERVICE_FAULT"], "MaxAttempts": 1},
            {"ExceptionType": ["SageMaker.RESOURCE_LIMIT"], "MaxAttempts": 2},
        ]
    ).retry_policies

    assert [policy.max_attempts for policy in policies] == [1, 2]
    assert policies[0].exception_types == (ExceptionType.THROTTLING, ExceptionType.SERVICE_FAULT)


@pytest.mark.parametrize(
    ("members", "where", "what", "fix"),
    [
        (
            {"MaxAttempts": 1, "ExpireAfterMin": 1},
            ".ExpireAfterMin",
            "stands beside MaxAttempts",
            "Keep one of the two",
        ),
        ({"MaxAttempts": 21}, ".MaxAttempts", "21 is out of range", "Write a number from 0 to 20"),
        ({"MaxAttempts": -1}, ".MaxAttempts", "-1 is out of range", "Write a number from 0 to 20"),
        ({"MaxAttempts": "3"}, ".MaxAttempts", "is a string", "Write a whole number"),
        ({"MaxAttempts": True}, ".MaxAttempts", "is a boolean", "Write a whole number"),
        ({"MaxAttempts": 1.5}, ".MaxAttempts", "is a number", "Write a whole number"),
        ({"MaxAttempts": {"Get": "Parameters.N"}}, ".MaxAttempts", "is an object", "Write a whole number"),
        ({"IntervalSeconds": 43201}, ".IntervalSeconds", "43201 is out of range", "from 0 to 43200"),
        ({"IntervalSeconds": -1}, ".IntervalSeconds", "-1 is out of range", "from 0 to 43200"),
        ({"ExpireAfterMin": 14401}, ".ExpireAfterMin", "14401 is out of range", "from 0 to 14400"),
        ({"BackoffRate": -0.5}, ".BackoffRate", "-0.5 is out of range", "Write a number from 0"),
        ({"BackoffRate": "2"}, ".BackoffRate", "is a string", "Write a number"),
        ({"ExceptionType": None}, ".ExceptionType", "is missing", "Add 'ExceptionType'"),
        (
            {"ExceptionType": ["Step.THROTTLE"]},
            ".ExceptionType",
            "'Step.THROTTLE' is unknown",
            "Perhaps 'Step.THROTTLING' is meant",
        ),
        ({"ExceptionType": "step.throttling"}, ".ExceptionType", "'step.throttling' is unknown", ""),
        ({"ExceptionType": [5]}, ".ExceptionType", "'5' is unknown", "Known"),
        ({"ExceptionType": [["Step.THROTTLING"]]}, ".ExceptionType", "is unknown", ""),
        ({"ExceptionType": [{}]}, ".ExceptionType", "'{}' is unknown", ""),
        ({"ExceptionType": {"Get": "Parameters.X"}}, ".ExceptionType", "is unknown", ""),
    ],
)
def test_a_wrong_policy_is_reported_with_its_place_and_its_fix(members, where, what, fix):
    policy = {"ExceptionType": ["Step.THROTTLING"]} | members
    problem = only_problem(document(step("Train", RetryPolicies=[policy])))

    assert problem.where == f"$.Steps[0].RetryPolicies[0]{where}"
    assert what in problem.what
    assert fix in problem.fix


@pytest.mark.parametrize(
    ("policies", "where", "what"),
    [({}, "", "is an object"), ("Step.THROTTLING", "", "is a string"), ([5], "[0]", "is an integer")],
)
def test_policies_are_a_list_of_objects(policies, where, what):
    problem = only_problem(document(step("Train", RetryPolicies=policies)))

    assert (problem.where, problem.what) == (f"$.Steps[0].RetryPolicies{where}", what)


# --- cache


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("30d", {"days": 30}),
        ("p30d", {"days": 30}),
        ("P30d", {"days": 30}),
        ("P30D", {"days": 30}),
        ("5y", {"years": 5}),
        ("P2M", {"months": 2}),
        ("P3W", {"weeks": 3}),
        ("T16m", {"minutes": 16}),
        ("T30m", {"minutes": 30}),
        ("T12H", {"hours": 12}),
        ("PT1H", {"hours": 1}),
        ("PT5S", {"seconds": 5}),
        ("30dT5h", {"days": 30, "hours": 5}),
        ("P4DT12H", {"days": 4, "hours": 12}),
        ("P1Y2M3W4DT5H6M7S", {"years": 1, "months": 2, "weeks": 3, "days": 4, "hours": 5, "minutes": 6, "seconds": 7}),
    ],
)
def test_every_documented_duration_is_read(text, parts):
    cache = load(CacheConfig={"Enabled": True, "ExpireAfter": text}).cache_config

    assert cache.enabled is True
    assert cache.expire_after == Duration(**parts)


@pytest.mark.parametrize(
    "text", ["", "P", "T", "PT", "30", "d", "30 d", "1h", "P1H", "-1d", "1.5d", "30dd", "D30", "P1D1Y", "x"]
)
def test_what_is_no_duration_is_reported(text):
    problem = only_problem(document(step("Train", CacheConfig={"Enabled": True, "ExpireAfter": text})))

    assert problem.where == "$.Steps[0].CacheConfig.ExpireAfter"
    assert f"'{text}' is not a duration" in problem.what
    assert "P30D" in problem.fix


@pytest.mark.parametrize(
    "config", [None, {}, {"Enabled": False}, {"Enabled": None}, {"Enabled": False, "ExpireAfter": "x"}]
)
def test_caching_is_off_unless_enabled_and_then_the_duration_is_ignored(config):
    cache = load(CacheConfig=config).cache_config

    assert (cache.enabled, cache.expire_after) == (False, None)


def test_a_cache_without_a_duration_never_expires():
    cache = load(CacheConfig={"Enabled": True}).cache_config

    assert (cache.enabled, cache.expire_after) == (True, None)


@pytest.mark.parametrize(
    ("config", "where", "what", "fix"),
    [
        ([], "", "is a list", "Write an object {…}"),
        ({"Enabled": "true"}, ".Enabled", "is a string", "Write true or false"),
        ({"Enabled": 1}, ".Enabled", "is an integer", "Write true or false"),
        ({"Enabled": {"Get": "Parameters.Cache"}}, ".Enabled", "is an object", "Write true or false"),
        ({"Enabled": True, "ExpireAfter": 30}, ".ExpireAfter", "is an integer", "Write a string"),
    ],
)
def test_a_wrong_cache_configuration_is_reported(config, where, what, fix):
    problem = only_problem(document(step("Train", CacheConfig=config)))

    assert (problem.where, problem.what, problem.fix) == (f"$.Steps[0].CacheConfig{where}", what, fix)


@pytest.mark.parametrize(
    ("text", "before"),
    [
        ("30d", "2024-03-01T12:00:00"),
        ("1w", "2024-03-24T12:00:00"),
        ("1m", "2024-02-29T12:00:00"),
        ("13m", "2023-02-28T12:00:00"),
        ("3m", "2023-12-31T12:00:00"),
        ("1y", "2023-03-31T12:00:00"),
        ("T36h", "2024-03-30T00:00:00"),
        ("T90m", "2024-03-31T10:30:00"),
        ("T5s", "2024-03-31T11:59:55"),
        ("1y1m1dT1h", "2023-02-27T11:00:00"),
        ("0d", "2024-03-31T12:00:00"),
    ],
)
def test_a_duration_reaches_back_by_the_calendar(text, before):
    moment = datetime(2024, 3, 31, 12, tzinfo=UTC)

    assert Duration.parse(text).before(moment) == datetime.fromisoformat(before).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["9999y", "999999999y", "999999999d", "999999999w", "999999999m", "T999999999h", "2023y4m"]
)
def test_a_duration_beyond_all_time_reaches_back_to_its_beginning(text):
    moment = datetime(2024, 3, 31, 12, tzinfo=UTC)

    assert Duration.parse(text).before(moment) == datetime.min.replace(tzinfo=UTC)
