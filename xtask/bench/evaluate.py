"""Transformers' evaluation of a model on windows of token ids, to be timed beside `llmopt eval`.

usage: evaluate.py MODEL IDS.safetensors WINDOW WINDOWS DTYPE THREADS
"""

import math
import resource
import sys
import time

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

model, ids, window, windows, dtype, threads = sys.argv[1:]
torch.set_num_threads(int(threads))
begun = time.perf_counter()
model = AutoModelForCausalLM.from_pretrained(model, dtype=getattr(torch, dtype)).eval()
rows = load_file(ids)["input_ids"].view(-1, int(window))[: int(windows)]
nll = scored = 0
with torch.no_grad():
    for batch in rows.split(8):
        log_p = model(batch).logits[:, :-1].float().log_softmax(-1)
        targets = batch[:, 1:].unsqueeze(-1)
        nll -= log_p.gather(-1, targets).sum().item()
        scored += targets.numel()
seconds = time.perf_counter() - begun
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
print(f"perplexity {math.exp(nll / scored):.4f}, loaded and run in {seconds:.1f} s, peak {peak} MiB")
