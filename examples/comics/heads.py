"""Heads of characters: shape, hair, face."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

import numpy as np

from examples.comics.brush import Brush, Color, Point, Points, ellipse_points, rotate
from examples.comics.palette import Palette

At = Callable[[Points | Sequence[Point]], Points]  # from the head's own coordinates to the picture

_WHITE: Color = (255, 255, 255)


@dataclass(frozen=True)
class HeadLook:
    """The look of one head.

    Attributes:
        skin: colour of the skin.
        hair: colour of the hair, or of the fur of an animal.
        cloth: colour of a cap.
        style: how the hair is worn.
        eyes: how eyes are drawn.
        extra: ears, beard, antenna, headband or nothing.
        slim: half width over half height.
    """

    skin: Color
    hair: Color
    cloth: Color
    style: str
    eyes: str
    extra: str
    slim: float


def random_head(random: Random, palette: Palette) -> HeadLook:
    """Draw the look of a head."""
    return HeadLook(
        skin=palette.skin(),
        hair=palette.hair(),
        cloth=palette.cloth(),
        style=random.choice(
            ["spiky", "spiky", "bob", "long", "short", "tails", "bun", "bald", "cap", "parted"]
        ),
        eyes=random.choice(["big", "big", "big", "dots", "lines", "glasses"]),
        extra=random.choice(["", "", "", "", "ears", "antenna", "beard", "band"]),
        slim=random.uniform(0.78, 1.02),
    )


def draw_back_hair(random: Random, brush: Brush, look: HeadLook, head: Point, r: float) -> None:
    """Draw the hair that falls behind the body."""
    x, y = head
    if look.style == "long":
        fall = random.uniform(1.2, 2.4) * r
        half = r * look.slim * 1.2
        crown = ellipse_points((x, y), (half, r * 1.12), arc=(180, 360), count=14)
        ends = [
            (x + half * (1.1 - 0.55 * i), y + fall + (0.2 * r if i % 2 else 0)) for i in range(5)
        ]
        brush.shape(np.vstack([crown, ends]), look.hair)
    elif look.style == "tails":
        for side in (-1, 1):
            brush.ellipse(
                (x + side * r * 1.25, y + r * random.uniform(0.0, 0.6)),
                (r * 0.36, r * random.uniform(0.7, 1.1)),
                look.hair,
                angle_deg=-side * random.uniform(5, 35),
            )


def draw_head(
    random: Random,
    brush: Brush,
    look: HeadLook,
    head: Point,
    r: float,
    facing: int,
    tilt_deg: float,
) -> None:
    """Draw a human head of half height ``r`` pixels; ``facing`` is -1 left, 0 front, 1 right."""
    width = r * look.slim
    center = np.asarray(head)

    def at(points: Points | Sequence[Point]) -> Points:
        placed: Points = rotate(np.asarray(points, dtype=np.float64), tilt_deg) + center
        return placed

    if look.extra == "ears":
        for side in (-1, 1):
            tip = (side * width * 0.8, -r * 1.5)
            brush.shape(
                at([(side * width * 0.95, -r * 0.35), tip, (side * width * 0.2, -r * 0.85)]),
                look.hair,
            )
    elif look.extra == "antenna":
        brush.limb(at([(0, -r * 0.8), (facing * r * 0.3, -r * 1.6)]), max(1.0, 0.1 * r), look.hair)
        x, y = at([(facing * r * 0.3, -r * 1.6)])[0]
        brush.ellipse((x, y), (0.2 * r, 0.2 * r), look.cloth)
    jaw = ellipse_points((0, 0), (width, r), arc=(-180, 0), count=16)
    point = facing * 0.1 * r
    chin = [
        (width * 0.98, r * 0.3),
        (width * 0.6, r * 0.78),
        (0.14 * r + point, r),
        (-0.14 * r + point, r),
        (-width * 0.6, r * 0.78),
        (-width * 0.98, r * 0.3),
    ]
    brush.shape(at(np.vstack([jaw, chin])), look.skin)
    if r >= 5:
        draw_face(random, brush, look, at, r, width, facing)
    _draw_hair(random, brush, look, at, r, width, facing)
    if look.extra == "band" and look.style not in ("cap", "bald"):
        brush.limb(
            at([(-width * 1.02, -r * 0.42), (width * 1.02, -r * 0.42)]), r * 0.16, look.cloth
        )


def draw_face(
    random: Random, brush: Brush, look: HeadLook, at: At, r: float, width: float, facing: int
) -> None:
    """Draw eyes, brows, nose, mouth and beard; ``at`` places the head's own coordinates."""
    outline = brush.line_px
    brush.line_px = max(1, round(r * 0.045))
    shift = facing * width * 0.22
    eye_y = r * random.uniform(0.05, 0.2)
    gap = width * 0.42
    for side in (-1, 1):
        x, y = at([(shift + side * gap, eye_y)])[0]
        _draw_eye(brush, look.eyes, (x, y), r, facing)
    if r >= 8:
        slope = random.uniform(-0.15, 0.15) * r
        for side in (-1, 1):
            near, far = shift + side * gap - r * 0.2, shift + side * gap + r * 0.2
            lift = eye_y - r * 0.42
            brush.line(
                at([(near, lift + side * slope), (far, lift - side * slope)]), width_px=r * 0.09
            )
        nose = [(shift * 1.3, eye_y + r * 0.2), (shift * 1.6 + r * 0.05, eye_y + r * 0.33)]
        brush.line(at(nose))
    _draw_mouth(random, brush, at, (shift, r * 0.62), r)
    brush.line_px = outline
    if look.extra == "beard":
        brush.shape(
            at(
                [
                    (-width * 0.8, r * 0.5),
                    (-width * 0.3, r * 0.82),
                    (width * 0.3, r * 0.82),
                    (width * 0.8, r * 0.5),
                    (width * 0.4, r * 1.15),
                    (0, r * 1.35),
                    (-width * 0.4, r * 1.15),
                ]
            ),
            look.hair,
        )


