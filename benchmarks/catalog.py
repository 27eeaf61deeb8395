"""Every network that can be built, on the meta device: whether it has the published parameters.

No weights are needed and no memory: only shapes are made. `expected` is what the catalogue says,
null where nobody has said how many there are; a network that contradicts the catalogue elsewhere
(its width, its prefix tokens) is not `ok` either, and says why.
"""

from __future__ import annotations

from typing import Any

from napari_pathfm.models.base import ModelError
from napari_pathfm.models.catalog import CatalogEntry, build, entries

from ._measure import main, say


def measure() -> dict[str, Any]:
    """Build every entry that has a loader."""
    # A network that is its authors' code is built by that code alone.
    ours = {n: e for n, e in entries().items() if e.loader and e.loader != "remote_code"}
    return {name: _built(entry) for name, entry in ours.items()}


def _built(entry: CatalogEntry) -> dict[str, Any]:
    say(entry.spec.name)
    expected = entry.spec.params or None
    try:
        network = build(entry, meta=True)
    except ModelError as error:
        return {"params": None, "expected": expected, "ok": False, "error": str(error)}
    params = sum(parameter.numel() for parameter in network.parameters())
    return {"params": params, "expected": expected, "ok": expected in (None, params)}


if __name__ == "__main__":
    main("catalog", measure, bare=True)
