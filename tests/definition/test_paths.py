import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_sagemaker_pipelines.definition import ExpressionError
from airflow_sagemaker_pipelines.definition.paths import follow, parse_path, write_path


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("a", ("a",)),
        ("a.b", ("a", "b")),
        ("a[0]", ("a", 0)),
        ("a[0][12]", ("a", 0, 12)),
        ("a['k']", ("a", "k")),
        ('a["k"]', ("a", "k")),
        ("a['k'].b[3]['m']", ("a", "k", "b", 3, "m")),
        ("a['0']", ("a", "0")),
        ("a['x.y']", ("a", "x.y")),
        ("a['x.y.z'].b", ("a", "x.y.z", "b")),
        ("a['val:acc']", ("a", "val:acc")),
        ("a['s3://b/k.json']", ("a", "s3://b/k.json")),
        ("a['x[0]']", ("a", "x[0]")),
        ("a['p 99']", ("a", "p 99")),
        ("a['']", ("a", "")),
        ("a['it's']", ("a", "it's")),
        ('a["it\'s"]', ("a", "it's")),
        ("a['say \"x\"']", ("a", 'say "x"')),
        ("a['x']['y.z']", ("a", "x", "y.z")),
        ("a['x'][\"y\"]", ("a", "x", "y")),
        ("a['ü/ß']", ("a", "ü/ß")),
        ("[0].a", (0, "a")),
        ("['a.b'].c", ("a.b", "c")),
        ("max_depth", ("max_depth",)),
        ("validation-rmse", ("validation-rmse",)),
        (
            "ProcessingOutputConfig.Outputs['train'].S3Output.S3Uri",
            ("ProcessingOutputConfig", "Outputs", "train", "S3Output", "S3Uri"),
        ),
        ("FinalMetricDataList['validation:rmse'].Value", ("FinalMetricDataList", "validation:rmse", "Value")),
    ],
)
def test_a_path_is_read_by_the_grammar(text, path):
    assert parse_path(text) == path


@pytest.mark.parametrize(
    "text",
    [
        ".a",
        "a.",
        "a..b",
        "a[",
        "a]",
        "a[]",
        "a['k]",
        "a['k'",
        "a[k]",
        "a[-1]",
        "a[1:2]",
        "a[*]",
        "a[?(@.b)]",
        "a.*[",
        "a['k\"]",
        "a['k']b",
        "a[0]b",
        "a.[0]",
        "a.['k']",
        "a'b",
        "a[0",
        "a[1.5]",
        "a[ 0 ]",
    ],
)
def test_what_is_no_path_is_refused(text):
    with pytest.raises(ValueError, match="cannot be read from character"):
        parse_path(text)


MEMBERS = st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,8}", fullmatch=True)
KEYS = st.text("abcXYZ019 .:-/_#@äß[]{}$*", max_size=8)
PATHS = st.lists(MEMBERS | KEYS | st.integers(0, 999_999_999), max_size=6).map(tuple)


@settings(max_examples=300, deadline=None)
@given(PATHS)
def test_reading_a_written_path_gives_it_back(path):
    assert parse_path(write_path(path)) == path


@settings(max_examples=200, deadline=None)
@given(st.text("ab.[]'\"01 -\n", max_size=12))
def test_any_text_is_a_path_or_refused(text):
    try:
        path = parse_path(text)
    except ValueError:
        return
    assert all(isinstance(part, str | int) for part in path)
    assert bool(path) == bool(text)


def write_in_other_words(path, quote):
    """Write every part in brackets."""
    return "".join(f"[{part}]" if isinstance(part, int) else f"[{quote}{part}{quote}]" for part in path)


@settings(max_examples=200, deadline=None)
@given(PATHS, st.sampled_from("'\""))
def test_members_may_all_stand_in_brackets_with_either_quote(path, quote):
    assert parse_path(write_in_other_words(path, quote)) == path


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


def places(value, path=()):
    yield path, value
    if isinstance(value, dict):
        for key, item in value.items():
            yield from places(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from places(item, (*path, index))


@settings(max_examples=150, deadline=None)
@given(JSON)
def test_every_place_of_a_value_is_found_by_its_path(value):
    for path, item in places(value):
        assert follow(value, parse_path(write_in_other_words(path, "'"))) == item


ANSWER = {
    "ProcessingOutputConfig": {
        "Outputs": [
            {"OutputName": "train", "S3Output": {"S3Uri": "s3://b/train"}},
            {"OutputName": "x.y/z", "S3Output": {"S3Uri": "s3://b/xyz"}},
        ]
    },
    "ProcessingInputs": [{"InputName": "code", "S3Input": {"S3Uri": "s3://b/code"}}],
    "FinalMetricDataList": [
        {"MetricName": "val:acc", "Value": 0.5},
        {"MetricName": "val:rmse", "Value": 2.25},
    ],
    "InputDataConfig": [{"ChannelName": "train", "ContentType": "text/csv"}],
    "HyperParameters": {"max_depth": "5", "a.b": "c", "0": "zero"},
    "ProductionVariants": [{"VariantName": "A", "ModelName": "m"}],
    "Tags": [{"Key": "team", "Value": "ml"}],
    "Actions": [{"Name": "act", "Arn": "arn"}],
    "Nothing": None,
    "Empty": [],
}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("ProcessingOutputConfig.Outputs['train'].S3Output.S3Uri", "s3://b/train"),
        ("ProcessingOutputConfig.Outputs['x.y/z'].S3Output.S3Uri", "s3://b/xyz"),
        ("ProcessingOutputConfig.Outputs[1].S3Output.S3Uri", "s3://b/xyz"),
        ("ProcessingInputs['code'].S3Input.S3Uri", "s3://b/code"),
        ("FinalMetricDataList['val:rmse'].Value", 2.25),
        ("FinalMetricDataList[0].Value", 0.5),
        ("InputDataConfig['train'].ContentType", "text/csv"),
        ("InputDataConfig[0].ContentType", "text/csv"),
        ("HyperParameters['max_depth']", "5"),
        ("HyperParameters.max_depth", "5"),
        ("HyperParameters['a.b']", "c"),
        ("HyperParameters['0']", "zero"),
        ("ProductionVariants['A'].ModelName", "m"),
        ("Tags['team'].Value", "ml"),
        ("Actions['act'].Arn", "arn"),
        ("Nothing", None),
        ("Empty", []),
    ],
)
def test_a_path_leads_through_members_indexes_and_named_elements(path, value):
    assert follow(ANSWER, parse_path(path)) == value


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("ModelArtifacts.S3ModelArtifacts", "no 'ModelArtifacts' in the value"),
        ("HyperParameters['eta']", "it has 0, a.b, max_depth"),
        ("ProcessingOutputConfig.Outputs['test'].S3Output", "it is a list of 2"),
        ("FinalMetricDataList[2].Value", "there is no '2' in FinalMetricDataList; it is a list of 2"),
        ("HyperParameters.max_depth.x", "there is no 'x' in HyperParameters.max_depth; it is \"5\""),
        ("Nothing.x", "it is null"),
        ("Empty[0]", "it is a list of 0"),
    ],
)
def test_an_absent_member_is_named_with_what_is_there_instead(path, message):
    with pytest.raises(ExpressionError) as caught:
        follow(ANSWER, parse_path(path))

    assert message in str(caught.value)
    assert path.split(".")[-1].split("[")[0] in str(caught.value)


def test_the_most_specific_name_member_wins():
    elements = [{"Name": "x", "Value": 1}, {"OutputName": "x", "Value": 2}]

    assert follow(elements, ("x", "Value")) == 2
