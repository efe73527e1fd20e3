import multiprocessing
import os
import signal
from unittest.mock import patch

import numpy as np
import pytest

from storage.errors import UnitWithdrawnError
from storage.lake import Lake
from storage.objects import open_store
from storage.session import connect
from storage.settings import Settings
from tasks import segment_batch as module
from tasks.models import Compute, ComputeSlots, LoadedModels, ModelChoice
from tasks.pending_images import PendingImage
from tasks.segment_batch import segment_batch
from tests.fakes import ColorLabeller, ComponentSegmenter, PretendClock, TimedSegmenter
from vision.masks import mask_to_rle
from vision.segmenter import Mask

CHOICE = ModelChoice("fake", "fake-1", "fake", "sam2", "exact", "params-2", "comic", "comic-2")


class NestedSegmenter(ComponentSegmenter):
    """Cuts an image into a small square, a larger one around it, and one apart."""

    def segment(self, rgb):
        return [
            self._square(rgb, 10, 5, parent=1),
            self._square(rgb, 5, 20),
            self._square(rgb, 40, 9),
        ]

    def _square(self, rgb, start, side, parent=None):
        pixels = np.zeros(rgb.shape[:2], np.bool_)
        pixels[start : start + side, start : start + side] = True
        box = (float(start), float(start), float(side), float(side))
        return Mask(mask_to_rle(pixels), side * side, box, 0.9, 0.9, (0.0, 0.0), box, parent)


class SegmenterThatFails(NestedSegmenter):
    """Fails at the one image that has these pixels; at others too where it is `broken`."""

    def __init__(self, bad, images_per_batch=1, broken=False):
        super().__init__()
        self.bad = bad
        self.images_per_batch = images_per_batch
        self.broken = broken

    def segment(self, rgb):
        if self.broken or np.array_equal(rgb, self.bad):
            self.calls += 1
            self.fail()
        return super().segment(rgb)

    def fail(self):
        raise RuntimeError("index out of range")


class SegmenterThatDies(SegmenterThatFails):
    def fail(self):
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture
def batch(filled):
    with connect(filled.lake) as session:
        rows = session.execute(
            "SELECT image_id, uri, file_name, drop_id, dataset, width_px, height_px FROM images "
            "WHERE dataset = 'comics' ORDER BY image_id"
        ).fetchall()
    return [PendingImage(*row) for row in rows]


@pytest.fixture
def bad_pixels(filled, batch):
    image = batch[0]
    data = open_store(filled.root).read(f"images/{image.image_id[:2]}/{image.uri.split('/')[-1]}")
    return module.decode_image(data, 10**6).rgb


def run(root, batch, segmenter, labeller=None, compute=Compute("cpu")):
    with patch.object(module, "load_models") as load:
        load.return_value = LoadedModels(segmenter, labeller or ColorLabeller())
        return segment_batch.fn(
            batch,
            root=root,
            choice=CHOICE,
            run_id="r",
            compute=compute,
            max_image_px=10**6,
        )


def run_in_a_process(root, batch, bad_pixels, images_per_batch=1):
    """Returns its exit code."""
    process = multiprocessing.get_context("spawn").Process(
        target=run, args=(root, batch, SegmenterThatDies(bad_pixels, images_per_batch))
    )
    process.start()
    process.join(120)
    return process.exitcode


def quarantined(root):
    with connect(Lake.open(root)) as session:
        return session.execute(
            "SELECT file, rule, value FROM quarantine WHERE stage = 'segment' "
            "AND rule NOT LIKE 'test%'"
        ).fetchall()


def segmented(root, table="segments"):
    with connect(Lake.open(root)) as session:
        rows = session.execute(
            f"SELECT image_id, count(*) FROM {table} WHERE params_id = 'params-2' GROUP BY ALL"
        ).fetchall()
    return dict(rows)


def test_a_segment_names_the_one_that_it_is_a_part_of(filled, batch):
    run(filled.root, batch, NestedSegmenter())

    with connect(filled.lake) as session:
        pairs = session.execute(
            "SELECT part.image_id, part.area_px, whole.area_px FROM segments AS part "
            "LEFT JOIN segments AS whole ON part.parent_id = whole.segment_id "
            "AND part.image_id = whole.image_id WHERE part.params_id = 'params-2' ORDER BY ALL"
        ).fetchall()
    assert pairs == [
        (image.image_id, part, whole)
        for image in batch
        for part, whole in ((25, 400), (81, None), (400, None))
    ]


