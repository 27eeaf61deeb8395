"""Outlines out of GeoJSON as QuPath, and most others, write it.

GeoJSON says ``(x, y)``: positions are turned here, at the edge of this file, and nowhere else.
"""

from __future__ import annotations

import gzip
import io
import json
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from .json_stream import JsonStream
from .outline_table import OutlineBuilder, OutlineTable

DROPPED = (".geojson", ".geojson.gz", ".geojson.zip")
"""Endings by which a file is known as outlines, without looking into it."""

BATCH_POINTS = 1 << 18
"""Positions that are held as Python's lists before they become a table."""

BATCH_OBJECTS = 1 << 14

NO_OUTLINE = "without an outline"
POINTS = "points, which cover no pixel"
LINES = "lines, which cover no pixel"
STRANGE = "of a geometry that GeoJSON does not know"
BROKEN = "with a broken outline (fewer than three corners, or a position that is no number)"
NUCLEI = "nucleus outlines inside cells: the outline of the cell is taken"
NAMES = "names of single objects: objects have a class, and no name"

_LEFT_OUT = {
    "Point": POINTS,
    "MultiPoint": POINTS,
    "LineString": LINES,
    "MultiLineString": LINES,
}
_SURFACES = ("Polygon", "MultiPolygon", "GeometryCollection")


