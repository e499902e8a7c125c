"""Faults strike the calls they are meant for, and clients see what they would see of AWS."""

from __future__ import annotations

import http.client
import json
import threading
import time
import urllib.error
import urllib.request
from contextlib import closing

import pytest
from botocore.config import Config
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    FlexibleChecksumError,
    ReadTimeoutError,
    ResponseStreamingError,
)
from botocore.parsers import ResponseParserError
from endpoint_support import BUCKET, processing_request, training_request, until

from airflow_sagemaker_pipelines.local.calls import ApiCall
from airflow_sagemaker_pipelines.local.faults import Fault, FaultBook

ONCE = Config(retries={"total_max_attempts": 1}, proxies={})
# For calls that get no answer only: any other may take longer on a busy machine.
HASTY = ONCE.merge(Config(read_timeout=0.5))
PATIENT = Config(retries={"total_max_attempts": 3, "mode": "standard"}, proxies={})
# A held connection that the endpoint itself gives up.
HELD = {"timeout": {"seconds": 0.1}}
A_CALL = {
    "sagemaker": lambda client: client.list_training_jobs(),
    "s3": lambda client: client.list_buckets(),
    "sts": lambda client: client.get_caller_identity(),
    "iam": lambda client: client.list_roles(),
    "ec2": lambda client: client.describe_vpcs(),
    "lambda": lambda client: client.list_functions(),
    "emr-serverless": lambda client: client.list_applications(),
    "emr": lambda client: client.list_clusters(),
    "sqs": lambda client: client.list_queues(),
    "logs": lambda client: client.describe_log_groups(),
    "events": lambda client: client.list_rules(),
    "sagemaker-runtime": lambda client: client.invoke_endpoint(EndpointName="e", Body=b"1"),
}


def ask(endpoint, method, path="/_local/faults", document=None):
    data = None if document is None else json.dumps(document).encode()
    request = urllib.request.Request(endpoint.url + path, data=data, method=method)
    with urllib.request.urlopen(request, timeout=5) as response:
        return json.load(response)


def code_of(call):
    """The error code that a call meets, or None."""
    try:
        call()
    except ClientError as error:
        return error.response["Error"]["Code"]
    return None


@pytest.fixture(scope="module")
def clients_of(local_sagemaker_session):
    """Clients that try once; each is made when it is wanted."""
    made = {}

    def client(service, config=ONCE):
        return made.setdefault((service, id(config)), local_sagemaker_session.client(service, config=config))

    return client


@pytest.fixture
def once(local_sagemaker, clients_of):
    return clients_of("sagemaker")


@pytest.fixture
def hasty(local_sagemaker, clients_of):
    return clients_of("sagemaker", HASTY)


@pytest.fixture
def patient(local_sagemaker, clients_of):
    return clients_of("sagemaker", PATIENT)


# --- what a client sees


_FAILURE, _DENIED, _EXPIRED = "InternalFailure", "AccessDeniedException", "ExpiredTokenException"


@pytest.mark.parametrize(
    ("service", "codes"),
    [
        ("sagemaker", (("ThrottlingException", 400), _FAILURE, _DENIED, _EXPIRED)),
        ("s3", (("SlowDown", 503), "InternalError", "AccessDenied", "ExpiredToken")),
        ("sts", (("Throttling", 400), _FAILURE, "AccessDenied", "ExpiredToken")),
        ("iam", (("Throttling", 400), _FAILURE, "AccessDenied", "ExpiredToken")),
        ("ec2", (("RequestLimitExceeded", 503), "InternalError", "UnauthorizedOperation", "RequestExpired")),
        ("lambda", (("TooManyRequestsException", 429), "ServiceException", _DENIED, _EXPIRED)),
        ("emr-serverless", (("ThrottlingException", 429), "InternalServerException", _DENIED, _EXPIRED)),
        ("emr", (("ThrottlingException", 400), "InternalServerException", _DENIED, _EXPIRED)),
        ("sqs", (("RequestThrottled", 403), _FAILURE, "AccessDenied", _EXPIRED)),
        ("logs", (("ThrottlingException", 400), _FAILURE, _DENIED, _EXPIRED)),
        ("events", (("ThrottlingException", 400), "InternalException", _DENIED, _EXPIRED)),
        ("sagemaker-runtime", (("ThrottlingException", 429), _FAILURE, _DENIED, _EXPIRED)),
    ],
)
def test_an_error_reaches_botocore_in_the_words_of_the_service(local_sagemaker, clients_of, service, codes):
    throttle, internal, denied, expired = codes
    client, met = clients_of(service), {}
    for fault in ("throttle", "internal", "unavailable", "denied", "expired"):
        local_sagemaker.fault(fault, times=1)
        with pytest.raises(ClientError) as caught:
            A_CALL[service](client)
        answer = caught.value.response
        assert answer["Error"]["Message"]
        assert answer["ResponseMetadata"]["HTTPHeaders"]["x-amzn-requestid"]
        met[fault] = answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]

    assert (met["throttle"], met["internal"]) == (throttle, (internal, 500))
    assert met["unavailable"] == ("Unavailable" if service == "ec2" else "ServiceUnavailable", 503)
    assert (met["denied"][0], met["expired"][0]) == (denied, expired)


