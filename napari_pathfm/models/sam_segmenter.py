"""The frame for SAM and its relatives: image encoder, prompt encoder, mask decoder.

Their positions are ``(x, y)``; they are turned from and to our ``(y, x)`` here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..core.prompts import Prompts
from . import precision as precisions
from .base import ImageEmbedding, Segmentation
from .checkpoint import state_id
from .compiler import IMAGE_ENCODER, MASK_DECODER, Compiler, Origin
from .device import to_device
from .folding import fold_batch_norms

if TYPE_CHECKING:
    import torch

    from .sam_parts import QuickPart

CANDIDATES, MASK_SIZE = 3, (256, 256)

HALF = precisions.Precision("bfloat16", channels_last=True)
"""What parts run in where that is faster; the prompt encoder, which is small, does not."""


class SamSegmenter:
    """A network with SAM's three parts as a :class:`~napari_pathfm.models.base.Segmenter`.

    Parameters
    ----------
    name : str
    network : torch.nn.Module
        With ``image_encoder``, ``prompt_encoder`` and ``mask_decoder``.
    input_px : int
        Side of the square its image encoder sees.
    normalise : callable
        Turns ``(1, 3, h, w)`` float32 pixels of 0 to 255 into what the image encoder expects.
    device : str
    answers : frozenset of str
        Prompts that it understands.
    multimask : bool
        Whether it has three answers or one.
    origin : tuple or None
        With which name and weights another process gets the same segmenter; only then its parts are
        compiled.
    """

    def __init__(
        self,
        name: str,
        network: torch.nn.Module,
        input_px: int,
        normalise: Callable[[torch.Tensor], torch.Tensor],
        device: str,
        answers: frozenset[str] = frozenset({"points", "box", "mask"}),
        multimask: bool = True,
        origin: Origin | None = None,
    ) -> None:
        import torch

        from .sam_parts import ImageEncoder, MaskDecoder, one_prompt

        self.name, self.device = name, device
        self.weights_id = f"{state_id(network.state_dict())}-{input_px}"
        self.input_px, self.answers = input_px, answers
        self._normalise = normalise
        network.requires_grad_(False).eval()
        parts: Any = network.to(device)
        square = torch.zeros(1, 3, input_px, input_px, device=device)
        fold_batch_norms(parts.image_encoder, square)
        self.precision = HALF if precisions.half_wins(device) else precisions.FLOAT32
        self._prompt_encoder: Any = parts.prompt_encoder
        encoder = ImageEncoder(self._converted(parts.image_encoder), self.precision)
        decoder = MaskDecoder(self._converted(parts.mask_decoder), self.precision, multimask)
        both = torch.nn.ModuleList([encoder, decoder]).eval()
        identity = f"{name} {self.weights_id} {multimask}"
        self._encoder = self._quick(IMAGE_ENCODER, encoder, both, identity, origin)
        self._decoder = self._quick(MASK_DECODER, decoder, both, identity, origin, one_prompt)
        self._places: Any = None  # encoded positions of the features, the same for all images

    def encode(self, rgb: NDArray[np.uint8]) -> ImageEmbedding:
        """Run the image encoder once on a ``(h, w, 3)`` uint8 crop of any size."""
        import torch

        if rgb.ndim != 3 or rgb.shape[2] != 3 or not rgb.size:
            raise ValueError(f"a crop must be (h, w, 3) uint8, not {rgb.shape}")
        with torch.inference_mode():
            features = self._encoder(self._square(rgb))[0].contiguous().cpu().numpy()
        return ImageEmbedding(self.name, (rgb.shape[0], rgb.shape[1]), features)

    def decode(
        self,
        embedding: ImageEmbedding,
        prompts: Sequence[Prompts],
        logits: NDArray[np.float32] | None = None,
    ) -> Segmentation:
        """Answer the prompts of N objects, cheaply.

        Parameters
        ----------
        embedding : ImageEmbedding
            From this segmenter's :meth:`encode`.
        prompts : sequence of Prompts
            N, in **pixels of the crop**, ``(y, x)``.
        logits : ndarray, optional
            ``(N, p, p)`` float32 from an earlier answer, over the padded square.

        Raises
        ------
        ValueError
            The embedding is another model's, a prompt is empty or of a kind that this segmenter
            does not understand.
        """
        self._check(embedding, prompts, logits)
        order: list[int] = []
        found: list[tuple[NDArray[Any], ...]] = []
        for numbers in _alike(prompts):
            group = [prompts[number] for number in numbers]
            earlier = None if logits is None else np.asarray(logits, np.float32)[numbers]
            found.append(self._decode(embedding, group, earlier))
            order += numbers
        if len(found) == 1:
            return Segmentation(*found[0])
        back = np.argsort(order)
        return Segmentation(*(np.concatenate(parts)[back] for parts in zip(*found, strict=True)))

    def place(self, low: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
        """Enlarge logits of the padded square to a crop's own pixels.

        Parameters
        ----------
        low : torch.Tensor
            ``(N, M, p, p)`` over the padded square.
        shape : tuple of int
            ``(height, width)`` of the crop.

        Returns
        -------
        torch.Tensor
            ``(N, M, height, width)``.
        """
        from torch.nn.functional import interpolate

        height, width = self._inner(shape)
        square = (self.input_px, self.input_px)
        if low.shape[-2:] != square:
            low = interpolate(low, square, mode="bilinear", align_corners=False)
        inner = low[..., :height, :width]
        return interpolate(inner, shape, mode="bilinear", align_corners=False)

    def _converted(self, part: torch.nn.Module) -> torch.nn.Module:
        if self.precision == precisions.FLOAT32:
            return part
        return precisions.convert(part, self.precision)

    def _quick(
        self,
        kind: str,
        part: torch.nn.Module,
        both: torch.nn.Module,
        identity: str,
        origin: Origin | None,
        *suits: Callable[..., bool],
    ) -> QuickPart:
        from .sam_parts import WORTH_SECONDS, QuickPart

        compiler = Compiler(f"{identity} {kind}", self.device, kind, WORTH_SECONDS)
        return QuickPart(part, both, compiler, self.precision, origin, *suits)

    def _square(self, rgb: NDArray[np.uint8]) -> torch.Tensor:
        """The square that the image encoder sees of a crop: ``(1, 3, p, p)`` float32."""
        import torch
        from torch.nn.functional import interpolate, pad

        height, width = self._inner(rgb.shape[:2])
        image = to_device(rgb, self.device).permute(2, 0, 1)[None].float()
        image = interpolate(image, (height, width), mode="bilinear", antialias=True)
        image = self._normalise(image)
        image = pad(image, (0, self.input_px - width, 0, self.input_px - height))
        return image.contiguous(memory_format=torch.channels_last)

    def _inner(self, shape: Sequence[int]) -> tuple[int, int]:
        """Size of a crop inside the padded square: its longest side fills it."""
        scale = self.input_px / max(shape)
        return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))

    def _decode(
        self,
        embedding: ImageEmbedding,
        prompts: Sequence[Prompts],
        logits: NDArray[np.float32] | None,
    ) -> tuple[NDArray[np.bool_], NDArray[np.float32], NDArray[np.float32]]:
        """Answer prompts that are all of the same kind and number."""
        import torch

        height, width = self._inner(embedding.shape)
        scale = np.array((height / embedding.shape[0], width / embedding.shape[1]))
        points, boxes = _points(prompts, scale, self.device), _boxes(prompts, scale, self.device)
        with torch.inference_mode(), _one_thread_of_two(len(prompts)):
            earlier = None if logits is None else self._fitted(to_device(logits, self.device))
            if self._places is None:
                self._places = self._prompt_encoder.get_dense_pe().contiguous()
            sparse, dense = self._prompt_encoder(points=points, boxes=boxes, masks=earlier)
            features = to_device(embedding.features, self.device)[None]
            low, scores = self._decoder(*_in_order(features, self._places, sparse, dense))
            order = scores.argsort(dim=1, descending=True, stable=True)
            scores = scores.gather(1, order).clamp(0, 1)
            low = low.gather(1, order[..., None, None].expand_as(low))
            masks = self.place(low, embedding.shape) > 0
        repeats = CANDIDATES // low.shape[1]
        answer = (np.repeat(t.cpu().numpy(), repeats, axis=1) for t in (masks, scores, low))
        return tuple(answer)  # type: ignore[return-value]

    def _fitted(self, logits: torch.Tensor) -> torch.Tensor:
        """Logits ``(N, p, p)`` in the pixels that the prompt encoder takes, ``(N, 1, q, q)``."""
        from torch.nn.functional import interpolate

        size = tuple(getattr(self._prompt_encoder, "mask_input_size", MASK_SIZE))
        given = logits[:, None]
        if tuple(given.shape[-2:]) == size:
            return given
        return interpolate(given, size, mode="bilinear", align_corners=False)

    @property
    def compiling(self) -> bool:
        """Whether parts of it are being compiled meanwhile."""
        return self._encoder.compiling or self._decoder.compiling

    def compile(self) -> None:
        """Have its parts compiled now, see :meth:`.sam_parts.QuickPart.compile`."""
        self._decoder.compile()
        self._encoder.compile()

    def to_compile(self, kind: str) -> tuple[torch.nn.Module, list[tuple[torch.Tensor, ...]]]:
        """Return a part, and examples of what it takes: for the decoder, of one to five points.

        Parameters
        ----------
        kind : str
            :data:`~.compiler.IMAGE_ENCODER` or :data:`~.compiler.MASK_DECODER`.
        """
        import torch

        rgb = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
        square = self._square(rgb)
        if kind == IMAGE_ENCODER:
            return self._encoder.eager, [(square,)]
        with torch.no_grad():
            features = self._encoder.eager(square)
            places = self._prompt_encoder.get_dense_pe()
            examples: list[tuple[torch.Tensor, ...]] = []
            for count in (1, 2, 5):
                spots = torch.rand(1, count, 2, device=self.device) * self.input_px
                signs = torch.arange(count, device=self.device)[None] % 2
                said = self._prompt_encoder(points=(spots, signs), boxes=None, masks=None)
                examples.append(_in_order(features, places, *said))
        return self._decoder.eager, examples

    def _check(
        self,
        embedding: ImageEmbedding,
        prompts: Sequence[Prompts],
        logits: NDArray[np.float32] | None,
    ) -> None:
        if embedding.model != self.name:
            raise ValueError(
                f"This crop was encoded by {embedding.model}, so {self.name} cannot decode it. "
                f"Encode it with {self.name} first."
            )
        shape = np.shape(logits) if logits is not None else (len(prompts), 1, 1)
        if len(shape) != 3 or shape[0] != len(prompts) or shape[1] != shape[2]:
            raise ValueError(
                f"logits must be ({len(prompts)}, p, p), one for each object, not {shape}"
            )
        if logits is not None and "mask" not in self.answers:
            raise ValueError(
                f"{self.name} does not take an earlier answer as a prompt: {self._hint}"
            )
        for prompt in prompts:
            if not prompt:
                raise ValueError(f"There is no prompt for an object yet: {self._hint}")
            if len(prompt.points) and "points" not in self.answers and prompt.box is None:
                raise ValueError(f"{self.name} answers boxes, not points: {self._hint}")

    @property
    def _hint(self) -> str:
        if "points" in self.answers:
            return "click on it or draw a box."
        return "draw a box, or choose sam-vit-b, which answers points too."


@contextmanager
def _one_thread_of_two(prompts: int) -> Iterator[None]:
    """Answer a single prompt in one thread on two cores.

    It takes some ms, of which two threads would spend more on waiting for each other than they
    save, while the window draws: a tenth more masks a second under the pointer.
    """
    import torch

    threads = torch.get_num_threads()
    if prompts > 1 or threads != 2:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _in_order(*inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The mask decoder's inputs in the one memory order that it is compiled with."""
    return tuple(each.contiguous() for each in inputs)


