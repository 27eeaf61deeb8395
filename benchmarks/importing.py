"""Objects a second that come into an annotation layer, from outlines and from a label image.

The files are made here: 200,000 nuclei on a slide of 30,000 x 30,000 pixels as QuPath writes them,
and a label image of 20,000 x 20,000 pixels as a tiled, compressed TIFF. Reading the file, drawing
and the commit to the disk count; making the files does not.
"""

from __future__ import annotations

import json
import resource
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_pathfm.analysis.import_objects import import_job, read_objects
from napari_pathfm.core.jobs import Progress, run
from napari_pathfm.core.slide import Level
from napari_pathfm.io.masks import AnnotationLayer
from napari_pathfm.io.project import Project

from ._measure import main, say

NUCLEI, CORNERS = 200_000, 30
SIDE, LABEL_SIDE = 30_000, 20_000
LABEL_TILE = 512
LABEL_STEP = 40
"""Pixels from one disc of the label image to the next."""


def measure() -> dict[str, Any]:
    """Import both, each into a new project."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        say(f"writing {NUCLEI:,} outlines")
        outlines = write_outlines(folder / "nuclei.geojson")
        say(f"writing labels of {LABEL_SIDE:,} x {LABEL_SIDE:,} pixels")
        labels = write_labels(folder / "labels.tif")
        found = {"outlines": _import(outlines, SIDE), "labels": _import(labels, LABEL_SIDE)}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {**found, "peak_mib": round(peak)}


def write_outlines(path: Path) -> Path:
    """Write round nuclei of 16 to 26 pixels, on a grid that is not quite regular."""
    rng = np.random.default_rng(0)
    angles = np.arange(CORNERS) * 2 * np.pi / CORNERS
    circle = np.stack([np.cos(angles), np.sin(angles)], 1)
    across = int(np.sqrt(NUCLEI)) + 1
    with path.open("w") as file:
        file.write('{"type": "FeatureCollection", "features": [')
        for number in range(NUCLEI):
            center = (np.array(divmod(number, across))[::-1] + 0.5) * SIDE / across
            radii = rng.uniform(8, 13, (CORNERS, 1))
            ring = (center + rng.uniform(-8, 8, 2) + radii * circle).round(2).tolist()
            feature = {
                "type": "Feature",
                "id": f"{number:032x}",
                "geometry": {"type": "Polygon", "coordinates": [[*ring, ring[0]]]},
                "properties": {
                    "objectType": "detection",
                    "classification": {"name": f"kind {number % 3}", "color": [200, 0, 0]},
                },
            }
            file.write(("," if number else "") + json.dumps(feature))
        file.write("]}")
    return path


def write_labels(path: Path) -> Path:
    """Write numbered discs of 24 pixels."""
    tiles = -(-LABEL_SIDE // LABEL_TILE)
    tifffile.imwrite(
        path,
        (_tile(row * LABEL_TILE, col * LABEL_TILE) for row in range(tiles) for col in range(tiles)),
        shape=(LABEL_SIDE, LABEL_SIDE),
        dtype=np.uint32,
        tile=(LABEL_TILE, LABEL_TILE),
        compression="zlib",
    )
    return path


def _tile(top: int, left: int) -> NDArray[np.uint32]:
    """Return the tile whose upper left pixel that is."""
    y, x = np.ogrid[top : top + LABEL_TILE, left : left + LABEL_TILE]
    middle = (LABEL_STEP - 1) / 2
    inside = (y % LABEL_STEP - middle) ** 2 + (x % LABEL_STEP - middle) ** 2 < 12**2
    ids = y // LABEL_STEP * (LABEL_SIDE // LABEL_STEP) + x // LABEL_STEP + 1
    return np.where(inside, ids, 0).astype(np.uint32)


def _import(path: Path, side: int) -> dict[str, float]:
    """Import a file and say how long each part took."""
    parts: dict[str, float] = {}
    last = time.perf_counter()

    def note(progress: Progress) -> None:
        nonlocal last
        now = time.perf_counter()
        parts[progress.text] = parts.get(progress.text, 0.0) + now - last
        last = now

    levels = (Level((side, side), 1.0, (512, 512)),)
    with TemporaryDirectory(dir=path.parent) as folder, Project.open(Path(folder) / "p") as project:
        layer = AnnotationLayer.open(project, "slide", "nuclei", levels[0].shape)
        start = last = time.perf_counter()
        drawing = run(read_objects(path, levels), note)
        report = run(import_job(layer, drawing, project.class_book, path.name), note)
        seconds = time.perf_counter() - start
    say(", ".join(f"{text} {value:.1f} s" for text, value in parts.items()))
    return {
        "objects": report.objects,
        "seconds": round(seconds, 2),
        "objects_per_second": round(report.objects / seconds),
        "file_mb": round(path.stat().st_size / 1e6, 1),
    }


if __name__ == "__main__":
    main("importing", measure)