def test_any_error_can_be_asked_for(local_sagemaker, once):
    fault = {"fault": "error", "code": "ResourceLimitExceeded", "message": "ml.p4d <8>", "status": 418}
    ask(local_sagemaker, "POST", document=fault)

    with pytest.raises(ClientError) as caught:
        once.create_training_job(**training_request())

    assert caught.value.response["Error"] == {"Code": "ResourceLimitExceeded", "Message": "ml.p4d <8>"}
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 418


def test_a_head_request_gets_the_status_and_no_body(local_sagemaker, clients_of, s3):
    local_sagemaker.fault("unavailable", operation="HeadBucket")

    assert code_of(lambda: clients_of("s3").head_bucket(Bucket=BUCKET)) == "503"


@pytest.mark.parametrize("fault", ["throttle", "internal", "unavailable", "reset", "timeout"])
def test_a_client_that_retries_gets_over_what_passes(local_sagemaker, patient, fault):
    local_sagemaker.fault(fault, operation="CreateTrainingJob", times=1, **HELD.get(fault, {}))

    answer = patient.create_training_job(**training_request())

    assert answer["TrainingJobArn"].endswith("/train-1")
    assert answer["ResponseMetadata"]["RetryAttempts"] == 1
    assert local_sagemaker.calls()["sagemaker.CreateTrainingJob"] == 2


@pytest.mark.parametrize("fault", ["denied", "expired"])
def test_a_client_that_retries_does_not_retry_what_stays(local_sagemaker, patient, fault):
    local_sagemaker.fault(fault)

    with pytest.raises(ClientError):
        patient.list_training_jobs()

    assert local_sagemaker.calls() == {"sagemaker.ListTrainingJobs": 1}


def test_a_held_connection_is_the_clients_read_timeout(local_sagemaker, hasty):
    local_sagemaker.fault("timeout", operation="CreateTrainingJob")

    with pytest.raises(ReadTimeoutError):
        hasty.create_training_job(**training_request())

    assert local_sagemaker.jobs() == []


def test_a_connection_that_is_held_for_a_while_is_closed_without_an_answer(local_sagemaker, once):
    local_sagemaker.fault("timeout", seconds=0.05)

    with pytest.raises(ConnectionClosedError):
        once.list_training_jobs()


def test_a_reset_is_a_reset_and_not_an_orderly_end(local_sagemaker, once):
    local_sagemaker.fault("reset")

    with pytest.raises(ConnectionClosedError) as caught:
        once.list_training_jobs()

    causes = [caught.value.__cause__ or caught.value.__context__]
    while causes[-1] is not None:
        causes.append(causes[-1].__cause__ or causes[-1].__context__)
    assert any(isinstance(cause, ConnectionResetError) for cause in causes)
    assert not any(isinstance(cause, http.client.RemoteDisconnected) for cause in causes)


@pytest.mark.parametrize("keep", [0.5, 0])
def test_cut_json_is_an_empty_answer_to_botocore(local_sagemaker, once, keep):
    local_sagemaker.fault("truncate", operation="CreateTrainingJob", keep=keep, content_length="cut")

    answer = once.create_training_job(**training_request())

    assert set(answer) == {"ResponseMetadata"}
    assert [job["name"] for job in local_sagemaker.jobs()] == ["train-1"]


