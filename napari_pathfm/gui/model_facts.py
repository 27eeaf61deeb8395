"""What a user should know of a model before choosing it, in a few lines."""

from __future__ import annotations

import html
import re

from ..models.base import EncoderSpec, ModelSpec
from ..models.check import Check


def describe(spec: ModelSpec, found: Check | None) -> str:
    """Facts as rich text.

    Parameters
    ----------
    spec : ModelSpec
    found : Check, optional
        What there is of it here, as soon as that is known.
    """
    size = f"{spec.params / 1e6:,.1f} M parameters" if spec.params else "size unknown"
    lines = [size]
    if isinstance(spec, EncoderSpec):
        lines = [
            f"{size}, {spec.dim} numbers a tile",
            f"made for {spec.tile_px} px at {spec.mpp} µm/px",
        ]
        if spec.text:
            lines.append("understands texts: Explore searches the slide in words")
    lines.append(f"licence: {rich(spec.licence)}")
    if not spec.commercial:
        lines.append("<b>not for commercial use</b>")
    said = ""
    if found is not None:
        lines += _here(found)
        said = "" if found.on_disk is None else spec.gate
        said += "".join(map(str, found.obstacles))
    if spec.gate and spec.gate not in said:
        lines.append(f"before a download: {rich(spec.gate)}")
    return "<br>".join(lines)


def _here(found: Check) -> list[str]:
    lines = []
    if found.on_disk is not None:
        lines.append(f"on this computer: {rich(found.on_disk.name)}")
    elif not found.obstacles:
        lines.append("is downloaded the first time")
    if found.fits:
        lines.append("fits into the free memory")
    lines += [f"<i>{rich(str(obstacle))}</i>" for obstacle in found.obstacles]
    return lines


def rich(text: str) -> str:
    """Escape a text, and make its addresses links."""
    link = r'<a href="\1" style="color: #6aa9ff">\1</a>'
    return re.sub(r"(https?://[^\s)]*[^\s).,;])", link, html.escape(text))
