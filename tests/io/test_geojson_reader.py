"""GeoJSON as QuPath and others write it: all its shapes, broken files, and pieces of large ones."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_pathfm.io.interop import geojson_reader, json_stream
from napari_pathfm.io.interop.fill import count_pixels
from napari_pathfm.io.interop.geojson import label_features, write_geojson
from napari_pathfm.io.interop.geojson_reader import GeoJsonFile
from napari_pathfm.io.interop.json_stream import JsonStream
from napari_pathfm.io.interop.outline_table import OutlineTable, join


def box(x: float, y: float, width: float, height: float) -> list[list[float]]:
    return [[x, y], [x + width, y], [x + width, y + height], [x, y + height], [x, y]]


def feature(geometry: dict[str, Any] | None, **properties: Any) -> dict[str, Any]:
    return {
        "type": "Feature",
        "id": "3b4c9a4e-0a5e-4d05-a1ab-1f8f6b0c7f10",
        "geometry": geometry,
        "properties": {"objectType": "detection", **properties},
    }


def polygon(*rings: list[list[float]]) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": list(rings)}


def read(path: Path) -> tuple[OutlineTable, GeoJsonFile]:
    file = GeoJsonFile(path)
    return join(list(file)), file


def areas(table: OutlineTable) -> list[int]:
    return count_pixels(table, 1000, 2000).tolist()


TUMOR = {"name": "Tumor", "color": [200, 0, 0]}
FEATURES = [
    feature(polygon(box(1500, 10, 20, 10), box(1505, 12, 5, 5)), classification=TUMOR),
    feature({"type": "MultiPolygon", "coordinates": [[box(0, 0, 3, 3)], [box(9, 9, 2, 2)]]}),
    feature(
        polygon(box(20.5, 20.5, 4, 4)), classification={"name": "Stroma", "colorRGB": -6895466}
    ),
    feature(polygon(box(50, 50, 2, 2)), classification={"names": ["Tumor", "Positive"]}),
    {
        **feature(polygon(box(60, 60, 9, 9)), objectType="cell"),
        "nucleusGeometry": polygon(box(62, 62, 3, 3)),
    },
    feature({"type": "Point", "coordinates": [3, 4]}, classification=TUMOR),
    feature({"type": "LineString", "coordinates": [[3, 4], [9, 9]]}),
    feature(None),
    feature(polygon([[0, 0], [1, 1], [0, 0]][:2])),
    feature(polygon(box(70, 70, 5, 5)), classification=TUMOR, name="Gland of interest"),
]


def check(path: Path) -> None:
    table, file = read(path)
    assert areas(table) == [175, 13, 16, 4, 81, 25]
    assert table.boxes()[0].tolist() == [10, 1500, 20, 1520], "positions are (y, x)"
    assert file.classes == [("Tumor", "#c80000"), ("Stroma", "#96c896"), ("Tumor: Positive", "")]
    assert table.classes.tolist() == [0, -1, 1, 2, -1, 0]
    assert file.left_out == {
        geojson_reader.NUCLEI: 1,
        geojson_reader.POINTS: 1,
        geojson_reader.LINES: 1,
        geojson_reader.NO_OUTLINE: 1,
        geojson_reader.BROKEN: 1,
        geojson_reader.NAMES: 1,
    }
    assert file.done == file.size == path.stat().st_size


def collection(features: list[Any]) -> str:
    return json.dumps({"type": "FeatureCollection", "features": features, "crs": None}, indent=1)


def test_a_collection(tmp_path: Path) -> None:
    path = tmp_path / "a.geojson"
    path.write_text(collection(FEATURES), encoding="utf-8-sig")
    check(path)


def test_a_plain_list_in_small_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_stream, "BLOCK", 7)
    monkeypatch.setattr(geojson_reader, "BATCH_POINTS", 9)
    path = tmp_path / "a.json"
    path.write_text(json.dumps(FEATURES))
    assert len(list(GeoJsonFile(path))) > 3
    check(path)


def test_compressed(tmp_path: Path) -> None:
    path = tmp_path / "a.geojson.gz"
    path.write_bytes(gzip.compress(collection(FEATURES).encode()))
    check(path)
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("readme.txt", "hello")
        archive.writestr("a.geojson", json.dumps(FEATURES[:3]))
        archive.writestr("b.geojson", json.dumps(FEATURES[3:]))
    check(path)


@pytest.mark.parametrize("alone", [FEATURES[0], FEATURES[0]["geometry"]])
def test_one_feature_or_one_geometry(tmp_path: Path, alone: dict[str, Any]) -> None:
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps(alone))
    assert areas(read(path)[0]) == [175]


def test_a_geometry_collection(tmp_path: Path) -> None:
    path = tmp_path / "a.geojson"
    parts = [polygon(box(0, 0, 3, 3)), {"type": "Point", "coordinates": [1, 1]}]
    mixed = feature({"type": "GeometryCollection", "geometries": parts})
    lines = feature({"type": "GeometryCollection", "geometries": parts[1:]})
    path.write_text(json.dumps([mixed, lines]))
    table, file = read(path)
    assert areas(table) == [9]
    assert file.left_out == {geojson_reader.POINTS: 1}


@pytest.mark.parametrize("empty", ["[]", '{"type": "FeatureCollection", "features": []}'])
def test_nothing_in_it(tmp_path: Path, empty: str) -> None:
    path = tmp_path / "a.geojson"
    path.write_text(empty)
    assert list(GeoJsonFile(path)) == []


def test_what_we_write_comes_in_again(tmp_path: Path) -> None:
    ids = np.random.default_rng(0).integers(0, 4, (60, 70))
    path = write_geojson(tmp_path / "a.geojson", label_features(ids))
    assert areas(read(path)[0]) == [int((ids == n).sum()) for n in (1, 2, 3)]


WHOLE = collection(FEATURES)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "does not begin as JSON"),
        (b"hello", "does not begin as JSON"),
        (b'{"images": [], "annotations": []}', "neither"),
        (b'[{"type": "Feature"}, 7]', "7 stands where a feature should"),
        (b'[{"type" "Feature"}]', r"character 9\)"),
        (b'{"features": [{}', "“,” is missing"),
        (b'{"features": {}}', "neither"),
        (b"{features: []}", "a key is missing"),
        (WHOLE[: len(WHOLE) // 2].encode(), "ends in the middle"),
        (WHOLE[:-2].encode(), "missing"),
        (b"[" * 100_000, "too deep"),
        (b'["' + b"a" * 1000, "ends in the middle"),
        (b"\xff\xfe\x00\x01" * 20, "no text"),
        (gzip.compress(WHOLE.encode())[:-200], "damaged"),
        (b"\x1f\x8b" + b"nonsense" * 9, "damaged"),
        (b"PK\x03\x04" + b"nonsense" * 9, "damaged"),
    ],
)
def test_broken_files_say_what_is_wrong(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "a.geojson"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=words) as raised:
        list(GeoJsonFile(path))
    assert "a.geojson" in str(raised.value)


def test_a_zip_without_geojson(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(ValueError, match=r"no \.geojson in it"):
        list(GeoJsonFile(path))


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="There is no file"):
        GeoJsonFile(tmp_path / "a.geojson")


def test_a_bomb_of_one_endless_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_stream, "LARGEST_VALUE", 1 << 16)
    monkeypatch.setattr(json_stream, "BLOCK", 1 << 10)
    path = tmp_path / "a.geojson"
    path.write_text('["' + "a" * (1 << 20))
    with pytest.raises(ValueError, match="longer than"):
        list(GeoJsonFile(path))


class Dripping:
    """A text that comes in pieces of any size."""

    def __init__(self, text: str, size: int) -> None:
        self._text, self._size = io.StringIO(text), size

    def read(self, size: int) -> str:
        return self._text.read(min(size, self._size))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.lists(values, max_size=6), st.integers(1, 30), st.sampled_from([None, 1]))
def test_any_json_in_any_pieces(items: list[Any], size: int, indent: int | None) -> None:
    text = json.dumps(items, indent=indent)
    assert list(JsonStream(Dripping(text, size)).items()) == items
    by_key = JsonStream(Dripping(json.dumps({"a": items, "b": 12345}, indent=indent), size))
    assert [(key, by_key.value()) for key in by_key.members()] == [("a", items), ("b", 12345)]


@given(st.lists(values, min_size=1, max_size=6), st.data())
def test_any_cut_is_noticed(items: list[Any], data: st.DataObject) -> None:
    text = json.dumps(items)
    cut = data.draw(st.integers(0, len(text) - 1))
    with pytest.raises(ValueError, match="character"):
        list(JsonStream(io.StringIO(text[:cut])).items())
