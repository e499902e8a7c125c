"""A job's lines in CloudWatch Logs, over HTTP."""

from __future__ import annotations

import contextlib
import json
import time
from itertools import chain
from urllib.request import urlopen

import pytest
from botocore.config import Config
from botocore.stub import Stubber

from airflow_sagemaker_pipelines.definition import StepType
from airflow_sagemaker_pipelines.steps import logs
from airflow_sagemaker_pipelines.steps.logs import LogSource, LogStream, Turns, log_source, tail
from airflow_sagemaker_pipelines.steps.registry import runner_of, runners
from tests.steps.types.step_runs import ROLE

GROUP = "/aws/sagemaker/TrainingJobs"
JOB = LogSource(group=GROUP, prefix="job/")
TUNING = LogSource(group=GROUP, prefix="tune-", tuning_job="tune")
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/image:1"


class Clients:
    """Clients whose calls are one request each, which remember what they asked of CloudWatch Logs."""

    def __init__(self, endpoint):
        self._endpoint = endpoint
        self._clients = {}
        self.requests = []

    @property
    def region_name(self):
        return self._endpoint.region

    def __call__(self, service, *, repeats=True):
        if service not in self._clients:
            config = Config(proxies={}, retries={"total_max_attempts": 1})
            client = self._clients[service] = self._endpoint.client(service, config=config)
            client.meta.events.register("provide-client-params.cloudwatch-logs", self._remember)
        return self._clients[service]

    def _remember(self, params, model, **_):
        self.requests.append((model.name, params))


@pytest.fixture
def clients(local_sagemaker):
    return Clients(local_sagemaker)


@pytest.fixture
def began():
    """Unix time, in milliseconds, a quarter of an hour ago."""
    return int(time.time() - 900) * 1000


@pytest.fixture
def write(local_sagemaker):
    """Write lines to a stream: pairs of time and text."""
    client = local_sagemaker.client("logs")

    def put(stream, *lines, group=GROUP):
        for create, arguments in (
            (client.create_log_group, {"logGroupName": group}),
            (client.create_log_stream, {"logGroupName": group, "logStreamName": stream}),
        ):
            with contextlib.suppress(client.exceptions.ResourceAlreadyExistsException):
                create(**arguments)
        if lines:
            events = [{"timestamp": moment, "message": text} for moment, text in lines]
            client.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)

    return put


@pytest.fixture
def calls(local_sagemaker):
    """Give the calls to CloudWatch Logs that reached the endpoint since the last time."""

    def count():
        with urlopen(f"{local_sagemaker.url}/_local/calls") as answer:
            counts = json.load(answer)
        local_sagemaker.clear_calls()
        return {name.removeprefix("logs."): number for name, number in counts.items() if name.startswith("logs.")}

    return count


def texts(read):
    return [f"{line.host}: {line.text}" for line in read.lines]


# Where a step's job writes


@pytest.mark.parametrize(
    ("kind", "group", "prefix"),
    [
        (StepType.TRAINING, "/aws/sagemaker/TrainingJobs", "job/"),
        (StepType.PROCESSING, "/aws/sagemaker/ProcessingJobs", "job/"),
        (StepType.QUALITY_CHECK, "/aws/sagemaker/ProcessingJobs", "job/"),
        (StepType.CLARIFY_CHECK, "/aws/sagemaker/ProcessingJobs", "job/"),
        (StepType.TRANSFORM, "/aws/sagemaker/TransformJobs", "job/"),
        (StepType.TUNING, "/aws/sagemaker/TrainingJobs", "job-"),
    ],
)
def test_a_jobs_streams_share_the_beginning_of_their_names(kind, group, prefix):
    source = log_source(runner_of(kind), {"name": "job"})

    assert (source.group, source.prefix) == (group, prefix)


def test_other_steps_have_no_log_of_their_own():
    kinds = {kind for kind, runner in runners().items() if log_source(runner, {"name": "job"})}

    assert kinds == {
        StepType.TRAINING,
        StepType.PROCESSING,
        StepType.QUALITY_CHECK,
        StepType.CLARIFY_CHECK,
        StepType.TRANSFORM,
        StepType.TUNING,
    }


def test_what_has_no_name_has_no_log():
    assert log_source(runner_of(StepType.TRAINING), {}) is None


