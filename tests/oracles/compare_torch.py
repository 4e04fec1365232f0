#!/usr/bin/python3
"""Our training step against PyTorch's autograd and AdamW, both from the same checkpoint and batch.

Usage: compare_torch.py TRAIN_STEP_PROGRAM      (Debian: python3-torch, which brings numpy)

Every case draws a small model and a batch, lets the program train one step in float32, computes the same in float64 with plain torch
operations, and compares loss, gradient norm, every tensor's gradient (from Adam's first moment, which is (1 - beta1) times it) and every
tensor after the step. Exit status 1 where they differ, 77 (skipped) without PyTorch.
"""
import json
import math
import os
import struct
import subprocess
import sys
import tempfile

try:
    import numpy as np
    import torch
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

torch.set_num_threads(1)

# Relative: roundings of 6e-8 each through the layers and over some 90 targets, with room for terms that cancel.
LOSS, GRADIENT = 1e-6, 1e-5
U = 2.0 ** -24


def read_safetensors(path):
    with open(path, "rb") as f:
        data = f.read()
    size = struct.unpack("<Q", data[:8])[0]
    tensors = {}
    for name, info in json.loads(data[8:8 + size]).items():
        if name == "__metadata__":
            continue
        assert info["dtype"] == "F32", info
        begin, end = info["data_offsets"]
        tensors[name] = np.frombuffer(data[8 + size + begin:8 + size + end], "<f4").reshape(info["shape"])
    return tensors


