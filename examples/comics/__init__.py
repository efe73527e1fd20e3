"""Comic pages drawn from a seed, with exact masks: training and test data without a download."""

from examples.comics.drop import WrittenDrop, write_drop
from examples.comics.page import CATEGORIES, Page, PageObject, generate_page

__all__ = ["CATEGORIES", "Page", "PageObject", "WrittenDrop", "generate_page", "write_drop"]
