"""Pruning baselines that `llmopt prune` is compared with: prune a Llama, judge what is left, print one JSON line.

usage: prune_peers.py MODEL CALIBRATION_TEXT TEST_TEXT --method METHOD --sparsity SHARE [SHARE ...]
                      [--samples 128] [--window 256] [--test-samples 64] [--out DIR]

methods
  magnitude        FFN channels of the smallest norm (rows of gate and up, column of down) go; no compensation
  flap             FLAP (arXiv 2312.11983) on the FFN, one width for all layers, with its bias in down_proj
  flap-nonuniform  FLAP as the paper has it: heads and FFN channels under one threshold over all layers; no runtime
                   loads such uneven shapes, so the units are masked in memory and `bytes` is what would be stored
  torch-pruning    Torch-Pruning's pruner with the settings of its example for language models (PyPI: torch-pruning);
                   it narrows the residual stream too, so it alone also shrinks the embeddings

A share is one of all parameters of the transformer blocks; the nearest reachable width is taken, and `sparsity` says
which share of them is gone. Parameters that a method adds (biases) show in `bytes` only. FLAP's statistics are those
of the original model. What can be saved is saved in the checkpoint's dtype (in DIR/METHOD-SHARE, or a temporary
folder) and judged as loaded from there, in f32: perplexity, mean KL(original || pruned) in nats, agreement of the
most likely token. Texts are tokenized whole, without special tokens, and cut into windows that do not overlap.
"""

import argparse
import copy
import json
import logging
import math
import pathlib
import sys
import tempfile
import warnings

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

WIDTH_STEP = 8
BATCH = 8


def windows(model, text, samples, window):
    """The first windows of a text: [samples, window]."""
    text = pathlib.Path(text).read_text(encoding="utf-8")
    ids = AutoTokenizer.from_pretrained(model)(text, add_special_tokens=False)["input_ids"]
    count = min(samples, len(ids) // window)
    return torch.tensor(ids[: count * window]).view(count, window)


def loaded(path):
    """The model in f32; an error if a tensor of the checkpoint is missing, unknown or of another shape."""
    model, report = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, output_loading_info=True)
    if faults := {key: value for key, value in report.items() if value}:
        sys.exit(f"{path} does not load: {faults}")
    return model.eval()


def stored_dtype(path):
    return AutoModelForCausalLM.from_pretrained(path, dtype="auto").dtype


def weight_bytes(path):
    return sum(file.stat().st_size for file in pathlib.Path(path).glob("*.safetensors"))


# How much of a model there is


def block_sizes(model):
    return {name: parameter.numel() for name, parameter in model.model.layers.named_parameters()}


def removed_share(model, original):
    """The share of the original blocks' parameters that is gone; added parameters do not count."""
    sizes, left = block_sizes(original), block_sizes(model)
    return 1 - sum(left[name] for name in sizes) / sum(sizes.values())


def ffn_width(original, target):
    """The channels to keep in each layer, a multiple of `WIDTH_STEP`, for the share nearest to `target`."""
    config = original.config
    channel = 3 * config.hidden_size * config.num_hidden_layers
    removed = target * sum(block_sizes(original).values()) / channel
    width = WIDTH_STEP * round((config.intermediate_size - removed) / WIDTH_STEP)
    if width < WIDTH_STEP:
        sys.exit(f"the FFN alone is less than {target:.0%} of the blocks' parameters")
    return width


# Scores


def input_statistics(model, rows):
    """Mean and variance over all tokens of what enters each down_proj and o_proj, by module."""
    modules = [module for layer in model.model.layers for module in (layer.mlp.down_proj, layer.self_attn.o_proj)]
    sums = {module: torch.zeros(2, module.in_features, dtype=torch.float64) for module in modules}

    def add(module, arguments):
        inputs = arguments[0].flatten(0, 1).double()
        sums[module] += torch.stack([inputs.sum(0), inputs.square().sum(0)])

    hooks = [module.register_forward_pre_hook(add) for module in modules]
    with torch.no_grad():
        for batch in rows.split(BATCH):
            model.model(batch)
    for hook in hooks:
        hook.remove()
    moments = {module: total / rows.numel() for module, total in sums.items()}
    return {module: (mean, square - mean.square()) for module, (mean, square) in moments.items()}


