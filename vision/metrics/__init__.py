"""How good masks are: prompts, proposals, labels, outlines, videos, panoptic maps; docs/metrics.md.

Every result is a frozen dataclass with the value of each object, frame or image, and `metrics()`,
its means by name. Nothing here imports torch.
"""

from vision.metrics.bootstrap import MeanDifference, paired_bootstrap
from vision.metrics.boundaries import boundary_f
from vision.metrics.health import MaskAgreement, MaskHealth, mask_agreement, mask_health
from vision.metrics.objects import ImageMasks, ImageObjects
from vision.metrics.panoptic import (
    PanopticMap,
    PanopticScores,
    PanopticSegment,
    Quality,
    panoptic_quality,
)
from vision.metrics.precision import LabelPrecision, label_precision
from vision.metrics.prompts import ClickIous, PromptSample, PromptScores, evaluate_prompts
from vision.metrics.recall import MaskRecall, mask_recall
from vision.metrics.regions import region_similarity
from vision.metrics.videos import ObjectTrackScores, VideoScores, score_object

__all__ = [
    "ClickIous",
    "ImageMasks",
    "ImageObjects",
    "LabelPrecision",
    "MaskAgreement",
    "MaskHealth",
    "MaskRecall",
    "MeanDifference",
    "ObjectTrackScores",
    "PanopticMap",
    "PanopticScores",
    "PanopticSegment",
    "PromptSample",
    "PromptScores",
    "Quality",
    "VideoScores",
    "boundary_f",
    "evaluate_prompts",
    "label_precision",
    "mask_agreement",
    "mask_health",
    "mask_recall",
    "paired_bootstrap",
    "panoptic_quality",
    "region_similarity",
    "score_object",
]