def _draw_eye(brush: Brush, eyes: str, center: Point, r: float, facing: int) -> None:
    x, y = center
    if eyes == "lines":
        brush.line(
            ellipse_points(center, (r * 0.2, r * 0.14), arc=(190, 350), count=8), width_px=r * 0.09
        )
        return
    if eyes == "dots":
        brush.ellipse(center, (r * 0.1, r * 0.14), brush.ink, outline=False)
        return
    brush.ellipse(center, (r * 0.2, r * 0.27), _WHITE, outline=r >= 9)
    pupil = (x + facing * r * 0.05, y + r * 0.03)
    brush.ellipse(pupil, (r * 0.12, r * 0.19), brush.ink, outline=False)
    if r >= 10:
        glint = (pupil[0] - r * 0.04, pupil[1] - r * 0.08)
        brush.ellipse(glint, (r * 0.05, r * 0.07), _WHITE, outline=False)
        lid = ellipse_points(center, (r * 0.23, r * 0.28), arc=(200, 340), count=8)
        brush.line(lid, width_px=r * 0.08)
    if eyes == "glasses":
        brush.line(ellipse_points(center, (r * 0.34, r * 0.34), count=17))


def _draw_mouth(random: Random, brush: Brush, at: At, mouth: Point, r: float) -> None:
    mood = random.randrange(5)
    x, y = mouth
    if mood == 0:
        tall = r * random.uniform(0.1, 0.22)
        brush.shape(at(ellipse_points(mouth, (r * 0.22, tall), count=14)), brush.ink, outline=False)
    elif mood == 1:
        brush.line(at(ellipse_points(mouth, (r * 0.26, r * 0.14), arc=(10, 170), count=8)))
    elif mood == 2:
        brush.line(at(ellipse_points(mouth, (r * 0.2, r * 0.1), arc=(190, 350), count=8)))
    elif mood == 3:
        grin = [(x - r * 0.3, y - r * 0.08), (x + r * 0.3, y - r * 0.08), (x, y + r * 0.2)]
        brush.shape(at(grin), _WHITE)
    else:
        brush.line(at([(x - r * 0.18, y), (x + r * 0.18, y)]))


