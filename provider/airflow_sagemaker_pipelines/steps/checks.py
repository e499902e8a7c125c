"""What QualityCheck and ClarifyCheck steps share (section 7.12 of the AWS semantics).

A check is a processing job that computes a new baseline, whatever ``SkipCheck`` says, and, when a drift check is due,
compares the data with the previous baseline:

=========  ===================  =======================  ==============================
SkipCheck  RegisterNewBaseline  drift check              BaselineUsedForDriftCheck…
=========  ===================  =======================  ==============================
false      false                against the previous     the previous
false      true                 against the previous     the newly calculated
true       false                none                     the previous, which must exist
true       true                 none                     the newly calculated
=========  ===================  =======================  ==============================
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import PurePosixPath
from typing import Any, ClassVar

from botocore.exceptions import ClientError

from airflow_sagemaker_pipelines.steps.aws import Clients, aws_call, error_code, required
from airflow_sagemaker_pipelines.steps.errors import StepRequestError
from airflow_sagemaker_pipelines.steps.runner import Handle, State, StepRun
from airflow_sagemaker_pipelines.steps.s3 import read_file, split_s3_uri
from airflow_sagemaker_pipelines.steps.status import Verdict
from airflow_sagemaker_pipelines.steps.types.processing import Processing

CONSTRAINTS = "Constraints"
STATISTICS = "Statistics"

#: UNCERTAIN: the service's documents name none of its files. This one is what the Model Monitor and Clarify
#: containers write into their output when they monitor; it lists ``violations``, possibly none.
VIOLATIONS_FILE = "constraint_violations.json"

#: UNCERTAIN: a definition holds no baseline inputs, and nobody says how the service compares. These environment
#: variables and folders are the containers' public contract for monitoring jobs ("Container Contract Inputs" in the
#: developer guide); that check steps use it is inferred.
BASELINE_VARIABLES = {CONSTRAINTS: "baseline_constraints", STATISTICS: "baseline_statistics"}
BASELINE_FOLDERS = {
    CONSTRAINTS: "/opt/ml/processing/baseline/constraints",
    STATISTICS: "/opt/ml/processing/baseline/stats",
}

#: Where a check of one type finds each baseline file in a model package's ``DriftCheckBaselines``.
PackageMembers = Mapping[str, tuple[str, str]]


class Check(Processing):
    """A processing job that computes a baseline and may compare with the previous one.

    * The previous baseline is what the step supplies, file by file, else that of the latest approved package in
      its group. UNCERTAIN: statistics are used where there are some; only missing constraints fail the step.
    * A job that finds violations fails the step unless ``FailOnViolation`` is false. A retry then runs another job.
    """

    #: "Quality", "Clarify": how AWS begins the message about violations.
    title: ClassVar[str]
    output_name: ClassVar[str]
    #: The names that the container gives to what it calculates.
    files: ClassVar[Mapping[str, str]]
    #: By check type.
    package_members: ClassVar[Mapping[str, PackageMembers]]

    def complete(self, run: StepRun, request: dict[str, Any]) -> None:
        """Add the role, and the previous baseline when it is compared with."""
        super().complete(run, request)
        if not output_uri(request, self.output_name):
            raise StepRequestError(f"its arguments have no output '{self.output_name}' in S3", step=run.step.name)
        if flag(run, "SkipCheck", default=False):
            return
        inputs, variables = request.setdefault("ProcessingInputs", []), request.setdefault("Environment", {})
        for kind, uri in self._previous(run).items():
            folder, variable = BASELINE_FOLDERS[kind], BASELINE_VARIABLES[kind]
            inputs.append(_file_input(variable, uri, folder))
            variables[variable] = f"{folder}/{PurePosixPath(uri).name}"

    def start(self, run: StepRun, request: dict[str, Any]) -> State:
        """Create the job, or find what an earlier try created. The handle says what whoever waits must know."""
        # First of all: a step without the baseline that it needs makes no job.
        check = self._check(run)
        state = super().start(run, request)
        return replace(state, handle={**state.handle, "check": check})

    def look(self, run: StepRun, handle: Handle) -> State:
        """Ask AWS for the state; a job that has found violations counts as failed here, too."""
        return super().look(run, {**handle, "check": self._check(run)})

    def is_reusable(self, run: StepRun, state: State) -> bool:
        """Whether the report at a job's output location is its own, so that it tells what that job has found."""
        if state.handle["check"]["skip"]:
            return True
        report = f"{output_uri(state.description, self.output_name)}/{VIOLATIONS_FILE}"
        # S3 tells whole seconds.
        after = datetime.fromisoformat(state.description["ProcessingEndTime"]) + timedelta(seconds=1)
        with aws_call("GetObject", step=run.step.name):
            return read_file(run.clients, report, since=after) is None

    def _check(self, run: StepRun) -> dict[str, Any]:
        skip, register = flag(run, "SkipCheck", default=False), flag(run, "RegisterNewBaseline", default=False)
        return {
            "type": run.step.settings["CheckType"],
            "group": run.resolve(run.step.settings.get("ModelPackageGroupName")) or None,
            "skip": skip,
            "register": register,
            "fail_on_violation": flag(run, "FailOnViolation", default=True),
            # Otherwise the job's own inputs tell, even when it was started before the group had its latest package.
            "previous": self._previous(run) if skip and not register else None,
        }

    def poll(self, clients: Clients, handle: Handle) -> State:
        """Describe the job, and look for its violation report once it has completed."""
        state = super().poll(clients, handle)
        if state.verdict is not Verdict.SUCCEEDED or handle["check"]["skip"]:
            return state
        report = f"{output_uri(state.description, self.output_name)}/{VIOLATIONS_FILE}"
        # An output location may be the same for every run and hold an earlier run's report.
        content = read_file(clients, report, since=datetime.fromisoformat(state.description["CreationTime"]))
        if content is None or not has_violations(content):
            return state
        state = replace(state, description={**state.description, "ViolationReport": report})
        if not handle["check"]["fail_on_violation"]:
            return state
        reason = f"ClientError: {self.title} check failed. See violation report {report}"
        return replace(state, verdict=Verdict.FAILED, reason=reason)

    def outputs(self, clients: Clients, state: State) -> dict[str, Any]:
        """Return the four baseline properties, and what else ListPipelineExecutionSteps tells of a check."""
        check = state.handle["check"]
        folder = output_uri(state.description, self.output_name)
        calculated = {kind: f"{folder}/{file}" for kind, file in self.files.items()}
        used = calculated if check["register"] else check["previous"] or _compared_with(state.description)
        outputs = {
            "CheckType": check["type"],
            "ModelPackageGroupName": check["group"],
            "CheckJobArn": state.description.get("ProcessingJobArn"),
            "SkipCheck": check["skip"],
            "RegisterNewBaseline": check["register"],
            "ViolationReport": state.description.get("ViolationReport"),
            **{f"CalculatedBaseline{kind}": uri for kind, uri in calculated.items()},
            **{f"BaselineUsedForDriftCheck{kind}": uri for kind, uri in used.items()},
        }
        return {name: value for name, value in outputs.items() if value is not None}

    def _previous(self, run: StepRun) -> dict[str, str]:
        """Return the URIs of the previous baseline's files.

        :raises StepRequestError: if there is none.
        """
        settings = run.step.settings
        # A parameter whose default is the empty text is how definitions say "not supplied".
        found = {kind: run.resolve(settings.get(f"SuppliedBaseline{kind}")) or None for kind in self.files}
        group = run.resolve(settings.get("ModelPackageGroupName"))
        package: Mapping[str, Any] = {}
        if group and None in found.values():
            package = latest_approved(run, group)
            baselines = package.get("DriftCheckBaselines", {})
            for kind, (part, member) in self.package_members[str(settings["CheckType"])].items():
                found[kind] = found[kind] or baselines.get(part, {}).get(member, {}).get("S3Uri")
        if not found[CONSTRAINTS]:
            raise StepRequestError(_no_baseline(group, package), step=run.step.name)
        return {kind: uri for kind, uri in found.items() if uri}


