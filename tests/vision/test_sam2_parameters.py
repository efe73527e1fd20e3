import inspect
from dataclasses import replace

import numpy as np
import pytest
from sam2.automatic_mask_generator import SAM2AutomaticMaskGenerator
from sam2.utils.amg import build_all_layer_point_grids

from vision.sam2 import PRESETS, GeneratorParams, params_id, preset
from vision.sam2.crops import point_grid


def test_the_defaults_are_those_of_sam2():
    theirs = inspect.signature(SAM2AutomaticMaskGenerator.__init__).parameters
    ours = GeneratorParams()
    shared = theirs.keys() & vars(ours).keys()

    assert len(shared) == 15
    assert {name: getattr(ours, name) for name in shared} == {
        name: theirs[name].default for name in shared
    }
    assert PRESETS["sam2"] == ours


def test_the_id_changes_with_every_parameter_that_has_an_effect():
    base = GeneratorParams()
    ids = {
        params_id(replace(base, **{name: value}))
        for name, value in {
            "points_per_side": 8,
            "points_per_column": 8,
            "pred_iou_thresh": 0.5,
            "stability_score_offset": 0.5,
            "mask_threshold": 0.1,
            "multimask_output": False,
            "dedup_mask_iou": 0.9,
            "use_m2m": True,
            "keep_nested": False,
            "precision": "fast",
            "point_grids": (((0.5, 0.5),),),
        }.items()
    }

    assert len(ids | {params_id(base)}) == 12


def test_the_id_does_not_change_with_batching_or_with_the_type_of_a_number():
    base = GeneratorParams()

    assert params_id(replace(base, points_per_batch=8)) == params_id(base)
    assert params_id(replace(base, stability_score_offset=1)) == params_id(base)


@pytest.mark.parametrize(("layers", "factor"), [(0, 1), (2, 2)])
def test_the_grid_is_that_of_sam2_where_it_is_square(layers: int, factor: int):
    params = GeneratorParams(
        points_per_side=9, crop_n_layers=layers, crop_n_points_downscale_factor=factor
    )
    theirs = build_all_layer_point_grids(9, layers, factor)
    for layer, grid in enumerate(theirs):
        assert np.allclose(point_grid(params, layer), grid)


def test_the_grid_can_have_more_rows_than_columns():
    grid = point_grid(GeneratorParams(points_per_side=2, points_per_column=4), 0)
    assert sorted({x for x, _ in grid.tolist()}) == [0.25, 0.75]
    assert sorted({y for _, y in grid.tolist()}) == [0.125, 0.375, 0.625, 0.875]


def test_a_preset_can_be_changed():
    assert preset("sam2", points_per_side=4) == GeneratorParams(points_per_side=4)


def test_an_unknown_preset_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="unknown preset 'fastest'; expected one of sam2, sam1-"):
        preset("fastest")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("points_per_side", 0),
        ("points_per_batch", 0),
        ("pred_iou_thresh", 1.2),
        ("pred_iou_thresh", float("nan")),
        ("box_nms_thresh", -0.1),
        ("min_area_px", -1),
        ("crop_n_layers", -1),
    ],
)
def test_values_out_of_range_are_refused_by_name(name, value):
    with pytest.raises(ValueError, match=f"{name} must be"):
        GeneratorParams(**{name: value})


def test_crops_without_points_are_refused():
    with pytest.raises(ValueError, match="deepest crops have no points"):
        GeneratorParams(points_per_side=2, crop_n_layers=2, crop_n_points_downscale_factor=2)


@pytest.mark.parametrize(
    ("grids", "reason"),
    [
        ((), "points for each of 2 layers"),
        ((((0.5, 0.5),),), "points for each of 2 layers"),
        ((((0.5, 0.5),), ()), "points for each of 2 layers"),
        ((((0.5, 0.5),), ((1.5, 0.5),)), r"in \[0, 1\], but got \(1.5, 0.5\)"),
    ],
)
def test_points_of_ones_own_must_be_there_for_each_layer(grids, reason):
    with pytest.raises(ValueError, match=reason):
        GeneratorParams(point_grids=grids, crop_n_layers=1)


def test_an_unknown_precision_is_refused():
    with pytest.raises(ValueError, match="exact or fast, but got 'half'"):
        GeneratorParams(precision="half")
