"""What can be done with the object in work: buttons that show their keys, and its state."""

from __future__ import annotations

from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from .buttons import button, two_columns
from .prompting import Prompting


class PromptButtons(QWidget):
    """Prompts, answer, and what becomes of it.

    Parameters
    ----------
    prompting : Prompting
    """

    def __init__(self, prompting: Prompting, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._prompting = prompting
        self.box = button("Box [B]", prompting.box_mode, "Draw a box round an object")
        self.point = button("Point [P]", prompting.point_mode, "Click on an object")
        self.scribble = button(
            "Scribble [F]", prompting.scribble_mode, "Draw a line on an object, or beside it"
        )
        self.sign = button("", prompting.toggle_sign, "Sign of the next point or line")
        self.segment = button("Segment [S]", prompting.segment, "Answer the prompts again")
        self.other = button(
            "Other mask [O]", prompting.other_mask, "Show the segmenter's next best answer"
        )
        self.commit = button("Commit [C]", prompting.commit, "Keep the object")
        self.next = button(
            "Next [N]", prompting.next_object, "Keep the object, if there is one; begin the next"
        )
        self.add = button(
            "Add [A]",
            prompting.add_to_chosen,
            "Give what is in work to the chosen object, or else the one below",
        )
        self.take = button(
            "Take away [X]",
            prompting.take_from_chosen,
            "Take it from the chosen object, or else the one below",
        )
        self.again = button(
            "Again [G]",
            prompting.segment_again,
            "Segment the chosen object again, with the segmenter above; Commit then replaces it",
        )
        self.clear = button("Clear [Shift+C]", prompting.clear, "Forget the prompts")
        self.at_once = button(
            "At once [Q]",
            prompting.toggle_at_once,
            "Each click and each box becomes an object without another key",
        )
        self.at_once.setCheckable(True)
        self.over = button(
            "", prompting.toggle_overwrite, "Whether objects take pixels from their neighbours"
        )
        self.state = QLabel()
        self.state.setWordWrap(True)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(
            two_columns(
                self.box,
                self.point,
                self.scribble,
                self.sign,
                self.segment,
                self.other,
                self.commit,
                self.next,
                self.add,
                self.take,
                self.again,
                self.clear,
                self.at_once,
                self.over,
            )
        )
        column.addWidget(self.state)
        prompting.changed.connect(self._on_prompting)
        self._on_prompting()

    def _on_prompting(self) -> None:
        prompting = self._prompting
        refusal = prompting.segmenter.refusal("points")
        for each in (self.point, self.scribble, self.sign):
            each.setEnabled(not refusal)
        self.point.setToolTip(refusal or "Click on an object")
        self.sign.setText(f"Points: {'on the object' if prompting.positive else 'beside it'} [T]")
        self.at_once.setChecked(prompting.at_once)
        neighbours = "taken from" if prompting.work.overwrite else "kept"
        self.over.setText(f"Neighbours: {neighbours} [V]")
        candidate = prompting.work.candidate
        for each in (self.commit, self.other, self.add, self.take):
            each.setEnabled(candidate is not None)
        lines = [f"Points: {refusal}"] if refusal else []
        if candidate is not None:
            lines.insert(0, f"Object in work: score {candidate.score:.2f} ({candidate.model})")
        elif prompting.encoded_here:
            lines.append("Encoded here: a click is answered at once")
        self.state.setText("<br>".join(lines))
