"""One thread serves all units, the most urgent first."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from concurrent.futures import CancelledError, Future

import pytest

from napari_pathfm.core.inference import InferenceQueue, Priority, queue

WAIT = 10.0


@pytest.fixture
def stopped() -> tuple[InferenceQueue, threading.Event]:
    """Return a queue whose thread is busy until the event is set."""
    made, go, begun = InferenceQueue("test"), threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        go.wait(WAIT)

    made.submit(hold)
    assert begun.wait(WAIT)
    return made, go


def test_urgent_first_then_first_come(stopped: tuple[InferenceQueue, threading.Event]) -> None:
    made, go = stopped
    order: list[str] = []
    units = [
        ("rest 1", Priority.REST),
        ("visible", Priority.VISIBLE),
        ("rest 2", Priority.REST),
        ("click", Priority.CLICK),
        ("hover", Priority.HOVER),
    ]
    futures = [
        made.submit(lambda name=name: order.append(name), priority)  # type: ignore[misc]
        for name, priority in units
    ]
    go.set()
    for future in futures:
        future.result(WAIT)
    assert order == ["click", "hover", "visible", "rest 1", "rest 2"]


def test_all_units_run_in_one_thread_of_the_queue() -> None:
    made = InferenceQueue("only one")
    threads = {made.submit(threading.current_thread).result(WAIT) for _ in range(5)}
    (thread,) = threads
    assert thread.name == "only one"
    assert thread.daemon


def test_waiting_unit_can_be_cancelled(stopped: tuple[InferenceQueue, threading.Event]) -> None:
    made, go = stopped
    ran: list[int] = []
    first: Future[None] = made.submit(lambda: ran.append(1))
    second: Future[None] = made.submit(lambda: ran.append(2))
    assert first.cancel()
    go.set()
    second.result(WAIT)
    assert ran == [2]
    with pytest.raises(CancelledError):
        first.result(WAIT)


def test_error_goes_to_whoever_waits_and_the_thread_lives_on() -> None:
    made = InferenceQueue()
    with pytest.raises(ZeroDivisionError):
        made.submit(lambda: 1 / 0).result(WAIT)
    assert made.submit(lambda: "still here").result(WAIT) == "still here"


def test_unit_inside_a_unit_is_refused() -> None:
    made = InferenceQueue()
    with pytest.raises(RuntimeError, match="must not submit another one"):
        made.submit(lambda: made.call(lambda: None)).result(WAIT)


def test_a_device_has_one_queue() -> None:
    assert queue("cpu") is queue("cpu")
    assert queue("cpu") is not queue("cuda:7")


def test_held_units_wait_and_urgent_ones_do_not() -> None:
    made = InferenceQueue("held")
    made.call(lambda: None)
    made.hold(0.3)
    rest = made.submit(time.monotonic)
    click = made.submit(time.monotonic, Priority.CLICK)
    assert click.result(WAIT) < rest.result(WAIT)


def test_a_hold_that_is_renewed_for_ever_lets_a_unit_pass_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("napari_pathfm.core.inference.LONGEST_HOLD", 0.05)
    made = InferenceQueue("held")
    made.hold(3600)
    assert [made.call(lambda n=n: n) for n in range(3)] == [0, 1, 2]  # type: ignore[misc]


def test_a_queue_that_is_stopped_ends_its_unit_and_takes_back_the_others() -> None:
    queue, begun, ended = InferenceQueue("of the test"), threading.Event(), threading.Event()

    def unit() -> None:
        begun.set()
        time.sleep(0.2)
        ended.set()

    running, waiting = queue.submit(unit), queue.submit(unit)
    assert begun.wait(10)
    queue.stop()
    assert ended.is_set()
    assert running.done()
    assert waiting.cancelled()
    assert queue.submit(unit).cancelled()


def test_a_process_ends_after_its_last_unit() -> None:
    script = """
import time
from napari_pathfm.core.inference import queue
def unit():
    print("begun", flush=True)
    time.sleep(1)
    print("ended", flush=True)
queue("cpu").submit(unit)
time.sleep(0.3)
"""
    answer = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert answer.stdout.split() == ["begun", "ended"]
    assert answer.returncode == 0
