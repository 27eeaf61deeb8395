"""Train a head on labels of slides: a bag of tile embeddings each, no label of any tile."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..core.inference import InferenceQueue, queue
from ..core.jobs import Job, Progress
from ..io.atomic import replacing
from ..models.device import default_device, to_device
from ..models.slide_classifier import BagSource, Card, SlideClassifier
from .slide_metrics import measure
from .split import Split, assign

if TYPE_CHECKING:
    import torch

PARTS = ("train", "val", "test")

Bags = Sequence[NDArray[np.float32]]


@dataclass(frozen=True)
class LabelledSlide:
    """A slide to learn from.

    Attributes
    ----------
    id : str
    patient : str
    label : str
    read : callable
        Returns for each encoder the vectors of its tiles, ``(N, D)`` float32.
    """

    id: str
    patient: str
    label: str
    read: Callable[[], Bags]


@dataclass(frozen=True, kw_only=True)
class Training:
    """How to train.

    Attributes
    ----------
    head : str
        One of :data:`napari_pathfm.models.heads.HEADS`.
    hidden : int
        Length of the slide's vector.
    epochs : int
        At most.
    patience : int
        Epochs without a smaller loss on the validation slides after which it ends.
    rate : float
        Of learning (AdamW), as CLAM and TransMIL have it.
    decay : float
        Of weights.
    most_tiles : int
        Tiles of a slide that are looked at in one step; of more, others each time.
    split : tuple of float
        Fractions of patients for train, val and test; val and test may be 0.
    seed : int
    """

    head: str = "attention"
    hidden: int = 256
    epochs: int = 100
    patience: int = 15
    rate: float = 2e-4
    decay: float = 1e-4
    most_tiles: int = 8192
    split: Split = (0.7, 0.15, 0.15)
    seed: int = 0


def train_slides(
    slides: Sequence[LabelledSlide],
    sources: Sequence[BagSource],
    training: Training | None = None,
    device: str | None = None,
) -> Job[SlideClassifier]:
    """Train a head, stop where the validation slides' loss no longer falls, keep the best.

    Where the split leaves none for validation, all epochs are done and the last is kept. The loss
    of a slide is weighed by how rare its class is. The same seed gives the same split, and on one
    machine the same network.

    Parameters
    ----------
    slides : sequence of LabelledSlide
    sources : sequence of BagSource
        How their bags were made.
    training : Training, optional
    device : str, optional
        The best one if absent.

    Raises
    ------
    ValueError
        There are fewer than two classes, or too few patients of one.
    """
    training = training or Training()
    device = device or default_device()
    classes = tuple(sorted({slide.label for slide in slides}))
    parts = split_by_patient(slides, training.split, training.seed)
    _check(classes, parts, training.split)
    learner = _Learner(classes, sources, parts["train"], training, device)
    steps = training.epochs * len(parts["train"])
    best, best_loss, best_epoch = learner.state(), np.inf, 0
    for epoch in range(training.epochs):
        known = f", loss {best_loss:.3f}" if np.isfinite(best_loss) else ""
        words = f"Training, round {epoch + 1}{known}"
        for number, _ in enumerate(learner.epoch()):
            yield Progress(epoch * len(parts["train"]) + number, steps, words, "slides")
        loss = learner.measure(parts["val"])["loss"]
        if loss is None:
            best, best_epoch = learner.state(), epoch
        elif loss < best_loss:
            best, best_loss, best_epoch = learner.state(), loss, epoch
        if epoch - best_epoch >= training.patience:
            break
    learner.network.load_state_dict(best)
    yield Progress(steps, steps, "Measuring", "slides")
    metrics = {name: learner.measure(part) for name, part in parts.items()}
    card = Card(
        head=training.head,
        classes=classes,
        sources=tuple(sources),
        hidden=training.hidden,
        metrics=metrics,
        split={name: [slide.id for slide in part] for name, part in parts.items()},
        settings={**asdict(training), "best_epoch": best_epoch + 1},
        made=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    return SlideClassifier(card, learner.network, device)


def new_model_file(folder: Path, name: str) -> Path:
    """Return the file ``<name>.json`` of a model that is to be made in a folder.

    Raises
    ------
    ValueError
        There is a model of that name already, or it is no name of a file.
    """
    card = folder / f"{name}.json"
    if not name.strip() or card.parent != folder:
        raise ValueError(f"{name!r} is no name of a file. Choose another name.")
    if card.exists():
        raise ValueError(f"There is a model named {name} in {folder}. Choose another name.")
    return card


def save_classifier(model: SlideClassifier, card: Path) -> None:
    """Write the weights, ``<name>.safetensors``, and then what is known of them."""
    from safetensors.torch import save_file

    state = {key: value.cpu().contiguous() for key, value in model.network.state_dict().items()}
    with replacing(card.with_suffix(".safetensors")) as temporary:
        save_file(state, temporary)
    with replacing(card) as temporary:
        temporary.write_text(model.card.to_json(), "utf-8")


def split_by_patient(
    slides: Sequence[LabelledSlide], split: Split, seed: int = 0
) -> dict[str, list[LabelledSlide]]:
    """Deal patients out to train, val and test, with about the same part of every class in each.

    A patient whose slides have several labels counts for the first of them.
    """
    of_patient: dict[str, list[LabelledSlide]] = {}
    for slide in sorted(slides, key=lambda slide: slide.id):
        of_patient.setdefault(slide.patient, []).append(slide)
    of_class: dict[str, list[str]] = {}
    for patient, own in of_patient.items():
        of_class.setdefault(own[0].label, []).append(patient)
    parts: dict[str, list[LabelledSlide]] = {name: [] for name in PARTS}
    for _, patients in sorted(of_class.items()):
        sizes = [len(of_patient[patient]) for patient in patients]
        for patient, part in zip(patients, assign(sizes, split, seed), strict=True):
            parts[PARTS[part]] += of_patient[patient]
    return parts


class _Learner:
    """The network in training; each step is a unit of the device's inference thread."""

    def __init__(
        self,
        classes: Sequence[str],
        sources: Sequence[BagSource],
        slides: Sequence[LabelledSlide],
        training: Training,
        device: str,
    ) -> None:
        self._classes, self._slides, self._training = classes, slides, training
        self._device = device
        self._queue: InferenceQueue = queue(device)
        self._random = np.random.default_rng(training.seed)
        counts = Counter(slide.label for slide in slides)
        self._weight = {label: len(slides) / len(counts) / count for label, count in counts.items()}
        self.network, self._optimizer = self._queue.call(lambda: self._build(sources))

    def _build(self, sources: Sequence[BagSource]) -> tuple[Any, Any]:
        import torch

        from ..models.heads import HEADS

        torch.manual_seed(self._training.seed)
        dims = [source.dim for source in sources]
        network = HEADS[self._training.head](dims, len(self._classes), self._training.hidden)
        network.to(self._device)
        rate, decay = self._training.rate, self._training.decay
        return network, torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=decay)

    def epoch(self) -> Iterator[None]:
        """Learn from every slide once, in random order."""
        self.network.train()
        for number in self._random.permutation(len(self._slides)):
            slide = self._slides[number]
            bags = [self._some(bag) for bag in slide.read()]
            self._queue.call(partial(self._step, slide, bags))
            yield

    def _some(self, bag: NDArray[np.float32]) -> NDArray[np.float32]:
        if len(bag) <= self._training.most_tiles:
            return bag
        chosen = self._random.choice(len(bag), self._training.most_tiles, replace=False)
        return bag[np.sort(chosen)]  # the order has a meaning to some heads

    def _step(self, slide: LabelledSlide, bags: Bags) -> None:
        tensors = [to_device(bag, self._device) for bag in bags]
        self._optimizer.zero_grad()
        loss = self.network.loss(tensors, self._classes.index(slide.label))
        (loss * self._weight[slide.label]).backward()
        self._optimizer.step()

    def measure(self, slides: Sequence[LabelledSlide]) -> dict[str, float | None]:
        """Compare what the network says of slides with their labels."""
        found = [self._queue.call(partial(self._judge, slide.read())) for slide in slides]
        return measure(found, [slide.label for slide in slides], self._classes)

    def _judge(self, bags: Bags) -> NDArray[np.float32]:
        import torch

        self.network.eval()
        with torch.inference_mode():
            verdict = self.network([to_device(bag, self._device) for bag in bags])
        probabilities: NDArray[np.float32] = verdict.logits.softmax(0).cpu().numpy()
        return probabilities

    def state(self) -> dict[str, torch.Tensor]:
        """Copy of the weights."""
        return copy.deepcopy(self.network.state_dict())


def _check(classes: Sequence[str], parts: dict[str, list[LabelledSlide]], split: Split) -> None:
    if len(classes) < 2:
        raise ValueError(
            f"To learn from labels there have to be two or more, not {len(classes)}: "
            f"{', '.join(classes) or 'no slide has one'}. Label slides of another class, too."
        )
    for name in ("train", "val") if split[1] else ("train",):
        missing = set(classes) - {slide.label for slide in parts[name]}
        if missing:
            raise ValueError(
                f"There are too few patients labelled {min(missing)!r}: none is left for {name}. "
                "Label slides of at least 3 patients of each class, or keep none back: the split "
                "1 0 0 trains on all of them, to the last epoch, and measures nothing."
            )
