import json
import shutil
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import save_file

from vision.clip import UNKNOWN, LabelSet, LabelSetError, load_label_set, load_labeller
from vision.clip.crops import crop_segment
from vision.clip.labeller import ClipLabeller, decide
from vision.clip.loading import DEMO_CONFIG, LoadedClip, demo_clip, load_clip, prepare_clip
from vision.masks import RleError, mask_to_rle
from vision.masks.rle import rle_to_box_mask
from vision.models import ModelReferenceError

DEMO_WEIGHTS = Path(__file__).parents[2] / "models" / "demo" / "clip.safetensors"


@pytest.fixture(scope="module")
def clip() -> LoadedClip:
    torch.manual_seed(7)
    return prepare_clip(demo_clip(), DEMO_CONFIG.stem, "random", torch.device("cpu"))


@pytest.fixture(scope="module")
def page() -> tuple[np.ndarray, list[bytes]]:
    rng = np.random.default_rng(3)
    rgb = rng.integers(0, 256, (90, 70, 3), dtype=np.uint8)
    masks = []
    for y, x, h, w in [(0, 0, 90, 70), (10, 5, 30, 8), (50, 20, 5, 40), (2, 60, 20, 10)]:
        mask = np.zeros((90, 70), bool)
        mask[y : y + h, x : x + w] = True
        masks.append(mask_to_rle(mask))
    return rgb, masks


def two_labels(**changes: object) -> LabelSet:
    rule = {"min_probability": 0.0, "min_margin": 0.0}
    content = {"name": "t", "labels": [{"name": "a"}, {"name": "b"}], "background": ["x", "y"]}
    return LabelSet.model_validate(content | {"unknown": rule} | changes)


def decided(label_set: LabelSet, probabilities: list[float]):
    return decide(label_set, np.log(np.array(probabilities)), np.array(probabilities))


def test_the_most_probable_label_wins() -> None:
    result = decided(two_labels(), [0.2, 0.6, 0.1, 0.1])
    assert (result.label, result.score) == ("b", 0.6)
    assert result.margin == pytest.approx(0.4)
    assert [entry.label for entry in result.top] == ["b", "a", UNKNOWN]


def test_background_prompts_win_together() -> None:
    result = decided(two_labels(), [0.1, 0.4, 0.25, 0.25])
    assert (result.label, result.score) == (UNKNOWN, 0.4)
    assert result.margin == pytest.approx(-0.1)
    assert result.top[0] == (UNKNOWN, pytest.approx(np.log(0.25)), 0.5)


def test_an_unsure_label_stays_unknown() -> None:
    low = two_labels(unknown={"min_probability": 0.7})
    assert decided(low, [0.05, 0.65, 0.2, 0.1]).label == UNKNOWN
    assert decided(low, [0.05, 0.75, 0.1, 0.1]).label == "b"
    close = two_labels(unknown={"min_probability": 0, "min_margin": 0.3})
    assert decided(close, [0.35, 0.55, 0.05, 0.05]).label == UNKNOWN
    assert decided(close, [0.2, 0.6, 0.1, 0.1]).label == "b"


def test_a_label_may_be_allowed_to_trail_the_background() -> None:
    lenient = two_labels(unknown={"min_probability": 0.3, "min_margin": -0.4})
    assert decided(lenient, [0.1, 0.35, 0.35, 0.2]).label == "b"
    assert decided(lenient, [0.05, 0.25, 0.4, 0.3]).label == UNKNOWN
    assert decided(lenient, [0.1, 0.31, 0.4, 0.19]).label == "b"
    strict = two_labels(unknown={"min_probability": 0.3, "min_margin": -0.1})
    assert decided(strict, [0.1, 0.35, 0.35, 0.2]).label == UNKNOWN


def test_a_label_may_need_more_or_less_than_the_others() -> None:
    labels = [{"name": "a", "min_probability": 0.2}, {"name": "b", "min_probability": 0.9}]
    own = two_labels(labels=labels, unknown={"min_probability": 0.5})
    assert decided(own, [0.4, 0.3, 0.2, 0.1]).label == "a"
    assert decided(own, [0.05, 0.8, 0.1, 0.05]).label == UNKNOWN
    assert decided(own, [0.02, 0.95, 0.02, 0.01]).label == "b"


