"""When a job is looked at again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from airflow_sagemaker_pipelines.triggers import pace

seconds = st.floats(min_value=0, max_value=10_000_000)
positive = st.floats(min_value=0.01, max_value=10_000)
maybe = st.none() | seconds


@given(seconds, maybe, positive, positive)
def test_two_looks_are_never_further_apart_than_the_poll_interval(age, expected, poll_interval, shortest):
    assert pace.interval(age, expected=expected, poll_interval=poll_interval, shortest=shortest) <= poll_interval


@given(seconds, maybe, positive, positive)
def test_looks_are_as_far_apart_as_their_calls_ask_for_unless_the_poll_interval_is_less(
    age, expected, poll_interval, shortest
):
    interval = pace.interval(age, expected=expected, poll_interval=poll_interval, shortest=shortest)

    assert interval >= min(poll_interval, max(shortest, pace.SHORTEST))


@given(seconds, seconds, positive)
def test_an_older_job_is_not_looked_at_more_often(age, other_age, poll_interval):
    younger, older = sorted((age, other_age))

    assert pace.interval(younger, expected=None, poll_interval=poll_interval) <= pace.interval(
        older, expected=None, poll_interval=poll_interval
    )


def test_a_new_job_is_looked_at_every_two_seconds_and_an_old_one_as_seldom_as_allowed():
    assert pace.interval(0, expected=None, poll_interval=30) == 2
    assert 6 < pace.interval(100, expected=None, poll_interval=30) < 8
    assert pace.interval(10_000, expected=None, poll_interval=30) == 30


@given(seconds, seconds, positive)
def test_what_is_known_of_the_last_run_never_makes_looks_fewer(age, expected, poll_interval):
    assert pace.interval(age, expected=expected, poll_interval=poll_interval) <= pace.interval(
        age, expected=None, poll_interval=poll_interval
    )


@given(st.floats(min_value=60, max_value=100_000))
def test_a_job_is_looked_at_often_around_the_time_when_its_last_run_ended(expected):
    near = pace.interval(expected - 3, expected=expected, poll_interval=10_000)
    between = pace.interval(expected / 2, expected=expected, poll_interval=10_000)
    late = pace.interval(expected * 1.5, expected=expected, poll_interval=10_000)

    assert near == pace.SHORTEST
    assert between > near
    assert late > near


@given(st.integers(min_value=1, max_value=10**9))
def test_the_back_off_doubles_up_to_a_minute(failures):
    assert 1 <= pace.back_off(failures) <= 60
    assert pace.back_off(failures + 1) in (60, 2 * pace.back_off(failures))


@given(positive, st.floats(min_value=0, max_value=1))
def test_jitter_is_a_tenth(interval, draw):
    assert 0.899 * interval <= pace.jitter(interval, draw) <= 1.101 * interval


@given(positive, st.floats(min_value=0, max_value=1))
def test_jitter_spreads_and_has_no_bias(interval, draw):
    assert pace.jitter(interval, 0) < pace.jitter(interval, 1)
    assert abs(pace.jitter(interval, draw) + pace.jitter(interval, 1 - draw) - 2 * interval) <= interval * 1e-9


def test_the_last_duration_of_a_task_is_what_is_expected_of_it():
    durations = pace.Durations()
    durations.note("train", 40)
    durations.note("train", 60)
    durations.note("evaluate", 5)

    assert durations.expected("train") == 60
    assert durations.expected("transform") is None


def test_only_the_latest_durations_are_kept(monkeypatch):
    monkeypatch.setattr(pace, "_MOST_REMEMBERED", 3)
    durations = pace.Durations()
    for number in (1, 2, 3, 1, 4):
        durations.note(number, number)

    assert [durations.expected(number) for number in (1, 2, 3, 4)] == [1, None, 3, 4]
