from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from napari_pathfm.core.classes import Classes
from napari_pathfm.core.edits import AnnotationClass, ObjectRow
from napari_pathfm.io import masks
from napari_pathfm.io.masks import AnnotationLayer
from napari_pathfm.io.project import Project, ProjectError

SHAPE = (300, 400)
RED = "#ff0000"
LINE = ("ab", "regions")


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with Project.open(tmp_path / "p", author="ann") as project:
        yield project


@pytest.fixture
def layer(project: Project) -> AnnotationLayer:
    return AnnotationLayer.open(project, *LINE, SHAPE)


def paint(layer: AnnotationLayer, number: int, class_id: int, y: int = 0) -> None:
    ids = np.full((4, 4), number, np.uint32)
    rows = {} if number in layer.objects else {number: ObjectRow(number, class_id)}
    layer.commit(layer.paint_edit(y, 10 * number, ids, None, "brush", rows=rows))


def test_a_merge_reaches_all_layers_and_tiles_and_is_one_step(
    project: Project, layer: AnnotationLayer
) -> None:
    book = project.class_book
    one, two = book.add([("one", RED), ("two", RED)])
    nuclei = AnnotationLayer.open(project, "cd", "nuclei", SHAPE)
    paint(layer, 1, one.id)
    paint(nuclei, 1, one.id)
    paint(nuclei, 2, two.id)
    project.set_labels("ab", "grid", {3: one.id, 4: two.id})
    heard: list[str] = []
    layer.table_changed.connect(lambda: heard.append("regions"))
    nuclei.table_changed.connect(lambda: heard.append("nuclei"))
    book.change("merge", lambda now: now.without(one.id, two.id), LINE)
    assert sorted(heard) == ["nuclei", "regions"]
    assert layer.objects[1].class_id == nuclei.objects[1].class_id == two.id
    assert project.labels("ab", "grid") == {3: two.id, 4: two.id}
    assert [item.name for item in project.classes()] == ["two"]
    step = layer.undo()
    assert step is not None
    assert (step.text, step.of_classes, step.author) == ("merge", True, "ann")
    assert layer.objects[1].class_id == nuclei.objects[1].class_id == one.id
    assert nuclei.objects[2].class_id == two.id
    assert project.labels("ab", "grid") == {3: one.id, 4: two.id}


def test_objects_touched_after_a_merge_come_back_with_it(
    project: Project, layer: AnnotationLayer
) -> None:
    book = project.class_book
    one, two = book.add([("one", RED), ("two", RED)])
    paint(layer, 1, one.id)
    book.change("merge", lambda now: now.without(one.id, two.id))
    paint(layer, 1, two.id, y=2)
    paint(layer, 2, two.id)
    assert not layer.class_edit([1], two.id)
    # The merge is taken back beside another layer, where the strokes are not in the way.
    AnnotationLayer.open(project, "ab", "nuclei", SHAPE).undo()
    assert {n: row.class_id for n, row in layer.objects.items()} == {1: one.id, 2: two.id}
    layer.undo()
    layer.undo()
    assert layer.objects[1] == ObjectRow(1, one.id, author="ann", area=16, box=(0, 10, 4, 14))


def test_everything_is_there_after_reopening(tmp_path: Path) -> None:
    with Project.open(tmp_path, author="ann") as project:
        book = project.class_book
        one, two, three = book.add([("one", RED), ("two", RED), ("three", RED)])
        book.change("merge", lambda now: now.without(one.id, two.id))
        book.change("rename", lambda now: now.renamed(two.id, "zwei"))
        book.change("order", lambda now: now.ordered([three.id, two.id]))
        now = book.now
    with Project.open(tmp_path) as project:
        assert project.class_book.now == now
        assert [item.name for item in now.rows] == ["three", "zwei"]
        layer = AnnotationLayer.open(project, *LINE, SHAPE)
        assert [step.text for step in layer.history()] == [
            "add 3 classes: one, two, three", "merge", "rename", "order",
        ]  # fmt: skip
        while layer.undo():
            pass
        assert project.class_book.now == Classes()
        while layer.redo():
            pass
        assert project.class_book.now == now


