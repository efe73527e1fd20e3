"""Characters drawn from random parts; here their look, body and limbs."""

from dataclasses import dataclass
from random import Random
from typing import Literal

import numpy as np

from examples.comics.brush import Brush, Color, Point
from examples.comics.creatures import draw_animal, draw_blob
from examples.comics.heads import HeadLook, draw_back_hair, draw_head, draw_robot_head, random_head
from examples.comics.palette import Palette

Motif = Literal["plain", "stripes", "buttons", "collar", "belt"]


@dataclass(frozen=True)
class Look:
    """What stays the same when one character appears in several panels.

    Attributes:
        kind: "person", "robot", "animal" or "blob".
        head: its head.
        top: colour of the upper body.
        bottom: colour of the legs or the skirt.
        tall: height of the body in half head heights.
        skirt: wears a skirt.
        motif: what is drawn on the upper body.
        scarf: wears a scarf.
    """

    kind: str
    head: HeadLook
    top: Color
    bottom: Color
    tall: float
    skirt: bool
    motif: Motif
    scarf: bool


def random_look(random: Random, palette: Palette) -> Look:
    """Draw a character's look."""
    motifs: list[Motif] = ["plain", "plain", "stripes", "buttons", "collar", "belt"]
    return Look(
        kind=random.choices(["person", "robot", "animal", "blob"], [85, 5, 6, 4])[0],
        head=random_head(random, palette),
        top=palette.cloth(),
        bottom=palette.cloth(),
        tall=random.uniform(2.2, 4.8),
        skirt=random.random() < 0.35,
        motif=random.choice(motifs),
        scarf=random.random() < 0.12,
    )


def draw_figure(
    random: Random, brush: Brush, look: Look, head: Point, radius_px: float, line_px: int
) -> None:
    """Draw a character; the silhouette goes to the brush's figure map.

    Args:
        random: source of the pose.
        brush: draws; its ``figure`` must be set.
        look: who it is.
        head: centre of the head in pixels; the body hangs below and may leave the picture.
        radius_px: half the height of the head.
        line_px: width of outlines.
    """
    brush.line_px = line_px
    facing = random.choice([-1, 0, 1])
    tilt = random.uniform(-12, 12)
    if look.kind == "animal":
        draw_animal(random, brush, look.head, head, radius_px, facing or 1)
        return
    if look.kind == "blob":
        draw_blob(random, brush, look.head, look.top, head, radius_px * 1.3, facing)
        return
    if look.kind == "robot":
        _draw_body(random, brush, look, head, radius_px, facing)
        draw_robot_head(random, brush, look.head, look.top, head, radius_px, facing)
        return
    draw_back_hair(random, brush, look.head, head, radius_px)
    _draw_body(random, brush, look, head, radius_px, facing)
    draw_head(random, brush, look.head, head, radius_px, facing, tilt)


def _draw_body(
    random: Random, brush: Brush, look: Look, head: Point, r: float, facing: int
) -> None:
    """Draw legs, trunk and arms below a head of half height ``r``."""
    x, y = head
    lean = random.uniform(-0.25, 0.25) * r
    shoulder_y = y + r * 1.12
    hip = (x + lean, shoulder_y + r * look.tall * 0.5)
    shoulders = r * random.uniform(0.75, 1.05)
    hips = shoulders * random.uniform(0.65, 0.9)
    width = max(2.0, r * random.uniform(0.32, 0.46))
    _draw_legs(random, brush, look, hip, hips, r, width, facing)
    neck = (x, shoulder_y + 0.18 * r)
    arms = [_arm(random, side, neck, shoulders, r, look.tall) for side in (-1, 1)]
    front = facing or 1  # the arm on the far side goes behind the trunk
    _draw_arm(brush, look, arms[0 if front > 0 else 1], width * 0.85, r)
    brush.limb([(x, y + r * 0.7), (x, shoulder_y + 0.1 * r)], width * 0.8, look.head.skin)
    brush.shape(
        [
            (x - shoulders, shoulder_y + 0.25 * r),
            (x - shoulders * 0.6, shoulder_y),
            (x + shoulders * 0.6, shoulder_y),
            (x + shoulders, shoulder_y + 0.25 * r),
            (hip[0] + hips, hip[1] + 0.1 * r),
            (hip[0] - hips, hip[1] + 0.1 * r),
        ],
        look.top,
    )
    _draw_motif(brush, look, (x, shoulder_y), hip, shoulders, hips, r)
    if look.skirt:
        flare = hips * random.uniform(1.4, 2.0)
        hem = hip[1] + r * look.tall * 0.26
        brush.shape(
            [
                (hip[0] - hips, hip[1] - 0.05 * r),
                (hip[0] + hips, hip[1] - 0.05 * r),
                (hip[0] + flare, hem),
                (hip[0] - flare, hem),
            ],
            look.bottom,
        )
    if look.scarf:
        brush.ellipse((x, shoulder_y), (0.62 * r, 0.22 * r), look.bottom)
    _draw_arm(brush, look, arms[1 if front > 0 else 0], width * 0.85, r)


