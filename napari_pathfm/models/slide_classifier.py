"""A head trained on labels of slides, with everything that is needed to use it again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..core.embeddings import FeatureKey
from .base import ModelError
from .checkpoint import load_into, read_state
from .device import default_device, to_device

if TYPE_CHECKING:
    import torch

FORMAT = 1


@dataclass(frozen=True)
class BagSource:
    """How the vectors of a bag were made.

    Attributes
    ----------
    key : FeatureKey
    dim : int
        Numbers of a vector.
    tile_px : int
        Side of a tile in pixels.
    mpp : float or None
        Micrometres per pixel of a tile; ``None``: level-0 pixels.
    """

    key: FeatureKey
    dim: int
    tile_px: int
    mpp: float | None

    def difference(self, other: BagSource) -> str | None:
        """Say what forbids to mix the two, or ``None`` if nothing does."""
        ours, theirs = (f"{s.tile_px} px, {s.mpp} um/px" for s in (self, other))
        tiles = None if ours == theirs else f"tiles: {ours} here, {theirs} there"
        return self.key.difference(other.key) or tiles


@dataclass(frozen=True, kw_only=True)
class Card:
    """What is known of a trained head; ``<name>.json`` beside its weights.

    Attributes
    ----------
    head : str
        One of :data:`napari_pathfm.models.heads.HEADS`.
    classes : tuple of str
    sources : tuple of BagSource
        The embeddings that it takes, in this order.
    hidden : int
        Length of the slide's vector inside.
    metrics : mapping
        For "train", "val" and "test" what was measured on these slides.
    split : mapping
        For each of them the ids of its slides.
    settings : mapping
        How it was trained.
    made : str
        When, UTC.
    """

    head: str
    classes: tuple[str, ...]
    sources: tuple[BagSource, ...]
    hidden: int
    metrics: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    split: Mapping[str, Sequence[str]] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    made: str = ""

    @property
    def dims(self) -> tuple[int, ...]:
        """Length of the vectors of each bag."""
        return tuple(source.dim for source in self.sources)

    def to_json(self) -> str:
        """Write it down."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=2, ensure_ascii=False)

    @classmethod
    def read(cls, path: Path) -> Card:
        """Read what :meth:`to_json` wrote.

        Raises
        ------
        ModelError
            The file is missing, is no card, or is one of a newer version.
        """
        try:
            facts = json.loads(path.read_text("utf-8"))
            version = facts.pop("format")
            if version == FORMAT:
                facts["sources"] = tuple(
                    BagSource(**{**source, "key": FeatureKey(**source["key"])})
                    for source in facts["sources"]
                )
                return cls(**{**facts, "classes": tuple(facts["classes"])})
        except FileNotFoundError as error:
            raise ModelError(f"There is no trained model {path}. Check its name.") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(
                f"{path} does not describe a model trained on slides: {error}. Train it again."
            ) from error
        raise ModelError(
            f"{path} was made by a newer napari-pathfm. Update: pip install --upgrade napari-pathfm"
        )


@dataclass(frozen=True, eq=False)
class SlideJudgement:
    """What a trained head says of a slide.

    Attributes
    ----------
    probabilities : ndarray
        ``(classes,)`` float32, sum 1.
    attention : tuple of ndarray
        For each encoder ``(N,)`` float32, all together with the sum 1; empty if its head does not
        weigh tiles.
    """

    probabilities: NDArray[np.float32]
    attention: tuple[NDArray[np.float32], ...]


class SlideClassifier:
    """A trained head on a device; :meth:`judge` runs in the device's inference thread.

    Parameters
    ----------
    card : Card
    network : torch.nn.Module
        A :class:`~napari_pathfm.models.heads.Head`.
    device : str
    """

    def __init__(self, card: Card, network: torch.nn.Module, device: str) -> None:
        self.card, self.device = card, device
        self.network: Any = network.to(device).eval()

    def judge(self, bags: Sequence[NDArray[np.float32]]) -> SlideJudgement:
        """Classify a slide by its tiles' vectors, ``(N, D)`` float32 for each encoder.

        Raises
        ------
        ValueError
            They are not those of the encoders that it was trained with.
        """
        import torch

        found = tuple(bag.shape[1] if bag.ndim == 2 and len(bag) else 0 for bag in bags)
        if found != self.card.dims:
            names = ", ".join(source.key.encoder for source in self.card.sources)
            raise ValueError(
                f"this model takes vectors of {self.card.dims} numbers ({names}) of one tile or "
                f"more, not {[bag.shape for bag in bags]}"
            )
        with torch.inference_mode():
            verdict = self.network([to_device(bag, self.device) for bag in bags])
            return SlideJudgement(
                verdict.logits.softmax(0).cpu().numpy(),
                tuple(weights.cpu().numpy() for weights in verdict.attention),
            )


def load_classifier(card_path: Path, device: str | None = None) -> SlideClassifier:
    """Load a head from its ``<name>.json`` and the ``<name>.safetensors`` beside it.

    Raises
    ------
    ModelError
        A file is missing, damaged or belongs to another model.
    """
    import torch

    from .heads import HEADS

    card = Card.read(card_path)
    path = card_path.with_suffix(".safetensors")
    if card.head not in HEADS or not path.is_file():
        what = f"the head {card.head!r} is unknown" if path.is_file() else f"{path} is missing"
        raise ModelError(f"{card_path.stem} cannot be loaded: {what}. Train it again.")
    with torch.device("meta"):
        network = HEADS[card.head](card.dims, len(card.classes), card.hidden)
    load_into(network, read_state(path), path, card_path.stem)
    return SlideClassifier(card, network, device or default_device())
