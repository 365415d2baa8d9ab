"""An inflated network starts as its image network; images and clips never disturb each other."""

import pytest
import torch
from torch import Tensor, nn

from mutoscope.nn.temporal import inflate, is_temporal
from mutoscope.nn.video_unet import VideoUNet

FRAMES, IMAGES = 4, 2


# What each of LaVie's networks, and the miniature, has beyond the defaults, but for statistics over
# the clip.
KINDS: dict[str, dict[str, object]] = {
    "plain": {},
    "base": {"rotary_dim": 2, "relative_position_bias": True},
    "numbered": {"frame_numbers": 4},
    "interpolation": {
        "self_attention": "sparse-causal",
        "temporal_attention": "after",
        "rotary_dim": 0,
    },
    "upscaler": {
        "only_cross_attention": (True, False),
        "linear_projection": True,
        "num_noise_levels": 5,
        "relative_position_bias": True,
        "temporal_convolutions": True,
        "temporal_groups": 2,
    },
}
EXACT = pytest.mark.parametrize("kind", ["plain", "base", "numbered", "upscaler"])
EVERY = pytest.mark.parametrize("kind", KINDS)


def network(kind: str = "plain", *, temporal: bool, group_norm_over: str = "frame") -> VideoUNet:
    """A network whose every weight is random, time layers included."""
    arguments = {
        "in_channels": 4,
        "out_channels": 4,
        "block_out_channels": (8, 16),
        "layers_per_block": 1,
        "attention_levels": (True, True),
        "num_attention_heads": 2,
        "cross_attention_dim": 6,
        "norm_num_groups": 4,
        "temporal": temporal,
        "group_norm_over": group_norm_over,
    }
    images = {} if temporal else {"self_attention": "frame"}
    made = VideoUNet(**(arguments | KINDS[kind] | images))
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


def inflated(kind: str = "plain") -> tuple[VideoUNet, VideoUNet]:
    image, video = (network(kind, temporal=temporal) for temporal in (False, True))
    inflate(image.state_dict(), video)
    return image, video


def call(made: VideoUNet, sample: Tensor, text: Tensor, **told: object) -> Tensor:
    """The prediction, told a noise level where the network is told one."""
    if made.config["num_noise_levels"] is not None:
        told["noise_level"] = torch.tensor([1, 4])
    return made(sample, TIME, text, **told)


@pytest.mark.slow
@EXACT
@torch.no_grad()
def test_at_step_0_every_frame_is_the_image_networks_bit_for_bit(kind: str) -> None:
    image, video = inflated(kind)
    assert torch.equal(call(video, CLIP, TEXT[:, 0]), call(image, CLIP, TEXT[:, 0]))
    told = {"text_mask": MASK, "num_images": IMAGES}
    assert torch.equal(call(video, SAMPLE, TEXT, **told), call(image, SAMPLE, TEXT, **told))


@EXACT
@torch.no_grad()
def test_the_image_network_sees_each_frame_as_a_picture_of_its_own(kind: str) -> None:
    image, video = inflated(kind)
    together = call(video, CLIP, TEXT[:, 0])
    for frame in range(FRAMES):
        alone = call(image, CLIP[:, :, frame : frame + 1], TEXT[:, 0])
        torch.testing.assert_close(together[:, :, frame : frame + 1], alone, atol=1e-5, rtol=0)


@torch.no_grad()
def test_where_frames_look_at_each_other_only_the_first_starts_as_a_picture() -> None:
    image, video = inflated("interpolation")
    apart = call(video, CLIP, TEXT[:, 0]) - call(image, CLIP, TEXT[:, 0])
    assert apart[:, :, 0].abs().max() < 1e-5
    assert all(apart[:, :, frame].abs().max() > 1e-4 for frame in range(1, FRAMES))


@pytest.mark.slow
@pytest.mark.parametrize("part", ["weight", "bias"])
@pytest.mark.parametrize(
    ("kind", "layer"),
    [
        ("upscaler", "attn_temp.to_out.0"),
        ("upscaler", "attentions.0.conv_temp.conv2"),
        ("upscaler", "temporal_module.proj_out"),
        ("numbered", "frame_scale"),
        ("numbered", "place_code"),
    ],
)
@torch.no_grad()
def test_a_start_other_than_zero_would_not_be_exact(kind: str, layer: str, part: str) -> None:
    image, video = inflated(kind)
    for name, parameter in video.named_parameters():
        if name.endswith(f"{layer}.{part}"):
            nn.init.constant_(parameter, 1e-3)
    assert not torch.equal(call(video, CLIP, TEXT[:, 0]), call(image, CLIP, TEXT[:, 0]))


@EXACT
@torch.no_grad()
def test_with_time_layers_off_permuted_frames_come_out_permuted(kind: str) -> None:
    order = torch.tensor([2, 0, 3, 1])
    for temporal in (False, True):
        made = network(kind, temporal=temporal)
        straight = call(made, CLIP, TEXT[:, 0])[:, :, order]
        permuted = call(made, CLIP[:, :, order], TEXT[:, 0])
        assert torch.allclose(permuted, straight, atol=1e-5) is not temporal


@pytest.mark.slow
@EVERY
@torch.no_grad()
def test_an_image_is_a_video_of_one_frame_and_passes_the_time_layers_by(kind: str) -> None:
    image, video = network(kind, temporal=False), network(kind, temporal=True)
    spatial = {name: t for name, t in video.state_dict().items() if not is_temporal(name)}
    image.load_state_dict(spatial)
    one = CLIP[:, :, :1]
    assert torch.equal(call(video, one, TEXT[:, 0]), call(image, one, TEXT[:, 0]))


@pytest.mark.slow
@EVERY
@pytest.mark.parametrize("group_norm_over", ["frame", "clip"])
@pytest.mark.parametrize("frames", [1, FRAMES])
@torch.no_grad()
def test_a_joint_batch_is_its_clips_and_its_images_in_separate_calls(
    frames: int, group_norm_over: str, kind: str
) -> None:
    video = network(kind, temporal=True, group_norm_over=group_norm_over)
    sample = torch.cat([CLIP[:, :, :frames], PICTURES], dim=2)
    joint = call(video, sample, TEXT, text_mask=MASK, num_images=IMAGES)
    clips = call(video, CLIP[:, :, :frames], TEXT[:, 0], text_mask=MASK[:, 0])
    torch.testing.assert_close(joint[:, :, :frames], clips, atol=1e-5, rtol=0)
    for index in range(IMAGES):
        alone = call(
            video,
            PICTURES[:, :, index : index + 1],
            TEXT[:, 1 + index],
            text_mask=MASK[:, 1 + index],
        )
        place = slice(frames + index, frames + index + 1)
        torch.testing.assert_close(joint[:, :, place], alone, atol=1e-5, rtol=0)
