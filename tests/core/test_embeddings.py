from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_pathfm.core.embeddings import Embeddings, FeatureKey

KEY = FeatureKey("vit", "cls", "ab12", "224 bicubic")


@pytest.mark.parametrize("field", ["encoder", "pooling", "weights", "preprocessing"])
def test_a_key_that_differs_names_the_field_and_has_another_hash(field: str) -> None:
    other = replace(KEY, **{field: "other"})
    difference = KEY.difference(other)
    assert difference is not None
    assert difference.startswith(f"{field}: ")
    assert KEY.hash != other.hash


def test_precision_does_not_matter() -> None:
    other = replace(KEY, precision="bfloat16")
    assert KEY.difference(other) is None
    assert KEY.hash == other.hash


def test_grid_order_sorts_tiles_with_their_vectors() -> None:
    tiles = np.array([5, 1, 3])
    vectors = tiles[:, None].astype(np.float32) * [1, 2]
    ordered = Embeddings(KEY, "g", tiles, vectors.astype(np.float32)).in_grid_order()
    assert ordered.tiles.tolist() == [1, 3, 5]
    assert ordered.vectors.tolist() == [[1, 2], [3, 6], [5, 10]]
    assert len(ordered) == 3


def test_stain_normalisation_is_part_of_the_preprocessing() -> None:
    normalised = KEY.normalised("macenko to 1a2b3c4d")
    assert (KEY.stain, normalised.stain) == ("", "macenko to 1a2b3c4d")
    assert normalised.preprocessing == "224 bicubic; stain macenko to 1a2b3c4d"
    assert KEY.difference(normalised) is not None
    assert normalised.normalised("reinhard to 0").stain == "reinhard to 0"
    assert normalised.normalised("") == KEY
