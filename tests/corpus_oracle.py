"""What a definition's text says about a run: which values decide its conditions, and which steps run then.

Reads the JSON alone, without the package, so that tests can hold the package against it.
"""

from __future__ import annotations

import json
import operator
import random
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.definition.test_corpus import NESTED, flatten, oracle_edges

CORPUS = Path(__file__).parent / "corpus"
FILES = sorted(CORPUS.glob("*.json"))

SDK3 = "sdk3_foreach_cleanup_emrserverless_endpoint_lineage"

#: Values of parameters whose default is of no use, or that have none and take not just any text.
GIVEN = {
    "clarify-data-bias-check": {"SuppliedBaselineConstraintsUri": "s3://baselines/constraints.json"},
    "cv-defect-classification": {"InputData": "s3://lake/defects"},
    "stored-asset-prediction-deepar": {"ModelPackageGroupName": "assets"},
}

#: What makes those run, by text replaced, that AWS refuses before anything of interest.
REPAIRS = {
    SDK3: [("111122223333", "123456789012")],
    "sdk2_checks_emr_automl": [('"Execution.StartDateTime"', '"Execution.PipelineExecutionId"')],
    "stored-customer-churn-2021": [("XXXXXXXXXX", "123456789012")],
}

#: A value of each type for what nobody gives.
_ANY_VALUE = {"Integer": 1, "Float": 0.5, "Boolean": True, "String": "s3://given/value"}
_COMPARISONS = {
    "Equals": operator.eq,
    "NotEquals": operator.ne,
    "GreaterThan": operator.gt,
    "GreaterThanOrEqualTo": operator.ge,
    "LessThan": operator.lt,
    "LessThanOrEqualTo": operator.le,
}
_TRIALS = 5000
_PATH = re.compile(r"\['([^']+)'\]|\[(\d+)\]|([^.\[\]]+)")


class NoOutcome(Exception):  # noqa: N818
    """Operands that cannot be compared."""


def key_of(expression: Any) -> str:
    """Name an expression; equal ones have one name."""
    return json.dumps(expression, sort_keys=True)


def expressions(node: Any, kind: str) -> Iterator[Any]:
    """Yield the operands of all functions of one kind in a document."""
    if isinstance(node, dict):
        if list(node) == [kind]:
            yield node[kind]
        for value in node.values():
            yield from expressions(value, kind)
    elif isinstance(node, list):
        for value in node:
            yield from expressions(value, kind)


