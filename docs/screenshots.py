"""Take the pictures of the README and the documentation: ``make screenshots [SLIDE=file]``.

They are those of the demo, reduced to 256 colours so that the repository stays small.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from PIL import Image

from napari_pathfm.gui.demo import Demo
from napari_pathfm.io.samples import sample_slide

IMAGES = Path(__file__).parent / "images"
WINDOW = (1600, 1000)


def main() -> None:
    """Run the demo and keep its pictures."""
    slide = Path(sys.argv[1]) if len(sys.argv) > 1 else sample_slide().path
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        demo = Demo(slide, "efficientnet-lite0", Path(folder), WINDOW)
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