def latest_approved(run: StepRun, group: str) -> Mapping[str, Any]:
    """Return the description of a group's latest approved model package; empty if there is none."""
    client = run.clients("sagemaker")
    with aws_call("ListModelPackages", step=run.step.name):
        pages = client.get_paginator("list_model_packages").paginate(
            ModelPackageGroupName=group,
            ModelApprovalStatus="Approved",
            SortBy="CreationTime",
            SortOrder="Descending",
        )
        try:
            arn = next((item["ModelPackageArn"] for page in pages for item in _packages(page)), None)
        except ClientError as error:
            # A first run may come before the group.
            if error_code(error) not in {"ValidationException", "ResourceNotFound"}:
                raise
            arn = None
    if arn is None:
        return {}
    with aws_call("DescribeModelPackage", step=run.step.name):
        package: Mapping[str, Any] = client.describe_model_package(ModelPackageName=arn)
        required(package, "ModelPackageArn", "DescribeModelPackage")
    return package


def _packages(page: Mapping[str, Any]) -> Any:
    return required(page, "ModelPackageSummaryList", "ListModelPackages")


def flag(run: StepRun, member: str, *, default: bool) -> bool:
    """Return a switch of the step: a boolean or its text; null or absent is the default.

    :raises StepRequestError: if it is anything else.
    """
    value = run.resolve(run.step.settings.get(member))
    if value is None:
        return default
    text = str(value).lower()
    if text not in {"true", "false"}:
        raise StepRequestError(f"its {member} is {value!r}; it must be true or false", step=run.step.name)
    return text == "true"


