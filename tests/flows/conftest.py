from dataclasses import dataclass
from pathlib import Path

import pytest

from flows.requests import NightlyRequest
from flows.running import InProcess
from storage.lake import Lake
from storage.session import connect
from storage.settings import Settings
from tasks.models import LoadedModels
from tests.fakes import ColorLabeller, ComponentSegmenter


@dataclass
class Mill:
    """A root, the settings and request to run flows with, and the stand-in for the segmenter."""

    settings: Settings
    request: NightlyRequest
    segmenter: ComponentSegmenter

    @property
    def root(self) -> Path:
        return Path(self.settings.root)

    @property
    def inbox(self) -> Path:
        return self.root / "inbox"

    @property
    def lake(self) -> Lake:
        return Lake.open(self.settings.root)

    def ask(self, sql: str) -> list[tuple]:
        with connect(self.lake) as session:
            return session.execute(sql).fetchall()

    def tables(self) -> dict[str, list[str]]:
        """Every stored row of every table, sorted."""
        names = [
            "drops",
            "images",
            "annotations",
            "segments",
            "image_labels",
            "label_stats",
            "quarantine",
            "units",
        ]
        return {
            name: sorted(str(row) for row in self.lake.read(name, committed_only=False).to_pylist())
            for name in names
        }

    def run(self) -> InProcess:
        return InProcess()


@pytest.fixture
def mill(tmp_path, monkeypatch) -> Mill:
    segmenter = ComponentSegmenter()
    monkeypatch.setattr(
        "tasks.segment_batch.load_models",
        lambda choice, device: LoadedModels(segmenter, ColorLabeller()),
    )
    for name in ("cutter", "namer"):
        (tmp_path / f"{name}.safetensors").write_bytes(name.encode())
    return Mill(
        Settings(root=str(tmp_path / "root"), batch_images=2, curated_min_new=4),
        NightlyRequest(
            dataset="boxes",
            model=f"file:{tmp_path / 'cutter.safetensors'}",
            clip_model=f"file:{tmp_path / 'namer.safetensors'}",
        ),
        segmenter,
    )
