"""Pairs: a large video, as latents, and the small one that it shall be made from, on one grid."""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from mutoscope.encoding.codec import LatentCodec
from mutoscope.encoding.detail import DetailCodec
from mutoscope.encoding.identity import weights_hash
from mutoscope.errors import RequestError
from mutoscope.types import Latents, Video


class Pairs:
    """Encodes large videos as what super-resolution is trained on.

    The small video is the large one made smaller and sent through the autoencoder of the base
    model: in a cascade the pixels to enlarge come out of that autoencoder, with its errors.

    Args:
        large: The autoencoder of the large video; its factor is the enlargement.
        small: The autoencoder of the base model.
        detail: Scale of the latents of what the small video lacks; see `DetailCodec`.
    """

    def __init__(
        self, large: LatentCodec, small: LatentCodec, *, detail: float | None = None
    ) -> None:
        self.large = large
        self.small = small
        self.details = DetailCodec(large, detail)

    def encode(self, video: Video) -> Latents:
        """Latents of the large video and, as three more channels, pixels of the small one.

        Raises:
            RequestError: The small video would not fit the base model's autoencoder.
        """
        low = shrunk(video, self.large.spatial_factor)
        if any(side % self.small.spatial_factor for side in low.shape[-2:]):
            step = self.large.spatial_factor * self.small.spatial_factor
            raise RequestError(
                f"a video of {video.shape[-2]}x{video.shape[-1]} pixels makes no pair: both sides "
                f"are multiples of {step}. Use such a size."
            )
        seen = self.small.decode(self.small.encode(low)).clamp(-1, 1).to(self.large.vae.device)
        return torch.cat([self.details.encode(video, seen), seen], dim=1)

    def hash(self) -> str:
        """Identity of both autoencoders."""
        return weights_hash({}, self.details.hash(), " ", self.small.hash())


def unpaired(
    pairs: Float[Tensor, "B both F h w"],
) -> tuple[Float[Tensor, "B c F h w"], Float[Tensor, "B 3 F h w"]]:
    """Latents of the large video, and the pixels of the small one, which are the last three."""
    return pairs[:, :-3], pairs[:, -3:]


def shrunk(video: Video, factor: int) -> Float[Tensor, "B C F h w"]:
    """A video made smaller by a whole factor, each pixel the mean of those it stands for."""
    frames = functional.avg_pool2d(rearrange(video, "b c f h w -> (b f) c h w"), factor)
    return rearrange(frames, "(b f) c h w -> b c f h w", b=video.shape[0])
