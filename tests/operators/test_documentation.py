"""A step's JSON in a task's documentation."""

from __future__ import annotations

import json
import re

from hypothesis import given
from hypothesis import strategies as st

from airflow_sagemaker_pipelines.operators.documentation import json5

texts = st.text(st.sampled_from("ab'\"\\:,{} \n[]_1é"), max_size=12)
documents = st.recursive(
    texts | st.integers() | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
)


def read(text: str) -> object:
    """Read what json5() wrote: the two liberties it takes, undone by a tokenizer of its own."""
    tokens = re.findall(r"""'[^']*'|"(?:[^"\\]|\\.)*"|[A-Za-z_]\w*(?=:)|.""", text, re.DOTALL)
    plain = [
        f'"{token[1:-1]}"'
        if token[0] == "'"
        else f'"{token}"'
        if re.fullmatch(r"\w+", token) and after == ":"
        else token
        for token, after in zip(tokens, [*tokens[1:], ""], strict=True)
    ]
    return json.loads("".join(plain))


def test_names_lose_their_quotes_and_strings_get_single_ones():
    assert json5('{"Name":"Train","odd-key":{"x":1.5}}') == "{Name:'Train','odd-key':{x:1.5}}"


def test_a_string_with_quotes_or_backslashes_stays_as_it_is():
    assert json5('{"Get":"Steps.A.Outputs[\'x\']","p":"a\\\\b"}') == '{Get:"Steps.A.Outputs[\'x\']",p:"a\\\\b"}'


@given(documents)
def test_nothing_is_lost(document):
    assert read(json5(json.dumps(document, separators=(",", ":")))) == document
