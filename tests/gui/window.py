"""A window with everything in it, and hands, eyes and ears of a user."""

from __future__ import annotations

from pathlib import Path

from napari import Viewer
from napari.utils.notifications import Notification, notification_manager

from napari_pathfm.gui.commands import open_dock
from napari_pathfm.gui.driver import Driver


class Window:
    """Dock, workspace and driver of a viewer, and the messages that the user saw."""

    def __init__(self, viewer: Viewer, folder: Path) -> None:
        self.viewer = viewer
        self.messages: list[str] = []
        notification_manager.notification_ready.connect(self._hear)
        self.dock = open_dock(viewer)
        self.place = self.dock.place
        self.session = self.place.session
        self.driver = Driver(viewer, folder / "pictures")

    def open(self, slide: Path, project: Path) -> None:
        """Open a slide into a project and wait until it can be worked on."""
        self.place.open_project(project)
        self.place.open(slide)
        self.driver.wait(lambda: self.session.annotations is not None, "the slide", 60)

    def find_tiles(self, mpp: float = 2.0) -> None:
        """Cut the slide into tiles; few ones, for they are large."""
        self.dock.slide.tile_mpp.setValue(mpp)
        self.dock.slide.tiles_button.click()
        self.driver.wait(lambda: self.session.grid is not None, "the tiles", 60)

    def embedded(self) -> None:
        """Wait until all tiles are embedded."""
        self.driver.wait(lambda: not self.place.embedding.busy, "the end of embedding", 120)
        assert self.session.embeddings is not None

    def heard(self, *words: str) -> None:
        """Wait for a message that holds all the words."""
        self.driver.wait(
            lambda: any(all(word in said for word in words) for said in self.messages),
            f"{words} in {self.messages}",
            60,
        )

    def rest(self) -> None:
        """Wait until nothing runs."""
        self.driver.wait(lambda: not self.place.runner.running, "rest", 120)

    def _hear(self, notification: Notification) -> None:
        self.messages.append(str(notification.message))