def test_of_sigmoids_the_best_background_counts_and_not_their_sum() -> None:
    values = np.array([0.1, 0.6, 0.5, 0.4])
    result = decide(two_labels(), np.log(values), values, sigmoid=True)
    assert (result.label, result.score) == ("b", 0.6)
    assert result.margin == pytest.approx(0.1)
    assert result.top[1] == (UNKNOWN, pytest.approx(np.log(0.5)), 0.5)


def test_a_set_of_one_label_without_background_always_names() -> None:
    only = two_labels(labels=[{"name": "a"}], background=[])
    result = decided(only, [1.0])
    assert (result.label, result.score, result.margin) == ("a", 1.0, 1.0)


def test_probabilities_are_the_softmax_of_scaled_cosines(clip, page) -> None:
    """Checked against open_clip's own calls, without ensembling."""
    label_set = two_labels(templates=["a photo of a {}."], crop={"mode": "box"})
    result = ClipLabeller(clip, label_set).label(page[0], page[1][:1])[0]
    cosines = {entry.label: entry.cosine for entry in result.top}
    tokenize = open_clip.get_tokenizer(DEMO_CONFIG.stem)
    with torch.inference_mode():
        sentences = ["a photo of a a.", "a photo of a b.", "x", "y"]
        texts = clip.model.encode_text(tokenize(sentences), normalize=True)
        side = round(90 * 1.2)
        square = np.full((side, side, 3), (122, 116, 104), np.uint8)
        square[9:99, 19:89] = page[0]
        image = np.asarray(square, np.float32)
        small = torch.nn.functional.interpolate(
            torch.from_numpy(image).permute(2, 0, 1)[None], size=(64, 64), mode="area"
        )
        mean = torch.tensor(clip.mean_rgb).view(3, 1, 1)
        std = torch.tensor(clip.std_rgb).view(3, 1, 1)
        embedding = clip.model.encode_image((small / 255 - mean) / std, normalize=True)
        expected = (embedding @ texts.T)[0]
        shares = (clip.model.logit_scale.exp() * expected).softmax(0)
    assert cosines["a"] == pytest.approx(float(expected[0]), abs=0.03)
    assert result.score == pytest.approx(float(shares[:2].max()), abs=0.03)
    assert sum(entry.probability for entry in result.top) == pytest.approx(1)


def test_a_model_with_a_bias_gives_each_label_a_probability_of_its_own(page) -> None:
    torch.manual_seed(2)
    model = demo_clip()
    model.logit_bias = torch.nn.Parameter(torch.tensor(-3.0))
    siglip = prepare_clip(model, DEMO_CONFIG.stem, "siglip", torch.device("cpu"))
    label_set = two_labels()
    found = ClipLabeller(siglip, label_set).label(page[0], page[1][:1])[0]
    scale = model.logit_scale.exp().item()
    for entry in found.top:
        if entry.label != UNKNOWN:
            expected = 1 / (1 + np.exp(-(entry.cosine * scale - 3)))
            assert entry.probability == pytest.approx(expected, rel=1e-4)


def test_a_temperature_evens_out_what_the_model_is_sure_of(clip, page) -> None:
    sharp = ClipLabeller(clip, two_labels()).label(*page)
    even = ClipLabeller(clip, two_labels(temperature=50.0)).label(*page)
    for first, second in zip(sharp, even, strict=True):
        assert first.top[0].label in (second.top[0].label, UNKNOWN)
        assert second.score < first.score or first.score < 0.3
        assert second.score == pytest.approx(0.25, abs=0.1)


def test_of_several_crops_the_mean_embedding_counts(clip, page) -> None:
    styles = [{"mode": "box"}, {"mode": "masked", "context": 1.0}]
    each = [ClipLabeller(clip, two_labels(crop=style)) for style in styles]
    both = ClipLabeller(clip, two_labels(crop=styles))
    crops = [
        np.stack(
            [
                crop_segment(page[0], *rle_to_box_mask(mask, *page[0].shape[:2]), style, 64)
                for style in both.label_set.crop
            ]
        )
        for mask in page[1]
    ]
    together = both.compare(np.concatenate(crops))
    one, other = (
        labeller.compare(np.stack([crop[k] for crop in crops])) for k, labeller in enumerate(each)
    )
    # The mean of unit vectors, made a unit vector, has the direction of their sum.
    ratio = together / (one + other)
    assert np.allclose(ratio, ratio[:, :1], rtol=1e-3)


