"""Pairs: a large video, as latents, and the small one that it shall be made from, on one grid."""

import torch
from jaxtyping import Float
from torch import Tensor

from mutoscope.encoding.codec import LatentCodec
from mutoscope.encoding.detail import DetailCodec, shrunk
from mutoscope.types import Latents, Video


class Pairs:
    """Encodes large videos as what super-resolution is trained on.

    The small video is the large one made smaller; what a cascade's earlier stages get wrong in
    theirs, noise on it stands for in training (see `SuperResolution`).

    Args:
        large: The autoencoder of the large video; its factor is the enlargement.
        detail: Scale of the latents of what the small video lacks; see `DetailCodec`.
    """

    def __init__(self, large: LatentCodec, *, detail: float | None = None) -> None:
        self.large = large
        self.details = DetailCodec(large, detail)

    def encode(self, video: Video) -> Latents:
        """Latents of the large video and, as three more channels, pixels of the small one."""
        low = shrunk(video.to(self.large.vae.device), self.large.spatial_factor)
        return torch.cat([self.details.encode(video, low), low], dim=1)

    def hash(self) -> str:
        """Identity of the autoencoder, and of what the latents mean."""
        return self.details.hash()


def unpaired(
    pairs: Float[Tensor, "B both F h w"],
) -> tuple[Float[Tensor, "B c F h w"], Float[Tensor, "B 3 F h w"]]:
    """Latents of the large video, and the pixels of the small one, which are the last three."""
    return pairs[:, :-3], pairs[:, -3:]
