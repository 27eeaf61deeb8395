"""The list of models of a kind: those that are ready first, what cannot work in grey."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from qtpy.QtCore import QEvent, QSignalBlocker, Qt, Signal
from qtpy.QtGui import QBrush, QColor, QWheelEvent
from qtpy.QtWidgets import QComboBox, QCompleter, QLineEdit, QWidget

from ..core.jobs import Job, Progress
from ..core.registry import Registry, did_you_mean
from ..models import catalog
from ..models.base import ModelError
from ..models.check import Check, check, free_memory
from .keys import let_keys_through

GREY = QBrush(QColor(150, 150, 150))
REGISTERED: dict[str, tuple[Callable[[], Registry[Any]], str]] = {
    "encoder": (catalog.encoders, catalog.DEFAULT_ENCODER),
    "segmenter": (catalog.segmenters, catalog.DEFAULT_SEGMENTER),
}
"""Where models of a kind are registered, and which is chosen at first."""


def look(kind: str) -> Job[dict[str, Check]]:
    """Find out what there is of each model of a kind of the catalogues on this computer."""
    yield Progress(0, 0, "Looking which models are here")
    memory = free_memory()
    found = {}
    for name, entry in catalog.entries().items():
        if entry.spec.kind == kind:
            found[name] = check(entry, memory=memory)
            yield Progress(len(found), 0, "Looking which models are here")
    return found


def names(kind: str) -> list[str]:
    """Names of all models of a kind, also of those that cannot be used; the usual one first."""
    registry, usual = REGISTERED[kind]
    known = (name for name, entry in catalog.entries().items() if entry.spec.kind == kind)
    return sorted({*registry().names(), *known}, key=lambda name: (name != usual, name))


class ModelPicker(QComboBox):
    """Chooses a model by its name.

    Parameters
    ----------
    kind : str
        "encoder" or "segmenter".
    searchable : bool
        A part of a name can be typed; else letters are left to the slide, whose keys they are.
    """

    chosen = Signal(str)
    not_found = Signal(str)
    """Why what was typed cannot be chosen; empty as soon as something else is typed or chosen."""

    def __init__(self, kind: str, searchable: bool = True, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._kind, self._typing = kind, QLineEdit()
        self.setMaxVisibleItems(24)
        if searchable:
            self._make_searchable()
        else:
            let_keys_through(self)
        self.addItems(names(kind))
        self.setCurrentText(REGISTERED[kind][1])
        self.currentIndexChanged.connect(self._on_index)

    @property
    def name(self) -> str:
        """Name of the model that is chosen, whatever is being typed."""
        return self.itemText(self.currentIndex())

    def setCurrentText(self, name: str | None) -> None:
        """Choose a model."""
        self.setCurrentIndex(self.findText(name or "", Qt.MatchFlag.MatchFixedString))

    def wheelEvent(self, event: QWheelEvent | None) -> None:
        """Scroll the panel: a model is not changed in passing."""
        if event is not None:
            event.ignore()

    def sort(self, checks: Mapping[str, Check]) -> None:
        """Show what is ready, what is downloaded first, and last, in grey, what lacks something.

        Parameters
        ----------
        checks : mapping
            By name; a model that is not in it comes from a plugin, which has its own ways.
        """
        chosen = self.name
        groups: tuple[list[str], ...] = ([], [], [])
        for name in names(self._kind):
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

    def _make_searchable(self) -> None:
        self.setEditable(True)
        self.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self.setToolTip("Type a part of a name to search")
        self.setLineEdit(self._typing)
        found = QCompleter(self.model(), self)
        found.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        found.setFilterMode(Qt.MatchFlag.MatchContains)
        self.setCompleter(found)
        self._typing.editingFinished.connect(self._settle)
        self._typing.textEdited.connect(lambda _: self.not_found.emit(""))

    def changeEvent(self, event: QEvent | None) -> None:
        """Give the list of names, which is a window of its own, the looks of this one."""
        super().changeEvent(event)
        completer, window = self.completer(), self.window()
        popup = completer.popup() if completer is not None else None
        if popup is not None and window is not None:
            popup.setStyleSheet(window.styleSheet())

    def _on_index(self) -> None:
        self.not_found.emit("")
        self.chosen.emit(self.name)

    def _settle(self) -> None:
        """Take the name that was typed, or the first that holds it; else say why that is not so."""
        typed = self._typing.text().strip()
        self.setEditText(self.name)
        for how in (Qt.MatchFlag.MatchFixedString, Qt.MatchFlag.MatchContains):
            if typed and (index := self.findText(typed, how)) >= 0:
                self.setCurrentIndex(index)
                return
        if typed:
            self.not_found.emit(self._why_not(typed))

    def _why_not(self, typed: str) -> str:
        known = REGISTERED[self._kind][0]()
        try:
            catalog.refuse_other_kinds(known, typed)
        except ModelError as error:
            return str(error)
        meant = did_you_mean(typed, names(self._kind))
        return f"There is no {known.kind} named “{typed}”.{meant}"
