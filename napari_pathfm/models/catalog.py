"""What encoders and segmenters there are: catalogue files, entry points, and how to get one.

A catalogue is a TOML file with one table a model. Ours lies beside this file; a plugin brings
its own by an entry point of the group ``napari_pathfm.catalogs`` whose value is
``package:file.toml``, which is read without importing the package.
"""

from __future__ import annotations

import functools
import importlib.util
import tomllib
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, TypeVar

from ..core.jobs import Progress
from ..core.registry import Choice, Registry, resolve
from .base import (
    KINDS,
    STATUSES,
    Encoder,
    EncoderSpec,
    ExampleSegmenter,
    ModelError,
    ModelSpec,
    Segmenter,
    SlideModel,
    SlideSpec,
)
from .keys import MAPPINGS
from .revisions import pins
from .weights import WeightsSource

DEFAULT_ENCODER = "efficientnet-lite0"
DEFAULT_SEGMENTER = "pathfm-click"

OURS = Path(__file__).with_name("catalog.toml")

LOADERS = {
    "biovil": "napari_pathfm.models.biovil:load",
    "clip": "napari_pathfm.models.clip:load",
    "conch": "napari_pathfm.models.conch:load",
    "ctranspath": "napari_pathfm.models.ctranspath:load",
    "hipt": "napari_pathfm.models.hipt:load",
    "keep": "napari_pathfm.models.keep:load",
    "longnet": "napari_pathfm.models.longnet:load",
    "musk": "napari_pathfm.models.musk:load",
    "openclip": "napari_pathfm.models.openclip:load",
    "quiltnet": "napari_pathfm.models.quiltnet:load",
    "remote_code": "napari_pathfm.models.remote_models:load",
    "timm": "napari_pathfm.models.timm:load",
    "transformers": "napari_pathfm.models.transformers:load",
}
"""Ways of loading that have a short name."""

T = TypeVar("T")

_KIND_WORDS = {
    "encoder": "an encoder",
    "slide": "a slide model",
    "segmenter": "a segmenter",
    "example": "a segmenter by example",
    "report": "a writer of reports",
}

_CHOICES = {
    "interpolation": ("bilinear", "bicubic"),
    "kind": KINDS,
    "status": STATUSES,
    "pooling": ("cls", "cls+mean", "avg", "own", "two-scale"),
    "precision": ("float32", "float16", "bfloat16"),
    "keys": ("", *MAPPINGS),
}


_SPECS: dict[str, type[ModelSpec]] = {"encoder": EncoderSpec, "slide": SlideSpec}


@dataclass(frozen=True)
class CatalogEntry:
    """One model of a catalogue file.

    Attributes
    ----------
    spec : ModelSpec
        Its facts; :class:`EncoderSpec` or :class:`SlideSpec` for those kinds, unless nothing can
        load it and its further facts are not known.
    loader : str
        Empty if nothing can load it. "timm", or ``"package.module:function"``; called with the
        entry and, by name, what :func:`get_encoder` was given of `weights`, `device` and `report`.
    arch : str
        Name of the architecture, for the loader.
    arch_kwargs : mapping
        Further arguments of the architecture.
    weights, tokenizer : WeightsSource
        Where the weights are to be had, and the tokeniser of those that have a file for it.
    keys : str
        How the checkpoint's names are mapped (see :data:`napari_pathfm.models.keys.MAPPINGS`).
    origin : str
        The file, for messages.
    """

    spec: ModelSpec
    loader: str = ""
    arch: str = ""
    arch_kwargs: Mapping[str, Any] = field(default_factory=dict)
    weights: WeightsSource = field(default_factory=WeightsSource)
    tokenizer: WeightsSource = field(default_factory=WeightsSource)
    keys: str = ""
    origin: str = ""

    @property
    def encoder(self) -> EncoderSpec:
        """Its facts as an encoder of tiles.

        Raises
        ------
        TypeError
            It is another kind of model.
        """
        if not isinstance(self.spec, EncoderSpec):
            raise TypeError(
                f"{self.spec.name} is no encoder of tiles that can be loaded but a "
                f"{self.spec.kind} model. {self.spec.note}".rstrip()
            )
        return self.spec


def read_catalog(path: Path) -> tuple[CatalogEntry, ...]:
    """Read a catalogue file; revisions that the user has pinned go before those in it.

    Raises
    ------
    ModelError
        It is no TOML, or an entry lacks a fact, has an unknown one or one of the wrong kind; the
        message names file and entry.
    """
    try:
        found = path.stat()
        listed = _read(path, found.st_mtime_ns, found.st_size)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ModelError(f"The catalogue {path} cannot be read: {error}") from error
    pinned = pins()
    return tuple(_pinned(entry, pinned.get(entry.spec.name, "")) for entry in listed)


def _pinned(entry: CatalogEntry, revision: str) -> CatalogEntry:
    if not revision or not entry.weights.hub:
        return entry
    return replace(entry, weights=replace(entry.weights, revision=revision))


