"""Encoded crops on disk: for the next session, and for when memory has let go of them."""

from __future__ import annotations

import hashlib
import io
import os
import threading
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..core.slide import Slide
from ..core.threads import be_polite
from ..io.atomic import replacing
from ..models.base import ImageEmbedding, Segmenter
from .crop import Square

KEEP_BYTES = 1 << 30
"""What is kept on disk (500 crops with ViTs of SAM, 120 with SAM 2); see :class:`CropStore`."""

VERSION = 1
"""Goes up when crops are read, prepared or written in another way: earlier ones are not found."""

WAITING = 4
"""So many crops wait to be written at most; more are not kept, so that memory stays bounded."""

STALE_SECONDS = 3600.0
"""Nobody writes a file for so long: who began it was killed."""

CLOSE = 1e-3
"""Numbers are kept in float16 where that changes none by more than this part of the largest."""

SUFFIX = ".npy"

OFF = "PATHFM_CROPS"
"""Environment variable: ``0`` for no crops on disk."""


class Origin(NamedTuple):
    """What was encoded, and by what: only where all of it is the same may a crop be used again.

    Attributes
    ----------
    slide_id : str
    segmenter : str
        Its name.
    weights_id : str
        What tells its weights apart.
    """

    slide_id: str
    segmenter: str
    weights_id: str


def origin_of(slide: Slide, segmenter: Segmenter) -> Origin:
    """Say what crops of a slide are encoded by."""
    return Origin(slide.id, segmenter.name, segmenter.weights_id)


def folder() -> Path:
    """Where the user's encoded crops are kept."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("napari-pathfm")) / "crops"


def user_store() -> CropStore | None:
    """Return the user's store, or ``None`` if the user does not want one."""
    return None if os.environ.get(OFF) == "0" else CropStore(folder())


class CropStore:
    """Embeddings of crops in a folder, a file each; those not used for longest go first.

    May be used from any thread, and by several processes at once. A name says all about a crop but
    its features, so that a look at the folder tells what is there. Nothing that goes wrong with a
    file is an error: the crop is not kept, or not found, and will be encoded again.

    Parameters
    ----------
    folder : Path
        It is made when needed, and not even looked at before.
    limit : int
        Bytes of all files together.
    """

    def __init__(self, folder: Path, limit: int = KEEP_BYTES) -> None:
        self._folder, self._limit = folder, limit
        self._there: dict[str, tuple[Square, ...]] = {}  # replaced as a whole, never changed
        self._looked: int | None = None  # when the folder had changed last, as it was looked at
        self._writer = ThreadPoolExecutor(1, "crops", initializer=be_polite)
        self._room = threading.Semaphore(WAITING)

    def squares(self, origin: Origin) -> tuple[Square, ...]:
        """Return which crops there are, newest first, as of the last look; never waits."""
        return self._there.get(_group(origin), ())

    def look(self) -> None:
        """Look at the folder, if others have changed it."""
        with suppress(OSError):
            changed = self._folder.stat().st_mtime_ns
            if changed != self._looked:
                self._look()
                self._looked = changed

    def read(self, origin: Origin, square: Square) -> ImageEmbedding | None:
        """Read an embedding, its numbers as float32; ``None`` if that cannot be done any more.

        A damaged file is removed.
        """
        file = self._file(origin, square)
        try:
            features = _unpacked(file.read_bytes())
        except OSError:
            pass
        except ValueError:
            with suppress(OSError):
                file.unlink()
        else:
            with suppress(OSError):
                os.utime(file)  # used now
            return ImageEmbedding(origin.segmenter, (square.px, square.px), features)
        self._forget(origin, square)
        return None

    def keep(self, origin: Origin, square: Square, embedding: ImageEmbedding) -> None:
        """Write an embedding soon, in a thread that leaves the cores to others.

        Not those of a type of their own, or of float16: they would come back as something else.
        """
        plain = type(embedding) is ImageEmbedding and embedding.features.dtype != np.float16
        whole = embedding.shape == (square.px, square.px)
        if plain and whole and self._room.acquire(blocking=False):
            with suppress(RuntimeError):  # the program ends
                self._writer.submit(self._write, origin, square, embedding.features)

    def settle(self) -> None:
        """Wait until what was to be kept is written."""
        self._writer.submit(lambda: None).result()

    def _write(self, origin: Origin, square: Square, features: NDArray[Any]) -> None:
        try:
            # A full disk, a folder that cannot be written, an array of objects: it is not kept.
            with suppress(OSError, ValueError), replacing(self._file(origin, square)) as temporary:
                temporary.write_bytes(_packed(features))
        finally:
            self._room.release()
        self._tidy()
        self._looked = None  # the clocks of folders are coarse: two changes may look like one
        self.look()

    def _tidy(self) -> None:
        """Remove what was not used for longest, if there is more than is kept."""
        total = 0
        for name, facts in self._files():
            total += facts.st_size
            stale = name.startswith(".") and time.time() - facts.st_mtime > STALE_SECONDS
            if total > self._limit or stale:
                with suppress(OSError):
                    (self._folder / name).unlink()

    def _look(self) -> None:
        there: dict[str, list[Square]] = {}
        for name, _ in self._files():
            found = _parsed(name)
            if found is not None:
                there.setdefault(found[0], []).append(found[1])
        self._there = {group: tuple(squares) for group, squares in there.items()}

    def _files(self) -> list[tuple[str, os.stat_result]]:
        """Names in the folder and what they are, newest first."""

        def found() -> Iterator[tuple[str, os.stat_result]]:
            with suppress(OSError), os.scandir(self._folder) as entries:
                for entry in entries:
                    with suppress(FileNotFoundError):  # another process has removed it
                        yield entry.name, entry.stat()

        return sorted(found(), key=lambda each: -each[1].st_mtime_ns)

    def _forget(self, origin: Origin, square: Square) -> None:
        left = tuple(each for each in self.squares(origin) if each != square)
        self._there = {**self._there, _group(origin): left}

    def _file(self, origin: Origin, square: Square) -> Path:
        return self._folder / _name(origin, square)


