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
    with torch.inference_mode(), meter:
        work()
    return Cost(meter.flops, meter.peak)


def weight_bytes(module: nn.Module, dtype: torch.dtype) -> int:
    """Bytes of a module's weights in a precision."""
    return sum(parameter.numel() for parameter in module.parameters()) * dtype.itemsize


@dataclass(frozen=True)
class _Operation:
    """What is known of an operation on tensors of given shapes.

    Attributes:
        flops: That it takes.
        made: Shape, strides and precision of the new tensors that it gives; None if it gives
            anything else: a view, a tensor that it was given, a number.
    """

    flops: int
    made: tuple[tuple[torch.Size, tuple[int, ...], torch.dtype], ...] | None


# PyTorch finds out anew what each operation gives, in Python, which takes most of the time of a
# plan; networks repeat themselves, and so do the ways of cutting that a plan compares.
_KNOWN: dict[object, _Operation] = {}


class _Meter(TorchDispatchMode):
    """Counts operations, adds up the storages of tensors as they are made, and takes them off as
    they are freed."""

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = self.flops = 0
        self._seen: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()

    def __torch_dispatch__(
        self,
        function: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        # Not PyTorch's tree of the arguments: it takes as long as all the rest.
        key = (function, _told(args), *map(_told, (kwargs or {}).items()))
        if known := _KNOWN.get(key):
            result = _again(known, function, args, kwargs or {})
        else:
            with FlopCounterMode(display=False) as counter:
                result = function(*args, **(kwargs or {}))
            given = tree_leaves((args, kwargs))
            known = _Operation(counter.get_total_flops(), _made(function, result, given))
            _KNOWN[key] = known
        self.flops += known.flops
        for tensor in (result,) if isinstance(result, Tensor) else tree_leaves(result):
            if (
                isinstance(tensor, Tensor)
                and (storage := tensor.untyped_storage()) not in self._seen
            ):
                self._seen.add(storage)
                self.live += storage.nbytes()
                self.peak = max(self.peak, self.live)
                weakref.finalize(storage, self._free, storage.nbytes())
        return result

    def _free(self, size: int) -> None:
        self.live -= size


def _told(value: object) -> object:
    """What of an argument decides what an operation gives; equal numbers may differ in kind."""
    if isinstance(value, Tensor):
        return value.shape, value.stride(), value.storage_offset(), value.dtype, value.device
    if isinstance(value, list | tuple):
        return tuple(map(_told, value))
    return type(value), value


def _made(function: Any, result: Any, given: Sequence[object]) -> Any:
    """See `_Operation.made`."""
    several = isinstance(result, tuple) and len(result) > 1
    results: tuple[Any, ...] = result if several else (result,)
    if function._schema.is_mutable or not all(isinstance(each, Tensor) for each in results):
        return None
    before = {each.untyped_storage()._cdata for each in given if isinstance(each, Tensor)}
    storages = [each.untyped_storage() for each in results]
    whole = all(
        each.is_meta
        and each.storage_offset() == 0
        and storage._cdata not in before
        and storage.nbytes() == each.numel() * each.element_size()
        for each, storage in zip(results, storages, strict=True)
    )
    if not whole or len({storage._cdata for storage in storages}) < len(results):
        return None
    return tuple((each.shape, each.stride(), each.dtype) for each in results)


def _again(known: _Operation, function: Any, args: Any, kwargs: Any) -> Any:
    """What a known operation gives."""
    if known.made is None:
        return function(*args, **kwargs)
    results = tuple(
        torch.empty_strided(shape, strides, dtype=dtype, device="meta")
        for shape, strides, dtype in known.made
    )
    return results if len(results) > 1 else results[0]
