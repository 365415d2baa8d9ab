"""Pixels <-> latents: a diffusers `AutoencoderKL` as a codec of videos, and how it is trained."""

from collections.abc import Mapping, Sequence

import torch
from diffusers import AutoencoderKL
from einops import rearrange
from torch import Generator, Tensor, nn
from torch.nn import functional

from mutoscope.encoding.identity import weights_hash
from mutoscope.errors import RequestError
from mutoscope.types import Batch, Latents, Loss, Size, Video


class LatentCodec:
    """Encodes and decodes videos frame by frame, in latents of about zero mean and unit variance.

    The autoencoder may work on patches: with `in_channels = 3 p^2` every p x p block of pixels
    becomes one position of 3 p^2 channels, which moves the costly full-resolution layers into one
    reshape. Stable Diffusion's autoencoder is the case p = 1.

    Source: LaVie (arXiv 2309.15103) §3, Eq. 2: E(z) is applied to each frame.
    """

    def __init__(self, vae: AutoencoderKL) -> None:
        self.vae = vae
        self.patch = round((vae.config.in_channels / 3) ** 0.5)
        self.spatial_factor = self.patch * 2 ** (len(vae.config.block_out_channels) - 1)
        self.channels: int = vae.config.latent_channels
        self.scale: float = vae.config.scaling_factor
        self.shift: float = vae.config.shift_factor or 0.0

    def latent_size(self, size: Size) -> tuple[int, int]:
        """Height and width in latent cells of frames of `size` pixels.

        Raises:
            RequestError: the size is no multiple of the codec's spatial factor.
        """
        factor = self.spatial_factor
        if size.height % factor or size.width % factor:
            low = Size(
                max(1, size.height // factor) * factor, max(1, size.width // factor) * factor
            )
            high = Size(-(-size.height // factor) * factor, -(-size.width // factor) * factor)
            raise RequestError(
                f"size {size} cannot be made: height and width are multiples of {factor} pixels. "
                f"Use {low} or {high}."
            )
        return size.height // factor, size.width // factor

    def posterior(self, video: Video) -> Tensor:
        """Mean and log-variance of the unscaled latents, (B F) 2C h w, for pixels in [-1, 1]."""
        frames = _fold(video, self.patch)
        moments: Tensor = self.vae.quant_conv(self.vae.encoder(frames))
        return moments

    def encode(self, video: Video) -> Latents:
        """Scaled latents (the posterior's mean) of pixels in [-1, 1], frame by frame."""
        mean, _ = self.posterior(video.to(self.vae.device, self.vae.dtype)).chunk(2, dim=1)
        return self._unfold((mean - self.shift) * self.scale, video.shape[0])

    def decode(self, latents: Latents, *, tile: int | None = None) -> Video:
        """Pixels of scaled latents, frame by frame; in [-1, 1] but for small overshoots.

        Args:
            latents: B c F h w.
            tile: Side of the square parts, in latent cells, that are decoded one after the other,
                with a quarter of overlap in which they are blended; None for whole frames.
        """
        frames = rearrange(latents, "b c f h w -> (b f) c h w") / self.scale + self.shift
        # In this layout a CPU convolves without copies.
        frames = frames.to(self.vae.dtype, memory_format=torch.channels_last)
        if tile is None or max(frames.shape[-2:]) <= tile:
            pixels = self.vae.decoder(self.vae.post_quant_conv(frames))
        else:
            self.vae.tile_latent_min_size = tile
            self.vae.tile_sample_min_size = tile * self.spatial_factor // self.patch
            (pixels,) = self.vae.tiled_decode(frames, return_dict=False)
        return self._unfold(functional.pixel_shuffle(pixels, self.patch), latents.shape[0])

    def hash(self) -> str:
        """Identity of weights and scaling; latents cached under one hash fit only that codec."""
        return weights_hash({"vae": self.vae}, self.scale, " ", self.shift)

    @staticmethod
    def _unfold(frames: Tensor, batch: int) -> Tensor:
        return rearrange(frames, "(b f) c h w -> b c f h w", b=batch)


def _fold(video: Video, patch: int) -> Tensor:
    frames = rearrange(video, "b c f h w -> (b f) c h w")
    return functional.pixel_unshuffle(frames, patch)


class Reconstruction:
    """Trains the autoencoder: absolute and edge error of the pixels, and a weak pull of the latents
    towards a unit Gaussian, which keeps them smooth enough to be drawn by a denoiser.

    Attributes:
        kl_weight: Weight of the mean Kullback-Leibler divergence per latent value.
        edge_weight: Weight of the absolute error of horizontal and vertical differences; contours
            are what tells shapes apart, and they cover few pixels.
    """

    def __init__(self, vae: AutoencoderKL, *, kl_weight: float, edge_weight: float) -> None:
        self.codec = LatentCodec(vae)
        self.kl_weight = kl_weight
        self.edge_weight = edge_weight

    def modules(self) -> Mapping[str, nn.Module]:
        return {"vae": self.codec.vae}

    def loss(self, batch: Batch, generator: Generator) -> Loss:
        """Reconstruction loss of `batch.video`, through a sample of the posterior."""
        assert batch.video is not None
        vae, patch = self.codec.vae, self.codec.patch
        target = rearrange(batch.video, "b c f h w -> (b f) c h w")
        mean, log_variance = self.codec.posterior(batch.video).chunk(2, dim=1)
        log_variance = log_variance.clamp(-30, 20)
        noise = torch.randn(mean.shape, generator=generator).to(mean)
        latents = mean + (0.5 * log_variance).exp() * noise
        pixels = functional.pixel_shuffle(vae.decoder(vae.post_quant_conv(latents)), patch)

        error = pixels - target
        absolute, square = error.abs().mean(), error.square().mean()
        edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
        value = absolute + self.edge_weight * edges + self.kl_weight * kl
        psnr = -10 * torch.log10(square.detach() / 4)
        return Loss(value, {"l1": absolute.detach(), "kl": kl.detach(), "psnr_db": psnr})


def measure_scale(vae: AutoencoderKL, videos: Sequence[Tensor]) -> tuple[float, float]:
    """Scaling and shift factors that give the latents of videos (B C F H W) the moments 0 and 1."""
    codec = LatentCodec(vae)
    with torch.inference_mode():
        means = torch.cat([codec.posterior(video).chunk(2, dim=1)[0].flatten() for video in videos])
    return float(1 / means.std()), float(means.mean())
