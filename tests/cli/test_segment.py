"""``pathfm segment``: an example is kept, and found elsewhere, by tokens and by SegGPT."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from scipy.ndimage import find_objects, label
from typer.testing import CliRunner, Result

from napari_pathfm.__main__ import app
from napari_pathfm.core.edits import AnnotationClass
from napari_pathfm.io.examples import example_names, load_examples
from napari_pathfm.io.masks import AnnotationLayer
from napari_pathfm.io.project import Project
from napari_pathfm.io.reader import open_slide
from napari_pathfm.models import catalog

GLAND = 8
"""Number of the gland that is marked by hand."""

REGION = 1410, 1400, 1630, 1620
"""Holds one other gland."""


def pathfm(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def glands(synthetic: Path) -> np.ndarray[Any, Any]:
    classes = np.asarray(Image.open(synthetic.with_name("synthetic_classes.png")))
    numbers, _ = label(np.isin(classes, (2, 3)))
    return np.asarray(numbers)


@pytest.fixture
def folder(synthetic: Path, glands: np.ndarray[Any, Any], tmp_path: Path) -> Path:
    """A project with a gland marked."""
    with Project.open(tmp_path / "p") as project, open_slide(synthetic) as slide:
        project.add_slide(slide)
        project.set_classes([AnnotationClass(1, "gland", "#d55e00")])
        layer = AnnotationLayer.open(project, slide.id, "regions", slide.levels[0].shape)
        number = layer.new_id()
        mask = glands == GLAND
        layer.commit(layer.paint_edit(0, 0, np.full(mask.shape, number), mask, "mark"))
    return tmp_path / "p"


def objects(folder: Path, slide: Path) -> tuple[AnnotationLayer, Project]:
    project = Project.open(folder, read_only=True)
    with open_slide(slide) as opened:
        shape = opened.levels[0].shape
        return AnnotationLayer.open(project, opened.id, "regions", shape), project


def test_mark_here_find_there(synthetic: Path, folder: Path, glands: np.ndarray[Any, Any]) -> None:
    ours = ("segment", synthetic, "--project", folder)
    kept = pathfm(*ours, "--save-example", "a gland", "--objects", "1", "--json")
    assert kept.exit_code == 0, kept.stderr
    assert json.loads(kept.stdout)["examples"] == 1
    region = ",".join(map(str, REGION))
    found = pathfm(*ours, "--example", "a gland", "--region", region, "--class", "gland", "--json")
    assert found.exit_code == 0, found.stderr
    facts = json.loads(found.stdout)
    best = max(facts["objects"], key=lambda each: each["score"])
    layer, project = objects(folder, synthetic)
    try:
        row = layer.objects[best["id"]]
        assert (row.class_id, row.how) == (1, "predict")
        assert row.model == "prototypes of efficientnet-lite0"
        y0, x0, y1, x1 = REGION
        ids = layer.read(0, y0, x0, y1 - y0, x1 - x0) == best["id"]
        truth = glands[y0:y1, x0:x1] == 11
        assert (ids & truth).sum() / (ids | truth).sum() > 0.8
        assert layer.last_done is not None
        assert layer.last_done.text == "segment by example a gland"
    finally:
        project.close()
    again = pathfm(*ours, "--example", "a gland", "--region", "5,5,60,60", "--segmenter", "none")
    assert (again.exit_code, "looks like the examples" in again.stdout) == (0, True)


def test_by_seggpt(
    synthetic: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network of its kind with few, random weights: something is painted, and kept."""
    import transformers

    kwargs = {
        "hidden_size": 16,
        "num_hidden_layers": 3,
        "num_attention_heads": 1,
        "decoder_hidden_size": 4,
        "intermediate_hidden_state_indices": [2],
    }
    torch.manual_seed(3)
    library: Any = transformers
    network = library.SegGptForImageSegmentation(library.SegGptConfig(**kwargs))
    for parameter in network.parameters():
        parameter.requires_grad_(False).normal_(std=0.3)
    network.decoder.decoder_pred.head.bias.fill_(3.0)  # white wherever it paints
    save_file(network.state_dict(), tmp_path / "small.safetensors")
    entry = catalog.entries()["seggpt"]
    spec = replace(entry.spec, params=sum(p.numel() for p in network.parameters()))
    small = replace(entry, arch_kwargs=kwargs, spec=spec)
    monkeypatch.setattr(catalog, "read_catalog", lambda path: (small,))
    ours = ("segment", synthetic, "--project", folder, "--region", "1400,1400,1600,1600")
    both = ("--save-example", "g", "--objects", "1", "--example", "g")
    found = pathfm(*ours, *both, "--model", "seggpt", "--weights", tmp_path / "small.safetensors")
    assert found.exit_code == 0, found.stderr
    assert "new object" in found.stdout
    layer, project = objects(folder, synthetic)
    try:
        assert {row.model for row in layer.objects.values()} == {"", "seggpt"}
    finally:
        project.close()
    missing = pathfm(*ours, "--example", "g", "--model", "segpt")
    assert (missing.exit_code, "Did you mean seggpt" in missing.stderr) == (4, True)


