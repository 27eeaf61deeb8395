"""Prompt ensembles: the sentences with which a text encoder is asked for a class."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

GENERAL = "general"
PLACE = "{}"
"""Where the name of the class goes."""

_FILE = Path(__file__).with_name("prompts.toml")


@dataclass(frozen=True)
class PromptSet:
    """Sentences of one ensemble.

    Attributes
    ----------
    name : str
        An encoder whose authors defined it, or "general".
    templates : tuple of str
        Each with :data:`PLACE` in it.
    source : str
        Where it comes from.
    also : tuple of str
        Further encoders of these authors.
    """

    name: str
    templates: tuple[str, ...]
    source: str = ""
    also: tuple[str, ...] = ()

    def prompts(self, names: Sequence[str]) -> list[str]:
        """Put each name (synonyms of one class) into each template: ``names x templates``.

        Raises
        ------
        ValueError
            There is no name, an empty one, or a template without a place for it.
        """
        if not names or not all(name.strip() for name in names):
            raise ValueError("A class needs a name to be asked for: write one or more synonyms.")
        if wrong := [each for each in self.templates if PLACE not in each]:
            raise ValueError(f"The template {wrong[0]!r} has no {PLACE} for the name of a class.")
        return [each.replace(PLACE, name.strip()) for name in names for each in self.templates]


@functools.cache
def prompt_sets() -> dict[str, PromptSet]:
    """Every ensemble by its name, from the file beside this one."""
    tables = tomllib.loads(_FILE.read_text("utf-8"))
    return {
        name: PromptSet(
            name, tuple(table["templates"]), table["source"], tuple(table.get("also", ()))
        )
        for name, table in tables.items()
    }


def prompts_of(encoder: str) -> PromptSet:
    """Return the ensemble that an encoder's authors defined, or the general one."""
    sets = prompt_sets()
    theirs = (each for each in sets.values() if encoder in (each.name, *each.also))
    return next(theirs, sets[GENERAL])