@pytest.mark.parametrize("keep", [0.5, 0])
def test_a_body_is_cut_although_its_whole_length_was_told(local_sagemaker, keep):
    local_sagemaker.fault("truncate", operation="ListTrainingJobs", keep=keep)
    connection = http.client.HTTPConnection(local_sagemaker.url.removeprefix("http://"), timeout=5)
    headers = {
        "X-Amz-Target": "SageMaker.ListTrainingJobs",
        "Content-Type": "application/x-amz-json-1.1",
        "Authorization": "AWS4-HMAC-SHA256 Credential=testing/20260101/us-east-1/sagemaker/aws4_request, Signature=0",
    }

    connection.request("POST", "/", b"{}", headers)
    with closing(connection), connection.getresponse() as answer, pytest.raises(http.client.IncompleteRead) as caught:
        answer.read()

    whole = len(json.dumps({"TrainingJobSummaries": []}))
    assert len(caught.value.partial) == int(whole * keep)
    assert caught.value.expected == whole - int(whole * keep)


def test_cut_xml_is_an_answer_that_botocore_cannot_read(local_sagemaker, clients_of):
    local_sagemaker.fault("truncate", service="sts", content_length="cut")

    with pytest.raises(ResponseParserError):
        clients_of("sts").get_caller_identity()


@pytest.mark.parametrize(("length", "error"), [("full", ResponseStreamingError), ("cut", FlexibleChecksumError)])
def test_a_cut_download_is_found_out_by_its_length_or_its_checksum(local_sagemaker, clients_of, s3, length, error):
    s3.put_object(Bucket=BUCKET, Key="k", Body=b"0123456789")
    local_sagemaker.fault("truncate", operation="GetObject", keep=0.3, content_length=length)

    answer = clients_of("s3").get_object(Bucket=BUCKET, Key="k")

    assert answer["ContentLength"] == (10 if length == "full" else 3)
    with pytest.raises(error):
        answer["Body"].read()


@pytest.mark.parametrize("after", [False, True])
def test_a_late_answer_is_complete(local_sagemaker, once, after):
    local_sagemaker.fault("latency", operation="CreateTrainingJob", seconds=0.3, after=after)

    begin = time.monotonic()
    answer = once.create_training_job(**training_request())

    assert time.monotonic() - begin >= 0.3
    assert answer["TrainingJobArn"].endswith("/train-1")


def test_a_late_answer_may_be_too_late_and_the_work_done(local_sagemaker, hasty):
    local_sagemaker.fault("latency", operation="CreateTrainingJob", seconds=2, after=True)

    with pytest.raises(ReadTimeoutError):
        hasty.create_training_job(**training_request())

    until(lambda: [job["name"] for job in local_sagemaker.jobs()] == ["train-1"])


# --- done, but the answer is lost


@pytest.mark.parametrize("fault", ["throttle", "internal", "unavailable", "reset", "timeout"])
def test_what_was_done_stays_done_when_the_answer_is_lost(local_sagemaker, once, fault):
    local_sagemaker.fault(fault, operation="CreateTrainingJob", after=True, times=1, **HELD.get(fault, {}))

    with pytest.raises((ClientError, ConnectionClosedError)):
        once.create_training_job(**training_request())

    assert code_of(lambda: once.create_training_job(**training_request())) == "ResourceInUse"
    assert [job["name"] for job in local_sagemaker.jobs()] == ["train-1"]


def test_botocores_own_retry_of_a_create_whose_answer_was_lost_finds_the_name_taken(local_sagemaker, patient):
    local_sagemaker.fault("reset", operation="CreateTrainingJob", after=True, times=1)

    with pytest.raises(ClientError) as caught:
        patient.create_training_job(**training_request())

    assert caught.value.response["Error"]["Code"] == "ResourceInUse"
    assert caught.value.response["ResponseMetadata"]["RetryAttempts"] == 1


def test_without_after_nothing_is_done(local_sagemaker, once):
    local_sagemaker.fault("reset", operation="CreateTrainingJob", times=1)

    with pytest.raises(ConnectionClosedError):
        once.create_training_job(**training_request())

    assert local_sagemaker.jobs() == []
    assert code_of(lambda: once.create_training_job(**training_request())) is None


# --- which calls


def test_service_and_operation_are_whole_names(local_sagemaker, once, clients_of):
    ask(local_sagemaker, "POST", document={"fault": "throttle", "service": "s.*maker", "operation": "List.*Jobs"})

    assert code_of(once.list_training_jobs) == "ThrottlingException"
    assert code_of(once.list_processing_jobs) == "ThrottlingException"
    assert code_of(once.list_models) is None
    assert code_of(lambda: clients_of("s3").list_buckets()) is None
    assert code_of(once.list_hyper_parameter_tuning_jobs) == "ThrottlingException"
    ask(local_sagemaker, "DELETE")
    local_sagemaker.fault("throttle", service="maker", operation="List")
    assert code_of(once.list_training_jobs) is None


