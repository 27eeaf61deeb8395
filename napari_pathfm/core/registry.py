"""What can be chosen: catalogue entries and factories at entry points, named without importing."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class RegistryError(LookupError):
    """A name is unknown, taken twice or belongs to a plugin that cannot be loaded."""


@dataclass(frozen=True)
class Choice(Generic[T]):
    """One name that can be chosen.

    Attributes
    ----------
    name : str
    origin : str
        Where it comes from, for messages ("napari-pathfm", a file, "this project").
    load : callable
        Imports what is needed and makes it; may take seconds. Takes the options of
        :meth:`Registry.get` by name.
    """

    name: str
    origin: str
    load: Callable[..., T]


def resolve(reference: str) -> Callable[..., object]:
    """Import ``"module:attribute"`` and return the attribute."""
    module, _, attribute = reference.partition(":")
    found: Callable[..., object] = getattr(importlib.import_module(module), attribute)
    return found


class Registry(Generic[T]):
    """The union of factories at entry points and of further sources.

    Parameters
    ----------
    group : str
        Entry-point group; each entry point is a callable that returns the thing. It takes the
        options of :meth:`get` that it has a use for, by name. Empty: there are none.
    kind : str
        What is registered, in the singular, for messages ("encoder").
    sources : iterable of callable
        Each returns choices from somewhere else (a catalogue file, a project's folder) and is
        asked anew each time.
    """

    def __init__(
        self, group: str, kind: str, sources: Iterable[Callable[[], Iterable[Choice[T]]]] = ()
    ) -> None:
        self.group, self.kind = group, kind
        self._sources = list(sources)

    def add_source(self, source: Callable[[], Iterable[Choice[T]]]) -> None:
        """Add a source of choices."""
        self._sources.append(source)

    def choices(self) -> dict[str, list[Choice[T]]]:
        """Every choice by its name; two of one name stand beside each other."""
        found: dict[str, list[Choice[T]]] = {}
        for point in entry_points(group=self.group) if self.group else ():
            found.setdefault(point.name, []).append(self._from_entry_point(point))
        for source in self._sources:
            for choice in source():
                found.setdefault(choice.name, []).append(choice)
        return found

    def names(self) -> tuple[str, ...]:
        """Names in alphabetical order; reads metadata only and imports nothing."""
        return tuple(sorted(self.choices()))

    def get(self, name: str, **options: Any) -> T:
        """Load one thing by its name.

        Parameters
        ----------
        name : str
        options : any
            Handed to its factory (`weights` and `device` for a model, say).

        Raises
        ------
        RegistryError
            The name is unknown or taken twice, the plugin behind it is broken, or it does not take
            such an option.
        """
        found = self.choices()
        if name not in found:
            others = (
                f"Choose one of: {', '.join(sorted(found))}." if found else "There is none yet."
            )
            meant = did_you_mean(name, found)
            raise RegistryError(f"There is no {self.kind} named {name!r}.{meant} {others}")
        if len(found[name]) > 1:
            origins = " and ".join(choice.origin for choice in found[name])
            raise RegistryError(
                f"Two {self.kind}s are named {name!r}: from {origins}. Uninstall or rename one."
            )
        return found[name][0].load(**options)

    def _from_entry_point(self, point: EntryPoint) -> Choice[T]:
        origin = f"{point.dist.name if point.dist else 'an unknown package'} ({point.value})"

        def load(**options: Any) -> T:
            try:
                factory = point.load()
            except (ImportError, AttributeError) as error:
                raise RegistryError(
                    f"The {self.kind} {point.name!r} of {origin} cannot be imported: {error}. "
                    "Update or reinstall that package."
                ) from error
            try:
                inspect.signature(factory).bind(**options)
            except TypeError as error:
                raise RegistryError(
                    f"The {self.kind} {point.name!r} of {origin} does not take these options "
                    f"({', '.join(options) or 'none'}): {error}. Choose it without them."
                ) from error
            made: T = factory(**options)
            return made

        return Choice(point.name, origin, load)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Ask, after a blank, whether a name that is most like an unknown one was meant; or ``""``."""
    alike = get_close_matches(name.lower().replace("_", "-"), list(known), n=3)
    return f" Did you mean {' or '.join(alike)}?" if alike else ""
