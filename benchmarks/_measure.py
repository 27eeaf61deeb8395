"""What every benchmark needs: repetitions, medians, the machine, and one JSON object on stdout."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

MATERIAL = Path(__file__).resolve().parents[2] / "shared" / "material"
"""Folder of real slides; see :func:`find_material`."""


class MissingMaterial(Exception):
    """Something that the benchmark measures with is not there."""


def find_material(*parts: str) -> Path:
    """Return a path in the folder of real slides; :class:`MissingMaterial` if it is not there."""
    path = MATERIAL.joinpath(*parts)
    if not path.exists():
        raise MissingMaterial(f"{path} is missing; put the real slides there to measure with them")
    return path


def seconds_a_pass(
    run: Callable[[], object], prepare: Callable[[], object] = lambda: None, at_least: float = 2.0
) -> float:
    """Time one repetition: as many passes as fill `at_least` seconds, the mean of one.

    `prepare` (empty the caches) runs before each pass and is not counted.
    """
    total, passes = 0.0, 0
    while total < at_least:
        prepare()
        start = time.perf_counter()
        run()
        total += time.perf_counter() - start
        passes += 1
    return total / passes


def compare(sides: dict[str, Callable[[], float]], repetitions: int = 3) -> dict[str, float]:
    """Median of each side's seconds, the sides taking turns so that the machine's moods cancel."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(repetitions):
        for name, measure in sides.items():
            say(f"{name}, repetition {number + 1} of {repetitions}")
            times[name].append(measure())
    return {name: median(values) for name, values in times.items()}


def machine() -> dict[str, Any]:
    """Describe the machine that the numbers belong to."""
    from napari_pathfm.core.threads import cores

    return {
        "cpu": _cpu_name(),
        "cores": cores(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _cpu_name() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def say(text: str) -> None:
    """Tell people on stderr what is being done."""
    print(text, file=sys.stderr, flush=True)


def main(name: str, measure: Callable[[], dict[str, Any]], bare: bool = False) -> None:
    """Run a benchmark and print its result as the only thing on stdout.

    ``--json`` prints it on one line, otherwise it is indented. Missing material gives an object
    with the key ``error``, and exit status 1. A `bare` result, in which nothing depends on the
    machine, comes without the keys ``benchmark`` and ``machine``.
    """
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}")
    parser.add_argument("--json", action="store_true", help="one line instead of indented")
    arguments = parser.parse_args()
    result: dict[str, Any] = {} if bare else {"benchmark": name, "machine": machine()}
    os.environ["PATHFM_CROPS"] = "0"  # what was encoded in an earlier run would be found again
    out, status = os.dup(1), 0
    os.dup2(2, 1)  # whatever libraries print goes to stderr
    try:
        result |= measure()
    except MissingMaterial as error:
        say(str(error))
        result["error"], status = str(error), 1
    finally:
        sys.stdout.flush()
        os.dup2(out, 1)
    print(json.dumps(result, indent=None if arguments.json else 2), flush=True)
    sys.exit(status)
