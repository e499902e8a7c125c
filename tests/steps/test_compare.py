"""What a step asks for against what AWS describes."""

from __future__ import annotations

import pytest

from airflow_sagemaker_pipelines.steps.compare import differences


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"Weight": 1}, {"Weight": 1.0}),
        ({"Capture": {}, "Isolated": False, "Layers": []}, {}),
        ({"Variants": [{"Model": "m"}]}, {"Variants": [{"Model": "m", "Filled": "in"}], "CreationTime": "t"}),
        ({"Subnets": ["a", "b"]}, {"Subnets": ["b", "a"]}),
    ],
)
def test_what_aws_writes_otherwise_or_fills_in_is_no_difference(wanted, found):
    assert list(differences(wanted, found)) == []


@pytest.mark.parametrize(
    ("wanted", "found", "text"),
    [
        ({"A": {"B": 1}}, {"A": {"B": 2}}, "A.B is 2, not 1"),
        ({"A": 1}, {}, "A is absent, not 1"),
        ({"A": False}, {"A": True}, "A is true, not false"),
        ({"A": [{"B": 1}, {"B": 2}]}, {"A": [{"B": 1}, {"B": 3}]}, "A[1].B is 3, not 2"),
        ({"A": ["x"]}, {"A": ["x", "y"]}, 'A is ["x", "y"], not ["x"]'),
    ],
)
def test_a_difference_is_told_with_its_place(wanted, found, text):
    assert list(differences(wanted, found)) == [text]
