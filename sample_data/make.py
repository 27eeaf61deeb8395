"""Draw the sample slide of this folder and its truth: ``python sample_data/make.py``.

``python sample_data/make.py FILE HEIGHT WIDTH`` draws one of any size instead, tile by tile; its
truth is ``napari_pathfm.io.synthetic.Scene((HEIGHT, WIDTH))``.
"""

import sys
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image, ImageColor

from napari_pathfm.core.jobs import run
from napari_pathfm.io.samples import SYNTHETIC_SHAPE
from napari_pathfm.io.synthetic import COLORS, Scene, draw

HERE = Path(__file__).parent


def main() -> None:
    """Write the slide, its classes and its nuclei."""
    run(draw(HERE / "synthetic.tif", SYNTHETIC_SHAPE))
    scene = Scene(SYNTHETIC_SHAPE)
    classes = Image.fromarray(scene.classes(0, 0, *SYNTHETIC_SHAPE))
    classes.putpalette(np.ravel([ImageColor.getrgb(color) for color in COLORS.values()]).tolist())
    classes.save(HERE / "synthetic_classes.png", optimize=True)
    tifffile.imwrite(
        HERE / "synthetic_nuclei.tif",
        scene.nuclei(0, 0, *SYNTHETIC_SHAPE),
        tile=(512, 512),
        compression="zlib",
        compressionargs={"level": 9},
        metadata=None,
    )


if __name__ == "__main__":
    if len(sys.argv) == 4:
        run(draw(Path(sys.argv[1]), (int(sys.argv[2]), int(sys.argv[3]))))
    else:
        main()
