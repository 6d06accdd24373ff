"""Holds what we generate greedily against what Transformers does, in float32.

usage: generate.py CASES.json RESULTS.json

A case names a model's folder, how many tokens, and for each prompt what we made of it.
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
from transformers import AutoModelForCausalLM, AutoTokenizer


def hold(case):
    """What is wrong, if anything is, and what was found."""
    model = AutoModelForCausalLM.from_pretrained(case["model"], dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(case["model"])
    stops = model.generation_config.eos_token_id
    stops = set(stops if isinstance(stops, list) else [stops])
    for ours in case["ours"]:
        ids = tokenizer(ours["prompt"], return_tensors="pt").input_ids
        if ids[0].tolist() != ours["prompt_tokens"]:
            return f"{ours['prompt']!r} has other tokens", ""
        with torch.no_grad():
            all_ids = model.generate(ids, max_new_tokens=case["tokens"], do_sample=False)
        theirs = [token for token in all_ids[0, ids.shape[1]:].tolist() if token not in stops]
        if theirs != ours["tokens"]:
            return f"{ours['prompt']!r} goes on as {ours['tokens']}, expected {theirs}", ""
        if tokenizer.decode(theirs) != ours["text"]:
            return f"{ours['prompt']!r} goes on as {ours['text']!r}", ""
    return None, f"{len(case['ours'])} prompts, {case['tokens']} tokens each"


def main():
    cases, results = map(pathlib.Path, sys.argv[1:3])
    logging.disable(logging.WARNING)
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