@pytest.mark.parametrize(
    ("stream", "host"),
    [
        ("job/algo-1-1700000000", "algo-1"),
        ("job/i-0123456789abcdef0-1700000000", "i-0123456789abcdef0"),
        ("job/i-0123456789abcdef0-1700000000/data-log", "i-0123456789abcdef0/data-log"),
        ("job/container/i-0123456789abcdef0-1700000000", "container/i-0123456789abcdef0"),
    ],
)
def test_a_line_names_its_instance_and_not_when_that_began(stream, host):
    assert JOB.host(stream) == host


# The last lines


def test_the_last_lines_of_all_instances_are_in_the_order_of_time(clients, write, began, calls):
    write("job/algo-1-1700000000", *((began + 20 * n, f"one {n}") for n in range(50)))
    write("job/algo-2-1700000000", *((began + 20 * n + 10, f"two {n}") for n in range(50)))
    write("job-2/algo-1-1700000000", (began + 5000, "of another job"))
    calls()

    read = tail(clients, JOB, lines=4)

    assert texts(read) == ["algo-1: one 48", "algo-2: two 48", "algo-1: one 49", "algo-2: two 49"]
    assert read.note is None
    assert calls() == {"DescribeLogStreams": 1, "GetLogEvents": 2}


def test_of_many_instances_the_one_that_the_reason_names_is_read_and_the_latest_others(clients, write, began, calls):
    for number in range(1, 13):
        write(f"job/algo-{number}-1700000000", (began + number, f"line {number}"))
    calls()

    read = tail(clients, JOB, reason="AlgorithmError: rank 1 on algo-1 exited with code 1")

    assert texts(read) == ["algo-1: line 1", "algo-10: line 10", "algo-11: line 11", "algo-12: line 12"]
    assert calls() == {"DescribeLogStreams": 1, "GetLogEvents": 4}


def test_lines_of_one_event_count_one_by_one(clients, write, began):
    write("job/algo-1-1700000000", (began, "first"), (began + 1, "Traceback:\n  File x\nValueError"))

    assert texts(tail(clients, JOB, lines=2)) == ["algo-1:   File x", "algo-1: ValueError"]


def test_an_empty_page_is_not_the_end_of_a_stream(clients, began):
    client = clients("logs")
    stub = Stubber(client)
    stub.add_response("describe_log_streams", {"logStreams": [{"logStreamName": "job/algo-1-1700000000"}]})
    stub.add_response("get_log_events", {"events": [], "nextBackwardToken": "b/1"})
    stub.add_response("get_log_events", {"events": [{"timestamp": began, "message": "x"}], "nextBackwardToken": "b/2"})

    with stub:
        assert texts(tail(clients, JOB)) == ["algo-1: x"]
        stub.assert_no_pending_responses()
    assert clients.requests[-1][1]["nextToken"] == "b/1"


def test_an_empty_stream_is_not_asked_without_end(clients, write, calls):
    write("job/algo-1-1700000000")
    calls()

    assert texts(tail(clients, JOB)) == []
    assert calls()["GetLogEvents"] <= 3


@pytest.mark.parametrize("exists", [True, False])
def test_a_job_that_wrote_nothing_has_a_note(clients, write, exists):
    if exists:
        write("other/algo-1-1700000000")

    read = tail(clients, JOB)

    assert (read.lines, read.note) == ((), f"The job has written nothing to {GROUP}")


@pytest.mark.parametrize("operation", ["DescribeLogStreams", "GetLogEvents"])
def test_a_refusal_names_the_permissions_that_are_missing(clients, local_sagemaker, write, began, operation):
    write("job/algo-1-1700000000", (began, "x"))
    local_sagemaker.fault("denied", service="logs", operation=operation)

    read = tail(clients, JOB)

    assert read.lines == ()
    assert GROUP in read.note
    assert operation in read.note
    assert "(the connection's role needs logs:DescribeLogStreams, logs:GetLogEvents)" in read.note


@pytest.mark.parametrize(
    "fault",
    [
        {"fault": "throttle"},
        {"fault": "internal"},
        {"fault": "reset"},
        {"fault": "truncate", "content_length": "cut"},
        {"fault": "truncate", "content_length": "full"},
    ],
    ids=lambda fault: "-".join(fault.values()),
)
def test_last_lines_that_cannot_be_read_now_are_no_error(clients, local_sagemaker, write, began, fault):
    write("job/algo-1-1700000000", (began, "x"))
    local_sagemaker.fault(service="logs", **fault)

    read = tail(clients, JOB)

    assert read.lines == ()
    assert f"{GROUP} cannot be read: " in read.note
    assert "\n" not in read.note


