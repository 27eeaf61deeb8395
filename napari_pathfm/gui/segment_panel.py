"""Step 4: segment by prompts, correct by hand."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QGridLayout,
    QLayout,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from ..models.base import Encoder
from ..session import Session
from .annotate import EditWindow
from .annotation_layers import AnnotationLayers
from .buttons import button, two_columns
from .chosen_segmenter import LOAD_SLOT
from .class_list import ClassList
from .encoders import fresh
from .example_box import ExampleBox
from .follow import follow
from .history_panel import HistoryPanel
from .import_bar import ImportBar
from .importing import Importing
from .layer_switch import LayerSwitch
from .model_chooser import ModelChooser
from .more import More
from .more_box import MoreBox
from .object_table import ObjectTable
from .prompt_buttons import PromptButtons
from .prompting import Prompting
from .runner import Runner

TEXT_PX = 138
"""Width of the text of an undo or redo button: two fit into the dock beside its scroll bar."""


class SegmentPanel(QWidget):
    """Everything of the step in one place; the keys stand on the buttons.

    Parameters
    ----------
    session : Session
    runner : Runner
    prompting : Prompting
    edit_window : EditWindow
    importing : Importing
    layers : AnnotationLayers
    more : More
    loader : callable
        Takes the name of an encoder and returns what loads it, for segmenting by example.
    """

    def __init__(
        self,
        session: Session,
        runner: Runner,
        prompting: Prompting,
        edit_window: EditWindow,
        importing: Importing,
        layers: AnnotationLayers,
        more: More,
        loader: Callable[[str], Callable[[], Encoder]] = fresh,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._session, self._prompting, self._edits = session, prompting, edit_window
        self.model = ModelChooser("segmenter", session, runner, LOAD_SLOT, searchable=False)
        self.segmenter = self.model.picker
        self.classes = ClassList(session, edit_window.active, edit_window.class_changes, runner)
        self.prompts = PromptButtons(prompting)
        self.more = MoreBox(more, session)
        self.table = ObjectTable(session, runner, edit_window.history)
        self.examples = ExampleBox(
            session, runner, prompting, edit_window, loader, self.table.selected
        )
        self.imports = ImportBar(importing, session)
        self.layers = LayerSwitch(session, layers)
        self.history = HistoryPanel(session, runner, edit_window.history)
        self.tabs = QTabWidget()
        self.tabs.setDocumentMode(True)
        if bar := self.tabs.tabBar():
            bar.setDrawBase(False)  # a white line where no tab is
        self.tabs.addTab(self._draw_page(), "Draw")
        self.tabs.addTab(_page(self.more, self.examples, stretch=1), "Find")
        self.tabs.addTab(_page(self.imports, self.table), "Objects")
        self.tabs.addTab(_page(self.history), "History")
        column = QVBoxLayout(self)
        column.addWidget(self.layers)
        column.addWidget(self.classes)
        column.addWidget(self.tabs, 1)
        self._connect()
        self._on_history()

    def blocked(self) -> str:
        """Why the step cannot be done yet; empty when it can."""
        if self._session.slide is None:
            return "open a slide first"
        if self._session.annotations is None:
            return "no project is open"
        return ""

    def _draw_page(self) -> QWidget:
        parts = self.model, self.model.question, self.prompts, self._hand_buttons()
        return _page(*parts, stretch=1)

    def _hand_buttons(self) -> QGridLayout:
        edits = self._edits
        self.brush_button = button(
            "Brush [D]", edits.paint, "Paint a new object, or more of the chosen one"
        )
        self.eraser_button = button("Eraser [E]", edits.erase, "Take pixels away")
        self.new_button = button(
            "New object [M]", edits.new_object, "The next stroke makes a new object"
        )
        self.undo_button = button("Undo", edits.history.undo, "Ctrl+Z")
        self.redo_button = button("Redo", edits.history.redo, "Ctrl+Shift+Z")
        self._hand_tips = {
            each: each.toolTip()
            for each in (self.brush_button, self.eraser_button, self.new_button)
        }
        grid = two_columns(
            self.brush_button, self.eraser_button, self.undo_button, self.redo_button
        )
        grid.addWidget(self.new_button, 2, 0, 1, 2)
        return grid

    def _connect(self) -> None:
        self.model.changed.connect(self._on_model)
        self._prompting.segmenter.ask_first(self.model.permit)
        self._edits.history.changed.connect(self._on_history)
        follow(self, (self._session.events.project, self._on_project))
        self._on_project()
        self.table.jump.connect(self._edits.show_object)

    def _on_project(self) -> None:
        why = self._session.refusal
        for each, tip in self._hand_tips.items():
            each.setEnabled(not why)
            each.setToolTip(f"Not now: {why}" if why else tip)

    def _on_model(self) -> None:
        self._prompting.set_segmenter(self.model.name, self.model.given)

    def _on_history(self) -> None:
        history = self._edits.history
        undo, redo = history.undo_text(), history.redo_text()
        for each, what, key, text in (
            (self.undo_button, "Undo", "Ctrl+Z", undo),
            (self.redo_button, "Redo", "Ctrl+Shift+Z", redo),
        ):
            # The name of a file that was imported would make the panel wider than its dock.
            words, right = f"{what} {text}".strip(), Qt.TextElideMode.ElideRight
            each.setText(each.fontMetrics().elidedText(words, right, TEXT_PX))
            each.setToolTip(f"{key}: {text}" if text else key)
            each.setEnabled(bool(text))


def _page(*parts: QWidget | QLayout, stretch: int = 0) -> QWidget:
    page = QWidget()
    column = QVBoxLayout(page)
    column.setContentsMargins(0, 4, 0, 0)
    for part in parts:
        if isinstance(part, QWidget):
            column.addWidget(part)
        else:
            column.addLayout(part)
    if stretch:
        column.addStretch(stretch)
    return page
