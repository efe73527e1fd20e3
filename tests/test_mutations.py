"""Good files with bytes changed at random: whatever they have become, nothing breaks.

The seeds are fixed; `pytest -m slow tests/test_mutations.py` tries 100,000 files.
"""

import io
import json
from collections import Counter
from collections.abc import Iterator
from random import Random

import numpy as np
import pytest
from PIL import Image

from tasks.image_inspection import ImageFacts, ImageFailure, inspect_images
from vision.coco import RULES, check_document
from vision.masks import RleError, mask_to_rle, parse_rle, rle_area

HEIGHT, WIDTH = 12, 16
FEW = {"json": 1500, "rle": 3000, "image": 400}
MANY = {"json": 40_000, "rle": 40_000, "image": 20_000}

TOKENS = [
    *(b"", b"\x00", b"\xff", b"\xff\xd8", b"\x80\x80\x80\x80", b"\xef\xbb\xbf", b"\xed\xa0\x80"),
    *(b'"', b"\\", b"\\u0000", b"\\ud800", b"{", b"}", b"[", b"]", b",", b":", b"\n", b"/* */"),
    *(b"null", b"true", b"NaN", b"-Infinity", b"1e999", b"-1", b"0", b"1.5", b"9" * 25),
    *(b"../../x", b"segments_info", b'"counts": "', b'"size": [1, 1]', b"id", b"o0", b"P\x7f"),
]


def mutated(data: bytes, random: Random) -> bytes:
    """`data` with one to four places changed, repeated, lost or moved."""
    text = bytearray(data)
    for _ in range(random.randint(1, 4)):
        at = random.randrange(len(text) + 1)
        end = min(len(text), at + random.choice((0, 1, 1, 2, 4, 16, 200)))
        match random.randrange(5):
            case 0 if at < len(text):
                text[at] ^= 1 << random.randrange(8)
            case 1:
                text[at:end] = random.choice(TOKENS)
            case 2:
                text[at:at] = text[at:end] * random.randint(1, 3)
            case 3:
                del text[at:end]
            case _:
                piece = text[at:end]
                del text[at:end]
                to = random.randrange(len(text) + 1)
                text[to:to] = piece
    return bytes(text)


def document() -> bytes:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[2:7, 3:9] = True
    counts = mask_to_rle(mask).decode()
    annotations = [
        {"segmentation": [[1, 1, 9, 1, 9, 8, 1, 8]], "area": 56, "bbox": [1, 1, 8, 7]},
        {"segmentation": [[2.5, 2, 6, 3, 4, 9], [8, 8, 11, 8, 11, 11]], "score": 0.5},
        {"segmentation": {"size": [HEIGHT, WIDTH], "counts": counts}, "iscrowd": 1},
        {"segmentation": {"size": [HEIGHT, WIDTH], "counts": [50, 20, 122]}, "iscrowd": 1},
    ]
    parts = {
        "images": [{"id": n, "file_name": f"{n}.png", "width": 16, "height": 12} for n in (1, 2)],
        "annotations": [
            {"id": n, "image_id": 1 + n % 2, "category_id": 1} | annotation
            for n, annotation in enumerate(annotations)
        ],
        "categories": [{"id": 1, "name": "cat"}],
    }
    return json.dumps(parts).encode()


def encoded_images() -> Iterator[bytes]:
    pixels = np.random.default_rng(5).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    for form, options in (("JPEG", {}), ("JPEG", {"progressive": True}), ("PNG", {})):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, form, **options)
        yield file.getvalue()


def check_json(count: int) -> None:
    good, random, rules = document(), Random(20_261), Counter[str]()
    assert not check_document(good, "a.json").rejected
    for _ in range(count):
        data = mutated(good, random)
        checked = check_document(data, "a.json")
        rules.update(finding.rule for finding in checked.findings)
        sizes = {image.id: (image.height, image.width) for image in checked.images}
        for annotation in checked.annotations:
            height, width = sizes[annotation.image_id]
            assert 0 < annotation.area_px <= height * width
    assert set(rules) <= set(RULES)
    assert len(rules) > 20


def check_rle(count: int) -> None:
    random, kept = Random(20_262), 0
    for _ in range(count):
        mask = np.random.default_rng(random.getrandbits(32)).random((HEIGHT, WIDTH)) < 0.3
        counts = mutated(mask_to_rle(mask), random)
        segmentation = {"size": [HEIGHT, WIDTH], "counts": counts.decode("latin-1")}
        try:
            area_px = rle_area(parse_rle(segmentation, HEIGHT, WIDTH))
        except RleError:
            continue
        kept += 1
        assert 0 <= area_px <= HEIGHT * WIDTH
    assert 0 < kept < count


def check_images(count: int) -> None:
    random, good = Random(20_263), list(encoded_images())
    files = ((str(n), mutated(random.choice(good), random)) for n in range(count))
    found = Counter[type]()
    for _, _, verdict in inspect_images(files, max_px=1_000_000, seconds=20):
        found[type(verdict)] += 1
        if isinstance(verdict, ImageFailure):
            assert verdict.rule in RULES
    assert found.total() == count
    assert min(found[ImageFacts], found[ImageFailure]) > count / 20


CHECKS = {"json": check_json, "rle": check_rle, "image": check_images}


@pytest.mark.parametrize("kind", CHECKS)
def test_nothing_breaks_on_changed_bytes(kind: str):
    CHECKS[kind](FEW[kind])


@pytest.mark.slow
@pytest.mark.parametrize("kind", CHECKS)
def test_nothing_breaks_on_a_hundred_thousand_changed_files(kind: str):
    CHECKS[kind](MANY[kind])
