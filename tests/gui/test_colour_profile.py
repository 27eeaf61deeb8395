"""The toggle of the scanner's colours: there where there is a profile, and for the eye alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile

from ..io.icc import swapping_profile
from .window import Window


def test_the_menu_says_why_not(window: Window, synthetic: Path, tmp_path: Path) -> None:
    action = window.dock.view_menu.profile
    window.open(synthetic, tmp_path / "project")
    assert not action.isEnabled()
    assert "no colour profile" in action.toolTip()


def test_colours_change_on_the_screen_alone(window: Window, tmp_path: Path) -> None:
    red = np.full((600, 600, 3), (220, 40, 60), np.uint8)
    tifffile.imwrite(
        tmp_path / "red.tif",
        red,
        tile=(256, 256),
        photometric="rgb",
        iccprofile=swapping_profile(),
    )
    window.open(tmp_path / "red.tif", tmp_path / "project")
    layer = window.place.layers.layer(window.session.slide)

    def shown() -> tuple[int, ...]:
        return tuple(np.asarray(layer._data_view)[300, 300].tolist())

    window.driver.wait(lambda: shown() == (220, 40, 60), "red", 20)
    action = window.dock.view_menu.profile
    assert action.isEnabled()
    action.setChecked(True)
    window.driver.wait(lambda: shown()[2] > 200 and shown()[0] < 80, "blue", 20)
    assert window.session.slide.read(0, 300, 300, 1, 1).tolist() == [[[220, 40, 60]]]
    action.setChecked(False)
    window.driver.wait(lambda: shown() == (220, 40, 60), "red again", 20)
