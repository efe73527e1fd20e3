from datetime import date

import pytest

from vision.strict_yaml import StrictYamlError, load_yaml


def test_what_people_write_is_read_as_yaml_1_2_has_it():
    text = "a: 5e-6\nb: [1, x, null]\nc: &base {d: 1, e: 2}\nf: {<<: *base, e: 3}\ng: 2024-01-31\n"
    assert load_yaml(text) == load_yaml(text.encode()) == {
        "a": 5e-6, "b": [1, "x", None], "c": {"d": 1, "e": 2}, "f": {"d": 1, "e": 3},
        "g": date(2024, 1, 31),
    }  # fmt: skip
    assert load_yaml("") is None


def test_keys_that_come_from_elsewhere_are_none_that_are_given_twice():
    text = "sub: {a: &a {<<: &z {x: 1}, x: 2}}\nb: {<<: *a}\n"
    assert load_yaml(text) == {"sub": {"a": {"x": 2}}, "b": {"x": 2}}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: 1\nb: 2\na: 3", "a is given twice in"),
        ("x: [{a: 1, a: 1}]", "a is given twice"),
        ("[a]: 1", "a list or a mapping cannot be a key"),
        ("? {a: b}", "a list or a mapping cannot be a key"),
        ("a: [", "while parsing"),
        ("a: 2024-13-45", "month must be in 1..12"),
        ("a: !!int ''", "is not what it looks like"),
        ("a: !!bool maybe", "is not what it looks like"),
        ("a: !!timestamp soon", "is not what it looks like"),
        ("a: !!python/name:os.system ls", "could not determine a constructor"),
        ("[" * 100_000, "nested too deeply"),
        (b"\xff\xfe\x00", "truncated"),
    ],
)
def test_what_is_wrong_is_one_sentence(text, told):
    with pytest.raises(StrictYamlError) as refused:
        load_yaml(text)
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)
