"""Keys of the segmenting step, bound where napari's own would win over the viewer's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from app_model.types import KeyCode, KeyMod
from qtpy.QtCore import QEvent, QObject
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import QWidget

UNDO = KeyMod.CtrlCmd | KeyCode.KeyZ
REDO = KeyMod.CtrlCmd | KeyMod.Shift | KeyCode.KeyZ

Keys = Mapping[Any, Callable[[], object]]


def bind(target: Any, keys: Keys) -> None:
    """Bind keys to actions on a viewer or on one layer, over what napari binds there.

    Parameters
    ----------
    target : Viewer or Layer
    keys : mapping
        From a key to a callable without arguments.
    """
    for key, action in keys.items():
        target.bind_key(key, _ignoring_target(action), overwrite=True)


def let_keys_through(*widgets: QWidget) -> None:
    """Let letters and digits work in lists and boxes, too, which would search with them.

    A click on a class or an object leaves the focus there; the next key is meant for the slide.
    """
    for widget in widgets:
        widget.installEventFilter(_Passing(widget))


class _Passing(QObject):
    def eventFilter(self, _: QObject | None, event: QEvent | None) -> bool:
        if not isinstance(event, QKeyEvent) or not event.text().isalnum():
            return False
        event.ignore()  # Qt offers it to the parents, and the window hands it to the canvas
        return event.type() == QEvent.Type.KeyPress


def _ignoring_target(action: Callable[[], object]) -> Callable[[Any], None]:
    def press(_: Any) -> None:
        action()

    return press
