"""SAM's mask decoder as a function of tensors alone, so that it can be compiled."""

from __future__ import annotations

from typing import Any

import torch

from .precision import Precision, autocast

TOKENS = 2, 512
"""Least and most points of a prompt that a compiled decoder takes."""


class MaskDecoder(torch.nn.Module):
    """A mask decoder in its precision.

    Parameters
    ----------
    part : torch.nn.Module
        SAM's ``mask_decoder``, converted.
    precision : Precision
    multimask : bool
        Whether it gives three answers or one.
    """

    def __init__(self, part: torch.nn.Module, precision: Precision, multimask: bool) -> None:
        super().__init__()
        self._part, self._precision, self._multimask = part, precision, multimask

    def forward(
        self,
        features: torch.Tensor,
        places: torch.Tensor,
        sparse: torch.Tensor,
        dense: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Answer N prompts.

        Parameters
        ----------
        features, places : torch.Tensor
            ``(1, C, h, w)`` float32: of the image, and the code of each position.
        sparse : torch.Tensor
            ``(N, K, C)`` float32: points and corners.
        dense : torch.Tensor
            ``(N, C, h, w)`` float32: the answer before.

        Returns
        -------
        low : torch.Tensor
            ``(N, M, 256, 256)`` float32 logits.
        scores : torch.Tensor
            ``(N, M)`` float32.
        """
        with autocast(features.device.type, self._precision):
            low, scores = self._part(
                image_embeddings=features,
                image_pe=places,
                sparse_prompt_embeddings=sparse,
                dense_prompt_embeddings=dense,
                multimask_output=self._multimask,
            )
        return low.float(), scores.float()


def compilable() -> tuple[Any, ...]:
    """Say what may vary in its inputs once it is compiled: the number of points, of one prompt."""
    least, most = TOKENS
    return None, None, {1: torch.export.Dim("tokens", min=least, max=most)}, None
