"""Memory and operations, predicted and measured, over sizes four times apart: prints a table.

`OMP_NUM_THREADS=1 python -m benchmarks.memory`. Every line is a process of its own. "above" is what
the work takes beside the program and the loaded model: predicted on the meta device, and measured
as the highest resident memory, once as `--memory` has it and once with the C library's usual habit
of keeping what is freed. "share" is the rate of operations over that of a matrix product.
"""

import json
import subprocess
import sys

CASES = (
    "base 16 20 32",
    "base 16 40 64",
    "base/4 16 40 64",
    "base 16 40 64 bf16",
    "interpolation 16 20 32",
    "interpolation 16 40 64",
    "interpolation/4 16 40 64",
    "super_resolution 16 20 32",
    "super_resolution 16 40 64",
    "decode 1 20 32",
    "decode 1 40 64",
    "lavie-mini 16 80 128",
    "lavie-mini 16 160 256",
)


def told(case: str, habit: str) -> dict[str, float]:
    """What `tests.systems.peak` says of a case."""
    words = case.split()
    if len(words) == 4:
        words.append("fp32")
    command = [sys.executable, "-m", "tests.systems.peak", *words, habit]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    result: dict[str, float] = json.loads(done.stdout)
    return result


def main() -> None:
    """Measures every case and prints a line for each."""
    print("| work | GFLOP | predicted | measured | ratio | with usual habits | share |")
    print("|---|---|---|---|---|---|---|")
    for case in CASES:
        bounded, usual = told(case, "bounded"), told(case, "usual")
        predicted, measured, kept = (
            each / 1e6 for each in (bounded["predicted"], bounded["measured"], usual["measured"])
        )
        print(
            f"| {case} | {bounded['flops'] / 1e9:.1f} | {predicted:.0f} MB | {measured:.0f} MB | "
            f"{predicted / measured:.2f} | {kept:.0f} MB | {usual['share']:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
