"""Characters that are no people: four-legged animals and blobs."""

from collections.abc import Sequence
from random import Random

import numpy as np

from examples.comics.brush import Brush, Color, Point, Points, ellipse_points
from examples.comics.heads import HeadLook, draw_face


def draw_animal(
    random: Random, brush: Brush, look: HeadLook, head: Point, r: float, facing: int
) -> None:
    """Draw an animal on four legs, seen from the side, with a head of half height ``r``."""
    x, y = head
    back = -facing
    chest, rump = (x + back * 0.7 * r, y + 1.1 * r), (x + back * 2.6 * r, y + 1.2 * r)
    ground = y + 2.9 * r
    tail = [
        rump,
        (rump[0] + back * 0.8 * r, rump[1] - 0.6 * r),
        (rump[0] + back * 0.7 * r, rump[1] - r * random.uniform(1.2, 1.8)),
    ]
    brush.limb(tail, max(2.0, 0.25 * r), look.hair)
    for start in (chest, rump):
        for step in (-0.3, 0.3):
            swing = random.uniform(-0.25, 0.25) * r
            hip = (start[0] + step * r, start[1] + 0.4 * r)
            brush.limb([hip, (hip[0] + swing, ground)], max(2.0, 0.3 * r), look.hair)
    middle = ((chest[0] + rump[0]) / 2, (chest[1] + rump[1]) / 2)
    brush.ellipse(middle, (1.55 * r, 0.8 * r), look.hair)
    if random.random() < 0.5:
        for share in (-0.5, 0.0, 0.5):
            spot = (middle[0] + share * 1.6 * r, middle[1] - 0.2 * r)
            brush.ellipse(spot, (0.25 * r, 0.2 * r), look.cloth, outline=False)
    pointed = random.random() < 0.6
    for side in (-1, 1):
        if pointed:
            brush.shape(
                [
                    (x + side * 0.9 * r, y - 0.3 * r),
                    (x + side * 0.8 * r, y - 1.4 * r),
                    (x + side * 0.2 * r, y - 0.8 * r),
                ],
                look.hair,
            )
        else:
            brush.ellipse(
                (x + side * 0.95 * r, y), (0.3 * r, 0.65 * r), look.hair, angle_deg=-side * 20
            )
    brush.ellipse(head, (r, 0.9 * r), look.hair)
    brush.ellipse((x + facing * 0.25 * r, y + 0.4 * r), (0.5 * r, 0.36 * r), (250, 250, 250))
    _face(random, brush, look, head, r, facing)


def draw_blob(
    random: Random, brush: Brush, look: HeadLook, color: Color, head: Point, r: float, facing: int
) -> None:
    """Draw a monster without legs: a dome with a wavy hem, arms and maybe horns."""
    x, y = head
    tall = r * random.uniform(1.2, 2.2)
    if random.random() < 0.5:
        for side in (-1, 1):
            brush.shape(
                [
                    (x + side * 0.7 * r, y - 0.5 * r),
                    (x + side * 0.85 * r, y - 1.6 * r),
                    (x + side * 0.2 * r, y - 0.8 * r),
                ],
                look.cloth,
            )
    for side in (-1, 1):
        hand = (x + side * 1.6 * r, y + r * random.uniform(-0.6, 0.9))
        brush.limb([(x + side * 0.8 * r, y + 0.6 * r), hand], max(2.0, 0.3 * r), color)
    dome = ellipse_points(head, (r, r), arc=(180, 360), count=16)
    steps = np.linspace(1, -1, 13)
    wave = np.where(np.arange(13) % 2, 0.3 * r, 0.0)
    hem = np.stack([x + steps * r * 1.1, y + tall + wave], axis=1)
    brush.shape(np.vstack([dome, hem]), color)
    _face(random, brush, look, head, r * 0.9, facing)


def _face(random: Random, brush: Brush, look: HeadLook, head: Point, r: float, facing: int) -> None:
    """Draw a beardless face that is not tilted."""
    bare = HeadLook(look.skin, look.hair, look.cloth, "bald", look.eyes, "", look.slim)

    def at(points: Points | Sequence[Point]) -> Points:
        placed: Points = np.asarray(points, dtype=np.float64) + np.asarray(head)
        return placed

    if r >= 5:
        draw_face(random, brush, bare, at, r, r * 0.95, facing)
