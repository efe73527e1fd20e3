"""What fine-tuning brings: the demo model learns from pages of an art style it has never seen.

    OMP_NUM_THREADS=1 python -m benchmarks.finetune --folder FOLDER --json FILE
    OMP_NUM_THREADS=1 python -m benchmarks.finetune --folder FOLDER --gate --json FILE

The style is `woodcut` of `examples.comics`. A few masks of each page take part, as if somebody had
accepted them in review; pages of the style that the model knows are shown as well, so that it does
not forget it. Both styles are measured on pages that nothing was trained on.

`--gate` trains on masks that lie in the wrong place as well, and asks the gate about both models.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.progress import track

from benchmarks.record import write_record
from examples.comics import ArtStyle, generate_page
from storage.evaluations import Evaluation, Metric
from tasks.gate import decide
from tasks.gate_rules import load_gate
from vision.finetune import TrainConfig, TrainingImage, read_config
from vision.finetune.run import FinetuneResult, finetune
from vision.masks import mask_to_rle, rle_to_mask
from vision.metrics import PromptSample, PromptScores, evaluate_prompts
from vision.metrics.image_values import Values, automatic_values
from vision.sam2 import load_prompted, load_segmenter

PRESET = Path(__file__).parents[1] / "configs" / "train-demo.yaml"
LIVE = "demo"
KNOWN: ArtStyle = "pen"
NEW: ArtStyle = "woodcut"

CURATED_SEEDS = range(960_000_000, 960_000_060)
CURATED_MASKS_PER_PAGE = 5
REPLAYED_SEEDS = range(100_000, 100_060)  # the demo model has learned from such pages
REPLAYED_MASKS_PER_PAGE = 8
FIRST_HELD_OUT_SEED = 970_000_000


def main() -> None:
    """Read the command line, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--config", type=Path, default=PRESET, help="settings of the training")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--pages", type=int, help="held-out pages (60, with --gate 20)")
    parser.add_argument("--gate", action="store_true", help="ask the gate, about a bad run too")
    parser.add_argument("--bad-minutes", type=float, default=3, help="training on wrong masks")
    parser.add_argument("--folder", type=Path, help="keep models here; those it has are not redone")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    config = read_config(options.config, options.set)
    pages = options.pages or (20 if options.gate else 60)
    seeds = range(FIRST_HELD_OUT_SEED, FIRST_HELD_OUT_SEED + pages)
    with tempfile.TemporaryDirectory() as temporary:
        folder: Path = options.folder or Path(temporary)
        curated = training_images(folder, NEW, CURATED_SEEDS, CURATED_MASKS_PER_PAGE)
        replayed = training_images(folder, KNOWN, REPLAYED_SEEDS, REPLAYED_MASKS_PER_PAGE)
        result = train([*curated, *replayed], config, folder / "model")
        tuned = f"file:{result.folder}"
        method = (
            f"demo model, {options.config.name}, {config.limits.minutes:g} minutes: "
            f"{count(curated)} masks on {len(curated)} {NEW} pages, and {count(replayed)} on "
            f"{len(replayed)} replayed {KNOWN} pages, a tenth of the pages for validation; "
            f"{pages} held-out pages, seeds from {FIRST_HELD_OUT_SEED}; "
        )
        if options.gate:
            limits = config.limits.model_copy(update={"minutes": options.bad_minutes})
            wrong = [misplaced(image) for image in curated]
            bad = train(wrong, config.model_copy(update={"limits": limits}), folder / "bad")
            metrics = ask_gate({"good": tuned, "bad": f"file:{bad.folder}"}, seeds)
            method += (
                f"configs/gate.yaml on {NEW} pages, 1 is promoted; bad: {options.bad_minutes:g} "
                f"minutes on the {count(wrong)} masks moved by a third of the page"
            )
        else:
            metrics = {}
            for style, name in ((NEW, "miou1"), (KNOWN, "miou1_original")):
                metrics |= comparison(name, *(click(each, style, seeds) for each in (LIVE, tuned)))
            metrics |= {"seconds": result.seconds, "steps": result.steps}
            metrics |= {"curated_masks": count(curated), "replayed_masks": count(replayed)}
            method += (
                "one click in the middle of each object: mean IoU of the mask rated best, and "
                f"(oracle) of the best of the three; original is {KNOWN}, else {NEW}"
            )
    benchmark = "finetune_gate" if options.gate else "finetune"
    write_record(benchmark, metrics, method, ["torch", "sam2", "accelerate"], options.json)


def training_images(
    folder: Path, style: ArtStyle, seeds: range, masks_per_page: int
) -> list[TrainingImage]:
    """Write pages, and choose some masks of each at random."""
    (folder / "pages").mkdir(parents=True, exist_ok=True)
    images = []
    for seed in seeds:
        page = generate_page(seed, style=style)
        file = folder / "pages" / f"{style}_{seed}.png"
        cv2.imwrite(str(file), np.ascontiguousarray(page.image[..., ::-1]))
        things = [thing for thing in page.objects if not thing.iscrowd]
        drawn = np.random.default_rng(seed).permutation(len(things))[:masks_per_page]
        height, width = page.image.shape[:2]
        images.append(
            TrainingImage(
                image_id=file.stem,
                pixels=file,
                height_px=height,
                width_px=width,
                rles=tuple(mask_to_rle(things[place].mask) for place in sorted(drawn)),
                labels=tuple(things[place].category for place in sorted(drawn)),
            )
        )
    return images


