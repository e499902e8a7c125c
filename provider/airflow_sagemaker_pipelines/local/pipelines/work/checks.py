"""QualityCheck and ClarifyCheck steps.

The processing job always runs and calculates a new baseline. Unless SkipCheck says otherwise, it is compared with the
previous one, which is what the step supplies, else what the latest approved package of the group has:

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
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from airflow_sagemaker_pipelines.definition import StepType

from ... import s3_side
from ...kinds import MODEL_PACKAGE_GROUP
from ..calls import StepError, sagemaker
from ..step_run import FAILED, Outcome
from .jobs import JOBS, create, judged

if TYPE_CHECKING:
    from ...store import Resource
    from ..context import Context

_PAGE = 100
# The report that the Model Monitor and Clarify containers write; AWS does not say that check steps look for it.
_REPORT = "constraint_violations.json"
# By kind of baseline: the container's variable and the folder, by its contract for monitoring jobs.
_INPUTS = {
    "Constraints": ("baseline_constraints", "/opt/ml/processing/baseline/constraints"),
    "Statistics": ("baseline_statistics", "/opt/ml/processing/baseline/stats"),
}


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """What tells the two step types apart."""

    title: str
    metadata: str
    output: str
    files: Mapping[str, str]


_KINDS = {
    StepType.QUALITY_CHECK: _Kind(
        title="Quality",
        metadata="QualityCheck",
        output="quality_check_output",
        files={"Statistics": "statistics.json", "Constraints": "constraints.json"},
    ),
    StepType.CLARIFY_CHECK: _Kind(
        title="Clarify", metadata="ClarifyCheck", output="analysis_result", files={"Constraints": "analysis.json"}
    ),
}
# Where a package's DriftCheckBaselines have each file, by check type.
_BASELINES: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "DATA_QUALITY": {
        "Statistics": ("ModelDataQuality", "Statistics"),
        "Constraints": ("ModelDataQuality", "Constraints"),
    },
    "MODEL_QUALITY": {"Statistics": ("ModelQuality", "Statistics"), "Constraints": ("ModelQuality", "Constraints")},
    "DATA_BIAS": {"Constraints": ("Bias", "PreTrainingConstraints")},
    "MODEL_BIAS": {"Constraints": ("Bias", "PostTrainingConstraints")},
    "MODEL_EXPLAINABILITY": {"Constraints": ("Explainability", "Constraints")},
}


@dataclass(frozen=True, kw_only=True)
class _Check:
    """What a check is to do."""

    type: str
    group: str | None
    skip: bool
    register: bool
    fail_on_violation: bool
    previous: Mapping[str, str]
    folder: str


def begin(context: Context) -> None:
    """Create the job; a step without the baseline that it needs makes none."""
    kind = _KINDS[context.step.type]
    check = _read(context, kind)
    request = json.loads(json.dumps(context.arguments))
    if not check.skip and context.settings.baselines_as_inputs:
        _add_baselines(request, check.previous)
    if context.step.type is StepType.CLARIFY_CHECK and context.setting("ModelName"):
        _name_model(context, request)
    resource = create(context, JOBS[StepType.PROCESSING], request)
    context.made(resource, **{kind.metadata: _metadata(check, resource)})
    context.when_over(resource, lambda: _outcome(context, kind, check, resource))


def _read(context: Context, kind: _Kind) -> _Check:
    skip, register = _flag(context, "SkipCheck", default=False), _flag(context, "RegisterNewBaseline", default=False)
    check_type, group = str(context.setting("CheckType")), context.setting("ModelPackageGroupName") or None
    previous = {} if skip and register else _previous(context, kind, check_type, group)
    if "Constraints" not in previous and not (skip and register):
        raise StepError(
            "The step needs a previous baseline: it supplies none, and its model package group has no approved "
            "model package with one"
        )
    return _Check(
        type=check_type,
        group=group,
        skip=skip,
        register=register,
        fail_on_violation=_flag(context, "FailOnViolation", default=True),
        previous=previous,
        folder=_folder(context.arguments, kind.output),
    )


def _flag(context: Context, member: str, *, default: bool) -> bool:
    value = context.setting(member)
    if value is None:
        return default
    if str(value).lower() not in ("true", "false"):
        raise StepError(f"{member} is {value!r}, not a boolean")
    return str(value).lower() == "true"


def _folder(arguments: Mapping[str, Any], output: str) -> str:
    for item in (arguments.get("ProcessingOutputConfig") or {}).get("Outputs") or ():
        if item.get("OutputName") == output and (item.get("S3Output") or {}).get("S3Uri"):
            return str(item["S3Output"]["S3Uri"]).rstrip("/")
    raise StepError(f"Its arguments have no output '{output}' in S3")


def _previous(context: Context, kind: _Kind, check_type: str, group: str | None) -> dict[str, str]:
    found = {name: context.setting(f"SuppliedBaseline{name}") or None for name in kind.files}
    if group and None in found.values():
        baselines = _latest_approved(context, group).get("DriftCheckBaselines") or {}
        for name, (part, member) in _BASELINES[check_type].items():
            found[name] = found[name] or ((baselines.get(part) or {}).get(member) or {}).get("S3Uri")
    return {name: str(uri) for name, uri in found.items() if uri}


def _latest_approved(context: Context, group: str) -> Mapping[str, Any]:
    if context.engine.store.find(MODEL_PACKAGE_GROUP, group) is None:
        return {}
    request = {
        "ModelPackageGroupName": group,
        "ModelApprovalStatus": "Approved",
        "SortBy": "CreationTime",
        "SortOrder": "Descending",
        "MaxResults": _PAGE,
    }
    packages = sagemaker(context.engine, "ListModelPackages", request)["ModelPackageSummaryList"]
    if not packages:
        return {}
    return sagemaker(context.engine, "DescribeModelPackage", {"ModelPackageName": packages[0]["ModelPackageArn"]})


def _add_baselines(request: dict[str, Any], previous: Mapping[str, str]) -> None:
    inputs, variables = request.setdefault("ProcessingInputs", []), request.setdefault("Environment", {})
    for name, uri in previous.items():
        variable, folder = _INPUTS[name]
        variables[variable] = f"{folder}/{PurePosixPath(uri).name}"
        inputs.append(
            {
                "InputName": variable,
                "AppManaged": False,
                "S3Input": {"S3Uri": uri, "LocalPath": folder, "S3DataType": "S3Prefix", "S3InputMode": "File"},
            }
        )


def _name_model(context: Context, request: dict[str, Any]) -> None:
    """Put the model's name into a copy of the analysis configuration, from which the SDK takes it out."""
    store = context.engine.store
    for item in request.get("ProcessingInputs") or ():
        if item.get("InputName") != "analysis_config":
            continue
        place = item["S3Input"]
        content = s3_side.get(store, place["S3Uri"])
        try:
            config = json.loads(content or b"")
        except ValueError as error:
            raise StepError(f"{place['S3Uri']} is no analysis configuration: {error}") from error
        config.setdefault("predictor", {})["model_name"] = context.setting("ModelName")
        uri = f"{place['S3Uri'].rsplit('/', 1)[0]}/{context.job_name}/analysis_config.json"
        s3_side.put(store, uri, json.dumps(config).encode())
        place["S3Uri"] = uri


