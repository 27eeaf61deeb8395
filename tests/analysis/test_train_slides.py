"""Heads find the rare tiles that decide a slide's label, without having been shown them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from napari_pathfm.analysis.heatmap import heatmap
from napari_pathfm.analysis.slide_attention import judge_slide, scores
from napari_pathfm.analysis.slide_metrics import measure
from napari_pathfm.analysis.train_slides import (
    Bags,
    LabelledSlide,
    Training,
    new_model_file,
    save_classifier,
    split_by_patient,
    train_slides,
)
from napari_pathfm.core.embeddings import Embeddings, FeatureKey
from napari_pathfm.core.jobs import Progress, run
from napari_pathfm.core.slide import Level
from napari_pathfm.core.tiles import TileSpec, make_grid
from napari_pathfm.models.base import ModelError
from napari_pathfm.models.slide_classifier import BagSource, load_classifier

DIM, TILES, RARE = 16, 36, 3
SOURCE = BagSource(FeatureKey("net", "cls", "ab", "224"), DIM, 224, 0.5)
OTHER = BagSource(FeatureKey("blind", "cls", "cd", "224"), 5, 512, 0.5)
FAST = {"hidden": 64, "epochs": 15, "patience": 15, "rate": 2e-3, "split": (0.7, 0.3, 0.0)}

Vectors = NDArray[np.float32]


def bag(tumor: bool, seed: int) -> tuple[Vectors, NDArray[np.int64]]:
    """Tiles of many kinds; in a tumour slide three of sixty are of one more, anywhere.

    Every slide has a stain of its own, which moves the mean of its tiles further than they do.
    """
    rng = np.random.default_rng(seed)
    kinds = np.random.default_rng(99).normal(0, 1, (6, DIM))
    tiles = kinds[rng.choice(5, TILES, p=rng.dirichlet(np.ones(5)))]
    tiles += rng.normal(0, 0.3, tiles.shape) + rng.normal(0, 1, DIM)
    rare = rng.choice(TILES, RARE, replace=False)
    if tumor:
        tiles[rare] += 2.5 * kinds[5]
    return tiles.astype(np.float32), rare


def slide(number: int, patient: str = "") -> LabelledSlide:
    vectors, _ = bag(bool(number % 2), number)
    label = "tumor" if number % 2 else "normal"
    return LabelledSlide(f"s{number:03d}", patient or f"p{number:03d}", label, lambda: [vectors])


def with_noise(number: int) -> LabelledSlide:
    """A slide whose first encoder, with other tiles, sees nothing."""
    noise = np.random.default_rng(number).normal(0, 9, (21, 5)).astype(np.float32)
    known = slide(number)
    return LabelledSlide(known.id, known.patient, known.label, lambda: [noise, *known.read()])


def as_embeddings(bags: Bags) -> tuple[Embeddings, ...]:
    return tuple(
        Embeddings(SOURCE.key, "grid", np.arange(len(vectors)), vectors) for vectors in bags
    )


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small are slower with more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def held_out() -> list[LabelledSlide]:
    return [slide(number) for number in range(1000, 1060)]


def accuracy(head: str, held_out: list[LabelledSlide]) -> tuple[float, float]:
    """Part of the held-out slides that is right, and of the rare tiles found by attention."""
    training = Training(head=head, **FAST)  # type: ignore[arg-type]
    model = run(train_slides([slide(n) for n in range(80)], [SOURCE], training, "cpu"))
    right, pointed = [], []
    for number, each in enumerate(held_out, 1000):
        judged, attention = judge_slide(model, as_embeddings(each.read()))
        right.append(model.card.classes[judged.probabilities.argmax()] == each.label)
        if attention and each.label == "tumor":
            _, rare = bag(True, number)
            assert attention[0].values.mean() == pytest.approx(1, abs=1e-4)
            pointed.append(np.isin(attention[0].best(RARE), rare).mean())
    return float(np.mean(right)), float(np.mean(pointed)) if pointed else 0.0


@pytest.mark.parametrize("head", ["attention", "clam", "transmil", "mixture"])
def test_heads_find_the_tiles_that_decide(head: str, held_out: list[LabelledSlide]) -> None:
    right, pointed = accuracy(head, held_out)
    assert right > 0.9
    assert pointed > 0.8


def test_the_mean_does_not(held_out: list[LabelledSlide]) -> None:
    right, pointed = accuracy("mean", held_out)
    assert right < 0.85
    assert pointed == 0.0


def test_the_mixture_hears_the_encoder_that_sees() -> None:
    training = Training(head="mixture", **FAST)  # type: ignore[arg-type]
    known = [with_noise(number) for number in range(60)]
    model = run(train_slides(known, [OTHER, SOURCE], training, "cpu"))
    judged = [judge_slide(model, as_embeddings(with_noise(n).read())) for n in range(500, 530)]
    right = [
        model.card.classes[found.probabilities.argmax()] == with_noise(number).label
        for number, (found, _) in enumerate(judged, 500)
    ]
    assert np.mean(right) > 0.8
    assert [len(part) for part in judged[0][0].attention] == [21, TILES]
    assert sum(part.sum() for part in judged[0][0].attention) == pytest.approx(1, abs=1e-5)
    assert np.mean([found.attention[1].sum() for found, _ in judged]) > 0.6


QUICK = Training(hidden=16, epochs=3, split=(0.6, 0.2, 0.2))


def test_saved_and_loaded_it_is_the_same(tmp_path: Path) -> None:
    known = [slide(number) for number in range(20)]
    model = run(train_slides(known, [SOURCE], QUICK, "cpu"))
    path = new_model_file(tmp_path, "mine")
    save_classifier(model, path)
    loaded = load_classifier(path, "cpu")
    assert loaded.card.to_json() == model.card.to_json()
    bags = slide(7).read()
    np.testing.assert_array_equal(loaded.judge(bags).probabilities, model.judge(bags).probabilities)
    again = run(train_slides(known[::-1], [SOURCE], QUICK, "cpu"))
    assert again.card.split == model.card.split
    with pytest.raises(ValueError, match="a model named mine"):
        new_model_file(tmp_path, "mine")
    for name in ("../mine", "a/b", "", " "):
        with pytest.raises(ValueError, match="no name of a file"):
            new_model_file(tmp_path, name)
    with pytest.raises(ValueError, match="takes vectors of"):
        loaded.judge([bags[0][:, 1:]])
    with pytest.raises(ModelError, match="no trained model"):
        load_classifier(tmp_path / "yours.json")
    path.write_text('{"format": 99}')
    with pytest.raises(ModelError, match="newer"):
        load_classifier(path)
    path.write_text("[")
    with pytest.raises(ModelError, match="does not describe"):
        load_classifier(path)


def test_the_same_seed_gives_the_same_network() -> None:
    known = [slide(number) for number in range(20)]
    first, again, other = (
        run(train_slides(known, [SOURCE], replace(QUICK, seed=seed), "cpu")) for seed in (3, 3, 4)
    )
    assert first.card.metrics == again.card.metrics
    assert first.card.split == again.card.split != other.card.split
    assert first.card.metrics != other.card.metrics


def test_training_ends_when_nothing_gets_better() -> None:
    known = [replace(slide(n), label="ab"[n // 2 % 2]) for n in range(24)]  # says nothing
    reports: list[Progress] = []
    patient = replace(QUICK, epochs=200, patience=3, rate=1e-2)
    model = run(train_slides(known, [SOURCE], patient, "cpu"), reports.append)
    rounds = max(int(r.text.split("round ")[1].split(",")[0]) for r in reports if "round" in r.text)
    assert rounds == model.card.settings["best_epoch"] + 3 < 200
    assert reports[-1].done == reports[-1].total


def test_patients_are_not_split_up() -> None:
    known = [slide(number, f"p{number // 6}-{number % 2}") for number in range(120)]
    parts = split_by_patient(known, (0.6, 0.2, 0.2), seed=1)
    patients = [{each.patient for each in part} for part in parts.values()]
    assert sum(map(len, patients)) == len(set().union(*patients)) == 40
    for part, fraction in zip(parts.values(), (0.6, 0.2, 0.2), strict=True):
        assert len(part) == pytest.approx(120 * fraction, abs=6)
        tumors = sum(each.label == "tumor" for each in part)
        assert tumors == pytest.approx(len(part) / 2, abs=3)


def test_of_few_slides_none_need_be_kept_back() -> None:
    few = [slide(number) for number in range(4)]
    with pytest.raises(ValueError, match=r"3 patients of each class.*1 0 0") as refused:
        run(train_slides(few, [SOURCE], replace(QUICK, split=(0.7, 0.15, 0.15)), "cpu"))
    assert "none is left for val" in str(refused.value)
    alone = replace(QUICK, split=(1.0, 0.0, 0.0), epochs=20, patience=2, rate=1e-2)
    reports: list[Progress] = []
    card = run(train_slides(few, [SOURCE], alone, "cpu"), reports.append).card
    assert card.metrics["train"]["accuracy"] == 1, "trained, not as it was made"
    assert card.metrics["val"]["slides"] == card.metrics["test"]["slides"] == 0
    assert card.settings["best_epoch"] == 20
    assert not any("inf" in report.text for report in reports)
    pair = run(train_slides(few, [SOURCE], replace(QUICK, split=(0.6, 0.4, 0.0)), "cpu")).card
    assert pair.metrics["val"]["slides"] == 2


def test_what_cannot_be_learnt() -> None:
    with pytest.raises(ValueError, match="two or more, not 1"):
        run(train_slides([slide(1), slide(3)], [SOURCE]))
    with pytest.raises(ValueError, match="too few patients labelled 'tumor'"):
        run(train_slides([slide(0), slide(2), slide(4), slide(1)], [SOURCE]))


def test_measures_are_those_of_scikit_learn() -> None:
    from sklearn import metrics

    rng = np.random.default_rng(0)
    found = rng.dirichlet(np.ones(3), 40).round(2).astype(np.float32)  # with ties
    truth = rng.integers(0, 3, 40)
    made = measure(list(found), ["abc"[each] for each in truth], "abc")
    assert made["slides"] == 40
    assert made["accuracy"] == pytest.approx(metrics.accuracy_score(truth, found.argmax(1)))
    balanced = metrics.balanced_accuracy_score(truth, found.argmax(1))
    assert made["balanced_accuracy"] == pytest.approx(balanced)
    areas = [metrics.roc_auc_score(truth == each, found[:, each]) for each in range(3)]
    assert made["auc"] == pytest.approx(np.mean(areas))
    assert made["loss"] == pytest.approx(-np.log(np.maximum(found[range(40), truth], 1e-12)).mean())


def test_attention_becomes_a_heatmap() -> None:
    grid = make_grid("slide", [Level((160, 176), 1.0, (64, 64))], 0.5, TileSpec(16, 0.5))
    weights = np.arange(len(grid), dtype=np.float32)
    shown = heatmap(grid, scores(np.arange(len(grid)), weights / weights.sum(), "attention"))
    assert shown.image.shape == (10, 11)
    assert shown.image.mean() == pytest.approx(1)
    assert shown.image[3, 4] == pytest.approx(37 / weights.mean())
