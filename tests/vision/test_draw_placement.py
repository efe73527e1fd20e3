from hypothesis import given
from hypothesis import strategies as st

from vision.draw.contours import Box
from vision.draw.placement import Wanted, overlap_area, place_names

WIDTH, HEIGHT = 200.0, 150.0


@st.composite
def wanted_names(draw):
    x, y = draw(st.floats(0, 150)), draw(st.floats(0, 120))
    box = Box(x, y, draw(st.floats(1, WIDTH - x)), draw(st.floats(1, HEIGHT - y)))
    return Wanted(box, ((draw(st.floats(5, 60)), 10.0), (12.0, 10.0)))


@given(st.lists(wanted_names(), max_size=12))
def test_names_stay_in_the_picture_and_off_each_other(wanted):
    spots = place_names(wanted, WIDTH, HEIGHT)
    assert len(spots) == len(wanted)
    boxes = [spot.box for spot in spots if spot is not None]
    for index, box in enumerate(boxes):
        assert box.x >= 0 and box.x + box.width <= WIDTH
        assert box.y >= 0 and box.y + box.height <= HEIGHT
        assert all(overlap_area(box, other) == 0 for other in boxes[index + 1 :])


def test_a_large_object_is_named_in_its_corner():
    (spot,) = place_names([Wanted(Box(10, 10, 180, 130), ((40, 10),))], WIDTH, HEIGHT)
    assert spot is not None and spot.box == Box(10, 10, 40, 10)


def test_a_small_object_is_named_beside_itself():
    box = Box(50, 50, 40, 10)
    (spot,) = place_names([Wanted(box, ((40, 10),))], WIDTH, HEIGHT)
    assert spot is not None and overlap_area(spot.box, box) == 0


def test_a_shorter_name_is_used_where_the_long_one_is_too_wide():
    (spot,) = place_names([Wanted(Box(50, 50, 20, 12), ((60, 10), (25, 10)))], WIDTH, HEIGHT)
    assert spot is not None and spot.choice == 1


def test_a_tiny_object_gets_no_name():
    assert place_names([Wanted(Box(50, 50, 4, 4), ((40, 10),))], WIDTH, HEIGHT) == [None]
