"""What a word is worth: nothing to a denoiser that is deaf, something to one that is not."""

from torch import Tensor

from mutoscope.diffusion.process import VariancePreserving
from mutoscope.encoding.codec import LatentCodec
from mutoscope.encoding.text import TextEncoder
from mutoscope.recipes.worth import Worth, named
from mutoscope.stages.key_frames import KeyFrames
from mutoscope.systems.load import load
from mutoscope.world.factors import MOTIONS, SHAPES

V = VariancePreserving("cosine", "v")


def test_scenes_show_one_known_thing_and_captions_name_what_they_are_told_to() -> None:
    system = load()
    worth = Worth(LatentCodec(system.vae), num_frames=4, fps=8.0, count=12)
    scenes = worth.scenes()
    assert len(scenes) == 12
    for scene in scenes:
        assert scene.arrangement == "single"
        texts = {named(scene, "shape", shape) for shape in SHAPES}
        assert len(texts) == len(SHAPES)
        assert len({named(scene, "motion", motion) for motion in MOTIONS}) == len(MOTIONS)
        assert named(scene, "shape", scene.things[0].shape) in texts


def test_the_deaf_have_no_use_for_words_and_the_shipped_model_hears() -> None:
    system = load()
    text = TextEncoder(system.text_encoder, system.tokenizer)
    worth = Worth(LatentCodec(system.vae), num_frames=1, fps=8.0, count=16)

    class Deaf(KeyFrames):
        def predict(self, noisy: Tensor, time: Tensor, condition: object) -> Tensor:
            return super().predict(noisy, time, self.describe([""] * len(noisy)))

    deaf = worth(Deaf(system.base, V, text))
    assert set(deaf) == {"shape_error", "shape_worth", "shape_told"}
    assert abs(deaf["shape_worth"]) < 1e-6
    hears = worth(KeyFrames(system.base, V, text))
    assert hears["shape_worth"] > 1e-3
    assert 0 < hears["shape_error"] < 1.5