class Corpus:
    """One definition of the corpus."""

    def __init__(
        self, file: Path, given: dict[str, Any] | None = None, repairs: Iterable[tuple[str, str]] = ()
    ) -> None:
        """Read a definition.

        :param given: values of parameters, for those that have no default or a useless one.
        :param repairs: what is replaced in its text.
        """
        self.name = file.stem
        self.text = file.read_text()
        for old, new in repairs:
            assert old in self.text
            self.text = self.text.replace(old, new)
        self.document = json.loads(self.text)
        self.steps = {step["Name"]: step for step, _ in flatten(self.document["Steps"])}
        self.holders = {step["Name"]: holder for step, holder in flatten(self.document["Steps"])}
        self.edges = oracle_edges(self.document)
        self.conditions = [name for name, step in self.steps.items() if step["Type"] == "Condition"]
        self.given = (given or {}) | {
            item["Name"]: (given or {}).get(item["Name"], _ANY_VALUE[item.get("Type", "String")])
            for item in self.document.get("Parameters") or []
            if "DefaultValue" not in item
        }

    @cached_property
    def declared(self) -> dict[str, dict[str, Any]]:
        return {item["Name"]: item for item in self.document.get("Parameters") or []}

    @cached_property
    def defaults(self) -> dict[str, Any]:
        given = {name: item["DefaultValue"] for name, item in self.declared.items() if "DefaultValue" in item}
        return given | self.given

    def files_read(self) -> list[dict[str, Any]]:
        """Return every ``Std:JsonGet`` of the definition once."""
        return list({key_of(item): item for item in expressions(self.document, "Std:JsonGet")}.values())

    # Values

    def value(self, node: Any, values: dict[str, Any]) -> Any:
        """Give an expression its value in a scenario."""
        if not isinstance(node, dict):
            return node
        ((kind, inner),) = node.items()
        if kind == "Std:JsonGet":
            return values[key_of(inner)]
        if kind == "Std:Join":
            return inner.get("On", "").join(_text(self.value(item, values)) for item in inner["Values"])
        root, _, rest = inner.partition(".")
        if root == "Parameters":
            return values.get(rest, self.defaults[rest])
        if inner == "Execution.StartDateTime":
            return datetime.now(UTC).isoformat()
        return values.get(key_of(inner), inner)

    def outcome(self, condition: str, values: dict[str, Any]) -> bool:
        """Evaluate a condition.

        :raises NoOutcome: if its operands cannot be compared.
        """
        outcomes = [self._holds(item, values) for item in self.steps[condition]["Arguments"]["Conditions"]]
        return all(outcomes)

    def _holds(self, node: dict[str, Any], values: dict[str, Any]) -> bool:
        kind = node["Type"]
        if kind == "Not":
            return not self._holds(node["Condition"], values)
        if kind == "Or":
            # A list: no comparison is passed over.
            outcomes = [self._holds(item, values) for item in node["Conditions"]]
            return any(outcomes)
        if kind in {"In", "NotIn"}:
            query = self.value(node["QueryValue"], values)
            found = any(_same(query, self.value(item, values)) for item in node["Values"])
            return found == (kind == "In")
        left, right = (self.value(node[side], values) for side in ("LeftValue", "RightValue"))
        if _type(left) != _type(right):
            raise NoOutcome(f"{left!r} {kind} {right!r}")
        return bool(_COMPARISONS[kind](left, right))

    # Scenarios

    def demands(self, step: str) -> dict[str, bool]:
        """Return the outcomes without which a step does not run."""
        found: dict[str, bool] = {}
        todo = [step]
        while todo:
            name = todo.pop()
            holder = self.holders[name]
            if holder and holder[1] in {"IfSteps", "ElseSteps"}:
                found[holder[0]] = holder[1] == "IfSteps"
            todo += self.edges.get(name, {})
        return found

    def scenarios(self) -> list[dict[str, Any]]:
        """Return values for runs in which each condition comes to each outcome that it can come to."""
        found: list[dict[str, Any]] = []
        seen: set[tuple[str, bool | None]] = set()
        for condition in self.conditions:
            for wanted in (True, False):
                if (condition, wanted) in seen:
                    continue
                values = self._solve({**self.demands(condition), condition: wanted})
                if values is not None:
                    found.append(values)
                    seen |= self._outcomes(values)
        return found or [{name: options[0] for name, options in self._variables().items()}]

    def unreachable(self) -> set[tuple[str, bool]]:
        """Return the outcomes that no scenario comes to."""
        seen = {pair for values in self.scenarios() for pair in self._outcomes(values)}
        return {(name, outcome) for name in self.conditions for outcome in (True, False)} - seen

    def _outcomes(self, values: dict[str, Any]) -> set[tuple[str, bool | None]]:
        run = self.executed(values)
        return {(name, self._outcome_or_none(name, values)) for name in self.conditions if name in run}

    def _outcome_or_none(self, condition: str, values: dict[str, Any]) -> bool | None:
        try:
            return self.outcome(condition, values)
        except NoOutcome:
            return None

    def _solve(self, wanted: dict[str, bool]) -> dict[str, Any] | None:
        """Find values of parameters and files with which conditions have the wanted outcomes, or nothing."""
        variables = self._variables()
        chance = random.Random(self.name)
        for trial in range(_TRIALS if variables else 1):
            values = {
                name: self.defaults[name]
                if name in self.defaults and (not trial or chance.random() < 0.7)
                else chance.choice(options)
                for name, options in variables.items()
            }
            if all(self._outcome_or_none(name, values) is outcome for name, outcome in wanted.items()) and not any(
                outcome is None for _, outcome in self._outcomes(values)
            ):
                return values
        return None

    def _variables(self) -> dict[str, list[Any]]:
        """Return what decides conditions, with values to try."""
        asked = [self.steps[name]["Arguments"]["Conditions"] for name in self.conditions]
        pool = list(_literals(asked)) + list(self.defaults.values())
        numbers = sorted({number + step for number in pool if _type(number) == "number" for step in (0, 1, -1)})
        texts = [item for item in dict.fromkeys(pool) if isinstance(item, str)][:20]
        options: dict[str, list[Any]] = {}
        for name in dict.fromkeys(expressions(asked, "Get")):
            if name.startswith("Parameters.") and (item := self.declared[name.removeprefix("Parameters.")]):
                whole = [int(number) for number in numbers if number == int(number)]
                kinds = {"Integer": whole, "Float": numbers, "Boolean": [True, False], "String": [*texts, "other"]}
                options[item["Name"]] = item.get("EnumValues") or kinds[item.get("Type", "String")]
        decides = {key_of(item) for item in expressions(asked, "Std:JsonGet")}
        for item in self.files_read():
            key = key_of(item)
            options[key] = [*numbers, *texts, "other"] if key in decides else [_ANY_VALUE["String"]]
        return options

    # Runs

    def executed(self, values: dict[str, Any], failed: Iterable[str] = ()) -> set[str]:
        """Return the steps that run, outside of loops' bodies, when the named ones fail."""
        lost = {*failed, *(name for name, step in self.steps.items() if step["Type"] == "Fail")}
        lost |= {name for name in self.conditions if self._outcome_or_none(name, values) is None}
        run: set[str] = set()
        waiting = dict(self.edges)
        done: set[str] = set()
        while waiting:
            ready = [name for name, ups in waiting.items() if set(ups) <= done]
            assert ready, f"{self.name}: {sorted(waiting)} wait for each other"
            for name in ready:
                if self._starts(name, waiting.pop(name), values, run, lost):
                    run.add(name)
                done.add(name)
        return run

    def _starts(
        self, name: str, upstreams: dict[str, str], values: dict[str, Any], run: set[str], lost: set[str]
    ) -> bool:
        container, member = self.holders[name] or (None, None)
        if member in {"IfSteps", "ElseSteps"} and self._outcome_or_none(container, values) is not (member == "IfSteps"):
            return False
        wants = {"Completed": lambda up: up not in lost, "Failed": lambda up: up in lost, "Any": lambda up: True}
        return all(up in run and wants.get(trigger, lambda up: False)(up) for up, trigger in upstreams.items())


