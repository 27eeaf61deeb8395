"""A trained model's attention becomes the heatmap."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from qtpy.QtCore import Qt

from napari_pathfm.analysis.slide_attention import judge_slide
from napari_pathfm.analysis.train_slides import save_classifier
from napari_pathfm.core.embeddings import FeatureKey
from napari_pathfm.gui.explore_panel import ExplorePanel
from napari_pathfm.gui.runner import Runner
from napari_pathfm.io.project import Project
from napari_pathfm.models.heads import HEADS
from napari_pathfm.models.slide_classifier import BagSource, Card, SlideClassifier
from napari_pathfm.session import Session

from .explored import explored

Wait = Callable[..., None]


@pytest.fixture
def runner(qtbot: Any) -> Generator[Runner, None, None]:
    made = Runner()
    yield made
    made.shutdown()


def save(folder: Path, name: str, head: str, *sources: BagSource) -> SlideClassifier:
    torch.manual_seed(0)
    card = Card(head=head, classes=("normal", "tumor"), sources=sources, hidden=32)
    model = SlideClassifier(card, HEADS[head](card.dims, 2, 32), "cpu")
    save_classifier(model, folder / f"{name}.json")
    return model


def panel_of(qtbot: Any, session: Session, runner: Runner) -> ExplorePanel:
    made = ExplorePanel(session, runner)
    qtbot.addWidget(made)
    made.show()
    return made


def test_attention_is_shown(qtbot: Any, runner: Runner, wait: Wait, tmp_path: Path) -> None:
    session, _ = explored()
    assert session.embeddings is not None
    source = BagSource(session.embeddings.key, 16, 100, 0.5)
    panel = panel_of(qtbot, session, runner)
    box = panel.attention
    assert not box.isVisible()
    with Project.open(tmp_path) as project:
        model = save(project.models, "grade", "attention", source)
        save(project.models, "pooled", "mean", source)
        save(project.models, "larger", "attention", BagSource(source.key, 16, 200, 0.5))
        other = BagSource(FeatureKey("other", "avg", "0123", "224 px"), 16, 100, 0.5)
        save(project.models, "alien", "attention", other)
        save(project.models, "both", "mixture", source, source)
        (project.models / "config.json").write_text('{"format": 1}')
        session.project = project
        assert [box.models.itemText(n) for n in range(box.models.count())] == ["grade"]
        assert box.isVisible()
        qtbot.mouseClick(box.button, Qt.MouseButton.LeftButton)
        wait(lambda: session.scores is not None)
        judged, (scores,) = judge_slide(model, (session.embeddings.in_grid_order(),))
        assert session.scores is not None
        np.testing.assert_allclose(session.scores.values, scores.values, rtol=1e-4)
        assert session.scores.name == "attention", "the heatmap's name in the window"
        best = ("normal", "tumor")[judged.probabilities.argmax()]
        assert box.verdict.text() == f"{best}: {judged.probabilities.max():.0%}"
        assert "counted most" in panel.hits.text()
        session.set_embeddings(None)
        assert not box.isVisible()