def test_an_id_is_not_given_again_while_history_knows_it(
    project: Project, layer: AnnotationLayer
) -> None:
    book = project.class_book
    (one,) = book.add([("one", RED)])
    book.change("delete", lambda now: now.without(one.id))
    (two,) = book.add([("two", RED)])
    assert two.id != one.id
    layer.undo()
    assert two.id not in book.new_ids(200), "it can be done again"
    (three,) = book.add([("three", RED)], LINE)
    assert book.new_ids() == [two.id], "what was dropped before anybody used it is free"
    paint(AnnotationLayer.open(project, "ab", "nuclei", SHAPE), 1, three.id)
    layer.undo()
    book.add([("four", RED)], LINE)
    assert not {one.id, three.id} & set(book.new_ids(200)), "an object stands in another layer"


def test_the_first_classes_are_no_edit_and_later_ones_are(
    project: Project, layer: AnnotationLayer
) -> None:
    first = (AnnotationClass(1, "a", RED), AnnotationClass(2, "b", RED))
    project.set_classes(first)
    assert not layer.history()
    project.set_classes(first)
    assert not layer.history()
    project.set_classes(first[::-1])
    assert [step.text for step in layer.history()] == ["classes"]
    assert project.class_book.new_ids(1) == [3]


def test_all_ids_used_is_said(project: Project) -> None:
    project.class_book.add((f"class {number}", RED) for number in range(253))
    with pytest.raises(ValueError, match=r"254 classes in all.* 1 are left, 2 are needed"):
        project.class_book.add([("a", RED), ("b", RED)])


def test_nothing_is_changed_for_reading_only_or_on_a_full_disk(tmp_path: Path) -> None:
    with Project.open(tmp_path) as project:
        book = project.class_book
        (one,) = book.add([("one", RED)])
        ((pages,),) = project.database.rows("PRAGMA page_count")
        project.database.rows(f"PRAGMA max_page_count = {pages}")

        def fill() -> None:
            for number in range(2000):
                other = book.now.renamed(one.id, f"{number} {'x' * 99}")
                book.change("rename", lambda _, other=other: other)

        with pytest.raises(ProjectError, match="no space left"):
            fill()
        shown = book.now
        project.database.rows("PRAGMA max_page_count = 100000")
        book.reload()
        assert book.now == shown
    with Project.open(tmp_path, read_only=True) as view:
        before = view.class_book.now
        with pytest.raises(ProjectError, match="cannot be written"):
            view.class_book.change("delete", lambda now: now.without(one.id))
        assert view.class_book.now == before


