"""``pathfm train-click``: train a click model on labelled images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import Json
from .terminal import answer, command, reporting, say

if TYPE_CHECKING:
    from ..analysis.click_crops import LabelledImage

Sources = list[tuple[float, list["LabelledImage"]]]


@command
def train_click(
    out: Annotated[Path, typer.Option(help="File to be made: NAME.safetensors.")],
    images: Annotated[
        list[Path] | None,
        typer.Option(help="Folder with images/ and labels/ of the same names; may be repeated."),
    ] = None,
    synthetic: Annotated[
        int, typer.Option(min=0, help="Images of glands drawn for it; a third as many of nuclei.")
    ] = 60,
    held_out: Annotated[
        int, typer.Option(min=2, help="Every so many-th image is kept for the judgement.")
    ] = 5,
    begin_with: Annotated[
        Path | None, typer.Option(help="Go on with this file instead of LiteMedSAM's weights.")
    ] = None,
    crops: Annotated[int, typer.Option(min=4, help="Crops to learn from, 1 MB each.")] = 3000,
    steps: Annotated[int, typer.Option(min=1, help="Steps of training.")] = 4000,
    batch: Annotated[int, typer.Option(min=1, help="Objects of a step.")] = 4,
    rounds: Annotated[int, typer.Option(min=1, help="Answers to an object, at most.")] = 3,
    rate: Annotated[float, typer.Option(help="Learning rate.")] = 3e-4,
    compiled: Annotated[
        bool, typer.Option("--compile", help="Compile first: minutes, then a third faster.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Decides crops, clicks and order.")] = 0,
    as_json: Json = False,
) -> None:
    """Train the adapter and the decoder of the click model; the image encoder stays as it is.

    Labels are images of ids (PNG, TIFF, .npy): 0 for none, a number an object. The outcome is a
    file for ``--weights`` of the segmenter pathfm-click.
    """
    from ..analysis.click_crops import encode_crops, read_folder, synthetic_images
    from ..analysis.judge_clicks import judge
    from ..analysis.train_click import ClickTraining, save_parts
    from ..analysis.train_click import train_click as training_of
    from ..core.jobs import run
    from ..core.memory import keep_all
    from ..models import click

    if out.suffix != ".safetensors":
        raise ValueError(f"{out} would be no file of weights: call it {out.stem}.safetensors.")
    folders = [sorted(read_folder(folder), key=lambda each: each.name) for folder in images or []]
    kept = [each for folder in folders for each in folder[::held_out] if len(folder) >= held_out]
    learned = [
        [each for number, each in enumerate(folder) if number % held_out or len(folder) < held_out]
        for folder in folders
    ]
    sources: Sources = [(2.0, each) for each in learned]
    if synthetic:
        say("Drawing synthetic images")
        sources.append((1.2, synthetic_images(synthetic, seed=1000 + seed)))
        nuclei = synthetic_images(max(1, synthetic // 3), 512, 5000 + seed, glands=False)
        sources.append((0.4, nuclei))
    if not sources:
        raise ValueError("There is nothing to learn from: name a folder with --images.")
    keep_all()
    segmenter, network = click.to_train(begin_with)
    with reporting("Encoding") as report:
        encoded = run(encode_crops(sources, segmenter, crops, seed), report)
    with reporting("Training") as report:
        training = ClickTraining(
            steps=steps,
            batch=batch,
            rounds=rounds,
            rate=rate,
            seed=seed,
            fresh=begin_with is None,
            compiled=compiled,
        )
        parts = run(training_of(network, encoded, training), report)
    save_parts(parts, out)
    facts: dict[str, object] = {"file": str(out), "megabytes": out.stat().st_size / 1e6}
    lines = [f"{out}: {out.stat().st_size / 1e6:.1f} MB"]
    if kept:
        with reporting("Judging") as report:
            found = run(judge(click.load(out), kept), report)
        facts["held_out"] = found
        figures = ", ".join(f"{name} {value:.3f}" for name, value in found.items())
        lines.append(f"On the {len(kept)} images kept for it: {figures}")
    answer(facts, "\n".join(lines), as_json)
