"""How the automatic mask generator asks and what it keeps; needs no model to be read or hashed."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

Precision = Literal["exact", "fast"]
PointGrids = tuple[tuple[tuple[float, float], ...], ...]
"""For each layer of crops the points it is asked at: x and y from 0 to 1."""


@dataclass(frozen=True)
class GeneratorParams:
    """Parameters of the automatic mask generator.

    Names and defaults are those of `sam2.automatic_mask_generator`, so that the defaults give the
    same masks; `points_per_column`, `min_area_px`, `max_area_fraction` and `dedup_mask_iou` are
    additions and off.

    Attributes:
        points_per_side: The image is asked at a grid of this many points squared.
        points_per_column: Rows of that grid, if not as many as columns; 0 for a square. Flat things
            such as lines of text are found by more rows than columns.
        points_per_batch: Points decoded at once on an accelerator; changes nothing but rounding.
        point_grids: Points of one's own instead of a grid.
        pred_iou_thresh: Masks the model rates at or below this are dropped; 0 keeps all.
        stability_score_thresh: Masks less stable than this are dropped; 0 keeps all.
        stability_score_offset: Distance in logits of the two thresholds stability compares.
        mask_threshold: Logit above which a pixel belongs to the mask.
        box_nms_thresh: Of two masks whose boxes overlap by more than this IoU, the one the model
            rates lower is dropped.
        crop_n_layers: Layer i looks again at (2**i)**2 overlapping crops of the image; 0 at none.
        crop_nms_thresh: The box IoU between masks of different crops; smaller crops win.
        crop_overlap_ratio: Overlap of the first layer's crops, as a share of the shorter side.
        crop_n_points_downscale_factor: Layer i's points per side are divided by this to the i.
        min_mask_region_area: Holes and islands of fewer pixels of the image are removed.
        use_m2m: Ask again for each mask with the mask itself as a prompt. Takes as long as three
            more grids.
        multimask_output: Ask for three masks at each point (whole, part, subpart), not for one.
        min_area_px: Masks of fewer pixels of the image are dropped.
        max_area_fraction: Masks that cover more than this share of the image are dropped.
        dedup_mask_iou: Of two masks that overlap by more than this IoU, the one the model rates
            lower is dropped; 1 keeps both.
        keep_nested: Keep masks that lie inside a larger one, such as a wheel in a car.
        precision: `exact` computes with 32 bits, as SAM 2 does by default; `fast` with 16 where
            that matters little.
    """

    points_per_side: int = 32
    points_per_column: int = 0
    points_per_batch: int = 64
    point_grids: PointGrids | None = None
    pred_iou_thresh: float = 0.8
    stability_score_thresh: float = 0.95
    stability_score_offset: float = 1.0
    mask_threshold: float = 0.0
    box_nms_thresh: float = 0.7
    crop_n_layers: int = 0
    crop_nms_thresh: float = 0.7
    crop_overlap_ratio: float = 512 / 1500
    crop_n_points_downscale_factor: int = 1
    min_mask_region_area: int = 0
    use_m2m: bool = False
    multimask_output: bool = True
    min_area_px: int = 0
    max_area_fraction: float = 1.0
    dedup_mask_iou: float = 1.0
    keep_nested: bool = True
    precision: Precision = "exact"

    def __post_init__(self) -> None:
        for name, least in _AT_LEAST.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, but got {getattr(self, name)}")
        for name in _SHARES:
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} must be in [0, 1], but got {getattr(self, name)}")
        if self.precision not in ("exact", "fast"):
            raise ValueError(f"precision must be exact or fast, but got {self.precision!r}")
        if self.point_grids is not None:
            _check_grids(self.point_grids, self.crop_n_layers)
            return
        fewest = min(self.points_per_side, self.points_per_column or self.points_per_side)
        deepest = fewest // self.crop_n_points_downscale_factor**self.crop_n_layers
        if deepest < 1:
            raise ValueError("the deepest crops have no points: fewer crop_n_layers are needed")


def _check_grids(grids: PointGrids, crop_n_layers: int) -> None:
    if len(grids) <= crop_n_layers or not all(grids):
        raise ValueError(f"point_grids must have points for each of {crop_n_layers + 1} layers")
    for grid in grids:
        for x, y in grid:
            if not (0.0 <= x <= 1.0 and 0.0 <= y <= 1.0):
                raise ValueError(f"points of point_grids must be in [0, 1], but got {(x, y)}")


_AT_LEAST = {
    "points_per_side": 1,
    "points_per_column": 0,
    "points_per_batch": 1,
    "stability_score_offset": 0,
    "crop_n_layers": 0,
    "crop_n_points_downscale_factor": 1,
    "min_mask_region_area": 0,
    "min_area_px": 0,
}
_SHARES = (
    "pred_iou_thresh",
    "stability_score_thresh",
    "box_nms_thresh",
    "crop_nms_thresh",
    "crop_overlap_ratio",
    "max_area_fraction",
    "dedup_mask_iou",
)

PRESETS: dict[str, GeneratorParams] = {
    "sam2": GeneratorParams(),
    "sam1-notebook": GeneratorParams(
        pred_iou_thresh=0.86,
        stability_score_thresh=0.92,
        crop_n_layers=1,
        crop_n_points_downscale_factor=2,
        min_mask_region_area=100,
    ),
    "fast": GeneratorParams(
        points_per_side=16,
        min_mask_region_area=100,
        min_area_px=100,
        dedup_mask_iou=0.9,
    ),
    # What made SA-1B's masks (SAM 1's paper, appendix B), with SAM 2's own thresholds.
    "dense": GeneratorParams(
        crop_n_layers=2,
        crop_n_points_downscale_factor=2,
        min_mask_region_area=100,
        max_area_fraction=0.95,
    ),
    "demo": GeneratorParams(
        points_per_side=18,
        points_per_column=32,
        # Small things are rated low even where they are right; CLIP calls the rest unknown.
        pred_iou_thresh=0.2,
        # A small model's logits are small too: the default offset of 1 would refuse all it finds.
        stability_score_thresh=0.5,
        stability_score_offset=0.3,
        mask_threshold=-0.3,
        box_nms_thresh=0.85,
        min_mask_region_area=40,
        min_area_px=60,
        max_area_fraction=0.95,
        dedup_mask_iou=0.8,
    ),
}

# What says how the work is done, not what comes out of it, stays out of the identity.
_WITHOUT_EFFECT = frozenset({"points_per_batch"})


def params_id(params: GeneratorParams) -> str:
    """Return 12 hex digits that change exactly when a parameter with an effect changes."""
    defaults = asdict(GeneratorParams())
    # Defaults are left out, so that a parameter added later changes no id.
    values = {
        name: value if defaults[name] is None else type(defaults[name])(value)
        for name, value in asdict(params).items()
        if name not in _WITHOUT_EFFECT and value != defaults[name]
    }
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]


def preset(name: str, **changes: Any) -> GeneratorParams:
    """Return a preset by its name, with some of its parameters changed.

    Raises:
        ValueError: If there is no such preset, or a value is out of range.
    """
    if name not in PRESETS:
        raise ValueError(f"unknown preset {name!r}; expected one of {', '.join(PRESETS)}")
    return GeneratorParams(**(asdict(PRESETS[name]) | changes))