def write_safetensors(path, tensors):
    header, blobs, at = {}, [], 0
    for name, x in tensors.items():
        blob = x.astype("<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(x.shape), "data_offsets": [at, at + len(blob)]}
        blobs.append(blob)
        at += len(blob)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def draw_model(c, rng):
    d, hd, ff = c["hidden_size"], c["head_dim"], c["intermediate_size"]
    q, kv = c["num_attention_heads"] * hd, c["num_key_value_heads"] * hd
    shapes = {"model.embed_tokens.weight": (c["vocab_size"], d), "model.norm.weight": (d,)}
    if not c["tie_word_embeddings"]:
        shapes["lm_head.weight"] = (c["vocab_size"], d)
    for i in range(c["num_hidden_layers"]):
        p = f"model.layers.{i}."
        shapes.update({p + "input_layernorm.weight": (d,), p + "post_attention_layernorm.weight": (d,),
                       p + "self_attn.q_proj.weight": (q, d), p + "self_attn.k_proj.weight": (kv, d), p + "self_attn.v_proj.weight": (kv, d),
                       p + "self_attn.o_proj.weight": (d, q), p + "mlp.gate_proj.weight": (ff, d), p + "mlp.up_proj.weight": (ff, d),
                       p + "mlp.down_proj.weight": (d, ff)})
        if c["model_type"] == "qwen3":
            shapes.update({p + "self_attn.q_norm.weight": (hd,), p + "self_attn.k_norm.weight": (hd,)})
    return {name: (rng.normal(0, 1 / math.sqrt(shape[-1]), shape) if len(shape) == 2 else rng.uniform(0.5, 1.5, shape)).astype(np.float32)
            for name, shape in shapes.items()}


def rms_norm(x, w, eps):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * w


def rotate(x, theta):
    """x: [heads, positions, head_dim]; the pairs are (j, j + head_dim / 2)."""
    n, hd = x.shape[1], x.shape[2]
    frequency = theta ** (-torch.arange(0, hd, 2, dtype=x.dtype) / hd)
    angle = torch.arange(n, dtype=x.dtype)[:, None] * frequency
    cosine, sine = torch.cat([angle, angle], -1).cos(), torch.cat([angle, angle], -1).sin()
    return x * cosine + torch.cat([-x[..., hd // 2:], x[..., :hd // 2]], -1) * sine


def log_probabilities(c, w, tokens):
    eps, hd, kv_heads = c["rms_norm_eps"], c["head_dim"], c["num_key_value_heads"]
    n, group = len(tokens), c["num_attention_heads"] // c["num_key_value_heads"]
    x = w["model.embed_tokens.weight"][torch.tensor(tokens)]
    mask = torch.full((n, n), float("-inf"), dtype=x.dtype).triu(1)
    for i in range(c["num_hidden_layers"]):
        p = f"model.layers.{i}."
        h = rms_norm(x, w[p + "input_layernorm.weight"], eps)
        q, k, v = ((h @ w[p + f"self_attn.{name}_proj.weight"].T).view(n, -1, hd).transpose(0, 1) for name in "qkv")
        if c["model_type"] == "qwen3":
            q, k = rms_norm(q, w[p + "self_attn.q_norm.weight"], eps), rms_norm(k, w[p + "self_attn.k_norm.weight"], eps)
        q, k = rotate(q, c["rope_theta"]), rotate(k, c["rope_theta"])
        k, v = k.repeat_interleave(group, 0), v.repeat_interleave(group, 0)
        attended = torch.softmax(q @ k.transpose(1, 2) / math.sqrt(hd) + mask, -1) @ v
        x = x + attended.transpose(0, 1).reshape(n, -1) @ w[p + "self_attn.o_proj.weight"].T
        h = rms_norm(x, w[p + "post_attention_layernorm.weight"], eps)
        gate, up = h @ w[p + "mlp.gate_proj.weight"].T, h @ w[p + "mlp.up_proj.weight"].T
        x = x + (torch.nn.functional.silu(gate) * up) @ w[p + "mlp.down_proj.weight"].T
    head = w["model.embed_tokens.weight" if c["tie_word_embeddings"] else "lm_head.weight"]
    return torch.log_softmax(rms_norm(x, w["model.norm.weight"], eps) @ head.T, -1)


def batch_loss(c, w, datums, normalization):
    losses, weights = [], []
    for datum in datums:
        shape = (len(datum["tokens"]), -1)
        target, weight = torch.tensor(datum["target_tokens"]).view(shape), torch.tensor(datum["weights"], dtype=torch.float64).view(shape)
        if not (weight != 0).any():
            continue
        losses.append(-(log_probabilities(c, w, datum["tokens"]).gather(1, target) * weight).sum())
        weights.append(weight.sum())
    if normalization == "sum":
        return sum(losses)
    if normalization == "token_mean":
        return sum(losses) / sum(weights)
    return sum(l / s for l, s in zip(losses, weights)) / len(losses)


def draw_batch(c, rng, rows):
    datums = []
    for row in range(rows):
        n, k = int(rng.integers(2, 17)), [0, 1, 5][row % 3]
        count = n * max(k, 1)
        weights = rng.choice([0.0, 0.25, 0.5, 1.0, 2.0], count).astype(np.float32)
        weights[-1] = 1
        datums.append({"tokens": rng.integers(0, c["vocab_size"], n).tolist(), "shape": [n, k] if k else [n],
                       "target_tokens": rng.integers(0, c["vocab_size"], count).tolist(), "weights": weights.tolist()})
    datums.append({"tokens": [1, 2], "shape": [2], "target_tokens": [3, 4], "weights": [0.0, 0.0]})  # trains nothing, counts nowhere
    return datums


def compare(program, name, c, normalization, adam, micro_batch_rows, rng):
    with tempfile.TemporaryDirectory() as directory:
        model, out = os.path.join(directory, "model"), os.path.join(directory, "out")
        os.mkdir(model)
        weights = draw_model(c, rng)
        datums = draw_batch(c, rng, 10)
        with open(os.path.join(model, "config.json"), "w") as f:
            json.dump(c, f)
        write_safetensors(os.path.join(model, "model.safetensors"), weights)
        batch = os.path.join(directory, "batch.json")
        with open(batch, "w") as f:
            json.dump({"loss": {"normalization": normalization, "micro_batch_rows": micro_batch_rows}, "adam": adam, "datums": datums}, f)
        run = subprocess.run([program, model, batch, out], stdout=subprocess.PIPE, check=True, text=True)
        metrics = json.loads(run.stdout)
        ours = read_safetensors(os.path.join(out, "model.safetensors"))
        moments = read_safetensors(os.path.join(out, "optimizer.safetensors"))

    w = {key: torch.tensor(x, dtype=torch.float64, requires_grad=True) for key, x in weights.items()}
    loss = batch_loss(c, w, datums, normalization)
    loss.backward()
    norm = torch.sqrt(sum((x.grad ** 2).sum() for x in w.values())).item()
    clip = adam["grad_clip_norm"]
    scale = clip / norm if clip and norm > clip else 1.0
    for x in w.values():
        x.grad *= scale
    torch.optim.AdamW(list(w.values()), lr=adam["learning_rate"], betas=(adam["beta1"], adam["beta2"]), eps=adam["eps"],
                      weight_decay=adam["weight_decay"]).step()

    assert ours.keys() == w.keys() and {"m." + key for key in w} <= moments.keys()
    relative = {"loss": abs(metrics["loss"] - loss.item()) / abs(loss.item()), "gradient norm": abs(metrics["grad_norm"] - norm) / norm}
    bounds = {"loss": LOSS, "gradient norm": GRADIENT}
    for key, x in w.items():
        theirs = x.grad.numpy()
        gradient = moments["m." + key].astype(np.float64) / (1 - adam["beta1"])
        relative["gradient of " + key] = np.linalg.norm(gradient - theirs) / np.linalg.norm(theirs)
        bounds["gradient of " + key] = GRADIENT
        after = x.detach().numpy()
        # The first step is learning_rate * g / (|g| + eps): no steeper than learning_rate / eps, no longer than learning_rate. Beside it
        # there are the gradient's error and the weight's own rounding.
        error = (adam["learning_rate"] / adam["eps"] * np.linalg.norm(gradient - theirs) + 4 * U * np.linalg.norm(after) +
                 adam["learning_rate"] * math.sqrt(after.size) * U * 10)
        relative["step of " + key] = np.linalg.norm(ours[key] - after) / np.linalg.norm(after)
        bounds["step of " + key] = error / np.linalg.norm(after)
    failed = [key for key in relative if not relative[key] <= bounds[key]]
    gradients = max(v for k, v in relative.items() if k.startswith("gradient of"))
    steps = max(v for k, v in relative.items() if k.startswith("step of"))
    print(f"{'FAILED' if failed else 'ok'} {name}, {normalization}, {micro_batch_rows} rows at a time: loss {loss.item():.6f}; relative "
          f"differences: loss {relative['loss']:.1e}, gradient norm {relative['gradient norm']:.1e}, worst tensor's gradient {gradients:.1e}, "
          f"worst tensor after the step {steps:.1e}")
    for key in failed:
        print(f"  {key}: {relative[key]:.3e} is above {bounds[key]:.1e}")
    return not failed


def main():
    if len(sys.argv) != 2:
        print(__doc__.strip(), file=sys.stderr)
        return 2
    base = {"vocab_size": 37, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
            "intermediate_size": 48, "max_position_embeddings": 64, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "hidden_act": "silu"}
    adam = {"learning_rate": 1e-2, "beta1": 0.9, "beta2": 0.95, "eps": 1e-2, "weight_decay": 0.1, "grad_clip_norm": 0.0}
    rng = np.random.default_rng(20)
    good = True
    for family in ("llama", "qwen3"):
        for tied in (True, False):
            config = dict(base, model_type=family, tie_word_embeddings=tied)
            name = f"{family}, {'tied' if tied else 'free'} output matrix"
            good &= compare(sys.argv[1], name, config, "token_mean", adam, 0, rng)
            good &= compare(sys.argv[1], name, config, "seq_mean", dict(adam, grad_clip_norm=0.1), 3, rng)
            good &= compare(sys.argv[1], name, config, "sum", dict(adam, beta2=0.999, weight_decay=0.0), 1, rng)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
