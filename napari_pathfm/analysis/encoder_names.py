"""What other programs call encoders, and how their vectors are pooled.

A file of another program has a name and a number of dimensions. Which encoder of the catalogue
that is, and which pooling, follows from both: Virchow2 gives 1280 numbers (the class token) or 2560
(with the mean of the patch tokens), which must not be compared.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..models.base import EncoderSpec

OURS = {
    "conch_v1": "conch",
    "conch_v15": "conch-v1.5",
    "conchv15": "conch-v1.5",
    "conch_v1.5": "conch-v1.5",
    "titan": "conch-v1.5",
    "hoptimus0": "h-optimus-0",
    "hoptimus1": "h-optimus-1",
    "lunit-dino-s8": "lunit-vits8",
    "lunit-dino-s16": "lunit-vits16",
    "midnight": "midnight-12k",
    "midnight12k": "midnight-12k",
    "open-midnight": "openmidnight",
    "path_orchestra": "pathorchestra",
    "phikonv2": "phikon-v2",
    "quiltnet-b16": "quiltnet-b-16",
    "quiltnet-b32": "quiltnet-b-32",
    "uni_v1": "uni",
    "uni_v2": "uni2-h",
    "uni2": "uni2-h",
}
"""Names of TRIDENT, CLAM and LazySlide for encoders that the catalogue calls otherwise."""

THEIRS: Mapping[str, Mapping[str, str]] = {
    "TRIDENT": {
        "conch": "conch_v1",
        "conch-v1.5": "conch_v15",
        "h-optimus-0": "hoptimus0",
        "h-optimus-1": "hoptimus1",
        "hibou-l": "hibou_l",
        "midnight-12k": "midnight12k",
        "musk-ms": "musk",
        "phikon-v2": "phikon_v2",
        "uni": "uni_v1",
        "uni2-h": "uni_v2",
    },
    "CLAM": {"conch": "conch_v1", "uni": "uni_v1"},
    "LazySlide": {
        "conch-v1.5": "conch_v1.5",
        "lunit-vits8": "lunit-dino-s8",
        "lunit-vits16": "lunit-dino-s16",
        "midnight-12k": "midnight",
        "musk-ms": "musk",
        "openmidnight": "open-midnight",
        "pathorchestra": "path_orchestra",
        "phikon-v2": "phikonv2",
        "quiltnet-b-16": "quiltnet-b16",
        "quiltnet-b-32": "quiltnet-b32",
        "uni2-h": "uni2",
    },
}
"""The way back, a program at a time."""

PROJECTED = "projected"
"""Pooling of the vectors that LazySlide has of CONCH and MUSK: after the projection to texts."""

_OTHER_LENGTHS = {("musk", 2048): "musk-ms"}
"""Encoders that another program calls by one name, and the catalogue by their ways of use."""

_POOLINGS = {
    ("LazySlide", "conch"): PROJECTED,
    ("LazySlide", "musk"): PROJECTED,
    ("CLAM", "resnet50_trunc"): "avg",
    ("TRIDENT", "resnet50"): "avg",
}


def our_name(theirs: str, specs: Mapping[str, EncoderSpec], dim: int = 0) -> str:
    """Name in the catalogue of what another program calls `theirs`; itself if there is none.

    `dim`, the numbers of a vector, decides where the catalogue has several for one of theirs.
    """
    lower = theirs.casefold()
    for name in (lower, OURS.get(lower, ""), lower.replace("_", "-")):
        if name in specs:
            return _OTHER_LENGTHS.get((name, dim), name)
    return theirs


def their_name(program: str, ours: str) -> str:
    """Name by which a program knows an encoder of the catalogue."""
    return THEIRS.get(program, {}).get(ours, ours)


def pooling(program: str, name: str, dim: int, spec: EncoderSpec | None, told: str = "") -> str:
    """Tell how vectors were pooled, from the encoder and their length.

    Parameters
    ----------
    program : str
    name : str
        Of the encoder: the catalogue's, or the program's where the catalogue has none.
    dim : int
        Numbers of a vector.
    spec : EncoderSpec or None
        Facts of the encoder, if the catalogue has it.
    told : str
        What the user says.

    Raises
    ------
    ValueError
        The encoder makes no vectors of that length (so pooled), or nobody knows the pooling.
    """
    known = _POOLINGS.get((program, name), "")
    if spec is None:
        if not (told or known):
            raise ValueError(
                f"The catalogue has no encoder {name!r}, so how its vectors were pooled must be "
                "told: add --pooling cls, cls+mean, avg, or own for the network's own way."
            )
        return told or known
    lengths = _lengths(spec)
    found = told or known or next((way for way, length in lengths.items() if length == dim), "")
    if lengths.get(found, spec.dim) != dim or not found:
        possible = ", ".join(f"{length} ({way})" for way, length in lengths.items())
        so = f" with the pooling {told}" if told else ""
        raise ValueError(
            f"{name} makes no vectors of {dim} numbers{so}, only of {possible}. Name the encoder "
            "and the pooling that made them."
        )
    return found


def _lengths(spec: EncoderSpec) -> dict[str, int]:
    """Lengths of vectors by their pooling, the catalogue's own first."""
    lengths = {spec.pooling: spec.dim}
    if spec.prefix_tokens and spec.pooling in ("cls", "cls+mean"):
        lengths.setdefault("cls", spec.token_dim)
        lengths.setdefault("cls+mean", 2 * spec.token_dim)
    return lengths
