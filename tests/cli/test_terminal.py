"""What a terminal is told and asked before a model that is not for commercial use is used."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from napari_pathfm.__main__ import app
from napari_pathfm.cli import terminal
from napari_pathfm.models import licences
from napari_pathfm.models.catalog import entries

from ..worded import clip_file


class Keyboard(io.StringIO):
    """Somebody sits there."""

    def isatty(self) -> bool:
        return True


def test_it_asks_once_on_stderr(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", Keyboard("no\n"))
    with pytest.raises(typer.Exit) as left:
        terminal.licence("uni")
    assert left.value.exit_code == terminal.Exit.MODEL
    assert licences.must_ask(entries()["uni"].spec)
    monkeypatch.setattr(licences, "_told", set())
    monkeypatch.setattr(sys, "stdin", Keyboard("y\n"))
    terminal.licence("uni")
    asked = capsys.readouterr()
    assert asked.out == ""
    assert asked.err.count("CC-BY-NC-ND-4.0") == 2
    assert "uni was not used" in asked.err
    monkeypatch.setattr(licences, "_told", set())  # another run
    terminal.licence("uni")
    terminal.licence("efficientnet-lite0")
    assert capsys.readouterr().err == ""


def test_where_nobody_sits_it_is_one_line_and_json_stays_whole(
    synthetic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(entries.__globals__, "OURS", not_commercial("clip", tmp_path))
    options = ["--project", str(tmp_path / "p"), "--weights", str(clip_file()), "--json"]
    told = []
    for command in (
        ["embed", str(synthetic), "--encoder", "clip", "--tile-mpp", "4", *options],
        ["search", str(synthetic), "--text", "stroma", *options],
        ["classify", str(synthetic), "--class", "fat", "--class", "tumor", *options],
    ):
        monkeypatch.setattr(licences, "_told", set())
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 0, result.stderr
        assert json.loads(result.stdout)
        told.append([line for line in result.stderr.splitlines() if "commercial" in line])
    assert (
        told
        == [["clip is not, or not clearly, for commercial use (for studies, see https://x.org)."]]
        * 3
    )


def not_commercial(name: str, folder: Path) -> Path:
    """Our catalogue, with another licence for one model."""
    entry = entries()[name]
    text = Path(entry.origin).read_text("utf-8")
    start = text.index(f"[{name}]")
    own, rest = text[start:].split("\n\n", 1)
    for key, value in (("licence", '"for studies"'), ("source", '"https://x.org"')):
        own = "\n".join(
            f"{key} = {value}" if line.startswith(f"{key} =") else line for line in own.splitlines()
        )
    path = folder / "catalog.toml"
    own = own.replace("commercial = true", "commercial = false")
    path.write_text(text[:start] + own + "\n\n" + rest, "utf-8")
    return path


def test_who_reads_the_answer_may_stop() -> None:
    code = "from napari_pathfm.cli.terminal import answer; answer({}, 'word ' * 100_000, False)"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(4)
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0
