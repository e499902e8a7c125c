"""``python -m airflow_sagemaker_pipelines.cli``: the commands for Airflow 3.1, which asks providers for none.

There, connections are found in the environment and in secrets backends, not in Airflow's database.
"""

from __future__ import annotations

from airflow.cli.cli_config import DefaultHelpParser
from airflow.cli.cli_parser import AirflowHelpFormatter, _add_command

from airflow_sagemaker_pipelines.cli.definition import EVENT_QUEUE


def main() -> None:
    """Run one command."""
    parser = DefaultHelpParser(prog=f"python -m {__package__}", formatter_class=AirflowHelpFormatter)
    _add_command(parser.add_subparsers(required=True, metavar="GROUP"), EVENT_QUEUE)
    args = parser.parse_args()
    args.func(args)


if __name__ == "__main__":
    main()
