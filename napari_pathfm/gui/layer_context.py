"""What the context menu of napari's list of layers offers beside napari's own entries.

napari's manifest has no place for it, so it is registered with napari's application.
"""

from __future__ import annotations

from app_model.expressions import parse_expression
from app_model.types import Action, MenuRule
from napari._app_model import get_app_model

MENU, GROUP = "napari/layers/context", "1_conversion"
SHAPES_TO_OBJECTS = "napari-pathfm.context.shapes_to_objects"
ONLY_SHAPES = "num_selected_shapes_layers == 1 and num_selected_layers == 1"


def offer_in_layer_list() -> None:
    """Register the entries, unless that is done; they serve every window of the program."""
    from .commands import shapes_to_objects

    app = get_app_model()
    if SHAPES_TO_OBJECTS not in app.commands:
        rule = MenuRule(id=MENU, group=GROUP, when=parse_expression(ONLY_SHAPES))
        title = "Shapes to objects (PathFM)"
        app.register_action(
            Action(id=SHAPES_TO_OBJECTS, title=title, callback=shapes_to_objects, menus=[rule])
        )