@functools.lru_cache(maxsize=16)
def _read(path: Path, _changed: int, _size: int) -> tuple[CatalogEntry, ...]:
    # Once, until the file changes: a window asks at every turn, and ours takes 15 ms.
    tables = tomllib.loads(path.read_text("utf-8"))
    return tuple(_entry(name, table, path) for name, table in tables.items())


def _entry(name: str, table: Any, path: Path) -> CatalogEntry:
    def wrong(what: str) -> ModelError:
        return ModelError(f"{path}: the entry {name!r} {what}. Correct the file.")

    if not isinstance(table, dict):
        raise wrong("is no table")
    facts = {**table, "name": name}
    kind = _SPECS.get(facts.get("kind", "encoder"), ModelSpec)
    if facts.get("loader") == "" and "dim" not in facts:
        kind = ModelSpec  # what nobody can build has no further facts to be relied on
    wanted: dict[str, str] = {f.name: str(f.type) for f in fields(kind)}
    needed = [f.name for f in fields(kind) if f.default is MISSING]
    if kind is EncoderSpec and facts.get("status") != "none":
        needed.append("loader")
    others = {
        "loader": "str",
        "arch": "str",
        "arch_kwargs": "dict",
        "weights": "dict",
        "tokenizer": "dict",
        "keys": "str",
    }
    if missing := [key for key in needed if key not in facts]:
        raise wrong(f"lacks {', '.join(missing)}")
    if unknown := [key for key in facts if key not in wanted | others]:
        raise wrong(f"has the unknown key {unknown[0]!r}")
    for key, value in facts.items():
        if problem := _problem(value, (wanted | others)[key], _CHOICES.get(key, ())):
            raise wrong(f"has {key} = {value!r}, which is not {problem}")
    sources = [f.name for f in fields(WeightsSource)]
    for table in ("weights", "tokenizer"):
        for key, value in facts.get(table, {}).items():
            if key not in sources or not isinstance(value, str):
                names = ", ".join(sources)
                raise wrong(f"has {table}.{key}, but {table} are texts named {names}")
    for key in ("mean", "std"):
        if key in facts:
            facts[key] = tuple(facts[key])
    return CatalogEntry(
        kind(**{key: facts[key] for key in wanted if key in facts}),
        weights=WeightsSource(**facts.get("weights", {})),
        tokenizer=WeightsSource(**facts.get("tokenizer", {})),
        origin=str(path),
        **{key: facts[key] for key in ("loader", "arch", "arch_kwargs", "keys") if key in facts},
    )


