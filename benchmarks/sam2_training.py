"""Fine-tuning as sam2's own package `training` does it, on images, with or without a GPU.

`training` needs what SegMill does not: `pip install --no-deps --target FOLDER pandas tensordict
submitit fvcore`, and FOLDER on PYTHONPATH.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import sam2
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

_RECIPE = Path(sam2.__file__).parent / "configs/sam2.1_training/sam2.1_hiera_b+_MOSE_finetune.yaml"
# Of the recipe for videos only what an image has: one frame, which is asked about and corrected.
_ONE_FRAME = {
    "num_frames_to_correct_for_train": 1,
    "num_init_cond_frames_for_train": 1,
    "rand_frames_to_correct_for_train": False,
    "rand_init_cond_frames_for_train": False,
}


def train_with_sam2(
    weights: Path, model_config: str, pages: Path, folder: Path, masks_per_image: int, seed: int
) -> Path:
    """Train on each image once, one a step, with sam2's recipe.

    Args:
        weights: Safetensors to begin with; parameters that it lacks are left as they are drawn.
        model_config: Name of the model's configuration in the `sam2` package.
        pages: Images and masks as SA-1B has them: `sa_N.jpg`, `sa_N.json`.
        folder: For the checkpoint and logs.
        masks_per_image: At most so many masks of an image.
        seed: Of all that is drawn.

    Returns:
        The checkpoint, `.pt`.
    """
    from training.trainer import Trainer
    from training.utils.train_utils import register_omegaconf_resolvers

    register_omegaconf_resolvers()
    os.environ.update(MASTER_ADDR="127.0.0.1", RANK="0", LOCAL_RANK="0", WORLD_SIZE="1")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        os.environ["MASTER_PORT"] = str(free.getsockname()[1])
    on_gpu = torch.cuda.is_available()
    if not on_gpu:
        # It asks for the memory of a GPU after each step, whatever it runs on.
        torch.cuda.reset_peak_memory_stats = lambda *_: None
        torch.cuda.max_memory_allocated = lambda *_: 0
    config = _config(weights, model_config, pages, folder, masks_per_image, seed, on_gpu)
    trainer: Trainer = instantiate(config.trainer, _recursive_=False)
    trainer.run()
    return folder / "checkpoints" / "checkpoint.pt"


def _config(
    weights: Path,
    model_config: str,
    pages: Path,
    folder: Path,
    masks_per_image: int,
    seed: int,
    on_gpu: bool,
) -> Any:
    recipe: Any = OmegaConf.load(_RECIPE)
    model: Any = OmegaConf.load(Path(sam2.__file__).parent / model_config).model
    trained = {
        key: value
        for key, value in recipe.trainer.model.items()
        if key.startswith(("prob_", "num_", "rand_", "add_all_", "use_act_"))
        and key not in {"num_maskmem"}
    }
    recipe.trainer.model = OmegaConf.merge(model, trained, _ONE_FRAME)
    recipe.trainer.model._target_ = "training.model.sam2.SAM2Train"
    recipe.scratch.update(
        num_frames=1, max_num_objects=masks_per_image, num_train_workers=0, num_epochs=1
    )
    recipe.launcher.experiment_log_dir = str(folder)
    trainer = recipe.trainer
    trainer.update(accelerator="cuda" if on_gpu else "cpu", seed_value=seed)
    trainer.optim.amp.enabled = on_gpu
    trainer.distributed.backend = "nccl" if on_gpu else "gloo"
    trainer.data.train.pin_memory = on_gpu
    images = trainer.data.train.datasets[0].dataset.datasets[0]
    images.multiplier = 1
    images.video_dataset = {
        "_target_": "training.dataset.vos_raw_dataset.SA1BRawDataset",
        "img_folder": str(pages),
        "gt_folder": str(pages),
    }
    trainer.checkpoint.model_weight_initializer.update(strict=False)
    trainer.checkpoint.model_weight_initializer.state_dict = {
        "_target_": "safetensors.torch.load_file",
        "filename": str(weights),
    }
    return OmegaConf.create(OmegaConf.to_container(recipe))
