"""Whatever comes in, either a model or a PipelineDefinitionError comes out."""

import copy
import json
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_sagemaker_pipelines.definition import PipelineDefinition, PipelineDefinitionError, load_definition

CORPUS = Path(__file__).parent.parent / "corpus"
FILES = sorted(CORPUS.glob("*.json"), key=lambda file: file.stat().st_size)


def load(source):
    """Load, and use what comes out; any other exception fails the test."""
    try:
        definition = load_definition(source)
    except PipelineDefinitionError as error:
        assert error.problems
        assert str(error)
        for problem in error.problems:
            assert isinstance(problem.where, str)
            assert problem.where
            assert problem.what
            assert problem.fix
        return None
    assert isinstance(definition, PipelineDefinition)
    order = definition.graph.order()
    assert len(set(order)) == len(order) == len(definition.graph.upstreams)
    for each in definition.all_steps.values():
        assert json.loads(each.source)["Name"] == each.name
    return definition


WORDS = st.sampled_from(
    [
        "Version", "2020-12-01", "Steps", "Name", "Type", "Arguments", "DependsOn", "Training", "Condition", "ForEach",
        "Lambda", "Fail", "Processing", "Cleanup", "Conditions", "IfSteps", "ElseSteps", "ForEachBody", "Get",
        "Std:Join", "Std:JsonGet", "Values", "On", "Path", "PropertyFile", "S3Uri", "Parameters", "Parameters.A",
        "Steps.A.b", "Steps.A.PropertyFiles.F", "Execution.PipelineName", "Equals", "Not", "Or", "In", "LeftValue",
        "RightValue", "QueryValue", "Value", "RetryPolicies", "CacheConfig", "ExceptionType", "Step", "Trigger", "A",
        "PropertyFiles", "OutputParameters", "Selector", "Field", "IterableItems", "MaxConcurrency", "Any",
        "IterationOutput.A.b", "ForEach.CurrentItem", "PipelineExperimentConfig", "MlflowConfig", "Metadata",
    ]
)  # fmt: skip
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | WORDS
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS | st.text(max_size=3), inner, max_size=5),
    max_leaves=20,
)
STEP = st.fixed_dictionaries(
    {},
    optional={
        "Name": st.sampled_from(["A", "B", "C", "A-1", ""]) | JSON,
        "Type": st.sampled_from(["Lambda", "Condition", "ForEach", "Fail", "Cleanup", "EMR", "Lineage", "Job"]) | JSON,
        "Arguments": st.dictionaries(WORDS, JSON, max_size=5) | JSON,
        "DependsOn": JSON | st.lists(st.sampled_from(["A", "B", "C"]), max_size=2),
        "RetryPolicies": JSON,
        "CacheConfig": JSON,
        "PropertyFiles": JSON,
        "OutputParameters": JSON,
        "FunctionArn": JSON,
    },
)
DOCUMENTS = st.fixed_dictionaries(
    {"Steps": st.lists(STEP, max_size=4) | JSON},
    optional={
        "Version": st.just("2020-12-01") | JSON,
        "Parameters": JSON,
        "Metadata": JSON,
        "PipelineExperimentConfig": JSON,
        "MlflowConfig": JSON,
    },
)


@settings(max_examples=200, deadline=None)
@given(JSON)
def test_any_json_value(value):
    load(json.dumps(value).encode())


@settings(max_examples=300, deadline=None)
@given(DOCUMENTS)
def test_anything_shaped_like_a_document(value):
    load(value)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60) | st.text('{}[]":,\\u d8ef0123456789.eE+-ntrue\ufeff\0', max_size=40))
@example('{"Steps": []}')
@example("\ufeff{")
def test_any_text(text):
    load(text)
    load("{" + text)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
@example(b"\xef\xbb\xbf")
def test_any_bytes(data):
    load(data)
    load(b'{"Steps": [' + data + b"]}")


PYTHON = st.recursive(
    SCALARS
    | st.binary(max_size=5)
    | st.dates()
    | st.complex_numbers()
    | st.decimals()
    | st.uuids()
    | st.just(object())
    | st.just(...)
    | st.functions()
    | st.integers(min_value=2**70, max_value=2**200)
    | st.text(st.characters(categories=["Cs"]), min_size=1, max_size=2),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.frozensets(st.integers(), max_size=2)
        | st.dictionaries(WORDS | st.integers() | st.none() | st.tuples(st.integers()), inner, max_size=4)
    ),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(PYTHON)
