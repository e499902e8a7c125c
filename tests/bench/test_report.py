"""What the benchmarks say, and where they write it."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.bench.host_process import Measured, uncoordinated
from tests.bench.job_waits import JobWaits
from tests.bench.part import Part, Table, Target, shown
from tests.bench.run import PAGE, PARTS, write_section


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (7, "7"), (12345, "12,345"), (0.02, "0.0200"), (3.14159, "3.14"), (14.07, "14.1")]
)
def test_figures_have_three_digits_or_so(value, text):
    assert shown(value) == text


def test_a_missed_target_says_so():
    target = Target(name="calls", value=3, most=2)

    assert not target.is_met
    assert target.markdown() == "* calls: 3, at most 2: **MISSED**"


def test_a_part_shows_its_tables_and_targets():
    table = Table(title="a run", columns=("ours", "theirs"), rows={"calls": (1, 50)})
    part = Part(title="Waiting", how="So.", tables=[table], targets=[Target(name="ratio", value=0.02, most=0.02)])

    assert part.markdown().splitlines() == [
        "So.",
        "",
        "| a run | ours | theirs |",
        "|---|--:|--:|",
        "| calls | 1 | 50 |",
        "",
        "* ratio: 0.0200, at most 0.0200: met",
    ]


def test_a_parts_figures_replace_those_of_the_last_time_and_no_others(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- a -->\nold\n<!-- /a -->\ntext\n<!-- b -->\nkept\n<!-- /b -->\n")

    write_section(page, "a", r"new \1")

    assert page.read_text() == "<!-- a -->\nnew \\1\n<!-- /a -->\ntext\n<!-- b -->\nkept\n<!-- /b -->\n"


def test_a_page_without_a_place_for_a_part_is_refused(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("text\n")

    with pytest.raises(ValueError, match="one section"):
        write_section(page, "a", "new")


def test_the_page_has_a_place_for_every_part():
    text = PAGE.read_text()

    assert [name for name in PARTS if f"<!-- {name} -->" not in text] == []


def test_calls_while_waiting_are_all_but_the_one_that_tells_of_the_end_of_each_job():
    calls = {"sagemaker.ListTrainingJobs": 5, "sagemaker.DescribeTrainingJob": 12}
    measured = Measured(fired={}, warm=0.0, all_wait=0.0, lags={}, memory=0.0, cpu=0.0)
    late = {f"job {number}": 1.0 for number in range(10)}
    waits = JobWaits(measured=measured, late=late, calls=Counter(calls))

    assert waits.calls_while_waiting == 7


def test_a_blocked_loop_counts_as_late_for_all_who_wanted_to_be_woken():
    assert uncoordinated(0.09) == pytest.approx([0.09, 0.07, 0.05, 0.03])
    assert uncoordinated(0.001) == [0.001]
