"""Plans: operations as PyTorch counts them, memory as it is measured, cuts that fit."""

import json
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from mutoscope.encoding.codec import LatentCodec
from mutoscope.errors import RequestError
from mutoscope.systems.cost import cost_of
from mutoscope.systems.cuts import Decoding
from mutoscope.systems.lavie import LaVie
from mutoscope.systems.load import load, outline
from mutoscope.systems.plan import (
    Line,
    Plan,
    Task,
    memory_text,
    plan,
    read_memory,
    task_of,
    task_of_video,
)
from mutoscope.types import Size
from tests.systems.peak import network_work
from tests.tiny import SENTENCE

FP32 = (torch.float32,)
BOTH = (torch.float32, torch.bfloat16)


def task(system: LaVie, *, num_frames: int = 13, size: Size) -> Task:
    return task_of(system, system.stages, num_frames, size, 3, 2.0)


def line(made: Plan, name: str) -> Line:
    (found,) = (each for each in made.lines if each.name == name)
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("num_frames", "size", "detail"),
    [
        (13, Size(32, 48), 0.4),
        pytest.param(20, Size(64, 96), None, marks=pytest.mark.long),
    ],
)
def test_operations_are_those_that_pytorch_counts(
    cascade_folder: Path, num_frames: int, size: Size, detail: float | None
) -> None:
    planned = outline(cascade_folder)
    planned.register_to_config(upscale_detail=detail)
    made = plan(planned, task(planned, num_frames=num_frames, size=size), dtypes=FP32)
    system = load(cascade_folder)
    system.register_to_config(upscale_detail=detail)
    prompt = SENTENCE
    while len(system.tokenizer(f"{prompt} a")["input_ids"]) <= 32:
        prompt += " a"
    # Of attention PyTorch counts the unfused form only.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        system(prompt, negative_prompt=prompt, num_frames=num_frames, size=size)
    assert made.flops == pytest.approx(counter.get_total_flops(), rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize(
    "work",
    ["base 16 20 32", pytest.param("lavie-mini 16 320 512", marks=pytest.mark.long)],
)
def test_memory_is_what_is_measured(work: str) -> None:
    command = [sys.executable, "-m", "tests.systems.peak", *work.split()]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    assert told["predicted"] == pytest.approx(told["measured"], rel=0.15)


def test_memory_counts_what_lives_at_the_same_time() -> None:
    def work() -> None:
        first = torch.empty(1000, device="meta")  # 4 kB
        second = first + 1  # 8 kB
        del first
        third = second.view(10, 100).relu()  # 8 kB; the view is no memory of its own
        del second
        torch.cat([third, third])  # 12 kB

    assert cost_of(work).peak == 12_000
    product = cost_of(lambda: torch.empty(4, 5, device="meta") @ torch.empty(5, 6, device="meta"))
    assert product.flops == 2 * 4 * 5 * 6


@pytest.mark.slow
def test_in_parts_attention_and_feed_forward_take_less() -> None:
    whole, parts = (
        cost_of(partial(network_work(name, "meta", torch.float32), (8, 16, 32)))
        for name in ("base", "base/4")
    )
    assert parts.peak < 0.7 * whole.peak
    assert parts.flops == pytest.approx(whole.flops, rel=0.03)  # the text is read for each part


def test_attention_keeps_no_scores() -> None:
    def work() -> None:
        states = torch.empty(1, 2, 1000, 8, device="meta")
        nn.functional.scaled_dot_product_attention(states, states, states)

    cost = cost_of(work)
    assert cost.peak == 2 * 4 * 2 * 1000 * 8
    assert cost.flops == 2 * 2 * 2 * 1000 * 1000 * 8


@pytest.mark.slow
def test_the_whole_of_lavie_is_planned_without_weights() -> None:
    system = outline("lavie")
    modules = [each for each in system.components.values() if isinstance(each, nn.Module)]
    parameters = [parameter for module in modules for parameter in module.parameters()]
    # The three networks lack the 16 frequencies of RoPE that two of the released ones store.
    assert sum(each.numel() for each in parameters) == 3_111_720_186 - 32
    assert {each.device.type for each in parameters} == {"meta"}
    asked = task_of(system, ("base",), 16, Size(320, 512), 50, 7.5)
    made = plan(system, asked, dtypes=FP32)
    assert line(made, "base").parameters == 909_124_100
    # 16.13 T a step with guidance, as PyTorch counts the released structure.
    assert line(made, "base").flops / 50 == pytest.approx(16.13e12, rel=0.01)


@pytest.mark.slow
def test_less_memory_is_met_by_cutting_more(cascade_folder: Path) -> None:
    system = outline(cascade_folder)
    asked = task(system, size=Size(64, 96))
    free = plan(system, asked, dtypes=BOTH)
    assert (free.offload, free.dtype) == (False, torch.float32)
    assert free.cuts == replace(system.usual_cuts(), stages=free.cuts.stages, small=free.cuts.small)
    limits = [free.peak - each for each in range(1, free.peak - 500_000_000, 4_200_000)]
    seen = []
    for limit in limits:
        try:
            made = plan(system, asked, memory=limit, dtypes=BOTH)
        except RequestError as error:
            least = read_memory(str(error).split("--memory ")[1].split(" or more")[0])
            break
        assert made.peak <= limit
        seen.append((made.offload, made.dtype, made.cuts.stages["upscale"]))
    else:
        pytest.fail("nothing was too little")
    assert {offload for offload, _, _ in seen} == {False, True}
    assert [dtype for _, dtype, _ in seen].index(torch.bfloat16) > 0
    assert seen[-1][2].tiles is not None
    assert seen[-1][2].apart
    assert seen[-1][2].parts > 1
    # What is said to be the least is enough.
    assert plan(system, asked, memory=least, dtypes=BOTH).peak <= least


@pytest.mark.slow
def test_cuts_that_change_nothing_change_nothing(tiny_cascade: LaVie) -> None:
    usual = tiny_cascade.usual_cuts()
    whole = tiny_cascade(SENTENCE, output_type="pt", stages=["base", "interpolate"]).frames
    stages = {name: replace(cut, apart=True, parts=3) for name, cut in usual.stages.items()}
    cuts = replace(usual, stages=stages, small=Decoding(frames=1))
    told = []
    cut = tiny_cascade(
        SENTENCE,
        output_type="pt",
        stages=["base", "interpolate"],
        cuts=cuts,
        on_step=lambda done, total, latents: told.append((done, total)),
    ).frames
    assert torch.allclose(cut, whole, atol=1e-4)
    assert told == [(1, 3), (2, 3), (3, 3), (1, 2), (2, 2)]


def test_tiles_of_a_frame_are_decoded_into_nearly_the_same_frame(tiny_system: LaVie) -> None:
    codec = LatentCodec(tiny_system.vae)
    latents = torch.randn(1, 4, 2, 24, 40, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        whole, tiled = codec.decode(latents), codec.decode(latents, tile=16)
        assert torch.equal(codec.decode(latents, tile=40), whole)
    assert tiled.shape == whole.shape
    assert not torch.equal(tiled, whole)
    assert (tiled - whole).abs().mean() < 0.2 * whole.std()


@pytest.mark.slow
def test_networks_kept_on_disk_draw_the_same(cascade_folder: Path) -> None:
    kept, system = load(cascade_folder, offload=True), load(cascade_folder)
    assert kept.weights_hash() == system.weights_hash()
    assert np.array_equal(kept(SENTENCE).frames, system(SENTENCE).frames)
    small = system(SENTENCE, stages=["base"]).frames[0]
    for name in ("interpolate", "upscale"):
        ours, theirs = (getattr(each, name)(small, fps=8.0).frames for each in (kept, system))
        assert np.array_equal(ours, theirs)
    modules = [each for each in kept.components.values() if isinstance(each, nn.Module)]
    assert {p.device.type for module in modules for p in module.parameters()} == {"meta"}


@pytest.mark.slow
def test_a_given_video_is_planned_too(cascade_folder: Path, tiny_folder: Path) -> None:
    system = outline(cascade_folder)
    for stage, names in (
        ("interpolate", ["text", "interpolate", "decode"]),
        ("upscale", ["text", "upscale", "decode enlarged"]),
    ):
        made = plan(system, task_of_video(system, stage, 5, Size(15, 23)), dtypes=FP32)
        assert [each.name for each in made.lines] == names
    with pytest.raises(RequestError, match="no network for 'upscale'"):
        task_of_video(outline(tiny_folder), "upscale", 5, Size(15, 23))


@pytest.mark.parametrize(
    ("text", "size"), [("12GB", 12 * 10**9), ("1.5g", 1.5 * 10**9), ("800 MB", 8 * 10**8)]
)
def test_memory_is_written_as_people_do(text: str, size: float) -> None:
    assert read_memory(text) == size
    assert read_memory(memory_text(round(size))) == size


@pytest.mark.parametrize("text", ["12", "GB", "-1GB", "0GB", "12 TB"])
def test_other_figures_are_refused(text: str) -> None:
    with pytest.raises(RequestError, match=r"Use e\.g\. 12GB"):
        read_memory(text)
