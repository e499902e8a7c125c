from __future__ import annotations

import pytest

from airflow_sagemaker_pipelines.local.runner import OptMl
from airflow_sagemaker_pipelines.local.runner.container import Container, choose_mode


def test_the_variable_decides_unless_the_caller_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_SAGEMAKER_OPT_ML", "rewrite")
    assert choose_mode() is OptMl.REWRITE
    assert choose_mode(OptMl.BIND) is OptMl.BIND

    monkeypatch.setenv("LOCAL_SAGEMAKER_OPT_ML", "sideways")
    with pytest.raises(ValueError, match="sideways"):
        choose_mode()


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("/opt/ml/model", True),
        ("file:///opt/ml/model", True),
        ("a=/opt/ml,b", True),
        ("/opt/mlflow", False),
        ("/data/opt/ml/x", False),
        ("/opt/ml-models", False),
    ],
)
def test_only_the_literal_path_is_rewritten(text: str, changes: bool) -> None:
    with Container(OptMl.REWRITE, endpoint_url="http://127.0.0.1:1", region="us-east-1") as container:
        seen = container.seen(text)

        assert (seen != text) is changes
        assert container.told(seen) == text
    assert not container.workdir.exists()
