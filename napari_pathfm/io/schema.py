"""Tables of a project's database, and how older ones become newer ones."""

from __future__ import annotations

import sqlite3

from .errors import ProjectError
from .old_rows import add_functions

APPLICATION_ID = 0x5046_4D31
"""Marks an SQLite file as ours (``PRAGMA application_id``)."""

_VERSION_1 = """
CREATE TABLE slides (
    id TEXT PRIMARY KEY,                -- fingerprint of the content
    name TEXT NOT NULL,
    path TEXT NOT NULL,
    mpp REAL,                           -- micrometres per level-0 pixel
    mpp_by_user INTEGER NOT NULL DEFAULT 0,
    added TEXT NOT NULL                 -- ISO 8601, UTC
);
CREATE TABLE classes (
    id INTEGER PRIMARY KEY CHECK (id BETWEEN 1 AND 254),
    name TEXT NOT NULL,
    color TEXT NOT NULL,
    position INTEGER NOT NULL
);
CREATE TABLE tile_labels (
    slide_id TEXT NOT NULL,
    grid_hash TEXT NOT NULL,
    tile INTEGER NOT NULL,
    class_id INTEGER NOT NULL,
    PRIMARY KEY (slide_id, grid_hash, tile)
) WITHOUT ROWID;
CREATE TABLE layers (
    slide_id TEXT NOT NULL,
    name TEXT NOT NULL,
    height INTEGER NOT NULL,            -- level-0 pixels
    width INTEGER NOT NULL,
    applied INTEGER NOT NULL DEFAULT 0, -- last operation whose chunks are on disk
    PRIMARY KEY (slide_id, name)
);
CREATE TABLE objects (
    slide_id TEXT NOT NULL,
    layer TEXT NOT NULL,
    id INTEGER NOT NULL,                -- value of its pixels in the mask
    class_id INTEGER NOT NULL,
    how TEXT NOT NULL,
    model TEXT NOT NULL,
    prompts TEXT NOT NULL,
    score REAL NOT NULL,
    corrected INTEGER NOT NULL,
    author TEXT NOT NULL,
    area INTEGER NOT NULL,
    y0 INTEGER NOT NULL,
    x0 INTEGER NOT NULL,
    y1 INTEGER NOT NULL,
    x1 INTEGER NOT NULL,
    PRIMARY KEY (slide_id, layer, id)
) WITHOUT ROWID;
CREATE TABLE edits (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    slide_id TEXT NOT NULL,
    layer TEXT NOT NULL,
    text TEXT NOT NULL,
    author TEXT NOT NULL,
    made TEXT NOT NULL,                 -- ISO 8601, UTC
    done INTEGER NOT NULL               -- 0 while it is undone
);
CREATE INDEX edits_of_layer ON edits (slide_id, layer, number);
CREATE TABLE edit_chunks (
    edit INTEGER NOT NULL REFERENCES edits (number) ON DELETE CASCADE,
    chunk_row INTEGER NOT NULL,
    chunk_col INTEGER NOT NULL,
    before BLOB,                        -- as in the chunk's file; NULL for an empty chunk
    after BLOB,
    UNIQUE (edit, chunk_row, chunk_col)
);
CREATE TABLE edit_objects (
    edit INTEGER NOT NULL REFERENCES edits (number) ON DELETE CASCADE,
    id INTEGER NOT NULL,
    before TEXT,                        -- JSON of the row; NULL where there is none
    after TEXT,
    PRIMARY KEY (edit, id)
) WITHOUT ROWID;
CREATE TABLE operations (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    edit INTEGER NOT NULL REFERENCES edits (number) ON DELETE CASCADE,
    direction TEXT NOT NULL CHECK (direction IN ('do', 'undo', 'redo'))
);
CREATE INDEX operations_of_edit ON operations (edit);
"""

_CLASSES_AND_LAYERS = """
ALTER TABLE slides ADD COLUMN layer TEXT NOT NULL DEFAULT '';  -- that was edited last
CREATE TABLE merged_classes (           -- classes that are no more
    id INTEGER PRIMARY KEY,
    into_id INTEGER NOT NULL            -- where their objects and tiles went
);
CREATE TABLE class_ids (                -- all that a class has or had
    id INTEGER PRIMARY KEY,
    edit INTEGER NOT NULL               -- edit that gave it first; 0 for the first classes
);
INSERT INTO class_ids SELECT id, 0 FROM (
    SELECT id FROM classes UNION SELECT DISTINCT class_id FROM objects
    UNION SELECT DISTINCT class_id FROM tile_labels
) WHERE id > 0;
CREATE TABLE class_edits (              -- edits of no slide and no layer
    edit INTEGER PRIMARY KEY REFERENCES edits (number) ON DELETE CASCADE,
    before TEXT NOT NULL,               -- JSON of all classes
    after TEXT NOT NULL
);
CREATE INDEX edits_done ON edits (slide_id, layer, done, number);
"""