def magnitude_scores(mlp):
    """The norm of everything that goes with a channel."""
    weights = (mlp.gate_proj.weight, mlp.up_proj.weight, mlp.down_proj.weight.T)
    return sum(weight.detach().double().square().sum(1) for weight in weights).sqrt()


def fluctuation_scores(module, variance):
    """FLAP's score of an input channel: its variance times the squared norm of its column."""
    return variance * module.weight.detach().double().square().sum(0)


def standardized(scores):
    return (scores - scores.mean()) / scores.std()


# Changes to a model


def compensate(module, mean, pruned):
    """Move the mean of what the pruned inputs contribute into the module's bias."""
    bias = (module.weight.detach().double()[:, pruned] @ mean[pruned]).float()
    before = 0 if module.bias is None else module.bias.detach()
    module.bias = torch.nn.Parameter(before + bias)


def slice_ffn(mlp, kept):
    """Keep these channels."""
    for module in (mlp.gate_proj, mlp.up_proj):
        module.weight = torch.nn.Parameter(module.weight.detach()[kept])
        if module.bias is not None:
            module.bias = torch.nn.Parameter(module.bias.detach()[kept])
    mlp.down_proj.weight = torch.nn.Parameter(mlp.down_proj.weight.detach()[:, kept])


def give_ffn_biases(model):
    """Llama's `mlp_bias` puts a bias into all three projections: those that need none get zeros."""
    model.config.mlp_bias = True
    for layer in model.model.layers:
        for module in (layer.mlp.gate_proj, layer.mlp.up_proj):
            if module.bias is None:
                module.bias = torch.nn.Parameter(torch.zeros(len(module.weight)))


def mask(module, pruned):
    """What the pruned inputs contribute becomes zero."""
    with torch.no_grad():
        module.weight[:, pruned] = 0


# Methods of one width for all layers


def magnitude(original, rows, target):
    model, width = copy.deepcopy(original), ffn_width(original, target)
    for layer in model.model.layers:
        slice_ffn(layer.mlp, magnitude_scores(layer.mlp).topk(width).indices.sort().values)
    model.config.intermediate_size = width
    return model


def flap(original, rows, target):
    model, width = copy.deepcopy(original), ffn_width(original, target)
    statistics = input_statistics(model, rows)
    for layer in model.model.layers:
        down = layer.mlp.down_proj
        mean, variance = statistics[down]
        order = fluctuation_scores(down, variance).argsort(descending=True)
        compensate(down, mean, order[width:])
        slice_ffn(layer.mlp, order[:width].sort().values)
    give_ffn_biases(model)
    model.config.intermediate_size = width
    return model


def torch_pruning(original, rows, target):
    """The pruned model nearest to `target`, by bisection over Torch-Pruning's own ratio, one of widths."""
    best, low, high = None, 0.0, 1.0
    for _ in range(9):
        ratio = (low + high) / 2
        model = torch_pruned(copy.deepcopy(original), rows[:1, :8], ratio)
        share = removed_share(model, original)
        if best is None or abs(share - target) < abs(removed_share(best, original) - target):
            best = model
        low, high = (ratio, high) if share < target else (low, ratio)
    return best


