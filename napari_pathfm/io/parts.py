"""Embeddings of parts of a slide as files of their own, until the owner of a project takes them up.

One file a part, written once and whole, to a shared folder or a bucket: no two processes ever write
the same file with other content, so nobody has to lock anything.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.embeddings import Embeddings, FeatureKey
from .atomic import replacing
from .backends.remote import RemotePath, network_failures, slide_path
from .errors import ProjectError

SUFFIX = ".safetensors"


def part_name(tiles: NDArray[np.integer]) -> str:
    """Return the name of the part of a slide that has these tiles: ``(M,)`` numbers."""
    numbers = np.asarray(tiles, np.int64)
    digits = hashlib.blake2b(numbers.tobytes(), digest_size=4).hexdigest()
    return f"{int(numbers[0]):08d}-{digits}"


class Parts:
    """Parts of one grid of a slide, embedded by one encoder.

    Parameters
    ----------
    place : str
        Folder that several computers share, or ``s3://bucket/prefix``.
    slide_id : str
    group : str
        Name of the group of a store where they belong (:func:`.store.group_name`).

    Raises
    ------
    ImportError
        A package for such an address is missing.
    ProjectError
        A bucket cannot be reached; any of the methods may say so.
    """

    def __init__(self, place: str, slide_id: str, group: str) -> None:
        from fsspec.core import url_to_fs

        # What another computer has written since must be seen.
        options = {"use_listings_cache": False} if place.startswith("s3:") else {}
        self._place = slide_path(place)
        self._files: Any
        self._files, root = url_to_fs(place, **options)
        self._local = "file" in self._files.protocol
        self._folder = f"{root.rstrip('/')}/{slide_id}/{group}"

    def write(self, name: str, made: Embeddings) -> None:
        """Keep a part; one that is there is replaced."""
        from safetensors.numpy import save

        # One entry: several would stand in any order, and the same part is to be the same file.
        facts = {"part": json.dumps({"key": asdict(made.key), "grid": made.grid_hash})}
        data = save({"tiles": made.tiles, "vectors": made.vectors}, facts)
        if self._local:
            with replacing(Path(self._path(name))) as temporary:
                temporary.write_bytes(data)
        else:
            with self._reached():
                self._files.pipe_file(self._path(name), data)  # seen when it is whole

    def names(self) -> list[str]:
        """Return the names of the parts that are there, sorted."""
        with self._reached():
            self._files.invalidate_cache()
            found = [str(path).rpartition("/")[2] for path in self._files.find(self._folder)]
        return sorted(
            name.removesuffix(SUFFIX)
            for name in found
            if name.endswith(SUFFIX) and not name.startswith(".")
        )

    def has(self, name: str) -> bool:
        """Whether a part is there."""
        with self._reached():
            return bool(self._files.exists(self._path(name)))

    def read(self, name: str) -> Embeddings:
        """Return a part.

        Raises
        ------
        ValueError
            It is damaged.
        FileNotFoundError
            It is not there.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load

        with self._reached():
            data: bytes = self._files.cat_file(self._path(name))
        try:
            size = int.from_bytes(data[:8], "little")
            facts = json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["part"])
            arrays, key = load(data), FeatureKey(**facts["key"])
            return Embeddings(key, facts["grid"], arrays["tiles"], arrays["vectors"])
        except (SafetensorError, ValueError, KeyError) as error:
            raise ValueError(f"{self._path(name)} is damaged: {error}") from error

    def remove(self, name: str) -> None:
        """Remove a part that has been taken up."""
        with self._reached():
            self._files.rm_file(self._path(name))

    def clear(self) -> None:
        """Remove what there is; nothing more is expected."""
        with self._reached():
            if self._files.exists(self._folder):
                self._files.rm(self._folder, recursive=True)

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """Say what to do where a bucket cannot be reached."""
        if not isinstance(self._place, RemotePath):
            yield
            return
        try:
            yield
        except FileNotFoundError:
            raise
        except network_failures(self._place) as error:
            raise ProjectError(
                f"Results in {self._place} cannot be reached ({error}). Check the address, the "
                "keys and the network."
            ) from error

    def _path(self, name: str) -> str:
        return f"{self._folder}/{name}{SUFFIX}"
