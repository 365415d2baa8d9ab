"""LaVie: what it makes, that a seed decides it, and what it refuses before any work."""

import numpy as np
import pytest
import torch

from mutoscope.errors import Cancelled, RequestError
from mutoscope.systems.lavie import LaVie
from mutoscope.types import Size

PROMPT = "a red star drifts left"


def test_native_request(tiny_system: LaVie) -> None:
    video = tiny_system(PROMPT)
    assert video.frames.shape == (1, 4, 16, 24, 3)
    assert video.frames.dtype == np.uint8
    assert video.fps == 8.0
    assert video.frames.std() > 1  # a picture, not a flat field


@pytest.mark.slow
@pytest.mark.parametrize(
    ("request_", "shape"),
    [
        ({"num_frames": 1}, (1, 1, 16, 24, 3)),
        ({"num_frames": 7}, (1, 7, 16, 24, 3)),
        ({"size": Size(22, 34)}, (1, 4, 22, 34, 3)),
        ({"output_type": "pt"}, (1, 4, 3, 16, 24)),
        ({"output_type": "latent"}, (1, 4, 4, 8, 12)),
    ],
)
def test_other_requests(
    tiny_system: LaVie, request_: dict[str, object], shape: tuple[int, ...]
) -> None:
    assert tuple(tiny_system(PROMPT, **request_).frames.shape) == shape


def test_floats_are_the_bytes_in_0_to_1(tiny_system: LaVie) -> None:
    floats = tiny_system(PROMPT, output_type="pt").frames
    again = (floats * 255).round().to(torch.uint8).permute(0, 1, 3, 4, 2).numpy()
    assert np.array_equal(again, tiny_system(PROMPT).frames)


@pytest.mark.slow
def test_a_seed_decides_the_video_whatever_the_batch(tiny_system: LaVie) -> None:
    prompts = [PROMPT, "a blue circle at night", PROMPT]
    batch = tiny_system(prompts, seeds=[5, 6, 7]).frames
    assert np.array_equal(batch, tiny_system(prompts, seeds=5).frames)  # counts up
    for index, (prompt, seed) in enumerate(zip(prompts, [5, 6, 7], strict=True)):
        alone = tiny_system(prompt, seeds=[torch.Generator().manual_seed(seed)]).frames[0]
        close = np.abs(alone.astype(int) - batch[index].astype(int)) <= 1
        assert close.mean() >= 0.999
    assert not np.array_equal(batch[0], batch[2])


def test_nothing_global_is_drawn_from_or_changed(tiny_system: LaVie) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = tiny_system(PROMPT, seeds=3).frames
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert np.array_equal(tiny_system(PROMPT, seeds=3).frames, first)


@pytest.mark.slow
def test_prompt_negative_steps_and_guidance_all_matter(tiny_system: LaVie) -> None:
    plain = tiny_system(PROMPT, output_type="latent").frames
    for change in (
        {"prompt": "a blue circle"},
        {"negative_prompt": "night"},
        {"steps": 4},
        {"guidance_scale": 3.0},
        {"seeds": 1},
    ):
        other = tiny_system(**{"prompt": PROMPT, "output_type": "latent"} | change).frames
        assert not torch.equal(other, plain), change


def test_steps_are_counted_and_can_be_stopped(tiny_system: LaVie) -> None:
    seen: list[tuple[int, int]] = []

    def stop(done: int, total: int, latents: torch.Tensor) -> None:
        assert latents.shape == (1, 4, 4, 8, 12)
        seen.append((done, total))
        if done == 2:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        tiny_system(PROMPT, on_step=stop)
    assert seen == [(1, 3), (2, 3)]


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"prompt": ""}, "empty prompt"),
        ({"prompt": " \n"}, "empty prompt"),
        ({"prompt": []}, "empty prompt"),
        ({"prompt": ["a star", ""]}, "empty prompt"),
        ({"num_frames": 0}, r"num_frames=0 cannot .* 1 \(a still\) to 16 .* Use 4"),
        ({"num_frames": 10_000}, "num_frames=10000 cannot"),
        ({"size": Size(17, 24)}, "size 17x24 cannot .* multiples of 2 .* nearest is 16x24"),
        ({"size": Size(8000, 24)}, "size 8000x24 cannot .* nearest is 64x24"),
        ({"size": Size(1, 1)}, "nearest is 2x2"),
        ({"steps": 0}, "steps=0 cannot"),
        ({"steps": 2000}, "steps=2000 cannot"),
        ({"guidance_scale": -1.0}, "guidance scale -1"),
        ({"guidance_scale": float("nan")}, "guidance scale nan"),
        ({"seeds": -1}, "seed=-1 cannot"),
        ({"seeds": [1, 2]}, "2 seeds do not fit 1"),
        ({"prompt": "star " * 100}, "at most 32"),
    ],
)
def test_what_cannot_be_made_is_said_before_any_step(
    tiny_system: LaVie, request_: dict[str, object], words: str
) -> None:
    def never(done: int, total: int, latents: torch.Tensor) -> None:
        raise AssertionError("work was done")

    with pytest.raises(RequestError, match=words):
        tiny_system(**{"prompt": PROMPT, "on_step": never} | request_)


def test_words_it_never_saw_are_named_once_and_in_order(tiny_system: LaVie) -> None:
    assert tiny_system.unknown_words("A red Zebra-fish, a ZEBRA-fish, and 2 stars!") == [
        "zebra-fish",
        "and",
        "2",
        "stars",
    ]
    assert tiny_system.unknown_words("A red star, at NIGHT.") == []
