import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from storage.queries.values import shown_value, typed_value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", 12),
        ("-3", -3),
        ("+3", 3),
        ("0", 0),
        ("0.5", 0.5),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("-1.", -1.0),
        ("true", True),
        ("false", False),
        ("null", None),
        ("panel", "panel"),
        ("True", "True"),
        ("", ""),
        ("007", "007"),  # an id, whose zeros matter
        ("9223372036854775807", 2**63 - 1),
        ("9223372036854775808", "9223372036854775808"),
        ("9" * 9999, "9" * 9999),
        ("nan", "nan"),
        ("inf", "inf"),
        ("1e", "1e"),
        ("e5", "e5"),
        (".", "."),
        ("٣", "٣"),
        ("1_000", "1_000"),
        ('"12"', "12"),
        ('"say \\"hi\\""', 'say "hi"'),
        ('"open', '"open'),
        ('"a"b', '"a"b'),
        ("2026-11-01", "2026-11-01"),
    ],
)
def test_values_have_the_type_they_look_like(text, value):
    found = typed_value(text)
    assert found == value
    assert type(found) is type(value)


@given(
    st.text()
    | st.integers(-(2**63) + 1, 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.booleans()
    | st.none()
)
@example('"')
@example("1")
def test_a_value_that_is_shown_can_be_given_again(value):
    found = typed_value(shown_value(value))
    assert found == value
    assert type(found) is type(value)
