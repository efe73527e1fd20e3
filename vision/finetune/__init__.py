"""Fine-tune SAM 2 on images with exact masks.

`vision.finetune.run.finetune` does it, with torch; what is exported here needs no torch.
"""

from vision.finetune.config import TrainConfig
from vision.finetune.config_file import DEFAULT_FILE, make_config, read_config
from vision.finetune.errors import (
    ConfigError,
    FinetuneError,
    NonFiniteLossError,
    NoSpaceError,
    TrainingDataError,
)
from vision.finetune.folder_images import FolderImages, read_folder
from vision.finetune.training_images import TrainingImage

__all__ = [
    "DEFAULT_FILE",
    "ConfigError",
    "FinetuneError",
    "FolderImages",
    "NoSpaceError",
    "NonFiniteLossError",
    "TrainConfig",
    "TrainingDataError",
    "TrainingImage",
    "make_config",
    "read_config",
    "read_folder",
]
