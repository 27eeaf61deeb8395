"""Segmenters in the window: facts, licence, download, and what goes wrong."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from qtpy.QtCore import Qt

from napari_pathfm.gui.chosen_segmenter import LOAD_SLOT
from napari_pathfm.gui.prompting import Prompting
from napari_pathfm.gui.segment_panel import SegmentPanel
from napari_pathfm.models import catalog
from napari_pathfm.models.weights import on_disk

from .segmenting import draw_box, segment_panel
from .stage import Stage

Wait = Callable[[Callable[[], bool]], None]


@pytest.fixture
def wait(qtbot: Any) -> Wait:
    """Longer than elsewhere: torch may have to be imported first."""
    return lambda condition: qtbot.waitUntil(condition, timeout=120_000)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Messages of errors; no weights from elsewhere."""
    said: list[str] = []
    monkeypatch.setattr("napari.utils.notifications.show_error", said.append)
    monkeypatch.setattr("pooch.os_cache", lambda _: tmp_path / "cache")
    monkeypatch.delenv("PATHFM_MODELS", raising=False)
    return said


@pytest.fixture
def choice(stage: Stage, qtbot: Any, told: list[str]) -> Iterator[tuple[SegmentPanel, Prompting]]:
    panel, prompting = segment_panel(stage, qtbot)
    yield panel, prompting
    prompting.clear()


@pytest.fixture
def change(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str, str], None]:
    """Writes something else for something of the click model's entry."""
    text = catalog.OURS.read_text("utf-8")

    def rewrite(old: str, new: str) -> None:
        start = text.index("[pathfm-click]")
        own, rest = text[start:].split("\n\n", 1)
        assert old in own
        path = tmp_path / "catalog.toml"
        path.write_text(f"{text[:start]}{own.replace(old, new)}\n\n{rest}", "utf-8")
        monkeypatch.setattr(catalog, "OURS", path)

    return rewrite


@pytest.fixture
def not_commercial(change: Callable[[str, str], None]) -> None:
    change("commercial = true", "commercial = false")


def test_facts_and_what_cannot_be_used(
    stage: Stage, choice: tuple[SegmentPanel, Prompting], told: list[str], wait: Wait
) -> None:
    panel, prompting = choice
    wait(lambda: not stage.runner.running)
    picker, facts = panel.model.picker, panel.model.facts
    for words in ("10.3 M", "Apache-2.0", "on this computer: click.safetensors", "fits into"):
        assert words in facts.text()
    listed = [picker.itemText(i) for i in range(picker.count())]
    assert listed[0] == picker.name == "pathfm-click"
    assert {"sam-vit-h", "paseg"} < set(listed)
    assert "seggpt" not in listed, "it does not answer prompts"
    row = picker.findText("paseg")
    assert picker.itemData(row, Qt.ItemDataRole.ForegroundRole) is not None
    picker.setCurrentText("sam-vit-l")
    assert "is downloaded the first time" in facts.text()
    assert not stage.runner.busy(LOAD_SLOT), "to choose is not yet to download"
    picker.setCurrentText("paseg")
    assert not told
    panel.prompts.box.click()
    draw_box(stage)
    assert all("paseg cannot be used yet" in each for each in told)
    assert told
    assert prompting.work.layers is not None
    assert prompting.work.layers.prompts()
    picker.setCurrentText("pathfm-click")  # answers them
    wait(lambda: prompting.work.candidate is not None)


def test_a_licence_is_asked_about_before_the_first_answer(
    not_commercial: None, choice: tuple[SegmentPanel, Prompting], stage: Stage, wait: Wait
) -> None:
    panel, prompting = choice
    question = panel.model.question
    panel.prompts.box.click()
    draw_box(stage)
    assert question.isVisible()
    assert "pathfm-click is not" in question.text.text()
    question.no.click()
    wait(lambda: not stage.runner.running)
    assert prompting.work.candidate is None
    assert prompting.work.layers is not None
    assert prompting.work.layers.prompts()
    panel.prompts.segment.click()
    question.yes.click()
    wait(lambda: prompting.work.candidate is not None)


def test_too_little_memory_is_said_and_the_prompts_stay(
    choice: tuple[SegmentPanel, Prompting],
    stage: Stage,
    told: list[str],
    wait: Wait,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    panel, prompting = choice

    def full(*_: object, **__: object) -> None:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 4 GB")

    monkeypatch.setattr(catalog, "get_segmenter", full)
    panel.prompts.box.click()
    wait(lambda: bool(told))
    draw_box(stage)
    wait(lambda: len(told) == 2)
    assert told[0].startswith("Loading pathfm-click: The memory is too small: close")
    assert prompting.work.layers is not None
    assert prompting.work.layers.prompts()


class Slow(BaseHTTPRequestHandler):
    """Serves the weights; the first time it stops in the middle until it may go on."""

    content = b""
    starts: list[int]
    go_on: threading.Event

    def do_GET(self) -> None:
        start = int(self.headers.get("Range", "bytes=0-").split("=")[1].split("-")[0])
        self.starts.append(start)
        rest = self.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        half = len(rest) // 2
        self.wfile.write(rest[:half])
        if len(self.starts) == 1:
            self.go_on.wait(300)
        with contextlib.suppress(OSError):  # nobody listens any more
            self.wfile.write(rest[half:])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def slow(change: Callable[[str, str], None]) -> Iterator[type[Slow]]:
    entry = catalog.entries()["pathfm-click"]
    path = on_disk("pathfm-click", entry.weights)
    assert path is not None
    Slow.content, Slow.starts, Slow.go_on = path.read_bytes(), [], threading.Event()
    with ThreadingHTTPServer(("127.0.0.1", 0), Slow) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{http.server_address[1]}/click.safetensors"
        change('package = "napari_pathfm", file = "models/click.safetensors"', f'url = "{address}"')
        yield Slow
        Slow.go_on.set()
        http.shutdown()


def test_a_download_shows_how_far_it_is_and_can_be_stopped(
    slow: type[Slow],
    choice: tuple[SegmentPanel, Prompting],
    stage: Stage,
    told: list[str],
    wait: Wait,
) -> None:
    panel, prompting = choice
    seen: list[str] = []
    stage.runner.progressed.connect(lambda running: seen.append(running.status()))
    wait(lambda: "is downloaded the first time" in panel.model.facts.text())
    panel.prompts.box.click()
    draw_box(stage)
    wait(lambda: prompting._then is not None)  # the box is taken up in a later turn of the loop
    wait(lambda: any("Downloading pathfm-click" in each for each in seen))
    stage.press("Escape")
    slow.go_on.set()
    wait(lambda: not stage.runner.running)
    assert prompting.work.candidate is None
    assert not told
    assert prompting.work.layers is not None
    assert prompting.work.layers.prompts(), "they stay"
    stage.press("S")
    wait(lambda: prompting.work.candidate is not None)
    assert slow.starts[0] == 0 < slow.starts[1], "it went on where it was stopped"
    wait(lambda: "on this computer: click.safetensors" in panel.model.facts.text())
