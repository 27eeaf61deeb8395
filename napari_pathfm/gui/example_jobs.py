"""Jobs of segmenting by example, and the models that they use."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..analysis.by_example import FoundByExample, segment_by_example
from ..analysis.prototypes import Prototypes
from ..analysis.take_example import take_examples
from ..core.jobs import Job, Progress
from ..core.slide import Slide
from ..io.examples import load_examples, save_examples
from ..io.masks import AnnotationLayer
from ..io.project import Project
from ..models import catalog
from ..models.base import Encoder, ExampleSegmenter, Segmenter
from ..models.fetch import fetch
from .view import Region

SEGGPT = "seggpt"


def save_job(
    slide: Slide, layer: AnnotationLayer, project: Project, numbers: Sequence[int], name: str
) -> Job[None]:
    """Keep objects as more examples of a name."""
    yield Progress(0, 0, "Saving the example")
    save_examples(project, take_examples(slide, layer, numbers, name))


def by_example_job(
    slide: Slide,
    project: Project,
    name: str,
    region: Region,
    model: Job[ExampleSegmenter],
    segmenter: Job[Segmenter],
) -> Job[FoundByExample]:
    """Load what is needed, and look for what is like the examples of a name."""
    examples = load_examples(project, name)
    chosen = yield from model
    # SegGPT paints objects; tokens are too coarse for that.
    draws = (yield from segmenter) if isinstance(chosen, Prototypes) else None
    return (yield from segment_by_example(slide, examples, chosen, region, draws))


class ExampleModels:
    """Loads what segments by example, once.

    Parameters
    ----------
    loader : callable
        Takes the name of an encoder and returns what loads it.
    """

    def __init__(self, loader: Callable[[str], Callable[[], Encoder]]) -> None:
        self._loader = loader
        self._loaded: dict[str, ExampleSegmenter] = {}

    def load(self, name: str, encoder: str, project: Project) -> Job[ExampleSegmenter]:
        """Load a model; prototypes of an encoder if the name is empty.

        Raises
        ------
        ModelError
            Weights are missing or do not fit.
        """
        if not name:
            yield Progress(0, 0, "Loading the encoder")
            return Prototypes(self._loader(encoder)())
        if name not in self._loaded:
            weights = yield from fetch(name, None, project.models)
            yield Progress(0, 0, f"Loading {name}")
            self._loaded[name] = catalog.get_example_segmenter(name, weights)
        return self._loaded[name]
