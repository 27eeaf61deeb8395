"""What takes long the first time, done while nobody waits for it."""

from __future__ import annotations

import importlib

import numpy as np
import pint
from napari.layers import Labels
from napari.utils.colormaps import DirectLabelColormap

from ..core.jobs import Job, Progress
from .label_codes import class_colormap

READERS = ("tiffslide", "imagecodecs", "openslide", "skimage.measure")


def make_units() -> None:
    """Let pint read its units, on the GUI thread: two threads at once end in unknown units."""
    pint.get_application_registry().Unit("um")


def warm_up() -> Job[None]:
    """Import what opens slides, let numba compile what napari needs to show labels."""
    yield Progress(0, 3, "Getting ready for slides")
    for module in READERS:
        importlib.import_module(module)
    yield Progress(1, 3, "Getting the brush ready")
    Labels(np.zeros((2, 2), np.uint32), colormap=class_colormap(()))
    yield Progress(2, 3, "Getting the brush ready")
    Labels(np.zeros((2, 2), np.uint8), colormap=DirectLabelColormap(color_dict={None: "red"}))