def torch_pruned(model, example, ratio):
    """What Torch-Pruning's example for language models does: magnitudes of groups, hidden size, FFN and heads."""
    try:
        import torch_pruning as tp
    except ImportError as error:
        sys.exit(f"torch-pruning is not installed: {error}")
    name_dimension_of_rotation(model)
    config, heads = model.config, {}
    for attention in (layer.self_attn for layer in model.model.layers):
        heads[attention.q_proj] = config.num_attention_heads
        heads[attention.k_proj] = heads[attention.v_proj] = config.num_key_value_heads
    pruner = tp.pruner.BasePruner(
        model,
        example_inputs=example,
        importance=tp.importance.GroupMagnitudeImportance(),
        pruning_ratio=ratio,
        head_pruning_ratio=ratio,
        num_heads=heads,
        out_channel_groups={},
        prune_num_heads=True,
        prune_head_dims=False,
        ignored_layers=[model.lm_head],
        output_transform=lambda output: output.logits,
        round_to=4,
    )
    pruner.step()
    layer = model.model.layers[0]
    config.hidden_size, config.intermediate_size = layer.mlp.gate_proj.in_features, layer.mlp.gate_proj.out_features
    config.num_attention_heads = layer.self_attn.q_proj.out_features // config.head_dim
    config.num_key_value_heads = layer.self_attn.k_proj.out_features // config.head_dim
    return model


def name_dimension_of_rotation(model):
    """Let rotate_half join its halves along a dimension counted from the front.

    Torch-Pruning 1.6.1 takes the `dim=-1` there for the axis of channels if there are two query heads to one of keys,
    and its search for groups then does not end. The values are the same.
    """

    def rotate_half(states):
        half = states.shape[-1] // 2
        return torch.cat((-states[..., half:], states[..., :half]), dim=states.dim() - 1)

    sys.modules[type(model).__module__].rotate_half = rotate_half


# FLAP as in the paper


def flap_units(model, statistics):
    """All units as (score, layer, kind, number), the least important first.

    Scores are standardized within each module, over its input channels; a head has the mean of its channels.
    """
    units = []
    for number, layer in enumerate(model.model.layers):
        down, out = layer.mlp.down_proj, layer.self_attn.o_proj
        channels = standardized(fluctuation_scores(down, statistics[down][1]))
        heads = standardized(fluctuation_scores(out, statistics[out][1])).view(-1, model.config.head_dim).mean(1)
        units += [(score, number, "ffn", unit) for unit, score in enumerate(channels.tolist())]
        units += [(score, number, "heads", unit) for unit, score in enumerate(heads.tolist())]
    return sorted(units)


def unit_costs(units, config):
    """The parameters that each unit takes with it: keys and values go with the last query head of their group."""
    queries = config.num_attention_heads // config.num_key_value_heads
    left = {}
    for _, layer, kind, unit in units:
        if kind == "ffn":
            yield 3 * config.hidden_size
            continue
        group = (layer, unit // queries)
        left[group] = left.get(group, queries) - 1
        yield (2 if left[group] else 4) * config.hidden_size * config.head_dim


def below_threshold(units, config, parameters):
    """The first units, as many as come nearest to these parameters, and how many parameters they have."""
    count, removed = 0, 0
    for cost in unit_costs(units, config):
        if abs(removed + cost - parameters) > abs(removed - parameters):
            break
        count, removed = count + 1, removed + cost
    return units[:count], removed


def flap_nonuniform(original, rows, target):
    """The masked model, the parameters that it lacks and those that it adds."""
    model, config = copy.deepcopy(original), original.config
    statistics = input_statistics(model, rows)
    parameters = target * sum(block_sizes(original).values())
    pruned, removed = below_threshold(flap_units(model, statistics), config, parameters)
    added = 0
    for number, layer in enumerate(model.model.layers):
        for kind, module, size in (("ffn", layer.mlp.down_proj, 1), ("heads", layer.self_attn.o_proj, config.head_dim)):
            units = torch.tensor([unit for _, at, of, unit in pruned if (at, of) == (number, kind)], dtype=torch.long)
            if len(units):
                inputs = (units[:, None] * size + torch.arange(size)).flatten()
                compensate(module, statistics[module][0], inputs)
                mask(module, inputs)
                added += config.hidden_size
    return model, removed, added, pruned


def kept_units(pruned, config):
    """How many units each layer keeps."""
    whole = {"ffn": config.intermediate_size, "heads": config.num_attention_heads}
    gone = [(layer, kind) for _, layer, kind, _ in pruned]
    layers = range(config.num_hidden_layers)
    return {kind: [count - gone.count((layer, kind)) for layer in layers] for kind, count in whole.items()}


# Measurements


def judged(model, original, rows):
    """Perplexity, mean KL divergence from the original and agreement with it, over all predicted tokens."""
    nll = divergence = agreed = tokens = 0
    with torch.no_grad():
        for batch in rows.split(BATCH):
            log_p = model(batch).logits[:, :-1].float().log_softmax(-1)
            log_q = original(batch).logits[:, :-1].float().log_softmax(-1)
            targets = batch[:, 1:].unsqueeze(-1)
            nll -= log_p.gather(-1, targets).sum().item()
            divergence += (log_q.exp() * (log_q - log_p)).sum().item()
            agreed += (log_q.argmax(-1) == log_p.argmax(-1)).sum().item()
            tokens += targets.numel()
    return {"perplexity": math.exp(nll / tokens), "kld": divergence / tokens, "top1": agreed / tokens}


def saved(model, source, folder):
    """What is left of a model once it is written in its checkpoint's dtype."""
    model.to(stored_dtype(source)).save_pretrained(folder)
    AutoTokenizer.from_pretrained(source).save_pretrained(folder)
    return loaded(folder)


def round_parameters(model, dtype):
    """Round to what a checkpoint could store. Buffers stay: a loaded model computes them anew, in f32."""
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype).float()


