"""Heads that learn from labels of slides: bags of tile embeddings in, classes out.

Every head takes a list of bags, one an encoder; all but :class:`Mixture` take one. A bag is
``(N, D)`` float32, the vectors of a slide's tiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from .transmil import TransMIL as TransMILBody

DROPOUT = 0.25
"""Part of what a tile's vector is projected to that is left out in training, as in CLAM."""
ATTENTION_WIDTH = 128


@dataclass(frozen=True, eq=False)
class Verdict:
    """What a head says of a slide.

    Attributes
    ----------
    logits : Tensor
        ``(classes,)`` float32.
    vector : Tensor
        ``(hidden,)`` float32: what the logits come from.
    attention : tuple of Tensor
        For each bag ``(N,)`` float32, all of them together adding up to 1; empty for a head that
        does not weigh tiles.
    """

    logits: Tensor
    vector: Tensor
    attention: tuple[Tensor, ...] = ()


class Head(nn.Module):
    """A linear classifier over a slide's vector, which each kind of head makes in its own way.

    Parameters
    ----------
    dims : sequence of int
        Length of the vectors of each bag.
    classes : int
    hidden : int
        Length of the slide's vector.

    Raises
    ------
    ValueError
        It takes one encoder and was given several.
    """

    several = False
    """Whether it takes more than one encoder."""

    def __init__(self, dims: Sequence[int], classes: int, hidden: int = 256) -> None:
        super().__init__()
        if len(dims) != 1 and not self.several:
            raise ValueError(
                f"This head takes one encoder, not {len(dims)}: choose the head “mixture”, or one "
                "encoder."
            )
        self.dims, self.classes, self.hidden = tuple(dims), classes, hidden
        self.classifier = nn.Linear(hidden, classes)

    def forward(self, bags: Sequence[Tensor]) -> Verdict:
        """Judge a slide."""
        raise NotImplementedError

    def loss(self, bags: Sequence[Tensor], label: int) -> Tensor:
        """What training makes small: the cross-entropy of a slide's class, ``()`` float32."""
        return _cross_entropy(self(bags).logits, label)


class Pooled(Head):
    """Mean or maximum of the tiles' vectors, then a projection: what attention has to beat."""

    def __init__(
        self, dims: Sequence[int], classes: int, hidden: int = 256, largest: bool = False
    ) -> None:
        super().__init__(dims, classes, hidden)
        self.project = _projection(dims[0], hidden)
        self.largest = largest

    def forward(self, bags: Sequence[Tensor]) -> Verdict:
        """Judge a slide."""
        pooled = bags[0].amax(0) if self.largest else bags[0].mean(0)
        vector = self.project(pooled)
        return Verdict(self.classifier(vector), vector)


class Maximum(Pooled):
    """Largest value of each feature over the tiles."""

    def __init__(self, dims: Sequence[int], classes: int, hidden: int = 256) -> None:
        super().__init__(dims, classes, hidden, largest=True)


class GatedAttention(Head):
    """Attention-based multiple instance learning with gates (Ilse et al., ICML 2018, eq. 9)."""

    def __init__(self, dims: Sequence[int], classes: int, hidden: int = 256) -> None:
        super().__init__(dims, classes, hidden)
        self.pool = GatedPool(dims[0], hidden)

    def forward(self, bags: Sequence[Tensor]) -> Verdict:
        """Judge a slide."""
        _, weights, vector = self.pool(bags[0])
        return Verdict(self.classifier(vector), vector, (weights,))


class GatedPool(nn.Module):
    """Projects tiles and averages them by learnt, gated weights."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.project = _projection(dim, hidden)
        self.content = nn.Linear(hidden, ATTENTION_WIDTH)
        self.gate = nn.Linear(hidden, ATTENTION_WIDTH)
        self.score = nn.Linear(ATTENTION_WIDTH, 1)

    def forward(self, bag: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the projected tiles ``(N, hidden)``, their weights ``(N,)`` and their mean."""
        tiles = self.project(bag)
        gated = torch.tanh(self.content(tiles)) * torch.sigmoid(self.gate(tiles))
        weights = self.score(gated)[:, 0].softmax(0)
        return tiles, weights, weights @ tiles


