"""A draft first, whose first frame the clip is told in much noise."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mutoscope.diffusion.guidance import TextGuidance
from mutoscope.diffusion.process import process_from
from mutoscope.encoding.text import TextEncoder
from mutoscope.errors import RequestError
from mutoscope.stages.beginning import beginning_with
from mutoscope.stages.key_frames import KeyFrames
from mutoscope.systems.lavie import LaVie
from mutoscope.systems.plan import plan, task_of
from mutoscope.types import Size
from tests.systems.test_long import PROMPT, keys
from tests.tiny import build_tiny_system, build_told_system

UNTIL = 500.0  # the three steps of the tiny system lie at 999, 666 and 333


@pytest.fixture(scope="module")
def drafting(tiny_cascade: LaVie) -> LaVie:
    """Three calls of a draft before the three of the clip; read-only."""
    return build_told_system(tiny_cascade, draft_until=UNTIL)


def test_a_clip_is_told_the_first_frame_of_its_draft_in_much_noise(
    drafting: LaVie, told_system: LaVie
) -> None:
    """Against both drawn by hand, from one generator."""
    law = process_from(drafting.scheduler)
    text = TextEncoder(drafting.text_encoder, drafting.tokenizer)
    stage = KeyFrames(drafting.base, law, text)
    condition = stage.describe([PROMPT])
    generator = torch.Generator().manual_seed(5)

    def draw(until: float, told: torch.Tensor | None) -> torch.Tensor:
        begun = condition
        if told is not None:
            begun = replace(beginning_with(condition, told, 4), frames_until=UNTIL)
        with torch.inference_mode():
            return stage.sample(
                begun,
                (4, 4, 8, 12),
                scheduler=drafting.scheduler,
                steps=3,
                guidance=TextGuidance(2.0),
                generators=[generator],
                until=until,
            )

    draft = draw(UNTIL, None)
    assert torch.equal(keys(drafting, seeds=5), draw(0.0, draft[:, :, :1]))
    # Without one all is drawn from the first noise.
    generator.manual_seed(5)
    assert torch.equal(keys(told_system, seeds=5), draw(0.0, None))


def test_steps_are_counted_from_the_draft_on(drafting: LaVie) -> None:
    seen: list[tuple[int, int]] = []
    keys(drafting, num_frames=7, long=True, on_step=lambda i, n, _: seen.append((i, n)))
    assert seen == [(step, 9) for step in range(1, 10)]


@pytest.mark.slow
def test_the_first_clip_alone_is_drafted(drafting: LaVie) -> None:
    long = keys(drafting, num_frames=7, long=True, seeds=5)
    assert torch.equal(long[:, :, :4], keys(drafting, seeds=5))


@pytest.mark.slow
def test_stills_and_clips_that_begin_with_a_picture_have_no_draft(
    drafting: LaVie, told_system: LaVie
) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (1, 32, 48, 3), dtype=np.uint8)
    for request in ({"num_frames": 1}, {"image": picture}):
        assert torch.equal(keys(drafting, **request), keys(told_system, **request))


@pytest.mark.slow
def test_a_seed_decides_draft_and_clip_whatever_the_batch(drafting: LaVie) -> None:
    prompts = [PROMPT, "a blue circle at night"]
    batch = keys(drafting, prompts, seeds=3)
    for row, prompt in enumerate(prompts):
        alone = keys(drafting, prompt, seeds=3 + row)
        torch.testing.assert_close(batch[row : row + 1], alone, atol=1e-3, rtol=1e-3)


def test_a_base_that_is_told_no_first_frame_draws_at_once(tiny_cascade: LaVie) -> None:
    config = {"num_frames": 4, "height": 16, "width": 24, "steps": 3, "guidance_scale": 2.0}
    system = LaVie(**tiny_cascade.components, **config, draft_until=UNTIL)
    assert system.draft_steps(3, 4) == 0
    assert torch.equal(keys(system), keys(tiny_cascade))


def test_a_plan_counts_the_draft() -> None:
    def flops(draft_until: float | None, steps: int) -> int:
        system = build_told_system(build_tiny_system(cascade=True), draft_until=draft_until)
        task = task_of(system, ["base"], 4, Size(16, 24), steps, 2.0)
        (line,) = (
            each
            for each in plan(system, task, dtypes=(torch.float32,)).lines
            if each.name == "base"
        )
        return line.flops

    # Of four steps at 999, 749, 499 and 249 two lie above, and one more says what it comes to.
    assert flops(UNTIL, 4) == flops(None, 4) + flops(None, 3)


@pytest.mark.parametrize("until", [-1.0, 0.0, 1000.0])
def test_a_time_that_is_none_is_refused(tiny_cascade: LaVie, until: float) -> None:
    with pytest.raises(RequestError, match="a draft cannot be drawn until time"):
        LaVie(**tiny_cascade.components, draft_until=until)


@pytest.mark.parametrize("steps", [0, 1001])
def test_steps_that_no_sampler_takes_are_refused(drafting: LaVie, steps: int) -> None:
    with pytest.raises(RequestError, match="a sampler takes 1 to 1000 steps"):
        keys(drafting, steps=steps)
