"""What takes long the first time, done while nobody waits for it."""

from __future__ import annotations

import numpy as np
from napari.layers import Labels
from napari.utils.colormaps import DirectLabelColormap

from ..core.jobs import Job, Progress
from .label_codes import class_colormap


def warm_up() -> Job[None]:
    """Let numba compile what napari needs to show labels (0.7 s for each kind of them)."""
    yield Progress(0, 2, "Getting the brush ready")
    Labels(np.zeros((2, 2), np.int64), colormap=class_colormap(()))
    yield Progress(1, 2, "Getting the brush ready")
    Labels(np.zeros((2, 2), np.uint8), colormap=DirectLabelColormap(color_dict={None: "red"}))
