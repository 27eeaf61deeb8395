"""SAM's mask decoder as a function of tensors alone, so that it can be compiled."""

from __future__ import annotations

import time
from typing import Any

import torch

from .compiled import SEGMENTER, Compiled, Compiler, Origin
from .precision import Precision, autocast

WORTH_SECONDS = 2.0
"""Work of a decoder after which it is compiled: somebody is clicking, and goes on to."""

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
            ``(N, M, 4 h, 4 w)`` float32 logits.
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


class QuickDecoder:
    """A mask decoder that is compiled once it has worked for some time, and then used so.

    Parameters
    ----------
    decoder : MaskDecoder
    all_parts : torch.nn.Module
        What the process that compiles loads into memory besides.
    identity : str
        What tells it from other decoders.
    device : str
        Only on a processor is it compiled: on a card an answer takes a few ms anyway.
    precision : Precision
    origin : tuple or None
        With which name and weights another process gets the same; never compiled without.
    """

    def __init__(
        self,
        decoder: MaskDecoder,
        all_parts: torch.nn.Module,
        identity: str,
        device: str,
        precision: Precision,
        origin: Origin | None,
    ) -> None:
        self.eager = decoder
        self._parts, self._precision, self._origin = all_parts, precision, origin
        self._on_card = device.partition(":")[0] != "cpu"
        self._compiler = Compiler(identity, device, SEGMENTER, WORTH_SECONDS)
        self.compiled = self._find()

    def __call__(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Answer as :meth:`MaskDecoder.forward`."""
        alone = len(inputs[2]) == 1
        if self._compiler.ready:
            self.compiled = self._find()
        if alone and self.compiled is not None:
            try:
                low, scores = self.compiled(*(each.contiguous() for each in inputs))
            except RuntimeError:  # the decoder itself answers all the same
                self.compiled = None
            else:
                return low, scores
        start = time.perf_counter()
        found: tuple[torch.Tensor, torch.Tensor] = self.eager(*inputs)
        if alone:
            seconds = time.perf_counter() - start
            self._compiler.worked(seconds, self._origin, self._parts, self._precision)
        return found

    def _find(self) -> Compiled | None:
        never = self._origin is None or self._on_card
        return None if never else self._compiler.find(self._precision)

    @property
    def compiling(self) -> bool:
        """Whether it is being compiled meanwhile."""
        return self._compiler.busy

    def compile(self) -> None:
        """Have it compiled now, for half a minute, unless that was done or is impossible."""
        self._compiler.start(self._origin, self._parts, self._precision)
        self._compiler.wait()


def compilable() -> tuple[Any, ...]:
    """Say what may vary in its inputs once it is compiled: the number of points, of one prompt."""
    least, most = TOKENS
    return None, None, {1: torch.export.Dim("tokens", min=least, max=most)}, None
