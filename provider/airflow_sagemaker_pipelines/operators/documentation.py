"""What a task's documentation says about its step."""

from __future__ import annotations

import re

from airflow_sagemaker_pipelines.definition import Step

_JSON_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"(:?)')
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def documentation(step: Step) -> str:
    """Return the step's description and JSON, in Markdown."""
    block = f"```json5\n{json5(step.source)}\n```"
    return f"{step.description}\n\n{block}" if step.description else block


def json5(text: str) -> str:
    """Write JSON in JSON5's shorter notation: names without quotes, strings in single ones.

    Airflow keeps a DAG as JSON, in which each double quote of a task's documentation takes two characters: a fifth of
    the whole serialized DAG.
    """
    return _JSON_STRING.sub(_requote, text)


def _requote(match: re.Match[str]) -> str:
    content, colon = match.groups()
    if colon and _IDENTIFIER.fullmatch(content):
        return f"{content}:"
    if "'" in content or "\\" in content:
        return match[0]
    return f"'{content}'{colon}"
