"""The picker of encoders: what it shows, how it is searched, and what it never lets end badly."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_pathfm.gui.model_picker import ModelPicker
from napari_pathfm.models import catalog

from .window import Window


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("pooch.os_cache", lambda _: tmp_path / "cache")
    monkeypatch.delenv("PATHFM_MODELS", raising=False)


def names(picker: ModelPicker) -> list[str]:
    return [name for i in range(picker.count()) if (name := picker.itemText(i))]


def grey(picker: ModelPicker, name: str) -> bool:
    index = picker.findText(name)
    return picker.itemData(index, Qt.ItemDataRole.ForegroundRole) is not None


def test_ready_ones_first_and_why_others_are_not(window: Window) -> None:
    picker, panel = window.dock.embed.encoder, window.dock.embed
    window.rest()
    listed = names(picker)
    assert sorted(listed) == sorted(catalog.encoders().names())
    assert listed[0] == "efficientnet-lite0" == picker.name
    assert not grey(picker, "kaiko-vits16")
    assert grey(picker, "uni")
    assert listed.index("kaiko-vits16") < listed.index("uni")
    reason = picker.itemData(picker.findText("uni"), Qt.ItemDataRole.ToolTipRole)
    assert "HF_HUB_OFFLINE is set. Unset it" in reason
    picker.setCurrentText("uni")
    facts = panel.model.facts.text()
    for words in (
        "303.4 M",
        "1024 numbers",
        "CC-BY-NC-ND-4.0",
        "not for commercial use",
        "<a href",
    ):
        assert words in facts
    assert "HF_HUB_OFFLINE" in facts
    picker.setCurrentText("efficientnet-lite0")
    assert "on this computer" in panel.model.facts.text()
    assert "fits into the free memory" in panel.model.facts.text()


def test_typing_a_part_of_a_name(window: Window) -> None:
    picker = window.dock.embed.encoder
    window.rest()
    heard: list[str] = []
    picker.chosen.connect(heard.append)
    window.dock.steps.open(window.dock.embed)
    line = picker.lineEdit()
    line.selectAll()
    QTest.keyClicks(line, "vitb16")
    assert picker.name == "efficientnet-lite0"
    shown = picker.completer().completionModel()
    assert [shown.index(i, 0).data() for i in range(shown.rowCount())] == ["kaiko-vitb16"]
    QTest.keyClick(line, Qt.Key.Key_Return)
    assert picker.name == picker.currentText() == "kaiko-vitb16"
    assert heard == ["kaiko-vitb16"]
    line.selectAll()
    QTest.keyClicks(line, "no such thing")
    QTest.keyClick(line, Qt.Key.Key_Return)
    assert picker.name == picker.currentText() == "kaiko-vitb16"


@pytest.mark.parametrize(
    ("typed", "answer"),
    [
        ("PathoGPT", "pathogpt is a writer of reports, no encoder. The reference that names it"),
        ("paseg", "paseg is a segmenter, no encoder. No paper, repository or weights"),
        ("gigapath-slide", "gigapath-slide is a slide model, no encoder."),
        ("phykon", "There is no encoder named “phykon”. Did you mean phikon"),
        ("<b>", "There is no encoder named “&lt;b&gt;”."),
    ],
)
def test_what_is_no_encoder_is_said(window: Window, typed: str, answer: str) -> None:
    panel = window.dock.embed
    window.rest()
    window.dock.steps.open(panel)
    line = panel.encoder.lineEdit()
    line.selectAll()
    QTest.keyClicks(line, typed)
    QTest.keyClick(line, Qt.Key.Key_Return)
    assert panel.model.unknown.isVisible()
    assert panel.model.unknown.text().startswith(answer)
    assert panel.encoder.name == panel.encoder.currentText() == "efficientnet-lite0"
    panel.encoder.setCurrentText("uni")
    assert not panel.model.unknown.isVisible()


def test_facts_of_what_is_not_public_and_of_what_understands_texts(window: Window) -> None:
    panel = window.dock.embed
    window.rest()
    panel.encoder.setCurrentText("virchow2g")
    assert "plugin" not in panel.model.facts.text()
    assert "The nearest is virchow2." in panel.model.facts.text()
    panel.encoder.setCurrentText("plip")
    assert "searches the slide in words" in panel.model.facts.text()
    panel.encoder.setCurrentText("uni")
    assert "in words" not in panel.model.facts.text()


def test_the_list_of_names_looks_like_the_window(window: Window) -> None:
    window.dock.steps.open(window.dock.embed)
    popup = window.dock.embed.encoder.completer().popup()
    assert popup.styleSheet()
    assert popup.styleSheet() == window.dock.embed.encoder.window().styleSheet()


def test_what_cannot_work_ends_in_a_message_with_the_next_step(
    window: Window, synthetic: Path, tmp_path: Path
) -> None:
    window.open(synthetic, tmp_path / "project")
    window.find_tiles()
    panel = window.dock.embed
    specs = catalog.entries()
    closed = [
        name
        for name in names(panel.encoder)
        if name in specs and specs[name].spec.status in ("closed", "none", "gated")
    ]
    assert len(closed) > 5
    for name in closed:
        panel.encoder.setCurrentText(name)
        panel.embed_button.click()
        window.heard("Embedding", f"{name} cannot be used yet")
        assert not window.place.runner.busy("embed")
        assert not panel.question.isVisible()
    assert window.session.embeddings is None
    assert not any("unexpectedly" in said for said in window.messages)


def test_a_licence_is_asked_about_once(window: Window, synthetic: Path, tmp_path: Path) -> None:
    from napari_pathfm.models.timm import build

    window.open(synthetic, tmp_path / "project")
    window.find_tiles()
    panel, question = window.dock.embed, window.dock.embed.question
    torch.manual_seed(0)
    weights = tmp_path / "vits16.pth"
    torch.save(build(catalog.entries()["kaiko-vits16"]).state_dict(), weights)
    window.dock.steps.open(panel)
    panel.encoder.setCurrentText("kaiko-vits16")
    panel.model.weights_file(weights)
    assert "on this computer: vits16.pth" in panel.model.facts.text()
    panel.embed_button.click()
    assert question.isVisible()
    assert "Kaiko Non-Commercial" in question.text.text()
    assert '<a href="https://github.com/kaiko-ai' in question.text.text()
    question.no.click()
    window.rest()
    assert not question.isVisible()
    assert window.session.embeddings is None
    panel.embed_button.click()
    question.yes.click()
    window.embedded()
    window.rest()
    panel.embed_button.click()
    assert not question.isVisible()
    window.rest()
