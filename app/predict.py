"""segmill predict: cut and name images in a folder; nothing is stored in the data root."""

import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.options import (
    FINDINGS,
    ClipModel,
    Json,
    Labels,
    Model,
    Precision,
    Preset,
    Quiet,
    Root,
    plural,
    print_json,
    say,
    settings_for,
)
from app.prompted import predict_prompted, read_prompts

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from vision.clip import LabelResult
    from vision.segmenter import Mask


def predict(
    output_dir: Annotated[Path, typer.Option(help="Folder to write to.")],
    image: Annotated[
        list[Path] | None,
        typer.Option(help="An image; can be given several times.", exists=True, dir_okay=False),
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--dir", help="A folder of images.", file_okay=False, exists=True)
    ] = None,
    points: Annotated[
        list[str] | None,
        typer.Option(
            metavar='"X,Y ..."',
            help="Clicks on one object, in px; X,Y,0 is beside it. Once for each object.",
        ),
    ] = None,
    boxes: Annotated[
        list[str] | None,
        typer.Option(metavar="LEFT,TOP,RIGHT,BOTTOM", help="A box around one object, in px."),
    ] = None,
    mask: Annotated[
        list[Path] | None,
        typer.Option(help="A rough mask of one object, PNG.", exists=True, dir_okay=False),
    ] = None,
    multimask: Annotated[
        bool | None,
        typer.Option(
            "--multimask/--single-mask",
            help="Three masks of each object, or one. \\[default: three after a single click]",
            show_default=False,
        ),
    ] = None,
    model: Model = None,
    clip_model: ClipModel = None,
    labels: Labels = None,
    preset: Preset = None,
    precision: Precision = None,
    root: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Cut and name images; write an overlay and a COCO document for each.

    They are called after the image; images of the same name get their
    folders before it. Of the root, only its models are used.

    With clicks, boxes or masks only what they point at is cut out of one image:
    a PNG of each mask, a picture, and COCO results with the model's own score.

    Examples:
      segmill predict --image page.png --output-dir out

      segmill predict --dir photos --output-dir out --model file:sam2_hiera_tiny.safetensors

      segmill predict --image page.png --points "120,80 300,200,0" --output-dir out

      segmill predict --image page.png --boxes 10,10,200,150 --boxes 220,10,400,150
      --output-dir out
    """
    from app.terminal import stage_progress
    from flows.requests import ModelRequest
    from tasks.models import Compute, choose_models, load_models
    from tasks.segment_batch import segment_images
    from vision.images import ImageError, decode_image

    paths = list(image or ())
    if folder is not None:
        paths += images_in(folder)
    if not paths:
        raise typer.BadParameter("give --image or --dir with at least one image")
    settings = settings_for(root)
    if points or boxes or mask:
        if len(paths) != 1:
            raise typer.BadParameter("clicks, boxes and masks are of one --image")
        if clip_model is not None or labels is not None or preset is not None:
            raise typer.BadParameter(
                "--clip-model, --labels and --preset are of whole images; leave them out with "
                "clicks, boxes and masks"
            )
        predict_prompted(
            paths[0],
            paths[0].name,
            output_dir,
            read_prompts(points or (), boxes or (), mask or ()),
            model or settings.model,
            settings,
            multimask=multimask,
            precision=precision or settings.precision,
            as_json=as_json,
            quiet=quiet,
        )
        return
    if multimask is not None:
        raise typer.BadParameter("--multimask and --single-mask are of clicks, boxes and masks")
    request = ModelRequest(
        model=model, clip_model=clip_model, labels=labels, preset=preset, precision=precision
    )
    models = load_models(choose_models.fn(**request.models(settings)), Compute.of(settings))
    output_dir.mkdir(parents=True, exist_ok=True)
    results: list[dict[str, Any]] = []
    refused = 0
    with stage_progress(quiet=quiet or as_json) as progress:
        for done, (path, name) in enumerate(zip(paths, output_names(paths), strict=True), start=1):
            try:
                decoded = decode_image(path.read_bytes(), settings.max_image_px)
            except (ImageError, OSError) as error:
                say(f"{path}: {error}")
                refused += 1
            else:
                found = segment_images(models, [decoded.rgb])[0]
                results.append(_write(output_dir / name, path, decoded.rgb, found))
            progress("predict", done, len(paths), path.name)
    if as_json:
        print_json({"images": results})
    else:
        masks = sum(result["segments"] for result in results)
        say(f"{plural(masks, 'segment')} on {plural(len(results), 'image')} in {output_dir}", quiet)
    if refused:
        raise typer.Exit(FINDINGS)


def images_in(folder: Path) -> list[Path]:
    """What may be an image by its name, sorted, but for folders and the like."""
    from tasks.drop_images import is_image

    return sorted(path for path in folder.iterdir() if is_image(path.name) and _may_be_file(path))


def _may_be_file(path: Path) -> bool:
    try:
        return path.is_file() or not path.exists()  # a link to nothing is told when it is read
    except OSError:
        return True  # so is what it may not look at


def output_names(paths: Sequence[Path]) -> list[str]:
    """Name the results of each image, so that none overwrites another's.

    Args:
        paths: The images.

    Returns:
        For each its file name; where several have the same, upper and lower case being one, with
        the folders before it in which they differ; and where that is the same too, with a number.
    """
    uses = Counter(path.name.casefold() for path in paths)
    shared = [path.parent.resolve() for path in paths if uses[path.name.casefold()] > 1]
    above = Path(os.path.commonpath(shared)) if shared else Path()
    names: list[str] = []
    taken: set[str] = set()
    for path in paths:
        name = path.name
        if uses[name.casefold()] > 1:
            name = "_".join([*path.parent.resolve().relative_to(above).parts, name])
        plain, number = Path(name), 1
        while name.casefold() in taken:
            number += 1
            name = f"{plain.stem}-{number}{plain.suffix}"
        taken.add(name.casefold())
        names.append(name)
    return names


def _write(
    target: Path,
    path: Path,
    rgb: "npt.NDArray[np.uint8]",
    found: "Sequence[tuple[Mask, LabelResult]]",
) -> dict[str, Any]:
    """Write `TARGET.overlay.png` and `TARGET.json` of one image."""
    import cv2

    from vision.draw.overlay import DrawnSegment, draw_segments

    drawn = draw_segments(
        rgb, [DrawnSegment(mask.rle, label.label, label.score) for mask, label in found]
    )
    overlay = target.with_name(f"{target.name}.overlay.png")
    ok, png = cv2.imencode(".png", drawn[..., ::-1])
    if not ok:
        raise OSError(f"{overlay} could not be encoded")
    overlay.write_bytes(png.tobytes())
    names = sorted({label.label for _, label in found})
    height, width = rgb.shape[:2]
    document = {
        "images": [{"id": 1, "file_name": path.name, "width": width, "height": height}],
        "categories": [{"id": number, "name": name} for number, name in enumerate(names, 1)],
        "annotations": [
            {
                "id": number,
                "image_id": 1,
                "category_id": names.index(label.label) + 1,
                "segmentation": {"size": [height, width], "counts": mask.rle.decode("ascii")},
                "area": mask.area_px,
                "bbox": list(mask.bbox_xywh),
                "iscrowd": 0,
                "score": label.score,
                "predicted_iou": mask.predicted_iou,
                "stability_score": mask.stability_score,
            }
            for number, (mask, label) in enumerate(found, 1)
        ],
    }
    document_path = target.with_name(f"{target.name}.json")
    document_path.write_text(json.dumps(document), encoding="utf-8")
    return {"image": str(path), "segments": len(found), "overlay": str(overlay)}
