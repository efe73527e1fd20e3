"""Exports of whole datasets: COCO, COCO panoptic, SA-1B, the comic layout and YOLO."""
