"""Comic pages drawn from a seed, with exact masks: training and test data without a download."""

from examples.comics.drop import WrittenDrop, write_drop
from examples.comics.page import ART_STYLES, CATEGORIES, ArtStyle, Page, PageObject, generate_page

__all__ = [
    "ART_STYLES",
    "CATEGORIES",
    "ArtStyle",
    "Page",
    "PageObject",
    "WrittenDrop",
    "generate_page",
    "write_drop",
]
