"""Plan: what a video will take, stage by stage, and how the work is cut to fit in memory."""

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import Any

import torch
from torch import nn

from mutoscope.diffusion.tiles import Tiles, spans
from mutoscope.diffusion.windows import windows
from mutoscope.encoding.codec import LatentCodec
from mutoscope.encoding.detail import DetailCodec
from mutoscope.errors import RequestError
from mutoscope.nn.attention import ReadText
from mutoscope.stages.interpolation import num_frames as frames_of
from mutoscope.systems.cascade import BASE, INTERPOLATE, UPSCALE
from mutoscope.systems.cost import Cost, cost_of, weight_bytes
from mutoscope.systems.cuts import Cut, Cuts, Decoding
from mutoscope.systems.lavie import LaVie
from mutoscope.systems.long import clips
from mutoscope.types import Size

TEXT, LARGE_TEXT, DECODE, ENLARGED = "text", "text enlarged", "decode", "decode enlarged"
# What Python, torch and other libraries occupy on Linux before a model is there, rounded up: the
# miniature took 509 MB where 548 were planned. On a GPU the context that the driver makes is
# about as much.
_PROGRAM = 500_000_000
# What share of the rate of a matrix product the networks reach (benchmarks/memory.py).
SHARE = 0.5
_SIDE = 2048  # of the matrices whose product is timed
_TRIED = 256  # first, whether that is worth while
_TRYING = 0.5  # seconds
# What the encoder of .mp4 holds, which looks ahead: bytes for each pixel of so many frames at most.
# 5.7 to 7.9 were measured (x264 at 640x1024 and 320x512).
_ENCODER_BYTES, _ENCODER_FRAMES = 6, 45
# The smallest tiles, as a share of the frames that a network was trained on: it is to see what it
# draws. The interpolation also sees its key frames, and the upscaler all but the details.
_LEAST_TILE = {INTERPOLATE: 0.5, UPSCALE: 0.25}
_LEAST_WINDOW = 4
# What single operations take beside their results: next to nothing, but so is the miniature.
_SCRATCH = 4_000_000
_PARTS = 4  # in which attention and feed-forward may work; more save nothing


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is to be made.

    Attributes:
        stages: The stages that run.
        keys: Frames that the first of them draws or is given.
        size: Of these frames, pixels.
        num_frames: Of the finished video.
        steps: Of the base.
        guidance_scale: Of the base.
        clip: Frames that the base draws at once, going on from the last; None for all.
    """

    stages: tuple[str, ...]
    keys: int
    size: Size
    num_frames: int
    steps: int
    guidance_scale: float
    clip: int | None = None


@dataclass(frozen=True, kw_only=True)
class Line:
    """What one part of the work takes.

    Attributes:
        name: A stage, an encoder of text, or a decoding.
        parameters: Of the networks that it needs.
        flops: Operations, all steps, windows, tiles and branches of guidance together.
        peak: Most memory in use while it runs, bytes, with program and weights.
        above: The part of it that is neither program nor weights.
        cut: How the work is cut.
    """

    name: str
    parameters: int
    flops: int
    peak: int
    above: int
    cut: Cut | Decoding | None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a video is made.

    Attributes:
        lines: The parts of the work in order.
        cuts: How they are cut.
        dtype: The precision.
        offload: Whether each network is in memory only while it works.
    """

    lines: tuple[Line, ...]
    cuts: Cuts
    dtype: torch.dtype
    offload: bool

    @property
    def peak(self) -> int:
        """Most memory in use at any time, bytes."""
        return max(line.peak for line in self.lines)

    @property
    def flops(self) -> int:
        """Operations in all."""
        return sum(line.flops for line in self.lines)


