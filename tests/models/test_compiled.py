"""Networks that are compiled: the same answers, taken only if faster, and never in the way."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from napari_pathfm.core.prompts import Prompts
from napari_pathfm.models import compiled
from napari_pathfm.models.catalog import get_encoder, get_segmenter
from napari_pathfm.models.compiled import KINDS, file_of, load, tidy
from napari_pathfm.models.compiler import OFF, Compiler
from napari_pathfm.models.encoder import NetworkEncoder
from napari_pathfm.models.precision import FLOAT32, Precision, cosine
from napari_pathfm.models.sam_segmenter import SamSegmenter

PX = 224
LAYER = torch.nn.Linear(2, 2)
DEFAULT = ("efficientnet-lite0", None)


@pytest.fixture(autouse=True)
def own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Nothing of the user's is used or changed."""
    monkeypatch.setenv(OFF, "1")
    folder = tmp_path / "compiled"
    monkeypatch.setattr(compiled, "folder", lambda: folder)
    return folder


@pytest.fixture
def encoder() -> NetworkEncoder:
    made = get_encoder("efficientnet-lite0", device="cpu")
    assert isinstance(made, NetworkEncoder)
    return made


@pytest.fixture
def tiles() -> NDArray[np.uint8]:
    """Coarse noise: of what is fine a network says nothing that is sure."""
    coarse = np.random.default_rng(0).integers(0, 256, (16, PX // 16, PX // 16, 3), dtype=np.uint8)
    return coarse.repeat(16, 1).repeat(16, 2)


SMALL = """
import sys
from pathlib import Path
import torch
from napari_pathfm.models.compiled import KINDS, open_compiled
from napari_pathfm.models.compiler import IMAGE_ENCODER, MASK_DECODER
from napari_pathfm.models.compiling import compile_network, compile_part
from napari_pathfm.models.precision import FLOAT32
from napari_pathfm.models.sam_parts import ImageEncoder, MaskDecoder

class Small(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Conv2d(3, 5, 4, 4)

    def forward_features(self, images):
        return torch.nn.functional.gelu(self.layer(images))

torch.manual_seed(0)
network, made = Small().eval(), Path(sys.argv[1])
normalisation = torch.full((3, 1, 1), 1 / 255), torch.full((3, 1, 1), -0.5)
compile_network(network, FLOAT32, normalisation, 32, made)
for suffix in KINDS.values():  # torch's own package lies beside it
    features = open_compiled(made.with_suffix(suffix), "cpu")
    for count in (1, 5):
        shape = (count, 32, 32, 3)
        pixels = torch.randint(0, 256, shape, dtype=torch.uint8).permute(0, 3, 1, 2)
        with torch.no_grad():
            expected = network.forward_features(pixels / 255 - 0.5)
        torch.testing.assert_close(features(pixels), expected, rtol=1e-4, atol=1e-5)
        print(suffix, count)


class Part(torch.nn.Module):  # with the arguments of a mask decoder
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 3)

    def forward(self, image_embeddings, image_pe, sparse_prompt_embeddings,
                dense_prompt_embeddings, multimask_output):
        scores = self.layer(sparse_prompt_embeddings).mean(1)
        seen = image_embeddings + image_pe + dense_prompt_embeddings
        return seen * scores.sum(1)[:, None, None, None], scores


decoder = MaskDecoder(Part(), FLOAT32, True).eval()
image = [torch.rand(1, 4, 8, 8) for _ in range(3)]
examples = [(*image[:2], torch.rand(1, count, 4), image[2]) for count in (2, 3, 6)]
file = made.with_name("decoder.so")
compile_part(MASK_DECODER, decoder, examples, file)
answer = open_compiled(file, "cpu")
for count in (2, 9):
    example = (*image[:2], torch.rand(1, count, 4), image[2])
    with torch.no_grad():
        low, scores = decoder(*example)
    torch.testing.assert_close(answer(*example), (low, scores), rtol=1e-4, atol=1e-5)
    print(file.name, count)

encoder, file = ImageEncoder(network.layer, FLOAT32).eval(), made.with_name("encoder.so")
image = torch.rand(1, 3, 32, 32).contiguous(memory_format=torch.channels_last)
compile_part(IMAGE_ENCODER, encoder, [(torch.rand_like(image),)], file)
with torch.no_grad():
    expected = encoder(image)
torch.testing.assert_close(open_compiled(file, "cpu")(image), expected, rtol=1e-4, atol=1e-5)
print(file.name)
"""


def test_files_of_both_kinds_answer_as_the_network_does(own_folder: Path) -> None:
    own_folder.mkdir()
    # In a process of its own, as always: the compiler does not bear everybody's setuptools.
    command = [sys.executable, "-c", SMALL, str(own_folder / "made.so")]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    features = [".so", "1", ".so", "5", ".pt2", "1", ".pt2", "5"]
    parts = ["decoder.so", "2", "decoder.so", "9", "encoder.so"]
    assert done.stdout.split() == [*features, *parts]


def test_a_loader_that_does_not_bear_somebody_is_no_fault_of_the_file(
    own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(file: Path, device: str) -> None:
        raise AssertionError("distutils/core.py")  # setuptools, where distutils came first

    own_folder.mkdir()
    file = file_of("a", FLOAT32).with_suffix(".pt2")
    file.write_bytes(b"whole")
    monkeypatch.setattr(compiled, "open_compiled", refuse)
    assert load(file, "cuda:0") is None
    assert file.exists()


@pytest.mark.soak
def test_compiled_later_on_it_is_tried_and_found_again(
    encoder: NetworkEncoder, tiles: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = encoder.embed(tiles)
    assert encoder.calibrated
    assert not encoder.compiling
    before = encoder.precision
    monkeypatch.setattr("napari_pathfm.models.compiler.WORTH_SECONDS", 0.0)
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
    again = get_encoder("efficientnet-lite0", device="cpu")
    again.calibrate(tiles)  # type: ignore[attr-defined]
    assert last.precision in {trial.precision for trial in again.trials}  # type: ignore[attr-defined]
    gc.collect()
    assert [file.suffix for file in compiled.folder().iterdir()] == [".so"]


@pytest.mark.soak
def test_a_segmenter_that_is_compiled_gives_the_same_masks() -> None:
    segmenter = get_segmenter("pathfm-click", device="cpu")
    assert isinstance(segmenter, SamSegmenter)
    rows, cols = np.ogrid[:256, :256]
    dark = (rows - 120) ** 2 + (cols - 130) ** 2 < 60**2
    rgb = np.where(dark[..., None], 90, 220).astype(np.uint8).repeat(3, 2)
    embedding = segmenter.encode(rgb)
    middle, corner = np.array([[120.0, 130.0]]), np.array([[120.0, 130.0], [10.0, 10.0]])
    asked = [
        Prompts(middle, np.array([True])),
        Prompts(corner, np.array([True, False])),
        Prompts(box=np.array([60.0, 70.0, 180.0, 190.0])),
    ]
    plain = [segmenter.decode(embedding, [prompts]) for prompts in asked]
    segmenter.compile()  # waits
    again = get_segmenter("pathfm-click", device="cpu")
    for each in (segmenter, again):
        assert isinstance(each, SamSegmenter)
        for prompts, before in zip(asked, plain, strict=True):
            after = each.decode(each.encode(rgb), [prompts])
            assert each._encoder.compiled is not None
            assert each._decoder.compiled is not None
            np.testing.assert_allclose(after.scores, before.scores, atol=0.02)
            best, known = after.masks[0, 0], before.masks[0, 0]
            assert (best & known).sum() / (best | known).sum() > 0.98
        both = each.decode(embedding, asked[:1] * 2)  # several objects: the decoder itself
        assert both.masks.shape == (2, 3, 256, 256)


def test_a_compiled_part_that_fails_is_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*inputs: torch.Tensor) -> None:
        raise RuntimeError("made for another processor")

    monkeypatch.setattr(Compiler, "find", lambda self, precision: broken)
    segmenter = get_segmenter("pathfm-click", device="cpu")
    embedding = segmenter.encode(np.full((64, 64, 3), 200, np.uint8))
    found = segmenter.decode(embedding, [Prompts(np.array([[32.0, 32.0]]), np.array([True]))])
    assert found.masks.shape == (1, 3, 64, 64)


def test_what_cannot_be_compiled_is_not_tried_again(own_folder: Path) -> None:
    compiler = Compiler("broken", "cpu")
    compiler.start(("no-such-encoder", None), LAYER, FLOAT32)
    compiler.wait()
    assert not compiler.ready
    (told,) = own_folder.iterdir()
    assert told.suffix == ".failed"
    assert "no-such-encoder" in told.read_text()
    again = Compiler("broken", "cpu")
    again.start(("no-such-encoder", None), LAYER, FLOAT32)
    again.wait()
    assert again._work is not None
    assert again._work.process is None


def test_a_process_ends_with_its_encoder(own_folder: Path) -> None:
    compiler = Compiler("a", "cpu")
    compiler.start(DEFAULT, LAYER, FLOAT32)
    while compiler._work is None or compiler._work.process is None:
        time.sleep(0.01)
    process = compiler._work.process
    del compiler
    gc.collect()
    assert process.poll() is not None
    assert list(own_folder.iterdir()) == []


def test_one_network_is_compiled_after_the_other(own_folder: Path) -> None:
    first, second = Compiler("a", "cpu"), Compiler("b", "cpu")
    first.start(DEFAULT, LAYER, FLOAT32)
    while first._work is None or first._work.process is None:
        time.sleep(0.01)
    second.start(DEFAULT, LAYER, FLOAT32)
    waiting = second._work
    assert waiting is not None
    assert second.busy
    assert waiting.process is None
    del second  # nobody wants it any more
    gc.collect()
    first._work.stop()
    waiting.thread.join(60)
    assert not waiting.thread.is_alive()
    assert waiting.process is None


@pytest.mark.parametrize("device", ["mps", "cpu"])
def test_only_where_it_is_possible_and_wanted(
    device: str, own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if device == "cpu":
        monkeypatch.setenv(OFF, "0")
    compiler = Compiler("a", device)
    compiler.start(DEFAULT, LAYER, FLOAT32)
    compiler.wait()
    assert not compiler.ready
    assert compiler.find(FLOAT32) is None
    assert not own_folder.exists()


def test_a_large_network_is_not_compiled(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_pathfm.models.compiler.MAX_BYTES", 10)
    compiler = Compiler("a", "cpu")
    compiler.start(DEFAULT, LAYER, FLOAT32)
    compiler.wait()
    assert not own_folder.exists()


def test_without_a_compiler_nothing_is_tried(
    own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    compiler = Compiler("a", "cpu")
    compiler.start(DEFAULT, LAYER, FLOAT32)
    compiler.wait()
    assert not own_folder.exists()


@pytest.mark.parametrize("suffix", KINDS.values())
def test_a_damaged_file_is_removed(suffix: str, own_folder: Path) -> None:
    own_folder.mkdir()
    file = file_of("a", FLOAT32).with_suffix(suffix)
    assert load(file) is None
    file.write_bytes(b"no package")
    assert load(file) is None
    assert not file.exists()


def test_what_was_not_used_for_longest_goes_first(
    own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_folder.mkdir()
    for age, name in enumerate(["a.so", "b.pt2", "c.so"]):
        file = own_folder / name
        file.write_bytes(bytes(10))
        os.utime(file, (1000 - age, 1000 - age))
    monkeypatch.setattr(compiled, "KEEP_BYTES", 25)
    tidy(own_folder)
    assert sorted(file.stem for file in own_folder.iterdir()) == ["a", "b"]


def test_without_what_was_compiled_the_others_are_tried(
    encoder: NetworkEncoder, tiles: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(pixels: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("made for another driver")

    monkeypatch.setattr(Compiler, "find", lambda self, precision: broken)
    encoder.calibrate(tiles)
    assert encoder.calibrated
    assert not encoder.precision.compiled
    assert not any(trial.precision.compiled for trial in encoder.trials)


def test_networks_are_told_apart() -> None:
    precision = Precision("bfloat16", channels_last=True)
    names = {file_of(name, way).name for name in ("a", "b") for way in (FLOAT32, precision)}
    assert len(names) == 4
    assert file_of("a", replace(FLOAT32, compiled=True)) == file_of("a", FLOAT32)
