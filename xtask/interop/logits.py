"""Holds our logits against those of Transformers, in float32, on the same token ids.

usage: logits.py CASES.json RESULTS.json

A case names a model's folder, a file of token ids, the tokens of a window, and a file with our logits
after every token. Prints a line per case and writes how many passed.
"""

import json
import logging
import os
import pathlib
import sys

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_NO_ADVISORY_WARNINGS"] = "1"
os.environ["TQDM_DISABLE"] = "1"

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

# The greatest difference of any logit.
TOLERANCE = 1e-4
# Where Transformers' best two logits are further apart than this, ours must have the same best.
MARGIN = 1e-3


def load(folder):
    wrapper = "vision_config" in json.loads((folder / "config.json").read_text())
    kind = AutoModelForImageTextToText if wrapper else AutoModelForCausalLM
    # Fused attention leaves out caps on scores; the eager one is the definition.
    how = dict(dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
    model, info = kind.from_pretrained(folder, **how)
    problems = {what: sorted(map(str, keys))[:4] for what, keys in info.items() if keys}
    assert not problems, problems
    return model.eval()


def hold(case):
    """What is wrong, if anything is, and what was found."""
    model = load(pathlib.Path(case["model"]))
    ids = load_file(case["ids"])["input_ids"].view(-1, case["window"])
    with torch.no_grad():
        # Window by window: what one holds must not change what Transformers makes of another.
        theirs = torch.cat([model(input_ids=row[None]).logits[0] for row in ids]).float()
    ours = load_file(case["logits"])["logits"]
    assert ours.shape == theirs.shape, f"{ours.shape} logits, expected {theirs.shape}"
    difference = (ours - theirs).abs().max().item()
    best = theirs.topk(2, dim=-1)
    decided = best.values[:, 0] - best.values[:, 1] > MARGIN
    wrong = (ours.argmax(-1) != best.indices[:, 0])[decided].sum().item()
    found = f"differ by {difference:.1e}, spread {theirs.std().item():.2f}"
    # Not "more than": a difference that is no number is a failure.
    if not difference <= TOLERANCE:
        return f"{found}, more than {TOLERANCE:.0e}", found
    if wrong:
        return f"{wrong} of {int(decided.sum())} tokens have another best logit", found
    return None, found


def main():
    cases, results = map(pathlib.Path, sys.argv[1:3])
    logging.disable(logging.WARNING)
    torch.manual_seed(0)
    counts = {"passed": 0, "failed": 0}
    for case in json.loads(cases.read_text()):
        try:
            fault, found = hold(case)
        except Exception as error:  # Whatever Transformers raises belongs to the case.
            fault, found = f"{type(error).__name__}: {error}", ""
        counts["failed" if fault else "passed"] += 1
        print(f"{'FAILED' if fault else 'ok    '} {case['name']:<47}  {fault or found}", flush=True)
    results.write_text(json.dumps(counts))


if __name__ == "__main__":
    main()