class GeoJsonFile:
    """A GeoJSON file on its way in; iterating over it yields an :class:`OutlineTable` a time.

    A FeatureCollection, a plain list of features, one feature, or one geometry; also compressed
    (gzip, zip). Never held as a whole.

    Parameters
    ----------
    path : Path

    Attributes
    ----------
    classes : list of tuple
        Name and colour (``"#rrggbb"``, empty for none) of the classes met so far;
        :attr:`OutlineTable.classes` counts in it.
    left_out : Counter
        Objects (and parts of objects) that are not taken, by the reason.
    done, size : int
        Bytes of the file that have been read, and that there are.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.classes: list[tuple[str, str]] = []
        self.left_out: Counter[str] = Counter()
        self.done = 0
        with _explained(path):
            self.size = path.stat().st_size
        self._numbers: dict[str, int] = {}
        self._builder = OutlineBuilder()

    def __iter__(self) -> Iterator[OutlineTable]:
        """Yield the outlines in their order.

        Raises
        ------
        ValueError
            The file cannot be read, is damaged, or is no GeoJSON; the message says where.
        """
        builder = self._builder
        with _explained(self.path), self.path.open("rb") as raw:
            for text in _texts(raw):
                for feature in _features(JsonStream(text)):
                    self._add(feature)
                    if builder.points > BATCH_POINTS or len(builder) >= BATCH_OBJECTS:
                        self.done = raw.tell()
                        yield builder.take()
            self.done = self.size
            last = builder.take()
        self.left_out += Counter({BROKEN: builder.broken})  # sums drop what is 0
        if len(last):
            yield last

    def _add(self, feature: Any) -> None:
        if not isinstance(feature, dict):
            raise ValueError(f"{json.dumps(feature)[:40]} stands where a feature should")
        geometry = feature if _is_geometry(feature) else feature.get("geometry")
        polygons = self._polygons(geometry)
        if not polygons:
            return
        properties = feature.get("properties")
        facts: dict[str, Any] = properties if isinstance(properties, dict) else {}
        if "nucleusGeometry" in feature or "nucleusGeometry" in facts:
            self.left_out[NUCLEI] += 1
        name = facts.get("name")
        if name and not str(name).isdigit():  # a number is nobody's name
            self.left_out[NAMES] += 1
        self._builder.add(polygons, self._class(facts.get("classification")), flip=True)

    def _polygons(self, geometry: Any) -> Sequence[Any]:
        """Return the polygons of a geometry; count one that has none."""
        found, others = _surfaces(geometry)
        if not found:
            self.left_out[others[0] if others else NO_OUTLINE] += 1
        return found

    def _class(self, classification: Any) -> int:
        """Return the number of a class; -1 for none."""
        name = _class_name(classification)
        if not name:
            return -1
        if name not in self._numbers:
            self._numbers[name] = len(self.classes)
            self.classes.append((name, _class_color(classification)))
        return self._numbers[name]


def _features(stream: JsonStream) -> Iterator[Any]:
    """Yield features wherever the file keeps them."""
    if stream.peek() == "[":
        yield from stream.items()
        return
    if stream.peek() != "{":
        raise ValueError("it does not begin as JSON does")
    rest: dict[str, Any] = {}
    found = False
    for key in stream.members():
        if key == "features" and stream.peek() == "[":
            found = True
            yield from stream.items()
        else:
            rest[key] = stream.value()
    if not found:
        if rest.get("type") != "Feature" and not _is_geometry(rest):
            raise ValueError(
                "it is JSON, but has neither “features” nor a geometry: export the objects as "
                "GeoJSON"
            )
        yield rest


def _is_geometry(value: Mapping[str, Any]) -> bool:
    return value.get("type") in (*_SURFACES, *_LEFT_OUT)


def _surfaces(geometry: Any) -> tuple[list[Any], list[str]]:
    """Return the polygons of a geometry, and why other parts of it are none."""
    if not isinstance(geometry, dict) or not geometry:
        return [], []
    kind, coordinates = geometry.get("type"), geometry.get("coordinates")
    if kind == "Polygon" and coordinates:
        return [coordinates], []
    if kind == "MultiPolygon" and isinstance(coordinates, list):
        return coordinates, []
    if kind == "GeometryCollection" and isinstance(geometry.get("geometries"), list):
        parts = [_surfaces(part) for part in geometry["geometries"]]
        return [p for found, _ in parts for p in found], [w for _, why in parts for w in why]
    if kind in _SURFACES:
        return [], [NO_OUTLINE]
    return [], [_LEFT_OUT.get(str(kind), STRANGE)]


def _class_name(classification: Any) -> str:
    if isinstance(classification, str):
        return classification.strip()
    if not isinstance(classification, dict):
        return ""
    name, names = classification.get("name"), classification.get("names")
    if not name and isinstance(names, list):
        name = ": ".join(map(str, names))
    return str(name or "").strip()


def _class_color(classification: Any) -> str:
    if not isinstance(classification, dict):
        return ""
    return _hex(classification.get("color", classification.get("colorRGB")))


def _hex(color: Any) -> str:
    """Return ``"#rrggbb"`` of a list of three, or of the packed number of older files."""
    if isinstance(color, bool):
        return ""
    if isinstance(color, int):
        return f"#{color & 0xFFFFFF:06x}"
    try:
        red, green, blue = (int(part) for part in color[:3])
    except (TypeError, ValueError):
        return ""
    inside = all(0 <= part <= 255 for part in (red, green, blue))
    return f"#{red:02x}{green:02x}{blue:02x}" if inside else ""


def _texts(raw: IO[bytes]) -> Iterator[IO[str]]:
    """Yield the text in a file, or the texts in a zip."""
    start = raw.read(4)
    raw.seek(0)
    if start == b"PK\x03\x04":
        with zipfile.ZipFile(raw) as archive:
            names = [n for n in archive.namelist() if n.lower().endswith((".geojson", ".json"))]
            if not names:
                raise ValueError("there is no .geojson in it")
            for name in names:
                with archive.open(name) as member:
                    yield io.TextIOWrapper(member, "utf-8-sig")
    elif start[:2] == b"\x1f\x8b":
        yield io.TextIOWrapper(gzip.GzipFile(fileobj=raw), "utf-8-sig")
    else:
        yield io.TextIOWrapper(raw, "utf-8-sig")


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Say of every error which file it is, and what to do."""
    try:
        yield
    except FileNotFoundError:
        raise ValueError(f"There is no file {path}: choose another.") from None
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path.name} is no text, so it is no GeoJSON: export it again."
        ) from error
    except (zipfile.BadZipFile, zlib.error, EOFError, gzip.BadGzipFile) as error:
        raise ValueError(f"{path.name} is damaged ({error}): copy or export it again.") from error
    except OSError as error:
        raise ValueError(f"{path.name} cannot be read: {error.strerror or error}.") from error
    except NotImplementedError as error:  # what zipfile says of a compression
        raise ValueError(f"{path.name} cannot be unpacked ({error}): unpack it first.") from error
    except ValueError as error:
        raise ValueError(f"{path.name} cannot be read as GeoJSON: {error}.") from error