def _problem(value: Any, kind: str, choices: tuple[str, ...]) -> str:
    """Say what a fact should have been, or nothing if it is that."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if choices:
        return "" if value in choices else f"one of {', '.join(filter(None, choices))}"
    if kind.startswith("tuple"):
        plain = isinstance(value, list) and len(value) == 3
        good = plain and all(isinstance(v, int | float) for v in value)
        return "" if good else "a list of three numbers"
    if kind == "int":
        good = number and isinstance(value, int) and value >= 0
        return "" if good else "a whole number"
    if kind == "float":
        return "" if number and value > 0 else "a number above 0"
    plain_kinds: dict[str, tuple[type, str]] = {
        "str": (str, "a text"),
        "bool": (bool, "true or false"),
        "dict": (dict, "a table"),
    }
    type_, words = plain_kinds[kind]
    return "" if isinstance(value, type_) else words


def _catalog_choices(kind: str) -> Iterator[Choice[Any]]:
    yield from _choices(OURS, "napari-pathfm", kind)
    for point in entry_points(group="napari_pathfm.catalogs"):
        origin = f"{point.dist.name if point.dist else 'an unknown package'} ({point.value})"
        try:
            yield from _choices(_catalog_file(point), origin, kind)
        except ModelError as error:
            # A broken plugin must not take the others along: it fails alone, when chosen.
            yield Choice(point.name, origin, functools.partial(_fail, error))


def _choices(path: Path, origin: str, kind: str) -> list[Choice[Any]]:
    return [
        Choice(entry.spec.name, f"{origin}: {path.name}", functools.partial(_load, entry))
        for entry in read_catalog(path)
        if entry.spec.kind == kind
    ]


def _catalog_file(point: EntryPoint) -> Path:
    package, _, file = point.value.partition(":")
    top, *below = package.strip().split(".")
    spec = importlib.util.find_spec(top)  # finds a top-level package without importing it
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder, *below, file.strip())
        if path.is_file():
            return path
    raise ModelError(
        f"The catalogue {point.value!r} of the entry point {point.name!r} does not exist. "
        "Update or reinstall the package that declares it."
    )


def _load(entry: CatalogEntry, **options: Any) -> Any:
    if entry.spec.status == "none" or not entry.loader:
        raise ModelError(f"{entry.spec.name} cannot be loaded. {entry.spec.note}")
    try:
        load = resolve(LOADERS.get(entry.loader, entry.loader))
    except (ImportError, AttributeError, ValueError) as error:
        raise ModelError(
            f"{entry.origin}: the loader {entry.loader!r} of {entry.spec.name} cannot be imported: "
            f"{error}. Correct the entry, or install what is missing."
        ) from error
    return load(entry, **options)


def _fail(error: ModelError, **_options: Any) -> Any:
    raise error


@functools.cache
def encoders() -> Registry[Encoder]:
    """Every encoder that can be chosen."""
    choices = functools.partial(_catalog_choices, "encoder")
    return Registry("napari_pathfm.encoders", "encoder", [choices])


@functools.cache
def segmenters() -> Registry[Segmenter]:
    """Every segmenter that can be chosen."""
    return Registry("napari_pathfm.segmenters", "segmenter")


@functools.cache
def example_segmenters() -> Registry[ExampleSegmenter]:
    """Every model that segments by example and can be chosen."""
    choices = functools.partial(_catalog_choices, "example")
    return Registry("", "segmenter by example", [choices])


@functools.cache
def slide_models() -> Registry[SlideModel]:
    """Every model of whole slides that can be chosen."""
    choices = functools.partial(_catalog_choices, "slide")
    return Registry("napari_pathfm.slide_models", "slide model", [choices])


def encoder_specs() -> dict[str, EncoderSpec]:
    """Facts of all encoders in catalogue files, without loading anything.

    A plugin's catalogue that cannot be read is left out with a warning.
    """
    return {name: e.spec for name, e in entries().items() if isinstance(e.spec, EncoderSpec)}


def entries() -> dict[str, CatalogEntry]:
    """Every entry of every catalogue file by its name, without loading anything.

    A plugin's catalogue that cannot be read is left out with a warning.
    """
    found = {entry.spec.name: entry for entry in read_catalog(OURS)}
    for point in entry_points(group="napari_pathfm.catalogs"):
        try:
            for entry in read_catalog(_catalog_file(point)):
                found.setdefault(entry.spec.name, entry)
        except ModelError as error:
            warnings.warn(str(error), stacklevel=2)
    return found


def build(entry: CatalogEntry, meta: bool = False) -> Any:
    """Build the network of an entry without weights: the ``build`` beside its ``load``.

    Parameters
    ----------
    entry : CatalogEntry
    meta : bool
        On the meta device: shapes without memory.

    Raises
    ------
    ModelError
        It cannot be built, or is not what the catalogue says.
    """
    module = LOADERS.get(entry.loader, entry.loader).partition(":")[0]
    if not module:
        raise ModelError(f"{entry.spec.name} cannot be built. {entry.spec.note}".rstrip())
    return resolve(f"{module}:build")(entry, meta=meta)


def get_encoder(
    name: str = DEFAULT_ENCODER,
    weights: Path | None = None,
    device: str | None = None,
    report: Callable[[Progress], None] | None = None,
) -> Encoder:
    """Load an encoder; may take seconds, and minutes if its weights have to be downloaded.

    Parameters
    ----------
    name : str
    weights : Path, optional
        A file with its weights, or a folder that may hold ``<name>.safetensors`` and the like.
    device : str, optional
        "cpu", "cuda:0", "mps"; the best one if absent.
    report : callable, optional
        Is told how far a download is.

    Raises
    ------
    ModelError
        Its weights are missing, wrong or cannot be downloaded.
    RegistryError
        There is no such encoder, or two of that name.
    """
    encoder: Encoder = _get(encoders(), name, weights=weights, device=device, report=report)
    if hasattr(encoder, "origin"):
        encoder.origin = name, weights
    return encoder


def get_segmenter(
    name: str = DEFAULT_SEGMENTER,
    weights: Path | None = None,
    device: str | None = None,
    report: Callable[[Progress], None] | None = None,
) -> Segmenter:
    """Load a segmenter; parameters and errors are those of :func:`get_encoder`."""
    return _get(segmenters(), name, weights=weights, device=device, report=report)


def get_example_segmenter(
    name: str,
    weights: Path | None = None,
    device: str | None = None,
    report: Callable[[Progress], None] | None = None,
) -> ExampleSegmenter:
    """Load a model that segments by example; parameters and errors as of :func:`get_encoder`."""
    return _get(example_segmenters(), name, weights=weights, device=device, report=report)


def get_slide_model(
    name: str,
    weights: Path | None = None,
    device: str | None = None,
    report: Callable[[Progress], None] | None = None,
) -> SlideModel:
    """Load a model of whole slides; parameters and errors are those of :func:`get_encoder`."""
    return _get(slide_models(), name, weights=weights, device=device, report=report)


def _get(registry: Registry[T], name: str, **options: Any) -> T:
    refuse_other_kinds(registry, name)
    return registry.get(name, **{key: v for key, v in options.items() if v is not None})


def refuse_other_kinds(registry: Registry[Any], name: str) -> None:
    """Refuse a model that is known, but is no choice of a registry.

    Raises
    ------
    ModelError
        It says what the model is, and which one is nearest.
    """
    names = registry.names()
    entry = None if name in names else entries().get(name.lower())
    if entry is None or entry.spec.name in names:
        return
    name, wanted = entry.spec.name, registry.kind
    what = _KIND_WORDS[entry.spec.kind]
    problem = "cannot be loaded" if what.endswith(wanted) else f"is {what}, no {wanted}"
    more = entry.spec.note or f"“pathfm models check {name}” says more."
    raise ModelError(f"{name} {problem}. {more}")
