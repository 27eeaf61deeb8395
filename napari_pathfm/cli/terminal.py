"""What the command line shows: progress and errors on stderr, answers on stdout."""

from __future__ import annotations

import enum
import errno
import functools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

import typer

from ..core.jobs import Progress, Rate, duration

P = ParamSpec("P")
T = TypeVar("T")

LINE_SECONDS = 5.0
"""Where stderr is no terminal, progress is a line of text this often."""


class Exit(enum.IntEnum):
    """Exit codes."""

    OK = 0
    FAILED = 1
    USAGE = 2
    INPUT = 3
    MODEL = 4
    PROJECT = 5
    CANCELLED = 130


debug = False
"""Show tracebacks; set by ``pathfm --debug``."""


def command(function: Callable[P, None]) -> Callable[P, None]:
    """Turn errors of a command into a message on stderr and an exit code, never a traceback."""

    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            function(*args, **kwargs)
        except (typer.Exit, typer.Abort, typer.BadParameter):
            raise
        except KeyboardInterrupt:
            say("Stopped. What is stored already is kept: run it again to go on from there.")
            raise typer.Exit(Exit.CANCELLED) from None
        except Exception as error:
            if debug:
                raise
            code, message = explain(error)
            say(f"pathfm: {message}")
            raise typer.Exit(code) from None

    return guarded


def explain(error: Exception) -> tuple[Exit, str]:
    """Exit code and message of an error."""
    from ..core.registry import RegistryError
    from ..core.slide import SlideError
    from ..io.errors import ProjectError
    from ..models.base import ModelError
    from ..models.device import no_memory

    if isinstance(error, ModelError | RegistryError):
        return Exit.MODEL, str(error)
    if words := no_memory(error):
        return Exit.FAILED, words
    if isinstance(error, ProjectError):
        return Exit.PROJECT, str(error)
    if isinstance(error, SlideError | ValueError):
        return Exit.INPUT, str(error)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        where = f" ({error.filename})" if error.filename else ""
        return Exit.PROJECT, f"no space left to write{where}. Free some, then run it again."
    if isinstance(error, OSError):
        return Exit.FAILED, f"{error.strerror or error}: {error.filename or ''}".rstrip(": ")
    kind = type(error).__name__
    return Exit.FAILED, f"unexpected {kind}: {error}. Run “pathfm --debug …” for the details."


def say(text: str) -> None:
    """Write a line to stderr."""
    print(text, file=sys.stderr, flush=True)


def answer(facts: dict[str, Any], text: str, as_json: bool) -> None:
    """Write the answer to stdout: one JSON object, or text for people."""
    try:
        print(json.dumps(facts) if as_json else text, flush=True)
    except BrokenPipeError:  # who reads it has seen enough, as in “| head”
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())  # what is left goes there at the end
        os.close(nowhere)


def licence(name: str) -> None:
    """Before a model is used that is not for commercial use: ask, or where nobody sits, say so.

    Raises
    ------
    typer.Exit
        The user's use is another one.
    """
    from ..models import licences

    spec = licences.first_use(name)
    if spec is None:
        return
    say(licences.terms(spec))
    if not sys.stdin.isatty():
        return
    # Not typer's question: that one writes to stdout, where the answer goes.
    question = "Is yours research or teaching? This is asked once for each model. [y/N] "
    print(question, end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        say(f"{name} was not used.")
        raise typer.Exit(Exit.MODEL)
    licences.agree(spec)


@contextmanager
def reporting(title: str) -> Iterator[Callable[[Progress], None]]:
    """Give a function that shows progress on stderr: a bar in a terminal, lines elsewhere."""
    if sys.stderr.isatty():
        with _bar(title) as report:
            yield report
    else:
        yield _lines(title)


@contextmanager
def _bar(title: str) -> Iterator[Callable[[Progress], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]}"),
    )
    rate = Rate()
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None, speed="")

        def report(progress: Progress) -> None:
            rate.update(progress)
            bar.update(
                task,
                description=progress.text or title,
                completed=progress.done,
                total=progress.total or None,
                speed=_speed(progress, rate),
            )

        yield report


def _lines(title: str) -> Callable[[Progress], None]:
    rate = Rate()
    last = ("", -LINE_SECONDS)

    def report(progress: Progress) -> None:
        nonlocal last
        rate.update(progress)
        text, now = progress.text or title, time.monotonic()
        finished = bool(progress.total) and progress.done >= progress.total
        step = text.split(",")[0]  # what follows, such as the number of a round, is no new step
        if step != last[0] or finished or now - last[1] >= LINE_SECONDS:
            last = (step, now)
            count = f" {progress.done}/{progress.total}" if progress.total else ""
            say(f"{text}{count} {_speed(progress, rate)}".rstrip())

    return report


def _speed(progress: Progress, rate: Rate) -> str:
    if not progress.unit or not rate.per_second:
        return ""
    remaining = rate.remaining(progress)
    left = f", {duration(remaining)} left" if remaining else ""
    return f"{rate.per_second:.1f} {progress.unit}/s{left}"
