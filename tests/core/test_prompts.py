from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_pathfm.core.prompts import MaskPrompt, Prompts

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


def odd_mask(seed: int = 0) -> MaskPrompt:
    mask = np.random.default_rng(seed).random((13, 21)) < 0.4
    mask[6, 10] = True
    return MaskPrompt(mask, 100.0, 50.5, 2.0)


def test_everything_that_was_said_survives_json() -> None:
    prompts = Prompts(
        np.array([[1.5, 2.0], [3.0, 4.0]]),
        np.array([True, False]),
        np.array([0.0, 0.0, 3.0, 4.0]),
        odd_mask(),
    )
    read = Prompts.from_dict(json.loads(json.dumps(prompts.as_dict())))
    assert read.key == prompts.key
    assert read.mask is not None
    assert prompts.mask is not None
    np.testing.assert_array_equal(read.mask.mask, prompts.mask.mask)
    assert Prompts.from_dict(Prompts().as_dict()).key == Prompts().key


@pytest.mark.parametrize("said", [[], {"mask": {"shape": [1, 1]}}, {"mask": 3}, {"box": [1.0]}])
def test_what_is_no_prompt_is_refused(said: Any) -> None:
    with pytest.raises(ValueError, match=r"prompts|box"):
        Prompts.from_dict(said)


def test_a_mask_is_looked_up_where_it_lies() -> None:
    known = odd_mask()
    same = known.sampled(known.y, known.x, known.downsample, 30)
    np.testing.assert_array_equal(same[:13, :21], known.mask)
    assert not same[13:].any()
    assert not same[:, 21:].any()
    finer = known.sampled(known.y - 8, known.x - 4, 1.0, 60)
    np.testing.assert_array_equal(finer[8:34, 4:46], known.mask.repeat(2, 0).repeat(2, 1))
    assert not finer[:8].any()
    assert not finer[:, :4].any()


def test_the_box_round_a_mask() -> None:
    mask = np.zeros((9, 9), bool)
    mask[2:5, 3:8] = True
    box = MaskPrompt(mask, 10.0, 20.0, 4.0).box
    assert box.tolist() == [18.0, 32.0, 30.0, 52.0]
    with pytest.raises(ValueError, match="empty"):
        _ = MaskPrompt(np.zeros((3, 3), bool), 0, 0).box


@given(place, place, st.floats(0.1, 10))
def test_a_mask_moves_with_the_points(y: float, x: float, scale: float) -> None:
    known = odd_mask()
    there = Prompts(known.box.reshape(2, 2), np.ones(2, bool), known.box, known).moved(y, x, scale)
    assert there.mask is not None
    assert there.box is not None
    np.testing.assert_allclose(there.mask.box, there.box, atol=1e-4)