def _group(origin: Origin) -> str:
    """What the names of all its crops begin with."""
    return hashlib.blake2b(repr((VERSION, *origin)).encode(), digest_size=12).hexdigest()


def _name(origin: Origin, square: Square) -> str:
    """Name of a crop's file; its numbers lose nothing."""
    y, x, downsample = (float(each) for each in (square.y, square.x, square.downsample))
    parts = _group(origin), square.level, y, x, square.size, downsample, square.px
    return "_".join(map(str, parts)) + SUFFIX


def _parsed(name: str) -> tuple[str, Square] | None:
    """Group and square that a name tells of, if it is one of ours."""
    try:
        group, level, y, x, size, downsample, px = name.removesuffix(SUFFIX).split("_")
        return group, Square(int(level), float(y), float(x), int(size), float(downsample), int(px))
    except ValueError:
        return None


def _packed(features: NDArray[Any]) -> bytes:
    """Return what is written: an ``.npy`` file, and its CRC-32 behind it.

    Raises
    ------
    ValueError
        Features are objects, which are never written.
    """
    file = io.BytesIO()
    np.save(file, _halved(features), allow_pickle=False)
    made = file.getvalue()
    return made + zlib.crc32(made).to_bytes(4, "little")


def _unpacked(data: bytes) -> NDArray[Any]:
    """Return the features; ``ValueError`` if the data is damaged."""
    made, check = data[:-4], data[-4:]
    if zlib.crc32(made).to_bytes(4, "little") != check:
        raise ValueError("it is damaged")
    found: NDArray[Any] = np.load(io.BytesIO(made), allow_pickle=False)
    return found.astype(np.float32) if found.dtype == np.float16 else found


def _halved(features: NDArray[Any]) -> NDArray[Any]:
    """Return float32 numbers as float16 where that is close enough; others as they are."""
    if features.dtype != np.float32 or not features.size:
        return features
    with np.errstate(over="ignore", invalid="ignore"):
        half = features.astype(np.float16)
        close = np.abs(half - features).max() <= CLOSE * np.abs(features).max()
    return half if close else features
