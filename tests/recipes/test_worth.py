"""What a word is worth: nothing to a denoiser that is deaf, something to one that is not."""

import numpy as np
import pytest
from torch import Tensor

from mutoscope.diffusion.process import VariancePreserving
from mutoscope.encoding.codec import LatentCodec
from mutoscope.encoding.condition import Condition
from mutoscope.encoding.text import TextEncoder
from mutoscope.recipes.worth import BACKWARDS, Worth, altered, backwards, single_scenes
from mutoscope.stages.key_frames import KeyFrames
from mutoscope.systems.load import load
from mutoscope.world.factors import MOTIONS, SHAPES
from mutoscope.world.grammar import caption
from mutoscope.world.scene import TIMES, Scene

V = VariancePreserving("cosine", "v")


class Deaf(KeyFrames):
    def predict(self, noisy: Tensor, time: Tensor, condition: Condition) -> Tensor:
        return super().predict(noisy, time, self.describe([""] * len(noisy)))


def said(scene: Scene) -> str:
    return caption(scene, level="full", seed=scene.seed)


def test_scenes_show_one_known_thing_and_captions_name_what_they_are_told_to() -> None:
    scenes = single_scenes(12, "video")
    assert len(scenes) == 12
    for scene in scenes:
        assert scene.arrangement == "single"
        texts = {said(altered(scene, "shape", shape)) for shape in SHAPES}
        assert len(texts) == len(SHAPES)
        assert len({said(altered(scene, "motion", motion)) for motion in MOTIONS}) == len(MOTIONS)
        assert said(altered(scene, "shape", scene.things[0].shape)) == said(scene)
    assert {s.style for s in single_scenes(12, "image")} == {"none"}


@pytest.mark.slow
def test_backwards_are_the_words_of_the_clip_played_backwards() -> None:
    scenes = single_scenes(60, "video", motions=BACKWARDS)
    assert {s.things[0].motion for s in scenes} == set(MOTIONS) & set(BACKWARDS)
    for scene in scenes:
        other = backwards(scene)
        assert said(other) != said(scene)
        assert backwards(other) == scene
        course, reverse = scene.things[0].course, other.things[0].course
        path = np.array(course.position(0.0, 0.0, TIMES))[:, ::-1]
        found = np.array(reverse.position(*path[:, 0], TIMES))
        np.testing.assert_allclose(found, path, atol=1e-9)
        np.testing.assert_allclose(reverse.diameter(TIMES), course.diameter(TIMES)[::-1])
        assert {scene.camera, other.camera} in ({"still"}, {"pan left", "pan right"})


@pytest.mark.slow
def test_the_deaf_have_no_use_for_words_and_the_shipped_model_hears() -> None:
    system = load()
    text = TextEncoder(system.text_encoder, system.tokenizer)
    asked = Worth(LatentCodec(system.vae), num_frames=1, fps=8.0, count=16)
    deaf = asked(Deaf(system.base, V, text))
    assert set(deaf) == {"shape_error", "shape_worth", "shape_told"}
    assert abs(deaf["shape_worth"]) < 1e-6
    hears = asked(KeyFrames(system.base, V, text))
    assert hears["shape_worth"] > 1e-3
    assert 0 < hears["shape_error"] < 1.5


@pytest.mark.long
@pytest.mark.slow
def test_of_clips_it_says_whether_direction_is_known() -> None:
    system = load()
    right = {said(scene) for scene in single_scenes(4, "video", motions=BACKWARDS)}
    text = TextEncoder(system.text_encoder, system.tokenizer)

    class Directed(Deaf):
        """Errs by 100 more at every place where it is told of the clip played backwards."""

        def describe(self, prompts: list[str], *, negative: str = "") -> Condition:
            self.wrong = [prompt not in right for prompt in prompts]
            return super().describe(prompts, negative=negative)

        def predict(self, noisy: Tensor, time: Tensor, condition: Condition) -> Tensor:
            wrong = noisy.new_tensor(self.wrong).view(-1, 1, 1, 1, 1)
            return super().predict(noisy, time, condition) + 100 * wrong

    asked = Worth(LatentCodec(system.vae), num_frames=2, fps=8.0, count=1)
    assert abs(asked(Deaf(system.base, V, text))["direction_worth"]) < 1e-6
    assert asked(Directed(system.base, V, text))["direction_worth"] == pytest.approx(1e4, 0.1)