def _alike(prompts: Sequence[Prompts]) -> list[list[int]]:
    """Group objects with as many points and boxes, which can be decoded in one pass."""
    groups: dict[tuple[int, bool], list[int]] = {}
    for number, prompt in enumerate(prompts):
        groups.setdefault((len(prompt.points), prompt.box is not None), []).append(number)
    return list(groups.values())


def _points(
    prompts: Sequence[Prompts], scale: NDArray[np.float64], device: str
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """``(N, K, 2)`` float32 ``(x, y)`` in the square and ``(N, K)`` signs, or nothing."""
    if not len(prompts[0].points):
        return None
    places = np.stack([(prompt.points * scale)[:, ::-1] for prompt in prompts])
    signs = np.stack([prompt.positive for prompt in prompts])
    return to_device(places.astype(np.float32), device), to_device(signs.astype(np.int64), device)


def _boxes(
    prompts: Sequence[Prompts], scale: NDArray[np.float64], device: str
) -> torch.Tensor | None:
    """``(N, 4)`` float32 ``(x0, y0, x1, y1)`` in the square, or nothing."""
    boxes = [prompt.box for prompt in prompts if prompt.box is not None]
    if not boxes:
        return None
    corners = np.stack(boxes).reshape(-1, 2, 2) * scale
    return to_device(corners[..., ::-1].reshape(-1, 4).astype(np.float32), device)
