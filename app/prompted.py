"""segmill predict with prompts: clicks, boxes and rough masks."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from app.options import plural, print_json, say

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from storage.settings import Settings
    from vision.object_prompts import AnsweredMask, Click, ObjectPrompt

_CATEGORY = 1


def read_prompts(
    points: Sequence[str], boxes: Sequence[str], masks: Sequence[Path]
) -> "list[ObjectPrompt]":
    """Read the prompts of the command line: the first of each kind are of the first object.

    Args:
        points: Of each object `X,Y` or `X,Y,0` for each click, between spaces.
        boxes: Of each object `LEFT,TOP,RIGHT,BOTTOM`.
        masks: Of each object a PNG.

    Raises:
        typer.BadParameter: If one cannot be read, or there are of some kind fewer than objects.
    """
    from vision.object_prompts import ObjectPrompt

    counts = {len(given) for given in (points, boxes, masks) if given}
    if len(counts) > 1:
        raise typer.BadParameter(
            f"expected as many of each as there are objects, but got {len(points)} --points, "
            f"{len(boxes)} --boxes and {len(masks)} --mask"
        )
    (objects,) = counts
    return [
        ObjectPrompt(
            clicks=_clicks(points[number]) if points else (),
            box_xyxy=_box(boxes[number]) if boxes else None,
            mask=_mask(masks[number]) if masks else None,
        )
        for number in range(objects)
    ]


def predict_prompted(
    path: Path,
    name: str,
    output_dir: Path,
    prompts: "Sequence[ObjectPrompt]",
    reference: str,
    settings: "Settings",
    *,
    multimask: bool | None,
    precision: Any,
    as_json: bool,
    quiet: bool,
) -> None:
    """Ask a model for the objects of one image, and write what it answers.

    Args:
        path: The image.
        name: What the results are called after.
        output_dir: Where they go.
        prompts: One for each object.
        reference: The model.
        settings: Of the machine.
        multimask: Three masks of each object, or one; None: three where a prompt is ambiguous.
        precision: `exact` or `fast`.
        as_json: Print one JSON object.
        quiet: Print nothing.

    Raises:
        PromptError: If a prompt makes no sense on the image.
        ImageError: If the image cannot be decoded.
    """
    from tasks.live_model import local_reference, resolve_reference
    from vision.images import decode_image
    from vision.object_prompts import answer_prompts
    from vision.sam2 import load_prompted

    decoded = decode_image(path.read_bytes(), settings.max_image_px)
    found = resolve_reference(reference, settings.root)
    weights = local_reference(found.reference, settings.root)
    model = load_prompted(weights, precision, settings.device)
    answers = answer_prompts(model, decoded.rgb, prompts, multimask)
    output_dir.mkdir(parents=True, exist_ok=True)
    written = _write(output_dir, name, decoded.rgb, prompts, answers)
    if as_json:
        print_json({"image": str(path), "model_id": found.model_id, **written})
        return
    for number, masks in enumerate(answers, 1):
        scores = ", ".join(f"{mask.predicted_iou:.3f} ({mask.area_px:,} px)" for mask in masks)
        say(f"object {number}: {scores}", quiet)
    count = sum(map(len, answers))
    say(f"{plural(count, 'mask')} of {plural(len(answers), 'object')} in {output_dir}", quiet)


def _write(
    folder: Path,
    name: str,
    rgb: Any,
    prompts: "Sequence[ObjectPrompt]",
    answers: "Sequence[Sequence[AnsweredMask]]",
) -> dict[str, Any]:
    """Write each mask, a picture of the best ones, and all of it in COCO's form of results."""
    import cv2

    from vision.draw.prompts import draw_prompted
    from vision.masks import rle_to_png

    height, width = rgb.shape[:2]
    results = []
    for number, masks in enumerate(answers, 1):
        for rank, mask in enumerate(masks, 1):
            file = f"{name}.object-{number}-mask-{rank}.png"
            (folder / file).write_bytes(rle_to_png(mask.rle, height, width))
            counts = mask.rle.decode("ascii")
            results.append(
                {
                    "image_id": 1,
                    "category_id": _CATEGORY,
                    "segmentation": {"size": [height, width], "counts": counts},
                    "bbox": list(mask.bbox_xywh),
                    "area": mask.area_px,
                    "score": mask.predicted_iou,
                    "object": number,
                    "rank": rank,
                    "mask_file": file,
                }
            )
    drawn = draw_prompted(rgb, prompts, [masks[0] for masks in answers])
    overlay, document = folder / f"{name}.overlay.png", folder / f"{name}.results.json"
    ok, png = cv2.imencode(".png", drawn[..., ::-1])
    if not ok:
        raise OSError(f"{overlay} could not be encoded")
    overlay.write_bytes(png.tobytes())
    document.write_text(json.dumps(results), encoding="utf-8")
    return {"masks": results, "overlay": str(overlay), "results": str(document)}


def _clicks(text: str) -> "tuple[Click, ...]":
    from vision.object_prompts import Click

    clicks = []
    for word in text.split():
        parts = word.split(",")
        try:
            x, y = float(parts[0]), float(parts[1])
            kind = parts[2] if len(parts) == 3 else "1"
            if len(parts) > 3 or kind not in ("0", "1"):
                raise ValueError(word)
        except (ValueError, IndexError):
            raise typer.BadParameter(
                f"expected clicks as X,Y (or X,Y,0 beside the object), but got {word!r}"
            ) from None
        clicks.append(Click(x, y, kind == "1"))
    if not clicks:
        raise typer.BadParameter("--points has no click")
    return tuple(clicks)


def _mask(path: Path) -> "npt.NDArray[np.bool_]":
    from vision.masks import png_to_mask
    from vision.masks.png import MaskPngError

    try:
        return png_to_mask(path.read_bytes())
    except MaskPngError as error:
        raise typer.BadParameter(f"expected a mask as PNG in {path}, but found {error}") from None


def _box(text: str) -> tuple[float, float, float, float]:
    try:
        left, top, right, bottom = map(float, text.split(","))
    except ValueError:
        raise typer.BadParameter(
            f"expected a box as LEFT,TOP,RIGHT,BOTTOM, but got {text!r}"
        ) from None
    return left, top, right, bottom
