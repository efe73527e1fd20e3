"""The rules by which segments are accepted without a person: `configs/curation.yaml`."""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from storage.schemas.curation import RULES_PREFIX
from tasks.nearest_name import unknown_name
from vision.clip import UNKNOWN
from vision.strict_yaml import StrictYamlError, load_yaml

CONFIGS_FOLDER = Path(__file__).resolve().parents[1] / "configs"

Share = Annotated[float | None, Field(ge=0, le=1)]
Count = Annotated[int | None, Field(ge=1)]


class CurationRulesError(ValueError):
    """Rules that cannot be read or used; the message says which and why."""


class Thresholds(BaseModel):
    """What a segment needs to be accepted; what is left out or null is not asked for.

    A value that a segment does not have reaches no minimum.

    Attributes:
        accept: False accepts none.
        min_predicted_iou: Mask quality as the model says, 0-1.
        min_stability_score: How little the mask changes with its threshold, 0-1.
        min_score: Probability of the label, 0-1.
        min_margin: Lead over the second label, 0-1.
        min_area_px: Pixels in the mask.
        max_area_px: Pixels in the mask.
        min_area_share: Share of the image that the mask covers, 0-1.
        max_area_share: Share of the image that the mask covers, 0-1.
        max_per_label: At most so many segments of a label in the dataset, the best scores first.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    accept: bool = True
    min_predicted_iou: Share = None
    min_stability_score: Share = None
    min_score: Share = None
    min_margin: Share = None
    min_area_px: Count = None
    max_area_px: Count = None
    min_area_share: Share = None
    max_area_share: Share = None
    max_per_label: Count = None

    @model_validator(mode="after")
    def _ranges_hold_something(self) -> "Thresholds":
        for unit in ("px", "share"):
            least, most = getattr(self, f"min_area_{unit}"), getattr(self, f"max_area_{unit}")
            if least is not None and most is not None and least > most:
                raise ValueError(f"min_area_{unit} is {least}, more than max_area_{unit}, {most}")
        return self


class CurationRules(Thresholds):
    """Rules of a dataset: thresholds for all labels, and others for some.

    Attributes:
        max_per_image: At most so many segments of an image, the best scores first.
        annotated_images: Whether segments are accepted on images that came with annotations too;
            there, most objects are curated already.
        labels: By label, thresholds instead of the general ones; null lifts one. `unknown` is
            accepted only if it is here.
    """

    max_per_image: Count = None
    annotated_images: bool = False
    labels: dict[str, Thresholds] = {}

    @property
    def reviewer(self) -> str:
        """As whom the rules decide: `rules:` and the first 12 hex digits of their SHA-256."""
        # Defaults are left out, so that what is added to rules later changes no name.
        chosen = self.model_dump(mode="json", exclude_unset=True)
        content = json.dumps(chosen, sort_keys=True, ensure_ascii=False)
        return f"{RULES_PREFIX}{hashlib.sha256(content.encode()).hexdigest()[:12]}"

    def by_label(self) -> list[dict[str, Any]]:
        """The thresholds of each label that has its own, and those of all others as label None."""
        general = {name: getattr(self, name) for name in Thresholds.model_fields}
        rows = [{"label": None} | general]
        for label, own in ({UNKNOWN: Thresholds(accept=False)} | self.labels).items():
            rows.append({"label": label} | general | own.model_dump(exclude_unset=True))
        return rows


def load_rules(name_or_path: str) -> CurationRules:
    """Read rules.

    Args:
        name_or_path: A file in `configs/` without its suffix, or the path of a YAML file.

    Raises:
        CurationRulesError: No such file, not YAML, or no rules; all problems are listed.
    """
    path = Path(name_or_path)
    if path.suffix not in {".yaml", ".yml"}:
        path = CONFIGS_FOLDER / f"{name_or_path}.yaml"
        if "/" in name_or_path or not path.is_file():
            raise CurationRulesError(
                f"no rules {name_or_path!r}: give the name of a file in configs/ such as curation, "
                "or the path of a .yaml file"
            )
    try:
        content = load_yaml(path.read_text(encoding="utf-8"))
        return CurationRules.model_validate({} if content is None else content)
    except (OSError, UnicodeDecodeError, StrictYamlError) as error:
        raise CurationRulesError(f"{path}: {error}") from error
    except ValidationError as error:
        problems = "; ".join(_problem(problem) for problem in error.errors(include_url=False))
        raise CurationRulesError(f"{path}: {problems}") from error


def check_labels(rules: CurationRules, labels: "tuple[str, ...]") -> None:
    """Refuse rules for labels that no segment can have.

    Args:
        rules: The rules.
        labels: The labels of the set that segments are named with.

    Raises:
        CurationRulesError: If there are such.
    """
    known = (*labels, UNKNOWN)
    wrong = [unknown_name("label", label, known) for label in rules.labels if label not in known]
    if wrong:
        raise CurationRulesError("the rules are for another label set: " + "; ".join(wrong))


def _problem(problem: Any) -> str:
    *place, name = problem["loc"] or ("the file",)
    within = f" in {'.'.join(map(str, place))}" if place else ""
    if problem["type"] == "extra_forbidden":
        known = CurationRules if not place else Thresholds
        return unknown_name("key", str(name), tuple(known.model_fields)) + within
    message = problem["msg"].removeprefix("Value error, ")
    return f"{'.'.join(map(str, (*place, name)))}: {message}, found {problem['input']!r}"