def test_any_python_object(value):
    load(value)
    load({"Steps": value})
    load({"Steps": [{"Name": "A", "Type": "Lambda", "FunctionArn": "f", "Arguments": {"x": value}}]})


@pytest.mark.parametrize(
    "text", ["[", "{", '{"a":', '{"Steps":', '{"Steps":[{"Arguments":{"IfSteps":', "[{", '{"Get":']
)
@pytest.mark.parametrize("count", [500, 1_000, 3_000, 100_000])
def test_deep_nesting_open_or_closed(text, count):
    closing = "".join({"[": "]", "{": "}"}[char] for char in reversed(text) if char in "[{")
    for source in (text * count, text * count + "1" + closing * count):
        assert load(source.encode()) is None
        assert load(b'{"Steps": ' + source.encode() + b"}") is None
        load(b'{"Steps": [], "Extra": ' + source.encode() + b"}")


# --- real documents, damaged


def places(value, at=()):
    """Every place in a JSON value below its root."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*at, key)
        yield from places(item, (*at, key))


def parent_of(document, place):
    for key in place[:-1]:
        document = document[key]
    return document


def change(document, place, make):
    """Replace or remove the node at a place that may be gone already."""
    try:
        parent = parent_of(document, place)
        node = parent[place[-1]]
    except (KeyError, IndexError, TypeError):
        return
    if isinstance(parent, str):
        return
    if make is None:
        del parent[place[-1]]
    else:
        parent[place[-1]] = make(node)


MUTATIONS = st.one_of(
    st.none(),
    JSON.map(lambda value: lambda node: value),
    st.just(lambda node: [node]),
    st.just(lambda node: {"Get": node}),
    st.just(lambda node: {"Std:Join": {"Values": [node]}}),
    st.just(lambda node: node * 2 if isinstance(node, str | list) else node),
    st.just(lambda node: node[:-1] if isinstance(node, str | list) else node),
    st.just(lambda node: dict(reversed(node.items())) if isinstance(node, dict) else node),
)
SMALL = [json.loads(file.read_text()) for file in FILES[:40]]
SMALL_PLACES = [list(places(document)) for document in SMALL]


@settings(max_examples=300, deadline=None)
@given(
    st.integers(0, len(SMALL) - 1),
    st.lists(st.tuples(st.integers(0, 10**6), MUTATIONS), min_size=1, max_size=6),
)
def test_real_documents_with_random_damage(index, mutations):
    document = copy.deepcopy(SMALL[index])
    for number, make in mutations:
        change(document, SMALL_PLACES[index][number % len(SMALL_PLACES[index])], make)
    load(document)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(SMALL) - 1), st.data())
def test_real_documents_with_nodes_exchanged(index, data):
    document = copy.deepcopy(SMALL[index])
    numbers = st.integers(0, len(SMALL_PLACES[index]) - 1)
    for _ in range(data.draw(st.integers(1, 4))):
        first, second = (SMALL_PLACES[index][data.draw(numbers)] for _ in range(2))
        try:
            node = copy.deepcopy(parent_of(SMALL[index], second)[second[-1]])
        except (KeyError, IndexError, TypeError):
            continue
        change(document, first, lambda _, node=node: node)
    load(document)


SYSTEMATIC = [
    "sdk3_foreach_cleanup_emrserverless_endpoint_lineage",
    "sdk2_checks_emr_automl",
    "condition-operators",
    "deploy-endpoint",
    "v3-agentic-rl-eval-finetuned",
]
VALUES = [None, 0, -1, 1.5, True, "", "x", [], {}, [[]], {"Get": []}, {"Get": "Steps.x.y"}]


@pytest.mark.parametrize("name", SYSTEMATIC)
def test_every_single_node_of_a_document_replaced_or_removed(name):
    text = (CORPUS / f"{name}.json").read_text()
    document = json.loads(text)
    all_places = list(places(document))
    assert len(all_places) > 80
    for place in all_places:
        parent = parent_of(document, place)
        node = parent[place[-1]]
        for value in VALUES:
            parent[place[-1]] = value
            load(document)
        if isinstance(parent, dict):
            members = list(parent.items())
            del parent[place[-1]]
            load(document)
            parent.clear()
            parent.update(members)
        parent[place[-1]] = node
    assert document == json.loads(text)


@pytest.mark.parametrize("file", FILES[:12], ids=lambda file: file.stem)
def test_text_cut_off_anywhere(file):
    text = file.read_bytes()
    for end in range(0, len(text) - 2, 61):
        assert load(text[:end]) is None
