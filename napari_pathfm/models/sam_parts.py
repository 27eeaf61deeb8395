"""SAM's image encoder and mask decoder as functions of tensors alone: they can be compiled."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from .compiled import Compiled
from .compiler import IMAGE_ENCODER, Compiler, Origin
from .precision import Precision, autocast

WORTH_SECONDS = 2.0
"""Work of a part after which it is compiled: somebody is clicking, and goes on to."""

TOKENS = 2, 512
"""Least and most points of a prompt that a compiled decoder takes."""


class ImageEncoder(torch.nn.Module):
    """An image encoder in its precision.

    Parameters
    ----------
    part : torch.nn.Module
        SAM's ``image_encoder``, converted.
    precision : Precision
    """

    def __init__(self, part: torch.nn.Module, precision: Precision) -> None:
        super().__init__()
        self._part, self._precision = part, precision

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Encode an image, ``(1, 3, p, p)`` float32: ``(1, C, h, w)`` float32."""
        with autocast(image.device.type, self._precision):
            features: torch.Tensor = self._part(image)
        return features.float()


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


class QuickPart:
    """A part that is compiled once it has worked for some time, and then used so.

    Parameters
    ----------
    eager : ImageEncoder or MaskDecoder
    all_parts : torch.nn.Module
        What the process that compiles loads into memory besides.
    compiler : Compiler
    precision : Precision
    origin : tuple or None
        With which name and weights another process gets the same; never compiled without.
    suits : callable
        Takes the inputs, and tells whether the compiled part would take them.
    """

    def __init__(
        self,
        eager: torch.nn.Module,
        all_parts: torch.nn.Module,
        compiler: Compiler,
        precision: Precision,
        origin: Origin | None,
        suits: Callable[..., bool] = lambda *inputs: True,
    ) -> None:
        self.eager = eager
        self._parts, self._compiler, self._precision = all_parts, compiler, precision
        # On a card an answer takes a few ms anyway.
        self._origin = origin if compiler.device.partition(":")[0] == "cpu" else None
        self._suits = suits
        self.compiled = self._find()

    def __call__(self, *inputs: torch.Tensor) -> Any:
        """Answer as `eager` does, to tensors in the memory order it was compiled with."""
        suits = self._suits(*inputs)
        if self._compiler.ready:
            self.compiled = self._find()
        if suits and self.compiled is not None:
            try:
                return self.compiled(*inputs)
            except RuntimeError:  # the part itself answers all the same
                self.compiled = None
        start = time.perf_counter()
        found = self.eager(*inputs)
        if suits:
            seconds = time.perf_counter() - start
            self._compiler.worked(seconds, self._origin, self._parts, self._precision)
        return found

    def _find(self) -> Compiled | None:
        return None if self._origin is None else self._compiler.find(self._precision)

    @property
    def compiling(self) -> bool:
        """Whether it is being compiled meanwhile, or will be."""
        return self._compiler.busy

    def compile(self) -> None:
        """Have it compiled now, for a minute, unless that was done or is impossible."""
        self._compiler.start(self._origin, self._parts, self._precision)
        self._compiler.wait()


def one_prompt(*inputs: torch.Tensor) -> bool:
    """Whether these are a decoder's inputs for a single object."""
    return len(inputs[2]) == 1


def compilable(kind: str) -> tuple[Any, ...]:
    """Say what may vary in a part's inputs once it is compiled.

    That is the number of points of one prompt; crops have one size.
    """
    if kind == IMAGE_ENCODER:
        return (None,)
    least, most = TOKENS
    return None, None, {1: torch.export.Dim("tokens", min=least, max=most)}, None
