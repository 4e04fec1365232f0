#!/usr/bin/env python3
"""Compares the embedded models with Hugging Face transformers.

    python3 -m venv venv && venv/bin/pip install torch transformers
    cmake --build build/release --target score-model
    venv/bin/python tests/oracles/compare_transformers.py build/release/bin/score-model

Makes small Llama and Qwen3 models of random weights, saves them with save_pretrained, and compares log-probabilities and
greedy continuations with two forward passes of transformers: its own in float32, and the same modules in float64, where
they let one. float32 rotary frequencies and angles, which pipestill has in float64, are most of the difference between
the two. Then pipestill exports each model, and the weights that transformers loads must be equal, bit for bit. With
--write DIR the small models and their float64 log-probabilities are kept: tests/ports/embedded/transformers is such a directory.
"""
import argparse
import copy
import json
import math
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import torch
import transformers
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen3Config

FLOAT32_TOLERANCE = 1e-4  # of log-probabilities, at up to 400 positions
FLOAT64_TOLERANCE = 5e-5
GREEDY = 12

SMALL = dict(vocab_size=48, hidden_size=16, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=6,
             intermediate_size=20, max_position_embeddings=96)
LARGER = dict(vocab_size=500, hidden_size=96, num_hidden_layers=4, num_attention_heads=6, num_key_value_heads=2, head_dim=32,
              intermediate_size=200, max_position_embeddings=600)
# Wavelengths on both sides of the borders and between them.
LLAMA3 = {"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 64, "rope_theta": 100.0}
LLAMA32 = {"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
           "original_max_position_embeddings": 256, "rope_theta": 500000.0}


def old_keys(config):
    """Rotary parameters as writers before transformers 5 put them."""
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope.pop("rope_theta")
    kind = rope.pop("rope_type")
    config["rope_scaling"] = None if kind == "default" else {"type": kind, **rope}


def old_llama3_keys(config):
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope.pop("rope_theta")
    config["rope_scaling"] = rope


# name: (configuration, dtype, options of save_pretrained, change of config.json)
CASES = {
    "llama-llama3-tied": (LlamaConfig(**SMALL, tie_word_embeddings=True, rope_parameters=LLAMA3), "float32", {}, None),
    "llama-linear-shards": (LlamaConfig(**SMALL, rms_norm_eps=1e-5, rope_parameters={"rope_type": "linear", "factor": 3.0, "rope_theta": 50.0}),
                            "float32", {"max_shard_size": 7000}, old_keys),
    "qwen3-bf16-tied": (Qwen3Config(**SMALL, tie_word_embeddings=True, rope_parameters={"rope_type": "default", "rope_theta": 1e6}),
                        "bfloat16", {}, None),
    "qwen3-old-keys": (Qwen3Config(**SMALL, rope_parameters={"rope_type": "default", "rope_theta": 1e4}), "float16", {}, old_keys),
    "larger-llama": (LlamaConfig(**{**LARGER, "head_dim": 16}, rope_parameters={"rope_type": "default", "rope_theta": 1e4}), "float32", {}, None),
    "larger-llama3": (LlamaConfig(**LARGER, tie_word_embeddings=True, rope_parameters=LLAMA32), "bfloat16", {}, old_llama3_keys),
    "larger-qwen3": (Qwen3Config(**LARGER, rope_parameters={"rope_type": "default", "rope_theta": 1e6}), "bfloat16", {"max_shard_size": 300000}, None),
    "larger-qwen3-linear": (Qwen3Config(**LARGER, tie_word_embeddings=True, rope_parameters={"rope_type": "linear", "factor": 2.0, "rope_theta": 1e6}),
                            "float32", {}, None),
}


def make(name, seed, directory):
    config, dtype, options, change = CASES[name]
    generator = torch.Generator().manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.dim() == 1:
                parameter.copy_(1 + 0.3 * noise)  # norms that are not all ones
            else:
                parameter.copy_(noise * 1.3 / parameter.shape[1] ** 0.5)
    model.to(getattr(torch, dtype)).save_pretrained(directory, **options)
    (directory / "generation_config.json").unlink(missing_ok=True)
    file = directory / "config.json"
    config = json.loads(file.read_text())
    del config["transformers_version"]
    if change:
        change(config)
    file.write_text(json.dumps(config) + "\n")


def load(directory):
    return AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32, attn_implementation="eager").eval()


def frequencies(config):
    """Rotary frequencies in float64."""
    rope = config.rope_parameters
    f = rope["rope_theta"] ** (-torch.arange(0, config.head_dim, 2, dtype=torch.float64) / config.head_dim)
    if rope["rope_type"] == "linear":
        return f / rope["factor"]
    if rope["rope_type"] == "llama3":
        low, high, turns = rope["low_freq_factor"], rope["high_freq_factor"], rope["original_max_position_embeddings"] * f / (2 * math.pi)
        s = ((turns - low) / (high - low)).clamp(0, 1)
        return (1 - s) * f / rope["factor"] + s * f
    return f


