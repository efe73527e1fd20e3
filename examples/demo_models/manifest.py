"""Write `manifest.json` beside the demo models: what they are, how they were made, what they do.

python -m examples.demo_models.manifest --metrics benchmarks/results/demo_quality.json
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

from examples.demo_models.pages import FIRST_HELD_OUT_SEED

MODELS = {"sam2.safetensors": "sam2", "clip.safetensors": "clip"}


def write_manifest(folder: Path, metrics: Path) -> None:
    """Describe the weights in `folder`.

    Args:
        folder: holds the weights, and the training records `sam2-training.json` and
            `clip-training.json` where there are any.
        metrics: the result of `benchmarks/demo_quality.py`.
    """
    files = {}
    for name, short in MODELS.items():
        record = folder / f"{short}-training.json"
        files[name] = {
            "sha256": hashlib.sha256((folder / name).read_bytes()).hexdigest(),
            "recipe": f"examples/demo_models/train_{short.removesuffix('2')}.py",
            "training": json.loads(record.read_text()) if record.exists() else None,
        }
    measured = json.loads(metrics.read_text())
    manifest = {
        "files": files,
        "data": f"pages of examples/comics with seeds below {FIRST_HELD_OUT_SEED}",
        "held_out": {"method": measured["method"], "metrics": measured["metrics"]},
        "limits": "SAM 2's memory modules are untrained: these weights track nothing in videos.",
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")


def main() -> None:
    """Read the command line and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--models", type=Path, default=Path("models/demo"))
    parser.add_argument("--metrics", type=Path, required=True)
    options = parser.parse_args()
    write_manifest(options.models, options.metrics)


if __name__ == "__main__":
    main()