def test_each_box_and_each_point_of_a_file(
    synthetic: Path, folder: Path, glands: np.ndarray[Any, Any], tmp_path: Path
) -> None:
    ours = ("segment", synthetic, "--project", folder, "--layer", "new")
    numbers = [9, 10, 11]
    windows = find_objects(glands)
    boxes = [[s.start for s in windows[n - 1]] + [s.stop for s in windows[n - 1]] for n in numbers]
    table = tmp_path / "boxes.csv"
    lines = [f"a,{','.join(map(str, box))}" for box in [*boxes, (-90, -90, -9, -9)]]
    table.write_text("\n".join(["name,y0,x0,y1,x1", *lines]))
    done = pathfm(*ours, "--prompts", table, "--class", "gland", "--json")
    assert done.exit_code == 0, done.stderr
    facts = json.loads(done.stdout)
    assert (facts["prompts"], facts["new_objects"]) == (4, 3)
    assert facts["left_out"] == {"outside the slide": 1}
    with Project.open(folder, read_only=True) as project, open_slide(synthetic) as slide:
        layer = AnnotationLayer.open(project, slide.id, "new", slide.levels[0].shape)
        for (y0, x0, y1, x1), number in zip(boxes, numbers, strict=True):
            truth = glands[y0:y1, x0:x1] == number
            ids = layer.read(0, y0, x0, y1 - y0, x1 - x0)
            best = np.bincount(ids[truth]).argmax()
            row = layer.objects[int(best)]
            assert (row.class_id, row.how, row.model) == (1, "prompt", "pathfm-click")
            assert ((ids == best) & truth).sum() / ((ids == best) | truth).sum() > 0.7
    y0, x0, y1, x1 = boxes[0]
    table.write_text(f"y,x\n{(y0 + y1) / 2},{(x0 + x1) / 2}\n")
    again = pathfm(*ours, "--prompts", table, "--size", max(y1 - y0, x1 - x0))
    assert again.exit_code == 0, again.stderr
    assert "there already" in again.stdout
    for text, words in (("a,b\n1,2\n", "columns a, b"), ("y,x\n1,\n", "row 1"), ("y,x\n", "boxes")):
        table.write_text(text)
        wrong = pathfm(*ours, "--prompts", table)
        assert wrong.exit_code == 3
        assert words in " ".join(wrong.stderr.split())


def test_examples_of_one_name_add_up_and_wrong_usage_is_said(synthetic: Path, folder: Path) -> None:
    ours = ("segment", synthetic, "--project", folder)
    for count in (1, 2):
        said = pathfm(*ours, "--save-example", "g", "--objects", "1").stdout
        assert f"{count} example" in said
    with Project.open(folder, read_only=True) as project:
        assert example_names(project) == ["g"]
        assert len(load_examples(project, "g")) == 2
    for options, code, words in (
        ((), 2, "give --example NAME"),
        (("--objects", "1"), 2, "belong together"),
        (("--prompts", "a.csv", "--example", "g"), 2, "goes without"),
        (("--save-example", "g", "--objects", "one"), 2, "--objects takes ID,ID"),
        (("--example", "g", "--region", "1,2,3"), 2, "--region takes"),
        (("--save-example", "g", "--objects", "9"), 3, "no object 9"),
        (("--save-example", "../g", "--objects", "1"), 5, "cannot be the name of an example"),
        (("--example", "fat"), 5, "There are: g"),
        (("--example", "g", "--class", "fat"), 3, "no class 'fat'"),
    ):
        result = pathfm(*ours, *options)
        assert result.exit_code == code, (options, result.stderr)
        assert words in " ".join(result.stderr.replace("│", " ").split()), result.stderr
