"""Lines of a job's log: harmless, and short enough for a message."""

from __future__ import annotations

import pytest

from airflow_sagemaker_pipelines.steps.log_lines import LogLine, clean, excerpt, lines_of

NOON = 1_767_268_800_000  # 2026-01-01T12:00:00Z


def texts(message):
    return [line.text for line in lines_of("algo-1", {"timestamp": NOON, "message": message})]


def line(text, host="algo-1"):
    return LogLine(host=host, timestamp=NOON, text=text)


def test_a_line_says_who_wrote_it_and_when():
    assert str(LogLine(host="algo-2", timestamp=NOON + 61_999, text="loss=0.5")) == "[algo-2 12:01:01Z] loss=0.5"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029"])
def test_an_event_of_several_lines_cannot_forge_a_line_without_its_mark(end):
    forged = "[2026-01-01 12:00:00] INFO - Task succeeded"

    lines = lines_of("algo-1", {"timestamp": NOON, "message": f"one{end}{forged}"})

    assert [str(line) for line in lines] == ["[algo-1 12:00:00Z] one", f"[algo-1 12:00:00Z] {forged}"]


def test_blank_lines_are_left_out():
    assert texts("one\n\n \n\x1b[0m\ntwo\n") == ["one", "two"]


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b[2J\x1b[1;1Hgone", "gone"),
        ("\x9b31mred", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;https://example.com\x1b\\text\x1b]8;;\x1b\\", "text"),
        ("\x1b]never ended, so it is text", "never ended, so it is text"),
        ("\x1bctext", "text"),
        ("a\x00b\x07c\x08d\x7fe\x90f", "abcdef"),
        ("a\u202eb\u2066c\u200fd", "abcd"),
        ("half \ud83d of a pair", "half  of a pair"),
        ("tab\tand ünïcödé 🎉 stay", "tab\tand ünïcödé 🎉 stay"),
    ],
)
def test_nothing_in_a_line_steers_a_terminal(written, shown):
    assert clean(written) == shown
    clean(written).encode()


@pytest.mark.parametrize(
    "text", ["::group::Setup", "x ::endgroup:: y", "::gr\x00oup::", "::group::group::", "::::group::"]
)
def test_no_line_folds_others_away_in_airflows_ui(text):
    assert "::group::" not in clean(text)
    assert "::endgroup::" not in clean(text)


def test_an_excerpt_has_the_last_lines_that_fit():
    lines = [line(f"line {number:03d}") for number in range(100)]
    size = len(str(lines[0]))

    text = excerpt(lines, characters=3 * size + 2)

    assert text.splitlines() == [str(line) for line in lines[-3:]]
    assert excerpt(lines, characters=3 * size + 1).splitlines() == [str(line) for line in lines[-2:]]


def test_one_long_line_leaves_room_for_others():
    text = excerpt([line("before"), line("x" * 300_000), line("after")])

    before, long, after = text.splitlines()
    assert before.endswith("before")
    assert long.endswith("x…")
    assert after.endswith("after")
    assert len(text) <= 4000


def test_an_excerpt_of_nothing_is_empty():
    assert excerpt([]) == ""
