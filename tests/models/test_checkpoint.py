"""Checkpoints are read without running code, and loaded only where everything fits."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from napari_pathfm.models.base import ModelError
from napari_pathfm.models.checkpoint import (
    file_hash,
    load_into,
    read_state,
    resample_positions,
    state_id,
)

Write = Callable[[str, bytes], Path]


class Malicious:
    """Runs a command when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.marker),)


def network() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Linear(2, 1))


def test_hash(broken_file: Write) -> None:
    path = broken_file("a.bin", b"weights")
    assert file_hash(path) == hashlib.sha256(b"weights").hexdigest()[:16]


def test_parameters_are_told_apart_in_whatever_file_they_come(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    torch.manual_seed(0)
    state = torch.nn.Sequential(torch.nn.Linear(300, 900), torch.nn.BatchNorm1d(900)).state_dict()
    torch.save(state, tmp_path / "a.pth")
    save_file(state, tmp_path / "a.safetensors")
    known = state_id(state)
    assert len(known) == 16
    for name in ("a.pth", "a.safetensors"):
        assert state_id(read_state(tmp_path / name)) == known
    assert state_id(dict(reversed(state.items()))) == known
    assert state_id({}) != known
    others = []
    for name, values in state.items():
        others.append({**state, name: values + 1})
        others.append({key: value for key, value in state.items() if key != name})
    others.append({**state, "0.weight": state["0.weight"].T.contiguous().reshape(900, 300)})
    row, column = state["0.weight"].clone(), state["0.weight"].clone()
    column[:, 7] += 1e-3
    row[7] += 1e-3
    others += [{**state, "0.weight": row}, {**state, "0.weight": column}]
    assert len({known, *map(state_id, others)}) == len(others) + 1


def test_code_is_never_run(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(2), "x": Malicious(tmp_path / "ran")}, tmp_path / "bad.pth")
    with pytest.raises(ModelError, match="holds code besides numbers, which is not run"):
        read_state(tmp_path / "bad.pth")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
@pytest.mark.parametrize("content", [b"", b"no weights at all", b"PK\x03\x04 cut short"])
def test_damaged_file(broken_file: Write, name: str, content: bytes) -> None:
    with pytest.raises(ModelError, match=name):
        read_state(broken_file(name, content))


def test_truncated_checkpoint(tmp_path: Path) -> None:
    torch.save(network().state_dict(), tmp_path / "whole.pth")
    content = (tmp_path / "whole.pth").read_bytes()
    (tmp_path / "cut.pth").write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelError, match=r"cut\.pth"):
        read_state(tmp_path / "cut.pth")


def test_file_without_names(tmp_path: Path) -> None:
    torch.save([torch.ones(2)], tmp_path / "list.pth")
    with pytest.raises(ModelError, match="holds no parameters by name but a list"):
        read_state(tmp_path / "list.pth")


def test_loads_strictly_and_in_float32() -> None:
    state = {k: v.half() for k, v in network().state_dict().items()}
    made = network()
    load_into(made, state, Path("f.pth"), "net")
    assert not made.training
    assert all(p.dtype == torch.float32 and not p.requires_grad for p in made.parameters())
    assert torch.equal(made[0].weight, state["0.weight"].float())  # type: ignore[index]


def test_first_differences_are_named() -> None:
    state = network().state_dict()
    state["0.weight"] = torch.zeros(5, 3)
    del state["1.bias"]
    state["extra"] = torch.zeros(1)
    with pytest.raises(ModelError) as error:
        load_into(network(), state, Path("f.pth"), "net")
    for part in (
        "f.pth does not hold the weights of net",
        "0.weight is (5, 3) instead of (2, 3)",
        "1.bias is missing",
        "extra is unknown",
    ):
        assert part in str(error.value)


class Positions(torch.nn.Module):
    """The part of a ViT that has position embeddings: 16 x 16 and two prefix tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.pos_embed = torch.nn.Parameter(torch.zeros(1, 2 + 256, 4))
        self.patch_embed = torch.nn.Module()
        self.patch_embed.grid_size = (16, 16)  # type: ignore[assignment]


def test_positions_of_another_grid_are_resampled() -> None:
    ramp = torch.linspace(0, 1, 37).expand(37, 37).reshape(1, 37 * 37, 1).expand(-1, -1, 4)
    prefix = torch.tensor([5.0, 6.0]).view(1, 2, 1).expand(-1, -1, 4)
    state = {"pos_embed": torch.cat([prefix, ramp], 1)}
    found = resample_positions(state, Positions())["pos_embed"]
    assert found.shape == (1, 258, 4)
    assert found[0, :2, 0].tolist() == [5.0, 6.0]
    grid = found[0, 2:, 0].view(16, 16)
    assert torch.allclose(grid[0], grid[-1], atol=1e-4)
    assert (grid[0].diff() > 0).all()


def test_positions_that_are_no_grid_stay() -> None:
    state = {"pos_embed": torch.zeros(1, 2 + 250, 4)}
    assert resample_positions(state, Positions()) is state
    with pytest.raises(ModelError, match="pos_embed"):
        load_into(Positions(), state, Path("f.pth"), "net")
