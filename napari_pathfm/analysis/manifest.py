"""The manifest of an export: what every image, mask and object in it comes from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from ..core.edits import AnnotationClass, ObjectRow
from ..core.tiles import TilePlan, TileSpec
from ..io.interop.dataset import IGNORE, SPLITS, Pair
from .patches import AnnotatedSlide
from .split import Patch, Split


def patch_facts(
    patch: Patch, pair: Pair, plan: TilePlan, region: int, split: str
) -> dict[str, Any]:
    """Say where a patch lies, in level-0 pixels, and how its pixels were read."""
    return {
        "image_path": pair[0],
        "mask_path": pair[1],
        "split": split,
        "region": region,
        "slide": patch.slide_id,
        "y": patch.y,
        "x": patch.x,
        "side": patch.side,
        "level": plan.level,
        "size": plan.size,
        "pixels": plan.tile_px,
        "objects": sorted(patch.objects),
    }


def manifest_of(
    layer: str,
    classes: Sequence[AnnotationClass],
    spec: TileSpec,
    sources: Sequence[AnnotatedSlide],
    seed: int,
    split: Split,
) -> dict[str, Any]:
    """Say where everything comes from; neither names of patients nor paths are in it."""
    return {
        "tool": {"name": "napari-pathfm", "version": version("napari-pathfm")},
        "coordinates": "y, x, side and box (y0, x0, y1, x1) in level-0 pixels",
        "layer": layer,
        "mpp": spec.mpp,
        "split": dict(zip(SPLITS, split, strict=True)),
        "seed": seed,
        "ignore_index": IGNORE,
        "classes": [
            {"index": number, "name": each.name, "color": each.color}
            for number, each in enumerate(classes)
        ],
        "slides": [_slide_facts(source) for source in sources],
        "patches": [],
        "tiles": [],
    }


def _slide_facts(source: AnnotatedSlide) -> dict[str, Any]:
    slide = source.slide
    mpp = None if slide.mpp is None else slide.mpp * source.side / source.plan.tile_px
    return {
        "id": slide.id,
        "name": slide.name,
        "shape": list(slide.levels[0].shape),
        "mpp": slide.mpp,
        "image_mpp": mpp,
        "objects": [
            _object_facts(row, None if index == IGNORE else index)
            for row, index in zip(source.objects, source.indices.tolist(), strict=True)
        ],
    }


def _object_facts(row: ObjectRow, index: int | None) -> dict[str, Any]:
    return {
        "id": row.id,
        "index": index,
        "how": row.how,
        "model": row.model,
        "prompts": json.loads(row.prompts) if row.prompts else None,
        "score": None if row.score < 0 else row.score,
        "corrected": row.corrected,
        "author": row.author,
        "area": row.area,
        "box": list(row.box),
    }