def output_uri(request: Mapping[str, Any], name: str) -> str | None:
    """Return where a processing job puts one output, without a slash at the end."""
    for output in request.get("ProcessingOutputConfig", {}).get("Outputs", ()):
        if output["OutputName"] == name:
            uri = output.get("S3Output", {}).get("S3Uri")
            return uri.rstrip("/") if uri else None
    return None


def has_violations(content: bytes) -> bool:
    """Whether a report tells of violations. One that cannot be read does not clear the data."""
    try:
        document = json.loads(content)
    except ValueError:
        return True
    violations = document.get("violations") if isinstance(document, Mapping) else None
    return violations is None or bool(violations)


def _compared_with(job: Mapping[str, Any]) -> dict[str, str]:
    """Return the baseline files that a job was given."""
    places = {item["InputName"]: item.get("S3Input", {}).get("S3Uri") for item in job.get("ProcessingInputs", ())}
    return {kind: places[name] for kind, name in BASELINE_VARIABLES.items() if name in places}


def _file_input(name: str, uri: str, folder: str) -> dict[str, Any]:
    return {
        "InputName": name,
        "AppManaged": False,
        "S3Input": {
            "S3Uri": uri,
            "LocalPath": folder,
            "S3DataType": "S3Prefix",
            "S3InputMode": "File",
            "S3DataDistributionType": "FullyReplicated",
            "S3CompressionType": "None",
        },
    }


def _no_baseline(group: str | None, package: Mapping[str, Any]) -> str:
    if not group:
        where = "it supplies none and names no model package group"
    elif not package:
        where = f"it supplies none, and model package group '{group}' has no approved package"
    else:
        where = f"it supplies none, and the latest approved package {package['ModelPackageArn']} has none"
    return f"it needs a previous baseline: {where}. With SkipCheck and RegisterNewBaseline it needs none"


def beside(uri: str, *names: str) -> str:
    """Return a URI next to a folder in S3, outside of it."""
    bucket, key = split_s3_uri(uri)
    key = key.rstrip("/")
    first, *rest = names
    return "/".join([f"s3://{bucket}", f"{key}-{first}" if key else first, *rest])
