"""What can go wrong with fine-tuning.

FinetuneError
├── ConfigError            settings that are unknown, out of range or at odds with each other
├── TrainingDataError      images that nothing can be learnt from
├── MissingExtraError      a package that is only needed for what was asked
├── NonFiniteLossError     the loss or its gradient is infinite or no number
├── OutOfMemoryError       a step does not fit the accelerator
├── FolderInUseError       another process trains in the same folder
├── OtherRunError          the folder holds the checkpoints of another run
├── CheckpointError        no checkpoint of a run can be used
└── NoSpaceError           the disk is full
"""

from collections.abc import Sequence
from pathlib import Path


class FinetuneError(Exception):
    """Fine-tuning cannot start or go on."""


class ConfigError(FinetuneError, ValueError):
    """Settings that cannot be used.

    Attributes:
        problems: One line each: the dotted name, what was found and what was expected.
    """

    def __init__(self, source: str, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        super().__init__("\n  ".join([f"{source}:", *self.problems]))


class TrainingDataError(FinetuneError, ValueError):
    """Images that nothing can be learnt from."""


class MissingExtraError(FinetuneError, ImportError):
    """A package that is not installed.

    Attributes:
        extra: The extra of this project that brings it.
    """

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        self.extra = extra
        super().__init__(f"{purpose} needs {package}: pip install 'segmill[{extra}]'")


class NonFiniteLossError(FinetuneError, ArithmeticError):
    """The loss of a step, or its gradient, is infinite or no number.

    Attributes:
        step: The step, which changed no weights.
        image_ids: The images of its batch.
    """

    def __init__(self, step: int, value: float, image_ids: Sequence[str]) -> None:
        self.step = step
        self.image_ids = list(image_ids)
        super().__init__(
            f"the loss or its gradient became {value} in step {step}, on the images "
            f"{', '.join(image_ids)}. The weights before that are kept in the last checkpoint; "
            "look at these images, or lower optimizer.lr"
        )


class OutOfMemoryError(FinetuneError, MemoryError):
    """A step does not fit the accelerator."""


class FolderInUseError(FinetuneError):
    """Another process trains in the same folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"another process is training in {folder}")


class OtherRunError(FinetuneError):
    """The folder holds the checkpoints of a run with other settings, data or weights.

    Attributes:
        differences: What differs.
    """

    def __init__(self, folder: Path, differences: Sequence[str]) -> None:
        self.differences = list(differences)
        super().__init__(
            f"{folder} holds checkpoints of another run: {'; '.join(differences)}. "
            "Train in another folder, or start afresh (resume=False)"
        )


class CheckpointError(FinetuneError):
    """No checkpoint of a run can be used."""


class NoSpaceError(FinetuneError, OSError):
    """The disk is full; what was on it before is intact."""

    def __init__(self, folder: Path, needed_bytes: int, free_bytes: int) -> None:
        super().__init__(
            f"no space to save to {folder}: {needed_bytes:,} bytes are needed and {free_bytes:,} "
            "are free. Checkpoints saved before are intact: free some space and run the same again"
        )
