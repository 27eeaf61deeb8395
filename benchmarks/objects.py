"""A million nuclei in one annotation layer: writing, opening, painting, sorting and undoing.

The layer lies on a blank slide of 100,000 x 100,000 pixels, a hundred nuclei a chunk as in dense
tissue, and is written as an import writes it. ``stroke`` is the commit of a brush stroke over some
nuclei (with the disk), ``table`` what follows from it in the window's thread, ``refill`` filling
the edit window at four zooms in a real window of 1600 x 1000 pixels.

It needs a display; without one, start it by ``.ci/window python -m benchmarks.objects``.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._measure import main, say
from .painting import SIDE, Painter, blank_slide, process_mib

NUCLEI = 1_000_000
A_SIDE = 10
"""Nuclei along a side of a chunk."""

BULK = 100_000
"""Objects of a bulk change."""

STROKES = 30
ZOOMS = (1.0, 4.0, 16.0, 64.0)
"""Level-0 pixels a pixel of the screen."""

FILTERS = ("", "area > 300", "not corrected, stroma", "score < 0.5, area > 200")
CLASSES = (("tumor", "#d55e00"), ("stroma", "#0072b2"), ("lymphocyte", "#009e73"))


def measure() -> dict[str, Any]:
    """Write the layer, then work in it as a user would."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        slide = blank_slide(folder / "blank.ome.zarr")
        found = {"nuclei": NUCLEI, **_layer(folder, _slide_id(slide))}
        say("the window")
        found |= _window(folder, slide)
    return found


def _slide_id(path: Path) -> str:
    from napari_pathfm.io.reader import open_slide

    slide = open_slide(path)
    try:
        return slide.id
    finally:
        slide.close()


