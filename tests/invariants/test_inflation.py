"""An inflated network starts as its image network; images and clips never disturb each other."""

import pytest
import torch
from torch import Tensor, nn

from mutoscope.nn.temporal import inflate, is_temporal
from mutoscope.nn.video_unet import VideoUNet

FRAMES, IMAGES = 4, 2


def network(*, temporal: bool, group_norm_over: str = "frame") -> VideoUNet:
    """A network whose every weight is random, time layers included."""
    made = VideoUNet(
        in_channels=4,
        out_channels=4,
        block_out_channels=(8, 16),
        layers_per_block=1,
        attention_levels=(True, True),
        num_attention_heads=2,
        cross_attention_dim=6,
        norm_num_groups=4,
        temporal=temporal,
        group_norm_over=group_norm_over,
    )
    generator = torch.Generator().manual_seed(int(temporal))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(std=0.2, generator=generator)
    return made.eval()


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


SAMPLE = draw(2, 4, FRAMES + IMAGES, 5, 8)
TIME = torch.tensor([12.0, 900.0])
TEXT = draw(2, 1 + IMAGES, 5, 6, seed=1)
MASK = torch.arange(5) < torch.tensor([[5, 3, 4], [2, 5, 5]])[..., None]
CLIP, PICTURES = SAMPLE[:, :, :FRAMES], SAMPLE[:, :, FRAMES:]


def inflated() -> tuple[VideoUNet, VideoUNet]:
    image, video = network(temporal=False), network(temporal=True)
    inflate(image.state_dict(), video)
    return image, video


@torch.no_grad()
def test_at_step_0_every_frame_is_the_image_networks_bit_for_bit() -> None:
    image, video = inflated()
    assert torch.equal(video(CLIP, TIME, TEXT[:, 0]), image(CLIP, TIME, TEXT[:, 0]))
    told = {"text_mask": MASK, "num_images": IMAGES}
    assert torch.equal(video(SAMPLE, TIME, TEXT, **told), image(SAMPLE, TIME, TEXT, **told))


@torch.no_grad()
def test_the_image_network_sees_each_frame_as_a_picture_of_its_own() -> None:
    image, video = inflated()
    together = video(CLIP, TIME, TEXT[:, 0])
    for frame in range(FRAMES):
        alone = image(CLIP[:, :, frame : frame + 1], TIME, TEXT[:, 0])
        torch.testing.assert_close(together[:, :, frame : frame + 1], alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("part", ["weight", "bias"])
@torch.no_grad()
def test_the_released_start_would_not_be_exact(part: str) -> None:
    image, video = inflated()
    for name, parameter in video.named_parameters():
        if name.endswith(f"attn_temp.to_out.0.{part}"):
            nn.init.constant_(parameter, 1e-3)
    assert not torch.equal(video(CLIP, TIME, TEXT[:, 0]), image(CLIP, TIME, TEXT[:, 0]))


@torch.no_grad()
def test_with_time_layers_off_permuted_frames_come_out_permuted() -> None:
    order = torch.tensor([2, 0, 3, 1])
    for temporal in (False, True):
        made = network(temporal=temporal)
        straight = made(CLIP, TIME, TEXT[:, 0])[:, :, order]
        permuted = made(CLIP[:, :, order], TIME, TEXT[:, 0])
        assert torch.allclose(permuted, straight, atol=1e-5) is not temporal


@torch.no_grad()
def test_an_image_is_a_video_of_one_frame_and_passes_the_time_layers_by() -> None:
    image, video = network(temporal=False), network(temporal=True)
    spatial = {name: t for name, t in video.state_dict().items() if not is_temporal(name)}
    image.load_state_dict(spatial)
    one = CLIP[:, :, :1]
    assert torch.equal(video(one, TIME, TEXT[:, 0]), image(one, TIME, TEXT[:, 0]))


@pytest.mark.parametrize("group_norm_over", ["frame", "clip"])
@pytest.mark.parametrize("frames", [1, FRAMES])
@torch.no_grad()
def test_a_joint_batch_is_its_clips_and_its_images_in_separate_calls(
    frames: int, group_norm_over: str
) -> None:
    video = network(temporal=True, group_norm_over=group_norm_over)
    sample = torch.cat([CLIP[:, :, :frames], PICTURES], dim=2)
    joint = video(sample, TIME, TEXT, MASK, num_images=IMAGES)
    clips = video(CLIP[:, :, :frames], TIME, TEXT[:, 0], MASK[:, 0])
    torch.testing.assert_close(joint[:, :, :frames], clips, atol=1e-5, rtol=0)
    for index in range(IMAGES):
        alone = video(
            PICTURES[:, :, index : index + 1], TIME, TEXT[:, 1 + index], MASK[:, 1 + index]
        )
        place = slice(frames + index, frames + index + 1)
        torch.testing.assert_close(joint[:, :, place], alone, atol=1e-5, rtol=0)
