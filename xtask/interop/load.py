"""Loads artifacts with Transformers, as a user would, and holds each against its dense twin.

usage: load.py CASES.json RESULTS.json

A case names the folders of an artifact and of its twin (the same model, dequantized), the dtype to load
both with, whether its activations are quantized and whether it has zero points. Prints a line per case and
writes how many passed.

Both are loaded in float32 where Transformers does that. It does not where it renames or stacks tensors
while loading a quantized model: those keep the dtype that they have on disk. Such a model is loaded in
its own dtype, and so is a twin of that dtype.

compressed-tensors 0.20 lays packed zero points out in the shape of unpacked ones where a model is built on
the meta device, as Transformers 5.24 does: an artifact that has them loads dequantized only. That the plain
way still fails is held too, so that a version that mends it is noticed.
"""

import json
import logging
import os
import pathlib
import re
import sys

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_NO_ADVISORY_WARNINGS"] = "1"
os.environ["TQDM_DISABLE"] = "1"

import torch
import transformers
from loguru import logger as loguru
from safetensors import safe_open
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText, CompressedTensorsConfig

# How far logits with quantized activations may be from those without, as a share of the logits' own
# root mean square. The weights of both are the same; this bounds what rounding inputs to 8 bits does.
ACTIVATION_TOLERANCE = 0.10


class Faults(Exception):
    """What is wrong with an artifact."""


class Heard(logging.Handler):
    """What the libraries complain about."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.messages = []
        self.setFormatter(logging.Formatter("%(message)s"))
        for name in ("transformers", "compressed_tensors", "accelerate"):
            logging.getLogger(name).addHandler(self)
        loguru.remove()
        # That a block at the edge is partial is a note for whoever quantizes.
        edge = "requires strict division"
        shape = "Cannot recover exact weight shape on meta"
        note = lambda record: edge not in record["message"] and shape not in record["message"]
        loguru.add(lambda message: self.messages.append(str(message)), level="WARNING", filter=note)

    def emit(self, record):
        self.messages.append(self.format(record))

    def taken(self):
        messages, self.messages = list(dict.fromkeys(self.messages)), []
        return messages


def said_of_the_config(twin, heard):
    """Passes over what is said of the model's own config, which an artifact keeps: it is said once per process."""
    AutoConfig.from_pretrained(twin)
    heard.taken()


def kind_of(folder):
    config = json.loads((folder / "config.json").read_text())
    wrapper = "vision_config" in config
    return config, AutoModelForImageTextToText if wrapper else AutoModelForCausalLM


def load(folder, dtype, heard, **options):
    config, kind = kind_of(folder)
    heard.taken()
    model, info = kind.from_pretrained(folder, dtype=dtype, output_loading_info=True, **options)
    problems = [f"{what}: {sorted(map(str, keys))[:4]}" for what, keys in info.items() if keys]
    # What is asked for beside the artifact's own config is said to be a part of it.
    asked = lambda message: options and "overwritten with the one you passed" in message
    problems += [message[:300] for message in heard.taken() if not asked(message)]
    if problems:
        raise Faults(f"{folder.name}: {'; '.join(problems)}")
    return model.eval(), config


def load_dequantized(folder, dtype, heard):
    """The way for an artifact with zero points; raises `Faults` if the usual way works again."""
    _, kind = kind_of(folder)
    try:
        kind.from_pretrained(folder, dtype=dtype)
    except RuntimeError as error:
        if "ignore_mismatched_sizes" not in str(error):
            raise
    else:
        raise Faults("zero points load in the usual way: hold such artifacts as all others are held")
    return load(folder, dtype, heard, quantization_config=CompressedTensorsConfig(dequantize=True))


def token_ids(config):
    """A few tokens that mean nothing special."""
    text = config.get("text_config", config)
    special = {v for part in (config, text) for k, v in part.items() if "token_i" in k and isinstance(v, int)}
    usable = [i for i in range(3, text["vocab_size"]) if i not in special]
    rows = [[usable[(row * 37 + column * 11) % len(usable)] for column in range(24)] for row in range(2)]
    return torch.tensor(rows)


def logits(model, ids):
    with torch.no_grad():
        return model(input_ids=ids).logits


def quantized_modules(model):
    return {name: m for name, m in model.named_modules() if getattr(m, "quantization_scheme", None) is not None}


