"""Label sets: the names CLIP may give, the prompts behind them, and when to say `unknown`."""

from __future__ import annotations

import hashlib
import json
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from vision.clip.results import UNKNOWN
from vision.strict_yaml import StrictYamlError, load_yaml

LABELS_FOLDER = Path(__file__).resolve().parents[2] / "configs" / "labels"

Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
Channel = Annotated[int, Field(ge=0, le=255)]


class LabelSetError(ValueError):
    """A label set that cannot be read or used; the message says which and why."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


Phrases = tuple[Words, ...]
Language = Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]+)*$")]
ByLanguage = dict[Language, Annotated[Phrases, Field(min_length=1)]]


class Label(_Part):
    """One name and the phrases that describe it.

    Attributes:
        name: The label as stored and counted.
        prompts: Phrases that fill the templates, or such phrases by language (`en: [...]`); the
            name itself when none are given.
        min_probability: For this label, instead of the set's.
    """

    name: Words
    prompts: Phrases | ByLanguage = ()
    min_probability: float | None = Field(default=None, ge=0, le=1)

    @property
    def phrases(self) -> Phrases | ByLanguage:
        """The prompts, or the name where there are none."""
        return self.prompts or (self.name,)


class UnknownRule(_Part):
    """When a segment stays unnamed.

    Attributes:
        min_probability: The best label needs at least this probability.
        min_margin: ... and at least this lead over the next candidate, of which all background
            prompts together are one. Below 0, they may fit better by so much: for models that
            doubt too easily.
    """

    min_probability: float = Field(default=0.3, ge=0, le=1)
    min_margin: float = Field(default=0.0, ge=-1, le=1)


class CropStyle(_Part):
    """How a segment is cut out for CLIP; always padded to a square, never cropped.

    Attributes:
        mode: `box` keeps what lies around the mask, `masked` paints it over, `dimmed` only dims it.
        context: Side of the crop relative to the longer side of the mask's box.
        dim: For `dimmed`: how much of `outside_rgb` is mixed in around the mask, 0 to 1.
        outside_rgb: Colour around the mask (`masked`, `dimmed`) and of the padding.
    """

    mode: Literal["box", "masked", "dimmed"] = "box"
    context: float = Field(default=1.2, ge=1, le=8)
    dim: float = Field(default=0.7, ge=0, le=1)
    outside_rgb: tuple[Channel, Channel, Channel] = (122, 116, 104)


class LabelSet(_Part):
    """A set of labels with everything that decides a name, except the model.

    Attributes:
        name: Name of the set.
        labels: At least one; names are unique and none is `unknown`.
        templates: Sentences with one `{}` each, for all languages or by language; a label's
            embedding is the mean over all of its phrases in all templates of their language.
        background: Whole sentences for what is none of the labels; used as they are.
        unknown: When a segment stays unnamed.
        crop: How segments are cut out: one way, or up to four, whose embeddings are averaged.
        temperature: Logits are divided by it before they become probabilities: above 1 for models
            that are too sure. `vision.clip.calibration` fits it.
    """

    name: Words
    labels: tuple[Label, ...] = Field(min_length=1)
    templates: Annotated[Phrases, Field(min_length=1)] | ByLanguage = ("a photo of a {}.",)
    background: Phrases = ()
    unknown: UnknownRule = UnknownRule()
    crop: tuple[CropStyle, ...] = Field(default=(CropStyle(),), min_length=1, max_length=4)
    temperature: float = Field(default=1.0, gt=0, le=100)

    @field_validator("crop", mode="before")
    @classmethod
    def _one_crop_or_several(cls, crop: object) -> object:
        return [crop] if isinstance(crop, dict | CropStyle) else crop

    @field_validator("templates")
    @classmethod
    def _one_gap_each(cls, templates: Phrases | ByLanguage) -> Phrases | ByLanguage:
        for template in chain.from_iterable(_by_language(templates).values()):
            if template.count("{}") != 1 or set("{}") & set(template.replace("{}", "")):
                raise ValueError(f"a template needs exactly one {{}}, got {template!r}")
        return templates

    @model_validator(mode="after")
    def _names_are_distinct(self) -> LabelSet:
        names = self.names
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"labels given twice: {', '.join(repeated)}")
        if UNKNOWN in names:
            raise ValueError(f"{UNKNOWN!r} is what unnamed segments are called; choose another")
        return self

    @model_validator(mode="after")
    def _every_language_has_templates(self) -> LabelSet:
        if isinstance(self.templates, dict):
            for label in self.labels:
                if missing := sorted(_by_language(label.phrases).keys() - self.templates.keys()):
                    spoken = ", ".join(language or "no language" for language in missing)
                    raise ValueError(f"no templates for the prompts of {label.name!r} in {spoken}")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """The label names, in order."""
        return tuple(label.name for label in self.labels)

    @property
    def label_set_id(self) -> str:
        """Name and the first 12 hex digits of the SHA-256 of the whole content."""
        # Defaults are left out, so that what is added to label sets later changes no id.
        chosen = self.model_dump(mode="json", exclude_defaults=True)
        content = json.dumps(chosen, sort_keys=True, ensure_ascii=False)
        return f"{self.name}-{hashlib.sha256(content.encode()).hexdigest()[:12]}"

    def captions(self, label: Label) -> list[str]:
        """Every phrase of a label in every template of its language."""
        captions = []
        for language, phrases in _by_language(label.phrases).items():
            templates = self.templates
            if isinstance(templates, dict):
                templates = templates[language]
            captions += [t.replace("{}", phrase) for phrase in phrases for t in templates]
        return captions

    def min_probability(self, label: Label) -> float:
        """The probability a label needs."""
        own = label.min_probability
        return self.unknown.min_probability if own is None else own


def _by_language(phrases: Phrases | ByLanguage) -> dict[str, Phrases]:
    return {"": phrases} if isinstance(phrases, tuple) else dict(phrases)


def load_label_set(name_or_path: str | Path) -> LabelSet:
    """Read a label set.

    Args:
        name_or_path: A file in `configs/labels/` without its suffix, or the path of a YAML file.

    Raises:
        LabelSetError: No such set, not YAML, or not a label set; all problems are listed.
    """
    path = Path(name_or_path)
    if path.suffix not in {".yaml", ".yml"}:
        path = LABELS_FOLDER / f"{name_or_path}.yaml"
        if "/" in str(name_or_path) or not path.is_file():
            known = ", ".join(sorted(p.stem for p in LABELS_FOLDER.glob("*.yaml")))
            raise LabelSetError(
                f"no label set {str(name_or_path)!r}: give one of {known}, or a .yaml path"
            )
    try:
        content: Any = load_yaml(path.read_text(encoding="utf-8"))
        return LabelSet.model_validate(content)
    except (OSError, UnicodeDecodeError, StrictYamlError) as error:
        raise LabelSetError(f"{path}: {error}") from error
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc'])) or 'the file'}: {problem['msg']}"
            for problem in error.errors()
        )
        raise LabelSetError(f"{path}: {problems}") from error
