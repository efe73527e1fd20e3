import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from vision.finetune import ConfigError, TrainConfig, make_config, read_config
from vision.finetune.config_file import DEFAULT_FILE, setting_names


def test_the_shipped_file_holds_every_setting_with_its_default():
    tree = yaml.safe_load(DEFAULT_FILE.read_bytes())
    listed = [f"{s}.{key}" for s, v in tree.items() if isinstance(v, dict) for key in v]
    listed += [name for name, value in tree.items() if not isinstance(value, dict)]

    assert sorted(listed) == sorted(setting_names())
    assert read_config() == TrainConfig()


def test_the_settings_for_the_demo_model_are_valid_and_end_by_the_clock():
    config = read_config(DEFAULT_FILE.with_name("train-demo.yaml"))

    assert (config.model.base, config.limits.minutes) == ("demo", 9)
    assert config.losses == TrainConfig().losses


def test_what_a_file_leaves_out_keeps_its_default(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("optimizer:\n  lr: 1e-5\n")

    config = read_config(path)

    assert config.optimizer.lr == 1e-5
    assert config.optimizer.encoder_lr == 3e-6
    assert config.losses.mask == 20


def test_an_empty_file_is_all_defaults(tmp_path):
    path = tmp_path / "empty.yaml"
    path.write_text("# nothing\n")

    assert read_config(path) == TrainConfig()


@pytest.mark.parametrize(
    ("override", "section", "key", "value"),
    [
        ("optimizer.lr=2e-4", "optimizer", "lr", 2e-4),
        ("optimizer.lr=.5", "optimizer", "lr", 0.5),
        ("model.train=[decoder, neck]", "model", "train", ("decoder", "neck")),
        ("data.batch_images=3", "data", "batch_images", 3),
        ("limits.epochs=5", "limits", "epochs", 5),
        ("limits.minutes=1.5", "limits", "minutes", 1.5),
        ("trackers.use_wandb=true", "trackers", "use_wandb", True),
        ("model.base=hub:facebook/sam2.1-hiera-tiny", "model", "base",
         "hub:facebook/sam2.1-hiera-tiny"),
    ],
)  # fmt: skip
def test_an_override_changes_one_setting(override, section, key, value):
    config = read_config(overrides=[override])

    assert getattr(getattr(config, section), key) == value


def test_later_overrides_win():
    assert read_config(overrides=["seed=1", "seed=2"]).seed == 2


@pytest.mark.parametrize(
    ("tree", "told"),
    [
        ({"optimizer": {"learning_rate": 1.0}}, "optimizer.learning_rate: there is no such"),
        ({"optimizer": {"lrr": 1.0}}, "did you mean optimizer.lr?"),
        ({"use_wandb": True}, "use_wandb: there is no such setting; did you mean trackers.use_wan"),
        ({"optimiser": {"lr": 1.0}}, "did you mean optimizer?"),
        ({"data": {"batch_size": 2}}, "did you mean data.batch_images?"),
        ({"data": {"batch_images": 0}}, "data.batch_images: found 0, expected 'auto' or greater"),
        ({"data": {"image_size": 500}}, "data.image_size: found 500, expected"),
        ({"data": {"image_size": 512.0}}, "data.image_size: found 512.0, expected"),
        ({"data": {"mask_stride_px": 3}}, "expected 'auto' or 1, 2 or 4"),
        ({"data": {"val_share": 0.9}}, "data.val_share: found 0.9, expected less than or equal"),
        ({"optimizer": {"lr": "fast"}}, 'optimizer.lr: found "fast", expected number'),
        ({"optimizer": {"lr": True}}, "optimizer.lr: found true, expected number"),
        ({"trackers": {"use_wandb": "yes"}}, 'trackers.use_wandb: found "yes", expected boolean'),
        ({"model": {"train": ["decoder", "head"]}}, 'found ["decoder", "head"], expected'),
        ({"model": {"train": []}}, "model.train: found []"),
        ({"model": {"train": ["trunk"], "lora_rank": 4}}, "not both"),
        ({"prompts": {"point": 0.5, "box": 0.2}}, "must add up to 1, but make 0.7"),
        ({"limits": {"epochs": None, "minutes": 3.0}}, "epochs or steps must be set"),
        ({"optimizer": 3}, "optimizer: found 3, expected"),
    ],
)
def test_what_cannot_be_used_is_named_with_what_was_expected(tree, told):
    with pytest.raises(ConfigError) as error:
        make_config(tree)

    assert told in str(error.value)


def test_all_problems_are_told_at_once():
    with pytest.raises(ConfigError) as error:
        make_config({"optimizer": {"lr": -1.0, "clip": 2.0}, "seed": "x"})

    assert len(error.value.problems) == 3


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("optimizer: [", "no YAML"),
        ("- a\n- b\n", "expected sections"),
        ("seed: 1\nseed: 2\n", "seed is given twice"),
        ("[a]: 1\n", "no YAML: a list or a mapping cannot be a key"),
        ("? {a: b}\n", "no YAML: a list or a mapping cannot be a key"),
        ("2024-01-01: 1\n", "a name is no text but a date"),
        ("seed: &x [*x]\n", "a value holds itself"),
        ("data: &x {size: *x}\n", "a value holds itself"),
        ("a: !!python/object/apply:os.system [ls]\n", "no YAML"),
        (b"\xff\xfe\x00", "no YAML"),
        ("optimizer: {lr: .inf}\n", "optimizer.lr"),
        ("optimizer: {lr: .nan}\n", "optimizer.lr"),
        ("seed: 2024-01-01\n", "seed"),
    ],
)
def test_files_that_are_no_settings_are_refused(tmp_path, text, told):
    path = tmp_path / "train.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())

    with pytest.raises(ConfigError, match=told):
        read_config(path)


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("seed", "expected section.key=value"),
        ("optimizer.=1", "expected section.key=value"),
        ("=1", "expected section.key=value"),
        ("seed.x=1", "seed.x: there is no such setting"),
        ("optimizer.lr=[", "no YAML"),
        ("optimizer.warmup=3", "did you mean optimizer.warmup_steps?"),
    ],
)
def test_overrides_that_cannot_be_used_are_refused(override, told):
    with pytest.raises(ConfigError, match=told.replace("?", r"\?")):
        read_config(overrides=[override])


@given(st.text(max_size=60))
def test_no_text_breaks_the_reader(text):
    try:
        read_config(overrides=[text])
    except ConfigError as error:
        assert error.problems


def test_settings_cannot_be_changed_afterwards():
    config = TrainConfig()

    with pytest.raises(ValueError, match="frozen"):
        config.seed = 3
