"""The slowest stage is named, and what is long ago is forgotten."""

from __future__ import annotations

import pytest

from napari_pathfm.analysis.pace import Pace


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_names_what_is_waited_for_most_of_late() -> None:
    clock = Clock()
    pace = Pace("reading", "the network", clock=clock)
    assert pace.limit == ""
    with pace.waiting("reading"):
        clock.now += 3
    with pace.waiting("the network"):
        clock.now += 1
    assert pace.limit == "reading"
    for _ in range(10):
        clock.now += 2
        with pace.waiting("the network"):
            clock.now += 1
    assert pace.limit == "the network"


def test_a_part_of_what_was_waited_last_may_have_been_for_another_stage() -> None:
    clock = Clock()
    pace = Pace("the network", "writing", clock=clock)
    for part in (0.2, 0.9, 0.9):
        with pace.waiting("the network"):
            clock.now += 1
        pace.partly("writing", part)
        assert pace.limit == ("the network" if part == 0.2 else "writing")


def test_an_error_counts_as_waiting() -> None:
    clock = Clock()
    pace = Pace("reading", clock=clock)

    def fail() -> None:
        with pace.waiting("reading"):
            clock.now += 1
            raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        fail()
    assert pace.limit == "reading"
