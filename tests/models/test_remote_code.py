"""Code of a model's authors runs after a yes to that code, and not before."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from napari_pathfm.__main__ import app
from napari_pathfm.models import remote_code
from napari_pathfm.models.base import Encoder, ModelError, SlideModel, SlideSpec
from napari_pathfm.models.catalog import CatalogEntry
from napari_pathfm.models.precision import cosine
from napari_pathfm.models.remote_code import allow, allowed, folder_revision, require
from napari_pathfm.models.remote_models import load

HASH, OTHER = "0123456789" * 4, "9876543210" * 4

CODE = """
import pathlib
import torch
from transformers import PretrainedConfig, PreTrainedModel

pathlib.Path({trace!r}).write_text("ran")


class TinyConfig(PretrainedConfig):
    model_type = "tiny_slide"


class TinySlide(PreTrainedModel):
    config_class = TinyConfig

    def __init__(self, config):
        super().__init__(config)
        self.map = torch.nn.Linear(4, 3)
        self.post_init()

    def encode_slide_from_patch_features(self, features, coords, patch_size_lv0):
        place = (coords // patch_size_lv0).float().mean(1)
        return self.map(features).mean(1) + place.sum(1, keepdim=True) + 10 * place[:, :1]
"""


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platformdirs.user_config_path", lambda _: tmp_path / "settings")
    modules = str(tmp_path / "modules")
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", modules)


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    return tmp_path / "trace"


@pytest.fixture
def titan(entries: dict[str, CatalogEntry]) -> CatalogEntry:
    """TITAN's entry, of a smaller size."""
    spec = entries["titan"].spec
    assert isinstance(spec, SlideSpec)
    return replace(entries["titan"], spec=replace(spec, dim_in=4, dim=3))


@pytest.fixture
def weights() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "map.weight": rng.normal(size=(3, 4)).astype(np.float32),
        "map.bias": rng.normal(size=3).astype(np.float32),
    }


@pytest.fixture
def repository(tmp_path: Path, trace: Path, weights: dict[str, np.ndarray]) -> Path:
    """A copy of a repository of the hub with a model of its own."""
    from safetensors.numpy import save_file

    folder = tmp_path / "models" / "titan"
    folder.mkdir(parents=True)
    (folder / "tiny.py").write_text(CODE.format(trace=str(trace)))
    names = {"AutoConfig": "tiny.TinyConfig", "AutoModel": "tiny.TinySlide"}
    config = {"model_type": "tiny_slide", "architectures": ["TinySlide"], "auto_map": names}
    (folder / "config.json").write_text(json.dumps(config))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_a_yes_is_to_one_revision_of_one_repository() -> None:
    assert allowed("net") is None
    with pytest.raises(ModelError, match=r"code of its authors from a/b.*models allow net"):
        require("net", "a/b", HASH)
    allow("net", "a/b", HASH)
    assert require("net", "a/b", HASH) == require("net", "a/b") == allowed("net")
    with pytest.raises(ModelError, match=f"You allowed a/b at {HASH}"):
        require("net", "a/b", OTHER)
    with pytest.raises(ModelError, match="from a/c"):
        require("net", "a/c")
    with pytest.raises(ModelError, match="allow other"):
        require("other", "a/b", HASH)
    allow("other", "a/c", OTHER)
    assert (allowed("net"), allowed("other")) == (require("net", "a/b"), require("other", "a/c"))


@pytest.mark.parametrize("revision", ["main", "v1.0", HASH[:12], HASH + "0", ""])
def test_a_revision_is_a_full_hash(revision: str) -> None:
    with pytest.raises(ModelError, match="forty hexadecimal digits"):
        allow("net", "a/b", revision)
    assert allowed("net") is None


@pytest.mark.parametrize("text", ["[", "[1]", '{"net": {"hub": "a/b"}}', '{"net": 3}'])
def test_damaged_settings_allow_nothing(text: str) -> None:
    remote_code.consents_file().parent.mkdir()
    remote_code.consents_file().write_text(text)
    with pytest.raises(ModelError, match="Delete that file"):
        require("net", "a/b", HASH)


