"""The device and the CPU threads that a run computes with."""

import os

import torch
from torch import nn

from src.config import Config
from src.errors import InputError

LARGE = 2**26  # multiply-adds of one forward pass; docs/benchmarks.md has the figures


def find_device(name: str) -> torch.device:
    available = {"cpu": True, "cuda": torch.cuda.is_available()}
    available["mps"] = torch.backends.mps.is_available()
    if name == "auto":
        name = next(device for device in ("cuda", "mps", "cpu") if available[device])
    if not available[name]:
        usable = ", ".join(device for device, present in available.items() if present)
        raise InputError(f"trainer.device={name}: not available here; available: auto, {usable}")
    return torch.device(name)


def visible_gpus(name: str) -> list[str]:
    """The GPUs that this process may use, by the names that CUDA_VISIBLE_DEVICES has for them.

    Args:
        name: `trainer.device`; those that it leaves out don't count.
    """
    count = torch.cuda.device_count() if name in ("auto", "cuda") else 0
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    named = [word.strip() for word in visible.split(",") if word.strip()]
    return named[:count] or [str(number) for number in range(count)]


def bears_forks() -> bool:
    """Whether a fork of this process can train: an accelerator's driver serves only its process."""
    return find_device("auto").type == "cpu"


def device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def set_up_torch(config: Config) -> None:
    """Make the process deterministic, with one thread, so that a model is built the same."""
    torch.set_num_threads(1)
    if config.trainer.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS needs it to repeat
        os.environ.setdefault("TORCHINDUCTOR_DETERMINISTIC", "1")  # for models that are compiled
    # use_deterministic_algorithms would import torch's compiler.
    torch.set_deterministic_debug_mode("error" if config.trainer.deterministic else "default")
    # The mode also fills every new tensor, to find code that reads memory it never wrote.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def set_threads(config: Config, model: nn.Module, had: int | None = None) -> None:
    """Set the threads that a run trains with, for the whole process; never the machine's number.

    The config's number counts, else the one that the run had before, because another number adds
    up in another order, else the one that follows from the size of the work.
    """
    torch.set_num_threads(config.trainer.threads or had or follow(config, model))


def follow(config: Config, model: nn.Module) -> int:
    """The threads that follow from the size of the work."""
    return threads_for(config.data.batch_size, size(model))


def size(model: nn.Module) -> int:
    """How many numbers a model's parameters hold."""
    return sum(parameter.numel() for parameter in model.parameters())


def threads_for(batch_size: int, parameters: int) -> int:
    """The number of threads where the config names none: two for a large model, else one.

    It follows from the config and the data's shapes alone. Another number of threads adds up in
    another order, so a number taken from the machine would give each machine other bits. Threads
    of a small model spend their time waiting for each other, and beside busy processes much more.

    Args:
        batch_size: samples in a step, >= 1.
        parameters: numbers in the model, >= 0. Times the batch they make the multiply-adds of a
            forward pass, exactly so for linear layers.
    """
    return 2 if batch_size * parameters >= LARGE else 1
