"""Texts as numbers of tokens, from the tokeniser's file that a model's authors publish."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.jobs import Progress
from .base import ModelError
from .checkpoint import first_line
from .weights import WeightsSource, find_weights

if TYPE_CHECKING:
    import torch

    from .catalog import CatalogEntry


def find_tokenizer(entry: CatalogEntry, weights: Path | None = None) -> Path:
    """Find the tokeniser's file of a model, ``<name>-tokenizer``; see :func:`find_beside`."""
    name, suffix = entry.weights.shared or entry.spec.name, Path(entry.tokenizer.file_name).suffix
    return find_beside(entry, f"{name}-tokenizer{suffix}", entry.tokenizer, weights)


def find_beside(
    entry: CatalogEntry,
    name: str,
    source: WeightsSource,
    weights: Path | None = None,
    report: Callable[[Progress], None] | None = None,
) -> Path:
    """Find a second file of a model.

    Looked for beside the weights and where they are looked for, as `name`, then downloaded. Beside
    weights that still have the name under which they were published it may have its own, too:
    elsewhere that would not do, for most of these files are called the same.

    Parameters
    ----------
    entry : CatalogEntry
    name : str
        As for :func:`napari_pathfm.models.weights.locate`.
    source : WeightsSource
    weights : Path, optional
        The weights that the user gave, or their folder.
    report : callable, optional
        Is told how far a download is.

    Raises
    ------
    ModelError
        There is no such file; the message says what to do.
    """
    folder = weights
    if weights is not None and not weights.is_dir():
        folder = weights.parent
        published = folder / source.file_name
        if weights.name == entry.weights.file_name and published.is_file():
            return published
    return find_weights(name, source, folder, entry.spec.gate, report)


class Tokenizer:
    """A tokeniser whose file is read when the first texts come: images do without it.

    It reads the ``tokenizer.json`` of the tokenizers library, and BERT's ``vocab.txt`` (one piece
    a line, texts in lower case).

    Parameters
    ----------
    entry : CatalogEntry
    weights : Path, optional
        The weights that the user gave, or their folder.
    length : int
        Tokens of a text, the ones that stand for its start and end included; longer texts are cut.
    pad : str
        What shorter ones are filled up with.
    to_longest : bool
        Fill up to the longest of the texts instead of to `length`.
    """

    def __init__(
        self,
        entry: CatalogEntry,
        weights: Path | None,
        length: int,
        pad: str,
        to_longest: bool = False,
    ) -> None:
        self._entry, self._weights = entry, weights
        self._length, self._pad, self._to_longest = length, pad, to_longest

    def __call__(self, texts: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the numbers of the tokens and which are none, ``(N, L)`` int64 and bool."""
        import torch

        found = self._file.encode_batch(texts)
        ids = torch.tensor([encoding.ids for encoding in found])
        padding = torch.tensor([encoding.attention_mask for encoding in found]) == 0
        return ids, padding

    @functools.cached_property
    def _file(self) -> Any:
        path = find_tokenizer(self._entry, self._weights)
        tokenizer = _read(path)
        pad = tokenizer.token_to_id(self._pad)
        if pad is None:
            name = self._entry.spec.name
            raise ModelError(f"{path} has no token {self._pad!r}, so it is not that of {name}.")
        tokenizer.enable_truncation(self._length)
        length = None if self._to_longest else self._length
        tokenizer.enable_padding(pad_id=pad, pad_token=self._pad, length=length)
        return tokenizer


def _read(path: Path) -> Any:
    from tokenizers import BertWordPieceTokenizer
    from tokenizers import Tokenizer as File

    try:
        if path.suffix == ".txt":
            return BertWordPieceTokenizer(str(path), lowercase=True)
        return File.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        raise ModelError(
            f"{path} cannot be read as a tokeniser: {first_line(error)}. Download it again."
        ) from error