def _draw_hair(
    random: Random, brush: Brush, look: HeadLook, at: At, r: float, width: float, facing: int
) -> None:
    style = look.style
    if style == "bald":
        return
    line = -r * random.uniform(0.2, 0.4)
    top = ellipse_points((0, 0), (width * 1.1, r * 1.12), arc=(170, 370), count=20)
    teeth = [(width * (1 - i / 4), line + (r * 0.28 if i % 2 else 0.0)) for i in range(9)]
    fringe = np.array(teeth)
    if style == "spiky":
        turns = np.deg2rad(np.linspace(175, 365, 19))
        reach = np.where(np.arange(19) % 2, random.uniform(1.35, 1.7), 1.05)
        top = np.stack([np.cos(turns) * width * reach, np.sin(turns) * r * reach], axis=1)
    elif style == "cap":
        side = facing or random.choice([-1, 1])
        cap = ellipse_points((0, 0), (width * 1.12, r * 1.15), arc=(190, 350), count=16)
        brush.shape(at(cap), look.cloth)
        visor = [(side * width * 0.1, -r * 0.3), (side * width * 1.8, -r * 0.15)]
        brush.shape(at([*visor, (side * width * 1.1, -r * 0.45)]), look.cloth)
        return
    elif style == "bun":
        x, y = at([(0, -r * 1.25)])[0]
        brush.ellipse((x, y), (r * 0.42, r * 0.4), look.hair)
    elif style == "short":
        fringe = fringe * np.array([1.0, 0.4]) + np.array([0.0, line * 0.5])
    elif style == "parted":
        side = random.choice([-1, 1])
        fringe = np.array([(width, 0.1 * r), (side * width * 0.3, -r * 0.75), (-width, 0.1 * r)])
    brush.shape(at(np.vstack([top, fringe])), look.hair)
    if style == "bob":
        for side in (-1, 1):
            lock = [(1.1, -0.1), (1.2, 0.75), (0.8, 0.8), (0.78, -0.2)]
            brush.shape(at([(side * width * u, r * v) for u, v in lock]), look.hair)
    if r >= 9:
        tone = 70 if sum(look.hair) < 380 else -60
        shade = tuple(min(255, max(0, part + tone)) for part in look.hair)
        gloss = ellipse_points((0, 0), (width * 0.75, r * 0.85), arc=(215, 265), count=6)
        brush.line(at(gloss), (shade[0], shade[1], shade[2]), r * 0.1)


def draw_robot_head(
    random: Random, brush: Brush, look: HeadLook, metal: Color, head: Point, r: float, facing: int
) -> None:
    """Draw a box of a head with lamps for eyes."""
    x, y = head
    half = r * look.slim
    brush.limb([(x, y - r), (x, y - r * 1.5)], max(1.0, 0.1 * r), metal)
    brush.ellipse((x, y - r * 1.5), (0.16 * r, 0.16 * r), look.cloth)
    brush.shape([(x - half, y - r), (x + half, y - r), (x + half, y + r), (x - half, y + r)], metal)
    shift = facing * 0.18 * r
    for side in (-1, 1):
        brush.ellipse((x + shift + side * 0.4 * half, y - 0.15 * r), (0.24 * r, 0.24 * r), _WHITE)
        brush.ellipse(
            (x + shift + side * 0.4 * half, y - 0.15 * r),
            (0.09 * r, 0.09 * r),
            brush.ink,
            outline=False,
        )
    left, right = x + shift - 0.5 * half, x + shift + 0.5 * half
    brush.shape(
        [(left, y + 0.4 * r), (right, y + 0.4 * r), (right, y + 0.65 * r), (left, y + 0.65 * r)],
        _WHITE,
    )
    for share in (0.25, 0.5, 0.75):
        tooth = left + (right - left) * share
        brush.line([(tooth, y + 0.4 * r), (tooth, y + 0.65 * r)])
