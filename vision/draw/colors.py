"""One colour per label, the same in overlays, reports and the terminal."""

import colorsys
from collections.abc import Iterable

UNKNOWN = "unknown"

RGB = tuple[int, int, int]

UNKNOWN_COLOR: RGB = (128, 134, 145)

# Chosen to stay apart for colour-blind readers, on white paper and on a dark page: neighbours in
# the list differ in lightness as well as in hue.
_PALETTE: tuple[RGB, ...] = (
    (240, 140, 0),
    (18, 161, 80),
    (47, 111, 222),
    (214, 51, 108),
    (112, 72, 232),
    (12, 165, 176),
    (201, 42, 42),
    (116, 184, 22),
    (156, 54, 181),
    (166, 98, 42),
    (34, 139, 230),
    (230, 73, 128),
)

# Successive hues this far apart never come close to each other again.
_GOLDEN_TURN = 0.61803398875


def label_colors(labels: Iterable[str]) -> dict[str, RGB]:
    """Give each label a colour.

    Args:
        labels: label names, in any order and with repetitions.

    Returns:
        Label to (red, green, blue), 0-255. The order of `labels` does not matter: the same set
        of names gets the same colours. `unknown` is always gray and uses up no colour.
    """
    colors: dict[str, RGB] = {}
    for index, label in enumerate(sorted(set(labels) - {UNKNOWN})):
        if index < len(_PALETTE):
            colors[label] = _PALETTE[index]
            continue
        hue = (index * _GOLDEN_TURN) % 1.0
        lightness = (0.42, 0.52, 0.36)[index % 3]
        red, green, blue = colorsys.hls_to_rgb(hue, lightness, 0.7)
        colors[label] = (round(red * 255), round(green * 255), round(blue * 255))
    colors[UNKNOWN] = UNKNOWN_COLOR
    return colors


def hex_color(color: RGB) -> str:
    """Write a colour as `#rrggbb`."""
    return f"#{color[0]:02x}{color[1]:02x}{color[2]:02x}"


def ink_on(color: RGB) -> RGB:
    """Black or white, whichever is the easier to read on `color` (WCAG relative luminance)."""
    linear = [
        channel / 255 / 12.92
        if channel / 255 <= 0.04045
        else ((channel / 255 + 0.055) / 1.055) ** 2.4
        for channel in color
    ]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    # Equal contrast with black and white is at 0.179; bold names on saturated colours read
    # better in white a little beyond that.
    return (255, 255, 255) if luminance < 0.36 else (17, 17, 17)
