"""The report as one HTML file that needs nothing else: no script, no network, no other file."""

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from storage.objects import ObjectStore
from tasks.report.data import PageOverlay, ReportData
from vision.draw.colors import UNKNOWN, hex_color, ink_on, label_colors


def render_report(data: ReportData) -> str:
    """Write a report as an HTML document.

    Everything that comes from data is escaped. The page's content security policy allows no
    script, no connection and no style but its own (by hash), so that a label or a file name
    cannot act even where escaping had failed.

    Args:
        data: what to show.

    Returns:
        The document; encode it as UTF-8.
    """
    labels = _label_styles(data)
    style = _style(labels)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            data=data,
            labels=labels,
            policy=policy,
            style=Markup(style),  # our own text: data reaches it only as numbers and hex colours
            largest_count=max((row.count for row in data.labels), default=0) or 1,
            total_seconds=sum(stage.seconds for stage in data.stages),
            stage_bars=_stage_bars(data),
            unknown=UNKNOWN,
        )
    )


def write_report_files(store: ObjectStore, data: ReportData, name: str) -> str:
    """Write a report as `reports/<name>.html`, replacing an older one of that name.

    Args:
        store: objects of the root.
        data: what the report shows.
        name: file name without its ending.

    Returns:
        URI of the page.
    """
    key = f"reports/{name}.html"
    store.write(key, render_report(data).encode("utf-8"))
    return store.uri(key)


def _label_styles(data: ReportData) -> Mapping[str, str]:
    """CSS class of each label, in the order of the statistics."""
    names = [row.label for row in data.labels]
    drawn = {shape.label for page in data.pages for shape in page.shapes}
    names += sorted(drawn - set(names))
    return {label: f"label-{index}" for index, label in enumerate(names)}


def _style(labels: Mapping[str, str]) -> str:
    """The style sheet, with the colours of the labels and a switch for each."""
    colors = label_colors(labels)
    lines = [files("tasks.report").joinpath("report.css").read_text(encoding="utf-8")]
    for label, name in labels.items():
        color, ink = hex_color(colors[label]), hex_color(ink_on(colors[label]))
        lines.append(f".{name}{{--color:{color};--ink:{ink}}}")
        lines.append(f"body:has(#show-{name}:not(:checked)) .segment.{name}{{display:none}}")
    return "\n".join(lines)


def _stage_bars(data: ReportData) -> list[dict[str, Any]]:
    """Left edge and width of each stage on a line of 100 units."""
    total = sum(stage.seconds for stage in data.stages) or 1.0
    bars, left = [], 0.0
    for stage in data.stages:
        share = 100.0 * stage.seconds / total
        bars.append({"stage": stage, "left": left, "share": share})
        left += share
    return bars


def _data_uri(page: PageOverlay) -> str:
    return f"data:{page.media_type};base64,{base64.b64encode(page.picture).decode()}"


def _whole(value: float) -> str:
    """A number without decimals, its thousands set apart by thin spaces."""
    return f"{value:,.0f}".replace(",", "\u2009")


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _seconds(value: float) -> str:
    if value >= 60:
        return f"{value // 60:.0f} min {value % 60:02.0f} s"
    return f"{value:.1f} s" if value >= 0.1 else f"{value * 1000:.0f} ms"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("tasks.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "whole": _whole,
        "score": _score,
        "seconds": _seconds,
        "data_uri": _data_uri,
    }
    return environment
