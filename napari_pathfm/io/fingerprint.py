"""Identity of a slide by its content, so that one that was moved or renamed is found again."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ..core.slide import SlideError
from .backends.ranges import open_ranges
from .backends.remote import RemotePath, slide_path

BLOCK = 64 * 1024
BLOCKS = 32


def fingerprint(path: str | Path) -> str:
    """Return 16 hexadecimal digits over the size and 32 blocks of 64 KiB spread over the file.

    The first and the last block are among them (headers, offsets); a file of up to 2 MiB is read
    completely. Of a folder, up to 32 of its files are taken, with their names.

    Raises
    ------
    SlideError
        The file cannot be read.
    """
    path, digest = slide_path(path), hashlib.blake2b(digest_size=8)
    if not isinstance(path, RemotePath) and path.is_dir():
        for part in _spread([each for each in sorted(path.rglob("*")) if each.is_file()]):
            digest.update(f"{part.relative_to(path).as_posix()} {fingerprint(part)}".encode())
        return digest.hexdigest()
    try:
        file = open_ranges(path)
        digest.update(str(file.size).encode())
        for start in _starts(file.size):
            digest.update(file.read(start, BLOCK))
    except OSError as error:
        raise SlideError(f"{path} cannot be read ({error.strerror}).") from error
    return digest.hexdigest()


def _starts(size: int) -> list[int]:
    if size <= BLOCK * BLOCKS:
        return list(range(0, size, BLOCK))
    return [(size - BLOCK) * number // (BLOCKS - 1) for number in range(BLOCKS)]


def _spread(files: list[Path]) -> list[Path]:
    if len(files) <= BLOCKS:
        return files
    return [files[(len(files) - 1) * number // (BLOCKS - 1)] for number in range(BLOCKS)]
