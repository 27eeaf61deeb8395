"""Weights in a project's `models` folder are used, and with them no network at all."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from napari_pathfm import api
from napari_pathfm.core.jobs import run
from napari_pathfm.models.base import ModelError
from napari_pathfm.models.fetch import fetch
from napari_pathfm.models.licences import LicenceWarning


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks for an address fails the test; the hub is not told to stay offline."""

    def refuse(*_: object, **__: object) -> Any:
        raise AssertionError("something asked the network")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.mark.parametrize("place", ["project", "PATHFM_MODELS"])
def test_weights_of_a_folder_embed_a_slide_without_a_network(
    synthetic: Path,
    tmp_path: Path,
    vits16_state: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    place: str,
) -> None:
    project = tmp_path / "project"
    folder = project / "models" if place == "project" else tmp_path / "shared"
    folder.mkdir(parents=True)
    torch.save(vits16_state, folder / "kaiko-vits16.pth")
    if place == "PATHFM_MODELS":
        monkeypatch.setenv("PATHFM_MODELS", str(folder))
    with api.open_slide(synthetic) as slide:
        grid = api.tiles(slide, api.tissue(slide), mpp=2.0)
        with pytest.warns(LicenceWarning, match="kaiko-vits16") as said:
            made = api.embed(slide, grid, "kaiko-vits16", project)
    assert [each.filename for each in said if each.category is LicenceWarning] == [__file__]
    assert made.vectors.shape == (len(grid), 384)
    assert np.isfinite(made.vectors).all()


def test_a_segmenter_in_the_project_is_used(synthetic: Path, tmp_path: Path) -> None:
    file = tmp_path / "models" / "pathfm-click.safetensors"
    file.parent.mkdir()
    file.write_bytes(b"no weights at all")
    with api.open_slide(synthetic) as slide, pytest.raises(ModelError, match=str(file)):
        api.segment(slide, box=(0, 0, 200, 200), project=tmp_path)


def test_the_given_file_goes_before_the_project(tmp_path: Path) -> None:
    for name in ("uni.bin", "mine.pth"):
        (tmp_path / name).touch()
    assert run(fetch("uni", None, tmp_path)) == tmp_path / "uni.bin"
    assert run(fetch("uni", tmp_path / "mine.pth", tmp_path)) == tmp_path / "mine.pth"
    assert run(fetch("a-plugins", None, tmp_path)) is None
    for whole_repository_or_not_to_be_run in ("titan", "paseg"):
        assert run(fetch(whole_repository_or_not_to_be_run, None, tmp_path)) is None
    with pytest.raises(ModelError, match=r"gone\.pth"):
        run(fetch("uni", tmp_path / "gone.pth"))
