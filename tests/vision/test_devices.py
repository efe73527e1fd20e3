import pytest
import torch

from vision.devices import chosen_device, device_name
from vision.sam2 import load_segmenter


@pytest.mark.parametrize("device", ["cpu", "mps", "cuda:1"])
def test_a_device_that_is_named_is_taken(device):
    assert chosen_device(device) == device


def test_auto_is_what_there_is_and_a_segmenter_says_where_it_is():
    expected = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    assert device_name(chosen_device("auto")) == expected
    assert load_segmenter("demo", "demo", "auto").device_name == expected
    assert load_segmenter("demo", "demo", "cpu").device_name == "cpu"


def test_other_devices_are_called_by_their_kind():
    assert [device_name(name) for name in ("cpu", "mps", "mps:0")] == ["cpu", "mps", "mps"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_has_the_same_name_however_it_is_called():
    assert device_name("cuda") == device_name("cuda:0") == torch.cuda.get_device_name(0)
