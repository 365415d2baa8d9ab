"""What one measurement has read so far, on disk: cut off, it goes on from there."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from mutoscope.errors import DataError
from mutoscope.metrics.oracle import Reading
from mutoscope.video.atomic import whole

# What a video passes through from its prompt to its reading; commands and training are not in it.
_LAYERS = ("nn", "diffusion", "video", "world", "encoding", "stages", "systems", "metrics")


@dataclass(frozen=True)
class Seen:
    """What was read in one clip.

    Attributes:
        reading: In the whole clip.
        steady: For each pair of neighbouring frames, whether the same shapes are read in both;
            empty where that was not asked.
    """

    reading: Reading
    steady: tuple[bool, ...] = ()


Look = Callable[[range], list[Seen]]
OnClip = Callable[[str, int, int], None]


class Readings:
    """`readings-KEY.jsonl`: the facts that decide what is read, then a batch of clips a line.

    The key is a hash of the facts and of the code that draws and reads, so what another model,
    setting or version has read lies in another file. Beside it, `pictures-KEY.npz` holds the
    first videos, for eyes.

    Args:
        folder: Where the files are, or shall be.
        facts: JSON values; all but the code that decides what is read.

    Raises:
        DataError: There is such a file, but it cannot be read.
    """

    def __init__(self, folder: Path, facts: Mapping[str, object]) -> None:
        decisive = {**facts, "code": code_hash()}
        key = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:16]
        self.path = folder / f"readings-{key}.jsonl"
        self._pictures = folder / f"pictures-{key}.npz"
        self._lines = [json.dumps(decisive, sort_keys=True)]
        self._batches: dict[tuple[str, int], list[Seen]] = {}
        self.seconds = 0.0
        """Wall clock that all of it took, over all processes that had a part in it."""
        if self.path.exists():
            self._load()

    def measure(
        self, kind: str, count: int, look: Look, *, batch_size: int, on_clip: OnClip
    ) -> list[Seen]:
        """What is read in each of so many clips: what is not on disk yet is looked at, and kept.

        Args:
            kind: What the clips are.
            count: How many.
            look: Reads the clips of these numbers.
            batch_size: Clips looked at in one call.
            on_clip: Called with the kind, and its clips done and in all, before each batch and
                after the last.
        """
        found: list[Seen] = []
        for start in range(0, count, batch_size):
            if (kind, start) not in self._batches:
                on_clip(kind, start, count)
                began = perf_counter()
                seen = look(range(start, min(start + batch_size, count)))
                self._add(kind, start, seen, perf_counter() - began)
            found += self._batches[kind, start]
        on_clip(kind, count, count)
        return found

    def keep_pictures(self, start: int, clips: UInt8[ndarray, "B F H W 3"]) -> None:
        """Keeps videos for eyes, in place of those of these numbers and later ones.

        Args:
            start: Number of the first.
            clips: The videos, uint8.
        """
        kept = self.pictures(start) if start else []
        with whole(self._pictures) as draft:
            np.savez_compressed(draft, np.stack([*kept, *clips]))

    def pictures(self, count: int) -> list[UInt8[ndarray, "F H W 3"]]:
        """The first videos that were kept, at most `count`.

        Raises:
            DataError: The file is missing, or cannot be read.
        """
        try:
            with np.load(self._pictures, allow_pickle=False) as file:
                return list(file["arr_0"][:count])
        except (OSError, ValueError, KeyError) as error:
            raise _unreadable(self._pictures, error, self.path) from error

    def _add(self, kind: str, start: int, seen: list[Seen], seconds: float) -> None:
        clips = [asdict(one) for one in seen]
        line = json.dumps({"kind": kind, "start": start, "seconds": seconds, "clips": clips})
        with whole(self.path) as draft:
            draft.write_text("\n".join([*self._lines, line]) + "\n", encoding="utf-8")
        # In memory last: what Ctrl-C keeps from the disk does not count as done.
        self._lines.append(line)
        self._batches[kind, start] = seen
        self.seconds += seconds

    def _load(self) -> None:
        try:
            _, *self._lines[1:] = self.path.read_text(encoding="utf-8").splitlines()
            for line in self._lines[1:]:
                row = json.loads(line)
                self._batches[row["kind"], row["start"]] = [
                    Seen(
                        Reading(clip["reading"]["scene"], tuple(clip["reading"]["things"])),
                        tuple(clip["steady"]),
                    )
                    for clip in row["clips"]
                ]
                self.seconds += row["seconds"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise _unreadable(self.path, error, self.path) from error


def code_hash() -> str:
    """Sixteen hex digits of the source of all that a video passes through until it is read."""
    root = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for layer in _LAYERS:
        for path in sorted((root / layer).rglob("*.py")):
            digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _unreadable(path: Path, error: Exception, readings: Path) -> DataError:
    return DataError(
        f"{path} cannot be read ({getattr(error, 'strerror', None) or error}). Remove {readings} "
        "to measure anew, or choose another --out."
    )
