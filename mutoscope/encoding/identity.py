"""Identity of weights: what was made or cached under one hash is never taken for another's."""

import hashlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext

from torch import nn


def weights_hash(
    modules: Mapping[str, nn.Module],
    *facts: object,
    at_work: Callable[[str], AbstractContextManager[object]] = nullcontext,
) -> str:
    """Sixteen hex digits of all weights, in any precision that holds them exactly.

    Args:
        modules: By name; their order does not matter.
        facts: What else changes what the modules make of their input, e.g. a scale.
        at_work: Has the weights of a module in memory, by its name, while they are read.
    """
    digest = hashlib.sha256("".join(map(str, facts)).encode())
    for name, module in sorted(modules.items()):
        with at_work(name):
            for key, tensor in sorted(module.state_dict().items()):
                digest.update(f"{name}.{key}{tuple(tensor.shape)}".encode())
                digest.update(tensor.detach().cpu().double().numpy().tobytes())
    return digest.hexdigest()[:16]
