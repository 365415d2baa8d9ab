"""Whether memory depends on the length of a video: peaks of `mutoscope generate`, as a table.

Command: `OMP_NUM_THREADS=2 python -m benchmarks.length [FRAMES ...]`; 61, 121 and 601 by default.
The shipped model draws key frames clip after clip (`--seconds`), what lies between them, and all of
it large. Every line is a process of its own; the peak is the most memory that it had at any time.
"""

import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from mutoscope.systems import load

FRAMES = (61, 121, 601)
PROMPT = "a red star moves right over the sea"


def peak(num_frames: int, fps: float, out: Path) -> int:
    """Most memory, bytes, of a process that makes a video of so many frames."""
    command = [sys.executable, "-m", "mutoscope.cli.main", "generate", PROMPT]
    options = {"seconds": num_frames / fps, "out": out}
    command += [str(word) for name, value in options.items() for word in (f"--{name}", value)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main(lengths: list[int]) -> None:
    """Prints a line for each length."""
    system = load()
    fps = system.native_fps(system.stages)
    print("| frames | peak | of the first | seconds |")
    print("|---|---|---|---|")
    with TemporaryDirectory() as folder:
        first = None
        for num_frames in lengths:
            began = time.perf_counter()
            found = peak(num_frames, fps, Path(folder) / f"{num_frames}.mp4")
            first = first or found
            took = time.perf_counter() - began
            print(
                f"| {num_frames} | {found / 1e6:.0f} MB | {found / first:.2f} | {took:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or list(FRAMES))
