"""Reaching a cluster: what SLURM is asked for, and jobs that it starts."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from napari_pathfm.analysis.cluster import embed_on_cluster
from napari_pathfm.analysis.cohort import State
from napari_pathfm.analysis.embed_slide import EmbedTask
from napari_pathfm.analysis.schedulers import connected, sbatch_options, slurm, slurm_cluster
from napari_pathfm.core.jobs import run
from napari_pathfm.io.project import Project

from .dask_workers import ENCODER, plugin

dask = pytest.importorskip("dask")
pytest.importorskip("dask_jobqueue", reason="SLURM needs the package dask-jobqueue")

ROOT = Path(__file__).resolve().parents[2]

SBATCH = """#!/bin/sh
cp "$1" "$0.$$"
setsid bash "$0.$$" > "$0.log" 2>&1 &
echo "Submitted batch job $!"
"""

SCANCEL = """#!/bin/sh
kill -- "-$1"
"""


@pytest.fixture
def settings() -> Iterator[Any]:
    """Take nobody's own configuration of dask-jobqueue."""
    with dask.config.set({"jobqueue.slurm": dict(dask.config.get("jobqueue.slurm", {}))}) as made:
        yield made


def lines(queue: str | None = None, options: str = "") -> list[str]:
    with slurm_cluster(queue, options) as cluster:
        return str(cluster.job_script()).splitlines()


@pytest.mark.usefixtures("settings")
def test_what_a_job_asks_for() -> None:
    script = lines("gpu", "--gres=gpu:1 -t 08:00:00 --mem=64G")
    asked = [line.removeprefix("#SBATCH ") for line in script if line.startswith("#SBATCH")]
    assert {"-p gpu", "--gres=gpu:1", "-t 08:00:00", "--mem=64G", "--cpus-per-task=8"} < set(asked)
    assert sum(line.startswith(("-t", "--mem")) for line in asked) == 2
    (worker,) = [line for line in script if "dask_worker" in line]
    assert worker.startswith(sys.executable)
    assert "--resources GPU=1" in worker
    assert "--nthreads 2" in worker


@pytest.mark.usefixtures("settings")
def test_a_cluster_s_own_settings_hold_where_nothing_is_said() -> None:
    with dask.config.set(
        {"jobqueue.slurm.job-cpu": 6, "jobqueue.slurm.job-extra-directives": ["--account=lab"]}
    ):
        script = lines()
    assert {"#SBATCH --cpus-per-task=6", "#SBATCH --account=lab"} < set(script)
    assert not any("GPU" in line for line in script)


def test_options_of_sbatch() -> None:
    assert sbatch_options("-p gpu --mem=64G") == ["-p gpu", "--mem=64G"]
    with pytest.raises(ValueError, match="begin with a dash, not 'gpu'"):
        sbatch_options("gpu")


def test_nobody_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_pathfm.analysis.schedulers.CONNECT_SECONDS", 1)
    with (
        pytest.raises(ConnectionError, match="No scheduler answers at"),
        connected("tcp://[::1]:9"),
    ):
        pass
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ConnectionError, match="There is no sbatch here"), slurm(1):
        pass


@pytest.mark.skipif(sys.platform != "linux", reason="jobs are played by setsid")
@pytest.mark.usefixtures("settings")
def test_jobs_embed_and_end(
    synthetic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in {"sbatch": SBATCH, "scancel": SCANCEL}.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    site = plugin(tmp_path / "site")
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(ROOT), str(site))))
    monkeypatch.setenv("PATH", os.pathsep.join((str(programs), os.environ["PATH"])))
    slide = shutil.copy(synthetic, tmp_path / "slide.tif")
    task = EmbedTask(str(slide), tmp_path / "project", ENCODER)
    with Project.open(task.project) as project, slurm(1, None, "--gres=gpu:1") as client:
        (state,) = run(embed_on_cluster([task], client, project))
        (worker,) = client.scheduler_info(n_workers=-1)["workers"].values()
    assert worker["resources"] == {"GPU": 1}
    assert state.state is State.DONE, state.reason
