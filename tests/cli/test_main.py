"""Commands: what they print where, their exit codes, Ctrl+C."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import threading
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from napari_pathfm import api
from napari_pathfm.__main__ import app
from napari_pathfm.cli import terminal
from napari_pathfm.core.jobs import Progress
from napari_pathfm.io.masks import AnnotationLayer
from napari_pathfm.io.project import Project
from napari_pathfm.io.reader import open_slide
from napari_pathfm.io.store import stored_features

from ..io.test_remote import Files
from ..worded import clip, clip_file


def pathfm(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def answered(*arguments: str | Path) -> dict[str, object]:
    """Run with ``--json`` and return the one object on stdout."""
    result = pathfm(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.count("\n") == 1
    found: dict[str, object] = json.loads(result.stdout)
    return found


@pytest.fixture
def slide(material: Path) -> Path:
    return material / "slides" / "CMU-1-Small-Region.svs"


@pytest.mark.real
def test_info(slide: Path) -> None:
    facts = answered("info", slide)
    assert facts["shape"] == [2967, 2220]
    assert facts["mpp"] == pytest.approx(0.499)
    assert "label" in facts["associated_images"]  # type: ignore[operator]
    assert "0.499 µm" in pathfm("info", slide).stdout


def test_a_slide_is_read_where_it_lies(synthetic: Path) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Files, folder=synthetic.parent, sent=[]))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/{synthetic.name}"
    facts = answered("info", address)
    server.shutdown()
    server.server_close()
    assert facts["path"] == address
    assert facts["id"] == answered("info", synthetic)["id"]


@pytest.mark.real
def test_tissue(slide: Path, tmp_path: Path) -> None:
    facts = answered("tissue", slide, "-o", tmp_path / "mask.png")
    mask = np.array(Image.open(tmp_path / "mask.png"))
    assert list(mask.shape) == facts["mask_shape"]
    assert set(np.unique(mask)) <= {0, 255}
    assert (mask == 255).mean() == pytest.approx(facts["tissue_fraction"])
    assert 0.1 < facts["tissue_fraction"] < 1  # type: ignore[operator]


def test_embed_refuses_what_is_no_encoder_at_once(synthetic: Path, tmp_path: Path) -> None:
    project = tmp_path / "p"
    result = pathfm("embed", synthetic, "--encoder", "gigapath-slide", "--project", project)
    assert result.exit_code == 4
    assert result.stderr.startswith("pathfm: gigapath-slide is a slide model, no encoder.")
    assert not project.exists()


@pytest.mark.real
def test_embed_then_search(slide: Path, tmp_path: Path) -> None:
    project = tmp_path / "p"
    first = pathfm("embed", slide, "--project", project, "--tile-mpp", "1", "--json")
    assert first.exit_code == 0, first.stderr
    facts = json.loads(first.stdout)
    assert facts["tiles"] > 10
    assert facts["dim"] == 1280
    assert f"{facts['tiles']}/{facts['tiles']}" in first.stderr
    assert "tiles/s" in first.stderr
    by_tile = answered("search", slide, "--tile", "5", "--project", project, "-k", "3")
    hits = by_tile["hits"]
    assert len(hits) == 3  # type: ignore[arg-type]
    place = hits[0]  # type: ignore[index]
    at = f"{place['y'] + 5},{place['x'] + 5}"
    assert answered("search", slide, "--at", at, "--project", project)["tile"] == place["tile"]
    assert "similarity" in pathfm("search", slide, "--tile", "5", "--project", project).stdout


def test_search_by_text(synthetic: Path, tmp_path: Path) -> None:
    project = ["--project", tmp_path / "p", "--encoder", "clip", "--weights", clip_file()]
    answered("embed", synthetic, "--tile-mpp", "4", *project)
    facts = answered("search", synthetic, "--text", "lymphocytes, H&E", "-k", "3", *project)
    assert (facts["text"], facts["tile"]) == ("lymphocytes, H&E", None)
    with open_slide(synthetic) as slide:
        grid, stored = api.load_embeddings(slide, tmp_path / "p", "clip")
    (query,) = clip().embed_text(["lymphocytes, H&E"])
    values = stored.vectors @ query / np.linalg.norm(stored.vectors, axis=1)
    by_tile = dict(zip(stored.tiles.tolist(), values.tolist(), strict=True))
    hits: list[dict[str, float]] = facts["hits"]  # type: ignore[assignment]
    found = [hit["similarity"] for hit in hits]
    # In bfloat16, if that was the fastest, so that tiles that are nearly alike may change places.
    np.testing.assert_allclose(found, [by_tile[hit["tile"]] for hit in hits], atol=5e-4)
    np.testing.assert_allclose(found, np.sort(values)[::-1][:3], atol=5e-4)
    assert [hits[0]["y"], hits[0]["x"]] == grid.origins[hits[0]["tile"]].tolist()
    # The encoder that knows words is found; it may be told what weights it has.
    rest = ["--project", tmp_path / "p", "--weights"]
    assert answered("search", synthetic, "--text", "fat", *rest, clip_file())["encoder"] == "clip"
    assert pathfm("search", synthetic, "--text", "fat", *rest, __file__).exit_code == 4


def test_classes_are_told_apart_by_name(synthetic: Path, tmp_path: Path) -> None:
    project = ["--project", tmp_path / "p"]
    weights = ["--weights", clip_file()]
    answered("embed", synthetic, "--tile-mpp", "4", "--encoder", "clip", *project, *weights)
    names = ["--class", "tumor|carcinoma", "--class", "stroma", "--class", "fat|adipose tissue"]
    table = tmp_path / "classes.csv"
    facts = answered("classify", synthetic, *names, "-o", table, *project, *weights)
    with open_slide(synthetic) as slide:
        grid, stored = api.load_embeddings(slide, tmp_path / "p", "clip")
        classes = {"tumor": ["tumor", "carcinoma"], "stroma": [], "fat": ["fat", "adipose tissue"]}
        expected = api.zero_shot(slide, grid, stored, classes, encoder=clip())
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    cosines = np.array([[float(row[name]) for name in classes] for row in rows])
    np.testing.assert_allclose(cosines, expected.cosines, atol=5e-4)
    assert [row["class"] for row in rows] == [list(classes)[i] for i in cosines.argmax(1)]
    assert [int(row["tile"]) for row in rows] == stored.tiles.tolist()
    listed: list[dict[str, object]] = facts["classes"]  # type: ignore[assignment]
    assert [row["class"] for row in listed] == list(classes)
    assert sum(int(str(row["tiles"])) for row in listed) == len(grid)
    assert "stroma" in pathfm("classify", synthetic, *names, *project, *weights).stdout


def test_encoders_of_images_cannot_be_asked_in_words(synthetic: Path, tmp_path: Path) -> None:
    project = ["--project", tmp_path / "p"]
    answered("embed", synthetic, "--tile-mpp", "4", *project)
    result = pathfm("search", synthetic, "--text", "lymphocytes", *project)
    assert result.exit_code == 3
    assert "efficientnet-lite0 cannot be asked in words" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["info"],
        ["search", "a.svs"],
        ["search", "a.svs", "--tile", "1", "--at", "2,3"],
        ["search", "a.svs", "--at", "here"],
        ["search", "a.svs", "--tile", "1", "--text", "stroma"],
        ["classify", "a.svs", "--class", "stroma"],
        ["classify", "a.svs", "--class", "stroma", "--class", "tumor|"],
        ["info", "a.svs", "--mpp", "900"],
    ],
)
def test_wrong_usage(arguments: list[str]) -> None:
    result = pathfm(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Usage" in result.stderr


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    try:
        result = pathfm("--debug", "info", tmp_path / "a.svs")
    finally:
        terminal.debug = False
    assert result.exception is not None
    assert type(result.exception).__name__ == "SlideError"


def test_lines_where_there_is_no_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    with terminal.reporting("Embedding") as report:
        report(Progress(0, 0, "Loading"))
        for done in range(0, 101):
            report(Progress(done, 100, f"Embedding, round {done}", "tiles"))
    out, err = capfd.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert lines[0] == "Loading"
    assert lines[1].startswith("Embedding, round 0 0/100")
    assert lines[-1].startswith("Embedding, round 100 100/100")
    assert len(lines) == 3


BAR = """
import time
from napari_pathfm.core.jobs import Progress
from napari_pathfm.io.masks import AnnotationLayer
from napari_pathfm.io.project import Project
from napari_pathfm.io.reader import open_slide
from napari_pathfm.io.store import stored_features
from napari_pathfm.cli.terminal import reporting
with reporting("Embedding") as report:
    for done in range(21):
        report(Progress(done, 40, "Embedding", "tiles"))
        time.sleep(0.05)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_a_bar_in_a_terminal() -> None:
    import pty

    outer, inner = pty.openpty()
    run = subprocess.Popen(
        [sys.executable, "-c", BAR],
        stderr=inner,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    )
    os.close(inner)
    shown = b""
    while True:
        try:
            part = os.read(outer, 4096)
        except OSError:  # how Linux says that the other end is closed
            break
        if not part:
            break
        shown += part
    os.close(outer)
    assert run.wait(timeout=60) == 0
    text = shown.decode()
    assert "/40" in text
    assert "tiles/s" in text
    assert "left" in text