_OBJECTS_IN_PAGES = """
CREATE TABLE object_pages (
    slide_id TEXT NOT NULL,
    layer TEXT NOT NULL,
    page INTEGER NOT NULL,              -- holds ids from 1024 * page on
    rows BLOB NOT NULL,                 -- see io/object_pages.py
    UNIQUE (slide_id, layer, page)
);
CREATE TABLE prompts (
    key INTEGER PRIMARY KEY,            -- 64 bits of the text's hash
    text TEXT NOT NULL
);
CREATE TABLE edit_rows (
    edit INTEGER PRIMARY KEY REFERENCES edits (number) ON DELETE CASCADE,
    largest INTEGER NOT NULL,           -- id among them
    rows BLOB NOT NULL                  -- both sides; see io/object_pages.py
);
INSERT OR IGNORE INTO prompts
    SELECT prompt_key(text), text FROM (
        SELECT prompts AS text FROM objects
        UNION SELECT json_extract(before, '$.prompts') FROM edit_objects
        UNION SELECT json_extract(after, '$.prompts') FROM edit_objects
    ) WHERE text != '';
INSERT INTO object_pages
    SELECT slide_id, layer, id / 1024,
        pack_rows(id, class_id, how, model, prompts, score, corrected, author, area, y0, x0, y1, x1)
    FROM objects GROUP BY slide_id, layer, id / 1024;
INSERT INTO edit_rows
    SELECT edit, max(id), pack_changes(before, after) FROM edit_objects GROUP BY edit;
DROP TABLE objects;
DROP TABLE edit_objects;
"""

_WAITING_STROKES = """
CREATE TABLE waiting_strokes (          -- on screen, and not yet edits
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    slide_id TEXT NOT NULL,
    layer TEXT NOT NULL,
    stroke BLOB NOT NULL                -- see io/waiting.py
);
"""

MIGRATIONS: tuple[str, ...] = (
    _VERSION_1,
    _CLASSES_AND_LAYERS,
    _OBJECTS_IN_PAGES,
    _WAITING_STROKES,
)
"""``MIGRATIONS[n]`` turns schema `n` into schema ``n + 1``; a published one is never changed."""

SCHEMA_VERSION = len(MIGRATIONS)
"""Version that this program reads and writes."""


def schema_version(connection: sqlite3.Connection) -> int:
    """Version of a database's schema; 0 for a new, empty file.

    Raises
    ------
    ProjectError
        It is another program's database.
    """
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if not tables:
        return 0
    (mark,) = connection.execute("PRAGMA application_id").fetchone()
    if mark != APPLICATION_ID:
        raise ProjectError(
            "The file project.sqlite in this folder belongs to another program; choose another "
            "folder for the project."
        )
    (version,) = connection.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone()
    return int(version)


def check_version(version: int) -> None:
    """Refuse what a newer program has written.

    Raises
    ------
    ProjectError
        The version is newer than ours.
    """
    if version > SCHEMA_VERSION:
        raise ProjectError(
            f"This project was made by a newer napari-pathfm (schema {version}; this one knows "
            f"schemas up to {SCHEMA_VERSION}). Update: pip install --upgrade napari-pathfm"
        )


def upgrade(connection: sqlite3.Connection) -> None:
    """Bring a database to :data:`SCHEMA_VERSION`; each step is one transaction.

    Raises
    ------
    ProjectError
        It is another program's, or a newer version's.
    """
    version = schema_version(connection)
    check_version(version)
    add_functions(connection)
    for number in range(version, SCHEMA_VERSION):
        first = f"PRAGMA application_id = {APPLICATION_ID};" if not number else ""
        if first:
            first += "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);"
        try:
            connection.executescript(
                f"BEGIN IMMEDIATE; {first} {MIGRATIONS[number]};"
                f"INSERT OR REPLACE INTO meta VALUES ('schema', '{number + 1}'); COMMIT;"
            )
        except sqlite3.Error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
