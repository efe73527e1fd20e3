"""COCO JSON: checked reading, exact masks, writing."""

from vision.coco.document import CocoReader, check_document
from vision.coco.findings import Finding, make_finding
from vision.coco.json_text import DocumentError
from vision.coco.records import CheckedDocument, CocoAnnotation, CocoImage, SegmentationKind
from vision.coco.rules import RULES, Rule, Verdict
from vision.coco.writer import write_document

__all__ = [
    "RULES",
    "CheckedDocument",
    "CocoAnnotation",
    "CocoImage",
    "CocoReader",
    "DocumentError",
    "Finding",
    "Rule",
    "SegmentationKind",
    "Verdict",
    "check_document",
    "make_finding",
    "write_document",
]