def misplaced(image: TrainingImage) -> TrainingImage:
    """The same image with each of its masks moved by a third of the page; what leaves returns."""
    size = image.height_px, image.width_px
    shift = (size[0] // 3, size[1] // 3)
    masks = [np.roll(rle_to_mask(rle, *size), shift, (0, 1)) for rle in image.rles]
    return replace(image, rles=tuple(map(mask_to_rle, masks)))


def count(images: Sequence[TrainingImage]) -> int:
    """How many masks images have."""
    return sum(len(image.rles) for image in images)


def train(images: list[TrainingImage], config: TrainConfig, folder: Path) -> FinetuneResult:
    """Fine-tune the demo model, and tell how it goes."""
    console = Console()
    with console.status(folder.name) as status:
        result = finetune(
            config,
            images,
            folder,
            on_step=lambda report: status.update(
                f"{folder.name}: step {report.step}, {report.seconds:.0f} s, "
                f"loss {report.loss:.3f}, validation {report.miou or 0:.3f}"
            ),
        )
    console.print(f"{folder.name}: {result.ending}, {result.steps} steps, {result.seconds:.0f} s")
    if result.best_miou is not None:
        console.print(f"validation: {result.best_miou:.3f} at step {result.best_step}")
    return result


def held_out(style: ArtStyle, seeds: range) -> Iterator[PromptSample]:
    """Pages that nothing was trained on, with all of their objects but crowds."""
    for seed in track(seeds, description=f"{style} pages"):
        page = generate_page(seed, style=style)
        rles = [mask_to_rle(thing.mask) for thing in page.objects if not thing.iscrowd]
        yield PromptSample(f"{style}_{seed}", page.image, rles)


def click(reference: str, style: ArtStyle, seeds: range) -> PromptScores:
    """Click once in the middle of each object of the held-out pages of a style."""
    return evaluate_prompts(load_prompted(reference), held_out(style, seeds), (1,), ("centre",))


def comparison(name: str, before: PromptScores, after: PromptScores) -> dict[str, float | None]:
    """Mean IoU of the masks rated best, and of the best masks: before, after, and what changed."""
    numbers: dict[str, float | None] = {}
    for key, oracle in ((name, False), (f"{name}_oracle", True)):
        was, became = (float(each.iou(1, oracle=oracle).mean()) for each in (before, after))
        numbers |= {f"{key}_before": was, f"{key}_after": became}
        if "original" in name:
            numbers[f"{key}_drop"] = was - became
        else:
            numbers[f"{key}_gain"] = became - was
    return numbers


def ask_gate(candidates: dict[str, str], seeds: range) -> dict[str, float | None]:
    """Ask the gate about models on pages of the new style.

    Returns:
        1 by each candidate's name if it would be promoted, else 0, and what the gate compares.
    """
    gate = load_gate()
    measured = {name: evaluation(model, seeds) for name, model in candidates.items()}
    live = evaluation(LIVE, seeds)
    numbers: dict[str, float | None] = {}
    for name, candidate in measured.items():
        decision = decide(gate, candidate, live)
        print(f"gate, {name} model: {decision.verdict}")
        for rule in decision.rules:
            print(f"  {'holds' if rule.passed else 'FAILS'}: {rule.words}")
        numbers[f"{name}_promoted"] = float(decision.verdict == "promote")
        numbers |= {f"{name}_{r.metric}_gain": r.gain for r in decision.rules if r.metric}
    return numbers


def evaluation(reference: str, seeds: range) -> Evaluation:
    """Measure what the rules of the gate are about, as `segmill evaluate` does."""
    prompted, segmenter = load_prompted(reference), load_segmenter(reference, "demo")
    values: dict[str, Values] = {}
    for sample in held_out(NEW, seeds):
        clicked = evaluate_prompts(prompted, [sample], (1,), ("centre",))
        of_page: Values = {
            "miou@1.centre": tuple(clicked.iou(1).tolist()),
            "miou@1.centre.oracle": tuple(clicked.iou(1, oracle=True).tolist()),
        }
        of_page |= automatic_values(segmenter, sample)
        for name, numbers in of_page.items():
            values.setdefault(name, {})[sample.image_id] = numbers
    metrics = {
        name: Metric(float(np.mean(np.concatenate(list(pages.values())))), pages)
        for name, pages in values.items()
    }
    return Evaluation(
        evaluation_id="",
        model_id=prompted.model_id,
        dataset=f"comics_{NEW}",
        split="test",
        params_id=None,
        images=len(seeds),
        metrics=metrics,
        run_id=None,
        evaluated_at=datetime.now(UTC),
    )


if __name__ == "__main__":
    main()
