"""``python -m examples.comics FOLDER``: write a drop of generated comic pages."""

import argparse
from pathlib import Path

from examples.comics.drop import write_drop
from examples.comics.page import ART_STYLES

DEMO_SEED = 910_000_000


def main() -> None:
    """Read the command line and write the drop."""
    parser = argparse.ArgumentParser(prog="python -m examples.comics", description=__doc__)
    parser.add_argument("folder", type=Path, help="where the drop goes")
    parser.add_argument("--pages", type=int, default=12, help="how many pages (default 12)")
    parser.add_argument("--seed", type=int, default=DEMO_SEED, help="seed of the first page")
    parser.add_argument("--size", type=int, default=512, help="longer side in pixels")
    parser.add_argument("--style", choices=ART_STYLES, default="pen", help="how they are drawn")
    parser.add_argument("--broken", action="store_true", help="add one bad image and annotation")
    chosen = parser.parse_args()
    seeds = range(chosen.seed, chosen.seed + chosen.pages)
    written = write_drop(
        chosen.folder, seeds, broken=chosen.broken, size_px=chosen.size, style=chosen.style
    )
    print(f"{written.images} images, {written.annotations} annotations in {chosen.folder}")


if __name__ == "__main__":
    main()