def test_the_output_of_a_job_that_failed_is_its_tail(clients, local_sagemaker):
    local_sagemaker.rule(kind="Training", outcome="Failed", reason="AlgorithmError: no data")
    run_training(clients, "job")

    assert texts(tail(clients, JOB))[-1] == "algo-1: AlgorithmError: no data"


def test_of_a_tuning_job_the_latest_failed_training_job_is_shown(clients, local_sagemaker, calls):
    local_sagemaker.rule(kind="Training", outcome="Failed", reason="AlgorithmError: no data")
    children = run_tuning(clients)
    calls()

    read = tail(clients, TUNING)

    assert [line.text for line in read.lines][-1] == "AlgorithmError: no data"
    assert {f"tune-{line.host}" for line in read.lines} <= {f"{child}/algo-1" for child in children}
    assert len({line.host for line in read.lines}) == 1
    assert calls() == {"DescribeLogStreams": 1, "GetLogEvents": 1}


def test_a_tuning_job_without_failed_training_jobs_has_a_note(clients, calls):
    run_tuning(clients)
    calls()

    read = tail(clients, TUNING)

    assert (read.lines, read.note) == ((), "No training job of the tuning job has failed")
    assert calls() == {}


# New lines


def test_new_lines_come_once_by_one_call_a_look(clients, write, began, calls):
    stream = LogStream(JOB, since=began / 1000)
    write("job/algo-1-1700000000", (began, "a"), (began + 10, "b"))
    write("job/algo-2-1700000000", (began + 5, "c"))
    calls()

    assert texts(stream.read(clients)) == ["algo-1: a", "algo-2: c", "algo-1: b"]
    assert texts(stream.read(clients)) == []
    write("job/algo-1-1700000000", (began + 20, "d"))
    write("job/algo-3-1700000000", (began + 30, "e"))
    calls()
    assert texts(stream.read(clients)) == ["algo-1: d", "algo-3: e"]
    assert calls() == {"FilterLogEvents": 1}


def test_aws_is_asked_for_no_more_than_the_job_can_have_written(clients, write, began):
    stream = LogStream(JOB, since=began / 1000)
    write("job/algo-1-1700000000", (began + 300_000, "a"))

    stream.read(clients)
    stream.read(clients)

    (_, first), (_, second) = clients.requests
    assert first == {"logGroupName": GROUP, "logStreamNamePrefix": "job/", "limit": 2000, "startTime": began}
    assert second == first | {"startTime": began + 300_000 - 60_000}


def test_lines_from_before_the_job_are_not_shown(clients, write, began):
    write("job/algo-1-1700000000", (began - 1, "before"), (began, "after"))

    assert texts(LogStream(JOB, since=began / 1000).read(clients)) == ["algo-1: after"]


def test_lines_of_one_millisecond_that_arrive_at_different_times_all_come(clients, write, began):
    stream = LogStream(JOB, since=began / 1000)
    write("job/algo-1-1700000000", (began, "a"))
    stream.read(clients)

    write("job/algo-1-1700000000", (began, "b"), (began, "a"))

    assert texts(stream.read(clients)) == ["algo-1: b", "algo-1: a"]


def test_more_lines_of_one_millisecond_than_are_remembered_neither_repeat_nor_hide_another(
    clients, write, began, monkeypatch
):
    monkeypatch.setattr(logs, "_REMEMBERED", 1)
    stream = LogStream(JOB, since=began / 1000)
    write("job/algo-1-1700000000", (began, "a"), (began, "b"), (began, "c"))
    assert len(stream.read(clients).lines) == 3

    write("job/algo-1-1700000000", (began, "d"))

    assert texts(stream.read(clients)) == ["algo-1: d"]


def test_a_line_that_arrives_late_still_comes(clients, write, began):
    stream = LogStream(JOB, since=began / 1000)
    write("job/algo-1-1700000000", (began + 100_000, "a"))
    stream.read(clients)

    write("job/algo-2-1700000000", (began + 100_000 - 59_000, "late"), (began + 100_001, "in time"))

    assert texts(stream.read(clients)) == ["algo-2: late", "algo-2: in time"]


