"""What the SageMaker training toolkit does inside framework images: find the script, pass it the hyperparameters."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from airflow_sagemaker_pipelines.local.runner.container import OPT_ML

CODE = f"{OPT_ML}/code"
_HOST = "algo-1"
_GROUP = "homogeneousCluster"
_OWN = "sagemaker_"
"""Hyperparameters with this prefix are for the toolkit; the script does not get them."""


def resource_config(instance_type: str) -> dict[str, Any]:
    """Content of ``resourceconfig.json``: every job has one host here."""
    group = {"instance_group_name": _GROUP, "instance_type": instance_type, "hosts": [_HOST]}
    return {
        "current_host": _HOST,
        "current_instance_type": instance_type,
        "current_group_name": _GROUP,
        "hosts": [_HOST],
        "instance_groups": [group],
        "network_interface_name": "eth0",
    }


def decoded(hyperparameters: Mapping[str, str]) -> dict[str, Any]:
    """Hyperparameters as the toolkit reads them: each value is JSON if it can be, else the text itself."""
    result: dict[str, Any] = {}
    for name, value in hyperparameters.items():
        try:
            result[name] = json.loads(value)
        except ValueError:
            result[name] = value
    return result


def for_script(hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    """The decoded hyperparameters that the script gets."""
    return {name: value for name, value in hyperparameters.items() if not name.startswith(_OWN)}


def as_arguments(hyperparameters: Mapping[str, Any]) -> list[str]:
    """Command line of the hyperparameters: sorted by name, ``--name value``, ``-n value`` for one letter.

    Values are Python's ``str()`` of them (``True``, ``[1, 2]``), a mapping is ``k=v,k=v``, null is empty.
    """
    arguments: list[str] = []
    for name, value in sorted(hyperparameters.items()):
        arguments.append(f"--{name}" if len(name) > 1 else f"-{name}")
        if isinstance(value, Mapping):
            arguments.append(",".join(f"{key}={item}" for key, item in sorted(value.items())))
        else:
            arguments.append("" if value is None else str(value))
    return arguments


def program_arguments(program: str, code: Path) -> list[str]:
    """How the toolkit starts the entry point: a Python file, a shell script, or else a Python module."""
    if program.endswith(".py"):
        return ["python3", program]
    if program.endswith(".sh") or (code / program).is_file():
        return ["/bin/bash", program]
    return ["python3", "-m", program]


def toolkit_environment(
    name: str,
    *,
    hyperparameters: Mapping[str, Any],
    channels: Iterable[str],
    resource_config: Mapping[str, Any],
    input_data_config: Mapping[str, Any],
) -> dict[str, str]:
    """The ``SM_*`` variables of one training job; ``hyperparameters`` are the decoded ones."""
    script = for_script(hyperparameters)
    program = str(hyperparameters.get("sagemaker_program") or "")
    directories = {channel: f"{OPT_ML}/input/data/{channel}" for channel in sorted(channels)}
    facts: dict[str, Any] = {
        "channels": list(directories),
        "current_host": _HOST,
        "current_instance_group": _GROUP,
        "current_instance_type": resource_config["current_instance_type"],
        "framework_params": {k: v for k, v in hyperparameters.items() if k.startswith(_OWN)},
        "hosts": [_HOST],
        "hps": script,
        "input_config_dir": f"{OPT_ML}/input/config",
        "input_data_config": input_data_config,
        "input_dir": f"{OPT_ML}/input",
        "log_level": hyperparameters.get("sagemaker_container_log_level", 20),
        "model_dir": f"{OPT_ML}/model",
        "module_dir": str(hyperparameters.get("sagemaker_submit_directory") or CODE),
        "module_name": program.removesuffix(".py"),
        "network_interface_name": "eth0",
        "num_cpus": os.cpu_count() or 1,
        "num_gpus": 0,
        "num_neurons": 0,
        "output_data_dir": f"{OPT_ML}/output/data",
        "output_dir": f"{OPT_ML}/output",
        "output_intermediate_dir": f"{OPT_ML}/output/intermediate",
        "resource_config": resource_config,
        "user_args": as_arguments(script),
        "user_entry_point": program,
    }
    facts["training_env"] = {
        "channel_input_dirs": directories,
        "hyperparameters": script,
        "is_master": True,
        "job_name": name,
        "master_hostname": _HOST,
        **{key: value for key, value in facts.items() if key not in {"hps", "user_args"}},
    }
    facts |= {f"channel_{channel}": directory for channel, directory in directories.items()}
    facts |= {f"hp_{key}": value for key, value in script.items()}
    return {f"SM_{key.upper()}": _as_variable(value) for key, value in facts.items()}


def user_script_error(exit_code: int, command: Iterable[str], tail: Iterable[str]) -> str:
    """What the toolkit leaves as the failure of a script: the exit code, the end of its output, the command."""
    lines = list(tail)
    starts = [number for number, line in enumerate(lines) if line.startswith("Traceback (most recent call last)")]
    message = "\n".join(lines[starts[-1] :] if starts else lines[-1:])
    return (
        f'ExecuteUserScriptError:\nExitCode {exit_code}\nErrorMessage "{message[-500:]}"\nCommand "{" ".join(command)}"'
    )


def _as_variable(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, separators=(",", ":"))
