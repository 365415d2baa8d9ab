"""A network that is told more about every place, from one that is told less, and the way back."""

from torch.nn.functional import pad

from mutoscope.errors import RequestError
from mutoscope.nn.video_unet import VideoUNet


def widen(network: VideoUNet, *, in_channels: int) -> VideoUNet:
    """A network of the same weights that takes more input channels and ignores them so far.

    The first convolution gains weights of zero, so that in float32 the new network gives exactly
    what the old one gives for the first channels, whatever the others hold. (In half precision a
    device may add in another order.) The paper speaks of an additional convolution; the released
    weights have, as here, a wider first one.

    Args:
        network: Where to start; it stays as it is.
        in_channels: Channels the new network takes, the old ones first.

    Returns:
        A new network, in the precision and on the device of the old one.

    Raises:
        RequestError: The old network takes more channels than that.

    Source: LaVie (arXiv 2309.15103) §4.2.
    """
    extra = in_channels - network.config["in_channels"]
    if extra < 0:
        raise RequestError(
            f"a network of {network.config['in_channels']} input channels cannot be widened to "
            f"{in_channels}: it would have to forget some. Give at least as many."
        )
    return _taking(network, in_channels)


def narrow(network: VideoUNet, *, in_channels: int) -> VideoUNet:
    """A network of the same weights without its last input channels.

    It gives what the old one gives where those channels are zero.

    Args:
        network: Where to start; it stays as it is.
        in_channels: Channels the new network takes, the first of the old ones.

    Returns:
        A new network, in the precision and on the device of the old one.

    Raises:
        RequestError: The old network takes fewer channels than that.
    """
    if in_channels > network.config["in_channels"]:
        raise RequestError(
            f"a network of {network.config['in_channels']} input channels cannot be narrowed to "
            f"{in_channels}. Give at most as many."
        )
    return _taking(network, in_channels)


def _taking(network: VideoUNet, in_channels: int) -> VideoUNet:
    """The network with so many input channels: weights of new ones are zero, last ones left out."""
    # Entries with an underscore are diffusers' notes, among them which arguments were left out.
    arguments = {name: each for name, each in network.config.items() if not name.startswith("_")}
    made: VideoUNet = VideoUNet(**arguments | {"in_channels": in_channels})
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    more = in_channels - network.config["in_channels"]
    state["conv_in.weight"] = pad(state["conv_in.weight"], (0, 0, 0, 0, 0, more))
    # Assigned and not copied: the tensors keep their precision, device and order in memory.
    made.load_state_dict(state, assign=True)
    made.train(network.training)
    return made
