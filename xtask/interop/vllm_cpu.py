"""Loads artifacts with vLLM on a CPU, and holds the tokens that it generates against those of dense twins.

usage: vllm_cpu.py CASES.json RESULTS.json

A case names the folder of an artifact, and that of its twin (the same model, dequantized), or none where vLLM
must refuse the artifact. The same prompts are continued greedily by both. Until a continuation differs, both have seen
the same tokens, and the artifact's next must be the twin's wherever the twin is sure of it: wherever its best
token is more likely than the second by a margin that rounding does not reach. A continuation is followed no
further than its first difference.

Each model is loaded by a process of its own, forked when vLLM is imported: an engine leaves much behind.
"""

import json
import multiprocessing
import os
import pathlib
import random
import sys

os.environ.update(
    HF_HUB_OFFLINE="1", TQDM_DISABLE="1", VLLM_ENABLE_V1_MULTIPROCESSING="0", VLLM_LOGGING_LEVEL="ERROR",
    VLLM_NO_USAGE_STATS="1", VLLM_CPU_KVCACHE_SPACE="1",
)

from vllm import LLM, SamplingParams

PROMPTS, PROMPT, TOKENS = 32, 12, 16

# Nats between the two best tokens above which both must agree: bf16 products differ in their last bits by the
# order in which kernels add, and inputs that are rounded to 8 bits differ by that rounding.
CLEAR, CLEAR_WITH_ROUNDED_INPUTS = 0.15, 0.5

# Tokens of a case that must have been compared where the twin was sure, for the case to say anything.
ENOUGH = 40


class Faults(Exception):
    """What is wrong with an artifact."""


def prompts(folder):
    config = json.loads((folder / "config.json").read_text())
    draw = random.Random(7)
    return [[draw.randrange(3, config["vocab_size"]) for _ in range(PROMPT)] for _ in range(PROMPTS)]


def continued(folder, pipe):
    """In a process of its own: sends the tokens of every continuation, each with its two best logarithms."""
    try:
        model = LLM(
            model=str(folder), dtype="bfloat16", enforce_eager=True, max_model_len=64, max_num_seqs=PROMPTS,
            skip_tokenizer_init=True, disable_log_stats=True,
        )
        sampling = SamplingParams(temperature=0, max_tokens=TOKENS, logprobs=2, ignore_eos=True, detokenize=False)
        ids = [{"prompt_token_ids": prompt} for prompt in prompts(folder)]
        found = []
        for answer in model.generate(ids, sampling, use_tqdm=False):
            best = [sorted((entry.logprob for entry in step.values()), reverse=True) for step in answer.outputs[0].logprobs]
            found.append([[token, *two[:2]] for token, two in zip(answer.outputs[0].token_ids, best)])
        pipe.send({"continuations": found})
    except BaseException as error:  # whatever a loader throws is its refusal
        said = str(error).strip().splitlines() or [""]
        pipe.send({"refused": f"{type(error).__name__}: {said[0][:160]}"})
    pipe.close()
    os._exit(0)


def ask(folder):
    ours, theirs = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=continued, args=(folder, theirs))
    process.start()
    theirs.close()
    try:
        answer = ours.recv()
    except EOFError:
        answer = {"refused": "the process died"}
    process.join()
    return answer


def compare(artifact, twin, clear):
    """Raises `Faults`, or says what was found."""
    compared, farthest = 0, 0.0
    for number, (ours, theirs) in enumerate(zip(artifact, twin, strict=True)):
        for place, ((our, our_best, _), (their, best, second)) in enumerate(zip(ours, theirs, strict=True)):
            sure = best - second > clear
            if sure and our != their:
                why = f"token {place} of continuation {number} is {our}, and {their} by a margin of {best - second:.2f}"
                raise Faults(why)
            compared += sure
            if our != their:
                break
            farthest = max(farthest, abs(our_best - best))
    if compared < ENOUGH:
        raise Faults(f"the twin is sure of {compared} tokens only")
    return f"{compared:>3} tokens equal, logarithms within {farthest:.3f}"


def hold(case, twins):
    answer = ask(pathlib.Path(case["artifact"]))
    if case["twin"] is None:
        if "refused" not in answer:
            raise Faults("it loads, and should not")
        return f"refused: {answer['refused']}"
    if "refused" in answer:
        raise Faults(f"it does not load: {answer['refused']}")
    twin = twins.setdefault(case["twin"], ask(pathlib.Path(case["twin"])))
    if "refused" in twin:
        raise Faults(f"its twin does not load: {twin['refused']}")
    clear = CLEAR_WITH_ROUNDED_INPUTS if case["activations"] else CLEAR
    return compare(answer["continuations"], twin["continuations"], clear)


def main():
    cases, twins, failed = json.loads(pathlib.Path(sys.argv[1]).read_text()), {}, 0
    for case in cases:
        try:
            outcome = f"ok     {case['name']:<47}  " + hold(case, twins)
        except Faults as faults:
            failed += 1
            outcome = f"FAILED {case['name']:<47}  {faults}"
        print(outcome, flush=True)
    pathlib.Path(sys.argv[2]).write_text(json.dumps({"passed": len(cases) - failed, "failed": failed}))


if __name__ == "__main__":
    main()
