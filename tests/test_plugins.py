"""The example plugins install as a stranger's would, and work."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ("example-encoder", "example-segmenter")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder into which both examples are installed, without a network."""
    folder = tmp_path_factory.mktemp("plugins")
    sources = [shutil.copytree(ROOT / "plugins" / name, folder / name) for name in EXAMPLES]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    pip += ["--no-build-isolation", "--disable-pip-version-check", "--target", folder / "site"]
    done = subprocess.run([*pip, *sources], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "site"


def run(installed: Path, code: str, *arguments: str | Path) -> Any:
    """Run code where the plugins are installed; returns the JSON that it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(installed), str(ROOT)))},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


EMBED = """
import json, sys
import numpy as np
from napari_pathfm import api
from napari_pathfm.models.base import Encoder
from napari_pathfm.models.catalog import encoders, get_encoder

assert "pathfm_example_encoder" not in sys.modules
assert "example-colour-texture" in encoders().names()
assert "pathfm_example_encoder" not in sys.modules  # listing imports nothing
encoder = get_encoder("example-colour-texture")
assert isinstance(encoder, Encoder)
with api.open_slide(sys.argv[1]) as slide:
    grid = api.tiles(slide, api.tissue(slide), encoder.spec.mpp, encoder.spec.tile_px)
    made = api.embed(slide, grid, "example-colour-texture", sys.argv[2])
    kept = api.load_embeddings(slide, sys.argv[2], "example-colour-texture")[1]
    hits = api.search(made, 0, 5)
    y, x = grid.origins[made.tiles[3]].astype(int)
    tile = slide.read(0, y, x, 224, 224)
    tokens = encoder.tokens(tile[None])
np.savez(sys.argv[3], tile=tile, tokens=tokens, vectors=made.vectors)
print(json.dumps({
    "tiles": len(made), "grid": len(grid), "kept": bool((kept.vectors == made.vectors).all()),
    "listed": [e["name"] for e in api.models()["encoders"]], "first": int(hits.tiles[0]),
}))
"""


def test_the_encoder_embeds_a_slide(installed: Path, synthetic: Path, tmp_path: Path) -> None:
    facts = run(installed, EMBED, synthetic, tmp_path / "project", tmp_path / "made.npz")
    assert facts["tiles"] == facts["grid"] > 50
    assert facts["kept"]
    assert "example-colour-texture" in facts["listed"]
    made = np.load(tmp_path / "made.npz")
    vectors, tile, tokens = made["vectors"], made["tile"], made["tokens"]
    assert vectors.shape == (facts["tiles"], 16)
    assert np.isfinite(vectors).all()
    assert (vectors.std(0) > 0).all()
    # The third cell of the second row, and the vector of the whole tile, measured one by one.
    density = -np.log((tile.astype(float) + 1) / 256)
    cell = density[16:32, 32:48].reshape(-1, 3)
    np.testing.assert_allclose(tokens[0, 1, 2, :6], [*cell.mean(0), *cell.std(0)], rtol=1e-4)
    grey = density.mean(-1)
    down = [abs(grey[y + 1, x] - grey[y - 1, x]) / 2 for y in range(16, 32) for x in range(32, 48)]
    np.testing.assert_allclose(tokens[0, 1, 2, 6], np.mean(down), rtol=1e-4)
    cells = tokens[0].reshape(-1, 8)
    np.testing.assert_allclose(vectors[3], [*cells.mean(0), *cells.std(0)], rtol=1e-3, atol=1e-4)


SEGMENT = """
import json, sys
import numpy as np
from napari_pathfm import api
from napari_pathfm.models.base import Segmenter
from napari_pathfm.models.catalog import get_segmenter

segmenter = get_segmenter("example-colour-region")
assert isinstance(segmenter, Segmenter)
asked = json.loads(sys.argv[2])
found = []
with api.open_slide(sys.argv[1]) as slide:
    for prompt in asked:
        found.append(api.segment(slide, segmenter="example-colour-region", **prompt))
np.savez(sys.argv[3], *(each.masks for each in found))
print(json.dumps([[each.y, each.x, each.downsample, *each.scores.tolist()] for each in found]))
"""


def test_the_segmenter_finds_lumens(installed: Path, synthetic: Path, tmp_path: Path) -> None:
    classes = np.array(Image.open(synthetic.parent / "synthetic_classes.png"))
    lumens, _ = ndimage.label(classes == 3)
    sizes = np.bincount(lumens.ravel())
    chosen = np.argsort(sizes[1:])[-8:-2] + 1  # not those that reach beyond what is looked at
    clicks = []
    for number in chosen:
        part = ndimage.find_objects(lumens)[number - 1]
        depth = ndimage.distance_transform_edt(np.pad(lumens[part] == number, 1))
        inner = np.unravel_index(depth.argmax(), depth.shape)
        clicks.append([float(i - 1 + side.start) for i, side in zip(inner, part, strict=True)])
    y, x = clicks[0]
    asked: list[dict[str, Any]] = [{"points": [click]} for click in clicks]
    asked.append({"points": [[y, x]], "box": [y - 4, x - 4, y + 4, x + 4]})
    asked.append({"points": [[y, x], [y + 1, x]], "positive": [True, False]})
    answers = run(installed, SEGMENT, synthetic, json.dumps(asked), tmp_path / "masks.npz")
    saved = np.load(tmp_path / "masks.npz")
    masks = [saved[f"arr_{number}"] for number in range(len(asked))]
    ious = []
    for number, answer, mask in zip(chosen, answers, masks, strict=False):
        top, left, downsample, *scores = answer
        assert downsample == 1
        assert 1 >= scores[0] >= scores[1] >= scores[2] >= 0
        found = np.zeros(classes.shape, bool)
        rows, cols = np.nonzero(mask[0])
        rows, cols = rows + round(top), cols + round(left)
        inside = (rows >= 0) & (cols >= 0) & (rows < found.shape[0]) & (cols < found.shape[1])
        found[rows[inside], cols[inside]] = True
        true = lumens == number
        ious.append((found & true).sum() / (found | true).sum())
    assert min(ious) > 0.75
    assert np.median(ious) > 0.9
    (boxed, *_), (beside, *_) = masks[-2:]
    assert 0 < boxed.sum() * answers[-2][2] ** 2 <= 10 * 10
    top, left, *_ = answers[-1]
    assert not beside[round(y + 1 - top), round(x - left)]
    assert beside.sum() < masks[0][0].sum()
