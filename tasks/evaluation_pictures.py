"""Pictures of the images on which a model did badly: a sheet of them, and each one whole."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2

from storage.objects import ObjectNotFoundError
from storage.settings import get_settings
from tasks.evaluate_model import (
    EvaluationSummary,
    WorstImage,
    load_both,
    plan_evaluation,
)
from tasks.frozen_set import FrozenImage, FrozenSet, Pixels, frozen_split, read_frozen
from tasks.mask_names import slug
from tasks.report.data import Progress
from vision.draw.answers import DrawnAnswer, answer_tile, draw_answers
from vision.draw.contact_sheet import Tile, contact_sheet
from vision.images import ImageError
from vision.metrics.one_click import ClickAnswer, answers_to_one_click
from vision.metrics.prompts import PromptSample

if TYPE_CHECKING:
    from vision.sam2.prompted import PromptedSam2

SHEET = "worst.png"
STAGE = "pictures"
_COLUMNS = 4
_TILE_PX = 300


def draw_worst(
    root: str,
    summary: EvaluationSummary,
    folder: Path,
    *,
    reference: str,
    max_images: int | None = None,
    device: str | None = None,
    progress: Progress | None = None,
) -> list[Path]:
    """Draw the worst images of a measurement of a lake's images, also of one that was found again.

    Args:
        root: The data root.
        summary: The measurement.
        folder: Where to write; made if missing. Files of the same names are replaced.
        reference: The model that was measured.
        max_images: As it was measured.
        device: What computes; None takes that of the settings.
        progress: Told after each image.

    Returns:
        What was written: the sheet `worst.png`, and `worst-01-NAME.png` … of whole images. On each
        the true outline is green, the answer to one click red, and the click yellow; the sheet has
        of each image the object that was answered worst.

    Raises:
        NoFrozenSetError, ModelReferenceError: As `evaluate_model`.
        OSError: If it cannot be written.
    """
    with frozen_split(root, summary.dataset, summary.split, max_images) as frozen:
        return draw_worst_of(
            root,
            frozen,
            summary.worst,
            folder,
            reference=reference,
            device=device,
            progress=progress,
        )


def draw_worst_of(
    root: str,
    frozen: FrozenSet,
    worst: Sequence[WorstImage],
    folder: Path,
    *,
    reference: str,
    device: str | None = None,
    progress: Progress | None = None,
) -> list[Path]:
    """Draw images of a frozen set; as `draw_worst`.

    Args:
        root: The data root whose models `promoted` and `model:ID` are.
        frozen: The images that were measured.
        worst: Which of them to draw, and in which order.
        folder: Where to write.
        reference: The model.
        device: What computes.
        progress: Told after each image.
    """
    plan = plan_evaluation(root, reference, frozen, automatic=False, look_back=False)
    model, _ = load_both(root, plan, device)
    wanted = {image.image_id: place for place, image in enumerate(worst)}
    tiles: dict[int, Tile] = {}
    written: dict[int, Path] = {}
    folder.mkdir(parents=True, exist_ok=True)
    for image in frozen.images():
        if image.image_id not in wanted:
            continue
        place = wanted[image.image_id]
        answered = _answered(model, frozen, image)
        if answered is not None:
            name = f"worst-{place + 1:02}-{slug(Path(image.file_name).stem)}.png"
            written[place], tiles[place] = folder / name, _tile(image, *answered)
            _write(written[place], _whole(*answered))
        if progress is not None:
            progress(STAGE, len(tiles), len(worst), image.file_name)
        if len(tiles) == len(worst):
            break
    if not tiles:
        return []
    _write(
        folder / SHEET,
        contact_sheet([tiles[place] for place in sorted(tiles)], _COLUMNS, _TILE_PX),
    )
    return [folder / SHEET, *(written[place] for place in sorted(written))]


def _answered(
    model: "PromptedSam2", frozen: FrozenSet, image: FrozenImage
) -> tuple[Pixels, list[ClickAnswer]] | None:
    """An image and the model's answers on it; None if it can no longer be read."""
    try:
        rgb = read_frozen(frozen.store, image, get_settings().max_image_px)
    except (ImageError, ObjectNotFoundError):
        return None
    return rgb, answers_to_one_click(model, PromptSample(image.image_id, rgb, image.rles))


def _tile(image: FrozenImage, rgb: Pixels, answers: Sequence[ClickAnswer]) -> Tile:
    mean = sum(answer.iou for answer in answers) / len(answers)
    worst = min(answers, key=lambda answer: answer.iou)
    lines = (
        f"{mean:.3f}  {image.file_name}",
        f"worst of {len(answers)}: {worst.iou:.3f}, click {worst.click_xy[0]}, {worst.click_xy[1]}",
    )
    return Tile(answer_tile(rgb, _drawn(worst), side_px=_TILE_PX), lines)


def _whole(rgb: Pixels, answers: Sequence[ClickAnswer]) -> Pixels:
    return draw_answers(rgb, [_drawn(answer) for answer in answers])


def _drawn(answer: ClickAnswer) -> DrawnAnswer:
    return DrawnAnswer(answer.truth, answer.predicted, answer.click_xy)


def _write(path: Path, picture: Pixels) -> None:
    _, data = cv2.imencode(".png", picture[..., ::-1])
    path.write_bytes(data.tobytes())
