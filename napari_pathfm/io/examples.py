"""Examples of what is to be segmented, kept by name: ``examples/<name>/<number>.npz``.

A file is one pair of an image and its mask. Nothing in it is ever run: arrays and one JSON text.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..core.slide import RGB
from ..core.tiles import carried_downsample
from .atomic import replacing
from .errors import ProjectError, explained
from .layer_names import check_name
from .project import Project


@dataclass(frozen=True, eq=False)
class Example:
    """An image, and what in it is meant.

    Attributes
    ----------
    name : str
        Several pairs may share it: together they say what is meant.
    slide : str
        Name of the slide that it was taken from, for people.
    rgb : ndarray
        ``(h, w, 3)`` uint8.
    mask : ndarray
        ``(h, w)`` bool: what is meant; all else in the image is not.
    downsample : float
        Level-0 pixels of that slide per pixel of `rgb`.
    mpp : float or None
        Micrometres per level-0 pixel of that slide.

    Raises
    ------
    ValueError
        The shapes disagree, or the mask holds nothing or everything.
    """

    name: str
    slide: str
    rgb: RGB
    mask: NDArray[np.bool_]
    downsample: float
    mpp: float | None

    def __post_init__(self) -> None:
        if self.rgb.shape != (*self.mask.shape, 3) or self.rgb.dtype != np.uint8:
            raise ValueError(
                f"an example is (h, w, 3) uint8 with a (h, w) mask, not {self.rgb.shape} "
                f"{self.rgb.dtype} with {self.mask.shape}"
            )
        if not self.mask.any() or self.mask.all():
            raise ValueError(
                "An example has to show what is meant and what is not: mark a part of the image."
            )

    @property
    def pair(self) -> tuple[RGB, NDArray[np.bool_]]:
        """Image and mask."""
        return self.rgb, self.mask

    def downsample_on(self, mpp: float | None) -> float:
        """Level-0 pixels per pixel of `rgb` on a slide of another `mpp`, for the same size."""
        return carried_downsample(self.downsample, self.mpp, mpp)


def example_names(project: Project) -> list[str]:
    """Return the names of a project's examples, in alphabetical order."""
    found = project.examples.glob("*/*.npz")
    return sorted({path.parent.name for path in found}, key=str.casefold)


def count_examples(project: Project, name: str) -> int:
    """Return how many pairs a name has; 0 for one that there is not."""
    return len(_files(project, name)) if name in example_names(project) else 0


def load_examples(project: Project, name: str) -> tuple[Example, ...]:
    """Read all pairs of a name, oldest first.

    Raises
    ------
    ProjectError
        There are none of that name, the name is impossible, or a file is damaged.
    """
    check_name(name, "an example")
    files = _files(project, name)
    if not files:
        names = example_names(project)
        have = f"There are: {', '.join(names)}." if names else "The project has none yet."
        raise ProjectError(
            f"There is no example {name!r}. {have} Mark what is meant, and save it as an example."
        )
    return tuple(_read(path, name) for path in files)


def save_examples(project: Project, examples: Iterable[Example]) -> None:
    """Keep pairs, beside those that their names have already.

    Raises
    ------
    ProjectError
        A name is impossible, or the project cannot be written; each pair is there whole or not
        at all.
    """
    examples = tuple(examples)
    for each in examples:
        check_name(each.name, "an example")
    if project.read_only:
        raise ProjectError(
            "The project is open for reading only, so no example can be saved: close it where it "
            "is being written, or choose another project folder."
        )
    with explained("The example could not be saved"):
        for each in examples:
            files = _files(project, each.name)
            number = int(files[-1].stem) + 1 if files else 1
            _write(project.examples / each.name / f"{number}.npz", each)


def delete_examples(project: Project, name: str) -> None:
    """Forget all pairs of a name.

    Raises
    ------
    ProjectError
        There are none of that name, or they cannot be deleted.
    """
    check_name(name, "an example")
    if project.read_only or not _files(project, name):
        raise ProjectError(f"There is no example {name!r} that could be deleted.")
    with explained("The example could not be deleted"):
        shutil.rmtree(project.examples / name)


def _files(project: Project, name: str) -> list[Path]:
    found = (path for path in (project.examples / name).glob("*.npz") if path.stem.isdecimal())
    return sorted(found, key=lambda path: int(path.stem))


def _write(path: Path, example: Example) -> None:
    facts = {"slide": example.slide, "downsample": example.downsample, "mpp": example.mpp}
    with replacing(path) as temporary, temporary.open("wb") as file:
        text = np.array(json.dumps(facts))
        np.savez_compressed(file, rgb=example.rgb, mask=example.mask, facts=text)


def _read(path: Path, name: str) -> Example:
    try:
        with np.load(path, allow_pickle=False) as file:
            facts = json.loads(str(file["facts"]))
            mpp = facts["mpp"]
            return Example(
                name,
                str(facts["slide"]),
                file["rgb"],
                file["mask"].astype(bool),
                float(facts["downsample"]),
                None if mpp is None else float(mpp),
            )
    except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ProjectError(
            f"The example {path} is damaged ({error}): delete the file, and save the example again."
        ) from error