def _metadata(check: _Check, resource: Resource) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "CheckType": check.type,
        "CheckJobArn": resource.arn,
        "SkipCheck": check.skip,
        "RegisterNewBaseline": check.register,
    }
    return metadata | ({"ModelPackageGroupName": check.group} if check.group else {})


def _outcome(context: Context, kind: _Kind, check: _Check, resource: Resource) -> Outcome:
    bad = judged(context, resource)
    if bad is not None:
        return bad
    calculated = {name: f"{check.folder}/{file}" for name, file in kind.files.items()}
    used = calculated if check.register else check.previous
    baselines = {
        **{f"CalculatedBaseline{name}": uri for name, uri in calculated.items()},
        **{f"BaselineUsedForDriftCheck{name}": uri for name, uri in used.items()},
    }
    # A new object: what users have been shown does not change.
    metadata = {**context.run.metadata[kind.metadata], **baselines}
    report = None if check.skip else _violations(context, check, resource)
    if report is not None:
        metadata["ViolationReport"] = report
    context.run.metadata = {kind.metadata: metadata}
    if report is not None and check.fail_on_violation:
        reason = f"ClientError: {kind.title} check failed. See violation report {report}"
        return Outcome(status=FAILED, reason=reason)
    return Outcome(outputs=metadata)


def _violations(context: Context, check: _Check, resource: Resource) -> str | None:
    """Return the URI of the report if the job itself has written one that tells of violations."""
    uri = f"{check.folder}/{_REPORT}"
    # An output location may be the same for every run, and hold an earlier one's report. S3 tells whole seconds.
    content = s3_side.get(context.engine.store, uri, since=resource.created - 1)
    if content is None:
        return None
    try:
        document = json.loads(content)
    except ValueError:
        return uri
    return uri if not isinstance(document, Mapping) or document.get("violations", True) else None