def nuclei() -> Iterator[tuple[int, int, NDArray[np.uint32]]]:
    """Yield chunks with nuclei: row, column, and ``(512, 512)`` ids."""
    rng = np.random.default_rng(0)
    templates = [_template(rng) for _ in range(16)]
    each = A_SIDE**2
    across = int(np.ceil(np.sqrt(NUCLEI / each)))
    first = SIDE // 512 // 2 - across // 2
    for number in range(-(-NUCLEI // each)):
        local = templates[number % len(templates)]
        ids = np.where(local > 0, local + np.uint32(each * number), 0).astype(np.uint32)
        row, col = divmod(number, across)
        yield first + row, first + col, ids


def _template(rng: np.random.Generator) -> NDArray[np.uint32]:
    step = 512 / A_SIDE
    centers = (np.indices((A_SIDE, A_SIDE)).reshape(2, -1).T + 0.5) * step
    centers += rng.uniform(-8, 8, centers.shape)
    ys, xs = np.mgrid[:512, :512]
    ids = np.zeros((512, 512), np.uint32)
    for number, (y, x) in enumerate(centers, 1):
        a, b = rng.uniform(8, 14, 2)
        ids[((ys - y) / a) ** 2 + ((xs - x) / b) ** 2 < 1] = number
    return ids


def _layer(folder: Path, slide_id: str) -> dict[str, Any]:
    """What needs no window."""
    from napari_pathfm.core.jobs import run
    from napari_pathfm.core.objects import ObjectArray
    from napari_pathfm.io.masks import AnnotationLayer
    from napari_pathfm.io.painting import Paint
    from napari_pathfm.io.project import Project

    def opened(project: Project) -> AnnotationLayer:
        return AnnotationLayer.open(project, slide_id, "regions", (SIDE, SIDE))

    say(f"writing {NUCLEI:,} nuclei")
    rng = np.random.default_rng(1)
    found: dict[str, Any] = {}
    with Project.open(folder / "project") as project:
        project.class_book.add(CLASSES)
        layer = opened(project)
        ids = np.array(layer.new_ids(NUCLEI))
        rows = ObjectArray.new(
            ids, class_id=rng.integers(0, 4, NUCLEI), how="import", score=rng.random(NUCLEI)
        )
        paints = (Paint.of(r * 512, c * 512, drawn, drawn > 0, 1) for r, c, drawn in nuclei())
        start = time.perf_counter()
        edit = run(layer.edit_job(paints, "import", rows, total=NUCLEI // A_SIDE**2))
        found["drawn_s"] = _since(start)
        start = time.perf_counter()
        layer.commit(edit)
        found["written_s"] = _since(start)
        del layer, edit, rows, paints
    found["database_mib"] = round((folder / "project" / "project.sqlite").stat().st_size / 2**20)
    say("opening, painting, bulk changes")
    found |= _opened(folder / "project", slide_id)
    with Project.open(folder / "project") as project:
        layer = opened(project)
        found["stroke"] = _strokes(layer)
        found["bulk"] = _bulk(layer, rng)
    return found


def _opened(project: Path, slide_id: str) -> dict[str, float]:
    """Open the layer in a process of its own, where no memory is lying about to be used again."""
    code = (
        "import sys, time, psutil, imagecodecs, zarr\n"
        "from napari_pathfm.io.masks import AnnotationLayer\n"
        "from napari_pathfm.io.project import Project\n"
        "memory = lambda: psutil.Process().memory_info().rss / 2**20\n"
        "before, start = memory(), time.perf_counter()\n"
        "project = Project.open(sys.argv[1])\n"
        "layer = AnnotationLayer.open(project, sys.argv[2], 'regions', (int(sys.argv[3]),) * 2)\n"
        "print(time.perf_counter() - start, memory() - before, len(layer.objects))\n"
    )
    command = [sys.executable, "-c", code, str(project), slide_id, str(SIDE)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    seconds, mib, _ = (float(word) for word in answer.split())
    return {"opened_s": round(seconds, 3), "open_mib": round(mib)}


def _strokes(layer: Any) -> dict[str, float]:
    """Paint round dots over nuclei, each a new object, and take a clock to the commit."""
    ys, xs = np.mgrid[-20:20, -20:20]
    dot = ys**2 + xs**2 < 400
    rng, seconds = np.random.default_rng(2), []
    boxes = layer.objects.column("y0"), layer.objects.column("x0")
    for place in rng.integers(0, len(layer.objects), STROKES).tolist():
        ids = np.full(dot.shape, layer.new_id(), np.uint32)
        start = time.perf_counter()
        layer.commit(
            layer.paint_edit(int(boxes[0][place]), int(boxes[1][place]), ids, dot, "brush")
        )
        seconds.append(_since(start))
    return {"median_ms": _ms(np.median(seconds)), "p95_ms": _ms(np.percentile(seconds, 95))}


def _bulk(layer: Any, rng: np.random.Generator) -> dict[str, float]:
    """Change the class of many, delete many that lie together, and take both back."""
    ids = layer.objects.column("id")
    some = np.sort(rng.choice(ids, min(BULK, len(ids)), replace=False))
    together = ids[: len(some)]
    acts: dict[str, Callable[[], object]] = {
        "class_s": lambda: layer.commit(layer.class_edit(some, 3)),
        "class_undo_s": layer.undo,
        "class_redo_s": layer.redo,
        "delete_s": lambda: layer.commit(layer.delete_edit(together)),
        "delete_undo_s": layer.undo,
    }
    found = {"objects": float(len(some))}
    for name, act in acts.items():
        say(f"  {name}")
        start = time.perf_counter()
        act()
        found[name] = _since(start)
    return found


def _window(folder: Path, slide: Path) -> dict[str, Any]:
    """What a user waits for."""
    painter = Painter(slide, folder)
    session, table = painter.place.session, _table(painter)
    found = {
        "find": _find(session),
        "table": table,
        "refill": {f"{zoom:g}": _refill(painter, zoom) for zoom in ZOOMS},
        "process_mib": round(process_mib()),
    }
    painter.close()
    return found


def _find(session: Any) -> dict[str, float]:
    """Filter and sort by every column: what the worker does, ms."""
    from napari_pathfm.analysis.find_objects import COLUMNS, Query, find_objects
    from napari_pathfm.core.jobs import run

    queries = [Query(column=column) for column in COLUMNS]
    queries += [Query(text, column="area", descending=True) for text in FILTERS[1:]]
    found = {}
    for query in queries:
        start = time.perf_counter()
        run(find_objects(session.annotations.objects.fresh(), session.classes, 0.25, query))
        found[f"{query.text or 'all'}, by {query.column}"] = _ms(_since(start))
    return found


def _table(painter: Painter) -> dict[str, float]:
    """What the window's thread does when another order, or a stroke's change, is shown."""
    from napari_pathfm.analysis.find_objects import Query, find_objects
    from napari_pathfm.core.jobs import run
    from napari_pathfm.gui.object_table import ObjectTable

    session = painter.place.session
    table = ObjectTable(session, painter.place.runner, painter.edits.history)
    table.resize(400, 700)
    table.show()
    painter.driver.wait(lambda: table.model.rowCount() > 0, "the table", 60)
    store, times = session.annotations, {}

    def shown(name: str, column: str) -> None:
        answer = run(find_objects(store.objects, session.classes, 0.25, Query(column=column)))
        start = time.perf_counter()
        table._show(answer)
        table.view.viewport().repaint()
        times[name] = _ms(_since(start))

    shown("another_order_ms", "area")
    shown("the_same_ms", "area")
    ids = np.full((30, 30), store.new_id(), np.uint32)
    store.commit(store.paint_edit(SIDE // 2, SIDE // 2, ids, None, "brush"))
    shown("after_stroke_ms", "area")
    table.view.selectAll()
    start = time.perf_counter()
    count = len(table.selected())
    times["select_all_ms"] = _ms(_since(start))
    times["selected"] = count
    table.close()
    table.deleteLater()
    return times


def _refill(painter: Painter, zoom: float) -> dict[str, float]:
    """Median of filling the edit window, and of its parts, ms; how many objects are in it."""
    from napari_pathfm.gui.label_codes import objects_in

    rng, times = np.random.default_rng(3), []
    for _ in range(10):
        y, x = SIDE / 2 + rng.uniform(-0.1, 0.1, 2) * SIDE
        painter.look(y, x, zoom)
        start = time.perf_counter()
        painter.edits.refill()
        times.append(_since(start))
    seen = len(objects_in((painter.edits.layer.data // 1000).astype(np.uint32)))
    return {"median_ms": _ms(np.median(times)), "max_ms": _ms(max(times)), "objects": seen}


def _since(start: float) -> float:
    return round(time.perf_counter() - start, 4)


def _ms(seconds: float) -> float:
    return round(float(seconds) * 1e3, 2)


if __name__ == "__main__":
    main("objects", measure)