def in_float64(model):
    wide = copy.deepcopy(model).double()
    f = frequencies(model.config)
    assert torch.allclose(f.float(), model.model.rotary_emb.inv_freq, rtol=1e-6, atol=0), "not transformers' frequencies"

    def angles(_, position_ids):
        both = torch.cat([position_ids[..., None] * f] * 2, dim=-1)
        return both.cos(), both.sin()

    wide.model.rotary_emb.forward = angles
    return wide


def logprobs_of(model, tokens):
    with torch.no_grad():
        return model(tokens[None]).logits[0].double().log_softmax(-1)


def expected(model, seed):
    config, wide = model.config, in_float64(model)
    generator = torch.Generator().manual_seed(1000 + seed)
    longest = min(config.max_position_embeddings - GREEDY, 400)
    rows = []
    for length in (1, 2, 17, longest):
        tokens = torch.randint(config.vocab_size, (length,), generator=generator)
        logprobs = logprobs_of(wide, tokens)
        greedy = tokens
        for _ in range(GREEDY):
            greedy = torch.cat([greedy, logprobs_of(model, greedy)[-1:].argmax(-1)])
        own = [None] + [round(logprobs[i, tokens[i + 1]].item(), 8) for i in range(length - 1)]
        rows.append({"tokens": tokens.tolist(), "logprobs": own, "greedy": greedy[length:].tolist(),
                     "float64": logprobs, "float32": logprobs_of(model, tokens)})
    return rows


def compare(name, directory, score_model, rows):
    """Largest differences from float32 and float64, the number of log-probabilities, and whether greedy answers are equal."""
    lines = "".join(json.dumps({"tokens": row["tokens"], "top_k": 5, "greedy": GREEDY}) + "\n" for row in rows)
    output = subprocess.run([score_model, directory], input=lines, capture_output=True, text=True, check=False)
    if output.returncode != 0:
        sys.exit(f"{name}: {output.stderr}")
    worst, count, is_same = {"float32": 0.0, "float64": 0.0}, 0, True
    for row, line in zip(rows, map(json.loads, output.stdout.splitlines()), strict=True):
        tokens = row["tokens"]
        assert line["logprobs"][0] is None and len(line["logprobs"]) == len(tokens) == len(line["top"])
        for i in range(1, len(tokens)):
            for token, logprob in [(tokens[i], line["logprobs"][i]), *line["top"][i]]:
                count += 1
                for kind in worst:
                    worst[kind] = max(worst[kind], abs(logprob - row[kind][i - 1, token].item()))
        is_same = is_same and line["greedy"] == row["greedy"]
    return worst["float32"], worst["float64"], count, is_same


def export_is_equal(directory, score_model, scratch):
    out = scratch / "exported"
    shutil.rmtree(out, ignore_errors=True)
    subprocess.run([score_model, directory, "--export", out], check=True)
    mine, theirs = load(out).state_dict(), load(directory).state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[key], theirs[key]) for key in theirs)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("score_model")
    parser.add_argument("--write", type=pathlib.Path, help="keep the small models and the answers there")
    parser.add_argument("--model", type=pathlib.Path, action="append", default=[], help="compare this model too")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    print(f"torch {torch.__version__}, transformers {transformers.__version__}, tolerances {FLOAT32_TOLERANCE} and {FLOAT64_TOLERANCE}")
    failed = False
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        directories = {}
        for seed, name in enumerate(CASES):
            directories[name] = scratch / name
            make(name, seed, directories[name])
        for path in arguments.model:
            directories[str(path)] = path
        for seed, (name, directory) in enumerate(directories.items()):
            rows = expected(load(directory), seed)
            narrow, wide, count, is_same = compare(name, directory, arguments.score_model, rows)
            is_exported = export_is_equal(directory, arguments.score_model, scratch)
            is_good = narrow <= FLOAT32_TOLERANCE and wide <= FLOAT64_TOLERANCE and is_same and is_exported
            failed = failed or not is_good
            print(f"{'ok  ' if is_good else 'FAIL'} {name}: {count} log-probabilities within {narrow:.1e} of float32, {wide:.1e} of float64, "
                  f"greedy {'equal' if is_same else 'DIFFERS'}, export {'equal' if is_exported else 'DIFFERS'}")
            if arguments.write and name in CASES and not name.startswith("larger"):
                target = arguments.write / name
                shutil.rmtree(target, ignore_errors=True)
                shutil.copytree(directory, target)
                for file in target.iterdir():
                    file.chmod(0o644)
                lines = [json.dumps({key: row[key] for key in ("tokens", "logprobs", "greedy")}) for row in rows]
                (target / "expected.jsonl").write_text("\n".join(lines) + "\n")
    sys.exit(failed)


if __name__ == "__main__":
    main()
