"""Identity of a slide by its content, so that one that was moved or renamed is found again."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ..core.slide import SlideError

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
    digest = hashlib.blake2b(digest_size=8)
    if Path(path).is_dir():
        for part in _spread([each for each in sorted(Path(path).rglob("*")) if each.is_file()]):
            digest.update(f"{part.relative_to(path).as_posix()} {fingerprint(part)}".encode())
        return digest.hexdigest()
    try:
        size = Path(path).stat().st_size
        digest.update(str(size).encode())
        with Path(path).open("rb") as file:
            for start in _starts(size):
                file.seek(start)
                digest.update(file.read(BLOCK))
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
