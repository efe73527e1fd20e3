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


def crash(data: bytes, max_px: int) -> ImageFacts | ImageFailure:
    if data == b"crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if data == b"hang":
        time.sleep(60)
    return image_inspection._inspect_in_child(data, max_px)


def with_little_memory(data: bytes, max_px: int) -> ImageFacts | ImageFailure:
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    image_inspection._limit_memory(in_use + 50_000_000)
    try:
        return image_inspection._inspect(data, max_px)
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
def test_a_file_that_breaks_its_decoder_costs_only_itself(monkeypatch, data, rule):
    monkeypatch.setattr(image_inspection, "_inspect_in_child", crash)
    files = [("bad", data), *((str(number), png()) for number in range(6))]
    found = [item for _, _, item in inspect_images(files, 10_000, seconds=3)]
    assert isinstance(found[0], ImageFailure)
    assert found[0].rule == rule
    assert all(isinstance(item, ImageFacts) for item in found[1:])


def test_an_image_that_needs_too_much_memory_is_set_aside(monkeypatch):
    monkeypatch.setattr(image_inspection, "_inspect_in_child", with_little_memory)
    ((_, _, found),) = inspect_images([("a", png(6000, 6000))], 100_000_000)
    assert found == ImageFailure("image.too_large", "more memory than an image may take")
