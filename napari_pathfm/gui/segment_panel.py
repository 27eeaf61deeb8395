"""Step 4: segment by prompts, correct by hand."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtWidgets import (
    QGridLayout,
    QLabel,
    QLayout,
    QPushButton,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from ..models.base import Encoder
from ..session import Session
from .annotate import EditWindow
from .annotation_layers import AnnotationLayers
from .class_list import ClassList
from .encoders import fresh
from .example_box import ExampleBox
from .follow import follow
from .history_panel import HistoryPanel
from .import_bar import ImportBar
from .importing import Importing
from .layer_switch import LayerSwitch
from .model_chooser import ModelChooser
from .object_table import ObjectTable
from .prompting import LOAD_SLOT, Prompting
from .runner import Runner

TEXT = 16
"""Letters of a step of the history that a button shows."""


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
        loader: Callable[[str], Callable[[], Encoder]] = fresh,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._session, self._prompting, self._edits = session, prompting, edit_window
        self.model = ModelChooser("segmenter", session, runner, LOAD_SLOT, searchable=False)
        self.segmenter = self.model.picker
        self.classes = ClassList(session, edit_window.active, edit_window.class_changes, runner)
        self.state = QLabel()
        self.state.setWordWrap(True)
        self.table = ObjectTable(session, runner, edit_window.history)
        self.imports = ImportBar(importing, session)
        self.layers = LayerSwitch(session, layers)
        self.history = HistoryPanel(session, runner, edit_window.history)
        self.examples = ExampleBox(session, runner, prompting, edit_window, loader)
        self.tabs = QTabWidget()
        self.tabs.setDocumentMode(True)
        if bar := self.tabs.tabBar():
            bar.setDrawBase(False)  # a white line where no tab is
        self.tabs.addTab(self._draw_page(), "Draw")
        self.tabs.addTab(_page(self.imports, self.table), "Objects")
        self.tabs.addTab(_page(self.history), "History")
        self.tabs.addTab(_page(self.examples, stretch=1), "By example")
        column = QVBoxLayout(self)
        column.addWidget(self.layers)
        column.addWidget(self.classes)
        column.addWidget(self.tabs, 1)
        self._connect()
        self._on_prompting()
        self._on_history()

    def blocked(self) -> str:
        """Why the step cannot be done yet; empty when it can."""
        if self._session.slide is None:
            return "open a slide first"
        if self._session.annotations is None:
            return "no project is open"
        return ""

    def _draw_page(self) -> QWidget:
        prompts, hand = self._prompt_buttons(), self._hand_buttons()
        return _page(self.model, self.model.question, prompts, self.state, hand, stretch=1)

    def _prompt_buttons(self) -> QGridLayout:
        prompting = self._prompting
        self.box_button = _button("Box [B]", prompting.box_mode, "Draw a box round an object")
        self.point_button = _button("Point [P]", prompting.point_mode, "Click on an object")
        self.toggle_button = _button("", prompting.toggle_sign, "Sign of the next point")
        self.segment_button = _button("Segment [S]", prompting.segment, "Answer the prompts again")
        self.commit_button = _button("Commit [C]", prompting.commit, "Keep the object")
        self.clear_button = _button("Clear [Shift+C]", prompting.clear, "Forget the prompts")
        self.next_button = _button(
            "Next [N]", prompting.next_object, "Keep the object, if there is one; begin the next"
        )
        self.other_button = _button(
            "Other mask [O]", prompting.other_mask, "Show the segmenter's next best answer"
        )
        self.add_button = _button(
            "Add [A]", prompting.add_to_chosen, "Give what is in work to the chosen object"
        )
        self.take_button = _button(
            "Take away [X]", prompting.take_from_chosen, "Take it from the chosen object"
        )
        return _grid(
            self.box_button,
            self.point_button,
            self.toggle_button,
            self.segment_button,
            self.other_button,
            self.clear_button,
            self.commit_button,
            self.next_button,
            self.add_button,
            self.take_button,
        )

    def _hand_buttons(self) -> QGridLayout:
        edits = self._edits
        self.brush_button = _button(
            "Brush [D]", edits.paint, "Paint a new object, or more of the chosen one"
        )
        self.eraser_button = _button("Eraser [E]", edits.erase, "Take pixels away")
        self.new_button = _button(
            "New object [M]", edits.new_object, "The next stroke makes a new object"
        )
        self.undo_button = _button("Undo", edits.history.undo, "Ctrl+Z")
        self.redo_button = _button("Redo", edits.history.redo, "Ctrl+Shift+Z")
        self._hand_tips = {
            button: button.toolTip()
            for button in (self.brush_button, self.eraser_button, self.new_button)
        }
        grid = _grid(self.brush_button, self.eraser_button, self.undo_button, self.redo_button)
        grid.addWidget(self.new_button, 2, 0, 1, 2)
        return grid

    def _connect(self) -> None:
        self.model.changed.connect(self._on_model)
        self._prompting.ask_first(self.model.permit)
        self._prompting.changed.connect(self._on_prompting)
        self._edits.history.changed.connect(self._on_history)
        follow(self, (self._session.events.project, self._on_project))
        self._on_project()
        self.table.jump.connect(self._edits.show_object)

    def _on_project(self) -> None:
        why = self._session.refusal
        for button, tip in self._hand_tips.items():
            button.setEnabled(not why)
            button.setToolTip(f"Not now: {why}" if why else tip)

    def _on_model(self) -> None:
        self._prompting.set_segmenter(self.model.name, self.model.given)

    def _on_prompting(self) -> None:
        prompting = self._prompting
        refusal = prompting.refusal("points")
        self.point_button.setEnabled(not refusal)
        self.toggle_button.setEnabled(not refusal)
        self.point_button.setToolTip(refusal or "Click on an object")
        sign = "on the object" if prompting.positive else "beside it"
        self.toggle_button.setText(f"Points: {sign} [T]")
        candidate = prompting.candidate
        needing = self.commit_button, self.other_button, self.add_button, self.take_button
        for button in needing:
            button.setEnabled(candidate is not None)
        lines = [f"Points: {refusal}"] if refusal else []
        if candidate is not None:
            lines.insert(0, f"Object in work: score {candidate.score:.2f} ({candidate.model})")
        self.state.setText("<br>".join(lines))

    def _on_history(self) -> None:
        history = self._edits.history
        undo, redo = history.undo_text(), history.redo_text()
        for button, what, key, text in (
            (self.undo_button, "Undo", "Ctrl+Z", undo),
            (self.redo_button, "Redo", "Ctrl+Shift+Z", redo),
        ):
            # The name of a file that was imported would make the panel wider than its dock.
            short = text if len(text) <= TEXT else f"{text[: TEXT - 1]}…"
            button.setText(f"{what} {short}".strip())
            button.setToolTip(f"{key}: {text}" if text else key)
            button.setEnabled(bool(text))


def _button(text: str, action: object, tip: str) -> QPushButton:
    button = QPushButton(text)
    button.setToolTip(tip)
    button.clicked.connect(lambda: action())  # type: ignore[operator]
    return button


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


def _grid(*buttons: QPushButton) -> QGridLayout:
    grid = QGridLayout()
    for place, button in enumerate(buttons):
        grid.addWidget(button, place // 2, place % 2)
    return grid
