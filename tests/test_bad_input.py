"""What users give us that cannot work: a message that helps, the right exit code, no traceback."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner, Result

from napari_pathfm.__main__ import app
from napari_pathfm.core.edits import AnnotationClass, ObjectRow
from napari_pathfm.io.masks import AnnotationLayer
from napari_pathfm.io.project import Project
from napari_pathfm.io.reader import open_slide


def pathfm(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def process(
    *arguments: str | Path, max_bytes: int | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run it in a process of its own, if wanted with files limited to some size."""

    def limit() -> None:
        import resource
        import signal

        if max_bytes is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (max_bytes, max_bytes))

    return subprocess.run(
        [sys.executable, "-m", "napari_pathfm", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, **environment},
        preexec_fn=None if max_bytes is None else limit,
    )


def refused(done: Result | subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    found = done.exit_code if isinstance(done, Result) else done.returncode
    assert found == code, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    message = done.stderr.strip().splitlines()[-1]
    assert message.startswith("pathfm: ")
    for word in words:
        assert word in message


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    path = tmp_path / "slide.tif"
    pixels = np.random.default_rng(0).integers(0, 255, (1024, 1024, 3), np.uint8)
    tifffile.imwrite(path, pixels, tile=(256, 256), photometric="rgb", compression="deflate")
    return path


@pytest.fixture
def project(slide: Path, tmp_path: Path) -> Path:
    """Make a project with one annotated object."""
    folder = tmp_path / "project"
    with Project.open(folder) as project, open_slide(slide, mpp=0.5) as opened:
        project.add_slide(opened)
        project.set_classes([AnnotationClass(1, "gland", "#d55e00")])
        layer = AnnotationLayer.open(project, opened.id, "regions", opened.levels[0].shape)
        ids = np.full((300, 300), 1, np.uint32)
        layer.commit(layer.paint_edit(10, 10, ids, None, "draw", rows={1: ObjectRow(1, 1)}))
    return folder


def test_a_file_that_is_no_slide(tmp_path: Path) -> None:
    (tmp_path / "letter.svs").write_text("Dear colleague")
    refused(process("info", tmp_path / "letter.svs"), 3, "letter.svs", "not a slide")


def test_no_file(tmp_path: Path) -> None:
    refused(pathfm("info", tmp_path / "gone.svs", "--json"), 3, "gone.svs")


def test_a_folder(tmp_path: Path) -> None:
    refused(pathfm("info", tmp_path), 3, tmp_path.name)


@pytest.mark.real
def test_a_slide_cut_off_in_its_directory(material: Path, tmp_path: Path) -> None:
    whole = (material / "slides" / "CMU-1-Small-Region.svs").read_bytes()
    (tmp_path / "cut.svs").write_bytes(whole[:100_000])
    refused(pathfm("tissue", tmp_path / "cut.svs"), 3, "cut.svs")


def test_a_slide_cut_off_in_its_pixels(tmp_path: Path) -> None:
    path = tmp_path / "cut.tif"
    pixels = np.random.default_rng(0).integers(0, 255, (1024, 1024, 3), np.uint8)
    with tifffile.TiffWriter(path) as file:  # its directory stands before the pixels
        file.write(pixels, tile=(256, 256), photometric="rgb", compression=None)
    os.truncate(path, path.stat().st_size // 2)
    refused(pathfm("tissue", path, "--mpp", "0.5"), 3, "cut.tif")


def test_a_slide_without_mpp(slide: Path, tmp_path: Path) -> None:
    refused(pathfm("embed", slide, "--project", tmp_path / "p"), 3, "slide.tif", "--mpp")


def test_a_mpp_given_once_is_kept(slide: Path, project: Path, tmp_path: Path) -> None:
    done = pathfm("embed", slide, "--project", project, "--weights", tmp_path / "none.pth")
    refused(done, 4, "none.pth")  # no word of --mpp any more


def test_an_unknown_encoder(slide: Path, tmp_path: Path) -> None:
    done = pathfm("embed", slide, "--mpp", "0.5", "--encoder", "uni3", "--project", tmp_path / "p")
    refused(done, 4, "uni3", "efficientnet-lite0")


def test_a_missing_weights_file(slide: Path, tmp_path: Path) -> None:
    weights = tmp_path / "none.pth"
    done = pathfm("embed", slide, "--mpp", "0.5", "--weights", weights, "--project", tmp_path / "p")
    refused(done, 4, "none.pth")


@pytest.mark.parametrize("content", ["garbage", "another network"])
def test_a_wrong_weights_file(slide: Path, tmp_path: Path, content: str) -> None:
    weights = tmp_path / "wrong.pth"
    if content == "garbage":
        weights.write_bytes(b"no weights at all" * 100)
    else:
        import torch

        torch.save({"layer.weight": torch.zeros(3, 3)}, weights)
    done = pathfm("embed", slide, "--mpp", "0.5", "--weights", weights, "--project", tmp_path / "p")
    refused(done, 4, "wrong.pth")


def test_weights_behind_a_gate_and_no_network(slide: Path, tmp_path: Path) -> None:
    options = ("--encoder", "uni", "--mpp", "0.5", "--project", tmp_path / "p")
    nowhere = str(tmp_path / "none")
    done = process("embed", slide, *options, HF_HUB_OFFLINE="1", HF_HOME=nowhere)
    refused(done, 4, "uni")


def test_a_project_of_a_newer_version(project: Path, tmp_path: Path) -> None:
    with sqlite3.connect(project / "project.sqlite") as database:
        database.execute("UPDATE meta SET value = '999' WHERE key = 'schema'")
    done = pathfm("export", "--project", project, "-o", tmp_path / "out")
    refused(done, 5, "newer")
    assert not (tmp_path / "out").exists()


def test_no_project(tmp_path: Path) -> None:
    done = pathfm("export", "--project", tmp_path / "p", "-o", tmp_path / "out")
    refused(done, 5, "no project")
    assert not (tmp_path / "p").exists()


def test_search_before_embedding(slide: Path, project: Path) -> None:
    refused(pathfm("search", slide, "--tile", "1", "--project", project), 5, "pathfm embed")


def test_a_full_folder_is_not_overwritten(project: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    done = pathfm("export", "--project", project, "-o", tmp_path / "out")
    refused(done, 3, "not empty")
    assert (tmp_path / "out" / "mine.txt").read_text() == "mine"


def test_a_slide_that_has_gone(project: Path, slide: Path, tmp_path: Path) -> None:
    slide.unlink()
    done = pathfm("export", "--project", project, "-o", tmp_path / "out")
    refused(done, 3, "slide.tif")


def test_another_file_in_the_place_of_a_slide(project: Path, slide: Path, tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 255, (1024, 1024, 3), np.uint8)
    tifffile.imwrite(slide, pixels, tile=(256, 256), photometric="rgb", compression="deflate")
    done = pathfm("export", "--project", project, "-o", tmp_path / "out")
    refused(done, 3, "slide.tif", "another")


@pytest.mark.skipif(sys.platform == "win32", reason="limits the size of files")
def test_no_space_for_an_export(project: Path, tmp_path: Path) -> None:
    before = sorted(path.name for path in tmp_path.iterdir())
    command = ("export", "--project", project, "-o", tmp_path / "out", "--patch-px", "512")
    refused(process(*command, max_bytes=100_000), 5, "space")
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    done = pathfm(*command, "--json")
    assert json.loads(done.stdout)["objects"] == 1


@pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0 or not shutil.which("mount"),
    reason="mounts a small file system, which takes root on Linux",
)
def test_no_space_on_the_disk(slide: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("this machine may not mount file systems")
    try:
        done = pathfm("embed", slide, "--mpp", "0.5", "--project", disk / "p")
        refused(done, 5, "space")
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def labels(folder: Path, side: int = 1024) -> Path:
    """Numbers that do not compress."""
    path = folder / "labels.npy"
    np.save(path, np.random.default_rng(0).integers(1, 60_000, (side, side), np.uint32))
    return path


def test_imports_that_cannot_be(slide: Path, tmp_path: Path) -> None:
    project = tmp_path / "p"
    options = ["--slide", slide, "--project", project]
    (tmp_path / "a.geojson").write_text('{"features": [{"type": "Feature"')
    refused(
        pathfm("import", tmp_path / "a.geojson", *options), 3, "a.geojson", "ends in the middle"
    )
    refused(pathfm("import", tmp_path / "b.geojson", *options), 3, "There is no file")
    np.save(tmp_path / "c.npy", np.ones((700, 300), np.uint8))
    refused(pathfm("import", tmp_path / "c.npy", *options), 3, "this whole slide")
    refused(pathfm("import", labels(tmp_path), *options, "--layer", "a/b"), 5, "a/b")
    with Project.open(project):
        refused(pathfm("import", labels(tmp_path), *options), 5)


@pytest.mark.skipif(sys.platform == "win32", reason="limits the size of files")
def test_an_import_without_space_changes_nothing(slide: Path, tmp_path: Path) -> None:
    project, path = tmp_path / "p", labels(tmp_path)
    first = tmp_path / "first.npy"
    np.save(first, np.ones((1024, 1024), np.uint8))
    options = ["--slide", slide, "--project", project]
    assert pathfm("import", first, *options).exit_code == 0
    refused(process("import", path, *options, max_bytes=500_000), 5, "no space left")
    with Project.open(project) as opened, open_slide(slide) as reader:
        layer = AnnotationLayer.open(opened, reader.id, "regions", (1024, 1024))
        assert [step.text for step in layer.history()] == ["import first.npy"]
        assert len(layer.objects) == 1
        assert (layer.read(0, 0, 0, 1024, 1024) == next(iter(layer.objects))).all()
    assert pathfm("import", path, *options).exit_code == 0
