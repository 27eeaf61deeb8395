"""The panel of the step Segment over a stage."""

from __future__ import annotations

from typing import Any

from napari_pathfm.gui.importing import Importing
from napari_pathfm.gui.more import More
from napari_pathfm.gui.prompting import Prompting
from napari_pathfm.gui.segment_panel import SegmentPanel

from .stage import DISCS, Stage


def segment_panel(stage: Stage, qtbot: Any) -> tuple[SegmentPanel, Prompting]:
    """The panel, shown, and the prompting that it steers."""
    prompting = Prompting(stage.viewer, stage.session, stage.runner, stage.edits)
    history, active = stage.edits.history, stage.edits.active
    importing = Importing(stage.viewer, stage.session, stage.runner, history, active)
    more = More(stage.viewer, stage.session, stage.runner, stage.edits, prompting)
    panel = SegmentPanel(
        stage.session, stage.runner, prompting, stage.edits, importing, stage.masks, more
    )
    qtbot.addWidget(panel)
    panel.show()
    stage.look(600, 1100, 1.5)
    return panel, prompting


def draw_box(stage: Stage) -> None:
    """Draw a box round the first disc with the mouse."""
    y, x, radius = DISCS[0]
    reach = radius + 15
    stage.drag([(y - reach, x - reach), (y, x), (y + reach, x + reach)])