def _draw_legs(
    random: Random,
    brush: Brush,
    look: Look,
    hip: Point,
    hips: float,
    r: float,
    width: float,
    facing: int,
) -> None:
    leg = r * look.tall * 0.62
    running = random.random() < 0.3
    spread = leg * (0.6 if running else 0.15)
    for side in (-1, 1):
        start = hip[0] + side * hips * 0.5
        knee = (start + side * spread * 0.6, hip[1] + leg * 0.5)
        lifted = running and side == facing
        foot = (start + side * spread, hip[1] + leg * (0.8 if lifted else 1.0))
        color = look.head.skin if look.skirt else look.bottom
        brush.limb([(start, hip[1]), knee, foot], width, color)
        toe = 0.25 * r * (facing or side)
        brush.ellipse((foot[0] + toe, foot[1] + 0.1 * r), (0.36 * r, 0.18 * r), brush.ink)


def _arm(
    random: Random, side: int, neck: Point, shoulders: float, r: float, tall: float
) -> list[Point]:
    """Return shoulder, elbow and hand."""
    start = (neck[0] + side * shoulders * 0.85, neck[1])
    length = r * tall * 0.3
    first = np.deg2rad(random.uniform(10, 120))  # 90 is straight out, more is raised
    second = first + np.deg2rad(random.uniform(-20, 80))
    points = [start]
    for turn in (float(first), float(second)):
        x, y = points[-1]
        points.append((x + side * length * float(np.sin(turn)), y + length * float(np.cos(turn))))
    return points


def _draw_arm(brush: Brush, look: Look, arm: list[Point], width: float, r: float) -> None:
    brush.limb(arm, width, look.top)
    brush.ellipse(arm[-1], (0.2 * r, 0.2 * r), look.head.skin)


def _draw_motif(
    brush: Brush, look: Look, neck: Point, hip: Point, shoulders: float, hips: float, r: float
) -> None:
    """Draw stripes, buttons, a collar or a belt on the trunk."""

    def across(share: float) -> tuple[Point, float]:
        middle = (neck[0] + (hip[0] - neck[0]) * share, neck[1] + (hip[1] - neck[1]) * share)
        return middle, (shoulders + (hips - shoulders) * share) * 0.9

    if look.motif == "stripes":
        for share in (0.3, 0.5, 0.7):
            (x, y), half = across(share)
            brush.line([(x - half, y), (x + half, y)], look.bottom, 0.16 * r)
    elif look.motif == "buttons":
        brush.line([across(0.05)[0], across(1.0)[0]])
        for share in (0.3, 0.55, 0.8):
            brush.ellipse(across(share)[0], (0.07 * r, 0.07 * r), brush.ink, outline=False)
    elif look.motif == "collar":
        x, y = neck
        for side in (-1, 1):
            brush.shape(
                [(x, y + 0.6 * r), (x + side * 0.45 * r, y), (x + side * 0.1 * r, y)], look.bottom
            )
    elif look.motif == "belt":
        (x, y), half = across(0.9)
        brush.line([(x - half, y), (x + half, y)], brush.ink, 0.2 * r)
