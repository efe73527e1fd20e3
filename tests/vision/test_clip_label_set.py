import subprocess
import sys

import pytest

from vision.clip import LabelSet, LabelSetError, load_label_set
from vision.clip.label_set import CropStyle


@pytest.mark.parametrize(("name", "count"), [("comic", 4), ("street", 15), ("coco80", 80)])
def test_the_shipped_sets_load_with_their_labels(name: str, count: int) -> None:
    label_set = load_label_set(name)
    assert label_set.name == name
    assert len(label_set.names) == count
    assert label_set.background


def test_a_label_without_prompts_is_described_by_its_name() -> None:
    label_set = LabelSet.model_validate(
        {"name": "x", "labels": [{"name": "red fox"}], "templates": ["a {}.", "the {}!"]}
    )
    assert label_set.captions(label_set.labels[0]) == ["a red fox.", "the red fox!"]


def test_captions_are_all_prompts_in_all_templates() -> None:
    comic = load_label_set("comic")
    captions = comic.captions(comic.labels[1])
    assert len(captions) == len(set(captions)) == 3 * len(comic.templates)
    assert "a drawing of a speech balloon." in captions


def test_phrases_fill_the_templates_of_their_language() -> None:
    label_set = LabelSet.model_validate(
        {
            "name": "x",
            "labels": [{"name": "fox", "prompts": {"en": ["fox"], "de": ["Fuchs"]}}],
            "templates": {"en": ["a {}."], "de": ["ein {}.", "der {}."]},
        }
    )
    assert label_set.captions(label_set.labels[0]) == ["a fox.", "ein Fuchs.", "der Fuchs."]


def test_templates_without_a_language_are_for_all() -> None:
    label_set = LabelSet.model_validate(
        {
            "name": "x",
            "labels": [{"name": "fox", "prompts": {"en": ["fox"], "de": ["Fuchs"]}}],
            "templates": ["{}."],
        }
    )
    assert label_set.captions(label_set.labels[0]) == ["fox.", "Fuchs."]


def test_what_is_said_by_default_anyway_changes_no_id() -> None:
    content = {"name": "x", "labels": [{"name": "a"}]}
    plain = LabelSet.model_validate(content)
    said = LabelSet.model_validate(content | {"temperature": 1.0, "crop": {"mode": "box"}})
    assert said.label_set_id == plain.label_set_id


def test_one_crop_and_a_list_of_it_are_the_same_set() -> None:
    content = {"name": "x", "labels": [{"name": "a"}]}
    one = LabelSet.model_validate(content | {"crop": {"mode": "masked"}})
    listed = LabelSet.model_validate(content | {"crop": [{"mode": "masked"}]})
    assert one.label_set_id == listed.label_set_id


def test_the_id_changes_with_anything_that_changes_names_given() -> None:
    comic = load_label_set("comic")
    ids = {
        comic.label_set_id,
        comic.model_copy(update={"background": comic.background[1:]}).label_set_id,
        comic.model_copy(update={"crop": (CropStyle(context=1.4),)}).label_set_id,
        comic.model_copy(update={"labels": comic.labels[::-1]}).label_set_id,
    }
    assert len(ids) == 4
    assert comic.label_set_id == load_label_set("comic").label_set_id


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name: x\nlabels: []", "labels"),
        ("name: x\nlabels: [{name: a}, {name: a}]", "given twice: a"),
        ("name: x\nlabels: [{name: unknown}]", "choose another"),
        ("name: x\nname: y\nlabels: [{name: a}]", "name is given twice"),
        ("name: x\nlabels: [{name: 2024-13-45}]", "month must be in 1..12"),
        ("name: x\nlabels: &x [*x]", "labels"),
        ("name: x\nlabels: [{name: a}]\ntemplates: [a photo]", "exactly one {}"),
        ("name: x\nlabels: [{name: a}]\ntemplates: ['{} and {}']", "exactly one {}"),
        ("name: x\nlabels: [{name: a}]\ntemplates: ['{} {0}']", "exactly one {}"),
        ("name: x\nlabels: [{name: a}]\nunknown: {min_probability: 2}", "min_probability"),
        ("name: x\nlabels: [{name: a}]\ncrop: {mode: zoom}", "crop.0.mode"),
        ("name: x\nlabels: [{name: a, promts: [b]}]", "promts"),
        ("name: x\nlabels: [{name: no}]", "labels.0.name"),
        (f"name: x\nlabels: [{{name: {'a' * 10_000}}}]", "at most 200 characters"),
        ("name: x\nlabels: [{name: a}]\ncrop: []", "crop"),
        ("name: x\nlabels: [{name: a}]\ntemperature: 0", "temperature"),
        ("name: x\nlabels: [{name: a, prompts: {German: [b]}}]", "German"),
        (
            "name: x\ntemplates: {en: ['a {}']}\nlabels: [{name: a, prompts: {de: [b]}}]",
            "no templates for the prompts of 'a' in de",
        ),
        (
            "name: x\ntemplates: {en: ['a {}']}\nlabels: [{name: a}]",
            "no templates for the prompts of 'a' in no language",
        ),
        ("[1, 2", "line 1"),
        ("", "the file"),
    ],
)
def test_a_wrong_file_is_refused_with_the_place(tmp_path, text: str, told: str) -> None:
    path = tmp_path / "set.yaml"
    path.write_text(text)
    with pytest.raises(LabelSetError) as error:
        load_label_set(path)
    assert str(path) in str(error.value)
    assert told in str(error.value)


@pytest.mark.parametrize("name", ["comics", "../labels/comic", ""])
def test_an_unknown_name_is_answered_with_the_known_ones(name: str) -> None:
    with pytest.raises(LabelSetError, match="coco80, comic, street"):
        load_label_set(name)


def test_a_missing_file_is_told(tmp_path) -> None:
    with pytest.raises(LabelSetError, match="No such file"):
        load_label_set(tmp_path / "none.yaml")


def test_reading_label_sets_imports_no_torch() -> None:
    code = (
        "import sys, vision.clip as c; c.load_label_set('comic'); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