@settings(max_examples=12, stateful_step_count=20, deadline=None)
class Histories(RuleBasedStateMachine):
    """Two layers and the classes against plain values: every object knows what it was given.

    What undo and redo do is said by the two histories that a layer's line is made of, each with a
    place up to which it is done.
    """

    @initialize()
    def start(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.project = Project.open(self.folder.name)
        self.layers = {name: self.open(name) for name in ("regions", "nuclei")}
        # States after each step, the steps' numbers, and how many are done.
        self.states: dict[str, list[dict[int, int]]] = {name: [{}] for name in self.layers}
        self.books = [Classes()]
        self.numbers: dict[str, list[int]] = {"regions": [], "nuclei": [], "classes": []}
        self.done = dict.fromkeys(self.numbers, 0)
        self.clock = 0

    def open(self, name: str) -> AnnotationLayer:
        return AnnotationLayer.open(self.project, "ab", name, SHAPE)

    def teardown(self) -> None:
        self.project.close()
        self.folder.cleanup()

    @property
    def book(self) -> Classes:
        return self.books[self.done["classes"]]

    def note(self, kind: str, line: str, state: object) -> None:
        for which in {line, "classes"}:
            del self.numbers[which][self.done[which] :]
            kept = self.books if which == "classes" else self.states[which]
            del kept[self.done[which] + 1 :]  # type: ignore[attr-defined]
        self.clock += 1
        self.numbers[kind].append(self.clock)
        (self.books if kind == "classes" else self.states[kind]).append(state)  # type: ignore
        self.done[kind] += 1

    layer = st.sampled_from(["regions", "nuclei"])
    pick = st.integers(0, 50)

    def classes(self, line: str, change: object) -> None:
        before = self.project.class_book.now
        self.project.class_book.change("classes", change, ("ab", line))  # type: ignore[arg-type]
        if self.project.class_book.now != before:
            self.note("classes", line, self.project.class_book.now)

    @rule(line=layer)
    def add(self, line: str) -> None:
        known = {number for book in self.books for number in book.ids}
        used = {given for states in self.states.values() for s in states for given in s.values()}
        name = f"class {self.clock}"
        (made,) = self.project.class_book.add([(name, RED)], ("ab", line))
        assert made.id not in (known - self.dropped(line)) | used
        self.note("classes", line, self.book.added(made))

    def dropped(self, line: str) -> set[int]:
        kept = {number for book in self.books[: self.done["classes"] + 1] for number in book.ids}
        return {n for book in self.books for n in book.ids} - kept

    @precondition(lambda self: len(self.book.rows) > 1)
    @rule(line=layer, old=pick, into=pick, none=st.booleans())
    def merge(self, line: str, old: int, into: int, none: bool) -> None:
        ids = self.book.ids
        gone = ids[old % len(ids)]
        rest = [number for number in ids if number != gone]
        target = 0 if none else rest[into % len(rest)]
        self.classes(line, lambda now: now.without(gone, target))
        assert self.book.lookup[gone] == target

    @precondition(lambda self: self.book.rows)
    @rule(line=layer, which=pick)
    def rename(self, line: str, which: int) -> None:
        number = self.book.ids[which % len(self.book.ids)]
        self.classes(line, lambda now: now.renamed(number, f"name {self.clock}"))

    @rule(line=layer, number=st.integers(1, 4), which=pick)
    def stroke(self, line: str, number: int, which: int) -> None:
        layer, given = self.layers[line], self.states[line][self.done[line]]
        class_id = (0, *self.book.ids)[which % (len(self.book.ids) + 1)]
        ids = np.full((3, 3), number, np.uint32)
        rows = {} if number in given else {number: ObjectRow(number, class_id)}
        place = 12 * number, 3 * (self.clock % 100)
        edit = layer.paint_edit(*place, ids, None, "brush", rows=rows)
        if edit:
            layer.commit(edit)
            self.note(line, line, {number: class_id, **given})

    @rule(line=layer, which=pick)
    def classify(self, line: str, which: int) -> None:
        layer, given = self.layers[line], self.states[line][self.done[line]]
        class_id = (0, *self.book.ids)[which % (len(self.book.ids) + 1)]
        edit = layer.class_edit(list(given), class_id)
        if edit:
            layer.commit(edit)
            now = self.book.lookup
            new = {n: old if now[old] == class_id else class_id for n, old in given.items()}
            self.note(line, line, new)

    @rule(line=layer)
    def undo(self, line: str) -> None:
        done = [(self.numbers[k][self.done[k] - 1], k) for k in (line, "classes") if self.done[k]]
        step = self.layers[line].undo()
        assert (step is None) == (not done)
        if done:
            self.done[max(done)[1]] -= 1

    @rule(line=layer)
    def redo(self, line: str) -> None:
        ahead = [
            (self.numbers[kind][self.done[kind]], kind)
            for kind in (line, "classes")
            if self.done[kind] < len(self.numbers[kind])
        ]
        step = self.layers[line].redo()
        assert (step is None) == (not ahead)
        if ahead:
            self.done[min(ahead)[1]] += 1

    @rule(line=layer, back=pick)
    def go_to(self, line: str, back: int) -> None:
        from napari_pathfm.core.jobs import run

        steps = self.layers[line].history()
        number = (0, *(step.number for step in steps))[back % (len(steps) + 1)]
        run(self.layers[line].go_to_job(number))
        after = self.layers[line].history()
        assert [step.done for step in after] == [step.number <= number for step in after]
        for kind, of_classes in ((line, False), ("classes", True)):
            self.done[kind] = sum(s.done for s in after if s.of_classes is of_classes)

    @rule()
    def reopen(self) -> None:
        self.project.close()
        masks._layers.pop(self.project, None)
        self.project = Project.open(self.folder.name)
        self.layers = {name: self.open(name) for name in self.layers}

    @invariant()
    def everything_agrees(self) -> None:
        if not hasattr(self, "layers"):
            return
        assert self.project.class_book.now == self.book
        for name, layer in self.layers.items():
            given = self.states[name][self.done[name]]
            seen = {number: int(self.book.lookup[class_id]) for number, class_id in given.items()}
            assert {n: row.class_id for n, row in layer.objects.items()} == seen


TestHistories = Histories.TestCase
