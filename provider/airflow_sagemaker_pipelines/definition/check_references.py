"""Checks what the parts of a document say about each other."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

from airflow_sagemaker_pipelines.definition.errors import Location
from airflow_sagemaker_pipelines.definition.expressions import (
    CurrentItemReference,
    ExperimentReference,
    IterationOutputReference,
    ParameterReference,
    PropertyFileReference,
    Reference,
    StepReference,
)
from airflow_sagemaker_pipelines.definition.graph import Graph
from airflow_sagemaker_pipelines.definition.parameters import Parameter
from airflow_sagemaker_pipelines.definition.reader import Problems
from airflow_sagemaker_pipelines.definition.steps import (
    STEP_TYPES_WITHOUT_PROPERTIES,
    ForEachStep,
    Step,
    StepType,
)


class ReferenceChecker:
    """Checks references and dependencies of all steps.

    :param parameters: the declared parameters.
    :param steps: every step by name.
    :param graph: the dependencies among the steps outside loop bodies.
    :param names: the names of all steps, also of those that could not be read.
    :param has_experiment: whether the document has a ``PipelineExperimentConfig``.
    :param problems: where problems go.
    """

    def __init__(
        self,
        *,
        parameters: Mapping[str, Parameter],
        steps: Mapping[str, Step],
        graph: Graph,
        names: Collection[str],
        has_experiment: bool,
        problems: Problems,
    ) -> None:
        self.parameters = parameters
        self.steps = steps
        self.graph = graph
        self.names = names
        self.has_experiment = has_experiment
        self.problems = problems

    def check(self, steps: Iterable[Step]) -> None:
        """Note every problem of these steps, which may hold more than ``self.steps`` if names occur twice."""
        for step in steps:
            for dependency in step.depends_on:
                self._check_dependency(step, dependency.step, dependency.location)
            for reference, at in step.references:
                self.check_reference(reference, at, step)
        self._check_loop_names()
        self._check_cycles()

    def check_reference(self, reference: Reference, at: Location, step: Step | None) -> None:
        """Note what is wrong with one reference; ``step`` is the step it stands in."""
        match reference:
            case ParameterReference(name) if name not in self.parameters:
                self.problems.add(at, f"there is no parameter '{name}'", self.problems.nearest(name, self.parameters))
            case ExperimentReference() if not self.has_experiment:
                self.problems.add(at, "the pipeline has no PipelineExperimentConfig", "Add one, or use a parameter")
            case CurrentItemReference() if step is None or step.loop is None:
                self.problems.add(at, "ForEach.CurrentItem stands outside a loop's body", "Use it inside ForEachBody")
            case IterationOutputReference():
                self.problems.add(at, "IterationOutput stands outside a loop's selector", "Use it in Selector.Field")
            case StepReference(name) | PropertyFileReference(name):
                self._check_step_reference(reference, at, step)
            case _:
                pass

    def _check_step_reference(
        self, reference: StepReference | PropertyFileReference, at: Location, step: Step | None
    ) -> None:
        if step is None:
            self.problems.add(at, "no step has run when this is evaluated", "Use parameters and execution variables")
            return
        target = self._find(reference.step, at, step)
        if target is None:
            return
        if target.type in STEP_TYPES_WITHOUT_PROPERTIES:
            self.problems.add(
                at,
                f"'{target.name}' is a {target.type} step, which has no properties",
                "Remove the reference",
            )
        elif isinstance(reference, PropertyFileReference) and reference.name not in target.property_files:
            self.problems.add(
                at,
                f"step '{target.name}' has no property file '{reference.name}'",
                self.problems.nearest(reference.name, target.property_files),
            )

    def _check_dependency(self, step: Step, name: str, at: Location) -> None:
        target = self._find(name, at, step)
        if target is not None and target.type is StepType.FAIL:
            self.problems.add(at, f"{step.name} can not depend on the Fail step '{name}'", "Remove the dependency")

    def _find(self, name: str, at: Location, step: Step) -> Step | None:
        """Return the step of a name if ``step`` may refer to it."""
        target = self.steps.get(name)
        if target is None:
            if name not in self.names:
                self.problems.add(at, f"there is no step '{name}'", self.problems.nearest(name, self.names))
            return None
        if target.loop is not None and target.loop != step.loop:
            self.problems.add(
                at,
                f"'{name}' runs inside the loop '{target.loop}'",
                f"Refer to Steps.{target.loop}.IterationOutputs[…].{name} or Steps.{target.loop}.Selected",
            )
            return None
        return target

    def _check_loop_names(self) -> None:
        """Children of a loop are called ``<body step>-<index>``; SageMaker refuses other steps of such a name."""
        bodies = {step.name for step in self.steps.values() if step.loop is not None}
        for step in self.steps.values():
            match = re.fullmatch(r"(.+)-\d+", step.name) if bodies and step.loop is None else None
            if match and match[1] in bodies:
                self.problems.add(
                    (*step.location, "Name"),
                    f"'{step.name}' is a name that an iteration of '{match[1]}' takes",
                    "Rename the step",
                )

    def _check_cycles(self) -> None:
        bodies = (Graph(step.body) for step in self.steps.values() if isinstance(step, ForEachStep))
        for graph in (self.graph, *bodies):
            for cycle in graph.cycles():
                self.problems.add(
                    self.steps[cycle[0]].location,
                    f"the steps wait for each other: {' → '.join(cycle)}",
                    "Remove one of these dependencies or references",
                )