@pytest.mark.parametrize("images_per_batch", [1, 3])
def test_an_image_that_fails_is_set_aside_and_the_others_are_stored(
    filled, batch, bad_pixels, images_per_batch
):
    before = quarantined(filled.root)
    summary = run(filled.root, batch, SegmenterThatFails(bad_pixels, images_per_batch))
    assert (summary.images, summary.quarantined) == (len(batch) - 1, 1)
    assert set(segmented(filled.root)) == {image.image_id for image in batch[1:]}
    assert [row for row in quarantined(filled.root) if row not in before] == [
        (batch[0].file_name, "image.fails", "RuntimeError: index out of range")
    ]
    assert not list(open_store(filled.root).list("attempts/"))


class BrokenLabeller(ColorLabeller):
    def label(self, rgb, masks):
        raise RuntimeError("out of order")


def test_nothing_is_stored_where_every_image_fails(filled, batch, bad_pixels):
    before = quarantined(filled.root)
    for segmenter, labeller in (
        (SegmenterThatFails(bad_pixels, broken=True), ColorLabeller()),
        (NestedSegmenter(), BrokenLabeller()),
    ):
        with pytest.raises(RuntimeError, match="out of"):
            run(filled.root, batch, segmenter, labeller)
        assert not list(open_store(filled.root).list("attempts/"))
    assert quarantined(filled.root) == before
    assert not segmented(filled.root)


@pytest.mark.parametrize("images_per_batch", [1, 3])
def test_an_image_that_kills_two_processes_is_set_aside(
    filled, batch, bad_pixels, images_per_batch
):
    before = quarantined(filled.root)
    runs = 1
    while run_in_a_process(filled.root, batch, bad_pixels, images_per_batch) != 0:
        assert not segmented(filled.root)
        runs += 1
        assert runs <= 4
    # Where it was not alone, the first death made suspects only.
    assert runs >= 3
    assert set(segmented(filled.root)) == {image.image_id for image in batch[1:]}
    assert [row for row in quarantined(filled.root) if row not in before] == [
        (batch[0].file_name, "image.process_died", "2 processes died at it")
    ]
    assert not list(open_store(filled.root).list("attempts/"))


def test_what_died_with_a_process_once_is_tried_again(filled, batch, bad_pixels):
    assert run_in_a_process(filled.root, batch, bad_pixels) == -signal.SIGKILL
    summary = run(filled.root, batch, NestedSegmenter())
    assert (summary.images, summary.quarantined) == (len(batch), 0)
    assert not list(open_store(filled.root).list("attempts/"))


class KilledHereError(Exception):
    pass


@pytest.mark.parametrize("table", ["segments", "image_labels", "units"])
def test_what_was_set_aside_stays_so_when_the_next_attempt_would_not(
    filled, batch, bad_pixels, monkeypatch, table
):
    append = Lake.append_units

    def dies(lake, name, rows, *of_unit):
        if name == table:
            raise KilledHereError
        return append(lake, name, rows, *of_unit)

    with monkeypatch.context() as patched:
        patched.setattr(Lake, "append_units", dies)
        with pytest.raises(KilledHereError):
            run(filled.root, batch, SegmenterThatFails(bad_pixels))
    run(filled.root, batch, NestedSegmenter())
    assert set(segmented(filled.root)) == {image.image_id for image in batch[1:]}
    assert (batch[0].file_name, "image.fails", "RuntimeError: index out of range") in quarantined(
        filled.root
    )


def test_what_fails_only_after_others_were_settled_is_set_aside(
    filled, batch, bad_pixels, monkeypatch
):
    append = Lake.append_units

    def dies(lake, name, rows, *of_unit):
        if name == "segments":
            raise KilledHereError
        return append(lake, name, rows, *of_unit)

    with monkeypatch.context() as patched:
        patched.setattr(Lake, "append_units", dies)
        with pytest.raises(KilledHereError):
            run(filled.root, batch, NestedSegmenter())
    run(filled.root, batch, SegmenterThatFails(bad_pixels))
    assert set(segmented(filled.root)) == {image.image_id for image in batch[1:]}
    assert [file for file, _, _ in quarantined(filled.root)] == [batch[0].file_name]
    assert run(filled.root, batch, NestedSegmenter()).images == 0


