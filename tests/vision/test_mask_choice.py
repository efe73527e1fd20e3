import logging
import subprocess
import sys

import numba
import numpy as np
import pytest

from vision.masks import choice, expect_masks, masks_made_by, rle_to_png
from vision.masks.choice import MASKS_WORTH_LOADING, count_mask, kernels_fit, kernels_loaded
from vision.masks.kernels.compiled import compiled


@pytest.fixture(autouse=True)
def undecided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "_choice", choice._Choice())


def test_importing_and_a_few_masks_do_not_load_numba():
    code = (
        "import sys, vision.masks as m; m.expect_masks(1000); m.rle_to_png('`0`0', 4, 8); "
        "m.polygons_to_rle([[0, 0, 3, 0, 3, 3]], 4, 8); sys.exit('numba' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_kernels_take_over_once_enough_masks_are_made():
    assert not kernels_loaded()
    for _ in range(MASKS_WORTH_LOADING - 1):
        assert not count_mask(10, 10)
    assert count_mask(10, 10)
    assert kernels_loaded()


def test_kernels_take_over_at_once_if_enough_masks_are_announced():
    expect_masks(MASKS_WORTH_LOADING - 1)
    assert not kernels_loaded()
    expect_masks(MASKS_WORTH_LOADING)
    assert kernels_loaded()
    assert kernels_fit(10, 65_535)
    assert not kernels_fit(10, 65_536)


def test_without_numba_masks_go_on_being_made(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setitem(sys.modules, "vision.masks.kernels", None)
    with caplog.at_level(logging.WARNING):
        expect_masks(MASKS_WORTH_LOADING)
    assert not kernels_loaded()
    assert "without the compiled kernels" in caplog.text
    assert rle_to_png("d0", 5, 4)[:4] == b"\x89PNG"
    with pytest.raises(ImportError), masks_made_by("kernels"):
        pass


def test_a_prescribed_maker_ends_with_its_block():
    with masks_made_by("kernels"):
        assert kernels_loaded()
        with masks_made_by("numpy"):
            assert not kernels_loaded()
        assert kernels_loaded()
    assert not kernels_loaded()


def test_kernels_are_compiled_even_where_nothing_can_be_cached(monkeypatch: pytest.MonkeyPatch):
    njit = numba.njit

    def without_folder(nogil: bool, cache: bool = False) -> object:
        if cache:
            raise RuntimeError("no locator available")
        return njit(nogil=nogil)

    monkeypatch.setattr(numba, "njit", without_folder)
    assert compiled(lambda values: values.sum())(np.arange(4)) == 6
