from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from napari_pathfm.io.errors import ProjectError
from napari_pathfm.io.locks import FileLock


def test_one_holds_it_and_says_who(tmp_path: Path) -> None:
    path = tmp_path / "new" / "thing.lock"
    with FileLock(path, "The thing") as first:
        assert first.held
        assert json.loads(path.read_bytes())["pid"] == os.getpid()
        with pytest.raises(ProjectError, match="The thing is being written by this program itself"):
            FileLock(path, "The thing").acquire()
    assert not first.held
    FileLock(path, "The thing").acquire()


def test_a_dead_process_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "thing.lock"
    code = f"""
import os, pathlib
from napari_pathfm.io.locks import FileLock
FileLock(pathlib.Path({str(path)!r}), "It").acquire()
os._exit(1)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 1
    with FileLock(path, "The thing"):
        pass


def test_what_failed_is_not_held(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="no limits on files here")
    path = tmp_path / "thing.lock"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    kept = []  # as a message on the screen keeps its error, and an error its frames
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        with pytest.raises((ProjectError, OSError)) as caught:
            FileLock(path, "The thing").acquire()
        kept.append(caught)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    with FileLock(path, "The thing"):
        pass
