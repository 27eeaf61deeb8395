"""Stains and light: how much haematoxylin, eosin and ink is where, and what a camera sees of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .anatomy import Anatomy, Box, Gland
from .noise import Array, Noise

# Optical densities (red, green, blue) of a unit of stain; haematoxylin and eosin are near those
# that Macenko et al. 2009 (doi:10.1109/ISBI.2009.5193250) measured on real slides.
HAEMATOXYLIN = (0.68, 0.82, 0.40)
EOSIN = (0.13, 0.72, 0.36)
INKS = ((1.35, 0.75, 0.18), (1.5, 0.4, 0.95))  # blue, green
GLASS = (243.0, 242.0, 244.0)

STROMA, EPITHELIUM, LUMEN, LYMPHOCYTES, FAT = 1, 2, 3, 4, 5


class Paint:
    """Colours the structures of one drawn slide.

    Parameters
    ----------
    anatomy : Anatomy
    seed : int
        Even for blue ink, odd for green.
    """

    def __init__(self, anatomy: Anatomy, seed: int) -> None:
        self._anatomy = anatomy
        key = anatomy.seed
        self._ink = INKS[seed % 2]
        random = np.random.default_rng(key)
        self._fibres = _smooth(random.standard_normal(4096))
        self._grain = random.standard_normal((512, 512, 1)).astype(np.float32)
        self._chromatin, self._cytoplasm = Noise(3.2, key + 100), Noise(9, key + 101)
        self._patches, self._vapour = Noise(70, key + 102), Noise(900, key + 103)
        self._strokes = Noise(45, key + 104)

    def tissue(
        self, y: Array, x: Array, box: Box, nuclei: Array
    ) -> tuple[NDArray[np.uint8], Array, Array]:
        """Stain a block and say what is what.

        Parameters
        ----------
        y, x : ndarray
            ``(h, 1)`` and ``(1, w)`` float32: centres of its pixels.
        box : Box
            The block.
        nuclei : ndarray
            ``(h, w)`` float32 haematoxylin of the nuclei.

        Returns
        -------
        classes : ndarray
            ``(h, w)`` uint8 without ink.
        haematoxylin, eosin : ndarray
            ``(h, w)`` float32, units of stain.
        """
        anatomy, around = self._anatomy, self._anatomy.surroundings(box)
        depth = anatomy.tissue(y, x)
        classes = (depth > 0).astype(np.uint8) * np.uint8(STROMA)
        patches, cytoplasm = self._patches(y, x), self._cytoplasm(y, x)
        pink = self._stroma(anatomy.fibre_phase(y, x), patches, cytoplasm)
        blue = np.float32(0.07) + np.float32(0.015) * patches
        crowd = around.crowd(y, x)
        classes[(crowd > 0) & (classes == STROMA)] = LYMPHOCYTES
        crowded = np.clip(crowd * 5 + np.float32(0.5), 0, 1)
        pink *= 1 - np.float32(0.45) * crowded
        blue += np.float32(0.1) * crowded
        fat = anatomy.fat(y, x, box)
        if fat is not None:
            classes[(fat > 0) & (depth > 0)] = FAT
            # membranes take up stain of their own, however pale the stroma
            np.maximum(pink, np.float32(0.38) * _soft(fat + np.float32(4)), out=pink)
            empty = np.float32(0.97) * _soft(fat)
            pink *= 1 - empty
            blue *= 1 - empty
        for gland in around.glands:
            self._gland(gland, y, x, cytoplasm, classes, pink, blue)
        shown = _soft(depth)
        dark = nuclei > 0
        blue += nuclei * (1 + np.float32(0.11) * self._chromatin(y, x))
        pink[dark] = np.minimum(pink[dark], np.float32(0.3))
        return classes, blue * shown, pink * shown

    def _stroma(self, phase: Array, patches: Array, cytoplasm: Array) -> Array:
        """Eosin of collagen: bundles of fibres, the same contour lines from fine to coarse."""
        phase = phase + np.float32(0.35) * cytoplasm
        fine, middle, coarse = (self._fibre(phase * np.float32(k)) for k in (3.1, 0.9, 0.22))
        pink = np.float32(0.42) + np.float32(0.045) * fine + np.float32(0.055) * middle
        pink += np.float32(0.1) * coarse + np.float32(0.035) * patches
        # clefts between bundles
        cleft = np.clip(-coarse - np.float32(1.15), 0, 1)
        return np.asarray(np.clip(pink * (1 - np.float32(0.6) * cleft), 0.12, 1), np.float32)

    def _fibre(self, phase: Array) -> Array:
        """Look a smooth random profile up, with its 4096 steps repeated without end."""
        step = (phase * np.float32(16)).astype(np.int32) & (len(self._fibres) - 1)
        return np.asarray(self._fibres[step])

    def _gland(
        self,
        gland: Gland,
        y: Array,
        x: Array,
        cytoplasm: Array,
        classes: NDArray[np.uint8],
        pink: Array,
        blue: Array,
    ) -> None:
        """Stain the part of a gland that lies in the block; arrays are changed in place."""
        reach = gland.radius * 1.3 + 6
        top, bottom = np.searchsorted(y[:, 0], (gland.y - reach, gland.y + reach))
        left, right = np.searchsorted(x[0], (gland.x - reach, gland.x + reach))
        if top == bottom or left == right:
            return
        part = slice(top, bottom), slice(left, right)
        depth = gland.depth(y[part[0]], x[:, part[1]])
        uneven = cytoplasm[part]
        inner = depth - np.float32(gland.wall) - 2 * uneven
        label = classes[part]
        label[depth > 0] = EPITHELIUM
        label[inner > 0] = LUMEN
        # the side of the cell towards the lumen holds mucus and is paler
        apical = np.clip(depth / np.float32(gland.wall) - np.float32(0.45), 0, 0.5)
        wall_pink = np.float32(0.31) - np.float32(0.2) * apical + np.float32(0.03) * uneven
        wall_blue = np.float32(0.2) - np.float32(0.16) * apical + np.float32(0.03) * uneven
        secretion = np.float32(gland.secretion) * np.clip(uneven * np.float32(0.08) + 0.16, 0, 1)
        lumen = _soft(inner)
        wall_pink += lumen * (np.float32(0.015) + secretion - wall_pink)
        wall_blue += lumen * (np.float32(0.01) - wall_blue)
        inside = _soft(depth)
        # a thin pale cleft where stroma has drawn back from the gland
        cleft = np.clip(np.float32(0.3) + np.float32(0.25) * uneven, 0, 1)
        halo = 1 - cleft * np.clip(1 - np.abs(depth + 4) / 4, 0, 1)
        pink[part] = pink[part] * halo * (1 - inside) + wall_pink * inside
        blue[part] = blue[part] * (1 - inside) + wall_blue * inside

    def develop(
        self, y: Array, x: Array, stains: tuple[Array, Array] | None, ink: Array | None
    ) -> NDArray[np.uint8]:
        """Send light through: Beer-Lambert a channel, uneven light, and the camera's grain.

        Parameters
        ----------
        y, x : ndarray
            ``(h, 1)`` and ``(1, w)`` float32: centres of the pixels.
        stains : tuple of ndarray, optional
            Haematoxylin and eosin, ``(h, w)`` float32; ``None`` for bare glass.
        ink : ndarray, optional
            ``(h, w)`` float32: distance inwards from the edge of the pen mark.

        Returns
        -------
        ndarray
            ``(h, w, 3)`` uint8.
        """
        light = 1 + np.float32(0.004) * self._vapour(y, x)
        covered = None
        if ink is not None:
            covered = _soft(ink) * (np.float32(0.85) + np.float32(0.12) * self._strokes(y, x))
        rgb = np.empty((*light.shape, 3), np.float32)
        for channel, glass in enumerate(GLASS):
            density = np.zeros_like(light)
            if stains is not None:
                density += stains[0] * np.float32(HAEMATOXYLIN[channel])
                density += stains[1] * np.float32(EOSIN[channel])
            if covered is not None:
                density += covered * np.float32(self._ink[channel])
            np.exp(-density, out=density)
            np.multiply(density, light * np.float32(glass), out=rgb[..., channel])
        grain = self._grain[: rgb.shape[0], : rgb.shape[1]]
        rgb += grain * (np.float32(0.7) if stains is None else np.float32(1.6))
        return np.clip(rgb + np.float32(0.5), 0, 255).astype(np.uint8)


def _soft(depth: Array) -> Array:
    """Cover of a pixel by something whose edge lies `depth` pixels outwards: 0 to 1."""
    return np.asarray(np.clip(depth / np.float32(1.6) + np.float32(0.5), 0, 1), np.float32)


def _smooth(values: NDArray[np.float64]) -> Array:
    """Turn white noise into a smooth closed profile of mean 0 and standard deviation 1."""
    steps = np.fft.fftfreq(len(values)) * len(values)
    smooth = np.fft.ifft(np.fft.fft(values) * np.exp(-((steps / 60) ** 2))).real
    return np.asarray((smooth - smooth.mean()) / smooth.std(), np.float32)
