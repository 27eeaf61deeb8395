"""``pathfm embed`` of many slides: what it says, its exit codes, several processes."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from napari_pathfm.__main__ import app
from napari_pathfm.analysis.cohort import SlideState, State
from napari_pathfm.analysis.cohort_processes import embed_in_processes
from napari_pathfm.analysis.embed_slide import EmbedTask
from napari_pathfm.core.embeddings import Embeddings
from napari_pathfm.core.jobs import run
from napari_pathfm.io.project import Project
from napari_pathfm.io.store import FeatureStore, stored_features
from napari_pathfm.models.precision import cosine


def pathfm(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def folder(synthetic: Path, tmp_path: Path) -> Path:
    """Three slides."""
    content = synthetic.read_bytes()
    made = tmp_path / "liver"
    made.mkdir()
    shutil.copy(synthetic, made / "a.tif")
    for name in "bc":
        (made / f"{name}.tif").write_bytes(content + name.encode())
    return made


def stored(project: Path) -> dict[str, Embeddings]:
    """Embeddings by the name of their slide."""
    with Project.open(project, read_only=True) as opened:
        return {
            row.name: stored_features(opened.slide_store(row.id))[0].read().in_grid_order()
            for row in opened.slides()
        }


def test_a_folder_with_a_broken_slide(folder: Path) -> None:
    (folder / "b.tif").write_bytes((folder / "b.tif").read_bytes()[:50_000])
    result = pathfm("embed", folder, "--tile-mpp", "4", "--json")
    assert result.exit_code == 1
    facts = json.loads(result.stdout)
    assert facts["project"] == str(folder.parent / "liver.pathfm")
    assert (facts["done"], facts["failed"], facts["from_store"]) == (2, 1, 0)
    assert [each["state"] for each in facts["slides"]] == ["done", "failed", "done"]
    assert "Copy" in facts["slides"][1]["reason"]
    assert "2/3 b: failed, b.tif" in result.stderr
    again = pathfm("embed", folder, "--tile-mpp", "4")
    assert again.exit_code == 1
    assert again.stdout.startswith("3 slides: 2 from the store, 1 failed; ")
    assert f"{folder / 'b.tif'}: b.tif cannot be opened" in again.stdout
    (folder / "b.tif").unlink()
    assert pathfm("embed", folder, "--tile-mpp", "4").exit_code == 0


def test_wrong_usage(folder: Path) -> None:
    several = pathfm("embed", folder / "a.tif", folder / "b.tif")
    assert (several.exit_code, "--project" in several.stderr) == (3, True)
    empty = folder / "empty"
    empty.mkdir()
    assert pathfm("embed", empty).exit_code == 3
    assert not empty.with_suffix(".pathfm").exists()


def test_a_process_that_is_killed_loses_its_slide_only(folder: Path, tmp_path: Path) -> None:
    options = ("embed", folder, "--tile-mpp", "2", "--project")
    assert pathfm(*options, tmp_path / "one").exit_code == 0
    killed: list[int] = []

    def kill_one(state: SlideState) -> None:
        if state.state is State.EMBEDDING and not killed:
            (child,) = multiprocessing.active_children()
            killed.append(child.pid or 0)
            os.kill(killed[-1], signal.SIGKILL)

    tasks = [EmbedTask(str(path), tmp_path / "two", tile_mpp=2) for path in folder.iterdir()]
    with Project.open(tmp_path / "two") as project:
        states = run(embed_in_processes(tasks, project, 1, show=kill_one))
    assert killed
    failed = [each for each in states if each.state is State.FAILED]
    assert len(failed) == 1
    assert "exit code -9" in failed[0].reason
    assert [each.state for each in states].count(State.DONE) == 2
    # What is missing is computed, by the command this time; nothing else is.
    result = pathfm(*options, tmp_path / "two", "--jobs", "2", "--json")
    assert result.exit_code == 0, result.stderr
    facts = json.loads(result.stdout)
    assert facts["from_store"] == 2
    one, two = stored(tmp_path / "one"), stored(tmp_path / "two")
    assert one.keys() == two.keys() == {"a", "b", "c"}
    for name, embeddings in one.items():
        np.testing.assert_array_equal(two[name].tiles, embeddings.tiles)
        assert cosine(two[name].vectors, embeddings.vectors).min() > 0.995


def assert_gone(group: int) -> None:
    """Wait for the last process of a group; that which minds Python's semaphores ends last."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    raise AssertionError("a process was left behind")


def test_ctrl_c_ends_all_processes_and_keeps_what_is_done(folder: Path, tmp_path: Path) -> None:
    options = ["--jobs", "2", "--tile-px", "64", "--tile-mpp", "0.5", "--project"]
    options = ["embed", str(folder), *options, str(tmp_path / "p")]
    run = subprocess.Popen(
        [sys.executable, "-m", "napari_pathfm", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # As a shell does: Ctrl+C reaches a program and all that it has started.
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert run.stderr is not None
    heard = ""
    while "limited by" not in heard:  # tiles are being embedded
        line = run.stderr.readline()
        assert line, heard
        heard += line
    os.killpg(run.pid, signal.SIGINT)
    out, err = run.communicate(timeout=120)
    assert run.returncode == 130, err
    assert out == ""
    assert "Traceback" not in heard + err
    assert "go on from there" in err
    assert_gone(run.pid)
    kept = 0
    with Project.open(tmp_path / "p", create=False) as project:
        for store in (tmp_path / "p" / "slides").glob("*.zarr"):
            for each in stored_features(store):
                kept += each.count
                assert len(each.read()) == each.count < each.total
                with FeatureStore(store, each.key, each.grid()).lock():
                    pass  # nobody holds it any longer
        assert project.folder.is_dir()
    assert kept
