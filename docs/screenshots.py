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
        self.driver.picture("attention")

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
