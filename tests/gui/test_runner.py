from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from typing import Any

import pytest

from napari_pathfm.core.jobs import Progress, one_step
from napari_pathfm.gui.job_bar import JobBar
from napari_pathfm.gui.runner import Runner

Wait = Callable[[Callable[[], bool]], None]


@pytest.fixture
def runner(qtbot: Any) -> Generator[Runner, None, None]:
    made = Runner()
    yield made
    made.shutdown()


def count(to: int) -> Generator[Progress, None, int]:
    for done in range(to):
        yield Progress(done, to, "Counting", "numbers")
    return to


def forever(closed: threading.Event) -> Generator[Progress, None, str]:
    try:
        while True:
            threading.Event().wait(0.005)
            yield Progress(1, 2)
    finally:
        closed.set()


def broken() -> Generator[Progress, None, None]:
    yield Progress(0, 1)
    raise ValueError("do this next")


def test_hands_the_result_to_the_gui_thread(runner: Runner, wait: Wait) -> None:
    seen: list[tuple[int, threading.Thread]] = []
    runner.start(count(3), "Counting", lambda n: seen.append((n, threading.current_thread())))
    wait(lambda: bool(seen))
    assert seen == [(3, threading.main_thread())]
    assert not runner.running


def test_cancel_closes_the_job_in_its_own_thread_and_drops_the_result(
    runner: Runner, wait: Wait
) -> None:
    closed, seen = threading.Event(), []
    running = runner.start(forever(closed), "Waiting", seen.append, slot="a")
    assert runner.busy("a")
    running.cancel()
    assert not runner.busy("a")
    wait(lambda: not runner.running)
    assert closed.is_set()
    assert not seen


def test_a_new_job_of_a_slot_supersedes_the_old_one(runner: Runner, wait: Wait) -> None:
    closed, seen = threading.Event(), []
    runner.start(forever(closed), "Old", lambda _: seen.append("old"), slot="a")
    runner.start(count(1), "New", lambda _: seen.append("new"), slot="a")
    wait(lambda: not runner.running)
    assert closed.is_set()
    assert seen == ["new"]


def test_an_error_is_handed_over_with_its_remedy(runner: Runner, wait: Wait) -> None:
    errors: list[BaseException] = []
    runner.start(broken(), "Breaking", print, failed=errors.append)
    wait(lambda: bool(errors))
    assert str(errors[0]) == "do this next"


def test_errors_become_notifications(runner: Runner, wait: Wait) -> None:
    from napari.utils.notifications import notification_manager

    notification_manager.records.clear()
    runner.start(broken(), "Breaking", print)
    wait(lambda: bool(notification_manager.records))
    assert notification_manager.records[-1].message == "Breaking: do this next"


def test_shutdown_waits_until_jobs_are_closed(runner: Runner) -> None:
    closed = threading.Event()
    runner.start(forever(closed), "Waiting", print)
    runner.shutdown()
    assert closed.is_set()


def test_job_bar_shows_progress_and_cancels(runner: Runner, qtbot: Any, wait: Wait) -> None:
    bar = JobBar(runner)
    qtbot.addWidget(bar)
    bar.show()
    closed = threading.Event()
    running = runner.start(forever(closed), "Waiting", print)
    assert not bar._lines  # what is over at once never shows
    wait(lambda: len(bar._lines) == 1)
    (line,) = bar._lines.values()
    wait(line.isVisible)
    wait(lambda: line.bar.maximum() == 2 and line.bar.value() == 1)
    assert "1 of 2" in line.label.text()
    line.button.click()
    assert running.cancelled
    wait(lambda: not bar._lines)


def test_job_bar_is_silent_about_what_nobody_asked_for_and_what_is_short(
    runner: Runner, qtbot: Any, wait: Wait
) -> None:
    bar = JobBar(runner)
    qtbot.addWidget(bar)
    bar.show()
    runner.start(forever(threading.Event()), "", print)
    runner.start(one_step("short", lambda: None), "Short", print)
    shown = runner.start(forever(threading.Event()), "Waiting", print)
    wait(lambda: len(bar._lines) > 0)
    assert list(bar._lines) == [shown]
    assert not bar._young
    runner.shutdown()


def test_a_widget_that_is_gone_is_told_nothing(runner: Runner, qtbot: Any, wait: Wait) -> None:
    from qtpy.compat import isalive
    from qtpy.QtWidgets import QLabel

    seen: list[int] = []

    class Label(QLabel):
        def show_number(self, number: int) -> None:
            seen.append(number)
            self.setText(str(number))

    label, other = Label(), Label()
    qtbot.addWidget(other)
    label.deleteLater()
    wait(lambda: not isalive(label))
    runner.start(count(3), "Counting", label.show_number)
    wait(lambda: not runner.running)
    runner.start(count(4), "Counting", other.show_number)
    wait(lambda: not runner.running)
    assert seen == [4]


def test_what_a_job_has_so_far_is_handed_over_at_once(runner: Runner, wait: Wait) -> None:
    go_on, seen = threading.Event(), []

    def job() -> Generator[Progress, None, str]:
        yield Progress(0, 2)
        yield Progress(1, 2, so_far="half")
        assert go_on.wait(20)
        return "whole"

    runner.start(job(), "Working", seen.append, slot="a", so_far=seen.append)
    wait(lambda: seen == ["half"])
    go_on.set()
    wait(lambda: seen == ["half", "whole"])
    go_on.clear()
    running = runner.start(job(), "Working", seen.append, slot="a", so_far=seen.append)
    running.cancel()
    go_on.set()
    wait(lambda: not runner.running)
    assert seen == ["half", "whole"], "what is cancelled tells nothing any more"
