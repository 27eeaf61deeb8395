from __future__ import annotations

import gc
from typing import Any

from psygnal import Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_pathfm.gui.follow import follow


class Source:
    changed = Signal(int)


class Follower(QWidget):
    def __init__(self, source: Source, seen: list[str]) -> None:
        super().__init__()
        self.seen = seen
        self.itself = self  # a cycle, as of a widget whose button calls its method
        follow(self, (source.changed, self.on_change))

    def on_change(self) -> None:
        self.seen.append("changed")


def test_follows_until_it_is_destroyed(qtbot: Any) -> None:
    source, seen = Source(), []  # type: ignore[var-annotated]
    follower = Follower(source, seen)
    source.changed.emit(1)
    follower.deleteLater()
    qtbot.wait(20)
    source.changed.emit(2)
    assert seen == ["changed"]


def test_many_may_be_collected_as_cycles(qtbot: Any) -> None:
    source, seen = Source(), []  # type: ignore[var-annotated]
    for _ in range(20):
        children = [Follower(source, seen) for _ in range(3)]
        parent = QWidget()  # younger than its children: it is cleared after them
        parent.itself = parent  # type: ignore[attr-defined]
        column = QVBoxLayout(parent)
        for child in children:
            column.addWidget(child)
        del parent, column, children, child
        gc.collect()
    source.changed.emit(1)
    assert seen == []
    assert not len(source.changed)
