"""Damaged slides end in a result or a clear error; ``PATHFM_FUZZ=2500`` for more than these 100."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from napari_pathfm.core.slide import SlideError
from napari_pathfm.io.backends import retiled
from napari_pathfm.io.cache import shared_cache
from napari_pathfm.io.reader import open_slide

from .fuzz import Case, Draw, cases, specimens

CASES = int(os.environ.get("PATHFM_FUZZ", "100"))
SEED = int(os.environ.get("PATHFM_FUZZ_SEED", "0"))
SECONDS = 5
"""Of processor time a file, which does not depend on what else the machine does."""

PATIENCE = 120
"""Seconds on the clock after which a process that does nothing is taken to hang."""

BYTES = 2 * 1024**3
REAL = Path(__file__).resolve().parents[3] / "shared/material/slides/CMU-1-Small-Region.svs"

linux = pytest.mark.skipif(sys.platform != "linux", reason="limits and measures memory with /proc")


class Worker:
    """A process that looks at slides, started again when it has died."""

    def __init__(self, folder: Path) -> None:
        self._errors = folder / "stderr"
        self._whole = folder / "warm.png"
        self._process: subprocess.Popen[str] | None = None

    def ask(self, **order: Any) -> dict[str, Any]:
        """Return the answer to an order; a crash and a hang are answers too."""
        if self._process is None:
            self._start()
        return self._ask(order)

    def warm(self, paths: list[Path]) -> None:
        """Let it load what it needs for each kind; all memory beyond that is counted."""
        self._paths = paths

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _start(self) -> None:
        with self._errors.open("w") as errors:
            self._process = subprocess.Popen(
                [sys.executable, Path(__file__).with_name("fuzz_worker.py")],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
                env={**os.environ, "MALLOC_ARENA_MAX": "2"},
            )  # fmt: skip
        for number, path in enumerate(self._paths, 1):
            answer = self._ask({"path": str(path), "limit": number == len(self._paths)})
            assert answer["outcome"] == "opened", (path, answer)

    def _ask(self, order: dict[str, Any]) -> dict[str, Any]:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(order) + "\n")
        process.stdin.flush()
        begun, used = time.monotonic(), _processor_seconds(process.pid)
        while not select.select([process.stdout], [], [], 1)[0]:
            busy = _processor_seconds(process.pid) - used
            if busy > 4 * SECONDS or time.monotonic() - begun > PATIENCE:
                self.close()
                return {"outcome": "hung", "detail": f"after {busy:.1f} s of processor time"}
        line = process.stdout.readline()
        while line and not line.startswith("{"):  # GLib prints what it ends the process for
            line = process.stdout.readline()
        if not line:
            code = process.wait()
            self.close()
            return {"outcome": f"crashed ({code})", "detail": self._errors.read_text()[-3000:]}
        answer: dict[str, Any] = json.loads(line)
        return answer


def _processor_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    worker = Worker(tmp_path)
    yield worker
    worker.close()


@linux
def test_damaged_slides_end_in_a_result_or_a_clear_error(
    picture: Draw, worker: Worker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = specimens(tmp_path, picture, REAL if REAL.exists() else None)
    paths = [specimen.write(tmp_path / f"whole {number}") for number, specimen in enumerate(whole)]
    worker.warm(paths)
    right = {
        specimen.kind: worker.ask(path=str(path), checksums=True)["checksums"]
        for specimen, path in zip(whole, paths, strict=True)
        if specimen.segments
    }
    figures: dict[str, Counter[str]] = defaultdict(Counter)
    failed, slowest, largest, compared = [], 0.0, 0, 0
    for number, case in enumerate(cases(whole, CASES, SEED)):
        intact = {} if case.hurt is None else _intact(case, right[case.specimen.kind])
        compared += len(intact)
        answer = worker.ask(path=str(case.write(tmp_path / "damaged")), intact=intact)
        seconds, used = answer.get("seconds", 0.0), answer.get("bytes", 0)
        slowest, largest = max(slowest, seconds), max(largest, used)
        if answer["outcome"] in ("opened", "partly", "refused"):
            if seconds > SECONDS:
                answer["outcome"] = f"slow ({seconds:.1f} s)"
            elif used > BYTES:
                answer["outcome"] = f"large ({used / 1024**2:.0f} MiB)"
        figures[case.specimen.kind][answer["outcome"]] += 1
        if answer["outcome"] not in ("opened", "partly", "refused"):
            failed.append(
                f"{number}: {case.specimen.kind}, {case.how}: {answer['outcome']}\n"
                f"{answer['detail']}"
            )
            if "PATHFM_FUZZ_KEEP" in os.environ:
                case.write(Path(os.environ["PATHFM_FUZZ_KEEP"]) / f"{number}")
        shutil.rmtree(tmp_path / "damaged")
    with capsys.disabled():
        print(f"\n{'':22}{'opened':>8}{'partly':>8}{'refused':>8}{'failed':>8}")
        for kind, counts in figures.items():
            good = [counts[name] for name in ("opened", "partly", "refused")]
            print(f"{kind:22}" + "".join(f"{n:8}" for n in (*good, counts.total() - sum(good))))
        print(
            f"slowest {slowest:.2f} s, largest {largest / 1024**2:.0f} MiB, "
            f"{compared} undamaged segments compared"
        )
    assert not failed, f"{len(failed)} failed:\n" + "\n".join(failed[:20])


def _intact(case: Case, right: dict[str, int]) -> dict[str, int]:
    assert case.hurt is not None
    stored = case.specimen.segments
    return {name: right[name] for name in stored if name not in case.hurt}


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be removed there")
@pytest.mark.parametrize("what", ["removed", "cut off", "emptied"])
def test_a_file_that_goes_while_it_is_open(picture: Draw, tmp_path: Path, what: str) -> None:
    for number, specimen in enumerate(specimens(tmp_path, picture, None)):
        path = specimen.write(tmp_path / f"{number}")
        with open_slide(path) as slide:
            whole = slide.read(0, 0, 0, *slide.levels[0].shape)
            shared_cache().clear()
            retiled._kept().clear()
            for name, data in specimen.files.items():
                if what == "removed":
                    (path.parent / name).unlink()
                else:
                    os.truncate(path.parent / name, 0 if what == "emptied" else len(data) // 2)
            # Where there are several files, they are opened again for each read.
            held = what == "removed" and not specimen.beside
            with contextlib.nullcontext() if held else contextlib.suppress(SlideError):
                again = slide.read(0, 0, 0, *slide.levels[0].shape)
                assert (again == whole).all(), specimen.kind


def test_a_link_that_points_nowhere(tmp_path: Path) -> None:
    link, circle = tmp_path / "link.svs", tmp_path / "circle.svs"
    link.symlink_to(tmp_path / "absent.svs")
    circle.symlink_to(circle)
    for path in (link, circle):
        with pytest.raises(SlideError, match=path.name):
            open_slide(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_a_pipe_that_nobody_writes_to_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.svs")
    with pytest.raises(SlideError, match="ordinary file"):
        open_slide(tmp_path / "pipe.svs")
