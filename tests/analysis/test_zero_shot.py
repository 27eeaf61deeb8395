from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_pathfm.analysis.prompts import PromptSet, prompt_sets, prompts_of
from napari_pathfm.analysis.zero_shot import ZeroShot, class_vectors, zero_shot
from napari_pathfm.core.embeddings import Embeddings
from napari_pathfm.core.jobs import run

from ..worded import clip

CLASSES = {"tumor": ["tumor", "carcinoma"], "stroma": []}


def test_ensembles_of_the_authors() -> None:
    sets = prompt_sets()
    assert len(sets["conch"].templates) == len(set(sets["conch"].templates)) == 22
    conch = sets["conch"].prompts(["x"])
    assert {"x.", "a photomicrograph showing x.", "x, H&E."} <= set(conch)
    assert prompts_of("keep").prompts(["tumor"]) == ["an H&E image of tumor."]
    musk = prompts_of("musk").prompts(["lung adenocarcinoma"])
    assert "histopathology image of lung adenocarcinoma" in musk
    assert len(musk) == 4
    assert prompts_of("musk-ms") == prompts_of("musk")
    assert prompts_of("plip").prompts(["tumor"]) == ["An H&E image patch of tumor."]
    assert prompts_of("quiltnet-b-16") == sets["quiltnet-b-32"]
    assert prompts_of("biovil-t").prompts(["pneumonia"]) == ["pneumonia"]
    assert prompts_of("clip") == sets["general"]
    assert all(each.source and each.prompts(["x"]) for each in sets.values())


def test_every_synonym_is_put_into_every_template() -> None:
    pair = PromptSet("mine", ("{}", "a {} b {}"))
    assert pair.prompts(["x", " y "]) == ["x", "a x b x", "y", "a y b y"]
    with pytest.raises(ValueError, match="write one or more synonyms"):
        pair.prompts([" "])
    with pytest.raises(ValueError, match=r"'tumor' has no \{\}"):
        PromptSet("wrong", ("tumor",)).prompts(["x"])


def test_a_class_is_the_mean_of_its_texts() -> None:
    encoder = clip()
    pair = PromptSet("mine", ("{}.", "an image of {}."))
    found = run(class_vectors(encoder, CLASSES, pair))
    texts = ["tumor.", "an image of tumor.", "carcinoma.", "an image of carcinoma."]
    mean = encoder.embed_text(texts).mean(0)
    np.testing.assert_allclose(found[0], mean / np.linalg.norm(mean), atol=1e-6)
    other = encoder.embed_text(["stroma.", "an image of stroma."]).mean(0)
    np.testing.assert_allclose(found[1], other / np.linalg.norm(other), atol=1e-6)
    with pytest.raises(ValueError, match="name one or more"):
        run(class_vectors(encoder, {}))


class OwnMean:
    """An encoder whose authors take the mean of texts before they bring it to length 1."""

    spec = replace(clip().spec, mean_first=True)
    device = "cpu"

    def text_features(self, texts: list[str]) -> NDArray[np.float32]:
        return np.float32([[len(text), 1.0] for text in texts])

    def embed_text(self, texts: list[str]) -> NDArray[np.float32]:
        raise AssertionError("these have lost their lengths")


def test_mean_of_texts_with_their_own_lengths() -> None:
    encoder: Any = OwnMean()
    pair = PromptSet("mine", ("{}", "a rather long text about {}"))
    found = run(class_vectors(encoder, {"x": []}, pair))
    mean = np.mean([[1, 1], [len("a rather long text about x"), 1]], 0)
    np.testing.assert_allclose(found[0], mean / np.linalg.norm(mean), rtol=1e-6)


def test_scores_and_probabilities() -> None:
    encoder = clip()
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(30, 512)).astype(np.float32)
    stored = Embeddings(encoder.key, "grid", rng.permutation(30).astype(np.int64), vectors)
    found = run(zero_shot(stored, encoder, CLASSES))
    texts = run(class_vectors(encoder, CLASSES, prompts_of("clip")))
    cosines = vectors / np.linalg.norm(vectors, axis=1, keepdims=True) @ texts.T
    np.testing.assert_allclose(found.cosines, cosines, atol=1e-5)
    assert (found.tiles == stored.tiles).all()
    assert found.logit_scale == pytest.approx(np.exp(2.6592), rel=1e-4)  # CLIP's first value
    odds = np.exp(cosines * found.logit_scale)
    np.testing.assert_allclose(found.probabilities, odds / odds.sum(1, keepdims=True), rtol=1e-4)
    assert (found.best == cosines.argmax(1)).all()
    column = found.of("stroma")
    assert (column.values == found.cosines[:, 1]).all()
    with pytest.raises(ValueError, match="no class 'fat': choose one of tumor, stroma"):
        found.of("fat")


def test_a_slide_is_the_mean_of_its_best_tiles() -> None:
    cosines = np.array([[0.1, 0.5], [0.3, 0.4], [0.2, 0.9]], np.float32)
    found = ZeroShot(("a", "b"), np.arange(3), cosines)
    np.testing.assert_allclose(found.slide(2), [0.25, 0.7])
    np.testing.assert_allclose(found.slide(50), cosines.mean(0))
    np.testing.assert_allclose(found.slide(1), [0.3, 0.9])
    with pytest.raises(ValueError, match="without a scale"):
        _ = found.probabilities
