"""Slides that are read over the network, range by range, through fsspec."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.slide import SlideError

if TYPE_CHECKING:
    _LocalPath = Path
else:
    _LocalPath = type(Path())  # before Python 3.12 only the system's own kind can be inherited

SCHEME = re.compile(r"(https?|s3)://", re.IGNORECASE)

BLOCK = 256 * 1024
"""Bytes that fsspec reads at once where tifffile looks for the list of levels."""


class RemoteSlideError(SlideError):
    """A slide cannot be reached over the network, whatever its format is."""


class RemotePath(_LocalPath):
    """Where a slide lies that is no file of this computer: a path whose text is the URL."""

    def __str__(self) -> str:
        return f"{self.parts[0]}//{'/'.join(self.parts[1:])}"  # pathlib makes one slash of two

    def __fspath__(self) -> str:
        return str(self)


def slide_path(place: str | Path) -> Path:
    """Return a file's path, or the :class:`RemotePath` of an ``https://`` or ``s3://`` URL."""
    if isinstance(place, RemotePath):
        return place
    return RemotePath(place) if SCHEME.match(str(place)) else Path(place).expanduser()


def storage_options(path: Path) -> dict[str, Any]:
    """Return what fsspec has to be told to read little at once; nothing for a local file.

    Where this computer has no keys for S3, buckets are read as anybody may read them.
    """
    if not isinstance(path, RemotePath):
        return {}
    if _is_s3(path):
        return {"default_block_size": BLOCK, "anon": not _has_keys()}
    return {"block_size": BLOCK}


def _is_s3(path: Path) -> bool:
    return str(path).lower().startswith("s3:")


def _has_keys() -> bool:
    import botocore.session

    return botocore.session.get_session().get_credentials() is not None


class RemoteFile:
    """Bytes of a remote file by offset, from any thread.

    Parameters
    ----------
    path : RemotePath

    Raises
    ------
    RemoteSlideError
        It cannot be reached, a package is missing, or the server only sends whole files.
    """

    def __init__(self, path: RemotePath) -> None:
        from fsspec.core import url_to_fs

        with network_errors(path):
            self._files, self._name = url_to_fs(str(path), **storage_options(path))
            self.size = int(self._files.info(self._name).get("size") or 0)
            start = self._files.cat_file(self._name, start=0, end=4) if self.size else b""
        if len(start) != 4:
            raise RemoteSlideError(
                f"{path.name} cannot be read where it is: the server does not send parts of files. "
                "Download it, and open the file."
            )
        self._path = path

    def read(self, offset: int, count: int) -> bytes:
        """Return up to `count` bytes.

        Raises
        ------
        RemoteSlideError
            The server cannot be reached any more.
        """
        with network_errors(self._path):
            data: bytes = self._files.cat_file(self._name, start=offset, end=offset + count)
        return data


@contextmanager
def network_errors(path: Path) -> Iterator[None]:
    """Make a :class:`RemoteSlideError` of whatever a network brings, if `path` is a remote one."""
    if not isinstance(path, RemotePath):
        yield
        return
    try:
        yield
    except ImportError as error:
        missing = "s3fs" if _is_s3(path) else "aiohttp"
        raise RemoteSlideError(
            f"{path} needs the package {missing}: install it with “pip install {missing}”."
        ) from error
    except FileNotFoundError as error:
        raise RemoteSlideError(
            f"There is no file {path}, or you may not read it. Check the address and your rights."
        ) from error
    except network_failures(path) as error:
        raise RemoteSlideError(
            f"{path} cannot be read ({error}). Check the address, your rights and the network."
        ) from error


def network_failures(path: Path) -> tuple[type[Exception], ...]:
    """What may be raised where a network is between."""
    import aiohttp

    if not _is_s3(path):
        return aiohttp.ClientError, OSError  # a TimeoutError is one
    import botocore.exceptions as s3

    return aiohttp.ClientError, OSError, s3.BotoCoreError, s3.ClientError
