"""The prompts are what the world draws, in its order, and the list does not change."""

import pytest

from mutoscope.evaluation.protocol import fingerprint, prompts
from mutoscope.world.labels import THING_FACTORS

TEST_PROMPTS = "6661e46958e62562"
HELD_OUT_PROMPTS = "07c54ac8947250f5"


@pytest.mark.slow
def test_the_lists_are_those_hashed_before_training() -> None:
    assert fingerprint(prompts(200)) == TEST_PROMPTS
    assert fingerprint(prompts(200, split="held-out")) == HELD_OUT_PROMPTS


def test_the_hash_sees_a_change_of_words_and_of_truth() -> None:
    asked = prompts(3)
    assert fingerprint(asked[::-1]) != fingerprint(asked)
    assert fingerprint(asked[:2]) != fingerprint(asked)


@pytest.mark.slow
def test_every_prompt_is_scoreable_and_none_is_left_out() -> None:
    asked = prompts(200)
    assert [prompt.scene.seed for prompt in asked] == list(range(200))
    assert sum(len(prompt.scene.things) == 2 for prompt in asked) > 40
    motions = {thing.motion for prompt in asked for thing in prompt.scene.things}
    assert motions == set(THING_FACTORS["motion"])
