"""The bad-input matrix: every case gets its verdict, and what is good beside it is kept."""

import re
from pathlib import Path

import pytest

from tasks.check_drop import check_drop
from tasks.drop_annotations import DropContent
from tasks.drops import DropPlace
from tasks.seal_drops import read_drop
from tests.bad_input import coco_cases, image_cases, path_cases  # noqa: F401  they register cases
from tests.bad_input.bad_drop import CASES, Case, good_drop

TESTS = Path(__file__).parent
MAX_IMAGE_PX = 100_000_000


def check(folder: Path) -> DropContent:
    return check_drop(
        read_drop(DropPlace(str(folder), "", "default")),
        max_image_px=MAX_IMAGE_PX,
        max_image_bytes=2**29,
        max_json_bytes=2**29,
    )


@pytest.mark.parametrize("case", CASES.values(), ids=lambda case: f"case_{case.number:03d}")
def test_a_bad_drop_gets_its_verdict(case: Case, tmp_path: Path):
    drop = good_drop(tmp_path)
    case.spoil(drop)
    drop.write()
    content = check(tmp_path)
    kept = len(content.images), len(content.annotations)
    if case.verdict == "reject":
        assert content.rejected
        assert kept == (0, 0)
    elif case.verdict == "image":
        assert not content.rejected
        assert kept == (1, 1)
        assert len(content.bad_images) == 1
    elif case.verdict == "annotation":
        assert kept == (2, 1)
    else:
        assert not content.findings
        assert kept[0] == len(list(tmp_path.glob("images/*")))
        assert kept[1] == len(drop.document.get("annotations", []))
    if case.rule:
        verdict = {"fix": "note"}.get(case.verdict, case.verdict)
        told = [(f.verdict, f.rule) for f in [*content.findings, *content.notes]]
        assert (verdict, case.rule) in told
    for finding in content.findings:
        assert finding.file
        assert finding.expected
        assert len(finding.value) <= 80


def test_a_good_drop_has_nothing_to_say(tmp_path: Path):
    good_drop(tmp_path).write()
    content = check(tmp_path)
    assert (content.findings, content.notes) == ([], [])
    assert (len(content.images), len(content.annotations)) == (2, 2)


def test_every_row_of_the_matrix_has_a_test():
    named = {
        int(number)
        for path in TESTS.rglob("test_*.py")
        for number in re.findall(r"def test_case_(\d{3})_", path.read_text())
    }
    assert set(range(1, 146)) - CASES.keys() - named == set()