def same_parameters(model, twin):
    """Every parameter of the twin, bit for bit."""
    ours, theirs = dict(model.named_parameters()), dict(twin.named_parameters())
    wrong = [
        name
        for name, parameter in theirs.items()
        if name not in ours or ours[name].dtype != parameter.dtype or not torch.equal(ours[name], parameter)
    ]
    if wrong:
        first = wrong[0]
        raise Faults(f"{len(wrong)} of {len(theirs)} parameters differ from the twin's, first `{first}`")
    return len(theirs)


def ignored(config):
    """Whether a module is named in `ignore`."""
    ignore = config["quantization_config"]["ignore"]
    patterns = [re.compile(entry[3:]) for entry in ignore if entry.startswith("re:")]
    return lambda name: name in ignore or any(pattern.match(name) for pattern in patterns)


def packed_linears_are_all_but_the_ignored(model, config, tensors):
    """The same of a model that was dequantized while it loaded; returns the same."""
    told = ignored(config)
    linears = [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
    kept = sum(map(told, linears))
    packed = sum(name.endswith(".weight_packed") for name in tensors)
    if packed + kept != len(linears):
        raise Faults(f"{packed} matrices are packed and {kept} of {len(linears)} linears ignored")
    return packed, len(linears)


def every_linear_is_told_of(model, config):
    """A linear is quantized or named in `ignore`; returns how many are quantized, and how many there are."""
    quantized = quantized_modules(model)
    linears = [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
    told = ignored(config)
    forgotten = [name for name in linears if name not in quantized and not told(name)]
    both = [name for name in quantized if name in config["quantization_config"]["ignore"]]
    if forgotten or both:
        raise Faults(f"linears neither quantized nor ignored: {forgotten[:4]}, both: {both[:4]}")
    return len(quantized), len(linears)


def read_back(folder):
    """Every tensor of every shard by the safetensors library; the index must list exactly those."""
    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as shard:
            for name in shard.keys():
                shard.get_tensor(name)
                found[name] = path.name
    index = folder / "model.safetensors.index.json"
    if index.exists() and json.loads(index.read_text())["weight_map"] != found:
        raise Faults(f"{folder.name}: the index does not list what the shards hold")
    return found


def hold(case, heard):
    """Raises `Faults`, or says what was found."""
    artifact, twin = pathlib.Path(case["artifact"]), pathlib.Path(case["twin"])
    tensors = read_back(artifact)
    read_back(twin)
    said_of_the_config(twin, heard)
    loader = load_dequantized if case["zero_points"] else load
    model, config = loader(artifact, case["dtype"], heard)
    dense, _ = load(twin, case["dtype"], heard)
    if case["zero_points"]:
        quantized, linears = packed_linears_are_all_but_the_ignored(model, config, tensors)
    else:
        quantized, linears = every_linear_is_told_of(model, config)
    ids = token_ids(config)
    expected = logits(dense, ids)
    simulated = logits(model, ids)  # also decompresses the weights
    parameters = same_parameters(model, dense)
    for module in quantized_modules(model).values():
        module.quantization_enabled = False
    exact = logits(model, ids)
    if not torch.equal(exact, expected):
        raise Faults(f"logits differ from the twin's by up to {(exact - expected).abs().max().item():.3g}")
    found = f"{len(tensors):>4} tensors, {quantized:>3} of {linears:>3} linears, {parameters:>3} parameters and logits equal"
    if case["activations"]:
        rms = lambda tensor: tensor.float().pow(2).mean().sqrt().item()
        share = rms(simulated - expected) / rms(expected)
        if not 0 < share <= ACTIVATION_TOLERANCE:
            raise Faults(f"activations move the logits by {share:.2%} of their size")
        found += f", activations {share:.2%}"
    elif not torch.equal(simulated, expected):
        raise Faults("logits change with activation quantization, and there should be none")
    return found


def main():
    cases = json.loads(pathlib.Path(sys.argv[1]).read_text())
    transformers.logging.disable_progress_bar()
    transformers.logging.disable_default_handler()
    heard = Heard()
    failed = 0
    for case in cases:
        try:
            outcome = "ok    " + f"{case['name']:<48} " + hold(case, heard)
        except Faults as faults:
            failed += 1
            outcome = "FAILED" + f" {case['name']:<47} {faults}"
        except Exception as error:  # whatever a loader throws is the artifact's fault
            failed += 1
            outcome = "FAILED" + f" {case['name']:<47} {type(error).__name__}: {str(error)[:300]}"
        print(outcome, flush=True)
    pathlib.Path(sys.argv[2]).write_text(json.dumps({"passed": len(cases) - failed, "failed": failed}))


if __name__ == "__main__":
    main()