@pytest.mark.real
@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal")
def test_ctrl_c_waits_for_no_thread() -> None:
    script = """
import sys, threading
from napari_pathfm import __main__ as program
from napari_pathfm.cli.terminal import command
@program.app.command()
@command
def hang() -> None:
    threading.Thread(target=threading.Event().wait).start()
    raise KeyboardInterrupt
sys.argv = ["pathfm", "hang"]
program.main()
"""
    answer = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert answer.returncode == 130
    assert "go on from there" in answer.stderr


def test_ctrl_c_keeps_what_is_stored(slide: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "napari_pathfm", "embed", str(slide), "--json"]
    # So many small tiles that it cannot be done before the signal arrives.
    command += ["--project", str(tmp_path / "p"), "--tile-px", "64", "--tile-mpp", "0.5"]
    run = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Tests that a shell runs in the background hand on that Ctrl+C is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert run.stderr is not None
    heard = ""
    while "Embedding with" not in heard:  # it is at work
        line = run.stderr.readline()
        assert line, heard
        heard += line
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=120)
    assert run.returncode == 130, err
    assert out == ""
    assert "Traceback" not in err
    assert "go on from there" in err
    with Project.open(tmp_path / "p", create=False) as project:  # nobody holds it any longer
        (row,) = project.slides()
        for stored in stored_features(project.slide_store(row.id)):
            assert len(stored.read()) == stored.count < stored.total


def test_import(synthetic: Path, tmp_path: Path) -> None:
    ring = [[100, 200], [140, 200], [140, 230], [100, 230], [100, 200]]
    feature = {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {"classification": {"name": "Tumor"}},
    }
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps([feature]))
    options = ["--slide", synthetic, "--project", tmp_path / "p", "--layer", "nuclei"]
    facts = answered("import", path, *options)
    assert (facts["objects"], facts["layer"], facts["new_classes"]) == (1, "nuclei", ["Tumor"])
    with Project.open(tmp_path / "p", create=False) as project:
        (row,) = project.slides()
        layer = AnnotationLayer.open(project, row.id, "nuclei", shape_of(synthetic))
        (made,) = layer.objects.values()
    assert (made.box, made.area, made.how) == ((200, 100, 230, 140), 1200, "import")
    path.write_text("[")
    broken = pathfm("import", path, *options)
    assert broken.exit_code == 3
    assert "ends in the middle" in broken.stderr
    assert pathfm("import", path, *options, "--values", "things").exit_code == 2


def shape_of(path: Path) -> tuple[int, int]:
    with open_slide(path) as slide:
        return slide.levels[0].shape
