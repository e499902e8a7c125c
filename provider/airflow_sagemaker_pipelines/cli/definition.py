"""The commands that this provider adds to Airflow's command line.

Every ``airflow`` command imports this module, so it imports nothing but Airflow's command line.
"""

from __future__ import annotations

from airflow.cli.cli_config import ActionCommand, Arg, CLICommand, GroupCommand, lazy_load_command

_COMMANDS = f"{__package__}.event_queue"
_NAME = "airflow-sagemaker-pipelines-events"


def _argument(flag: str, meaning: str, *, default: str | None = None) -> Arg:
    return Arg((flag,), help=meaning, default=default)  # type: ignore[no-untyped-call]


_NAMES = (
    _argument("--queue-name", "The name of the SQS queue (default: %(default)s)", default=_NAME),
    _argument("--rule-name", "The name of the EventBridge rule (default: %(default)s)", default=_NAME),
)
_CONNECTION = (
    _argument("--aws-conn-id", "The Airflow connection to AWS (default: %(default)s)", default="aws_default"),
    _argument("--region-name", "The region in which the jobs run (default: the connection's)"),
)

EVENT_QUEUE = GroupCommand(
    name="event-queue",
    help="The queue that tells triggers when jobs have ended, for waiting='events'",
    subcommands=(
        ActionCommand(
            name="print",
            help="Print a CloudFormation template with the queue, its policy and the rule that feeds it",
            func=lazy_load_command(f"{_COMMANDS}.print_template"),
            args=_NAMES,
        ),
        ActionCommand(
            name="create",
            help="Create the queue, its policy and the rule that feeds it, or bring them up to date",
            func=lazy_load_command(f"{_COMMANDS}.create"),
            args=(*_NAMES, *_CONNECTION),
        ),
    ),
)


def get_cli_commands() -> list[CLICommand]:
    """Return the commands, for Airflow."""
    return [
        GroupCommand(name="sagemaker-pipelines", help="Amazon SageMaker Pipelines", subcommands=(EVENT_QUEUE,)),
    ]
