"""The step Slide: what is entered, and what is there."""

from __future__ import annotations

from typing import Any

import numpy as np

from napari_pathfm.core.tiles import TileSpec, make_grid
from napari_pathfm.gui.slide_panel import SlidePanel

from .stage import Stage


def test_the_fields_say_how_the_tiles_that_are_shown_were_cut(stage: Stage, qtbot: Any) -> None:
    panel = SlidePanel(stage.session, stage.runner)
    qtbot.addWidget(panel)
    slide, tissue = stage.slide, np.ones((10, 10), bool)
    spec = TileSpec(256, 1.0, 0.25, 0.1)
    stage.session.set_grid(make_grid(slide.id, slide.levels, slide.mpp, spec, tissue))
    assert panel.value() == spec
    assert panel.result.text().endswith(" tiles")
    other = TileSpec(128, 2.0, 0.0, 0.0)  # as another program's: it says nothing of tissue
    stage.session.set_grid(make_grid(slide.id, slide.levels, slide.mpp, other, tissue))
    assert panel.value() == TileSpec(128, 2.0, 0.0, 0.1)
