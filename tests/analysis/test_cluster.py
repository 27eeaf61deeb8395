"""Embedding on a cluster: a real scheduler and workers, each a process of its own, on loopback."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_pathfm.analysis.cluster import NotSharedError, embed_on_cluster
from napari_pathfm.analysis.cluster_tasks import TRIES, reason
from napari_pathfm.analysis.cluster_work import embed_part, plan_slide
from napari_pathfm.analysis.cohort import SlideState, State
from napari_pathfm.analysis.embed_slide import EmbedTask, embed_slide, load_encoder
from napari_pathfm.analysis.schedulers import connected
from napari_pathfm.core.embeddings import Embeddings
from napari_pathfm.core.jobs import run
from napari_pathfm.io.project import Project
from napari_pathfm.io.store import stored_features

from .dask_workers import ENCODER, Workers, plugin, workers

pytest.importorskip("distributed", reason="many machines need the package distributed")

PART = 60


@pytest.fixture(scope="module")
def bucket() -> Iterator[dict[str, str]]:
    """Serve S3 with the bucket "lab"; what the environment has to say for it."""
    moto = pytest.importorskip("moto.server", reason="S3 is played by the package moto")
    import boto3
    import s3fs

    server = moto.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    surroundings = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "drawn",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in surroundings.items():
            patch.setenv(name, value)
        boto3.client("s3").create_bucket(Bucket="lab")
        s3fs.S3FileSystem.clear_instance_cache()  # of tests before
        yield surroundings
        s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, bucket: dict[str, str]) -> Iterator[Workers]:
    """Three workers; the encoder can be found here, too."""
    folder = tmp_path_factory.mktemp("cluster")
    with pytest.MonkeyPatch.context() as patch, workers(folder, bucket) as made:
        patch.syspath_prepend(str(plugin(folder / "site")))
        made.add(3)
        yield made


@pytest.fixture
def client(cluster: Workers) -> Iterator[Any]:
    with connected(cluster.address) as client:
        client.wait_for_workers(2, timeout=60)
        yield client


@pytest.fixture
def task(synthetic: Path, tmp_path: Path) -> EmbedTask:
    slide = shutil.copy(synthetic, tmp_path / "slide.tif")
    return EmbedTask(str(slide), tmp_path / "project", ENCODER, tile_mpp=0.5, tile_px=64)


@pytest.fixture(scope="module")
def alone(
    synthetic: Path, cluster: Workers, tmp_path_factory: pytest.TempPathFactory
) -> Embeddings:
    """What one machine makes of the slide."""
    folder = tmp_path_factory.mktemp("alone")
    task = EmbedTask(str(synthetic), folder, ENCODER, tile_mpp=0.5, tile_px=64)
    with Project.open(folder) as project:
        run(embed_slide(task, run(load_encoder(task)), project))
    made = kept(folder)
    assert len(made) > 5 * PART
    return made


def kept(folder: Path) -> Embeddings:
    """All vectors that a project has of its only slide."""
    (store,) = (folder / "slides").glob("*.zarr")
    (features,) = stored_features(store)
    assert features.count == features.total
    return features.read().in_grid_order()


def same(one: Embeddings, other: Embeddings) -> None:
    assert (one.key, one.grid_hash) == (other.key, other.grid_hash)
    np.testing.assert_array_equal(one.tiles, other.tiles)
    np.testing.assert_array_equal(one.vectors, other.vectors)


def test_the_same_vectors_as_on_one_machine_and_what_always_fails_is_named(
    client: Any, task: EmbedTask, alone: Embeddings, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.tif"
    broken.write_bytes(Path(task.slide).read_bytes()[:300])
    seen: list[SlideState] = []
    tasks = [replace(task, slide=str(broken)), task]
    with Project.open(task.project) as project:
        states = run(embed_on_cluster(tasks, client, project, None, seen.append, PART))
        assert [row.name for row in project.slides()] == ["slide"]
        again = run(embed_on_cluster(tasks[1:], client, project, None, None, PART))
    same(kept(task.project), alone)
    assert [each.state for each in states] == [State.FAILED, State.DONE]
    assert f"given up after {TRIES} tries" in states[0].reason
    assert "broken.tif" in states[0].reason
    made = states[1].result
    assert made is not None
    assert (made.tiles, made.computed, made.dim) == (len(alone), len(alone), 16)
    embedding = [each.progress for each in seen if each.state is State.EMBEDDING]
    assert [each.done for each in embedding] == sorted(each.done for each in embedding)
    assert embedding[0].total == len(alone)
    assert again[0].state is State.STORED
    assert not any(path.is_file() for path in (task.project / "parts").rglob("*"))


def test_a_worker_that_is_killed_loses_nothing(
    client: Any, cluster: Workers, task: EmbedTask, alone: Embeddings
) -> None:
    seen: list[SlideState] = []
    victim, *_ = cluster.processes
    with Project.open(task.project) as project:
        job = embed_on_cluster([task], client, project, None, seen.append, 20)
        while not (seen and seen[-1].progress.done):
            next(job)
        victim.kill()
        victim.wait(20)
        assert seen[-1].progress.done < len(alone) / 2
        states = run(job)
    assert len(client.scheduler_info(n_workers=-1)["workers"]) == 2
    same(kept(task.project), alone)
    assert states[0].state is State.DONE
    cluster.add()


def test_what_was_made_for_one_that_was_stopped_is_taken_up(
    client: Any, task: EmbedTask, alone: Embeddings, tmp_path: Path
) -> None:
    place = str(tmp_path / "shared")
    plan = plan_slide(task, {})
    embed_part(task, plan, np.arange(3, 3 + PART), place)
    (part,) = Path(place).rglob("*.safetensors")
    part.with_name("00000000-damaged.safetensors").write_bytes(b"half of")
    with Project.open(task.project) as project:
        job = embed_on_cluster([task], client, project, place, None, PART)
        while not stored_features(project.slide_store(plan.slide.id)):
            next(job)
        (first,) = stored_features(project.slide_store(plan.slide.id))
        assert first.read().tiles[:PART].tolist() == list(range(3, 3 + PART))
        job.close()
        states = run(embed_on_cluster([task], client, project, place, None, PART))
    same(kept(task.project), alone)
    assert states[0].result is not None
    assert states[0].result.computed <= len(alone) - PART
    assert not any(path.is_file() for path in Path(place).rglob("*"))


def test_results_in_a_bucket(
    client: Any, task: EmbedTask, alone: Embeddings, caplog: pytest.LogCaptureFixture
) -> None:
    import boto3

    with Project.open(task.project) as project, caplog.at_level("INFO", "werkzeug"):
        job = embed_on_cluster([task], client, project, "s3://lab/runs/liver", None, 600)
        (state,) = run(job)
    same(kept(task.project), alone)
    assert state.state is State.DONE
    assert caplog.text.count("PUT /lab/runs/liver/") == -(-len(alone) // 600)
    assert "Contents" not in boto3.client("s3").list_objects_v2(Bucket="lab")
    assert not (task.project / "parts").exists()


def test_a_place_that_is_not_shared_is_named(client: Any, task: EmbedTask) -> None:
    with Project.open(task.project) as project, pytest.raises(NotSharedError, match="--results"):
        run(embed_on_cluster([task], client, project, "memory://own", None, PART))


def test_a_mpp_that_the_project_knows_goes_to_the_workers(client: Any, task: EmbedTask) -> None:
    plan = plan_slide(task, {})
    with Project.open(task.project) as project:
        project.add_slide(replace(plan.slide))
        project.set_mpp(plan.slide.id, 0.25)
        (state,) = run(embed_on_cluster([task], client, project, None, None, PART))
    assert state.result is not None
    assert state.result.slide.mpp == 0.25
    assert state.result.grid_hash != plan.grid.hash


def test_the_command_hands_it_to_a_scheduler(
    cluster: Workers, task: EmbedTask, alone: Embeddings
) -> None:
    from typer.testing import CliRunner

    from napari_pathfm.cli import app

    options = f"--encoder {ENCODER} --tile-mpp 0.5 --tile-px 64 --json".split()
    where = ["--scheduler", cluster.address, "--project", str(task.project)]
    done = CliRunner().invoke(app, ["embed", task.slide, *options, *where])
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    assert (facts["done"], facts["computed"]) == (1, len(alone))
    same(kept(task.project), alone)


def test_a_slide_that_ends_workers_is_told_apart(client: Any) -> None:
    from distributed import KilledWorker
    from distributed.scheduler import WorkerState

    worker = WorkerState(
        address="tcp://10.0.0.7:1", status="running", pid=1, name="w", memory_limit=0,
        local_directory="", nanny="", server_id="w", scheduler=None,
    )  # fmt: skip
    assert "tcp://10.0.0.7:1; look into its log" in reason(KilledWorker("x", worker, 3))
