"""Take the pictures of the README and the documentation: ``make screenshots [SLIDE=file]``.

They are those of the demo and of what it leaves out, with the default encoder's real weights, and
reduced to 256 colours so that the repository stays small.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from qtpy.QtCore import Qt

from napari_pathfm.analysis.train_slides import (
    LabelledSlide,
    Training,
    new_model_file,
    save_classifier,
    train_slides,
)
from napari_pathfm.core.embeddings import Embeddings
from napari_pathfm.core.jobs import run
from napari_pathfm.gui.demo import Demo
from napari_pathfm.gui.driver import DriverError
from napari_pathfm.io.samples import sample_slide
from napari_pathfm.models import catalog
from napari_pathfm.models.slide_classifier import BagSource

IMAGES = Path(__file__).parent / "images"
WINDOW = (1600, 1000)
DOCK_PX = 480
"""Height of what is shown of the dock."""

ATTENTION = "attention"
"""Name of the layer, and of its picture."""

NUCLEI, NUCLEUS_UM, VIEW_UM = 5, (4.0, 14.0), 50.0
"""How many nuclei are examples, between which sides their boxes lie, and a third of the view's."""

PARTS, PART_TILES = 60, 12
"""What a head of slides is trained on: random parts of the one slide there is."""


class Pictures(Demo):
    """The demo, and pictures of choosing a model and of a trained head's attention."""

    def explore(self) -> None:
        """Explore, and then what the demo leaves out."""
        super().explore()
        self.choose_models()
        self.attention()

    def choose_models(self) -> None:
        """Show what is said of a model behind a gate, and what is asked before another is used."""
        panel = self.dock.embed
        self.dock.steps.open(panel)
        self.driver.wait(lambda: not self.place.runner.running, "what is known of models", 120)
        panel.encoder.setCurrentText("virchow2")
        self._of_dock("gated")
        panel.encoder.setCurrentText("phikon")
        panel.question.ask(catalog.entries()["phikon"].spec, lambda: None)
        self._of_dock("licence")
        panel.question.hide()
        panel.encoder.setCurrentText(self.encoder)

    def attention(self) -> None:
        """Train a head on parts of the slide and show which tiles count for it."""
        session, explore = self.place.session, self.dock.explore
        grid, project = session.grid, session.project
        if session.embeddings is None or session.clusters is None or grid is None or not project:
            raise DriverError("there are no clusters to make labels of")
        spec = grid.spec
        source = BagSource(
            session.embeddings.key, session.embeddings.vectors.shape[1], spec.tile_px, spec.mpp
        )
        parts = parts_of(session.embeddings, session.clusters == 0)
        training = Training(hidden=64, epochs=40, rate=1e-3)
        model = run(train_slides(parts, [source], training))
        save_classifier(model, new_model_file(project.models, "cluster-1"))
        self.dock.steps.open(explore)
        explore.attention.offer()
        explore.attention.button.click()
        self.driver.wait(lambda: not self.place.runner.running, "the attention", 60)
        self.driver.picture(ATTENTION)

    def segment(self) -> None:
        """Segment, and then show each gesture on what was found."""
        for layer in self.viewer.layers:
            if layer.name == ATTENTION:
                layer.visible = False  # it would lie over the objects
        super().segment()
        self.click()
        self.change_shape()
        self.find_more()
        self.by_example()

    def click(self) -> None:
        """Click on an object and beside it, then draw a line on another."""
        prompting, driver, scale = self.place.prompting, self.driver, self.slide.mpp or 1.0
        prompting.clear()
        y0, x0, y1, x1 = self._boxes()[0]
        place = (y0 + y1) / 2 * scale, (x0 + x1) / 2 * scale
        self.place.jump((y0 + y1) / 2, (x0 + x1) / 2, 2 * max(y1 - y0, x1 - x0))
        prompting.point_mode()
        driver.move(place)
        driver.wait(lambda: prompting.encoded_here, "the mask under the pointer", 120)
        driver.picture("preview")
        driver.click(place)
        driver.wait(lambda: prompting.work.candidate is not None, "a mask", 120)
        driver.press_key("T")
        before = prompting.work.candidate
        driver.click((y0 * scale, x0 * scale))
        driver.wait(lambda: prompting.work.candidate is not before, "the corrected mask", 120)
        driver.picture("clicks")
        driver.press_key("T")
        prompting.clear()
        prompting.scribble_mode()
        width = (x1 - x0) * scale / 3
        driver.drag((place[0], place[1] - width), (place[0], place[1] + width))
        driver.wait(lambda: prompting.work.candidate is not None, "a mask", 120)
        driver.picture("scribble")
        prompting.clear()

    def change_shape(self) -> None:
        """Show an object as a polygon."""
        polygon, layer = self.place.polygon, self._annotations()
        polygon.start(next(iter(layer.objects)))
        self.driver.wait(lambda: polygon.layer is not None, "the polygon", 60)
        self.driver.picture("polygon")
        polygon.cancel()

    def find_more(self) -> None:
        """Look for more like the first object, then for everything of its size in view."""
        panel, more, layer = self.dock.segment, self.place.more, self._annotations()
        panel.tabs.setCurrentIndex(1)
        self.place.edit_window.choose_object(next(iter(layer.objects)))
        y, x = self.viewer.scene.camera.center[-2:]
        self.viewer.scene.camera.zoom /= 3
        more.like_this()
        self.driver.wait(lambda: not self.place.runner.running, "the search", 600)
        if more.queue.shown is not None:
            self.driver.picture("more-like-this")
            more.queue.stop()
        self.viewer.scene.camera.center = (0.0, y, x)
        count = len(layer.objects)
        more.everything()
        self._take_new("everything", count)
        self.place.edit_window.new_object()  # the next stroke is not the example's
        panel.tabs.setCurrentIndex(0)

    def by_example(self) -> None:
        """Click on some nuclei, save them as examples and segment what is like them."""
        panel, prompting, layer = self.dock.segment, self.place.prompting, self._annotations()
        scale, before = self.slide.mpp or 1.0, set(layer.objects)
        boxes = self.dark_boxes()
        sides = (boxes[:, 2:] - boxes[:, :2]) * scale
        boxes = boxes[(sides.min(1) > NUCLEUS_UM[0]) & (sides.max(1) < NUCLEUS_UM[1])]
        centers = (boxes[:, :2] + boxes[:, 2:]) / 2
        middle = np.median(centers, axis=0)
        centers = centers[np.square(centers - middle).sum(1).argsort()][:NUCLEI]
        self.place.jump(float(middle[0]), float(middle[1]), VIEW_UM / scale)
        prompting.toggle_at_once()
        prompting.point_mode()
        for y, x in centers:
            self.driver.click((y * scale, x * scale))
            self.driver.idle(0.3)
            self.driver.wait(lambda: not self.place.runner.running, "a nucleus", 120)
        prompting.toggle_at_once()
        panel.tabs.setCurrentIndex(1)
        examples, count = panel.examples, len(layer.objects)
        examples.line.setText("nucleus")
        for number in set(layer.objects) - before:
            self.place.edit_window.choose_object(number)
            examples.save_button.click()
            self.driver.wait(lambda: not self.place.runner.running, "the example", 60)
        examples.segment_button.click()
        self._take_new("by-example", count)
        while set(layer.objects) != before:
            self.driver.press_key("Z", Qt.KeyboardModifier.ControlModifier)
            self.driver.idle(0.5)
        self.place.edit_window.new_object()
        panel.tabs.setCurrentIndex(0)

    def _take_new(self, name: str, count: int) -> None:
        """Take a picture of what comes to so many objects, and take it back."""
        layer = self._annotations()
        self.driver.wait(lambda: not self.place.runner.running, name, 600)
        self.driver.idle(1.0)
        if len(layer.objects) > count:
            self.driver.picture(name)
            self.driver.press_key("Z", Qt.KeyboardModifier.ControlModifier)
            self.driver.wait(lambda: len(layer.objects) == count, "the undo", 120)

    def _of_dock(self, name: str) -> None:
        """Take a picture of the upper part of the dock."""
        path = self.driver.picture(name, self.dock)
        shot = Image.open(path)
        shot.crop((0, 0, shot.width, min(shot.height, DOCK_PX))).save(path)