def test_skip_every_and_times_count_calls(local_sagemaker, once):
    local_sagemaker.fault("throttle", skip=2, every=3, times=2)

    struck = [code_of(once.list_training_jobs) is not None for _ in range(14)]

    assert [number for number, hit in enumerate(struck, 1) if hit] == [5, 8]


def test_the_first_fault_that_holds_strikes_and_the_next_ones_wait_for_their_turn(local_sagemaker, once):
    ask(local_sagemaker, "POST", document=[{"fault": "throttle", "times": 1}, {"fault": "denied", "times": 1}])

    assert [code_of(once.list_models) for _ in range(3)] == ["ThrottlingException", "AccessDeniedException", None]
    faults = ask(local_sagemaker, "GET")["faults"]
    assert [(fault["fault"], fault["calls"], fault["struck"]) for fault in faults] == [
        ("throttle", 3, 1),
        ("denied", 3, 1),
    ]


def pattern(book, operation="ListModels", calls=200):
    return [book.take(ApiCall("sagemaker", operation)) is not None for _ in range(calls)]


def book_of(seed, *faults):
    book = FaultBook(seed)
    book.add(Fault.from_json(fault) for fault in faults)
    return book


def test_a_rate_is_a_share_of_the_calls_and_comes_again_with_its_seed():
    fault = {"fault": "throttle", "rate": 0.2}

    first = pattern(book_of(7, fault), calls=2000)

    assert first == pattern(book_of(7, fault), calls=2000)
    assert 300 < sum(first) < 500
    assert first != pattern(book_of(8, fault), calls=2000)
    assert first == pattern(book_of(8, {**fault, "seed": 7}), calls=2000)
    assert not any(pattern(book_of(7, {**fault, "rate": 0})))
    assert all(pattern(book_of(7, {**fault, "rate": 1})))


def test_two_faults_of_one_rate_strike_different_calls():
    fault = {"fault": "throttle", "rate": 0.5}
    book = book_of(7, {**fault, "operation": "ListModels"}, {**fault, "operation": "List.*"})

    alone = pattern(book_of(7, fault))

    assert pattern(book) != alone
    assert sum(pattern(book, calls=2000)) > 1300


def test_which_calls_of_an_operation_are_struck_does_not_depend_on_other_operations():
    fault = {"fault": "throttle", "rate": 0.3}
    alone = pattern(book_of(7, fault))
    book, operations = book_of(7, fault), ("ListModels", "ListTrainingJobs", "DescribeEndpoint")
    among_others = {}

    def run(operation):
        among_others[operation] = pattern(book, operation)

    threads = [threading.Thread(target=run, args=(operation,)) for operation in operations]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert among_others["ListModels"] == alone
    assert len({tuple(hits) for hits in among_others.values()}) == 3


def test_a_token_bucket_throttles_each_operation_by_itself_and_fills_again():
    now = [100.0]
    book = FaultBook(clock=lambda: now[0])
    book.add([Fault.from_json({"fault": "throttle", "tokens_per_second": 2, "burst": 3})])

    assert pattern(book, calls=5) == [False, False, False, True, True]
    assert pattern(book, "Other", calls=1) == [False]
    now[0] += 0.5
    assert pattern(book, calls=2) == [False, True]
    now[0] += 60
    assert pattern(book, calls=4) == [False, False, False, True]


def test_a_token_bucket_over_http(local_sagemaker, once):
    ask(local_sagemaker, "POST", document={"fault": "throttle", "tokens_per_second": 0, "burst": 2})

    assert [code_of(once.list_models) for _ in range(3)] == [None, None, "ThrottlingException"]
    assert code_of(once.list_training_jobs) is None


def test_the_code_runners_own_calls_and_the_local_paths_are_spared(local_sagemaker):
    local_sagemaker.fault("reset")
    runner = local_sagemaker.client("sagemaker", config=Config(user_agent_extra="local-runner", proxies={}))

    assert runner.list_training_jobs()["TrainingJobSummaries"] == []
    assert ask(local_sagemaker, "GET", "/_local/calls") == {}
    assert ask(local_sagemaker, "GET")["faults"][0]["calls"] == 0


# --- the list of faults


