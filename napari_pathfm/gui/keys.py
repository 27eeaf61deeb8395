"""Keys of the segmenting step, bound where napari's own would win over the viewer's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from app_model.types import KeyCode, KeyMod

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


def _ignoring_target(action: Callable[[], object]) -> Callable[[Any], None]:
    def press(_: Any) -> None:
        action()

    return press
