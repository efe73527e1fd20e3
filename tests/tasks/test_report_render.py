import base64
import hashlib
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from tasks.device_use import DeviceUse
from tasks.report.data import LabelRow, QuarantineRow, ReportData, StageTime, Totals
from tasks.report.gather import gather_report
from tasks.report.pages import page_overlay
from tasks.report.render import render_report, write_report_files
from vision.draw.overlay import DrawnSegment
from vision.masks.rle import mask_to_rle

HOSTILE = """</style><script>alert("1")</script>'"><img src=x onerror=alert(1)>"""
VOID = {"meta", "input", "image", "rect", "br"}


class Page(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.open, self.ids = [], [], [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in VOID or (tag == "rect" and self.rect_has_end()):
            self.open.append(tag)

    def rect_has_end(self):
        return not self.get_starttag_text().endswith("/>")

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def values(self, tag, name):
        return [value for t, n, value in self.attributes if (t, n) == (tag, name)]


def picture(label="bubble", side=64):
    mask = np.zeros((side, side), bool)
    mask[10:50, 8:60] = True
    rgb = np.full((side, side, 3), 180, np.uint8)
    segments = [DrawnSegment(mask_to_rle(mask), label, 0.91)]
    return page_overlay("0" * 64, f"{label}.png", rgb, segments)


def report(label="bubble", **changes):
    values = {
        "title": label,
        "dataset": label,
        "created_at": datetime(2026, 5, 4, tzinfo=UTC),
        "totals": Totals(1, 2, 3, 1, 1),
        "labels": (LabelRow(label, 3, 1, 12345.0, 4115.0, 4000.0, 0.91),),
        "quarantine": (QuarantineRow(label, "/annotations/0", "polygon.odd", label, "ingest"),),
        "stages": (StageTime(label, 1.5, label), StageTime("segment", 75.0)),
        "pages": (picture(label),),
        "facts": ((label, label),),
        "next_commands": ((label, label),),
    }
    return ReportData(**(values | changes))


def test_the_page_is_well_formed_and_shows_the_figures():
    html = render_report(report())
    page = Page(html)
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    for text in ("12\u2009345", "0.91", "polygon.odd", "/annotations/0", "1 min 15 s"):
        assert text in html


def test_links_lead_somewhere_in_the_page():
    page = Page(render_report(report(pages=(picture(), picture()))))
    targets = page.values("a", "href")
    assert targets
    assert all(target.startswith("#") and target[1:] in page.ids for target in targets)


def test_case_135_hostile_names_stay_text():
    page = Page(render_report(report(HOSTILE)))
    assert page.open == []
    assert not {"script", "img", "iframe", "link"} & set(page.tags)
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert page.tags.count("style") == 1


def test_the_policy_allows_the_own_style_and_nothing_else():
    html = render_report(report(HOSTILE))
    (policy,) = [v for v in Page(html).values("meta", "content") if "default-src" in v]
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL).group(1)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules == {
        "default-src": "'none'",
        "img-src": "data:",
        "style-src": f"'sha256-{digest}'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }


def test_the_page_needs_no_other_file():
    page = Page(render_report(report()))
    assert all(value.startswith("data:image/webp") for value in page.values("image", "href"))
    assert not page.values("image", "src")
    assert not [n for _, n, _ in page.attributes if n == "style"], "the policy forbids these"


def test_the_embedded_picture_is_the_page():
    (uri,) = Page(render_report(report())).values("image", "href")
    image = Image.open(BytesIO(base64.b64decode(uri.split(",", 1)[1])))
    assert (image.format, image.size) == ("WEBP", (64, 64))


def test_an_empty_report_says_so():
    html = render_report(
        report(
            totals=Totals(0, 0, 0, 0, 0),
            labels=(),
            quarantine=(),
            stages=(),
            pages=(),
            facts=(),
            next_commands=(),
        )
    )
    assert "No segments yet." in html and "Nothing was set aside" in html
    assert 'id="gallery"' not in html


def test_the_page_says_what_the_device_took_and_which_images_wait():
    use = DeviceUse({HOSTILE: 75.0}, 3, "the budget of 60 s is spent", 60.0, 1.5, "EUR")
    page = render_report(report(device=use))
    assert Page(page).open == []
    assert "<script>" not in page
    assert "75 s on" in page and "1.50 EUR" in page
    assert "3 images: the budget of 60 s is spent" in page
    assert "deferred" not in render_report(report(device=DeviceUse()))


def test_quarantine_rows_left_out_are_counted():
    assert "and 41 more" in render_report(report(totals=Totals(1, 2, 3, 1, 42)))


def test_labels_drawn_but_without_statistics_have_a_colour():
    html = render_report(report(pages=(picture("surprise"),)))
    assert 'class="segment label-1' in html and ".label-1{--color:" in html


@pytest.mark.parametrize("count", [1, 90])
def test_each_label_has_a_switch_that_hides_it(count):
    labels = tuple(LabelRow(f"l{n}", 1, 1, 1.0, 1.0, 1.0, None) for n in range(count))
    html = render_report(report(labels=labels, pages=(picture("l0"),)))
    for index in range(count):
        assert f'id="show-label-{index}"' in html
        assert f"body:has(#show-label-{index}:not(:checked)) .segment.label-{index}" in html


def test_noisy_pictures_are_made_to_fit_their_budget():
    noise = np.random.default_rng(0).integers(0, 256, (1500, 1200, 3), dtype=np.uint8)
    page = page_overlay("0" * 64, "noise", noise, [], max_bytes=150_000)
    assert (page.width_px, page.height_px) == (1200, 1500)
    assert len(page.picture) < 600_000
    assert max(Image.open(BytesIO(page.picture)).size) <= 1280


def test_the_report_is_written_to_the_root(filled):
    data = gather_report(filled.lake, filled.store)
    uri = write_report_files(filled.store, data, "nightly-1")
    assert uri == filled.store.uri("reports/nightly-1.html")
    html = filled.store.read("reports/nightly-1.html").decode()
    assert Page(html).open == [] and "speech / text" in html
