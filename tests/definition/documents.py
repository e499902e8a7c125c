"""Small documents to load, and what is reported about them."""

import pytest

from airflow_sagemaker_pipelines.definition import PipelineDefinitionError, load_definition

FUNCTION = "arn:aws:lambda:us-east-1:111122223333:function:sagemaker-f"


def document(*steps, **members):
    return {"Version": "2020-12-01", "Steps": list(steps), **members}


def step(name, kind="Training", **members):
    return {"Name": name, "Type": kind, "Arguments": {}, **members}


def function(name="Call", arguments=None, **members):
    """A Lambda step: its arguments are free, so they can hold any expression."""
    return step(name, "Lambda", Arguments=arguments or {}, FunctionArn=FUNCTION, **members)


def get(reference):
    return {"Get": reference}


def join(*values, on=None):
    return {"Std:Join": {"Values": list(values)} | ({} if on is None else {"On": on})}


def evaluation(name="Evaluate", **members):
    """A Processing step with the property file ``Report``."""
    arguments = {
        "ProcessingOutputConfig": {
            "Outputs": [{"OutputName": "report", "S3Output": {"S3Uri": "s3://b/report", "LocalPath": "/opt/ml/x"}}]
        }
    }
    files = [{"PropertyFileName": "Report", "OutputName": "report", "FilePath": "evaluation.json"}]
    return step(name, "Processing", **{"Arguments": arguments, "PropertyFiles": files, **members})


def choice(name="Check", conditions=(), if_steps=(), else_steps=(), **members):
    arguments = {"Conditions": list(conditions), "IfSteps": list(if_steps), "ElseSteps": list(else_steps)}
    return step(name, "Condition", Arguments=arguments, **members)


def fail(name="Abort", message="no good", **members):
    return step(name, "Fail", Arguments={"ErrorMessage": message}, **members)


def loop(name="Loop", body=(), items=("a", "b"), **arguments):
    members = {"IterableItems": list(items), "MaxConcurrency": 2, "ForEachBody": list(body), **arguments}
    return step(name, "ForEach", Arguments=members)


def problems_of(source):
    with pytest.raises(PipelineDefinitionError) as caught:
        load_definition(source)
    assert caught.value.problems
    return caught.value.problems


def only_problem(source):
    problems = problems_of(source)
    assert len(problems) == 1, [str(problem) for problem in problems]
    return problems[0]


def problem_at(source, where):
    problems = problems_of(source)
    found = [problem for problem in problems if problem.where == where]
    assert len(found) == 1, [str(problem) for problem in problems]
    return found[0]
