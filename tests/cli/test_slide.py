"""Learning from labels of slides on the command line, from stored embeddings to attention."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result

from napari_pathfm import api
from napari_pathfm.__main__ import app
from napari_pathfm.cli.slide import HeadName
from napari_pathfm.core.embeddings import FeatureKey
from napari_pathfm.core.registry import RegistryError
from napari_pathfm.core.slide import Level
from napari_pathfm.core.tiles import TileSpec, make_grid
from napari_pathfm.io.project import Project
from napari_pathfm.io.store import FeatureStore, stored_features
from napari_pathfm.models.catalog import entries
from napari_pathfm.models.heads import HEADS
from napari_pathfm.models.hipt import build

KEY = FeatureKey("net", "cls", "ab12", "224")
COUNT = 16


@dataclass
class Stub:
    """What a project wants to know of a slide."""

    id: str
    name: str
    path: Path
    mpp: float = 0.5


def pathfm(*arguments: str | Path | int) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def answered(*arguments: str | Path | int) -> Any:
    result = pathfm(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def store(project: Project, name: str, tumor: bool, key: FeatureKey = KEY, part: int = 30) -> None:
    """Embeddings of 30 tiles, of which the fourth is of tumour or not."""
    slide = Stub(f"id-{name}", name, Path(f"/nowhere/{name}.svs"))
    project.add_slide(slide)  # type: ignore[arg-type]
    levels = [Level((1120, 1344), 1.0, (256, 256))]
    grid = make_grid(slide.id, levels, 0.5, TileSpec())
    vectors = np.random.default_rng(len(name)).normal(0, 0.3, (30, 8)).astype(np.float32)
    vectors[4, 0] += 6 * tumor
    features = FeatureStore(project.slide_store(slide.id), key, grid)
    with features.lock():
        order = np.arange(30)[::-1][:part]
        features.append(order, vectors[order])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with Project.open(tmp_path / "p") as project:
        for number in range(COUNT):
            store(project, f"slide{number}", bool(number % 2))
    rows = [
        (f"slide{n}.svs", "tumor" if n % 2 else "normal", f"p{n // 4}-{n % 2}")
        for n in range(COUNT)
    ]
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [("slide", "diagnosis", "patient"), *rows, ("gone", "tumor", "")]
        )
    return tmp_path


def train(folder: Path, *more: str | int) -> tuple[str | Path | int, ...]:
    options = ("--project", folder / "p", "--labels", folder / "labels.csv", "--encoder", "net")
    split = ("--split", 0.5, 0.25, 0.25)
    return ("slide", "train", *options, "--column", "diagnosis", "--name", "m", *split, *more)


def test_train_then_predict(folder: Path) -> None:
    facts = answered(*train(folder, "--epochs", 40))
    assert facts["classes"] == ["normal", "tumor"]
    assert facts["not_in_project"] == ["gone"]
    assert facts["metrics"]["test"]["slides"] == 4
    card = json.loads((folder / "p" / "models" / "m.json").read_text())
    assert card["metrics"] == facts["metrics"]
    again = pathfm(*train(folder))
    assert (again.exit_code, "a model named m" in again.stderr) == (3, True)
    patients = [{(int(s[8:]) // 4, int(s[8:]) % 2) for s in ids} for ids in card["split"].values()]
    assert sum(map(len, patients)) == len(set.union(*patients)) == 8
    with Project.open(folder / "p") as project:
        store(project, "new", True)
        store(project, "half", True, part=7)
    found = answered(
        "slide", "predict", "--project", folder / "p", "--name", "m", "--attention", folder / "a"
    )
    classes = {row["slide"]: row["class"] for row in found["slides"]}
    right = [classes[f"slide{n}"] == ("tumor" if n % 2 else "normal") for n in range(COUNT)]
    assert np.mean([*right, classes["new"] == "tumor"]) > 0.9
    assert "only to 7 of 30 tiles" in found["left_out"]["half"]
    with (folder / "a" / "new.net.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 30
    best = max(rows, key=lambda row: float(row["attention"]))
    assert (best["tile"], best["y"], best["x"]) == ("4", "0", "896")
    one = pathfm("slide", "predict", "--project", folder / "p", "--name", "m", "--slide", "new.svs")
    assert one.stdout.startswith("new: tumor (")


def test_a_trained_head_is_chosen_by_its_name(folder: Path) -> None:
    missing = pathfm("slide", "predict", "--project", folder / "p", "--name", "m")
    assert (missing.exit_code, "named 'm'. There is none yet" in missing.stderr) == (4, True)
    facts = answered(*train(folder, "--epochs", 3))
    listed = answered("models", "--project", folder / "p")["heads"]
    assert [(head["name"], head["classes"], head["encoders"]) for head in listed] == [
        ("m", ["normal", "tumor"], ["net"])
    ]
    assert listed[0]["metrics"] == facts["metrics"]
    said = pathfm("models", "--project", folder / "p").stdout.splitlines()
    assert said[1].split() == ["m", "attention", "of", "net:", "normal,", "tumor"]
    found = api.predict_slides(folder / "p", "m", ["slide1", "slide2.svs"])
    assert [each.slide.name for each in found.slides] == ["slide1", "slide2"]
    for each in found.slides:
        assert each.probabilities[each.label] == max(each.probabilities.values())
        assert each.attention[0].values.mean() == pytest.approx(1, rel=1e-4)
    with pytest.raises(RegistryError, match=r"named 'n'\. Choose one of: m"):
        api.predict_slides(folder / "p", "n")
    with pytest.raises(ValueError, match="no slide 'gone'"):
        api.predict_slides(folder / "p", "m", ["gone"])
    (folder / "p" / "models" / "m.json").write_text("{}")
    damaged = pathfm("slide", "predict", "--project", folder / "p", "--name", "m")
    assert (damaged.exit_code, "Train it again" in damaged.stderr) == (4, True)


def test_what_cannot_be_trained_on(folder: Path) -> None:
    wrong = pathfm(*train(folder), "--column", "age")
    assert (wrong.exit_code, "no column 'age'" in wrong.stderr) == (3, True)
    absent = pathfm(*train(folder), "--encoder", "other")
    assert (absent.exit_code, "not been embedded with other" in absent.stderr) == (3, True)
    with Project.open(folder / "p") as project:
        store(project, "slide99", True, FeatureKey("net", "cls", "ffff", "224"))
    with (folder / "labels.csv").open("a") as file:
        file.write("slide99,tumor,q\n")
    mixed = pathfm(*train(folder))
    assert (mixed.exit_code, "weights: 'ffff' here, 'ab12' there" in mixed.stderr) == (3, True)
    two = pathfm(*train(folder), "--encoder", "other", "--head", "clam")
    assert two.exit_code == 3
    missing = pathfm("slide", "predict", "--project", folder / "p", "--name", "m")
    assert (missing.exit_code, "no trained model" in missing.stderr) == (4, True)


@pytest.mark.parametrize("name", ["mean", "max"])
def test_pooled_slides(folder: Path, name: str) -> None:
    options = ("--project", folder / "p", "--model", name, "--encoder", "net")
    facts = answered("slide", "embed", *options, "-o", folder / "v.npz")
    assert (len(facts["slides"]), facts["dim"], facts["left_out"]) == (COUNT, 8, {})
    with Project.open(folder / "p") as project, np.load(folder / "v.npz") as found:
        for slide, vector in zip(found["ids"], found["vectors"], strict=True):
            (features,) = stored_features(project.slide_store(str(slide)))
            np.testing.assert_allclose(vector, getattr(features.read().vectors, name)(0), rtol=1e-5)
    absent = pathfm("slide", "embed", *options[:-1], "other", "-o", folder / "w.npz")
    assert (absent.exit_code, (folder / "w.npz").exists()) == (3, False)


def test_every_head_can_be_named() -> None:
    assert {name.value for name in HeadName} == set(HEADS)


def test_slides_become_vectors(folder: Path) -> None:
    torch.manual_seed(0)
    network = build(entries()["hipt-4k"])
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    torch.save({"teacher": network.state_dict()}, folder / "hipt.pth")
    levels = [Level((2048, 2560), 1.0, (256, 256))]
    rng = np.random.default_rng(0)
    known = {}
    with Project.open(folder / "p") as project:
        for slide, spec in (("slide0", TileSpec(256)), ("slide1", TileSpec(256, 0.25))):
            grid = make_grid(f"id-{slide}", levels, 0.5, spec)
            vectors = rng.normal(size=(len(grid), 384)).astype(np.float32)
            key = FeatureKey("hipt-256", "cls", "ab", "256")
            with FeatureStore(project.slide_store(grid.slide_id), key, grid).lock() as features:
                features.append(np.arange(len(grid))[::-1], vectors[::-1])
            known[slide] = vectors
    options = ("--project", folder / "p", "--model", "hipt-4k", "--weights", folder / "hipt.pth")
    facts = answered(
        "slide", "embed", *options, "-o", folder / "v.npz", "--attention", folder / "a"
    )
    assert (facts["slides"], facts["dim"]) == (["id-slide0"], 192)
    assert (
        "takes tiles of 256 px at 0.5 um/px, not of 256 px at 0.25" in facts["left_out"]["slide1"]
    )
    assert "not been embedded with hipt-256" in facts["left_out"]["slide2"]
    cells = torch.cartesian_prod(torch.arange(8), torch.arange(10))
    with torch.inference_mode():
        inputs = torch.from_numpy(known["slide0"]), cells
        expected, weights = network(*inputs).numpy(), network.attention(*inputs).numpy()
    with np.load(folder / "v.npz") as found:
        assert found["ids"].tolist() == ["id-slide0"]
        np.testing.assert_allclose(found["vectors"][0], expected, rtol=1e-4, atol=1e-4)
    with (folder / "a" / "slide0.hipt-256.csv").open() as file:
        values = [float(row["attention"]) for row in csv.DictReader(file)]
    np.testing.assert_allclose(values, 80 * weights, rtol=1e-3, atol=1e-5)
