"""Files of other networks are refused, and what is wrong is named; code in files is never run."""

from __future__ import annotations

import ast
import os
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import napari_pathfm
from napari_pathfm.models import timm as ours
from napari_pathfm.models.base import ModelError
from napari_pathfm.models.catalog import CatalogEntry, get_encoder

Entries = dict[str, CatalogEntry]
Shrink = Callable[[CatalogEntry], tuple[CatalogEntry, Any]]
State = dict[str, Any]


def test_file_of_a_relative_is_refused_with_the_first_differences(
    tmp_path: Path, entries: Entries, shrink: Shrink
) -> None:
    virchow, _ = shrink(entries["virchow"])
    _, virchow2 = shrink(entries["virchow2"])
    torch.save(virchow2.state_dict(), tmp_path / "w.pth")
    with pytest.raises(ModelError) as error:
        ours.load(virchow, tmp_path / "w.pth", "cpu")
    message = str(error.value)
    assert "w.pth does not hold the weights of virchow:" in message
    assert "pos_embed is (1, 261, 48) instead of (1, 257, 48); reg_token is unknown" in message


def test_of_many_differences_three_are_named(
    tmp_path: Path, entries: Entries, shrink: Shrink
) -> None:
    uni, _ = shrink(entries["uni"])
    _, plain = shrink(entries["kaiko-vits16"])
    torch.save({"teacher": plain.state_dict()}, tmp_path / "w.pth")
    with pytest.raises(ModelError) as error:
        ours.load(uni, tmp_path / "w.pth", "cpu")
    assert (
        "blocks.0.ls1.gamma is missing; blocks.0.ls2.gamma is missing; "
        "blocks.1.ls1.gamma is missing and 1 more" in str(error.value)
    )


@pytest.mark.parametrize("key", ["norm.weight", "blocks.1.attn.qkv.bias"])
def test_half_a_file_is_refused(tmp_path: Path, entries: Entries, shrink: Shrink, key: str) -> None:
    entry, network = shrink(entries["uni"])
    state = {k: v for k, v in network.state_dict().items() if k != key}
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(ModelError, match=f"{key} is missing"):
        ours.load(entry, tmp_path / "w.pth", "cpu")


class Code:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    "hide",
    [
        lambda state, code: {"model": state, "args": code},
        lambda state, code: {"teacher": {**state, "norm.weight": code}},
        lambda state, code: {"teacher": state, "args": Namespace(hook=code)},
        lambda state, code: code,
    ],
)
def test_code_in_a_file_is_not_run(
    tmp_path: Path,
    vits16_state: State,
    hide: Callable[[State, Code], Any],
    zipped: bool,
) -> None:
    small_part = {"norm.weight": vits16_state["norm.weight"]}
    content = hide(small_part, Code(tmp_path / "ran"))
    torch.save(content, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(ModelError, match=r"w\.pth is damaged or holds code .* is not run"):
        get_encoder("kaiko-vits16", tmp_path / "w.pth", "cpu")
    assert not (tmp_path / "ran").exists()
    torch.load(tmp_path / "w.pth", weights_only=False)
    assert (tmp_path / "ran").exists(), "the file does hold code that would have run"


def test_nothing_here_unpickles_but_weights() -> None:
    loads: list[str] = []
    for path in Path(napari_pathfm.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in ("pickle.load", "pickle.loads", "joblib.load"), path
                if called == "torch.load":
                    loads.append(path.name)
                    safe = {k.arg: ast.unparse(k.value) for k in node.keywords}
                    assert safe.get("weights_only") == "True", path
    assert "checkpoint.py" in loads
