"""JSON that is read piece by piece: a file of hundreds of megabytes is never held as a whole."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NoReturn, Protocol

BLOCK = 1 << 20
"""Characters that are read at once."""

LARGEST_VALUE = 1 << 28
"""Characters of one value (one object of an annotation file); more is no sound file."""

_CUT = 16
"""An error so near to the end of what has been read may be due to the cut."""

_IN_NUMBER = re.compile(r"[0-9.eE+-]*")
_BLANK = re.compile(r"[ \t\r\n]*")


class Text(Protocol):
    """Something that characters can be read from."""

    def read(self, size: int, /) -> str:
        """Return at most `size` characters; none at the end."""


class JsonStream:
    """Goes through a JSON text value by value.

    Parameters
    ----------
    text : Text
        An open text file.
    """

    def __init__(self, text: Text) -> None:
        self._file, self._decoder = text, json.JSONDecoder()
        self._text, self._at, self._before = "", 0, 0

    def peek(self) -> str:
        """Return the next character that is not blank; empty at the end."""
        while True:
            match = _BLANK.match(self._text, self._at)
            self._at = match.end() if match is not None else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._read(BLOCK):
                return ""

    def items(self) -> Iterator[Any]:
        """Yield the values of the array that begins here."""
        self._take("[")
        if self._ends("]"):
            return
        while True:
            yield self.value()
            if self._ends("]"):
                return
            self._take(",")

    def members(self) -> Iterator[str]:
        """Yield the keys of the object that begins here; its value is to be taken after each."""
        self._take("{")
        if self._ends("}"):
            return
        while True:
            if self.peek() != '"':
                self._fail("a key is missing")
            key = str(self.value())
            self._take(":")
            yield key
            if self._ends("}"):
                return
            self._take(",")

    def value(self) -> Any:
        """Return the value that begins here.

        Raises
        ------
        ValueError
            It is no JSON, or the text ends in the middle of it.
        """
        self.peek()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                self._read_on(error)
            except RecursionError:
                self._fail("values lie too deep in each other")
            else:
                if isinstance(value, int | float) and self._is_cut(end) and self._read(BLOCK):
                    continue
                self._at = end
                return value

    def _is_cut(self, end: int) -> bool:
        """Whether a number may go on behind what has been read: ``1`` of ``1.5e3``."""
        return _IN_NUMBER.fullmatch(self._text, end) is not None

    def _read_on(self, error: json.JSONDecodeError) -> None:
        """Read more if that may mend the error, twice as much each time."""
        held, place = len(self._text) - self._at, error.pos - self._at
        unterminated = error.msg.startswith("Unterminated")
        if not unterminated and place < held - _CUT:
            self._fail(error.msg, place)
        if held > LARGEST_VALUE:
            self._fail(f"a single value is longer than {LARGEST_VALUE >> 20} million characters")
        if not self._read(max(BLOCK, held)):
            if not unterminated and place < held:
                self._fail(error.msg, place)
            self._fail("the file ends in the middle; it may not have been copied to its end")

    def _take(self, character: str) -> None:
        if not self._ends(character):
            self._fail(f"“{character}” is missing")

    def _ends(self, character: str) -> bool:
        """Step over a character if it is the next one."""
        if self.peek() != character:
            return False
        self._at += 1
        return True

    def _read(self, size: int) -> bool:
        more = self._file.read(size)
        self._before += self._at
        self._text, self._at = self._text[self._at :] + more, 0
        return bool(more)

    def _fail(self, what: str, place: int = 0) -> NoReturn:
        raise ValueError(f"{what} (character {self._before + self._at + place:,})")
