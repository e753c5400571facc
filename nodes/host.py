"""What touches ComfyUI itself: devices, memory, progress, interrupts. See also ``host_files``."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, cast
from weakref import finalize

import comfy.model_management as management
import comfy.model_patcher
import comfy.utils
import torch
from comfy.model_patcher import ModelPatcher
from comfy_execution.graph_utils import ExecutionBlocker
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..gpen_arch.device.allocation import release_freed_memory
from ..gpen_arch.device.choice import resolve_dtype
from ..gpen_arch.progress import ProgressCallback
from . import ownership, shortage
from .tensors import image_of

# Devices and memory -------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Hosted:
    """A network in the care of ComfyUI's model manager.

    ``owner`` is what callers work with (the network itself, or a detector around it).
    """

    name: str
    owner: Any
    network: nn.Module
    patcher: ModelPatcher
    dtype: torch.dtype


def compute_device() -> torch.device:
    """Where networks run."""
    return management.get_torch_device()


def adopt(name: str, owner: Any, network: nn.Module, dtype: torch.dtype) -> Hosted:
    """Hand a network over to the model manager, which decides when it is on the GPU."""
    # Newer cores put there, while they start, a patcher whose memory others take as they need it.
    kind = getattr(comfy.model_patcher, "CoreModelPatcher", ModelPatcher)
    patcher = kind(
        _named(name, network),
        load_device=compute_device(),
        offload_device=management.unet_offload_device(),
    )
    return Hosted(name, owner, network, patcher, dtype)


def _named(name: str, network: nn.Module) -> nn.Module:
    """The network inside a module of a class of that name, which is what the core's log says."""
    holder: nn.Module = type(name, (nn.Sequential,), {})(network)
    finalize(holder, _give_back, vars(holder)["_modules"]).atexit = False
    return holder


def _give_back(modules: dict[str, nn.Module]) -> None:
    """Let a network die whose last owner is gone, and the system have its memory.

    Weights are so small each that glibc would keep all of them for later.
    """
    modules.clear()
    release_freed_memory()


def let_go(role: str) -> None:
    """Forget the network of that role that was left to the manager; see :mod:`.ownership`."""
    ownership.let_go(role, management.current_loaded_models)


def choose_dtype(choice: str) -> torch.dtype:
    """The dtype of ``auto``, ``fp32``, ``fp16`` or ``bf16``."""
    device = compute_device()
    if choice == "auto" and device.type not in ("cpu", "mps"):
        # The core knows on which cards half precision is slow or broken. Of Apple's it says that it
        # works; nobody has run ours there yet, so they get float32, as on the command line.
        return torch.float16 if management.should_use_fp16(device) else torch.float32
    return resolve_dtype(device, choice)


@contextmanager
def in_use(*models: Hosted, activations: int = 0) -> Generator[None, None, None]:
    """Have networks on the compute device, with room for ``activations`` bytes of work.

    While it lasts, an interrupt by the user raises from within the work: before every operation of
    torch, so that a face or a tile that takes seconds does not delay it.
    """
    patchers = [model.patcher for model in models]
    if patchers:
        management.load_models_gpu(patchers, memory_required=activations, force_full_load=True)
    for model in models:
        # The manager moves the modules that have parameters, newer ones those of the core's own
        # layers; ours have buffers elsewhere.
        model.network.to(model.patcher.load_device)
        ownership.hold(model, model.patcher, management.current_loaded_models)
    with shortage.at_work(*patchers), Interruptible():
        yield