def test_code_runs_after_the_yes_only(
    titan: CatalogEntry, repository: Path, trace: Path, weights: dict[str, np.ndarray]
) -> None:
    with pytest.raises(ModelError, match="allow it with “pathfm models allow titan”"):
        load(titan, repository, "cpu")
    assert not trace.exists()
    allow("titan", str(repository), folder_revision(repository))
    model = load(titan, repository.parent, "cpu")
    assert trace.read_text() == "ran"
    assert isinstance(model, SlideModel)
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(30, 4)).astype(np.float32)
    cells = rng.integers(0, 50, (30, 2))
    found = model.embed_slide(vectors, (cells + 0.5) * 1023.6, 1023.6)
    y, x = ((cells * 1023.6).round() // 1024).mean(0)
    expected = (vectors @ weights["map.weight"].T + weights["map.bias"]).mean(0) + x + y + 10 * x
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    trace.unlink()
    (repository / "tiny.py").write_text(CODE.format(trace=str(trace)) + "\n# changed\n")
    with pytest.raises(ModelError, match="at revision"):
        load(titan, repository, "cpu")
    assert not trace.exists()


def test_of_the_hub_the_allowed_commit_runs_and_no_other(
    titan: CatalogEntry,
    repository: Path,
    tmp_path: Path,
    trace: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As the hub's client keeps what it has fetched: here two commits, the newer one is main."""
    hub = tmp_path / "hub" / "models--MahmoodLab--TITAN"
    for commit in (HASH, OTHER):
        shutil.copytree(repository, hub / "snapshots" / commit)
        code = CODE.format(trace=str(trace)).replace('"ran"', repr(commit))
        (hub / "snapshots" / commit / "tiny.py").write_text(code)
    (hub / "refs").mkdir()
    (hub / "refs" / "main").write_text(OTHER)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(hub.parent))
    with pytest.raises(ModelError, match="code of its authors from MahmoodLab/TITAN"):
        load(titan, None, "cpu")
    assert not trace.exists()
    allow("titan", "MahmoodLab/TITAN", HASH)
    model = load(titan, None, "cpu")
    assert trace.read_text() == HASH
    assert model.embed_slide(np.ones((2, 4), np.float32), np.ones((2, 2)), 1.0).shape == (3,)
    allow("titan", "MahmoodLab/TITAN", OTHER)
    load(titan, None, "cpu")
    assert trace.read_text() == OTHER
    allow("titan", "MahmoodLab/TITAN", "f" * 40)
    with pytest.raises(ModelError, match="cannot be loaded"):
        load(titan, None, "cpu")


def test_code_of_a_third_party_is_not_run(
    titan: CatalogEntry, repository: Path, trace: Path
) -> None:
    config = json.loads((repository / "config.json").read_text())
    config["auto_map"]["AutoModel"] = "somebody/else--tiny.TinySlide"
    (repository / "config.json").write_text(json.dumps(config))
    allow("titan", str(repository), folder_revision(repository))
    with pytest.raises(ModelError, match="another repository, somebody/else"):
        load(titan, repository, "cpu")
    assert not trace.exists()


def test_a_network_that_cannot_be_loaded(titan: CatalogEntry, repository: Path) -> None:
    (repository / "tiny.py").write_text("import a_package_that_is_missing_here")
    allow("titan", str(repository), folder_revision(repository))
    with pytest.raises(ModelError, match="a_package_that_is_missing_here"):
        load(titan, repository, "cpu")


def test_allowed_on_the_command_line(
    repository: Path, trace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pathfm(*arguments: str, answer: str = "") -> tuple[int, str]:
        result = CliRunner().invoke(app, ["models", *arguments], input=answer)
        return result.exit_code, result.output

    monkeypatch.setenv("PATHFM_MODELS", str(repository.parent))
    assert "not allowed" in pathfm("check", "titan")[1]
    code, text = pathfm("allow", "titan", answer="n\n")
    assert (code, "tiny.py" in text, allowed("titan")) == (1, True, None)
    code, _ = pathfm("allow", "titan", answer="y\n")
    assert code == 0
    assert require("titan", str(repository), folder_revision(repository))
    assert "not allowed" not in pathfm("check", "titan")[1]
    assert pathfm("allow", "prism", "--yes", "--revision", OTHER)[0] == 0
    assert require("prism", "paige-ai/Prism", OTHER)
    assert pathfm("allow", "prism", "--yes", "--revision", "main")[0] == 4
    code, text = pathfm("allow", "uni", "--yes")
    assert (code, "runs no code" in text) == (4, True)
    assert not trace.exists()


TOKENS = """
import torch
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput


class TinyConfig(PretrainedConfig):
    model_type = "tiny_tokens"


class TinyTokens(PreTrainedModel):
    config_class = TinyConfig

    def __init__(self, config):
        super().__init__(config)
        self.map = torch.nn.Conv2d(3, 4, 8, 8)
        self.post_init()

    def forward(self, images):
        patches = self.map(images).flatten(2).transpose(1, 2)
        first = patches.mean(1, keepdim=True).expand(-1, {prefix}, -1)
        return BaseModelOutput(last_hidden_state=torch.cat([first, patches], 1))
"""


def tokens_repository(folder: Path, prefix: int) -> Path:
    from safetensors.numpy import save_file

    folder.mkdir(parents=True)
    (folder / "tiny.py").write_text(TOKENS.format(prefix=prefix))
    names = {"AutoConfig": "tiny.TinyConfig", "AutoModel": "tiny.TinyTokens"}
    config = {"model_type": "tiny_tokens", "architectures": ["TinyTokens"], "auto_map": names}
    (folder / "config.json").write_text(json.dumps(config))
    rng = np.random.default_rng(0)
    state = {"map.weight": rng.normal(size=(4, 3, 8, 8)), "map.bias": rng.normal(size=4)}
    state = {name: value.astype(np.float32) for name, value in state.items()}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_an_encoder_whose_network_is_code(
    tmp_path: Path, entries: dict[str, CatalogEntry], tiles: np.ndarray
) -> None:
    entry = entries["rudolfv-2-s"]
    entry = replace(entry, spec=replace(entry.encoder, dim=4, token_dim=4))
    folder = tokens_repository(tmp_path / "rudolfv-2-s", entry.encoder.prefix_tokens)
    with pytest.raises(ModelError, match="models allow rudolfv-2-s"):
        load(entry, folder, "cpu")
    allow("rudolfv-2-s", str(folder), folder_revision(folder))
    encoder = load(entry, folder, "cpu")
    assert isinstance(encoder, Encoder)
    found, tokens = encoder.embed(tiles[:2]), encoder.tokens(tiles[:2])
    assert tokens.shape == (2, 28, 28, 4)
    np.testing.assert_allclose(found, tokens.mean((1, 2)), atol=1e-5)
    assert encoder.key.weights == folder_revision(folder)[:16]
    encoder.embed(tiles)  # finds its precision
    assert cosine(encoder.embed(tiles[:2]), found).min() > 0.99


def test_an_encoder_whose_code_gives_something_else(
    tmp_path: Path, entries: dict[str, CatalogEntry], tiles: np.ndarray
) -> None:
    entry = entries["rudolfv-2-s"]
    entry = replace(entry, spec=replace(entry.encoder, dim=4, token_dim=4))
    folder = tokens_repository(tmp_path / "rudolfv-2-s", prefix=1)
    allow("rudolfv-2-s", str(folder), folder_revision(folder))
    encoder = load(entry, folder, "cpu")
    assert isinstance(encoder, Encoder)
    with pytest.raises(ModelError, match=r"gave tokens \(785, 4\), not \(793, 4\)"):
        encoder.embed(tiles[:1])
