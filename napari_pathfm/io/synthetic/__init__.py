"""A slide drawn by ourselves, of any size, with the exact truth of every pixel.

Nothing here is stored: every gland, cell and fibre follows from hashed lattice points, so any
region of a slide of 100,000 x 100,000 pixels can be drawn without the rest, and neighbours fit.
"""

from .scene import CLASSES, COLORS, Scene
from .write import draw

__all__ = ["CLASSES", "COLORS", "Scene", "draw"]
