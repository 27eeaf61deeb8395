"""A scheduler and workers of dask.distributed on loopback, each a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

ENCODER = "example-colour-texture"
"""That of the examples: quick, and always with the same numbers."""


class Workers:
    """Starts and ends workers of a scheduler.

    Parameters
    ----------
    folder : Path
        Of their logs.
    """

    def __init__(self, folder: Path, extra: Mapping[str, str]) -> None:
        self.folder, self.processes = folder, list[subprocess.Popen[bytes]]()
        paths = [str(ROOT), str(plugin(folder / "site"))]
        self.environment = {
            **os.environ,
            **extra,
            "PYTHONPATH": os.pathsep.join(paths),
            "DASK_DISTRIBUTED__WORKER__DAEMON": "False",
        }
        file = folder / "scheduler.json"
        options = "--host 127.0.0.1 --port 0 --no-dashboard --no-show --scheduler-file"
        self.scheduler = self._start("scheduler", *options.split(), str(file))
        self.address = ""
        while not self.address:
            assert self.scheduler.poll() is None, self.log()
            time.sleep(0.05)
            if file.is_file() and (text := file.read_text()).endswith("}"):
                self.address = json.loads(text)["address"]

    def add(self, count: int = 1) -> None:
        """Start workers, which come a little later."""
        for _ in range(count):
            options = f"{self.address} --host 127.0.0.1 --nthreads 1 --resources GPU=1 --no-nanny"
            options += " --no-dashboard --memory-limit 0 --local-directory"
            self.processes.append(self._start("worker", *options.split(), str(self.folder)))

    def log(self) -> str:
        """What all of them have said."""
        return "\n".join(path.read_text() for path in sorted(self.folder.glob("*.log")))

    def stop(self) -> None:
        """End all of them."""
        for process in [*self.processes, self.scheduler]:
            process.kill()
            process.wait(20)

    def _start(self, what: str, *options: str) -> subprocess.Popen[bytes]:
        log = self.folder / f"{what}-{len(self.processes)}.log"
        with log.open("ab") as file:
            return subprocess.Popen(
                [sys.executable, "-m", "dask", what, *options],
                env=self.environment,
                stdout=file,
                stderr=file,
            )


@contextmanager
def workers(folder: Path, extra: Mapping[str, str] | None = None) -> Iterator[Workers]:
    """Give a scheduler that has no workers yet."""
    made = Workers(folder, extra or {})
    try:
        yield made
    finally:
        made.stop()


def plugin(site: Path) -> Path:
    """Lay the example encoder where Python finds it, with what an installer writes beside it."""
    source = ROOT / "plugins" / "example-encoder"
    if not site.is_dir():
        facts = site / "pathfm_example_encoder-0.1.dist-info"
        facts.mkdir(parents=True)
        (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: pathfm-x\nVersion: 0.1\n")
        (facts / "entry_points.txt").write_text(
            f"[napari_pathfm.encoders]\n{ENCODER} = pathfm_example_encoder:load\n"
        )
        for file in source.glob("*.py"):
            (site / file.name).write_bytes(file.read_bytes())
    return site
