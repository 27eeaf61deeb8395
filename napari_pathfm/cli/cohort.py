"""What ``pathfm embed`` shows of many slides: a live table in a terminal, lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..core.jobs import Rate, duration
from .terminal import LINE_SECONDS, say

if TYPE_CHECKING:
    from rich.table import Table

    from ..analysis.cohort import SlideState

COLOURS = {
    "reading": "cyan",
    "embedding": "bold cyan",
    "done": "green",
    "from the store": "green",
    "failed": "bold red",
}

FURNITURE = 8
"""Lines of a terminal that are not for rows of the table."""


@contextmanager
def showing(total: int) -> Iterator[Callable[[SlideState], None]]:
    """Give a function that shows the states of `total` slides on stderr."""
    if sys.stderr.isatty():
        with _live_table(total) as show:
            yield show
    else:
        yield _lines(total)


def facts(states: Sequence[SlideState]) -> dict[str, Any]:
    """Return what has become of slides, for a program."""
    counts = Counter(each.state.value for each in states)
    return {
        "done": counts["done"],
        "from_store": counts["from the store"],
        "failed": counts["failed"],
        "tiles": sum(each.result.tiles for each in states if each.result),
        "computed": sum(each.result.computed for each in states if each.result),
        "slides": [_slide_facts(each) for each in states],
    }


def summary(states: Sequence[SlideState], seconds: float) -> str:
    """Say what has become of slides: a line for all of them, and one for each that failed."""
    found = facts(states)
    parts = [
        f"{found['done']} embedded" if found["done"] else "",
        f"{found['from_store']} from the store" if found["from_store"] else "",
        f"{found['failed']} failed" if found["failed"] else "",
    ]
    computed, tiles = found["computed"], found["tiles"]
    lines = [
        f"{len(states)} slides: {', '.join(filter(None, parts))}; {tiles:,} tiles, {computed:,} of "
        f"them computed now, in {duration(seconds)}"
    ]
    failed = [each for each in states if each.state == "failed"]
    return "\n".join(lines + [f"  {each.task.slide}: {each.reason}" for each in failed])


def _slide_facts(state: SlideState) -> dict[str, Any]:
    made = state.result
    known = {"path": state.task.slide, "name": state.task.name, "state": state.state.value}
    if made is None:
        return {**known, "reason": state.reason}
    return {
        **known,
        "slide": made.slide.id,
        "grid": made.grid_hash,
        "tiles": made.tiles,
        "computed": made.computed,
        "dim": made.dim,
        "precision": made.key.precision,
        "seconds": round(made.seconds, 3),
        "remarks": list(made.remarks),
    }


def _words(state: SlideState, rate: Rate) -> str:
    """Say how far a slide is, or what has become of it."""
    progress, made = state.progress, state.result
    if made is not None:
        speed = f", {made.computed / made.seconds:.1f} tiles/s" if made.computed else ""
        return f"{made.text}{speed}"
    if state.state != "embedding":
        return state.reason
    speed = f", {rate.per_second:.1f} tiles/s" if rate.per_second else ""
    remaining = rate.remaining(progress)
    left = f", {duration(remaining)} left" if remaining else ""
    return f"{progress.done:,}/{progress.total:,}{speed}{left}; {progress.text}"


class _Rates:
    """The speed of each slide that is embedded."""

    def __init__(self) -> None:
        self._rates: dict[int, Rate] = {}

    def of(self, state: SlideState) -> Rate:
        """Take notice of a state, and return how fast its slide is."""
        if state.ended:
            return self._rates.pop(state.number, Rate())
        rate = self._rates.setdefault(state.number, Rate())
        if state.state == "embedding":
            rate.update(state.progress)
        return rate


def _lines(total: int) -> Callable[[SlideState], None]:
    rates, said = _Rates(), dict[int, tuple[str, float]]()

    def show(state: SlideState) -> None:
        rate, now = rates.of(state), time.monotonic()
        last, when = said.get(state.number, ("", 0.0))
        if state.state == last and (state.ended or now - when < LINE_SECONDS):
            return
        said[state.number] = state.state.value, now
        words = _words(state, rate)
        text = f"{state.number + 1}/{total} {state.task.name}: {state.state.value}"
        say(f"{text}, {words}" if words else text)

    return show


@contextmanager
def _live_table(total: int) -> Iterator[Callable[[SlideState], None]]:
    from rich.console import Console
    from rich.live import Live

    console, rates = Console(stderr=True), _Rates()
    shown: dict[int, tuple[SlideState, Rate]] = {}

    def table() -> Table:
        return _table([*shown.values()], total, max(3, console.height - FURNITURE))

    with Live(get_renderable=table, console=console, refresh_per_second=4) as live:

        def show(state: SlideState) -> None:
            before = shown.pop(state.number, None)
            shown[state.number] = state, rates.of(state)
            if before is None or before[0].state is not state.state:
                live.refresh()

        yield show


def _table(rows: list[tuple[SlideState, Rate]], total: int, height: int) -> Table:
    """Return the slides at work, those that failed, and the last that are done."""
    from rich.table import Table

    counts = Counter(state.state.value for state, _ in rows)
    counts["waiting"] += total - len(rows)
    title = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    table = Table(title=f"{total} slides: {title}", title_justify="left", expand=True)
    table.add_column("slide", no_wrap=True, ratio=2)
    table.add_column("state", no_wrap=True, min_width=14)
    table.add_column("", overflow="ellipsis", no_wrap=True, ratio=5)
    order = {"embedding": 0, "reading": 1, "failed": 2}
    latest = list(reversed(rows))
    latest.sort(key=lambda row: order.get(row[0].state.value, 3))
    for state, rate in sorted(latest[:height], key=lambda row: row[0].number):
        style = COLOURS.get(state.state.value, "")
        table.add_row(state.task.name, f"[{style}]{state.state.value}[/]", _words(state, rate))
    return table
