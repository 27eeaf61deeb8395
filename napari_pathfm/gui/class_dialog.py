"""Asks where the objects of a class go when it is merged or deleted."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtWidgets import (
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QLabel,
    QVBoxLayout,
    QWidget,
)

from ..core.edits import AnnotationClass
from .colors import swatch


class ClassDialog(QDialog):
    """A question with one box; open it with ``open()`` and look at :meth:`target` when accepted.

    Parameters
    ----------
    one : AnnotationClass
        The class that goes.
    others : sequence of AnnotationClass
        Where its objects may go.
    merge : bool
        Merge it, rather than delete it: then there is no "no class".
    """

    def __init__(
        self,
        one: AnnotationClass,
        others: Sequence[AnnotationClass],
        merge: bool,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        verb = "Merge" if merge else "Delete"
        self.setWindowTitle(f"{verb} class {one.name}")
        self.count = QLabel("Counting its objects…")
        self.count.setWordWrap(True)
        self.box = QComboBox()
        if not merge:
            self.box.addItem("no class", 0)
        for other in others:
            self.box.addItem(swatch(other.color), other.name, other.id)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
        self.ok_button = buttons.addButton(verb, QDialogButtonBox.ButtonRole.AcceptRole)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        column = QVBoxLayout(self)
        column.addWidget(self.count)
        column.addWidget(QLabel(f"Everything of the class “{one.name}” goes to"))
        column.addWidget(self.box)
        column.addWidget(QLabel("One step: Ctrl+Z takes it back."))
        column.addWidget(buttons)

    def target(self) -> int:
        """Id of the class that was chosen; 0 for none."""
        return int(self.box.currentData())

    def show_count(self, objects: int, slides: int, tiles: int) -> None:
        """Say what it concerns."""
        parts = []
        if objects:
            parts.append(f"{_many(objects, 'object')} in {_many(slides, 'slide')}")
        if tiles:
            parts.append(_many(tiles, "labelled tile"))
        self.count.setText(f"It has {' and '.join(parts)}." if parts else "Nothing is of it yet.")


def _many(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
