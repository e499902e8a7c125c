"""What AWS leaves open can be chosen, in the program and over HTTP."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from dataclasses import fields
from pathlib import Path

import pytest

from airflow_sagemaker_pipelines.local import LocalEndpoint, PipelineSettings

PATH = "/_local/pipelines"


def ask(endpoint, method="GET", document=None):
    data = None if document is None else json.dumps(document).encode()
    request = urllib.request.Request(endpoint.url + PATH, data=data, method=method)
    with urllib.request.urlopen(request, timeout=5) as response:
        return json.load(response)


def test_choices_hold_until_a_reset(local_sagemaker):
    local_sagemaker.choose(loop_goes_on=False)
    chosen = ask(local_sagemaker, "POST", {"stopped_job_status": "Failed", "default_parallelism": 3})

    assert (chosen["loop_goes_on"], chosen["stopped_job_status"], chosen["default_parallelism"]) == (False, "Failed", 3)
    assert ask(local_sagemaker) == chosen
    local_sagemaker.reset()
    assert ask(local_sagemaker)["loop_goes_on"] is True


@pytest.mark.parametrize(
    "document",
    [
        {"nothing": True},
        {"loop_goes_on": "yes"},
        {"empty_loop": "Stopped"},
        {"time_scale": -1},
        {"default_parallelism": 1.5},
        ["loop_goes_on"],
    ],
)
def test_choices_that_make_no_sense_are_refused(local_sagemaker, document):
    with pytest.raises(urllib.error.HTTPError) as caught:
        ask(local_sagemaker, "POST", document)
    assert caught.value.code == 400
    assert ask(local_sagemaker) == json.loads(json.dumps(vars(PipelineSettings())))


def test_an_endpoint_can_be_made_with_choices():
    endpoint = LocalEndpoint(pipelines=PipelineSettings(list_defaults=False))

    assert endpoint._server.state.pipelines.list_defaults is False


def test_every_setting_is_chosen_in_some_test_and_documented():
    texts = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    names = {field.name for field in fields(PipelineSettings)}

    assert {name for name in names if not re.search(rf"choose\([^)]*\b{name}=", texts)} == set()
    assert {name for name in names if f":param {name}:" not in str(PipelineSettings.__doc__)} == set()