def test_faults_are_listed_deleted_and_forgotten_at_a_reset(local_sagemaker, once):
    fault = {"fault": "timeout", "operation": "Create.*", "seconds": 3, "rate": 0.25, "seed": 4}
    listed = ask(local_sagemaker, "POST", document=fault)["faults"]

    assert len(listed) == 1
    assert {**listed[0], **fault, "calls": 0, "struck": 0} == listed[0]
    assert ask(local_sagemaker, "DELETE") == {"faults": []}
    local_sagemaker.fault("throttle")
    ask(local_sagemaker, "POST", "/_local/reset")
    assert ask(local_sagemaker, "GET") == {"faults": []}
    assert once.list_models()["Models"] == []


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("throttle", "post one JSON object, or a list of them"),
        ([{"fault": "throttle"}, 3], "post one JSON object, or a list of them"),
        ({}, "fault is None; it must be one of throttle, internal,"),
        ({"fault": ["throttle"]}, "fault is ['throttle']; it must be one of"),
        ({"fault": "slow"}, "fault is 'slow'; it must be one of"),
        ({"fault": "throttle", "operaton": "x"}, "unknown members ['operaton']; fault throttle has"),
        ({"fault": "throttle", "seconds": 1}, "unknown members ['seconds']; fault throttle has"),
        ({"fault": "error"}, "fault error needs code"),
        ({"fault": "latency"}, "fault latency needs seconds"),
        ({"fault": "throttle", "rate": 1.5}, "rate is 1.5; it must be a number from 0 to 1"),
        ({"fault": "throttle", "rate": float("nan")}, "rate is nan; it must be a number from 0 to 1"),
        ({"fault": "throttle", "rate": "1"}, "rate is '1'; it must be a number"),
        ({"fault": "throttle", "times": True}, "times is True; it must be an integer"),
        ({"fault": "throttle", "every": 0}, "every is 0; it must be an integer from 1"),
        ({"fault": "throttle", "skip": 1.5}, "skip is 1.5; it must be an integer"),
        ({"fault": "throttle", "after": "yes"}, "after is 'yes'; it must be true or false"),
        ({"fault": "throttle", "service": 5}, "service is 5; it must be a text"),
        ({"fault": "throttle", "operation": "("}, "operation is '(', which is no regular expression"),
        ({"fault": "throttle", "burst": 5}, "burst needs tokens_per_second"),
        ({"fault": "throttle", "tokens_per_second": 5, "burst": 0}, "burst is 0; it must be a number from 1"),
        ({"fault": "truncate", "content_length": "half"}, "content_length is 'half'; it must be one of full, cut"),
        ({"fault": "error", "code": "X", "status": 200}, "status is 200; it must be an integer from 400 to 599"),
    ],
)
def test_a_bad_document_is_refused_as_a_whole_with_one_message(local_sagemaker, document, message):
    documents = document if isinstance(document, list) else [{"fault": "throttle"}, document]
    if document == "throttle":
        documents = document

    with pytest.raises(urllib.error.HTTPError) as caught:
        ask(local_sagemaker, "POST", document=documents)

    assert caught.value.code == 400
    answer = json.load(caught.value)
    assert list(answer) == ["error"]
    assert message in answer["error"]
    assert ask(local_sagemaker, "GET") == {"faults": []}


def test_a_body_that_is_not_json_is_refused(local_sagemaker):
    request = urllib.request.Request(local_sagemaker.url + "/_local/faults", data=b"{fault", method="POST")

    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=5)

    assert caught.value.code == 400
    assert json.load(caught.value)["error"].startswith("the body is not JSON: ")


def test_a_held_connection_ends_when_the_client_hangs_up(local_sagemaker, hasty):
    local_sagemaker.fault("timeout", operation="CreateProcessingJob")

    with pytest.raises(ReadTimeoutError):
        hasty.create_processing_job(**processing_request())

    until(lambda: not [thread for thread in threading.enumerate() if "process_request_thread" in thread.name])


def test_a_body_in_chunks_is_whole_when_the_fault_comes_after_the_work(local_sagemaker, s3):
    local_sagemaker.fault("internal", operation="PutObject", after=True)
    signer = local_sagemaker.client("s3", config=Config(signature_version="s3v4", proxies={}))
    url = signer.generate_presigned_url("put_object", Params={"Bucket": BUCKET, "Key": "k"})
    request = urllib.request.Request(url, data=iter([b"one, ", b"two"]), method="PUT")
    request.add_header("Content-Type", "text/plain")
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(request, timeout=5)

    assert s3.get_object(Bucket=BUCKET, Key="k")["Body"].read() == b"one, two"
