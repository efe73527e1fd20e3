import io
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tasks import image_inspection
from tasks.image_inspection import ImageFacts, ImageFailure, inspect_images


def png(width_px: int = 8, height_px: int = 6) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((height_px, width_px, 3), np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def crash(files: list[bytes], max_px: int) -> list[ImageFacts | ImageFailure]:
    if b"crash" in files:
        os.kill(os.getpid(), signal.SIGSEGV)
    if b"hang" in files:
        time.sleep(60)
    return image_inspection._inspect_in_child(files, max_px)


def with_little_memory(files: list[bytes], max_px: int) -> list[ImageFacts | ImageFailure]:
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    image_inspection._limit_memory(in_use + 50_000_000)
    try:
        return [image_inspection._inspect(data, max_px) for data in files]
    finally:
        image_inspection._limit_memory(in_use + 4_000_000_000)


def test_each_image_is_told_in_the_order_given():
    files = [(str(width), png(width)) for width in range(1, 30)]
    found = list(inspect_images(files, 10_000))
    assert [(name, data) for name, data, _ in found] == files
    assert [facts.width_px for _, _, facts in found if isinstance(facts, ImageFacts)] == [
        *range(1, 30)
    ]


def test_what_is_wrong_is_told_by_rule_and_value():
    files = [("a", b""), ("b", b"<html>"), ("c", png(200, 200)), ("d", png())]
    rules = [
        found.rule if isinstance(found, ImageFailure) else found.format
        for _, _, found in inspect_images(files, 10_000)
    ]
    assert rules == ["image.empty", "image.format", "image.too_large", "PNG"]


@pytest.mark.parametrize(
    ("data", "rule"), [(b"crash", "image.decoder_died"), (b"hang", "image.too_slow")]
)
@pytest.mark.parametrize("at", [0, 5, 11])
def test_a_file_that_breaks_its_decoder_costs_only_itself(monkeypatch, data, rule, at):
    monkeypatch.setattr(image_inspection, "_inspect_in_child", crash)
    files = [(str(number), png(number + 1)) for number in range(12)]
    files[at] = ("bad", data)
    found = list(inspect_images(files, 10_000, seconds=3))
    assert [(name, data) for name, data, _ in found] == files
    outcomes = [outcome for _, _, outcome in found]
    bad = outcomes.pop(at)
    assert isinstance(bad, ImageFailure)
    assert bad.rule == rule
    assert all(isinstance(outcome, ImageFacts) for outcome in outcomes)
    assert len(files) > image_inspection._HANDFUL


def test_a_large_file_goes_to_a_child_alone():
    small, large = b"1", b"2" * image_inspection._HANDFUL_BYTES
    files = [("", data) for data in [small, small, large, small, large, large]]
    sizes = [len(some) for some in image_inspection._handfuls(files)]
    assert sizes == [2, 1, 1, 1, 1]


def test_an_image_that_needs_too_much_memory_is_set_aside(monkeypatch):
    monkeypatch.setattr(image_inspection, "_inspect_in_child", with_little_memory)
    ((_, _, found),) = inspect_images([("a", png(6000, 6000))], 100_000_000)
    assert found == ImageFailure("image.too_large", "more memory than an image may take")
