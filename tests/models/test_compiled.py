"""Networks that are compiled: the same answers, taken only if faster, and never in the way."""

from __future__ import annotations

import gc
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from numpy.typing import NDArray

from napari_pathfm.models import compiled
from napari_pathfm.models.catalog import encoder_specs
from napari_pathfm.models.compiled import Compiler, file_of, load, tidy
from napari_pathfm.models.encoder import NetworkEncoder
from napari_pathfm.models.precision import FLOAT32, Precision, convert, cosine

PX = 160
PLAIN = (torch.ones(3, 1, 1), torch.zeros(3, 1, 1))


@pytest.fixture(autouse=True)
def own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Nothing of the user's is used or changed."""
    monkeypatch.setenv(compiled.OFF, "1")
    folder = tmp_path / "compiled"
    monkeypatch.setattr(compiled, "folder", lambda: folder)
    return folder


@pytest.fixture
def encoder() -> NetworkEncoder:
    """A small network of convolutions."""
    torch.manual_seed(0)
    network = timm.create_model("test_efficientnet", num_classes=0).eval()
    spec = replace(encoder_specs()["efficientnet-lite0"], tile_px=PX, dim=network.num_features)
    return NetworkEncoder(spec, network, "ab12", "cpu")


@pytest.fixture
def tiles() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (16, PX, PX, 3), dtype=np.uint8)


def test_compiled_later_on_it_is_tried_and_found_again(
    encoder: NetworkEncoder, tiles: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = encoder.embed(tiles)
    assert encoder.calibrated
    assert not encoder.compiling
    before = encoder.precision
    monkeypatch.setattr(compiled, "WORTH_SECONDS", 0.0)
    encoder.embed(tiles)  # now it has worked enough
    assert encoder.compiling
    np.testing.assert_array_equal(encoder.embed(tiles), plain)  # meanwhile all goes on
    encoder.compile()  # waits
    assert not encoder.calibrated  # there is something to try
    encoder.embed(tiles)
    assert encoder.calibrated
    last = encoder.trials[-1]
    assert last.precision == replace(before, compiled=True)
    assert last.same
    assert encoder.key.precision == encoder.precision.name
    features = encoder._compiler.find(before)
    assert features is not None
    for count, side in ((1, PX), (3, PX), (16, PX), (3, 100)):
        some = tiles[:count, :side, :side]
        found = encoder._embed(compiled.attach(encoder._network, features), last.precision, some)
        assert cosine(found, encoder._embed(encoder._network, before, some)).min() > 0.999
    again = NetworkEncoder(encoder.spec, timm.create_model("test_efficientnet"), "ab12", "cpu")
    assert again._compiler.find(before) is not None
    other = NetworkEncoder(encoder.spec, timm.create_model("test_efficientnet"), "cd34", "cpu")
    assert other._compiler.find(before) is None
    gc.collect()
    assert [file.suffix for file in compiled.folder().iterdir()] == [".so"]


def test_what_cannot_be_compiled_is_not_tried_again(own_folder: Path) -> None:
    compiler = Compiler("broken", 8, PLAIN, "cpu")
    compiler.start(torch.nn.Linear(2, 2), FLOAT32)  # it has no features
    compiler.wait()
    assert not compiler.ready
    (told,) = own_folder.iterdir()
    assert told.suffix == ".failed"
    assert "forward_features" in told.read_text()
    again = Compiler("broken", 8, PLAIN, "cpu")
    again.start(torch.nn.Linear(2, 2), FLOAT32)
    again.wait()
    assert again._process is None


def test_a_process_ends_with_its_encoder(own_folder: Path, encoder: NetworkEncoder) -> None:
    compiler = Compiler("a", PX, PLAIN, "cpu")
    compiler.start(encoder._network, FLOAT32)
    while compiler._process is None:
        time.sleep(0.01)
    second = Compiler("a", PX, PLAIN, "cpu")
    second.start(encoder._network, FLOAT32)
    second.wait()
    assert second._process is None  # one is enough
    process = compiler._process
    del compiler
    gc.collect()
    assert process.poll() is not None
    assert list(own_folder.iterdir()) == []


@pytest.mark.parametrize("device", ["cuda:0", "cpu"])
def test_only_where_it_is_possible_and_wanted(
    device: str, own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if device == "cpu":
        monkeypatch.setenv(compiled.OFF, "0")
    compiler = Compiler("a", PX, PLAIN, device)
    compiler.start(torch.nn.Linear(2, 2), FLOAT32)
    compiler.wait()
    assert not compiler.ready
    assert compiler.find(FLOAT32) is None
    assert not own_folder.exists()


def test_a_large_network_is_not_compiled(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "MAX_BYTES", 10)
    compiler = Compiler("a", PX, PLAIN, "cpu")
    compiler.start(torch.nn.Linear(2, 2), FLOAT32)
    compiler.wait()
    assert not own_folder.exists()


def test_a_damaged_file_is_removed(own_folder: Path) -> None:
    own_folder.mkdir()
    file = file_of("a", FLOAT32)
    assert load(file) is None
    file.write_bytes(b"no package")
    assert load(file) is None
    assert not file.exists()


def test_what_was_not_used_for_longest_goes_first(
    own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_folder.mkdir()
    for age, name in enumerate("abc"):
        file = own_folder / f"{name}.so"
        file.write_bytes(bytes(10))
        os.utime(file, (1000 - age, 1000 - age))
    monkeypatch.setattr(compiled, "KEEP_BYTES", 25)
    tidy(own_folder)
    assert sorted(file.stem for file in own_folder.iterdir()) == ["a", "b"]


def test_networks_are_told_apart() -> None:
    precision = Precision("bfloat16", channels_last=True)
    names = {file_of(name, way).name for name in ("a", "b") for way in (FLOAT32, precision)}
    assert len(names) == 4
    assert file_of("a", replace(FLOAT32, compiled=True)) == file_of("a", FLOAT32)


def test_layers_in_float32_can_be_sent_to_another_process(tmp_path: Path) -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Conv2d(4, 4, 3)).eval()
    made = convert(network, Precision("bfloat16", exact=1))
    torch.save(made, tmp_path / "network.pt")
    read = torch.load(tmp_path / "network.pt", weights_only=False)
    images = torch.rand(1, 3, 9, 9)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert read[0](images).dtype == torch.float32
        torch.testing.assert_close(read(images), made(images))
