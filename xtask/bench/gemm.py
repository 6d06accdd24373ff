"""PyTorch's product of two matrices, in the lines of `cargo xtask bench gemm`: gemm.py N RUNS."""

import statistics
import sys
import time

import torch

size, runs = map(int, sys.argv[1:])


def rate(dtype):
    """The median of several runs, in 10^9 additions and multiplications a second."""
    inputs, weights = (torch.randn(size, size).to(dtype) for _ in range(2))
    times = []
    for _ in range(runs + 1):
        begun = time.perf_counter()
        torch.nn.functional.linear(inputs, weights)
        times.append(time.perf_counter() - begun)
    return 2 * size**3 / statistics.median(times[1:]) / 1e9


for name, dtype in (("f32", torch.float32), ("bf16", torch.bfloat16)):
    for threads in (1, 2):
        torch.set_num_threads(threads)
        print(f"{name + ' PyTorch':<18} {threads} {rate(dtype):>8.1f}")
