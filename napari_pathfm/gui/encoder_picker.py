"""The list of encoders: those that are ready first, what cannot work in grey; type to search."""

from __future__ import annotations

from collections.abc import Mapping

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtGui import QBrush, QColor
from qtpy.QtWidgets import QComboBox, QCompleter, QLineEdit, QWidget

from ..core.jobs import Job, Progress
from ..models import catalog
from ..models.check import Check, check, free_memory

GREY = QBrush(QColor(128, 128, 128))


def look() -> Job[dict[str, Check]]:
    """Find out what there is of each encoder of the catalogues on this computer."""
    yield Progress(0, 0, "Looking which models are here")
    memory = free_memory()
    found = {}
    for name, entry in catalog.entries().items():
        if entry.spec.kind == "encoder":
            found[name] = check(entry, memory=memory)
            yield Progress(len(found), 0, "Looking which models are here")
    return found


class EncoderPicker(QComboBox):
    """Chooses an encoder by its name."""

    chosen = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setEditable(True)
        self.setMaxVisibleItems(24)
        self.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self.setToolTip("Type a part of a name to search")
        self._typing = QLineEdit()
        self.setLineEdit(self._typing)
        names = QCompleter(self.model(), self)
        names.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        names.setFilterMode(Qt.MatchFlag.MatchContains)
        self.setCompleter(names)
        self.addItems(catalog.encoders().names())
        self.setCurrentText(catalog.DEFAULT_ENCODER)
        self.currentIndexChanged.connect(lambda _: self.chosen.emit(self.name))
        self._typing.editingFinished.connect(self._settle)

    @property
    def name(self) -> str:
        """Name of the encoder that is chosen, whatever is being typed."""
        return self.itemText(self.currentIndex())

    def setCurrentText(self, name: str | None) -> None:
        """Choose an encoder."""
        self.setCurrentIndex(self.findText(name or "", Qt.MatchFlag.MatchFixedString))

    def sort(self, checks: Mapping[str, Check]) -> None:
        """Show what is ready, what is downloaded first, and last, in grey, what lacks something.

        Parameters
        ----------
        checks : mapping
            By name; an encoder that is not in it comes from a plugin, which has its own ways.
        """
        chosen = self.name
        groups: tuple[list[str], ...] = ([], [], [])
        for name in catalog.encoders().names():
            found = checks.get(name)
            rank = 0 if found is None or found.ready else 2 if found.obstacles else 1
            groups[rank].append(name)
        with QSignalBlocker(self):
            self.clear()
            for group in filter(None, groups):
                if self.count():
                    self.insertSeparator(self.count())
                for name in group:
                    self._add(name, checks.get(name))
            self.setCurrentText(chosen)

    def _add(self, name: str, found: Check | None) -> None:
        self.addItem(name)
        index = self.count() - 1
        if found is None:
            return
        words = "on this computer" if found.on_disk else "is downloaded the first time"
        if found.obstacles:
            words = "\n".join(map(str, found.obstacles))
            self.setItemData(index, GREY, Qt.ItemDataRole.ForegroundRole)
        self.setItemData(index, words, Qt.ItemDataRole.ToolTipRole)

    def _settle(self) -> None:
        """Take the name that was typed, or the first that holds it; else nothing changes."""
        typed = self._typing.text().strip()
        for how in (Qt.MatchFlag.MatchFixedString, Qt.MatchFlag.MatchContains):
            if typed and (index := self.findText(typed, how)) >= 0:
                self.setCurrentIndex(index)
                break
        self.setEditText(self.name)
