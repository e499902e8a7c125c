"""Many executions at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from pipeline_support import process, until

EXECUTIONS, STEPS = 100, 20


def chain_and_fan():
    """Ten steps one after the other, ten beside them."""
    chain = [process(f"C{index}", DependsOn=[f"C{index - 1}"] if index else []) for index in range(STEPS // 2)]
    return [*chain, *(process(f"F{index}") for index in range(STEPS // 2))]


def test_a_hundred_executions_of_twenty_steps_run_at_once(local_sagemaker, pipelines, sagemaker):
    local_sagemaker.rule(duration=0.05)
    pipelines.create(*chain_and_fan())
    with ThreadPoolExecutor(8) as pool:
        arns = list(pool.map(lambda _: pipelines.start(), range(EXECUTIONS)))

    def statuses():
        pages = sagemaker.get_paginator("list_pipeline_executions").paginate(
            PipelineName="pipe", PaginationConfig={"PageSize": 100}
        )
        return {item["PipelineExecutionStatus"] for page in pages for item in page["PipelineExecutionSummaries"]}

    until(statuses, lambda found: found == {"Succeeded"}, seconds=120)
    assert len(set(arns)) == EXECUTIONS
    jobs = {step["Metadata"]["ProcessingJob"]["Arn"] for arn in arns[::10] for step in pipelines.steps(arn).values()}
    assert len(jobs) == EXECUTIONS // 10 * STEPS


def test_steps_that_are_over_at_once_do_not_pile_up(local_sagemaker, pipelines):
    local_sagemaker.rule(duration=0)
    steps = [process(f"P{index}", DependsOn=[f"P{index - 1}"] if index else []) for index in range(200)]

    arn = pipelines.run(*steps)

    assert pipelines.status(arn) == "Succeeded"
    assert len(pipelines.steps(arn)) == 200