def parts_of(embeddings: Embeddings, wanted: NDArray[np.bool_]) -> list[LabelledSlide]:
    """Random tiles as slides: one half has some of the wanted kind among them, the other none."""
    random = np.random.default_rng(0)
    kinds = {"holds cluster 1": np.flatnonzero(wanted), "does not": np.flatnonzero(~wanted)}
    found = []
    for number in range(PARTS):
        label = ("holds cluster 1", "does not")[number % 2]
        rows = random.choice(kinds["does not"], PART_TILES - 2, replace=False)
        rows = np.append(rows, random.choice(kinds[label], 2, replace=False))
        bag = embeddings.vectors[rows]
        found.append(LabelledSlide(f"{number:02d}", f"{number:02d}", label, lambda bag=bag: [bag]))
    return found


def main() -> None:
    """Run the demo and keep its pictures."""
    slide = Path(sys.argv[1]) if len(sys.argv) > 1 else sample_slide().path
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CONFIG_HOME"] = folder  # as if no licence had been agreed to yet
        demo = Pictures(slide, "efficientnet-lite0", Path(folder), WINDOW)
        demo.run()
        for path in demo.driver.taken:
            name = path.stem.split("-", 1)[1]
            picture = Image.open(path).convert("RGB")
            picture.quantize(256).save(IMAGES / f"{name}.png", optimize=True)
            print(IMAGES / f"{name}.png")
        demo.place.close()
        demo.viewer.close()


if __name__ == "__main__":
    main()
