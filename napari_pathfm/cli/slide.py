"""Commands of whole slides: ``pathfm slide train|predict|embed``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import api
from .terminal import answer, command, licence, reporting, say

if TYPE_CHECKING:
    from ..analysis.search import TileScores
    from ..analysis.slide_bags import SlideBags
    from ..io.project import Project, SlideRow

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

ProjectFolder = Annotated[Path, typer.Option("--project", help="Project folder.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Attention = Annotated[
    Path | None,
    typer.Option(help="Folder for a CSV file a slide with how much each tile counted."),
]


class HeadName(StrEnum):
    """What can be trained."""

    MEAN = "mean"
    MAX = "max"
    ATTENTION = "attention"
    CLAM = "clam"
    TRANSMIL = "transmil"
    MIXTURE = "mixture"


@app.callback()
def slide() -> None:
    """Learn from labels of whole slides, predict them, embed slides."""


@app.command()
@command
def train(
    project: ProjectFolder,
    labels: Annotated[
        Path, typer.Option(help="CSV file with the columns slide, label and perhaps patient.")
    ],
    name: Annotated[str, typer.Option(help="Name of the model; kept in the project's models/.")],
    column: Annotated[str, typer.Option(help="Column of the label.")] = "label",
    encoder: Annotated[
        list[str] | None,
        typer.Option(help="Encoder of the slides' tiles; several times for the head “mixture”."),
    ] = None,
    head: Annotated[HeadName, typer.Option(help="How tiles become a slide.")] = HeadName.ATTENTION,
    epochs: Annotated[int, typer.Option(min=1, help="Rounds over the slides, at most.")] = 100,
    split: Annotated[
        tuple[float, float, float], typer.Option(help="Fractions of train, val and test.")
    ] = (0.7, 0.15, 0.15),
    seed: Annotated[int, typer.Option(help="Decides who is in which part.")] = 0,
    as_json: Json = False,
) -> None:
    """Train a head on slides that are embedded and labelled; patients are never split up."""
    from ..analysis.slide_bags import check_alike, find_slide, read_labels
    from ..analysis.train_slides import (
        LabelledSlide,
        Training,
        new_model_file,
        save_classifier,
        train_slides,
    )
    from ..core.jobs import run
    from ..io.project import Project

    encoders = encoder or ["efficientnet-lite0"]
    path = new_model_file(project / "models", name)
    rows = read_labels(labels, column)
    with Project.open(project, read_only=True) as opened:
        known = opened.slides()
        found = [(row, find_slide(known, row.slide)) for row in rows]
        bags = [(row, _bags(opened, each, encoders)) for row, each in found if each is not None]
    unknown = [row.slide for row, each in found if each is None]
    if not bags:
        raise ValueError(f"No slide of {labels} is in the project {project}. Embed them first.")
    if unknown:
        say(f"{len(unknown)} slides of {labels.name} are not in the project: {unknown[0]}, …")
    for _, bag in bags[1:]:
        check_alike(bag, bags[0][1].sources, bags[0][1].slide.name)
    slides = [LabelledSlide(bag.slide.id, row.patient, row.label, bag.vectors) for row, bag in bags]
    training = Training(head=head.value, epochs=epochs, split=split, seed=seed)
    with reporting("Training") as report:
        model = run(train_slides(slides, bags[0][1].sources, training), report)
    save_classifier(model, path)
    card = model.card
    facts = {
        "model": str(path),
        "head": card.head,
        "classes": list(card.classes),
        "encoders": encoders,
        "metrics": card.metrics,
        "not_in_project": unknown,
    }
    lines = [f"{name}: {card.head} on {', '.join(encoders)}, kept in {path.parent}"]
    lines += [_metrics_line(part, card.metrics[part]) for part in card.metrics]
    answer(facts, "\n".join(lines), as_json)


@app.command()
@command
def predict(
    project: ProjectFolder,
    name: Annotated[str, typer.Option(help="Name of a model that was trained in the project.")],
    slide: Annotated[
        list[str] | None, typer.Option(help="Name of a slide; all that are embedded if absent.")
    ] = None,
    attention: Attention = None,
    as_json: Json = False,
) -> None:
    """Predict the labels of slides with a model that was trained on others."""
    with reporting("Predicting") as report:
        found = api.predict_slides(project, name, slide or (), report)
    for reason in found.left_out.values():
        say(reason)
    rows: list[dict[str, Any]] = [
        {
            "slide": each.slide.name,
            "id": each.slide.id,
            "class": each.label,
            "probabilities": {key: round(value, 6) for key, value in each.probabilities.items()},
        }
        for each in found.slides
    ]
    if attention is not None:
        for each in found.slides:
            _write_attention(attention, each.bags, each.attention)
    lines = [
        f"{row['slide']}: {row['class']} ({row['probabilities'][row['class']]:.0%})" for row in rows
    ]
    facts = {"model": name, "slides": rows, "left_out": found.left_out}
    answer(facts, "\n".join(lines) or "No slide was predicted.", as_json)


@app.command()
@command
def embed(
    project: ProjectFolder,
    model: Annotated[str, typer.Option(help="Model of slides; see “pathfm models”.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="File .npz with the slides' ids and vectors.")
    ],
    encoder: Annotated[
        str, typer.Option(help="Encoder of the tiles, for a model that takes any.")
    ] = "efficientnet-lite0",
    weights: Annotated[
        Path | None, typer.Option(help="Checkpoint on this computer instead of a download.")
    ] = None,
    attention: Attention = None,
    as_json: Json = False,
) -> None:
    """Turn the embedded tiles of each slide of a project into one vector."""
    import numpy as np

    from ..analysis.slide_attention import embed_slide
    from ..core.jobs import Progress, run
    from ..io.atomic import replacing
    from ..io.project import Project
    from ..models.catalog import get_slide_model, refuse_other_kinds, slide_models
    from ..models.fetch import fetch

    refuse_other_kinds(slide_models(), model)
    licence(model)
    made: dict[str, Any] = {}
    left_out: dict[str, str] = {}
    with Project.open(project, read_only=True) as opened, reporting("Embedding") as report:
        found = run(fetch(model, weights, opened.models), report)
        network = get_slide_model(model, weights=found)
        slides = opened.slides()
        for number, each in enumerate(slides):
            report(Progress(number, len(slides), f"Embedding {each.name}", "slides"))
            try:
                bags = _bags(opened, each, [network.spec.encoder or encoder])
                made[each.id], scores = embed_slide(network, bags.features[0])
            except ValueError as error:
                left_out[each.name] = str(error)
                continue
            if attention is not None and scores is not None:
                _write_attention(attention, bags, (scores,))
    for reason in left_out.values():
        say(reason)
    if not made:
        raise ValueError(f"No slide of {project} could be embedded with {model}.")
    vectors = np.stack(list(made.values()))
    with replacing(output) as temporary, temporary.open("wb") as file:
        np.savez(file, ids=np.array(list(made)), vectors=vectors)
    facts = {
        "model": model,
        "output": str(output),
        "slides": list(made),
        "dim": int(vectors.shape[1]),
        "left_out": left_out,
    }
    answer(facts, f"{len(made)} slides embedded with {model}, kept in {output}", as_json)


def _bags(project: Project, slide: SlideRow, encoders: list[str]) -> SlideBags:
    from ..analysis.slide_bags import slide_bags

    return slide_bags(project, slide, encoders)


def _write_attention(folder: Path, bags: SlideBags, scores: tuple[TileScores, ...]) -> None:
    import csv

    folder.mkdir(parents=True, exist_ok=True)
    for features, own in zip(bags.features, scores, strict=False):
        grid = features.grid()
        path = folder / f"{bags.slide.name}.{features.key.encoder}.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(("tile", "y", "x", "side", "attention"))
            for tile, value in zip(own.tiles, own.values, strict=True):
                y, x = grid.origins[tile]
                table.writerow((int(tile), int(y), int(x), grid.side, f"{value:.6g}"))


def _metrics_line(part: str, metrics: Any) -> str:
    if not metrics["slides"]:
        return f"  {part}: no slides"
    area = "" if metrics["auc"] is None else f", AUC {metrics['auc']:.3f}"
    balanced = metrics["balanced_accuracy"]
    return f"  {part}: {metrics['slides']} slides, balanced accuracy {balanced:.3f}{area}"
