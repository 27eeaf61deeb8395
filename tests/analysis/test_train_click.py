"""A click model is trained, written, loaded and judged; it learns what it is shown."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from napari_pathfm.analysis.click_crops import encode_crops
from napari_pathfm.analysis.judge_clicks import judge
from napari_pathfm.analysis.train_click import ClickTraining, _loss, save_parts, train_click
from napari_pathfm.cli.main import app
from napari_pathfm.core.jobs import run
from napari_pathfm.models import click
from napari_pathfm.models.base import ModelError
from napari_pathfm.models.catalog import get_segmenter

from .test_click_crops import discs


def test_what_is_learned_is_written_and_loaded(tmp_path: Path) -> None:
    segmenter, network = click.to_train()
    crops = run(encode_crops([(1.0, [discs()])], segmenter, 4))
    training = ClickTraining(steps=2, batch=2, rounds=2)
    before = [each.clone() for each in network.parameters()]
    parts = run(train_click(network, crops, training))
    for left, right in zip(before, network.parameters(), strict=True):
        assert torch.equal(left, right)  # a copy is trained
    changed = [
        not torch.equal(value, network.state_dict()[name])
        for name, value in parts.state_dict().items()
    ]
    assert np.mean(changed) > 0.9
    file = tmp_path / "own.safetensors"
    save_parts(parts, file)
    assert file.stat().st_size < 12e6
    loaded = get_segmenter("pathfm-click", weights=file, device="cpu")
    assert loaded.answers == {"points", "box", "mask"}
    found = run(judge(loaded, [discs(1)], each=1))
    names = {"click_1", "click_3", "click_5", "box", "first_click_1", "objects"}
    assert set(found) == names
    assert found["objects"] == 1
    assert all(0 <= found[name] <= 1 for name in found if name != "objects")


def test_an_adapter_changes_nothing_until_it_has_learned() -> None:
    _, network = click.to_train()
    features = torch.randn(2, 256, 6, 6)
    torch.testing.assert_close(network["adapter"](features), features)


def test_a_crop_goes_through_the_adapter_that_was_loaded(tmp_path: Path) -> None:
    segmenter, network = click.to_train()
    torch.nn.init.normal_(network["adapter"].get_submodule("blocks.1.narrow").weight, std=0.05)  # type: ignore[arg-type]
    file = tmp_path / "own.safetensors"
    save_parts(network, file)
    plain = torch.from_numpy(segmenter.encode(discs().rgb).features)[None]
    with torch.inference_mode():
        adapted = network["adapter"](plain)
    found = torch.from_numpy(click.load(file, device="cpu").encode(discs().rgb).features)[None]
    assert (found - adapted).abs().mean() < 0.1 * (plain - adapted).abs().mean()


def test_a_score_is_that_of_the_whole_object() -> None:
    wanted = torch.zeros(1, 256, 256, dtype=torch.bool)
    wanted[:, :, :100] = True
    masks = torch.where(wanted[:, None], 9.0, -9.0).repeat(1, 3, 1, 1)
    for inside in (1.0, 0.5, 0.1):  # of the object, the crop shows so much
        _, ious = _loss(masks, torch.zeros(1, 3), wanted, torch.tensor([inside]))
        torch.testing.assert_close(ious, torch.full((1, 3), inside))


@pytest.mark.soak  # compiling takes two minutes
def test_compiled_it_learns_the_same() -> None:
    segmenter, network = click.to_train()
    crops = run(encode_crops([(1.0, [discs()])], segmenter, 4))
    plain, compiled = (
        run(train_click(network, crops, ClickTraining(steps=2, batch=2, rounds=1, compiled=how)))
        for how in (False, True)
    )
    for left, right in zip(plain.parameters(), compiled.parameters(), strict=True):
        torch.testing.assert_close(left, right, atol=1e-3, rtol=1e-2)


def test_weights_of_something_else_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"prompt_encoder.x": torch.zeros(1)}, tmp_path / "a.safetensors")
    with pytest.raises(ModelError, match="does not hold the weights of pathfm-click"):
        get_segmenter("pathfm-click", weights=tmp_path / "a.safetensors", device="cpu")


def test_in_the_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_pathfm.core.memory.keep_all", lambda: None)  # not in this process
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
    for number in range(2):
        image = discs(number)
        Image.fromarray(image.rgb).save(tmp_path / "images" / f"{number}.png")
        np.save(tmp_path / "labels" / f"{number}.npy", image.labels)
    out = tmp_path / "own.safetensors"
    command = f"train-click --out {out} --images {tmp_path} --synthetic 0 --crops 4 --steps 1"
    answered = CliRunner().invoke(app, [*command.split(), "--json"])
    assert answered.exit_code == 0, answered.output
    facts = json.loads(answered.stdout)
    assert facts["file"] == str(out)
    assert "held_out" not in facts  # of two images none is kept back
    assert click.load(out).name == "pathfm-click"
    wrong = CliRunner().invoke(app, ["train-click", "--out", str(tmp_path / "own.pth")])
    assert wrong.exit_code == 3
    assert "call it own.safetensors" in wrong.stderr
