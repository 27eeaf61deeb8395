"""A project: the folder that holds everything that must never be lost."""

from __future__ import annotations

import getpass
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from ..core.edits import AnnotationClass
from ..core.slide import Slide
from .backends.remote import RemotePath, slide_path
from .classes import ClassBook
from .database import Database
from .errors import ProjectError, explained
from .locks import FileLock

__all__ = [
    "Project",
    "ProjectError",
    "SlideRow",
    "default_project",
    "known_mpp",
    "labelled_grids",
    "open_or_read",
]

UNUSUAL = re.compile(r"[^\w.-]+")
"""What of an address may not be in the name of a folder."""


@dataclass(frozen=True)
class SlideRow:
    """A slide of a project.

    Attributes
    ----------
    id : str
        Fingerprint of its content.
    name : str
    path : Path
        Where it was last seen.
    mpp : float or None
        Micrometres per level-0 pixel, as the user or else the file says it.
    added : datetime
        UTC.
    """

    id: str
    name: str
    path: Path
    mpp: float | None
    added: datetime


class Project:
    """A folder with ``project.sqlite``, ``slides/<id>.zarr``, ``models/`` and ``exports/``.

    One process owns it for writing; others may open it with ``read_only=True``. All methods may
    be called from any thread. Use :meth:`open`.

    Attributes
    ----------
    folder : Path
    database : Database
    author : str
        Who annotates.
    class_book : ClassBook
        The classes and every change of them.
    """

    def __init__(
        self, folder: Path, database: Database, author: str, lock: FileLock | None
    ) -> None:
        self.folder = folder
        self.database = database
        self.author = author
        self.class_book = ClassBook(database, author)
        self._lock = lock

    @classmethod
    def open(
        cls,
        folder: str | Path,
        *,
        author: str | None = None,
        create: bool = True,
        read_only: bool = False,
    ) -> Project:
        """Open a project, or make a new one.

        Parameters
        ----------
        folder : str or Path
        author : str, optional
            Who annotates; the name of the account if absent.
        create : bool
            Make the project if there is none.
        read_only : bool
            Also works while another process writes it, and on read-only media.

        Raises
        ------
        ProjectError
            Another process owns it, a newer version made it, it is damaged, it cannot be
            written, or there is none.
        """
        folder = Path(folder).expanduser().absolute()
        path = folder / "project.sqlite"
        author = _account() if author is None else author
        if read_only:
            return cls(folder, Database(path, read_only=True), author, None)
        if not create and not path.is_file():
            raise ProjectError(f"There is no project in {folder}: choose another folder.")
        with explained(f"The project {folder} cannot be opened"):
            try:
                for part in (folder, folder / "slides", folder / "models", folder / "exports"):
                    part.mkdir(parents=True, exist_ok=True)
            except (FileExistsError, NotADirectoryError) as error:
                raise ProjectError(
                    f"A project is a folder, and {folder} is a file or lies in one: choose "
                    "another place."
                ) from error
        lock = FileLock(folder / "project.lock", f"The project {folder}")
        lock.acquire()
        try:
            database = Database(path)
        except BaseException:
            lock.release()
            raise
        return cls(folder, database, author, lock)

    @property
    def read_only(self) -> bool:
        """Whether nothing can be written."""
        return self._lock is None

    @property
    def exports(self) -> Path:
        """Folder of exported data."""
        return self.folder / "exports"

    @property
    def models(self) -> Path:
        """Folder of models made in this project, and of weights given to it."""
        return self.folder / "models"

    @property
    def examples(self) -> Path:
        """Folder of the examples by which is segmented; there when the first one is saved."""
        return self.folder / "examples"

    def slide_store(self, slide_id: str) -> Path:
        """Zarr store of a slide's masks and embeddings."""
        return self.folder / "slides" / f"{slide_id}.zarr"

    def add_slide(self, slide: Slide | SlideRow) -> SlideRow:
        """Take up a slide, or note where a known one (by its fingerprint) is now.

        It may also be what another process says of it. A mpp given with :meth:`set_mpp` stays.
        """
        now = datetime.now(UTC).isoformat(timespec="seconds")
        with self.database.transaction("The slide could not be added") as database:
            database.execute(
                "INSERT INTO slides (id, name, path, mpp, added) VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT (id) DO UPDATE SET name = excluded.name, path = excluded.path, "
                "mpp = CASE WHEN mpp_by_user THEN mpp ELSE coalesce(excluded.mpp, mpp) END",
                (slide.id, slide.name, str(slide.path), slide.mpp, now),
            )
        return self._slide(slide.id)

    def slides(self) -> list[SlideRow]:
        """Return all slides in the order in which they were added."""
        rows = self.database.rows("SELECT id, name, path, mpp, added FROM slides ORDER BY rowid")
        return [_slide_row(*row) for row in rows]

    def mpp(self, slide_id: str) -> float | None:
        """Micrometres per level-0 pixel of a slide; ``None`` while nobody has said it.

        Raises
        ------
        ProjectError
            The slide is not in this project.
        """
        return self._slide(slide_id).mpp

    def set_mpp(self, slide_id: str, mpp: float) -> None:
        """Keep what the user says of a slide's micrometres per level-0 pixel.

        Raises
        ------
        ValueError
            `mpp` is no size of a pixel.
        ProjectError
            The slide is not in this project, or it cannot be written.
        """
        if not 0.01 <= mpp <= 100:
            raise ValueError(f"mpp must lie between 0.01 and 100 um per pixel, not {mpp}")
        self._slide(slide_id)
        with self.database.transaction("The mpp could not be saved") as database:
            database.execute(
                "UPDATE slides SET mpp = ?, mpp_by_user = 1 WHERE id = ?", (mpp, slide_id)
            )

    def last_layer(self, slide_id: str) -> str:
        """Name of the annotation layer of a slide that was edited last; empty for none yet."""
        rows = self.database.rows("SELECT layer FROM slides WHERE id = ?", (slide_id,))
        return str(rows[0][0]) if rows else ""

    def set_last_layer(self, slide_id: str, layer: str) -> None:
        """Remember which annotation layer of a slide is edited.

        Raises
        ------
        ProjectError
            It cannot be written.
        """
        with self.database.transaction("The layer could not be chosen", lazy=True) as database:
            database.execute("UPDATE slides SET layer = ? WHERE id = ?", (layer, slide_id))

    def classes(self) -> tuple[AnnotationClass, ...]:
        """Return the classes in the user's order."""
        if self.read_only:
            self.class_book.reload()
        return self.class_book.now.rows

    def set_classes(self, classes: Iterable[AnnotationClass]) -> None:
        """Replace all classes: one edit, but for the first ones of a project.

        To add, change, merge or delete single classes, see :attr:`class_book`.

        Raises
        ------
        ValueError
            Two have the same id.
        ProjectError
            They cannot be written.
        """
        self.class_book.replace(tuple(classes))

    def labels(self, slide_id: str, grid_hash: str) -> dict[int, int]:
        """Return the class of each labelled tile of a grid, by the tile's number."""
        rows = self.database.rows(
            "SELECT tile, class_id FROM tile_labels WHERE slide_id = ? AND grid_hash = ?",
            (slide_id, grid_hash),
        )
        lookup = self.class_book.now.lookup
        return {int(tile): int(lookup[class_id]) for tile, class_id in rows if lookup[class_id]}

    def set_labels(self, slide_id: str, grid_hash: str, labels: Mapping[int, int]) -> None:
        """Label tiles of a grid; class 0 takes a label away, other tiles keep theirs."""
        given = [(slide_id, grid_hash, int(tile), int(c)) for tile, c in labels.items() if c]
        taken = [(slide_id, grid_hash, int(tile)) for tile, c in labels.items() if not c]
        with self.database.transaction("The labels could not be saved") as database:
            database.execute_many("INSERT OR REPLACE INTO tile_labels VALUES (?, ?, ?, ?)", given)
            database.execute_many(
                "DELETE FROM tile_labels WHERE slide_id = ? AND grid_hash = ? AND tile = ?", taken
            )

    def close(self) -> None:
        """Close the database and let others write; may be called twice."""
        self.database.close()
        if self._lock is not None:
            self._lock.release()

    def _slide(self, slide_id: str) -> SlideRow:
        rows = self.database.rows(
            "SELECT id, name, path, mpp, added FROM slides WHERE id = ?", (slide_id,)
        )
        if not rows:
            raise ProjectError(f"The slide {slide_id} is not in this project: add it first.")
        return _slide_row(*rows[0])

    def __enter__(self) -> Project:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Project({json.dumps(str(self.folder))}, read_only={self.read_only})"


