"""The rules of the gate, as `configs/gate.yaml` has them."""

from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vision.strict_yaml import StrictYamlError, load_yaml

GATE_FILE = Path(__file__).parents[1] / "configs" / "gate.yaml"


class GateFileError(ValueError):
    """A file that holds no rules of a gate; all problems are listed."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Improve(_Part):
    """The candidate must be better.

    Attributes:
        metric: Name of the number, as in the table `evaluations`.
        must: `improve`.
        better: Whether higher numbers are better, or lower ones.
        beyond_noise: Whether the confidence interval of the gain must lie above 0.
        min_gain: What the mean gain must be at least, in the unit of the number.
    """

    metric: str = Field(min_length=1)
    must: Literal["improve"]
    better: Literal["higher", "lower"] = "higher"
    beyond_noise: bool = True
    min_gain: float = Field(default=0.0, ge=0, allow_inf_nan=False)


class Hold(_Part):
    """The candidate must not be worse by more than a tolerance.

    Attributes:
        metric: Name of the number, as in the table `evaluations`.
        must: `hold`.
        better: Whether higher numbers are better, lower ones, or neither: then the number must stay
            near that of the live model.
        tolerance: How much worse the mean may be, in the unit of the number.
        relative: Whether the tolerance is a share of the live model's mean instead. Where the
            number must stay near it, 1 allows half of it to twice as much.
    """

    metric: str = Field(min_length=1)
    must: Literal["hold"]
    better: Literal["higher", "lower", "same"] = "higher"
    tolerance: float = Field(ge=0, allow_inf_nan=False)
    relative: bool = False


Rule = Annotated[Improve | Hold, Field(discriminator="must")]


class Gate(_Part):
    """When a candidate may become the live model: every rule must hold.

    Attributes:
        rules: The rules.
        confidence: Of the intervals, above 0 and below 1.
        resamples: How often images are drawn for an interval.
        seed: Where the draws begin.
        min_images: The fewest images that may decide, of which those that are alike are one.
    """

    rules: tuple[Rule, ...] = Field(min_length=1)
    confidence: float = Field(default=0.95, gt=0, lt=1)
    resamples: int = Field(default=10_000, ge=100, le=1_000_000)
    seed: int = Field(default=0, ge=0)
    min_images: int = Field(default=20, ge=2)


def load_gate(path: Path = GATE_FILE) -> Gate:
    """Read the rules of a gate.

    Raises:
        GateFileError: The file cannot be read, is not YAML, or holds no rules; unknown keys are
            named with the nearest known one.
    """
    try:
        return Gate.model_validate(load_yaml(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, StrictYamlError) as error:
        raise GateFileError(f"{path}: {error}") from error
    except ValidationError as error:
        problems = "; ".join(map(_problem, error.errors(include_url=False)))
        raise GateFileError(f"{path}: {problems}") from error


def _problem(found: Any) -> str:
    *parents, last = found["loc"] or ("the file",)
    # Of a rule pydantic names its kind too, which is no key of the file.
    place = ".".join(str(part) for part in found["loc"] if part not in _KINDS) or "the file"
    if found["type"] != "extra_forbidden":
        return f"{place}: {found['msg']}, found {str(found['input'])[:80]!r}"
    known = _KINDS.get(parents[-1], Gate) if parents else Gate
    near = get_close_matches(str(last), known.model_fields, 1)
    hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known.model_fields)}"
    return f"{place}: unknown key; {hint}"


_KINDS: dict[str, type[_Part]] = {"improve": Improve, "hold": Hold}
