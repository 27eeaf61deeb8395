"""Annotations as GeoJSON, the way QuPath reads and writes them.

GeoJSON wants ``(x, y)``: positions are turned here, at the edge of this file, and nowhere else.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.edits import AnnotationClass, ObjectRow
from ..atomic import replacing
from ..masks import AnnotationLayer
from .outlines import Polygon, outline, strip_corners

STRIP_PIXELS = 1 << 24
"""Pixels of a large object that are read at once, however wide it is."""


@dataclass(frozen=True, eq=False)
class Feature:
    """One object on its way to a file.

    Attributes
    ----------
    id : str
        A UUID: QuPath keeps it, so that an object is known again after a round trip.
    polygons : tuple of Polygon
        ``(y, x)`` level-0 pixels.
    name : str
    class_name : str
        Empty for no class.
    color : str
        ``"#rrggbb"`` of the class.
    metadata : dict
        Strings that QuPath shows beside the object.
    """

    id: str
    polygons: tuple[Polygon, ...]
    name: str = ""
    class_name: str = ""
    color: str = "#808080"
    metadata: dict[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the GeoJSON feature, positions as ``[x, y]``."""
        properties: dict[str, Any] = {"objectType": "annotation"}
        if self.name:
            properties["name"] = self.name
        if self.class_name:
            properties["classification"] = {"name": self.class_name, "color": _rgb(self.color)}
        if self.metadata:
            properties["metadata"] = self.metadata
        return {
            "type": "Feature",
            "id": self.id,
            "geometry": _geometry(self.polygons),
            "properties": properties,
        }


def write_geojson(path: str | Path, features: Iterable[Feature]) -> Path:
    """Write a FeatureCollection, one feature a line, without holding all of them at once.

    An earlier file of that name is only replaced when the new one is complete.

    Raises
    ------
    OSError
        The file cannot be written there.
    """
    path = Path(path)
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write('{"type": "FeatureCollection", "features": [')
        for number, feature in enumerate(features):
            file.write(",\n" if number else "\n")
            file.write(json.dumps(feature.as_dict()))  # json.dump is several times slower
        file.write("\n]}\n")
    return path


def layer_features(
    layer: AnnotationLayer, classes: Iterable[AnnotationClass], slide_id: str = ""
) -> Iterator[Feature]:
    """Yield every object of an annotation layer with its exact outline.

    Parameters
    ----------
    layer : AnnotationLayer
    classes : iterable of AnnotationClass
        Names and colours.
    slide_id : str
        Fingerprint of the slide; makes the identifiers unique beyond the layer.
    """
    by_id = {each.id: each for each in classes}
    objects = layer.objects.all()
    # From top to bottom, so that each chunk is read once; rows are made as they are written.
    for place in np.lexsort((objects.rows["x0"], objects.rows["y0"])).tolist():
        row = objects[place]
        polygons = object_polygons(layer, row)
        if not polygons:
            continue  # wholly erased or painted over
        found = by_id.get(row.class_id)
        yield Feature(
            id=str(uuid.uuid5(uuid.NAMESPACE_OID, f"pathfm/{slide_id}/{layer.name}/{row.id}")),
            polygons=polygons,
            name=str(row.id),
            class_name=found.name if found else "",
            color=found.color if found else "#808080",
            metadata=_metadata(row),
        )


def label_features(ids: NDArray[np.integer]) -> Iterator[Feature]:
    """Yield every label of a ``(h, w)`` array, in its own pixels."""
    for label, polygons in outlines(ids).items():
        identifier = uuid.uuid5(uuid.NAMESPACE_OID, f"label/{label}/{polygons[0].exterior[0]}")
        yield Feature(id=str(identifier), polygons=polygons, name=str(label))


def outlines(ids: NDArray[np.integer], y: int = 0, x: int = 0) -> dict[int, tuple[Polygon, ...]]:
    """Exact outlines of every object of a label image.

    Parameters
    ----------
    ids : ndarray
        ``(h, w)`` integers, 0 for nothing.
    y, x : int
        Where its upper left corner lies.

    Returns
    -------
    dict
        Polygons along the edges of the pixels by object id: the area of a polygon is its number
        of pixels.
    """
    from scipy.ndimage import find_objects

    values, dense = np.unique(ids, return_inverse=True)
    dense = dense.reshape(ids.shape) + 1  # find_objects skips 0 and wants small numbers
    found: dict[int, tuple[Polygon, ...]] = {}
    for number, (value, where) in enumerate(zip(values, find_objects(dense), strict=True), 1):
        if value:
            rows, cols = where
            corners = strip_corners(dense[where] == number, y + rows.start, x + cols.start)
            found[int(value)] = outline([corners])
    return found


def object_polygons(layer: AnnotationLayer, row: ObjectRow) -> tuple[Polygon, ...]:
    """Exact outline of one object of a layer; reads its box in strips, whatever its size."""
    y0, x0, y1, x1 = row.box
    strips = []
    above = np.zeros((0, x1 - x0), bool)
    rows = max(1, STRIP_PIXELS // max(1, x1 - x0))
    for y in range(y0, y1, rows):
        ids = layer.read(0, y, x0, min(rows, y1 - y), x1 - x0)
        mask = np.concatenate([above, ids == row.id])
        strips.append(strip_corners(mask, y - len(above), x0, first=y == y0, last=y + rows >= y1))
        above = mask[-1:]
    return outline(strips)


def _geometry(polygons: Sequence[Polygon]) -> dict[str, Any]:
    coordinates = [
        [ring[:, ::-1].tolist() for ring in (polygon.exterior, *polygon.holes)]
        for polygon in polygons
    ]
    if len(coordinates) == 1:
        return {"type": "Polygon", "coordinates": coordinates[0]}
    return {"type": "MultiPolygon", "coordinates": coordinates}


def _metadata(row: ObjectRow) -> dict[str, str]:
    facts = {"how": row.how, "model": row.model, "author": row.author}
    facts["corrected"] = "yes" if row.corrected else "no"
    return {key: value for key, value in facts.items() if value}


def _rgb(color: str) -> list[int]:
    return [int(color[start : start + 2], 16) for start in (1, 3, 5)]
