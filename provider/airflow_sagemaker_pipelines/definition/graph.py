"""Which step waits for which: dependencies, order, cycles, and the selection of a subset."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from types import MappingProxyType

from airflow_sagemaker_pipelines.definition.errors import Problem, StepSelectionError
from airflow_sagemaker_pipelines.definition.expressions import PropertyFileReference, StepReference
from airflow_sagemaker_pipelines.definition.reader import nearest
from airflow_sagemaker_pipelines.definition.steps import ConditionStep, ForEachStep, Step, Trigger

_MAX_CYCLES_SHOWN = 10


def walk(steps: tuple[Step, ...]) -> Iterator[Step]:
    """Iterate over steps and those in their branches and loop bodies, each container before its content."""
    for step in steps:
        yield step
        if isinstance(step, ConditionStep):
            yield from walk(step.if_steps)
            yield from walk(step.else_steps)
        elif isinstance(step, ForEachStep):
            yield from walk(step.body)


def upstreams(step: Step) -> Mapping[str, Trigger]:
    """Return the steps that one step waits for, with the state it waits for them to reach.

    They are what ``DependsOn`` lists, what any expression in the step refers to, and the Condition step whose branch
    holds the step (section 4.1 of the AWS semantics). References inside a Condition's branches belong to the steps
    there; those inside a loop's body belong to the loop, unless they stay within the body.
    """
    found = {dependency.step: dependency.trigger for dependency in step.depends_on}
    for reference, _ in step.references:
        if isinstance(reference, StepReference | PropertyFileReference):
            found.setdefault(reference.step, Trigger.COMPLETED)
    if step.branch is not None:
        found.setdefault(step.branch.condition, Trigger.COMPLETED)
    if isinstance(step, ForEachStep):
        own = {child.name for child in step.body}
        for child in step.body:
            for name, trigger in upstreams(child).items():
                if name not in own:
                    found.setdefault(name, trigger)
    return found


@dataclass(frozen=True, slots=True)
class Selection:
    """What runs when only some steps are selected."""

    selected: tuple[str, ...]
    reused: tuple[str, ...]
    """Steps that selected steps wait for; their outputs come from an earlier execution."""
    skipped: tuple[str, ...]
    """All other steps."""


class Graph:
    """The dependencies among the steps that run on their own, which are all but those in loop bodies.

    :param steps: the steps, in the document's order.
    """

    __slots__ = ("_downstreams", "_upstreams")

    def __init__(self, steps: Collection[Step]) -> None:
        self._upstreams = MappingProxyType({step.name: MappingProxyType(upstreams(step)) for step in steps})
        self._downstreams: dict[str, list[str]] = {name: [] for name in self.upstreams}
        for name, edges in self.upstreams.items():
            for upstream in edges:
                self._downstreams.setdefault(upstream, []).append(name)

    def __deepcopy__(self, memo: dict[int, object]) -> Graph:
        return self

    @property
    def upstreams(self) -> Mapping[str, Mapping[str, Trigger]]:
        """By step name: the steps it waits for."""
        return self._upstreams

    def downstreams(self, name: str) -> tuple[str, ...]:
        """Return the steps that wait for one step."""
        return tuple(self._downstreams[name])

    def order(self) -> tuple[str, ...]:
        """Return all steps, each after those it waits for; the same definition gives the same order.

        :raises graphlib.CycleError: if there is none.
        """
        return tuple(TopologicalSorter(self.upstreams).static_order())

    def cycles(self) -> Iterator[tuple[str, ...]]:
        """Find cycles, each as the steps along it with the first one repeated at the end.

        Each cycle found is cut before the next search, so overlapping ones may share one report.
        """
        # Ordered, unlike sets: the same definition gives the same report.
        edges = {name: dict(waits_for) for name, waits_for in self.upstreams.items()}
        for _ in range(_MAX_CYCLES_SHOWN):
            try:
                TopologicalSorter(edges).prepare()
            except CycleError as error:
                # graphlib lists a cycle from the waited-for to the waiting step.
                cycle = tuple(reversed(error.args[1]))
                del edges[cycle[0]][cycle[1]]
                yield cycle
            else:
                return

    def reach(self, name: str, *, up: bool) -> frozenset[str]:
        """Return every step above (``up``) or below a step."""
        seen: set[str] = set()
        front = [name]
        while front:
            step = front.pop()
            for neighbour in self.upstreams.get(step, ()) if up else self._downstreams.get(step, ()):
                if neighbour not in seen:
                    seen.add(neighbour)
                    front.append(neighbour)
        return frozenset(seen)

    def select(self, names: Collection[str]) -> Selection:
        """Work out what runs when only these steps are selected.

        "All steps in all paths between two selected steps should be included" (StartPipelineExecution,
        ``SelectiveExecutionConfig``); what a selected step waits for beyond them is reused from an earlier execution.

        :raises StepSelectionError: for no or unknown names, and for each step that is missing between two selected
            ones.
        """
        problems = [
            Problem(f"Step '{name}'", "the pipeline has no such step", nearest(name, self.upstreams))
            for name in names
            if name not in self.upstreams
        ]
        if not names:
            problems.append(Problem("Selected steps", "none is given", "Select at least one step"))
        selected = {name for name in names if name in self.upstreams}
        below = frozenset().union(*(self.reach(name, up=False) for name in selected))
        above = frozenset().union(*(self.reach(name, up=True) for name in selected))
        problems += [
            Problem(f"Step '{name}'", "lies between selected steps but is not selected", "Select it as well")
            for name in self.upstreams
            if name in below and name in above and name not in selected
        ]
        if problems:
            raise StepSelectionError(problems)
        needed = {upstream for name in selected for upstream in self.upstreams[name]} - selected
        return Selection(
            selected=tuple(name for name in self.upstreams if name in selected),
            reused=tuple(name for name in self.upstreams if name in needed),
            skipped=tuple(name for name in self.upstreams if name not in selected and name not in needed),
        )
