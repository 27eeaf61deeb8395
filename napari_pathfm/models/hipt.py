"""The upper level of HIPT (Chen et al., CVPR 2022, https://github.com/mahmoodlab/HIPT).

A small vision transformer whose patches are the tiles of a region, 16 x 16 of 256 pixels. The
parameters have the names of the authors' file.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from .slides import check_params, loader, slide_spec

if TYPE_CHECKING:
    from .catalog import CatalogEntry

REGION = 16
"""Tiles along a side of a region."""
TRAINED = 14
"""The same in training, so the file's position embeddings are of 14 x 14 tiles."""


def build(entry: CatalogEntry, meta: bool = False) -> Regions:
    """Build the network of a catalogue entry without its weights.

    Raises
    ------
    ModelError
        It differs from the catalogue's facts.
    """
    spec = slide_spec(entry)
    with torch.device("meta" if meta else "cpu"):
        network = Regions(spec.dim_in, spec.dim)
    check_params(network, spec)
    return network.eval()


class Regions(nn.Module):
    """Tiles of a slide in, the mean of its regions' vectors out.

    Parameters
    ----------
    dim_in : int
        Length of a tile's vector.
    dim, depth, heads : int
    """

    def __init__(self, dim_in: int = 384, dim: int = 192, depth: int = 6, heads: int = 6) -> None:
        from timm.models.vision_transformer import Block

        super().__init__()
        norm = partial(nn.LayerNorm, eps=1e-6)
        self.heads = heads
        self.phi = nn.Sequential(nn.Linear(dim_in, dim), nn.GELU())
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + TRAINED**2, dim))
        self.blocks = nn.ModuleList(
            Block(dim, heads, qkv_bias=True, norm_layer=norm)  # type: ignore[arg-type]
            for _ in range(depth)
        )
        self.norm = norm(dim)

    def forward(self, vectors: Tensor, cells: Tensor) -> Tensor:
        """Embed a slide: ``(dim,)`` float32.

        Parameters
        ----------
        vectors : Tensor
            ``(N, dim_in)`` float32.
        cells : Tensor
            ``(N, 2)`` int64: row and column of each tile.
        """
        return torch.stack(
            [self.region(vectors[own], cells[own])[0] for own in _regions(cells)]
        ).mean(0)

    def attention(self, vectors: Tensor, cells: Tensor) -> Tensor:
        """What the regions' class tokens look at in the last block, mean of its heads: ``(N,)``.

        Without what they look at in themselves; the sum is 1, the same for each region.
        """
        weights = vectors.new_zeros(len(vectors))
        regions = _regions(cells)
        for own in regions:
            _, seen = self.region(vectors[own], cells[own])
            weights[own] = seen / seen.sum() / len(regions)
        return weights

    def region(self, vectors: Tensor, cells: Tensor) -> tuple[Tensor, Tensor]:
        """Embed the tiles that are there of one region, ``(M, dim_in)``, M at most 256.

        Returns
        -------
        Tensor
            ``(dim,)`` float32: the class token.
        Tensor
            ``(M,)`` float32: what it looks at in the last block, mean of the heads.
        """
        places = cells % REGION
        tokens = self.phi(vectors) + self._positions()[places[:, 0] * REGION + places[:, 1]]
        tokens = torch.cat([self.cls_token[0] + self.pos_embed[0, :1], tokens])[None]
        for block in self.blocks[:-1]:
            tokens = block(tokens)
        last = self.blocks[-1]
        seen = self._seen(last, tokens)
        return self.norm(last(tokens))[0, 0], seen

    def _seen(self, block: nn.Module, tokens: Tensor) -> Tensor:
        both = block.attn.qkv(block.norm1(tokens))  # type: ignore[union-attr, operator]
        query, key, _ = both.view(tokens.shape[1], 3, self.heads, -1).permute(1, 2, 0, 3)
        scores = query[:, :1] @ key.mT * query.shape[-1] ** -0.5
        weights: Tensor = scores.softmax(-1).mean((0, 1))
        return weights[1:]

    def _positions(self) -> Tensor:
        """Resample the position embeddings of tiles, as DINO does it: ``(256, dim)``.

        Bicubic with a scale of 16.1 / 14, not 16 / 14.
        """
        grid = self.pos_embed[:, 1:].mT.reshape(1, -1, TRAINED, TRAINED)
        scale = (REGION + 0.1) / TRAINED
        grid = functional.interpolate(grid, scale_factor=(scale, scale), mode="bicubic")
        return grid[0].flatten(1).T


def _regions(cells: Tensor) -> list[Tensor]:
    """Numbers of the tiles of each region."""
    _, region = torch.unique(cells // REGION, dim=0, return_inverse=True)
    return [(region == number).nonzero()[:, 0] for number in range(int(region.max()) + 1)]


load = loader(build)
