"""How fast one call of each of LaVie's networks is, beside the machine's rate of a matrix product.

Command: `OMP_NUM_THREADS=1 python -m benchmarks.shares [--rounds 5]`. Networks of LaVie's structure
at a middle size (widths 64, 128, 256, 256; two heads; text of 77 tokens and width 256), two samples
of 16 frames of 20x32 latent cells, fp32, attention in four parts as `LaVie` has it on a CPU. In
every round a product of two 2048x2048 matrices, then a call of each network; CPU time, the best of
all rounds. Operations are counted twice: as the released code does them, and as ours does. The
share of the first may pass 100 %: work that is not done takes no time, and some machines convolve
faster than they multiply matrices.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial

import torch

from mutoscope.systems.cost import cost_of
from tests.systems.peak import NETWORKS, network_work

SHAPE = (16, 20, 32)
RELEASED = {"base": 176.6e9, "interpolation": 195.8e9, "super_resolution": 210.1e9}
"""Operations of the released code in such a call, by PyTorch's counter."""
SIDE = 2048


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU time of all threads of this process."""
    start = time.process_time()
    work()
    return time.process_time() - start


@torch.inference_mode()
def main(rounds: int) -> None:
    """Measures and prints a line for each network."""
    torch.manual_seed(0)
    left, right = torch.randn(2, SIDE, SIDE)
    works = {name: network_work(f"{name}/4", "cpu", torch.float32) for name in NETWORKS}
    for work in works.values():
        work(SHAPE)
    products = []
    spent: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        products.append(cpu_seconds(partial(torch.mm, left, right)))
        for name, work in works.items():
            spent[name].append(cpu_seconds(partial(work, SHAPE)))
    rate = 2 * SIDE**3 / min(products)
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} CPU thread(s), best of {rounds}: "
        f"matrices at {rate / 1e9:.0f} GFLOP/s\n"
    )
    print("| network | seconds | GFLOP, released | share | GFLOP, ours | share |")
    print("|---|---|---|---|---|---|")
    for name, seconds in spent.items():
        ours = cost_of(partial(network_work(name, "meta", torch.float32), SHAPE)).flops
        shares = [flops / min(seconds) / rate for flops in (RELEASED[name], ours)]
        print(
            f"| {name} | {min(seconds):.2f} | {RELEASED[name] / 1e9:.1f} | {shares[0]:.0%} | "
            f"{ours / 1e9:.1f} | {shares[1]:.0%} |"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    main(**vars(parser.parse_args()))
