"""Jobs run to their end, are closed when they are cancelled, and know how fast they are."""

from __future__ import annotations

import pytest

from napari_pathfm.core.jobs import Job, Progress, Rate, duration, run


def count(to: int, closed: list[str]) -> Job[str]:
    try:
        for done in range(to):
            yield Progress(done, to, "counting", "numbers")
        return "counted"
    finally:
        closed.append("closed")


def test_run_reports_and_returns() -> None:
    seen: list[Progress] = []
    closed: list[str] = []
    assert run(count(3, closed), seen.append) == "counted"
    assert [p.done for p in seen] == [0, 1, 2]
    assert closed == ["closed"]


def test_job_that_reports_nothing() -> None:
    assert run(count(0, [])) == "counted"


def test_closing_runs_finally() -> None:
    closed: list[str] = []
    job = count(3, closed)
    next(job)
    job.close()
    assert closed == ["closed"]


def test_error_while_reporting_closes_the_job() -> None:
    closed: list[str] = []

    def interrupted(_: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(count(3, closed), interrupted)
    assert closed == ["closed"]


def test_rate_forgets_what_is_long_past() -> None:
    now = 0.0
    rate = Rate(window=8.0, clock=lambda: now)
    assert rate.remaining(Progress(0, 100)) is None
    for step in range(20):
        now = float(step)
        rate.update(Progress(step if step < 10 else 10 + (step - 10) * 5, 100))
    assert rate.per_second == pytest.approx(5.0)
    assert rate.remaining(Progress(55, 100)) == pytest.approx(9.0)
    assert rate.remaining(Progress(55, 0)) is None


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-1, "0 s"), (45.4, "45 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")],
)
def test_duration(seconds: float, words: str) -> None:
    assert duration(seconds) == words