def test_too_many_lines_for_one_look_come_at_the_next_ones(clients, write, began, calls, monkeypatch):
    monkeypatch.setattr(logs, "_PAGE_EVENTS", 10)
    monkeypatch.setattr(logs, "_LOOK_PAGES", 3)
    written = [f"line {n}" for n in range(70)]
    write("job/algo-1-1700000000", *((began + n, text) for n, text in enumerate(written)))
    stream = LogStream(JOB, since=began / 1000)
    calls()

    looks = [[line.text for line in stream.read(clients).lines] for _ in range(2)]
    assert [len(look) for look in looks] == [30, 30]
    assert stream.is_behind
    looks.append([line.text for line in stream.read(clients).lines])

    assert [*chain(*looks)] == written
    assert not stream.is_behind
    assert calls() == {"FilterLogEvents": 7}


@pytest.mark.parametrize("most", [1, 7, 10, 25])
def test_a_chatty_job_loses_nothing_and_repeats_nothing(clients, write, began, monkeypatch, most):
    # Few ids are remembered, pages end within a millisecond, and the reader is another process at each look.
    monkeypatch.setattr(logs, "_PAGE_EVENTS", 10)
    monkeypatch.setattr(logs, "_LOOK_PAGES", 2)
    monkeypatch.setattr(logs, "_REMEMBERED", most)
    monkeypatch.setattr(logs, "_HANDED_ON", most)
    written, got, position = [], [], None
    for batch in range(6):
        lines = [(began + 10 * batch + n // 4, f"line {batch}-{n}") for n in range(33)]
        write("job/algo-1-1700000000", *lines)
        written += [text for _, text in lines]
        while True:
            stream = LogStream(JOB, since=began / 1000, position=position)
            got += [line.text for line in stream.read(clients).lines]
            position = json.loads(json.dumps(stream.position))
            if not stream.is_behind:
                break

    assert sorted(got) == sorted(written)


def test_what_is_remembered_is_bounded(clients, write, began):
    stream = LogStream(JOB, since=began / 1000)
    write("job/algo-1-1700000000", *((began + n, f"line {n}") for n in range(3000)))

    assert len(stream.read(clients).lines) == 3000

    assert len(stream.position["seen"]) == 1000
    resumed = LogStream(JOB, since=began / 1000, position=stream.position)
    write("job/algo-1-1700000000", (began + 3000, "new"))
    assert texts(resumed.read(clients)) == ["algo-1: new"]


def test_an_empty_page_with_a_token_is_followed(clients, began):
    stub = Stubber(clients("logs"))
    event = {"eventId": "1", "timestamp": began, "message": "x", "logStreamName": "job/algo-1-1700000000"}
    stub.add_response("filter_log_events", {"events": [], "nextToken": "t1"})
    stub.add_response("filter_log_events", {"events": [], "nextToken": "t2"})
    stub.add_response("filter_log_events", {"events": [event]})

    with stub:
        assert texts(LogStream(JOB, since=began / 1000).read(clients)) == ["algo-1: x"]
        stub.assert_no_pending_responses()
    assert [request.get("nextToken") for _, request in clients.requests] == [None, "t1", "t2"]


def test_a_token_that_is_too_old_is_given_up(clients, write, began):
    write("job/algo-1-1700000000", (began, "a"))
    pending = {"startTime": began, "nextToken": "too old"}
    stream = LogStream(JOB, since=began / 1000, position={"start": began, "pending": pending})
    stub = Stubber(clients("logs"))
    stub.add_client_error("filter_log_events", "InvalidParameterException", "The specified nextToken is invalid.")

    with stub:
        assert stream.read(clients) == logs.LogRead()

    assert texts(stream.read(clients)) == ["algo-1: a"]


def test_a_job_that_has_not_written_yet_is_asked_again(clients, write, began):
    stream = LogStream(JOB, since=began / 1000)

    assert stream.read(clients) == logs.LogRead()
    write("other/algo-1-1700000000", (began, "of another job"))
    assert stream.read(clients) == logs.LogRead()
    write("job/algo-1-1700000000", (began, "a"))
    assert texts(stream.read(clients)) == ["algo-1: a"]


@pytest.mark.parametrize(
    "fault",
    [
        {"fault": "throttle"},
        {"fault": "internal"},
        {"fault": "unavailable"},
        {"fault": "expired"},
        {"fault": "reset"},
        {"fault": "truncate", "content_length": "cut"},
        {"fault": "truncate", "content_length": "full"},
    ],
    ids=lambda fault: "-".join(fault.values()),
)
def test_lines_that_cannot_be_read_now_come_at_the_next_look(clients, local_sagemaker, write, began, fault):
    write("job/algo-1-1700000000", *((began + n, f"line {n}") for n in range(6)))
    stream = LogStream(JOB, since=began / 1000)
    local_sagemaker.fault(service="logs", operation="FilterLogEvents", skip=1, times=2, **fault)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logs, "_PAGE_EVENTS", 2)
        reads = [stream.read(clients) for _ in range(3)]

    assert [[line.text for line in read.lines] for read in reads] == [
        ["line 0", "line 1"],
        [],
        ["line 2", "line 3", "line 4", "line 5"],
    ]
    assert [read.note for read in reads] == [None, None, None]


def test_a_refusal_is_said_once_and_nothing_is_asked_any_more(clients, local_sagemaker, write, began, calls):
    write("job/algo-1-1700000000", (began, "x"))
    local_sagemaker.fault("denied", service="logs", operation="FilterLogEvents")
    stream = LogStream(JOB, since=began / 1000)
    calls()

    first = stream.read(clients)
    resumed = LogStream(JOB, since=began / 1000, position=json.loads(json.dumps(stream.position)))

    assert first.lines == ()
    assert GROUP in first.note
    assert "(the connection's role needs logs:FilterLogEvents)" in first.note
    assert [stream.read(clients), resumed.read(clients)] == [logs.LogRead(), logs.LogRead()]
    assert calls() == {"FilterLogEvents": 1}


def test_the_training_jobs_of_a_tuning_job_are_told_apart(clients, write, began, calls):
    children = run_tuning(clients)
    write("tune-2/algo-1-1700000000", (began + 10**6, "of another job"))
    write("tune-2-001-0a1b2c3d/algo-1-1700000000", (began + 10**6, "of another tuning job"))
    calls()

    read = LogStream(TUNING, since=began / 1000).read(clients)

    assert {f"tune-{line.host}" for line in read.lines} == {f"{child}/algo-1" for child in children}
    assert calls() == {"FilterLogEvents": 1}


# The rate


def test_turns_are_spread_over_time():
    now = 100.0
    turns = Turns(2, clock=lambda: now)

    assert [turns.turn() for _ in range(4)] == [0.0, 0.5, 1.0, 1.5]
    now = 101.0
    assert turns.turn() == 1.0
    now = 110.0
    assert [turns.turn(), turns.turn()] == [0.0, 0.5]


# Jobs


def run_training(clients, name):
    clients("sagemaker").create_training_job(TrainingJobName=name, **TRAINING_JOB)
    until_over(
        lambda: clients("sagemaker").describe_training_job(TrainingJobName=name)["TrainingJobStatus"], "InProgress"
    )


def run_tuning(clients, name="tune"):
    """Run a tuning job to its end; return the names of its training jobs."""
    sagemaker = clients("sagemaker")
    sagemaker.create_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=name,
        HyperParameterTuningJobConfig={
            "Strategy": "Random",
            "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "acc"},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": 3, "MaxParallelTrainingJobs": 3},
            "ParameterRanges": {"ContinuousParameterRanges": [{"Name": "eta", "MinValue": "0", "MaxValue": "1"}]},
        },
        TrainingJobDefinition=TRAINING_JOB,
    )
    keys = {"HyperParameterTuningJobName": name}
    until_over(
        lambda: sagemaker.describe_hyper_parameter_tuning_job(**keys)["HyperParameterTuningJobStatus"], "InProgress"
    )
    jobs = sagemaker.list_training_jobs_for_hyper_parameter_tuning_job(**keys)["TrainingJobSummaries"]
    return [job["TrainingJobName"] for job in jobs]


def until_over(status, running):
    deadline = time.monotonic() + 30
    while status() == running:
        assert time.monotonic() < deadline, "the job does not end"
        time.sleep(0.02)


TRAINING_JOB = {
    "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
    "RoleArn": ROLE,
    "OutputDataConfig": {"S3OutputPath": "s3://bucket/models"},
    "ResourceConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 10},
    "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
}
