"""Cost: the operations and the memory that a piece of work takes, found without doing it."""

import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True)
class Cost:
    """What a piece of work takes.

    Attributes:
        flops: Floating-point operations of its matrix products and convolutions, as PyTorch counts
            them: two for each multiplication with its addition.
        peak: Most bytes that tensors made in it occupy at any one time.
    """

    flops: int
    peak: int


def cost_of(work: Callable[[], object]) -> Cost:
    """What `work` would take: it is run on the meta device, where tensors have shapes but no data.

    Attention counts as one operation that keeps no scores, as the fused kernels of CPUs and GPUs
    have it. What single operations need besides their outputs is not seen: in channels-last memory
    that is next to nothing on a CPU (benchmarks/memory.py).

    Args:
        work: Makes all its tensors on the meta device, with modules that are there.
    """
    meter = _Meter()
    # In inference mode composite operations arrive whole: only so is attention seen as one.
    with torch.inference_mode(), FlopCounterMode(display=False) as counter, meter:
        work()
    return Cost(counter.get_total_flops(), meter.peak)


def weight_bytes(module: nn.Module, dtype: torch.dtype) -> int:
    """Bytes of a module's weights in a precision."""
    return sum(parameter.numel() for parameter in module.parameters()) * dtype.itemsize


class _Meter(TorchDispatchMode):
    """Adds up the storages of tensors as they are made, and takes them off as they are freed."""

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._known: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()

    def __torch_dispatch__(
        self,
        function: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if (
                isinstance(tensor, Tensor)
                and (storage := tensor.untyped_storage()) not in self._known
            ):
                self._known.add(storage)
                self.live += storage.nbytes()
                self.peak = max(self.peak, self.live)
                weakref.finalize(storage, self._free, storage.nbytes())
        return result

    def _free(self, size: int) -> None:
        self.live -= size