def task_of(
    system: LaVie,
    stages: Sequence[str],
    num_frames: int,
    size: Size,
    steps: int,
    scale: float,
    *,
    long: bool = False,
) -> Task:
    """What a call of the system with these arguments makes.

    Args:
        system: Its weights are not looked at.
        stages: Of which the last makes the finished video.
        num_frames: Of the finished video.
        size: Of the finished video.
        steps: Of the base.
        scale: Guidance scale of the base.
        long: Whether it goes on from clip to clip.

    Raises:
        RequestError: The system cannot make that.
    """
    small, frames = system.check_video(size, num_frames, stages, long=long)
    factor = system.config.factor if INTERPOLATE in stages else 1
    return Task(
        stages=tuple(each for each in stages if each != INTERPOLATE or frames > 1),
        keys=1 + -(-(frames - 1) // factor),
        size=small,
        num_frames=frames,
        steps=steps,
        guidance_scale=scale,
        clip=system.config.num_frames if long else None,
    )


def task_of_video(system: LaVie, stage: str, num_frames: int, size: Size) -> Task:
    """What making a given video smoother or larger is.

    Args:
        system: Its weights are not looked at.
        stage: "interpolate" or "upscale".
        num_frames: Of the given video.
        size: Of the given video; it is rounded up to what the networks' grids take.

    Raises:
        RequestError: The system has no such stage.
    """
    if stage not in system.stages:
        raise RequestError(f"this model has no network for {stage!r}. Use one that has.")
    if stage == INTERPOLATE:
        multiple = LatentCodec(system.vae).spatial_factor
    else:
        multiple = 2 ** (len(_config(system.upscaler).block_out_channels) - 1)
    return Task(
        stages=(stage,),
        keys=num_frames,
        size=Size(-(-size.height // multiple) * multiple, -(-size.width // multiple) * multiple),
        num_frames=(
            frames_of(num_frames, factor=system.config.factor)
            if stage == INTERPOLATE
            else num_frames
        ),
        steps=0,
        guidance_scale=1.0,
    )


def plan(
    system: LaVie,
    task: Task,
    *,
    memory: int | None = None,
    dtypes: Sequence[torch.dtype],
    device: str = "cpu",
    resident: bool = False,
) -> Plan:
    """How `task` is best done in so much memory.

    What changes nothing comes first: networks in memory only while they work, guidance in two
    calls, few frames decoded at once; then the next precision; only then smaller tiles and windows.

    Args:
        system: Without weights (see `outline`); its modules are moved to the meta device.
        task: What is to be made.
        memory: Bytes; None for as much as there may be.
        dtypes: The precisions that may be used, the best first.
        device: Where it is to be done, as torch names it.
        resident: Whether all networks have to stay in memory.

    Raises:
        RequestError: It cannot be done in so little memory; the message has the least possible.
    """
    places = (False,) if resident else (False, True)
    ways = [(True, dtype, offload) for dtype in dtypes for offload in places]
    for gently, dtype, offload in [*ways, (False, dtypes[-1], places[-1])]:
        works = _Works(system, task, dtype, offload, device)
        lines = []
        for name in works.names:
            lines.append(works.first_within(name, memory, gently))
            if gently and memory is not None and lines[-1].peak > memory:
                break
        else:
            widest = max(lines, key=lambda line: line.peak)
            if memory is None or widest.peak <= memory:
                return _plan_of(works.usual, lines, dtype, offload)
    least, name = widest.peak, widest.name
    raise RequestError(
        f"{memory_text(memory or 0)} of memory are not enough for this video: {name} takes at "
        f"least {memory_text(least)}, however the work is cut"
        + (
            " as long as all networks stay in memory. They need not in a model that knows the word "
            "of --lora already: mutoscope.load(MODEL).load_lora(LORA).save_pretrained(FOLDER) in "
            "Python makes one, for --model FOLDER. Or use --memory "
            if resident
            else ". Use --memory "
        )
        + f"{-(-least // 10**6) / 1000:g}GB or more, fewer frames, a smaller size, or --dtype bf16."
    )


def _plan_of(usual: Cuts, lines: Sequence[Line], dtype: torch.dtype, offload: bool) -> Plan:
    cuts = {line.name: line.cut for line in lines}
    small, large = cuts.get(DECODE), cuts.get(ENLARGED)
    return Plan(
        lines=tuple(lines),
        cuts=Cuts(
            stages={
                name: cut if isinstance(cut := cuts.get(name), Cut) else default
                for name, default in usual.stages.items()
            },
            small=small if isinstance(small, Decoding) else usual.small,
            large=large if isinstance(large, Decoding) else usual.large,
        ),
        dtype=dtype,
        offload=offload,
    )


class _Works:
    """The parts of a task in one precision, each with all ways of cutting it."""

    def __init__(
        self, system: LaVie, task: Task, dtype: torch.dtype, offload: bool, device: str
    ) -> None:
        self.system, self.task, self.dtype, self.offload = system, task, dtype, offload
        self.usual = system.usual_cuts(device)
        self.modules = {n: m for n, m in system.components.items() if isinstance(m, nn.Module)}
        for module in self.modules.values():
            nn.Module.to(module, "meta", dtype)  # the mixins' own says more than is of use here
        networks = {BASE: "base", INTERPOLATE: "interpolator", UPSCALE: "upscaler"}
        # Part of the work -> the components that are in memory meanwhile; the first one computes.
        self.needs = {TEXT: ["text_encoder"]} if "text_encoder" in self.modules else {}
        for stage in task.stages:
            if stage == UPSCALE:
                # Small frames are decoded, and large ones drawn and decoded, in turn.
                small = ["vae"] if BASE in task.stages else []
                if "upscaler_text_encoder" in self.modules:
                    self.needs[LARGE_TEXT] = ["upscaler_text_encoder"]
                self.needs |= {DECODE: ["vae", "upscaler", "upscaler_vae"]} if small else {}
                self.needs[UPSCALE] = ["upscaler", "upscaler_vae", *small]
                self.needs[ENLARGED] = ["upscaler_vae", "upscaler", *small]
            else:
                self.needs[stage] = [networks[stage]]
        if UPSCALE not in task.stages:
            self.needs[DECODE] = ["vae"]
        self.names = list(self.needs)

    def first_within(self, name: str, memory: int | None, gently: bool) -> Line:
        """The first way of cutting a part that fits, or else the one that takes least.

        Args:
            name: Of the part.
            memory: Bytes.
            gently: Leaves out ways that change what is drawn.
        """
        needs = [self.modules[each] for each in self.needs[name]]
        there = needs if self.offload else list(self.modules.values())
        weights = _PROGRAM + sum(weight_bytes(module, self.dtype) for module in there)
        least: Line | None = None
        for cut in self._ways(name, gently):
            flops, above = self._cost(name, needs[0], cut)
            line = Line(
                name=name,
                parameters=sum(p.numel() for p in needs[0].parameters()),
                flops=flops,
                peak=weights + above,
                above=above,
                cut=cut,
            )
            if memory is None or line.peak <= memory:
                return line
            least = line if least is None or line.peak < least.peak else least
        assert least is not None
        return least

    def _ways(self, name: str, gently: bool) -> Iterator[Cut | Decoding | None]:
        """Ways of cutting a part, each with less at once than the one before."""
        if name in (DECODE, ENLARGED):
            most = self.usual.small.frames if name == DECODE else self.usual.large.frames
            while most > 1:
                yield Decoding(frames=most)
                most //= 2
            yield Decoding(frames=1)
            # In tiles a frame's normalisations see a part of it only, which changes colours a bit.
            for share in () if gently else (0.5, 0.25):
                yield Decoding(frames=1, tile=round(share * min(self._grid(name))))
        elif name in self.usual.stages:
            yield from self._ways_of_stage(name, gently)
        else:
            yield None

    def _ways_of_stage(self, name: str, gently: bool) -> Iterator[Cut]:
        usual = self.usual.stages[name]
        grid, tiles = self._grid(name), usual.tiles
        if tiles is not None and tiles.height >= grid[0] and tiles.width >= grid[1]:
            usual = replace(usual, tiles=None)
        for apart in (False, True) if self._branches(name) > 1 else (False,):
            yield replace(usual, apart=apart)
        parts = max(usual.parts, _PARTS)
        if parts > usual.parts:
            yield replace(usual, apart=apart, parts=parts)
        if gently or tiles is None:
            return
        learned = self._grid_of(self.system.native_size, name)
        for tiles in _tilings(grid, [_LEAST_TILE[name] * side for side in learned]):
            yield Cut(window=usual.window, tiles=tiles, apart=True, parts=parts)
        window = usual.window
        while window > _LEAST_WINDOW:
            window = max(window // 2, _LEAST_WINDOW)
            yield Cut(window=window, tiles=tiles, apart=True, parts=parts)

    def _branches(self, name: str) -> int:
        config = self.system.config
        scale = {
            BASE: self.task.guidance_scale,
            INTERPOLATE: config.interpolation_guidance_scale,
            UPSCALE: config.upscale_guidance_scale,
        }[name]
        return 1 if scale == 1 else 2

    def _grid(self, name: str) -> tuple[int, int]:
        """Height and width in cells of what a part sees."""
        return self._grid_of(self.task.size, name)

    def _grid_of(self, size: Size, name: str) -> tuple[int, int]:
        if name in (UPSCALE, ENLARGED):
            return size.height, size.width
        return LatentCodec(self.system.vae).latent_size(size)

    def _cost(self, name: str, module: nn.Module, cut: Cut | Decoding | None) -> tuple[int, int]:
        """Operations of a whole part, and its peak above program and weights, bytes."""
        if isinstance(cut, Decoding):
            return self._cost_of_decoding(name, module, cut)
        if isinstance(cut, Cut):
            return self._cost_of_stage(name, module, cut)
        cost = _text_cost(module)
        return 2 * cost.flops, cost.peak  # the prompt, and what guidance leads away from

    def _cost_of_decoding(self, name: str, vae: nn.Module, cut: Decoding) -> tuple[int, int]:
        height, width = self._grid(name)
        at_once = min(cut.frames, self.task.num_frames)
        detail = self.system.config.upscale_detail if name == ENLARGED else None
        cost = _decoding_cost(vae, at_once, height, width, cut.tile, self.dtype, detail)
        held = self._held_while_writing()
        if UPSCALE in self.task.stages:
            upscaler = self.modules["upscaler"]
            # Latents of the window that was drawn last, its noise, and what it began with.
            latents = 4 * _config(upscaler).out_channels * self._small_area
            held += 3 * latents * self._window
        return round(cost.flops * self.task.num_frames / at_once), held + cost.peak

    def _held_while_writing(self) -> int:
        """What lives while finished frames are made and written, bytes.

        For all frames at once these are latents, or a video that was given.
        """
        frames, area, held = self.task.num_frames, self._small_area, self._given
        if self.task.stages != (UPSCALE,):
            codec = LatentCodec(self.system.vae)
            held += 4 * codec.channels * frames * area // codec.spatial_factor**2
        large = area
        if UPSCALE in self.task.stages:
            large *= LatentCodec(self.system.upscaler_vae).spatial_factor ** 2
            # Small frames of a window and those decoded with them, as bytes; with noise as floats.
            decoded = self.usual.small.frames
            held += 3 * area * (self._window + decoded + 4 * self._window)
        return held + _ENCODER_BYTES * min(frames, _ENCODER_FRAMES) * large

    @property
    def _small_area(self) -> int:
        """Pixels of a small frame."""
        return self.task.size.height * self.task.size.width

    @property
    def _given(self) -> int:
        """Bytes of a video that is made smoother or larger."""
        return 0 if BASE in self.task.stages else 3 * self.task.keys * self._small_area

    @property
    def _window(self) -> int:
        """Frames of which the upscaler is usually told at once."""
        return min(self.usual.stages[UPSCALE].window, self.task.num_frames)

    def _cost_of_stage(self, name: str, network: nn.Module, cut: Cut) -> tuple[int, int]:
        config = self.system.config
        height, width = self._grid(name)
        total = self.task.keys if name in (BASE, INTERPOLATE) else self.task.num_frames
        counts = [total]
        if name == BASE and self.task.clip is not None:
            counts = [self.task.clip] * len(clips(total, self.task.clip))
        if name != BASE:
            overlap = self.system.overlap(name, cut.window)
            parts = windows(total, size=cut.window, overlap=overlap)
            counts = [part.stop - part.start for part in parts]
        if name == INTERPOLATE:
            counts = [frames_of(count, factor=config.factor) for count in counts]
        calls, frames, tall, wide = 1, counts[0], height, width
        if cut.tiles is not None:
            rows = spans(height, cut.tiles.height, cut.tiles.overlap)
            columns = spans(width, cut.tiles.width, cut.tiles.overlap)
            calls = len(rows) * len(columns)
            tall, wide = rows[0].stop, columns[0].stop
        branches = self._branches(name)
        together = 1 if cut.apart else branches
        steps = {
            BASE: self.task.steps,
            INTERPOLATE: config.interpolation_steps,
            UPSCALE: config.upscale_steps,
        }[name]
        costs = [
            _network_cost(
                network, together, count, tall, wide, self._tokens(name), self.dtype, cut.parts
            )
            for count in counts
        ]
        # Noise, the latents of this step and the next, and what each branch was told and predicts.
        latents = _config(network).out_channels * height * width * 4
        held = (3 + 2 * branches) * frames * latents
        if name == INTERPOLATE:
            held += self.task.num_frames * latents + self._given
        if name == BASE and len(counts) > 1:
            held += sum(counts) * latents
        if name == UPSCALE:
            held += self._held_while_writing()
        # Keys and values of the text are made once for all steps and tiles of a window.
        reading = _reading_cost(network, branches, self._tokens(name), self.dtype)
        in_all = steps * sum(cost.flops for cost in costs)
        drafted = self.system.draft_steps(steps, counts[0]) if name == BASE else 0
        in_all += drafted * costs[0].flops
        flops = in_all * (branches // together) * calls
        above = held + reading.peak + costs[0].peak + _SCRATCH
        return flops + (len(counts) + (drafted > 0)) * reading.flops, above

    def _tokens(self, name: str) -> int:
        own = name == UPSCALE and "upscaler_text_encoder" in self.modules
        encoder = self.modules["upscaler_text_encoder" if own else "text_encoder"]
        most: int = _config(encoder).max_position_embeddings
        return most


def _tilings(grid: tuple[int, int], least: Sequence[float]) -> Iterator[Tiles]:
    """Tilings of a grid with more rows or columns each, down to the least height and width."""
    counts = [1, 1]
    while True:
        # The longer side of the tile is cut next.
        side = _tile(grid[1], counts[1]) >= _tile(grid[0], counts[0])
        counts[side] += max(1, counts[side] // 2)
        height, width = (_tile(side, count) for side, count in zip(grid, counts, strict=True))
        if height < least[0] or width < least[1]:
            return
        yield Tiles(height=height, width=width, overlap=min(height, width) // 4)


def _tile(side: int, count: int) -> int:
    """The side of so many tiles that share a quarter with each neighbour."""
    return -(-4 * side // (3 * count + 1))


# The same few calls are asked for again and again while ways of cutting are compared.
@lru_cache
def _network_cost(
    network: nn.Module,
    batch: int,
    frames: int,
    height: int,
    width: int,
    tokens: int,
    dtype: torch.dtype,
    parts: int,
) -> Cost:
    config = _config(network)
    noisy = config.num_noise_levels is not None
    text = torch.empty(batch, tokens, config.cross_attention_dim, dtype=dtype, device="meta")
    read = _read(network, text)

    def call() -> None:
        network.set_parts(parts)  # type: ignore[operator]
        shape = batch, config.in_channels, frames, height, width
        network(
            sample=torch.empty(shape, dtype=dtype, device="meta"),
            timestep=torch.empty(batch, device="meta"),
            encoder_hidden_states=text,
            text_mask=torch.empty(text.shape[:2], dtype=torch.bool, device="meta"),
            text_read=read,
            # Levels are looked at, so they need values.
            noise_level=torch.zeros(batch, dtype=torch.long) if noisy else None,
        )

    return cost_of(call)


@lru_cache
def _reading_cost(network: nn.Module, texts: int, tokens: int, dtype: torch.dtype) -> Cost:
    """Of all keys and values of the text, which live as long as a window is sampled."""
    width = _config(network).cross_attention_dim
    return cost_of(
        lambda: _read(network, torch.empty(texts, tokens, width, dtype=dtype, device="meta"))
    )


def _read(network: nn.Module, text: torch.Tensor) -> ReadText:
    read: ReadText = network.read_text(text)  # type: ignore[operator]
    return read


@lru_cache
def _decoding_cost(
    vae: nn.Module,
    frames: int,
    height: int,
    width: int,
    tile: int | None,
    dtype: torch.dtype,
    detail: float | None,
) -> Cost:
    codec = LatentCodec(vae)

    def call() -> None:
        shape = frames, height, width
        latents = torch.empty(1, codec.channels, *shape, dtype=dtype, device="meta")
        low = torch.empty(1, 3, *shape, device="meta")
        DetailCodec(codec, detail).decode(latents, low, tile=tile)

    return cost_of(call)


def _text_cost(encoder: nn.Module) -> Cost:
    tokens = _config(encoder).max_position_embeddings
    return cost_of(
        lambda: encoder(input_ids=torch.zeros(1, tokens, dtype=torch.long, device="meta"))
    )


def _config(module: nn.Module) -> Any:
    """The arguments that a module was made with."""
    return module.config


@cache
def matrix_rate(device: str, dtype: torch.dtype) -> float:
    """Operations a second of a product of large matrices here, the best of a few; measured once.

    Args:
        device: As torch names it.
        dtype: The precision.
    """
    # A CPU without units for a format takes a minute for what others do in a tenth of a second. On
    # a busy one a product may wait longer for its threads than it takes, so one cannot tell.
    rate, began = 0.0, time.perf_counter()
    while rate < 2 * _SIDE**3 and time.perf_counter() - began < _TRYING:
        rate = max(rate, _rate(_TRIED, device, dtype))
    return rate if rate < 2 * _SIDE**3 else max(_rate(_SIDE, device, dtype) for _ in range(4))


def _rate(side: int, device: str, dtype: torch.dtype) -> float:
    """Operations a second of one product of square matrices."""
    matrix = torch.ones(side, side, device=device, dtype=dtype)
    start = time.perf_counter()
    product = matrix @ matrix
    product[0, 0].item()  # a GPU is waited for
    return 2 * side**3 / (time.perf_counter() - start)


def seconds(flops: int, rate: float) -> float:
    """How long so many operations of networks take where a matrix product has that rate."""
    return flops / (SHARE * rate)


def read_memory(text: str) -> int:
    """Bytes of a figure like 12GB or 800MB.

    Raises:
        RequestError: `text` is anything else.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?) *([GM])B?", text.strip(), re.IGNORECASE)
    if match is None or not float(match[1]):
        raise RequestError(
            f"memory {text!r} cannot be read: it is a number with GB or MB. Use e.g. 12GB."
        )
    return round(float(match[1]) * {"G": 10**9, "M": 10**6}[match[2].upper()])


def memory_text(size: int) -> str:
    """Bytes as people write them."""
    return f"{size / 1e9:.1f} GB" if size >= 10**9 else f"{size / 1e6:.0f} MB"