def corpus_of(file: Path) -> Corpus:
    """Return a definition as it is."""
    return Corpus(file, GIVEN.get(file.stem))


def repaired(file: Path) -> Corpus:
    """Return a definition without what AWS refuses at the first step."""
    return Corpus(file, GIVEN.get(file.stem), REPAIRS.get(file.stem, ()))


def document_with(path: str, value: Any, into: dict[str, Any]) -> dict[str, Any]:
    """Put a value where a JsonGet looks for it."""
    keys = [int(i) if i else name or quoted for quoted, i, name in _PATH.findall(path)]
    node: Any = into
    for key, following in zip(keys, [*keys[1:], None], strict=True):
        if isinstance(key, int):
            node.extend({} for _ in range(key + 1 - len(node)))
        if following is None:
            node[key] = value
        else:
            empty: Any = [] if isinstance(following, int) else {}
            if isinstance(key, int):
                node[key] = node[key] or empty
            else:
                node.setdefault(key, empty)
            node = node[key]
    return into


def _literals(node: Any) -> Iterator[Any]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key not in {"Get", "Type", "Path", *NESTED}:
                yield from _literals(value)
    elif isinstance(node, list):
        for value in node:
            yield from _literals(value)
    elif node is not None:
        yield node


def _type(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    return "number" if isinstance(value, int | float) else "string"


def _same(left: Any, right: Any) -> bool:
    return _type(left) == _type(right) and bool(left == right)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
