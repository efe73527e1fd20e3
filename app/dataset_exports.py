"""segmill export coco, coco-panoptic, sa1b, comic and yolo: whole datasets in a folder."""

from collections.abc import Callable
from dataclasses import asdict
from functools import partial, wraps
from inspect import Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from app.options import FINDINGS, AsOf, Json, Quiet, Root, plural, print_json, say, settings_for

if TYPE_CHECKING:
    from tasks.exports.dataset import DatasetFormat, ExportSummary

Output = Annotated[
    Path, typer.Option("--output", "-o", help="Folder to write, new or empty.", show_default=False)
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an earlier export there.")]
Source = Annotated[
    Literal["segments", "annotations", "curated"],
    typer.Option(
        help="What models cut, what came with the drops, or what of both may be trained on."
    ),
]
OnlyDataset = Annotated[str | None, typer.Option("--dataset", help="Only this dataset.")]
OnlyLabels = Annotated[
    list[str] | None,
    typer.Option("--label", help="Only this label or category; can be given several times."),
]
OnlyModel = Annotated[
    str | None, typer.Option("--model", help="Only what this model cut, by its model_id.")
]
MinScore = Annotated[
    float, typer.Option(min=0, max=1, help="Only segments named at least this surely.")
]
OnlySplit = Annotated[str | None, typer.Option("--split", help="Only images of this split.")]
EmptyImages = Annotated[
    bool, typer.Option("--empty-images", help="Also images on which nothing fits.")
]
Images = Annotated[
    bool,
    typer.Option(
        "--images/--no-images", help="Copy the images too, so that the folder can be ingested."
    ),
]

_LIMITS = {
    "masks_kept_as_rle": "kept as RLE, because polygons would lose their holes or parts; "
    "--segmentation rle writes all masks so",
    "masks_partly_hidden": "partly hidden by smaller ones; a pixel has one segment",
    "masks_hidden": "left out: smaller ones hide them",
    "holes_filled": "lost holes; coco and comic keep them",
    "parts_joined": "of several parts, joined by a line",
    "crowds_left_out": "left out: crowds, which this form cannot mark",
    "crowds_not_marked": "of crowds, which this form cannot mark",
}


def _verb(
    form_of: Callable[..., "DatasetFormat"], without: tuple[str, ...] = ()
) -> Callable[..., None]:
    """Make a command of a function that makes a format: its options, and those that all have.

    Args:
        form_of: Makes the format.
        without: Options of all others that make no sense for this one.
    """
    own = signature(form_of).parameters
    shared = dict(signature(_write).parameters)
    for name in ("form", *without):
        del shared[name]
    parameters = [shared.pop("output"), *own.values(), *shared.values()]

    @wraps(form_of)
    def verb(**given: Any) -> None:
        form = form_of(**{name: given.pop(name) for name in own})
        _write(form, **given)

    verb.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    verb.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return verb


def _write(
    form: Any,
    output: Output,
    images: Images = True,
    source: Source = "segments",
    dataset: OnlyDataset = None,
    label: OnlyLabels = None,
    model: OnlyModel = None,
    min_score: MinScore = 0.0,
    split: OnlySplit = None,
    empty_images: EmptyImages = False,
    as_of: AsOf = None,
    overwrite: Overwrite = False,
    root: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    from app.terminal import stage_progress
    from storage.lake import Lake
    from storage.objects import open_store
    from storage.versions import versions_as_of
    from tasks.exports.dataset import export_dataset
    from tasks.exports.selection import Selection

    settings = settings_for(root)
    lake = Lake.open(settings.root)
    versions = versions_as_of(lake, as_of or ())
    try:
        selection = Selection(
            source=source,
            dataset=dataset,
            labels=tuple(label or ()),
            model_id=model,
            min_score=min_score,
            split=split,
            empty_images=empty_images,
            versions=versions,
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    with stage_progress(quiet=quiet or as_json) as progress:
        summary = export_dataset(
            lake,
            open_store(settings.root),
            output,
            form,
            selection,
            pictures=images,
            overwrite=overwrite,
            max_px=settings.max_image_px,
            progress=progress,
        )
    if as_json:
        print_json(asdict(summary))
    else:
        for line in _lines(summary):
            say(line, quiet)
    if summary.missing_images:
        raise typer.Exit(FINDINGS)


@_verb
def coco(
    segmentation: Annotated[
        Literal["rle", "polygon"],
        typer.Option(help="RLE is exact; polygons are used where they are exact too."),
    ] = "rle",
    strict: Annotated[
        bool, typer.Option("--strict", help="Fail rather than keep a mask as RLE.")
    ] = False,
) -> "DatasetFormat":
    """COCO instances: OUTPUT/annotations.json, and OUTPUT/images beside it.

    Examples:
      segmill export coco --output coco

      segmill export coco --output bubbles --label bubble --min-score 0.8 --segmentation polygon

      segmill export coco --output truth --source annotations --split val --no-images
    """
    from tasks.exports.coco import CocoFormat

    if strict and segmentation == "rle":
        raise typer.BadParameter("--strict needs --segmentation polygon; RLE loses nothing")
    return CocoFormat(segmentation, strict)


@_verb
def comic(
    bit_depth: Annotated[
        Literal["1", "8"], typer.Option(help="Of the mask PNGs; OpenCV reads both as 0 and 255.")
    ] = "1",
) -> "DatasetFormat":
    """The comic fine-tuning layout: OUTPUT/data with images, mask PNGs and annotations.json.

    Masks are data/masks/SPLIT/IMAGE_ANNOTATION.png; annotations name them as segmentation_file.

    Examples:
      segmill export comic --output comic

      segmill export comic --output comic --source annotations --dataset mine --bit-depth 8
    """
    from tasks.exports.comic import ComicFormat

    return ComicFormat(8 if bit_depth == "8" else 1)


@_verb
def coco_panoptic(
    stuff: Annotated[
        list[str] | None,
        typer.Option(help="A label that is stuff, not countable; can be given several times."),
    ] = None,
) -> "DatasetFormat":
    """COCO panoptic: OUTPUT/panoptic.json, id PNGs in OUTPUT/panoptic, and OUTPUT/images.

    A pixel has one segment: where masks overlap, the smallest lies on top.

    Examples:
      segmill export coco-panoptic --output panoptic

      segmill export coco-panoptic --output street --dataset street --stuff road --stuff sky
    """
    from tasks.exports.panoptic import PanopticFormat

    return PanopticFormat(stuff or ())


@_verb
def sa1b() -> "DatasetFormat":
    """SA-1B: OUTPUT/sa_1.json beside sa_1.jpg, and so on; this form has no labels.

    Examples:
      segmill export sa1b --output masks

      segmill export sa1b --output panels --label panel --split train
    """
    from tasks.exports.sa1b import Sa1bFormat

    return Sa1bFormat()


# Its images are found by their place beside the labels.
@partial(_verb, without=("images",))
def yolo() -> "DatasetFormat":
    """YOLO segmentation: OUTPUT/dataset.yaml, images and labels, each with train and val.

    An object is one polygon: holes are filled, parts joined by a line, crowds left out.

    Examples:
      segmill export yolo --output yolo

      segmill export yolo --output yolo --label panel --label bubble --empty-images
    """
    from tasks.exports.yolo import YoloFormat

    return YoloFormat()


def _lines(summary: "ExportSummary") -> list[str]:
    labels = ", ".join(f"{name} {count:,}" for name, count in summary.labels.items())
    lines = [
        f"{plural(summary.images, 'image')} and {plural(summary.objects, 'mask')} "
        f"in {summary.output}: {labels or 'none'}"
    ]
    lines += [
        f"  {plural(count, 'mask')} {_LIMITS[name]}" for name, count in summary.limits.items()
    ]
    if summary.empty_masks:
        lines.append(f"  {plural(summary.empty_masks, 'mask')} left out: without a pixel")
    if summary.turned_images:
        lines.append(f"  {plural(summary.turned_images, 'image')} turned upright, as PNG")
    if summary.missing_images:
        lines.append(
            f"  {plural(summary.missing_images, 'image')} left out: gone from the store, or broken"
        )
    if len(summary.models) > 1:
        lines.append(
            f"  {len(summary.models)} models cut these segments, so objects may be there more "
            f"than once; choose one with --model: {', '.join(summary.models)}"
        )
    return lines
