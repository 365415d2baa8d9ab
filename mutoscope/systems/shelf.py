"""Shelf: components that are read from their files when they are to work, and put away after."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from torch import nn


@dataclass(frozen=True)
class Shelf:
    """Where the weights of a system's components lie, and how they are to be in memory.

    Attributes:
        folders: Component name -> folder with its safetensors files.
        device: Where components work, as torch names it; weights are read straight to it.
        dtype: The precision they work in.
    """

    folders: Mapping[str, Path]
    device: str
    dtype: torch.dtype

    def fetch(self, name: str, module: nn.Module) -> None:
        """Reads a component's weights into memory.

        Args:
            name: Of the component.
            module: The component, without weights; see `put_away`.
        """
        weights: dict[str, torch.Tensor] = {}
        for file in sorted(self.folders[name].glob("*.safetensors")):
            # Tensor by tensor, so that no file is ever there in two precisions.
            with safe_open(file, framework="pt", device=self.device) as stored:
                names = list(stored.keys())
                weights |= {key: stored.get_tensor(key).to(self.dtype) for key in names}
        module.load_state_dict(weights, assign=True)
        module.to(self.device)  # buffers that are in no file


# What is left outlives the drawing, in which tensors are made that do not count their changes.
@torch.inference_mode(False)
def put_away(module: nn.Module) -> None:
    """Lets go of a module's parameters; their names and shapes stay, on the meta device."""
    for part in module.modules():
        for name, parameter in part.named_parameters(recurse=False):
            nothing = torch.empty_like(parameter, device="meta")
            setattr(part, name, nn.Parameter(nothing, requires_grad=parameter.requires_grad))
