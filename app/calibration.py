"""segmill calibrate: how sure a labeller may say it is."""

from dataclasses import asdict
from typing import Annotated

import typer

from app.options import ClipModel, Json, Labels, Quiet, Root, print_json, say, settings_for


def calibrate(
    labels: Labels = None,
    clip_model: ClipModel = None,
    dataset: Annotated[str | None, typer.Option(help="Only this dataset's annotations.")] = None,
    most: Annotated[int, typer.Option(min=1, help="Annotations to look at.")] = 5_000,
    root: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fit the temperature of a label set to the categories of ingested annotations.

    It changes no label set: write the temperature it names into the YAML file, as
    `temperature: 1.8`. Probabilities are then as often right as they say.

    Examples:
      segmill calibrate --dataset mine

      segmill calibrate --labels street.yaml --clip-model file:weights/vit_b_32
    """
    from app.terminal import stage_progress
    from storage.lake import Lake
    from storage.objects import open_store
    from tasks.calibrate_labels import calibrate_labels
    from vision.clip import load_label_set

    settings = settings_for(root)
    chosen = load_label_set(labels or settings.labels)
    with stage_progress(quiet=quiet or as_json) as progress:
        found = calibrate_labels(
            Lake.open(settings.root),
            open_store(settings.root),
            chosen,
            clip_model=clip_model or settings.clip_model,
            dataset=dataset,
            most=most,
            device=settings.device,
            max_px=settings.max_image_px,
            progress=progress,
        )
    if as_json:
        print_json(
            asdict(found) | {"is_doubtful": found.is_doubtful, "label_set_id": chosen.label_set_id}
        )
        return
    say(
        f"{found.segments:,} annotations: the best label is right for {found.accuracy:.1%}\n"
        f"calibration error on them {found.ece_before:.3f} at temperature 1, "
        f"{found.ece_after:.3f} at {found.temperature}",
        quiet,
    )
    if found.is_doubtful:
        say("these are too few, or too easy, to tell a temperature by: change nothing", quiet)
    else:
        say(f"write into the label set: temperature: {found.temperature}", quiet)
