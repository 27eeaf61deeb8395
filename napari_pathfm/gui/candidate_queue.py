"""Objects that were found, one after the other: each is accepted or rejected by a key."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from app_model.types import KeyCode, KeyMod
from napari import Viewer
from qtpy.QtCore import QObject, QTimer, Signal

from ..analysis.candidate import commit_edit
from ..analysis.keep_objects import keep_candidates
from ..analysis.more_like import Like
from ..core.slide import Slide
from ..session import Session
from . import notify
from .annotate import EditWindow
from .keys import Keys, bind
from .prompt_layers import POSITIVE
from .scratch import Scratch
from .view import look_at

NAME = "more like this"
OBJECT_SHARE = 6
"""An object fills this part of the view at first, as its reciprocal."""


class CandidateQueue(QObject):
    """Shows candidates of one annotation layer in their order; what is accepted is one edit.

    Parameters
    ----------
    viewer : Viewer
    session : Session
    edit_window : EditWindow
        Its history takes the edits, its class is the one the objects get.
    """

    changed = Signal()
    """Another candidate is shown, or none any more."""

    def __init__(
        self,
        viewer: Viewer,
        session: Session,
        edit_window: EditWindow,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._viewer, self._session, self._edits = viewer, session, edit_window
        self._likes: Sequence[Like] = ()
        self._scratch: Scratch | None = None
        self.place = self.accepted = 0
        self.keys: Keys = {
            KeyCode.KeyY: self.accept,
            KeyCode.KeyR: self.reject,
            KeyMod.Shift | KeyCode.KeyY: self.accept_all,
            KeyMod.Shift | KeyCode.KeyR: self.stop,
        }
        edit_window.add_keys(self.keys)
        session.events.annotations.connect(self._on_annotations)
        edit_window.active.changed.connect(self._on_class)
        viewer.layers.events.removed.connect(self._on_removed)

    def __len__(self) -> int:
        return len(self._likes)

    @property
    def shown(self) -> Like | None:
        """The candidate that is asked about; ``None`` if there is none."""
        return self._likes[self.place] if self.place < len(self._likes) else None

    def fill(self, likes: Sequence[Like], slide: Slide) -> None:
        """Ask about candidates, the first one first; what was asked before is forgotten."""
        self.stop()
        if not likes:
            return
        self._likes, self.place, self.accepted = likes, 0, 0
        self._scratch = Scratch(slide, NAME, POSITIVE)
        active = self._viewer.layers.selection.active
        self._viewer.add_layer(self._scratch.layer)
        bind(self._scratch.layer, self._edits.keys)
        if active is not None and active in self._viewer.layers:
            self._viewer.layers.selection.active = active
        box = likes[0].candidate.box
        if box is not None:
            look_at(self._viewer, slide, box, OBJECT_SHARE)
        self._show()
        self.changed.emit()

    def accept(self) -> None:
        """Make the candidate an object, one edit, and go on to the next."""
        like = self._asked()
        if like is None:
            return
        class_id, author = self._edits.active.id, self._author
        build = partial(
            commit_edit,
            candidate=like.candidate,
            class_id=class_id,
            author=author,
            overwrite=False,
        )
        self._edits.history.commit("accept object", build)
        self.accepted += 1
        self._next()

    def reject(self) -> None:
        """Leave the candidate out, and go on to the next."""
        if self._asked() is not None:
            self._next()

    def accept_all(self) -> None:
        """Make objects of this candidate and all that follow: one edit."""
        if self._asked() is None:
            return
        rest = [like.candidate for like in self._likes[self.place :]]
        text = f"accept {len(rest)} objects"
        keep = partial(
            keep_candidates,
            candidates=rest,
            class_id=self._edits.active.id,
            author=self._author,
            text=text,
        )
        self._edits.history.work(text, keep)
        self.accepted += len(rest)
        self.stop()

    def stop(self) -> None:
        """Ask about no candidate any more; what was accepted stays."""
        scratch, self._scratch = self._scratch, None
        self._likes, self.place = (), 0
        if scratch is not None and scratch.layer in self._viewer.layers:
            self._viewer.layers.remove(scratch.layer)
        self.changed.emit()

    @property
    def _author(self) -> str:
        project = self._session.project
        return project.author if project is not None else ""

    def _asked(self) -> Like | None:
        if self.shown is None:
            notify.tell("There is nothing to accept: choose an object, then “More like this”.")
        elif self._session.refusal:
            notify.warn(f"Nothing can be kept: {self._session.refusal}.")
            return None
        return self.shown

    def _next(self) -> None:
        self.place += 1
        if self.shown is None:
            total, accepted = len(self._likes), self.accepted
            self.stop()
            notify.tell(f"That was the last one: {accepted} of {total} accepted.")
            return
        self._show()
        self.changed.emit()

    def _show(self) -> None:
        like, slide = self.shown, self._session.slide
        self._on_class()
        if like is not None and slide is not None and like.candidate.box is not None:
            look_at(self._viewer, slide, like.candidate.box)

    def _on_class(self, *_: object) -> None:
        like, row = self.shown, self._edits.active.row
        if like is not None and self._scratch is not None:
            self._scratch.show(like.candidate, row.color if row is not None else POSITIVE)

    def _on_annotations(self, *_: object) -> None:
        self.stop()

    def _on_removed(self, event: Any) -> None:
        if self._scratch is not None and event.value is self._scratch.layer:
            QTimer.singleShot(0, self.stop)
