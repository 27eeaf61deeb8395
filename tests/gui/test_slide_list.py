"""The slides of the project: their states, live, and a broken one with its reason."""

from __future__ import annotations

import shutil
from pathlib import Path

from pytestqt.qtbot import QtBot

from napari_pathfm.gui.embed_panel import EmbedPanel
from napari_pathfm.gui.runner import Runner
from napari_pathfm.io.project import Project
from napari_pathfm.session import Session


def test_all_slides_of_a_folder_are_embedded(qtbot: QtBot, synthetic: Path, tmp_path: Path) -> None:
    folder = tmp_path / "liver"
    folder.mkdir()
    shutil.copy(synthetic, folder / "a.tif")
    (folder / "b.tif").write_bytes(synthetic.read_bytes()[:50_000])
    session, runner = Session(), Runner()
    with Project.open(tmp_path / "project") as project:
        session.project = project
        step = EmbedPanel(session, runner)
        qtbot.addWidget(step)
        panel = step.slides
        panel.add_folder(folder)

        def shown() -> list[list[str]]:
            items = [panel.list.topLevelItem(n) for n in range(panel.list.topLevelItemCount())]
            return [[item.text(column) for column in range(3)] for item in items]

        assert shown() == [["a", "waiting", ""], ["b", "waiting", ""]]
        qtbot.waitUntil(lambda: not runner.running, timeout=20_000)
        panel.embed_button.click()
        qtbot.waitUntil(lambda: not runner.running, timeout=120_000)
        assert [row[1] for row in shown()] == ["done", "failed"]
        assert shown()[0][2] not in ("", "0")
        assert "Copy" in panel.list.topLevelItem(1).toolTip(1)
        with qtbot.waitSignal(panel.open_requested) as asked:
            panel.list.itemDoubleClicked.emit(panel.list.topLevelItem(0), 0)
        assert asked.args == [folder / "a.tif"]
        panel.embed_button.click()
        qtbot.waitUntil(lambda: not runner.running, timeout=120_000)
        assert [row[1] for row in shown()] == ["from the store", "failed"]
    runner.shutdown()