class Interruptible(TorchFunctionMode):
    """Let an interrupt by the user raise before any operation of torch in this thread."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        check_interrupt()
        return func(*args, **(kwargs or {}))


def in_the_cores_care(descriptor: Any) -> Hosted | None:
    """An UPSCALE_MODEL that the core has handed to its manager, as newer ones do; or None."""
    patcher = getattr(descriptor, "patcher", None)
    if not isinstance(patcher, ModelPatcher):
        return None
    dtype = next(descriptor.model.parameters()).dtype
    return Hosted("upscale_model", descriptor, descriptor.model, patcher, dtype)


@contextmanager
def borrowed(descriptor: Any, activations: int) -> Generator[None, None, None]:
    """Have an UPSCALE_MODEL in nobody's care on the compute device, and off it afterwards."""
    make_room(management.module_size(descriptor.model) + activations)
    descriptor.to(compute_device())
    try:
        with Interruptible():
            yield
    finally:
        descriptor.to("cpu")


def make_room(needed: int) -> None:
    """Unload other models until ``needed`` bytes are free; not for use within :func:`in_use`."""
    device = compute_device()
    if not management.is_device_cpu(device):
        management.free_memory(needed, device)


def working_device(needed: int) -> torch.device:
    """Where to work on whole frames: the compute device if ``needed`` bytes are free there.

    Ask for the room beforehand (``activations`` of :func:`in_use`, or :func:`make_room`): to make
    it now could unload the very networks that are at work.
    """
    device = compute_device()
    if management.is_device_cpu(device):
        return device
    return device if _free_bytes(device) > needed else torch.device("cpu")


def free_memory() -> int:
    """Bytes that are free on the compute device, or could be freed by unloading other models."""
    device = compute_device()
    if management.is_device_cpu(device):
        return _free_bytes(device)
    return int(cast(int, management.get_total_memory(device)) * 0.8)


def empty_cache() -> None:
    """Give memory that torch holds for later back to the device, whatever device that is."""
    management.soft_empty_cache()


def _free_bytes(device: torch.device) -> int:
    # Newer patchers count what the core could take from its other models at once; any of them.
    loaded = management.loaded_models()
    ask = next(
        (model.get_free_memory for model in loaded if hasattr(model, "get_free_memory")),
        management.get_free_memory,
    )
    # Asked for one figure, the core gives one; its signature allows for two.
    return int(cast(int, ask(device)))


def relieved() -> AbstractContextManager[None]:
    """Where memory runs out within, unload other models; at last raise the host's own error."""
    unload = partial(shortage.unload_others, management, compute_device())
    return shortage.relieved(unload, management.OOM_EXCEPTION)


# Pictures out -------------------------------------------------------------------------------------


def finish(pixels: Tensor, alpha: Tensor | None = None) -> Tensor:
    """An IMAGE on the device, and of the dtype, that ComfyUI passes between nodes."""
    return image_of(
        pixels, alpha, device=management.intermediate_device(), dtype=intermediate_dtype()
    )


def finish_mask(mask: Tensor) -> Tensor:
    """A MASK (B, H, W) on the device that ComfyUI passes between nodes."""
    return mask.to(device=management.intermediate_device(), dtype=torch.float32).contiguous()


def between_nodes() -> tuple[torch.device, torch.dtype]:
    """Device and type of the pictures that ComfyUI passes between nodes."""
    return management.intermediate_device(), intermediate_dtype()


def intermediate_dtype() -> torch.dtype:
    """What newer cores ask for between nodes; older ones always use float32."""
    ask = getattr(management, "intermediate_dtype", None)
    return torch.float32 if ask is None else ask()


def nothing() -> ExecutionBlocker:
    """An output without a value: the nodes behind it are skipped, without an error."""
    return ExecutionBlocker(None)


# Progress and interrupts --------------------------------------------------------------------------


def check_interrupt() -> None:
    """Raise ComfyUI's own exception if the user has asked to stop."""
    management.throw_exception_if_processing_interrupted()


def progress_bar() -> ProgressCallback:
    """A callback that moves the running node's progress bar, and raises on an interrupt."""
    bar = comfy.utils.ProgressBar(1)

    def report(done: int, total: int) -> None:
        check_interrupt()
        bar.update_absolute(done, max(total, 1))

    return report
