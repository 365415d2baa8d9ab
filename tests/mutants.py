"""Bugs made on purpose, each of which must fail the test of the property that it breaks.

`python -m tests.mutants [NAME ...]` breaks a copy of the package, one bug at a time, and runs one
test on each. It shows that a test can fail, which a test that passes does not. Not for `make test`:
it starts a process for every bug.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]
COPIED = ("mutoscope", "tests", "benchmarks")
LIMIT = 600.0
"""Seconds that a test of one bug may take."""


@dataclass(frozen=True)
class Mutant:
    """A bug.

    Attributes:
        name: To ask for it alone.
        file: Where in `mutoscope/` it is.
        old: What stands there once.
        new: What stands there instead.
        test: What must fail then, as pytest names it below `tests/`.
        says: The property that is broken.
    """

    name: str
    file: str
    old: str
    new: str
    test: str
    says: str


MUTANTS = (
    # Networks.
    Mutant(
        "random_bias",
        "nn/temporal.py",
        "        for parameter in self.to_out.parameters():\n            nn.init.zeros_(parameter)",
        "        nn.init.zeros_(self.to_out[0].weight)",
        "invariants/test_inflation.py::"
        "test_at_step_0_every_frame_is_the_image_networks_bit_for_bit",
        "an inflated network starts as its image network",
    ),
    Mutant(
        "only_attention_starts_as_zero",
        "nn/temporal.py",
        "if isinstance(module, StartsAsIdentity):",
        "if isinstance(module, TemporalAttention):",
        "invariants/test_inflation.py::"
        "test_at_step_0_every_frame_is_the_image_networks_bit_for_bit",
        "so do all its layers over time, not attention alone",
    ),
    Mutant(
        "images_among_frames",
        "nn/transformer.py",
        "clips, images = fold.split(tokens)",
        "clips, images = tokens, tokens[:0]",
        "invariants/test_inflation.py::"
        "test_a_joint_batch_is_its_clips_and_its_images_in_separate_calls",
        "images beside a clip take no part in attention over time",
    ),
    Mutant(
        "image_meets_itself_over_time",
        "nn/transformer.py",
        "if not self.temporal or fold.frames == 1:",
        "if not self.temporal:",
        "invariants/test_inflation.py::"
        "test_an_image_is_a_video_of_one_frame_and_passes_the_time_layers_by",
        "a clip of one frame is an image",
    ),
    Mutant(
        "norm_over_the_clip",
        "nn/blocks.py",
        'if self.over == "frame" or fold.frames == 1:',
        "if fold.frames == 1:",
        "invariants/test_inflation.py::"
        "test_the_image_network_sees_each_frame_as_a_picture_of_its_own",
        "statistics of GroupNorm are those of one frame",
    ),
    Mutant(
        "positions_end",
        "nn/rope.py",
        "dtype=torch.float32)\n    return frame[:, None] * speed",
        "dtype=torch.float32).clamp(max=15 * stride)\n    return frame[:, None] * speed",
        "nn/test_rope.py::test_scores_depend_on_the_distance_between_frames_only",
        "RoPE tells differences of frame numbers, at any length",
    ),
    Mutant(
        "keys_not_turned",
        "nn/temporal.py",
        "query, key = rotate(query, angles), rotate(key, angles)",
        "query, key = rotate(query, angles), key",
        "nn/test_attention.py::test_time_attention_joins_the_same_place_of_all_frames_of_a_clip",
        "queries and keys of attention over time turn alike",
    ),
    Mutant(
        "speeds_of_the_whole_head",
        "nn/rope.py",
        "speed = BASE ** (-2.0 * pair / rotary_dim)",
        "speed = BASE ** (-2.0 * pair / head_width)",
        "parity/test_lavie.py::test_positions_in_time_are_those_of_the_released_attention",
        "positions in time are those of LaVie's release",
    ),
    Mutant(
        "own_frame_seen",
        "nn/attention.py",
        "before = torch.cat([states[:, :1], states[:, : part.stop - 1]], dim=1)",
        "before = states[:, : part.stop]",
        "nn/test_attention.py::"
        "test_sparse_causal_attention_looks_at_the_first_frame_and_the_one_before",
        "sparse-causal attention sees the first frame and the one before",
    ),
    Mutant(
        "texts_of_images_shuffled",
        "nn/video_unet.py",
        "states = Fold(states.shape[0], 1, states.shape[1] - 1).fold_text(states)",
        "states = states.flatten(0, 1)",
        "nn/test_video_unet.py::test_a_text_that_was_read_once_changes_no_bit",
        "a text that was read once is read as it is anew",
    ),
    Mutant(
        "new_channels_speak",
        "nn/widen.py",
        "(0, 0, 0, 0, 0, more))",
        "(0, 0, 0, 0, 0, more), value=0.01)",
        "nn/test_widen.py::test_at_step_0_it_gives_exactly_what_the_base_gives",
        "new input channels, as of the interpolation, start at zero",
    ),
    Mutant(
        "lora_over_time",
        "nn/lora.py",
        "attn[12]",
        "attn(?:[12]|_temp)",
        "nn/test_lora.py::test_layers_within_frames_are_trained_and_nothing_over_time",
        "LoRA leaves layers over time as they are",
    ),
    Mutant(
        "layer_not_of_time",
        "nn/temporal.py",
        '    "conv_temp",\n',
        "",
        "nn/test_temporal.py::"
        "test_the_time_layers_are_what_a_video_network_has_and_an_image_network_lacks",
        "layers over time, which super-resolution trains alone, are what images lack",
    ),
    # Noise, and how it is removed.
    Mutant(
        "guidance_of_w",
        "diffusion/guidance.py",
        "return without_text + scale * (with_text - without_text)",
        "return with_text + scale * (with_text - without_text)",
        "diffusion/test_guidance.py::"
        "test_text_guidance_goes_from_the_answer_without_text_through_that_with",
        "guidance is u + scale (c - u)",
    ),
    Mutant(
        "velocity_added",
        "diffusion/process.py",
        "return alpha * noisy - sigma * prediction",
        "return alpha * noisy + sigma * prediction",
        "diffusion/test_process.py::test_the_target_claims_the_clean_sample_at_every_time",
        "clean_from undoes add_noise, given the target",
    ),
    Mutant(
        "flow_backwards",
        "diffusion/process.py",
        "return noise - clean",
        "return clean - noise",
        "diffusion/test_process.py::test_velocity_has_the_sign_of_diffusers",
        "a flow goes from data to noise",
    ),
    Mutant(
        "linear_not_in_the_root",
        "diffusion/process.py",
        "return torch.linspace(start**0.5, end**0.5, NOISIEST_TIME, dtype=torch.float32) ** 2",
        "return torch.linspace(start, end, NOISIEST_TIME, dtype=torch.float32)",
        "parity/test_schedulers.py::test_noise_and_velocity_are_diffusers_bit_for_bit",
        "noise laws are those of diffusers' schedulers",
    ),
    Mutant(
        "one_generator_for_all",
        "diffusion/denoise.py",
        "[torch.randn(shape, generator=each, device=each.device) for each in generators]",
        "[torch.randn(shape, generator=generators[0], device=each.device) for each in generators]",
        "invariants/test_denoise.py::test_noise_depends_on_the_seed_alone",
        "noise depends on its seed and not on its batch",
    ),
    Mutant(
        "last_block_cut",
        "diffusion/frame_noise.py",
        "[min(begin // _BLOCK * _BLOCK, last) for begin in begins]",
        "[begin // _BLOCK * _BLOCK for begin in begins]",
        "diffusion/test_frame_noise.py::test_every_stretch_of_frames_has_the_bits_of_the_whole",
        "noise drawn a few frames at a time is that of the whole",
    ),
    Mutant(
        "known_frame_noisy",
        "diffusion/denoise.py",
        "seen = pinned(noisy, condition) if held else noisy",
        "seen = noisy",
        "invariants/test_denoise.py::test_known_frames_are_seen_clean_and_come_back_exactly",
        "a known first frame is pinned at every step",
    ),
    Mutant(
        "told_frame_remembered",
        "diffusion/denoise.py",
        "prediction = torch.where(_known(condition), claimed, prediction)",
        "pass",
        "diffusion/test_denoise.py::test_frames_known_for_a_while_are_then_as_noisy_as_all_others",
        "a frame that is known no longer has the noise of its time",
    ),
    Mutant(
        "told_to_the_end",
        "encoding/condition.py",
        "if self.frame_mask is not None and self.frames_until > 0 and time[0] < self.frames_until:",
        "if False:",
        "encoding/test_condition.py::test_frames_may_be_known_in_much_noise_only",
        "nor is it told any longer",
    ),
    Mutant(
        "long_clips_as_they_are",
        "stages/key_frames.py",
        "spacing: Spacing = self.network.spacing(frames)",
        "spacing: Spacing = 1",
        "stages/test_key_frames.py::test_a_clip_longer_than_its_numbers_is_told_as_more_frames_of_the_same_time",
        "more frames than the network has numbers for are frames of the same time",
    ),
    Mutant(
        "hasty_first",
        "recipes/tasks.py",
        'np.argsort(changes, kind="stable")[: max(1,',
        'np.argsort(changes, kind="stable")[::-1][: max(1,',
        "recipes/test_curriculum.py::test_of_ones_own_videos_the_calm_ones_come_first",
        "a curriculum of one's own videos begins with the calm ones",
    ),
    Mutant(
        "draft_unused",
        "systems/lavie.py",
        "told = beginning_with(condition, draft[:, :, :1], clip)",
        "told = beginning_with(condition, 0 * draft[:, :, :1], clip)",
        "systems/test_draft.py::test_a_clip_is_told_the_first_frame_of_its_draft_in_much_noise",
        "a clip is told the first frame of its draft",
    ),
    Mutant(
        "half_and_half",
        "diffusion/tiles.py",
        "rise = torch.arange(1, shared + 1, device=device) / (shared + 1)",
        "rise = torch.full((shared,), 0.5, device=device)",
        "diffusion/test_tiles.py::test_tiles_that_disagree_leave_a_seam_only_without_overlap",
        "tiles blend without a seam",
    ),
    Mutant(
        "tiles_side_by_side",
        "diffusion/tiles.py",
        "count = -(-(length - overlap) // (size - overlap))",
        "count = -(-length // size)",
        "diffusion/test_tiles.py::test_tiles_that_disagree_leave_a_seam_only_without_overlap",
        "tiles share as many cells as they are told",
    ),
    Mutant(
        "last_window_begins_late",
        "diffusion/windows.py",
        "start = stop - size if overlap else done",
        "start = done - overlap",
        "diffusion/test_windows.py::test_every_frame_is_made_once",
        "all windows have the size that was learned",
    ),
    Mutant(
        "features_of_the_other_branch",
        "diffusion/reuse.py",
        "predict(noisy, time, condition, kept.get(call), self.layers)",
        "predict(noisy, time, condition, kept.get(0), self.layers)",
        "diffusion/test_reuse.py::test_every_call_of_a_step_goes_on_from_its_own_features_"
        "and_the_first_step_is_whole",
        "each branch of guidance reuses features of its own",
    ),
    Mutant(
        "end_of_level_forgotten",
        "nn/video_unet.py",
        "return finest.over_time(rows, moment, fold), deep",
        "return rows, deep",
        "nn/test_video_unet.py::test_deep_features_of_the_same_call_change_no_bit",
        "reuse of features of the same step is exact",
    ),
    Mutant(
        "whole_a_step_late",
        "diffusion/reuse.py",
        "if step % self.interval == 0:",
        "if step and step % self.interval == 1:",
        "diffusion/test_reuse.py::test_every_call_of_a_step_goes_on_from_its_own_features_"
        "and_the_first_step_is_whole",
        "every so many steps are computed whole, the first among them",
    ),
    # What is told.
    Mutant(
        "all_captions_of_a_sample",
        "encoding/condition.py",
        'shape = self.text.shape[:-2] if name == "text" else (self.batch_size,)',
        "shape = (self.batch_size, *[1] * (self.text.ndim - 3))",
        "encoding/test_condition.py::test_each_caption_of_a_clip_with_images_is_dropped_on_its_own",
        "text dropout draws for each caption on its own",
    ),
    Mutant(
        "dropout_of_whole_batches",
        "stages/text_stage.py",
        "dropped = torch.rand(len(captions), generator=generator) < self.text_dropout",
        "dropped = torch.rand(1, generator=generator).expand(len(captions)) < self.text_dropout",
        "stages/test_key_frames.py::test_captions_are_dropped_at_the_rate_asked_for",
        "captions are dropped at the rate asked for",
    ),
    Mutant(
        "stale_text",
        "encoding/condition.py",
        "text_mask=torch.where(gone, null_mask, text_mask),\n                text_read=None,",
        "text_mask=torch.where(gone, null_mask, text_mask),",
        "encoding/test_condition.py::test_what_was_read_of_a_text_goes_with_it_and_with_no_other",
        "what was read of a text goes with no other text",
    ),
    # Stages.
    Mutant(
        "first_frame_told_once",
        "stages/beginning.py",
        "shown[:, :, :clips] = first",
        "shown[:, :, :1] = first",
        "stages/test_beginning.py::"
        "test_the_input_layer_sees_the_first_frame_at_every_frame_and_which_is_known",
        "the first frame is told to every frame",
    ),
    Mutant(
        "known_frames_noisy_in_training",
        "stages/stage.py",
        "noisy = pinned(self.process.add_noise(clean, noise, time), condition)",
        "noisy = self.process.add_noise(clean, noise, time)",
        "stages/test_super_resolution.py::test_known_frames_are_shown_clean_in_training",
        "training shows known frames as sampling does",
    ),
    Mutant(
        "later_of_two_keys",
        "stages/interpolation.py",
        "return (frames + (factor - 1) // 2) // factor",
        "return (frames + factor // 2) // factor",
        "stages/test_interpolation.py::"
        "test_each_frame_is_told_the_key_frame_that_the_release_tells_it",
        "each frame is told the key frame that LaVie's release tells it",
    ),
    Mutant(
        "window_begins_elsewhere",
        "stages/stage.py",
        "before[:, :, -part.known :][:, :, :finished]",
        "before[:, :, -finished:]",
        "stages/test_super_resolution.py::"
        "test_a_window_begins_in_frames_of_the_one_before_and_blends_into_others",
        "a window begins in the frames that it shares",
    ),
    # Training.
    Mutant(
        "noise_from_the_start",
        "training/learner.py",
        "        self.generator.set_state(checkpoint.generator)\n",
        "",
        "training/test_trainer.py::test_goes_on_from_the_checkpoint_before_a_damaged_one",
        "a resumed run equals an uninterrupted one: its noise",
    ),
    Mutant(
        "optimizer_forgets_its_steps",
        "training/learner.py",
        "moving[parameter][kind] = fresh.detach().copy_(value)",
        "moving[parameter][kind] = fresh.detach().copy_(value * (value.ndim > 0))",
        "training/test_trainer.py::test_goes_on_from_the_checkpoint_before_a_damaged_one",
        "a resumed run equals an uninterrupted one: its optimizer",
    ),
    Mutant(
        "average_begins_anew",
        "training/learner.py",
        "self.average.weights[name].copy_(value)",
        "self.average.weights[name].copy_(held[name])",
        "training/test_trainer.py::test_goes_on_from_the_checkpoint_before_a_damaged_one",
        "a resumed run equals an uninterrupted one: its averaged weights",
    ),
    Mutant(
        "warm_up_begins_anew",
        "training/learner.py",
        "self.step = self.average.updates = checkpoint.step",
        "self.step = checkpoint.step",
        "training/test_trainer.py::test_goes_on_from_the_checkpoint_before_a_damaged_one",
        "a resumed run equals an uninterrupted one: the warm-up of the average",
    ),
    Mutant(
        "data_from_the_start",
        "training/trainer.py",
        "start=self.learner.next_batch",
        "start=0",
        "training/test_trainer.py::test_goes_on_from_the_checkpoint_before_a_damaged_one",
        "a resumed run equals an uninterrupted one: its place in the data",
    ),
    Mutant(
        "damage_unseen",
        "training/checkpoint.py",
        "if digest(place / name) != expected:",
        "if not (place / name).exists():",
        "training/test_checkpoint.py::test_a_damaged_one_is_passed_over_with_a_word",
        "a damaged checkpoint is not gone on from",
    ),
    Mutant(
        "average_without_warm_up",
        "training/ema.py",
        "keep = min(self.decay, (1 + self.updates) / (10 + self.updates))",
        "keep = self.decay",
        "training/test_ema.py::test_follows_the_warmed_up_recurrence",
        "averaged weights follow their formula",
    ),
    Mutant(
        "parents_by_name",
        "training/recipe.py",
        "    if isinstance(value, Recipe):\n        return value.hash()",
        "    if isinstance(value, Recipe):\n        return value.name",
        "training/test_recipe.py::"
        "test_a_change_deep_in_the_tree_or_among_the_ancestors_changes_the_hash",
        "a recipe's hash changes with its ancestors",
    ),
    Mutant(
        "some_fields_not_hashed",
        "training/recipe.py",
        "if item.metadata == WITHOUT_SAYING and content == item.default:",
        "if item.metadata == WITHOUT_SAYING:",
        "training/test_recipe.py::test_whatever_changes_the_run_changes_the_hash",
        "a recipe's hash changes with its values",
    ),
    Mutant(
        "weights_not_compared",
        "training/provenance.py",
        '("files", dict(found.files), file_hashes(folder))',
        '("files", sorted(found.files), sorted(file_hashes(folder)))',
        "training/test_provenance.py::test_changed_weights_break_the_chain",
        "changed weights break the chain of recipes",
    ),
    # Data and files.
    Mutant(
        "cache_of_any_codec",
        "data/cache.py",
        'f"{source.key()}-{encoder.hash()}-{PART}"',
        'f"{source.key()}-{PART}"',
        "data/test_batches.py::test_a_cache_of_another_codec_is_another",
        "cached latents are those of one codec",
    ),
    Mutant(
        "half_a_file",
        "video/atomic.py",
        "_remove(draft)  # if it was not moved",
        "if draft.exists():\n            os.replace(draft, path)",
        "video/test_atomic.py::test_what_fails_leaves_the_older_file",
        "a file appears whole or not at all",
    ),
    Mutant(
        "weights_in_half_precision",
        "systems/shelf.py",
        "stored.get_tensor(key).to(self.dtype)",
        "stored.get_tensor(key).half().to(self.dtype)",
        "systems/test_load.py::test_a_saved_system_comes_back_whole",
        "weights come back as they were saved",
    ),
    Mutant(
        "buffers_put_away_too",
        "systems/shelf.py",
        "    for part in module.modules():\n",
        '    module.to("meta")\n    for part in module.modules():\n',
        "systems/test_plan.py::test_networks_kept_on_disk_draw_the_same",
        "networks kept on disk draw the same frames",
    ),
    Mutant(
        "put_away_while_drawing",
        "systems/shelf.py",
        "@torch.inference_mode(False)\ndef put_away",
        "def put_away",
        "cli/test_plan.py::test_a_video_made_in_little_memory_is_made_again",
        "networks kept on disk are known by their weights after drawing, too",
    ),
    Mutant(
        "one_stays_in_memory",
        "systems/system.py",
        "for module in modules.values():\n                put_away(module)",
        "for module in [*modules.values()][1:]:\n                put_away(module)",
        "systems/test_plan.py::test_networks_kept_on_disk_draw_the_same",
        "networks kept on disk are in memory only while they work",
    ),
    Mutant(
        "seed_not_read_back",
        "cli/making.py",
        "return cls(**found)",
        'return cls(**found | {"seed": 0})',
        "cli/test_generate.py::test_replay_of_one_of_many_is_exact",
        "replay makes the very frames again",
    ),
    # The world, and how it is read.
    Mutant(
        "any_place_is_right",
        "world/grammar.py",
        "draws.pick(relations[first])",
        "draws.pick(relations[0])",
        "world/test_grammar.py::test_relations_are_true_of_the_thing_named_first",
        "captions say where things are to each other",
    ),
    Mutant(
        "places_not_swapped",
        "world/grammar.py",
        "ordered = where if first == 0 else (where[1], where[0])",
        "ordered = where",
        "world/test_grammar.py::test_relations_are_true_of_the_thing_named_first",
        "captions say of each thing where it is",
    ),
    Mutant(
        "texture_unsaid",
        "world/grammar.py",
        'if "texture" in details:',
        'if "texture" in details and not words:',
        "world/test_grammar.py::test_captions_state_their_facts_and_no_others",
        "captions state their facts",
    ),
    Mutant(
        "crop_by_the_wrong_corner",
        "world/render.py",
        "slice(left, left + columns)",
        "slice(top, top + columns)",
        "world/test_render.py::test_a_crop_is_a_slice",
        "a crop shows the same scene",
    ),
    Mutant(
        "corners_of_pixels",
        "world/render.py",
        "y = (np.arange(height) + 0.5) / height",
        "y = np.arange(height) / height",
        "world/test_render.py::test_sizes_show_the_same_scene",
        "any size shows the same scene",
    ),
    Mutant(
        "eight_frames_a_second",
        "world/render.py",
        "time = start + index / fps",
        "time = start + index / 8",
        "world/test_render.py::test_frame_rates_sample_one_time_line",
        "any frame rate shows the same scene",
    ),
    Mutant(
        "flow_without_spin",
        "world/render.py",
        "s = np.float32(ratio * (a.cosine * b.sine - a.sine * b.cosine))",
        "s = np.float32(ratio * (a.sine * b.cosine - a.cosine * b.sine))",
        "world/test_render.py::test_flow_takes_each_frame_to_the_next",
        "flow is that of the frames",
    ),
    Mutant(
        "masks_upright",
        "world/render.py",
        "away = DISTANCE[thing.shape](*_turned(pose, *_local(grid, pose, rows, columns)))",
        "away = DISTANCE[thing.shape](*_local(grid, pose, rows, columns))",
        "world/test_render.py::test_flow_takes_each_frame_to_the_next",
        "masks turn with what they show",
    ),
    Mutant(
        "eighths_of_a_second",
        "metrics/oracle.py",
        "video[:, :, :: int(fps) // 4]",
        "video[:, :, :: max(int(fps) // 8, 1)]",
        "metrics/test_oracle.py::test_it_looks_every_quarter_second",
        "the oracle sees quarters of a second, at any frame rate",
    ),
    Mutant(
        "things_in_any_order",
        "metrics/accuracy.py",
        "seen[factor] == getattr(thing, factor)\n"
        "                for thing, seen in zip(scene.things, reading.things, strict=False)",
        "any(seen[factor] == getattr(thing, factor) for seen in reading.things)\n"
        "                for thing in scene.things",
        "metrics/test_accuracy.py::test_swapped_objects_are_wrong",
        "a reading is right of each thing in its own place",
    ),
    Mutant(
        "clips_alone",
        "metrics/interval.py",
        "rows = draw.integers(runs, size=(DRAWS, runs))",
        "rows = np.tile(np.arange(runs), (DRAWS, 1))",
        "metrics/test_interval.py::test_runs_that_differ_widen_it_though_clips_agree",
        "an interval is over runs and clips",
    ),
    Mutant(
        "jumps_are_usual",
        "metrics/health.py",
        "float(np.median(moved))",
        "float(steps.max())",
        "metrics/test_health.py::test_a_jump_and_other_colours_are_seen",
        "a seam in a video is complained of",
    ),
    Mutant(
        "unstated_sizes_are_probed",
        "metrics/captions.py",
        "known &= torch.tensor(said)",
        "known &= torch.tensor([True for _ in said])",
        "metrics/test_captions.py::test_the_shipped_encoder_tells_what_captions_state",
        "a probe is tried on what captions state",
    ),
    Mutant(
        "unstated_counts",
        "evaluation/run.py",
        "facts_of(scene, level) if len",
        'facts_of(scene, "full") if len',
        "evaluation/test_run.py::test_what_else_a_caption_states_is_counted_where_it_states_it",
        "what a caption does not state is not asked of a video",
    ),
    Mutant(
        "edges_are_seams",
        "metrics/health.py",
        "if there[max(small - NEAR, 0) : small + NEAR + 1].max() < here[line] / 2:",
        "if True:",
        "metrics/test_health.py::test_edges_of_what_is_shown_are_no_seams",
        "an edge that was there before is no seam",
    ),
    Mutant(
        "seams_are_usual",
        "metrics/health.py",
        "np.median(beside, axis=1)",
        "beside.max(axis=1)",
        "metrics/test_health.py::test_a_seam_through_the_picture_is_seen",
        "a seam within frames is complained of",
    ),
    Mutant(
        "tint_averaged_out",
        "metrics/health.py",
        "apart = np.abs(np.subtract(look.colour, made_from.colour)).max()",
        "apart = np.abs(np.subtract(look.colour, made_from.colour).mean())",
        "metrics/test_health.py::test_a_jump_and_other_colours_are_seen",
        "another tint is complained of",
    ),
    # What an audit of the tests found without a bug.
    Mutant(
        "repeats_pass_unseen",
        "metrics/health.py",
        "elif repeated > REPEATS * len(steps):",
        "elif repeated > len(steps):",
        "metrics/test_health.py::test_what_goes_wrong_on_the_way_is_seen",
        "an interpolation that only repeats is seen",
    ),
    Mutant(
        "no_number_is_black",
        "video/frames.py",
        "if not video.isfinite().all():",
        "if False:",
        "systems/test_cascade.py::test_a_network_that_breaks_down_makes_no_black_video",
        "values that are no numbers are never shown as black",
    ),
    Mutant(
        "held_frames_are_shown",
        "video/files.py",
        "return max(min(held, shown), 1)",
        "return max(held, 1)",
        "video/test_files.py::test_a_file_trimmed_without_encoding_it_anew",
        "a trimmed file has the frames that a player shows",
    ),
    Mutant(
        "a_cover_is_a_video",
        "video/files.py",
        "if av.stream.Disposition.attached_pic not in stream.disposition:",
        "if stream is not None:",
        "video/test_files.py::test_the_cover_of_a_song_is_no_video",
        "the cover of a song is no video",
    ),
    Mutant(
        "no_window_backwards",
        "data/windows.py",
        "return window.flip(1) if turned else window",
        "return window.flip(2) if turned else window",
        "data/test_windows.py::test_half_of_the_windows_run_backwards_if_asked",
        "windows that run backwards do so in time",
    ),
    Mutant(
        "only_the_first_frame_counts",
        "metrics/consistency.py",
        "return ((before + first) / 2).mean(dim=1)",
        "return first.mean(dim=1)",
        "metrics/test_consistency.py::"
        "test_cosines_with_the_frame_before_and_the_first_are_averaged",
        "consistency is with the frame before and the first",
    ),
    Mutant(
        "stopped_without_a_way_on",
        "cli/staged.py",
        "        if left is None:\n            raise\n",
        "        if left is not None:\n            raise\n",
        "cli/test_continue.py::test_stopped_while_a_preview_is_replaced_the_one_before_is_whole",
        "Ctrl-C after a stage says how to go on",
    ),
    Mutant(
        "seeds_go_by_the_batch",
        "systems/system.py",
        "Generator().manual_seed(_seed_of(s, stage))",
        "Generator().manual_seed(_seed_of(s + count, stage))",
        "systems/test_lavie.py::test_a_seed_decides_the_video_whatever_the_batch",
        "a video depends on its seed and not on its batch",
    ),
    Mutant(
        "batches_begin_anew",
        "training/trainer.py",
        "prefetched(self.run.batches, start=self.learner.next_batch) as batches,",
        "prefetched(self.run.batches, start=0) as batches,",
        "training/test_resume.py::test_ends_with_the_same_weights",
        "a run that was killed goes on with the next batch",
    ),
    Mutant(
        "noise_of_the_machine",
        "diffusion/denoise.py",
        "[torch.randn(shape, generator=each, device=each.device) for each in generators]",
        "[torch.randn(shape, device=each.device) for each in generators]",
        "invariants/test_denoise.py::test_no_draw_touches_the_global_generator",
        "no draw touches the global generator",
    ),
    Mutant(
        "one_thing_held_out_is_enough",
        "world/scene.py",
        'return any(kept) if split == "held-out" else not any(kept)',
        'return any(kept) if split == "held-out" else not all(kept)',
        "world/test_scene.py::test_held_out_combinations_occur_in_their_split_only",
        "no combination held out occurs in training",
    ),
    Mutant(
        "the_excluded_is_drawn",
        "world/scene.py",
        "if excluded_combination(replace(frame, things=tuple(things))):",
        "if False:",
        "world/test_scene.py::test_nothing_excluded_is_drawn",
        "what cannot be seen is not drawn",
    ),
    Mutant(
        "masks_stand_still",
        "world/render.py",
        "            _mark(frame, thing, grid, float(time))",
        "            _mark(frame, thing, grid, float(times[0]))",
        "world/test_render.py::test_masks_show_where_things_are",
        "masks go with their things",
    ),
    Mutant(
        "backdrop_flow_backwards",
        "world/render.py",
        "_backdrop_flow(sheets, scene.camera, grid, now, then)",
        "_backdrop_flow(sheets, scene.camera, grid, then, now)",
        "world/test_render.py::test_background_flow_takes_each_frame_to_the_next",
        "flow leads from each frame to the next",
    ),
)


def main(names: Sequence[str]) -> int:
    """Tries the mutants of these names, or all; how the process is to end.

    Args:
        names: Of mutants.
    """
    unknown = sorted(set(names) - {mutant.name for mutant in MUTANTS})
    if unknown:
        raise SystemExit(f"no mutant is named {', '.join(unknown)}: see {Path(__file__).name}.")
    chosen = [mutant for mutant in MUTANTS if not names or mutant.name in names]
    began = time.monotonic()
    with TemporaryDirectory(prefix="mutants") as folder:
        copy = Path(folder)
        for name in COPIED:
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, copy / name, ignore=ignore)
        shutil.copy(ROOT / "pyproject.toml", copy)
        problems = misfits(copy, MUTANTS)
        if problems:
            raise SystemExit("\n".join(["The table does not fit the package:", *problems]))
        unfit = failing(copy, list(dict.fromkeys(mutant.test for mutant in chosen)))
        caught = 0
        for mutant in chosen:
            if mutant.test in unfit:
                verdict, why = "test does not pass unbroken", unfit[mutant.test]
            else:
                with broken(copy, mutant):
                    verdict, why = judged(copy, mutant.test)
            caught += verdict == "caught"
            print(f"{verdict:<7} {mutant.name}: {mutant.says}", flush=True)
            print(f"        {mutant.test}{why and f': {why}'}", flush=True)
    print(f"{caught} of {len(chosen)} caught in {time.monotonic() - began:.0f} s")
    return int(caught < len(chosen))


def misfits(copy: Path, mutants: Sequence[Mutant]) -> list[str]:
    """What of a table does not fit the package and its tests: it must not rot unseen.

    Args:
        copy: Folder of both.
        mutants: The table.
    """
    found = []
    for mutant in mutants:
        file, test = copy / "mutoscope" / mutant.file, mutant.test.split("::")
        count = file.read_text("utf-8").count(mutant.old) if file.exists() else 0
        if count != 1:
            found.append(f"{mutant.name}: {mutant.file} holds {mutant.old!r} {count} times, not 1.")
        if mutant.new == mutant.old:
            found.append(f"{mutant.name}: nothing is changed.")
        path = copy / "tests" / test[0]
        if not path.exists() or f"def {test[1]}(" not in path.read_text("utf-8"):
            found.append(f"{mutant.name}: there is no test {mutant.test}.")
        if sum(other.name == mutant.name for other in mutants) > 1:
            found.append(f"{mutant.name}: two mutants have this name.")
    return found


def failing(copy: Path, tests: Sequence[str]) -> dict[str, str]:
    """Those tests that fail although nothing is broken, and why."""
    if pytest(copy, *tests).returncode == 0:
        return {}
    verdicts = {test: judged(copy, test) for test in tests}
    return {test: why for test, (verdict, why) in verdicts.items() if verdict != "MISSED"}


@contextmanager
def broken(copy: Path, mutant: Mutant) -> Iterator[None]:
    """The copy has the bug for as long as this lasts."""
    file = copy / "mutoscope" / mutant.file
    whole = file.read_text("utf-8")
    file.write_text(whole.replace(mutant.old, mutant.new), "utf-8")
    try:
        yield
    finally:
        file.write_text(whole, "utf-8")


def judged(copy: Path, test: str) -> tuple[str, str]:
    """What a test says of the copy as it is, and where it failed.

    A test that cannot be run has not seen anything: what no longer imports is not caught.
    """
    try:
        done = pytest(copy, "-x", test, limit=LIMIT)
    except subprocess.TimeoutExpired:
        return "ENDLESS", f"more than {LIMIT:.0f} s"
    if done.returncode == 0:
        return "MISSED", ""
    lines = done.stdout.splitlines()
    where = [line for line in lines if re.match(r"\S+\.py:\d+: ", line)]
    why = where[0].replace(f"{copy}/", "") if where else " ".join(lines[-1:])
    failed = done.returncode == 1 and any(re.search(r"\b\d+ failed", line) for line in lines)
    return "caught" if failed else "BROKEN", why[:160]


def pytest(
    copy: Path, *arguments: str, limit: float | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs tests of the copy, named below `tests/`, in a process of their own.

    Nothing that was compiled is kept: Python may take an older file for one of the same second.
    """
    options = ("-q", "--tb=line", "--no-showlocals", "-p", "no:cacheprovider")
    named = (each if each.startswith("-") else f"tests/{each}" for each in arguments)
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, *named],
        cwd=copy,
        env=os.environ
        | {"PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=limit,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