def test_who_works_on_a_batch_that_is_given_up_commits_nothing_of_it(
    filled, batch, bad_pixels, monkeypatch
):
    append = Lake.append_units

    def is_overtaken(lake, name, rows, *of_unit):
        if name == "segments":
            monkeypatch.setattr(Lake, "append_units", append)
            run(filled.root, batch, SegmenterThatFails(bad_pixels))
        return append(lake, name, rows, *of_unit)

    monkeypatch.setattr(Lake, "append_units", is_overtaken)
    with pytest.raises(UnitWithdrawnError):
        run(filled.root, batch, NestedSegmenter())
    assert set(segmented(filled.root)) == {image.image_id for image in batch[1:]}
    assert len(quarantined(filled.root)) == 1
    assert segmented(filled.root, "stored.segments") == segmented(filled.root)


def seconds_of(root):
    rows = Lake.open(root).read("units").to_pylist()
    return [
        (row["device_seconds"], row["device"]) for row in rows if row["params_id"] == "params-2"
    ]


@pytest.mark.parametrize("slots", [1, 2, 4])
def test_a_unit_says_how_long_its_models_held_which_device(filled, batch, monkeypatch, slots):
    clock = PretendClock()
    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(module, "compute_slots", lambda compute: ComputeSlots(slots))
    summary = run(filled.root, batch, TimedSegmenter(clock, 3.0))
    # Each image holds one of so many equal places of the device.
    assert summary.device_seconds == pytest.approx(3.0 * len(batch) / slots)
    assert summary.device == "cpu"
    assert seconds_of(filled.root) == [(summary.device_seconds, "cpu")]
    again = run(filled.root, batch, TimedSegmenter(clock, 3.0))
    assert (again.device_seconds, again.device) == (0.0, "")


def test_reading_images_and_storing_rows_hold_no_device(filled, batch, monkeypatch):
    clock = PretendClock()
    monkeypatch.setattr(module, "time", clock)

    def late(function):
        def slow(*arguments, **others):
            clock.pass_(1000)
            return function(*arguments, **others)

        return slow

    monkeypatch.setattr(module, "decode_image", late(module.decode_image))
    monkeypatch.setattr(module, "segment_rows", late(module.segment_rows))
    monkeypatch.setattr(module, "compute_slots", lambda compute: ComputeSlots(1))
    summary = run(filled.root, batch, TimedSegmenter(clock, 3.0))
    assert summary.seconds > 1000
    assert summary.device_seconds == pytest.approx(3.0 * len(batch))


@pytest.mark.parametrize(("device", "expected"), [("cpu", 6.0), ("NVIDIA H100", 3.0)])
def test_of_a_shared_accelerator_the_share_counts(filled, batch, monkeypatch, device, expected):
    clock = PretendClock()
    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(module, "compute_slots", lambda compute: ComputeSlots(1))
    segmenter = TimedSegmenter(clock, 3.0)
    segmenter.device_name = device
    compute = Compute("cpu", accelerators=0.5)
    summary = run(filled.root, batch, segmenter, compute=compute)
    assert len(batch) == 2
    assert (summary.device_seconds, summary.device) == (pytest.approx(expected), device)


def test_the_settings_say_which_share_of_an_accelerator_a_task_has():
    half = {"gpus_per_task": 0.5}
    assert Compute.of(Settings(engine="ray", **half)).accelerators == 0.5
    assert Compute.of(Settings(engine="dask", gpus_per_task=0)).accelerators == 1
    assert Compute.of(Settings(engine="threads", **half)).accelerators == 1


def test_where_no_image_can_be_read_no_device_is_held(filled, batch):
    store = open_store(filled.root)
    for image in batch:
        store.delete(f"images/{image.image_id[:2]}/{image.uri.split('/')[-1]}")
    summary = run(filled.root, batch, ComponentSegmenter())
    assert (summary.quarantined, summary.device_seconds) == (len(batch), 0.0)
    assert seconds_of(filled.root) == [(0.0, "cpu")]
