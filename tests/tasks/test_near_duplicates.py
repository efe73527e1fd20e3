from hypothesis import given
from hypothesis import strategies as st

from tasks.drop_images import NEAR_DUPLICATE_BITS
from tasks.near_duplicates import near_duplicate_groups


def hash_of(bits):
    return f"{bits:016x}"


def test_images_are_together_that_differ_in_few_bits_or_are_like_a_third():
    found = near_duplicate_groups(
        {
            "d": hash_of(0),
            "c": hash_of(0xFF),  # like b, not like d
            "b": hash_of(0x0F),
            "a": hash_of(2**63),
            "x": hash_of(0xFFFF << 16),
            "old": None,
        }
    )
    assert found == {"a": "a", "b": "a", "c": "a", "d": "a"}
    assert near_duplicate_groups({}) == {}
    assert near_duplicate_groups({"a": None, "b": None}) == {}


@given(st.lists(st.integers(0, 2**11), max_size=12))
def test_groups_are_the_connected_parts(values):
    found = near_duplicate_groups({f"{n:02}": hash_of(value) for n, value in enumerate(values)})
    parts = {n: {n} for n in range(len(values))}
    for n, one in enumerate(values):
        for m, other in enumerate(values):
            if (one ^ other).bit_count() <= NEAR_DUPLICATE_BITS and parts[n] is not parts[m]:
                both = parts[n] | parts[m]
                for each in both:
                    parts[each] = both
    expected = {f"{n:02}": f"{min(part):02}" for n, part in parts.items() if len(part) > 1}
    assert found == expected
