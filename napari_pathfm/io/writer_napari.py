"""napari's writer of masks: GeoJSON that QuPath opens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from .interop.geojson import Feature, label_features, layer_features, write_geojson
from .masks import AnnotationLayer


def write_labels(path: str, data: Any, attributes: Mapping[str, Any]) -> list[str]:
    """Write one labels layer as GeoJSON.

    Of an annotation layer of PathFM the whole slide is written, in level-0 pixels, not just the
    window around what is visible. Any other labels layer is written in its own pixels.

    Parameters
    ----------
    path : str
    data : array-like
        ``(h, w)`` integers, or the levels of a pyramid of them, finest first.
    attributes : mapping
        The layer's attributes; ``attributes["metadata"]["pathfm"]`` of one of ours holds its
        ``annotations`` (an annotation layer) and its ``project``.

    Returns
    -------
    list of str
        The file that was written.

    Raises
    ------
    ValueError
        The layer has more than two dimensions.
    """
    return [str(write_geojson(path, _features(data, attributes)))]


def _features(data: Any, attributes: Mapping[str, Any]) -> Iterator[Feature]:
    ours = attributes.get("metadata", {}).get("pathfm", {})
    layer: AnnotationLayer | None = ours.get("annotations")
    if layer is not None:
        return layer_features(layer, ours["project"].classes(), layer.slide_id)
    levels = data if isinstance(data, list | tuple) else getattr(data, "levels", None)
    labels = np.asarray(levels[0] if levels is not None else data)
    if labels.ndim != 2:
        raise ValueError(
            f"GeoJSON is flat, but this layer has {labels.ndim} dimensions. Save a single plane."
        )
    return label_features(labels)
