"""Real definitions (``tests/corpus/INDEX.md`` says where they are from), against an oracle that reads their text."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_sagemaker_pipelines.definition import load_definition

CORPUS = Path(__file__).parent.parent / "corpus"
FILES = sorted(CORPUS.glob("*.json"))
NESTED = ("IfSteps", "ElseSteps", "ForEachBody")

pytestmark = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)


def flatten(steps, container=None):
    """All steps with the step that holds them and the member they are in."""
    for each in steps:
        yield each, container
        for member in NESTED:
            yield from flatten((each.get("Arguments") or {}).get(member) or [], (each["Name"], member))


def own_text(each):
    """The JSON text of a step without the steps in it."""
    arguments = {key: value for key, value in (each.get("Arguments") or {}).items() if key not in NESTED}
    return json.dumps({**each, "Arguments": arguments})


def oracle_edges(document):
    """By step: what it waits for and in which state, read off the text."""
    flat = list(flatten(document["Steps"]))
    names = sorted((each["Name"] for each, _ in flat), key=len, reverse=True)
    reference = re.compile(r'\{"Get": "Steps\.(' + "|".join(map(re.escape, names)) + r")[.\[]")
    found = {}
    for each, container in flat:
        edges = found[each["Name"]] = {}
        for entry in each.get("DependsOn") or []:
            upstream, trigger = (entry, None) if isinstance(entry, str) else (entry["Step"], entry.get("Trigger"))
            edges[upstream] = trigger or "Completed"
        implied = reference.findall(own_text(each))
        if each["Type"] == "Cleanup":
            implied += [source["StepName"] for source in each["Arguments"]["Resources"]["S3"]]
        if container and container[1] != "ForEachBody":
            implied.append(container[0])
        for upstream in implied:
            edges.setdefault(upstream, "Completed")
    for each, container in flat:
        if container and container[1] == "ForEachBody":
            body = {other["Name"] for other, holder in flat if holder == container}
            for upstream, trigger in found.pop(each["Name"]).items():
                if upstream not in body:
                    found[container[0]].setdefault(upstream, trigger)
    return found


@pytest.fixture
def document(file):
    return json.loads(file.read_text())


def test_it_loads_with_all_its_steps_and_parameters(file, document):
    definition = load_definition(file)

    assert [(name, str(each.type)) for name, each in definition.all_steps.items()] == [
        (each["Name"], each["Type"]) for each, _ in flatten(document["Steps"])
    ]
    assert {name: str(parameter.type) for name, parameter in definition.parameters.items()} == {
        parameter["Name"]: parameter.get("Type", "String") for parameter in document.get("Parameters", [])
    }
    assert (definition.experiment_config is None) == (not document.get("PipelineExperimentConfig"))


def test_its_edges_are_those_of_the_text(file, document):
    graph = load_definition(file).graph
    found = {name: {up: str(trigger) for up, trigger in ups.items()} for name, ups in graph.upstreams.items()}

    assert found == oracle_edges(document)


def test_its_order_puts_every_step_after_what_it_waits_for(file, document):
    edges = oracle_edges(document)
    order = load_definition(file).graph.order()

    assert sorted(order) == sorted(edges)
    assert all(order.index(up) < order.index(name) for name, ups in edges.items() for up in ups)


def test_its_steps_may_stand_in_any_order(file, document):
    expected = load_definition(file)
    document["Steps"].reverse()
    for each, _ in list(flatten(document["Steps"])):
        for member in NESTED:
            if (each.get("Arguments") or {}).get(member):
                each["Arguments"][member].reverse()
    reversed_definition = load_definition(document)

    assert dict(reversed_definition.graph.upstreams) == dict(expected.graph.upstreams)
    assert set(reversed_definition.all_steps) == set(expected.all_steps)


def test_each_step_keeps_its_json(file, document):
    definition = load_definition(file)

    for each, _ in flatten(document["Steps"]):
        assert json.loads(definition.all_steps[each["Name"]].source) == json.loads(own_text(each))


def test_text_dict_and_path_give_the_same_model(file, document):
    definition = load_definition(file)

    assert load_definition(file.read_text()) == definition
    assert load_definition(document) == definition
    assert load_definition(json.dumps(document, indent=3)).digest == definition.digest


def test_every_get_of_the_text_is_a_listed_reference(file, document):
    definition = load_definition(file)
    for each, _ in flatten(document["Steps"]):
        text = own_text(each)
        # A loop's selector speaks of its own body.
        expected = re.findall(r'\{"Get": "((?!IterationOutput)[A-Z][A-Za-z]+)\.[^"]+"\}', text)
        listed = [str(reference).partition(".")[0] for reference, _ in definition.all_steps[each["Name"]].references]
        cleaned = len(each["Arguments"]["Resources"]["S3"]) if each["Type"] == "Cleanup" else 0
        assert sorted(listed) == sorted(expected + ["Steps"] * cleaned)


@pytest.fixture(scope="module")
def orders_by_hash_seed():
    """The order of every corpus file, in processes that hash strings differently."""
    code = (
        "import json, sys\n"
        "from airflow_sagemaker_pipelines.definition import load_definition\n"
        "print(json.dumps({path: [load_definition(path).graph.order(), repr(load_definition(path))] "
        "for path in sys.argv[1:]}))\n"
    )
    return [
        json.loads(
            subprocess.run(
                [sys.executable, "-c", code, *map(str, FILES)],
                capture_output=True,
                text=True,
                check=True,
                env=os.environ | {"PYTHONHASHSEED": seed},
            ).stdout
        )
        for seed in ("1", "2")
    ]


def test_its_order_is_the_same_in_every_process(file, orders_by_hash_seed):
    first, second = orders_by_hash_seed

    assert first[str(file)] == second[str(file)]
    assert tuple(first[str(file)][0]) == load_definition(file).graph.order()