def measure_uniform(prune, args, target, original, rows, test):
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.out / f"{args.method}-{target:g}" if args.out else temporary
        model = saved(prune(original, rows, target), args.model, folder)
        size = weight_bytes(folder)
    names = ("hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads")
    kept = {name: getattr(model.config, name) for name in names}
    share = removed_share(model, original)
    return {"sparsity": share, **judged(model, original, test), "bytes": size, "kept": kept}


def measure_nonuniform(args, target, original, rows, test):
    model, removed, added, pruned = flap_nonuniform(original, rows, target)
    dtype = stored_dtype(args.model)
    size = weight_bytes(args.model) + (added - removed) * dtype.itemsize
    share = removed / sum(block_sizes(original).values())
    round_parameters(model, dtype)
    quality = judged(model, original, test)
    return {"sparsity": share, **quality, "bytes": size, "kept": kept_units(pruned, original.config)}


UNIFORM = {"magnitude": magnitude, "flap": flap, "torch-pruning": torch_pruning}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("calibration_text")
    parser.add_argument("test_text")
    parser.add_argument("--method", required=True, choices=[*UNIFORM, "flap-nonuniform"])
    parser.add_argument("--sparsity", required=True, type=float, nargs="+", help="one JSON line for each")
    parser.add_argument("--samples", type=int, default=128, help="calibration windows")
    parser.add_argument("--window", type=int, default=256, help="tokens of a window")
    parser.add_argument("--test-samples", type=int, default=64, help="test windows")
    parser.add_argument("--out", type=pathlib.Path, help="where models of one width are kept")
    args = parser.parse_args()
    if args.out and args.method == "flap-nonuniform":
        parser.error("no runtime loads what flap-nonuniform leaves: it takes no --out")
    return args


def main():
    args = arguments()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    original = loaded(args.model)
    rows = windows(args.model, args.calibration_text, args.samples, args.window)
    test = windows(args.model, args.test_text, args.test_samples, args.window)
    for target in args.sparsity:
        if args.method in UNIFORM:
            result = measure_uniform(UNIFORM[args.method], args, target, original, rows, test)
        else:
            result = measure_nonuniform(args, target, original, rows, test)
        print(json.dumps({"method": args.method, "target": target, **result}), flush=True)


if __name__ == "__main__":
    main()
