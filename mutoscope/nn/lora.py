"""LoRA: a small change of the layers of a video U-Net that see one frame and its text."""

from peft import LoraConfig, inject_adapter_in_model
from peft.utils import get_peft_model_state_dict
from torch import Tensor

from mutoscope.nn.video_unet import VideoUNet

# Attention over time is `attn_temp`, and has no feed-forward of its own.
_SPATIAL = (
    r".*\.(attn[12]\.(to_[qkv]|to_out\.0)|ff\.net\.(0\.proj|2)"
    r"|resnets\.\d+\.conv(1|2|_shortcut))"
)


def add_lora(network: VideoUNet, *, rank: int) -> None:
    """Freezes a network and gives its spatial layers low-rank changes to train, zero at first.

    Args:
        network: Changed in place: attention within frames and to the text, the feed-forward, and
            the convolutions of residual blocks, which draw a new shape better than attention alone
            (docs/log.md); all layers over time stay as they are.
        rank: Of each change, at least 1.

    Source: LoRA (arXiv 2106.09685) §4.1, with alpha = rank; where it lies: LaVie (arXiv 2309.15103)
    §5.6.
    """
    config = LoraConfig(r=rank, lora_alpha=rank, target_modules=_SPATIAL)
    network.requires_grad_(False)
    inject_adapter_in_model(config, network)


def lora_layers(network: VideoUNet) -> dict[str, Tensor]:
    """The changes of a network, by the names that diffusers' LoRA files have after `unet.`.

    These are peft's: diffusers looks at the first name of a file to tell whether it is so, and its
    older names are for attention only.
    """
    layers: dict[str, Tensor] = get_peft_model_state_dict(network)
    return layers
