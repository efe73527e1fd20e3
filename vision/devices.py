"""Which device the masks are computed on, and what it is called."""


def chosen_device(setting: str) -> str:
    """The device that a segmenter takes.

    Args:
        setting: `cpu`, `cuda`, `cuda:N`, `mps`; `auto` takes an accelerator if there is one.
    """
    if setting != "auto":
        return setting
    # Torch takes seconds to import, and who only reads names of devices does not need it.
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def device_name(device: str) -> str:
    """What a device is called in tables and reports, the same on every machine that has one.

    Args:
        device: As `chosen_device` returns it.

    Returns:
        The name of the GPU, such as `NVIDIA H100 80GB HBM3`; of other devices their kind, such as
        `cpu` or `mps`.

    Raises:
        RuntimeError, AssertionError: If it is a GPU that this machine has not, as torch says it.
    """
    kind = device.partition(":")[0]
    if kind != "cuda":
        return kind
    import torch

    return torch.cuda.get_device_name(device)
