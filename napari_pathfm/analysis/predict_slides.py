"""Predict the labels of slides with a head that was trained on others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..core.jobs import Job, Progress
from ..io.project import Project, SlideRow
from ..models.slide_classifier import SlideClassifier, SlideJudgement
from .search import TileScores
from .slide_attention import judge_slide
from .slide_bags import SlideBags, check_alike, find_slide, slide_bags


@dataclass(frozen=True, eq=False)
class SlidePrediction:
    """What a head says of a slide.

    Attributes
    ----------
    bags : SlideBags
        The slide, and the embeddings that were looked at.
    classes : tuple of str
    judged : SlideJudgement
    attention : tuple of TileScores
        For each encoder how much its tiles counted, 1 in the mean; empty if the head does not
        weigh tiles.
    """

    bags: SlideBags
    classes: tuple[str, ...]
    judged: SlideJudgement
    attention: tuple[TileScores, ...]

    @property
    def slide(self) -> SlideRow:
        """The slide."""
        return self.bags.slide

    @property
    def probabilities(self) -> dict[str, float]:
        """Of each class, sum 1."""
        return dict(zip(self.classes, self.judged.probabilities.tolist(), strict=True))

    @property
    def label(self) -> str:
        """The most probable class."""
        return self.classes[int(self.judged.probabilities.argmax())]


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a head says of slides.

    Attributes
    ----------
    slides : tuple of SlidePrediction
    left_out : dict
        For the name of each slide that could not be predicted, why not.
    """

    slides: tuple[SlidePrediction, ...]
    left_out: dict[str, str]


def predict_slides(
    project: Project, model: SlideClassifier, slides: Sequence[str] = ()
) -> Job[Predictions]:
    """Predict slides of a project.

    Parameters
    ----------
    project : Project
    model : SlideClassifier
    slides : sequence of str
        Names, file names or ids; if empty all, and those that are not embedded as the head wants
        are left out.

    Raises
    ------
    ValueError
        A slide that was named is not in the project, or not embedded as the head wants.
    """
    known = project.slides()
    wanted = [_named(project, known, name) for name in slides] if slides else known
    found: list[SlidePrediction] = []
    left_out: dict[str, str] = {}
    for number, slide in enumerate(wanted):
        yield Progress(number, len(wanted), f"Predicting {slide.name}", "slides")
        try:
            bags = _fitting(project, slide, model)
        except ValueError as error:
            if slides:
                raise
            left_out[slide.name] = str(error)
            continue
        judged, attention = judge_slide(model, bags.read())
        found.append(SlidePrediction(bags, model.card.classes, judged, attention))
    return Predictions(tuple(found), left_out)


def _named(project: Project, known: Sequence[SlideRow], name: str) -> SlideRow:
    found = find_slide(known, name)
    if found is None:
        raise ValueError(f"There is no slide {name!r} in {project.folder}.")
    return found


def _fitting(project: Project, slide: SlideRow, model: SlideClassifier) -> SlideBags:
    sources = model.card.sources
    bags = slide_bags(project, slide, [source.key.encoder for source in sources])
    check_alike(bags, sources, "those that the model was trained on")
    return bags
