"""Drawing a layer anew without the layer list being painted, and all of the window with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from napari.layers import Layer


@contextmanager
def unlisted(layer: Layer) -> Iterator[None]:
    """Keep from the layer list that a layer has other pixels, or another scale on the screen.

    The list shows neither, but paints itself at each event of a layer; with the canvas in the same
    window, that costs as much as a frame.
    """
    pixels, scale = layer.events.set_data, layer.events.scale_factor
    with pixels.blocker(layer.events), scale.blocker(layer.events):
        yield