def test_batches_and_order_change_nothing(clip, page) -> None:
    rgb, masks = page
    comic = load_label_set("comic")
    one_by_one = ClipLabeller(clip, comic, batch_size=1).label(rgb, masks)
    together = ClipLabeller(clip, comic, batch_size=64).label(rgb, masks)
    backwards = ClipLabeller(clip, comic, batch_size=3).label(rgb, masks[::-1])[::-1]
    for first, second, third in zip(one_by_one, together, backwards, strict=True):
        assert first.label == second.label == third.label
        assert first.score == pytest.approx(second.score, abs=1e-5)
        assert first.score == pytest.approx(third.score, abs=1e-5)


def test_images_that_share_batches_have_the_labels_they_have_alone(clip, page) -> None:
    rgb, rles = page
    labeller = ClipLabeller(clip, load_label_set("comic"), batch_size=3)
    together = labeller.label_many([(rgb, rles), (rgb, []), (rgb[:, ::-1].copy(), rles[:2])])
    alone = [labeller.label(rgb, rles), [], labeller.label(rgb[:, ::-1].copy(), rles[:2])]
    assert [[one.label for one in image] for image in together] == [
        [one.label for one in image] for image in alone
    ]


def test_records_with_an_rle_and_bare_counts_are_the_same(clip, page) -> None:
    class Record:
        rle = page[1][1]

    labeller = ClipLabeller(clip, load_label_set("comic"))
    assert labeller.label(page[0], [Record()]) == labeller.label(page[0], [page[1][1]])


def test_no_masks_give_no_labels(clip, page) -> None:
    assert ClipLabeller(clip, load_label_set("comic")).label(page[0], []) == []


def test_a_mask_of_another_image_is_refused(clip, page) -> None:
    other = mask_to_rle(np.ones((9, 9), bool))
    with pytest.raises(RleError):
        ClipLabeller(clip, load_label_set("comic")).label(page[0], [other])


def test_a_prompt_the_model_would_cut_is_refused(clip) -> None:
    long = two_labels(labels=[{"name": "a", "prompts": ["very " * 39 + "red"]}])
    with pytest.raises(LabelSetError, match=r"has 4[0-9] tokens, random reads 32"):
        ClipLabeller(clip, long)


@pytest.mark.parametrize(
    "reference", ["clip", "hub:", "hub:name", "hub:/x", "file:", "file:/nowhere/x", "ftp:a/b", ""]
)
def test_a_reference_to_no_model_is_refused(reference: str) -> None:
    with pytest.raises(ModelReferenceError):
        load_clip(reference, "cpu")


def test_a_local_folder_gives_the_same_labels_as_its_weights(tmp_path, clip, page) -> None:
    config = json.loads(DEMO_CONFIG.read_text())
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))
    weights = folder / "open_clip_model.safetensors"
    save_file({name: tensor.clone() for name, tensor in clip.model.state_dict().items()}, weights)
    expected = ClipLabeller(clip, load_label_set("comic")).label(*page)
    for reference in (f"file:{folder}", f"file:{weights}"):
        labeller = load_labeller(reference, "comic", "cpu")
        assert labeller.label(*page) == expected
    assert labeller.model_id.startswith("open-clip-model-")
    shutil.copy(weights, tmp_path / "bare.safetensors")
    with pytest.raises(ModelReferenceError, match=r"no open_clip_config\.json"):
        load_clip(f"file:{tmp_path / 'bare.safetensors'}", "cpu")


def test_weights_of_another_shape_are_refused(tmp_path) -> None:
    config = json.loads(DEMO_CONFIG.read_text())
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))
    save_file({"logit_scale": torch.tensor(1.0)}, tmp_path / "open_clip_model.safetensors")
    with pytest.raises(ModelReferenceError, match="Missing key"):
        load_clip(f"file:{tmp_path}", "cpu")


@pytest.mark.skipif(not DEMO_WEIGHTS.is_file(), reason="the demo CLIP is not trained yet")
def test_the_demo_clip_names_objects_of_held_out_pages_and_refuses_junk() -> None:
    from examples.demo_models.evaluate_clip import count_names, made_masks, shares

    found = shares(count_names(load_labeller("demo", "comic", "cpu"), made_masks(6, 960_000_000)))
    assert found["right"] >= 0.93
    assert found["junk_unknown"] >= 0.6
