"""How fast the blocks of two models are, in turn: tokens per second without the head, in float32.

usage: block_speed.py DENSE PRUNED THREADS RUNS
"""

import statistics
import sys
import time

import torch
from transformers import AutoModelForCausalLM

BATCH, WINDOW = 2, 512

dense, pruned, threads, runs = sys.argv[1:]
torch.set_num_threads(int(threads))
torch.manual_seed(0)
models = [AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval().model for path in (dense, pruned)]
ids = torch.randint(0, models[0].config.vocab_size, (BATCH, WINDOW))
times = [[], []]
with torch.no_grad():
    for run in range(int(runs) + 1):
        for model, seconds in zip(models, times):
            begun = time.perf_counter()
            model(ids, use_cache=False)
            if run:  # The first of each met cold caches.
                seconds.append(time.perf_counter() - begun)
medians = [statistics.median(seconds) for seconds in times]
speeds = ", ".join(f"{BATCH * WINDOW / seconds:.0f}" for seconds in medians)
print(f"  blocks: {speeds} tokens a second, dense and pruned: {medians[0] / medians[1]:.2f} times as fast")
