"""Every worker has a GPU of its own, and a request that cannot be met is one sentence."""

import sys

import pytest

from nosce.errors import UsageError
from nosce.pipeline import devices
from nosce.pipeline.devices import DeviceRequest, assign_devices, list_gpus, parse_gpu_list

FOUR = ("GPU-a", "GPU-b", "GPU-c", "GPU-d")


def test_one_worker_a_gpu_unless_more_are_asked_for():
    """Workers go round the GPUs, so that few workers share none."""
    assert assign_devices(DeviceRequest(), FOUR, 64).visible_gpus == FOUR
    assert assign_devices(DeviceRequest(workers=2), FOUR, 64).visible_gpus == FOUR[:2]
    assert assign_devices(DeviceRequest(per_gpu=2), FOUR, 64).visible_gpus == FOUR * 2
    assert assign_devices(DeviceRequest(per_gpu=2, workers=5), FOUR, 64).visible_gpus == (*FOUR, "GPU-a")
    assert assign_devices(DeviceRequest(device="cuda:2", per_gpu=2), FOUR, 64).visible_gpus == ("GPU-c", "GPU-c")


def test_a_training_of_several_processes_has_a_group_of_gpus():
    """Groups do not overlap; a GPU left over is not used."""
    assert assign_devices(DeviceRequest(processes=2), FOUR, 64).visible_gpus == ("GPU-a,GPU-b", "GPU-c,GPU-d")
    assert assign_devices(DeviceRequest(processes=3), FOUR, 64).visible_gpus == ("GPU-a,GPU-b,GPU-c",)
    assert assign_devices(DeviceRequest(processes=2), (), 8).n_workers == 4


def test_without_gpus_one_worker_a_core():
    """A machine without GPUs, or a command that wants none, has as many workers as cores."""
    for request, gpus in ((DeviceRequest(), ()), (DeviceRequest(device="cpu"), FOUR)):
        devices = assign_devices(request, gpus, 6)
        assert (devices.n_workers, devices.device, devices.visible_gpus) == (6, "cpu", ())


@pytest.mark.parametrize(
    ("asked", "gpus", "sentence"),
    [
        ({"device": "cuda"}, (), "no GPU is to be seen here"),
        ({"device": "cuda:4"}, FOUR, "the last of 4 GPUs is cuda:3"),
        ({"workers": 9, "per_gpu": 2}, FOUR, "take 8 workers, or --per-gpu 3"),
        ({"processes": 5}, FOUR, "--processes 5 needs as many GPUs"),
        ({"processes": 2, "per_gpu": 2}, FOUR, "take one of the two"),
        ({"per_gpu": 0}, FOUR, "--per-gpu 0 shares no GPU"),
        ({"workers": 0}, FOUR, "--workers 0 cannot be started"),
        ({"device": "cuda0"}, FOUR, "--device cuda0 is not known"),
    ],
)
def test_what_cannot_be_met_is_refused(asked, gpus, sentence):
    """The sentence says what was found and what to take."""
    with pytest.raises(UsageError, match=sentence):
        assign_devices(DeviceRequest(**asked), gpus, 8)


@pytest.mark.parametrize(
    ("variable", "gpus"),
    [("2,3", ("2", "3")), ("", ()), ("-1", ()), ("0,-1,2", ("0",)), ("MIG-abc", ("MIG-abc",)), (" 1 , 0", ("1", "0"))],
)
def test_a_limit_on_the_visible_gpus_is_kept(monkeypatch, variable, gpus):
    """What a job script allows is all that there is; like CUDA, nothing behind an invalid entry."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", variable)
    assert list_gpus() == gpus


def test_gpus_are_named_by_uuid_and_partitioned_ones_by_their_parts():
    """The listing is that of nvidia-smi, with one whole GPU and one of two parts."""
    text = (
        "GPU 0: NVIDIA A100-SXM4-80GB (UUID: GPU-1b2c)\n"
        "GPU 1: NVIDIA A100-SXM4-80GB (UUID: GPU-5d4e)\n"
        "  MIG 3g.40gb     Device  0: (UUID: MIG-77aa)\n"
        "  MIG 3g.40gb     Device  1: (UUID: MIG-88bb)\n"
    )
    assert parse_gpu_list(text) == ("GPU-1b2c", "MIG-77aa", "MIG-88bb")


@pytest.mark.parametrize(
    ("driver", "listed", "counted", "gpus"),
    [
        (False, "GPU 0: (UUID: GPU-a)", "1", ()),  # nvidia-smi may be installed where there is no card
        (True, "GPU 0: (UUID: GPU-a)", "1", ("GPU-a",)),
        (True, "", "2", ("0", "1")),  # a container without nvidia-smi
        (True, "", "0", ()),
        (True, "", "", ()),
    ],
)
def test_gpus_are_found_without_nvidia_smi(monkeypatch, tmp_path, driver, listed, counted, gpus):
    """A card that only CUDA sees must not be left idle without a word."""
    (tmp_path / "driver").touch()
    monkeypatch.setattr(devices, "DRIVER_SIGNS", (str(tmp_path / ("driver" if driver else "none")),))
    monkeypatch.setattr(devices, "_output_of", lambda command: counted if command[0] == sys.executable else listed)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert list_gpus() == gpus
