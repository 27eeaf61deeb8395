"""Names and poolings of other programs' encoders."""

from __future__ import annotations

import pytest

from napari_pathfm.analysis.encoder_names import (
    OURS,
    PROJECTED,
    THEIRS,
    our_name,
    pooling,
    their_name,
)
from napari_pathfm.models.catalog import encoder_specs

SPECS = encoder_specs()


def test_every_name_is_one_of_the_catalogue() -> None:
    assert set(OURS.values()) <= set(SPECS)
    for program, names in THEIRS.items():
        for ours, theirs in names.items():
            assert our_name(theirs, SPECS, SPECS[ours].dim) == ours, program
            assert their_name(program, ours) == theirs


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("uni_v1", "uni"),
        ("UNI_v2", "uni2-h"),
        ("hoptimus0", "h-optimus-0"),
        ("h0-mini", "h0-mini"),
        ("kaiko-vitl14", "kaiko-vitl14"),
        ("hibou_l", "hibou-l"),
        ("phikon_v2", "phikon-v2"),
        ("conch_v15", "conch-v1.5"),
        ("resnet50_trunc", "resnet50_trunc"),
    ],
)
def test_names_of_trident(theirs: str, ours: str) -> None:
    assert our_name(theirs, SPECS) == ours


def test_one_name_for_two_of_the_catalogue() -> None:
    assert [our_name("musk", SPECS, dim) for dim in (1024, 2048)] == ["musk", "musk-ms"]
    assert pooling("TRIDENT", "musk-ms", 2048, SPECS["musk-ms"]) == "two-scale"


@pytest.mark.parametrize(
    ("name", "dim", "found"),
    [
        ("virchow2", 2560, "cls+mean"),
        ("virchow2", 1280, "cls"),
        ("h0-mini", 768, "cls"),
        ("midnight-12k", 1536, "cls"),
        ("uni", 1024, "cls"),
        ("uni", 2048, "cls+mean"),
        ("conch", 512, "own"),
        ("ctranspath", 768, "avg"),
        ("musk", 1024, "cls"),
    ],
)
def test_the_length_tells_the_pooling(name: str, dim: int, found: str) -> None:
    assert pooling("TRIDENT", name, dim, SPECS[name]) == found
    assert pooling("TRIDENT", name, dim, SPECS[name], found) == found


def test_vectors_for_texts_are_others() -> None:
    assert pooling("LazySlide", "conch", 512, SPECS["conch"]) == PROJECTED
    assert pooling("LazySlide", "musk", 1024, SPECS["musk"]) == PROJECTED


@pytest.mark.parametrize(
    ("name", "dim", "told", "message"),
    [
        ("virchow2", 1536, "", r"virchow2 makes no vectors of 1536 numbers, only of 2560 \(cls\+m"),
        ("virchow2", 1280, "cls+mean", "no vectors of 1280 numbers with the pooling cls"),
        ("uni", 768, "cls", "only of 1024"),
        ("musk", 512, "", "musk makes no vectors of 512"),
        ("ctranspath", 1536, "", "ctranspath makes no vectors of 1536"),
        ("unheard-of", 512, "", "add --pooling"),
    ],
)
def test_what_cannot_be_is_refused_by_name(name: str, dim: int, told: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pooling("TRIDENT", name, dim, SPECS.get(name), told)


def test_encoders_that_the_catalogue_lacks() -> None:
    assert pooling("CLAM", "resnet50_trunc", 1024, None) == "avg"
    assert pooling("CLAM", "unheard-of", 100, None, "own") == "own"
