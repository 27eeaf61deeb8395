"""`pathfm models`: a table for people, everything as JSON, and the next step for one model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from napari_pathfm.__main__ import app
from napari_pathfm.models.catalog import entries


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("pooch.os_cache", lambda _: tmp_path / "cache")
    monkeypatch.setattr("platformdirs.user_config_path", lambda _: tmp_path / "settings")
    monkeypatch.delenv("PATHFM_MODELS", raising=False)


def pathfm(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def test_the_table() -> None:
    shown = pathfm("models")
    assert shown.exit_code == 0, shown.stderr
    lines = shown.stdout.splitlines()
    assert max(map(len, lines)) <= 100
    rows = {line.split()[0]: line for line in lines if line.startswith("  ")}
    assert set(entries()) <= set(rows)
    assert "Apache-2.0" in rows["efficientnet-lite0"]
    assert rows["uni"].split()[:8] == [
        "uni", "303", "M", "1024", "terms", "-", rows["uni"].split()[6], "CC-BY-NC-ND-4.0",
    ]  # fmt: skip
    assert rows["uni"].endswith("*")
    assert not rows["h-optimus-0"].endswith("*")
    assert "not for commercial use" in shown.stdout


def test_everything_as_json() -> None:
    shown = pathfm("models", "--json")
    assert shown.stdout.count("\n") == 1
    listed = json.loads(shown.stdout)
    assert list(listed) == [
        "encoders",
        "segmenters",
        "example_segmenters",
        "slide_models",
        "report_models",
    ]
    found = {entry["name"]: entry for kind in listed.values() for entry in kind}
    for name, entry in entries().items():
        spec = entry.spec
        assert found[name]["status"] == spec.status
        assert found[name]["params"] == spec.params
        assert found[name]["licence"] == spec.licence
    assert found["efficientnet-lite0"]["ready"] is True
    assert Path(found["efficientnet-lite0"]["on_disk"]).is_file()
    assert found["uni"]["obstacles"][0]["next_step"].startswith("Unset it")
    assert {"litemedsam", "sam-vit-b"} <= {entry["name"] for entry in listed["segmenters"]}


def test_a_file_at_hand_is_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "uni.pth").touch()
    monkeypatch.setenv("PATHFM_MODELS", str(tmp_path))
    shown = pathfm("models", "check", "uni")
    assert f"uni can be used: {tmp_path / 'uni.pth'}" in shown.stdout
    assert shown.exit_code == 0


def test_what_stands_in_the_way() -> None:
    shown = pathfm("models", "check", "uni")
    assert shown.exit_code == 4
    assert "HF_HUB_OFFLINE" in shown.stdout
    as_json = json.loads(pathfm("models", "check", "uni", "--json").stdout)
    assert as_json["name"] == "uni"
    assert as_json["ready"] is False
    assert as_json["obstacles"]
    unknown = pathfm("models", "check", "uni-3")
    assert unknown.exit_code == 4
    assert "There is no model 'uni-3'. Did you mean uni" in unknown.stderr
    listed = pathfm("models", "check", "mean")
    assert listed.exit_code == 0
    assert listed.stdout == "mean can be used; it finds by itself what it needs.\n"


def test_a_revision_is_pinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = "a" * 40
    assert f"MahmoodLab/UNI at {commit}" in pathfm("models", "pin", "uni", commit).stderr
    monkeypatch.setenv("PATHFM_MODELS", str(tmp_path))
    (tmp_path / "uni.bin").touch()
    (tmp_path / "uni.bin.source.json").write_text(json.dumps({"revision": commit}))
    assert f"(revision {commit})" in pathfm("models", "check", "uni").stdout
    assert pathfm("models", "pin", "uni", "b" * 40).exit_code == 0
    assert json.loads(pathfm("models", "check", "uni", "--json").stdout)["on_disk"] is None
    assert "its newest revision" in pathfm("models", "pin", "uni").stderr
    assert "models allow titan" in pathfm("models", "pin", "titan", commit).stderr
    assert "no repository" in pathfm("models", "pin", "kaiko-vits16", commit).stderr


LIST = """
import shutil, sys
from typer.testing import CliRunner
from napari_pathfm.__main__ import app
assert CliRunner().invoke(app, ["models"]).exit_code == 0
heavy = {"timm", "transformers", "torchvision", "napari", "qtpy"}
heavy |= set() if shutil.which("nvidia-smi") else {"torch"}
print(*sorted(heavy & set(sys.modules)))
"""


def test_listing_imports_no_network() -> None:
    done = subprocess.run([sys.executable, "-c", LIST], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