class Clam(GatedAttention):
    """CLAM with a single attention branch (Lu et al., Nature Biomedical Engineering 2021).

    While it is trained, the tiles with the highest attention are examples of the slide's class and
    those with the lowest are counter-examples, for a classifier of tiles that each class has.

    Attributes
    ----------
    examples : int
        Tiles of each sort; half of a slide's at most.
    bag_weight : float
        Part of the slide's class in the loss; the rest is that of the tiles.
    """

    examples = 8
    bag_weight = 0.7

    def __init__(self, dims: Sequence[int], classes: int, hidden: int = 256) -> None:
        super().__init__(dims, classes, hidden)
        self.instances = nn.ModuleList(nn.Linear(hidden, 2) for _ in range(classes))

    def loss(self, bags: Sequence[Tensor], label: int) -> Tensor:
        """Cross-entropy of the slide's class, and the smooth SVM loss of the example tiles."""
        tiles, weights, vector = self.pool(bags[0])
        of_slide = _cross_entropy(self.classifier(vector), label)
        if len(tiles) < 2:
            return of_slide
        count = min(self.examples, len(tiles) // 2)
        order = weights.argsort(descending=True)
        scores = self.instances[label](tiles[torch.cat([order[:count], order[-count:]])])
        margin = scores[:, 1] - scores[:, 0]
        margin = torch.cat([margin[:count], -margin[count:]])
        # The smooth top-1 SVM of Berrada et al. (ICLR 2018) for two classes, alpha and tau 1.
        of_tiles = functional.softplus(1 - margin).mean()
        return self.bag_weight * of_slide + (1 - self.bag_weight) * of_tiles


class TransMIL(Head):
    """Tiles that look at each other before they are judged (Shao et al., NeurIPS 2021)."""

    def __init__(self, dims: Sequence[int], classes: int, hidden: int = 256) -> None:
        super().__init__(dims, classes, hidden)
        self.body = TransMILBody(dims[0], hidden)

    def forward(self, bags: Sequence[Tensor]) -> Verdict:
        """Judge a slide."""
        vector, weights = self.body(bags[0])
        return Verdict(self.classifier(vector), vector, (weights,))


class Mixture(Head):
    """Mixture of experts: each encoder's tiles have a gated attention, a gate weighs the encoders.

    After Jacobs et al., Neural Computation 1991, with slides' vectors in the place of answers. The
    encoders may have tiles of different sizes and numbers. A tile's attention is its weight among
    its encoder's tiles times the weight of its encoder.
    """

    several = True

    def __init__(self, dims: Sequence[int], classes: int, hidden: int = 256) -> None:
        super().__init__(dims, classes, hidden)
        self.experts = nn.ModuleList(GatedPool(dim, hidden) for dim in dims)
        # Encoders differ in scale by orders of magnitude, which must not decide who is heard.
        self.norms = nn.ModuleList(nn.LayerNorm(hidden) for _ in dims)
        self.gate = nn.Linear(len(dims) * hidden, len(dims))

    def forward(self, bags: Sequence[Tensor]) -> Verdict:
        """Judge a slide."""
        pooled = [expert(bag) for expert, bag in zip(self.experts, bags, strict=True)]
        vectors = torch.stack(
            [norm(vector) for norm, (_, _, vector) in zip(self.norms, pooled, strict=True)]
        )
        shares = self.gate(vectors.flatten()).softmax(0)
        attention = tuple(share * own for share, (_, own, _) in zip(shares, pooled, strict=True))
        vector = shares @ vectors
        return Verdict(self.classifier(vector), vector, attention)


HEADS: dict[str, type[Head]] = {
    "mean": Pooled,
    "max": Maximum,
    "attention": GatedAttention,
    "clam": Clam,
    "transmil": TransMIL,
    "mixture": Mixture,
}


def _projection(dim: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Dropout(DROPOUT))


def _cross_entropy(logits: Tensor, label: int) -> Tensor:
    return functional.cross_entropy(logits[None], torch.tensor([label], device=logits.device))
