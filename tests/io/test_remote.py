"""Slides over HTTP, from a server of the test on loopback."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from napari_pathfm.core.slide import SlideError
from napari_pathfm.io.backends.remote import RemotePath, slide_path
from napari_pathfm.io.cache import shared_cache
from napari_pathfm.io.reader import open_slide

Write = Callable[..., list[np.ndarray]]


class Files(BaseHTTPRequestHandler):
    """Serves a folder, parts of files too unless the address says ``whole``."""

    def __init__(self, *args: object, folder: Path, sent: list[int]) -> None:
        self.folder, self.sent = folder, sent
        super().__init__(*args)  # type: ignore[arg-type]

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        path = self.folder / Path(self.path).name
        if "secret" in self.path or not path.exists():
            self.send_response(403 if "secret" in self.path else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        size = path.stat().st_size
        asked = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        whole = "whole" in self.path or not asked
        start, stop = 0, size
        if not whole and asked:
            start, stop = int(asked[1]), min(int(asked[2] or size) + 1, size)
        self.send_response(200 if whole else 206)
        self.send_header("Content-Length", str(stop - start))
        if "whole" not in self.path:
            self.send_header("Accept-Ranges", "bytes")
        if not whole:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{size}")
        self.end_headers()
        if body:
            self.sent.append(stop - start)
            with path.open("rb") as file:
                file.seek(start)
                self.wfile.write(file.read(stop - start))

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(handler: Callable[..., BaseHTTPRequestHandler]) -> Iterator[str]:
    """Answer on loopback; the address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join(10)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, list[int]]]:
    """Address of `tmp_path`, and the sizes of all that was sent."""
    sent: list[int] = []
    with serving(partial(Files, folder=tmp_path, sent=sent)) as address:
        yield address, sent


def test_a_slide_is_read_in_parts(
    write_slide: Write, tmp_path: Path, served: tuple[str, list[int]]
) -> None:
    address, sent = served
    path = tmp_path / "slide.tif"
    write_slide(path, shapes=((4000, 5000), (2000, 2500), (1000, 1250)), compression=None)
    with open_slide(f"{address}/slide.tif") as slide, open_slide(path) as local:
        assert str(slide.path) == f"{address}/slide.tif"
        assert slide.name == "slide"
        assert slide.mpp == pytest.approx(0.5)
        assert slide.levels == local.levels
        assert slide.id == local.id, "the same slide, wherever it lies"
    with path.open("ab") as file:
        file.write(b"not in the cache")
    sent.clear()
    with open_slide(f"{address}/slide.tif") as slide, open_slide(path) as local:
        for level, y, x in ((0, 3000, 4000), (2, 100, 100)):
            read = slide.read(level, y, x, 300, 400)
            np.testing.assert_array_equal(read, local.read(level, y, x, 300, 400))
    assert sum(sent) < path.stat().st_size / 4
    assert max(sent) < 1e6


def test_what_a_server_cannot_do_is_told(
    write_slide: Write, tmp_path: Path, served: tuple[str, list[int]]
) -> None:
    address, _ = served
    write_slide(tmp_path / "slide.tif")
    (tmp_path / "notes.tif").write_text("no slide " * 99)
    for place, words in {
        "absent.tif": "no file http://.*Check the address",
        "secret/slide.tif": "or you may not read it",
        "whole/slide.tif": "does not send parts of files. Download it",
        "notes.tif": "not a slide",
    }.items():
        with pytest.raises(SlideError, match=words):
            open_slide(f"{address}/{place}")
    with pytest.raises(SlideError, match="reads files only; download"):
        open_slide(f"{address}/slide.tif", backend="openslide")


def test_a_server_that_goes_away(write_slide: Write, tmp_path: Path) -> None:
    write_slide(tmp_path / "slide.tif", shapes=((1000, 900),))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Files, folder=tmp_path, sent=[]))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    slide = open_slide(f"http://127.0.0.1:{server.server_port}/slide.tif")
    (tmp_path / "slide.tif").unlink()
    with pytest.raises(SlideError, match="y 0, x 0"):
        slide.read(0, 0, 0, 10, 10)
    server.shutdown()
    server.server_close()
    thread.join(10)
    with pytest.raises(SlideError, match="y 896, x 896"):
        slide.read(0, 896, 896, 4, 4)
    slide.close()


class Bucket(Files):
    """Speaks as much of S3 as reading an object takes, and notes who asked."""

    who: ClassVar[set[str]] = set()

    def answer(self, body: bool) -> None:
        self.who.add((self.headers.get("Authorization") or "anybody").split()[0])
        super().answer(body)

    def end_headers(self) -> None:
        self.send_header("ETag", '"drawn"')
        self.send_header("Last-Modified", "Sat, 21 Nov 2026 16:00:00 GMT")
        super().end_headers()


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Make a bucket of `tmp_path`; the sizes of all that was sent."""
    s3fs = pytest.importorskip("s3fs", reason="s3:// needs the package s3fs")
    sent: list[int] = []
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with serving(partial(Bucket, folder=tmp_path, sent=sent)) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        s3fs.S3FileSystem.clear_instance_cache()
        Bucket.who.clear()
        yield sent
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.mark.parametrize("keys", [False, True])
def test_a_slide_in_a_bucket_is_read_in_parts(
    write_slide: Write,
    tmp_path: Path,
    bucket: list[int],
    monkeypatch: pytest.MonkeyPatch,
    keys: bool,
) -> None:
    if keys:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "drawn")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    path = tmp_path / "slide.tif"
    write_slide(path, shapes=((2400, 2500), (600, 625)), compression=None)
    with open_slide(path) as local:
        expected = local.read(0, 2000, 1900, 300, 400)
        facts = local.levels, local.mpp, local.id
    shared_cache().clear()
    with open_slide("s3://bucket/slide.tif") as slide:
        assert (slide.levels, slide.mpp, slide.id) == facts
        np.testing.assert_array_equal(slide.read(0, 2000, 1900, 300, 400), expected)
    assert sum(bucket) < path.stat().st_size / 4
    assert Bucket.who == {"AWS4-HMAC-SHA256" if keys else "anybody"}


def test_what_a_bucket_does_not_give_is_told(bucket: list[int]) -> None:
    with pytest.raises(SlideError, match=r"no file s3://bucket/absent.tif, or you may not"):
        open_slide("s3://bucket/absent.tif")
    with pytest.raises(SlideError, match=r"s3://bucket/secret/slide.tif cannot be read .*rights"):
        open_slide("s3://bucket/secret/slide.tif")


def test_s3_names_the_package_it_needs() -> None:
    try:
        import s3fs  # noqa: F401
    except ImportError:
        with pytest.raises(SlideError, match="pip install s3fs"):
            open_slide("s3://bucket/slide.tif")


def test_a_remote_path_keeps_its_url() -> None:
    path = slide_path("https://host.org:80/a/b.c.svs")
    assert isinstance(path, RemotePath)
    assert str(path) == "https://host.org:80/a/b.c.svs" == str(slide_path(path))
    assert (path.name, path.stem, path.suffix) == ("b.c.svs", "b.c", ".svs")
    assert str(path.parent) == "https://host.org:80/a"
    assert not isinstance(slide_path("a.svs"), RemotePath)