def _slide_row(slide_id: str, name: str, path: str, mpp: float | None, added: str) -> SlideRow:
    return SlideRow(slide_id, name, Path(path), mpp, datetime.fromisoformat(added))


def _account() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        return ""


def default_project(slide: str | Path) -> Path:
    """Return the project folder of a slide that was given none: ``<slide>.pathfm`` beside it.

    That of a slide on a server is in the folder ``pathfm`` of the user's home.
    """
    path = slide_path(slide)
    if isinstance(path, RemotePath):
        return Path.home() / "pathfm" / f"{UNUSUAL.sub('_', path.stem)}.pathfm"
    path = path.absolute()
    return path.parent / f"{path.stem}.pathfm"


def open_or_read(folder: str | Path, create: bool = True) -> Project:
    """Open a project, for reading only where another process owns it or it cannot be written.

    Embeddings may be written all the same: they lie beside it, each under a lock of its own.

    Raises
    ------
    ProjectError
        There is none that could be read, either.
    """
    try:
        return Project.open(folder, create=create)
    except ProjectError as error:
        try:
            return Project.open(folder, read_only=True)
        except ProjectError:
            raise error from None


def known_mpp(folder: Path, slide_id: str) -> float | None:
    """Micrometres per level-0 pixel that a project, if there is one, knows of a slide."""
    if not (folder / "project.sqlite").is_file():
        return None
    with Project.open(folder, read_only=True) as project:
        return next((row.mpp for row in project.slides() if row.id == slide_id), None)


def labelled_grids(project: Project, slide_id: str) -> list[str]:
    """Return the hashes of the tile grids of a slide on which tiles are labelled."""
    rows = project.database.rows(
        "SELECT DISTINCT grid_hash FROM tile_labels WHERE slide_id = ? ORDER BY grid_hash",
        (slide_id,),
    )
    return [str(name) for (name,) in rows]
