from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_pathfm.core.prompts import Prompts

place = st.floats(-1e5, 1e5, allow_nan=False)


def test_no_prompt_is_false_and_has_no_extent() -> None:
    assert not Prompts()
    with pytest.raises(ValueError, match="click"):
        _ = Prompts().extent


def test_extent_holds_points_and_box() -> None:
    prompts = Prompts(np.array([[5.0, 90.0]]), np.array([True]), np.array([10.0, 20.0, 30.0, 40.0]))
    assert prompts
    assert prompts.extent == (5, 20, 30, 90)


def test_a_box_must_have_an_inside() -> None:
    with pytest.raises(ValueError, match="y1 > y0"):
        Prompts(box=np.array([10.0, 10.0, 10.0, 20.0]))


def test_each_point_needs_a_sign() -> None:
    with pytest.raises(ValueError, match="one sign each"):
        Prompts(np.zeros((2, 2)), np.array([True]))


@given(place, place, st.floats(1e-2, 1e2), place, place)
def test_moving_there_and_back_changes_nothing(
    y: float, x: float, scale: float, py: float, px: float
) -> None:
    prompts = Prompts(
        np.array([[py, px]]), np.array([False]), np.array([py, px, py + 10.0, px + 20.0])
    )
    there = prompts.moved(y, x, scale)
    back = there.moved(-y * scale, -x * scale, 1 / scale)
    np.testing.assert_allclose(back.points, prompts.points, atol=1e-4)
    assert back.box is not None
    np.testing.assert_allclose(back.box, prompts.box, atol=1e-4)
    assert back.positive.tolist() == [False]


def test_as_dict_survives_json() -> None:
    prompts = Prompts(np.array([[1.5, 2.0]]), np.array([True]), np.array([0.0, 0.0, 3.0, 4.0]))
    read = json.loads(json.dumps(prompts.as_dict()))
    assert read == {
        "points": [[1.5, 2.0]],
        "positive": [True],
        "box": [0.0, 0.0, 3.0, 4.0],
    }
