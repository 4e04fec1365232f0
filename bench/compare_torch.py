#!/usr/bin/python3
"""The decode and training steps of `pipestill-bench sample` and `train`, in plain PyTorch, measured in turn with them.

Runs where Debian's python3-torch is installed; nothing of pipestill needs it. Which matrix library torch uses decides its figures, so the
output names it: with libblas3 alone that is the slow reference BLAS; `apt-get install libopenblas0-pthread` replaces it for torch.

Example: bench/compare_torch.py --bench build/release/bin/pipestill-bench --repetitions 5
"""
import argparse
import json
import math
import os
import statistics
import struct
import subprocess
import sys
import time

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # torch.set_num_threads does not reach OpenBLAS; read when it is loaded
try:
    import torch
except ImportError:
    sys.exit("compare_torch.py: this python has no torch; on Debian: apt-get install python3-torch, and run it with /usr/bin/python3")
import torch.nn.functional as F

# As in bench/example_models.hpp.
PROMPT_TOKENS, ANSWER_TOKENS, ROWS, DECODE_STEPS = 16, 11, 64, 28
POSITIONS = PROMPT_TOKENS + ANSWER_TOKENS - 1


def bench_token(config, row, t):
    return (row * 31 + t * t * 7 + t * 5) % config["vocab_size"]


def blas_name():
    """The BLAS that is loaded, by its file."""
    with open("/proc/self/maps") as maps:
        files = {os.path.realpath(line.split()[-1]) for line in maps if "/" in line}
    names = [f for f in files if any(part in os.path.basename(f) for part in ("blas", "mkl_rt", "blis"))]
    if not names:
        return "built into libtorch"
    kind = "OpenBLAS" if any("openblas" in f for f in names) else "netlib reference BLAS" if any("/blas/" in f for f in names) else "BLAS"
    return f"{kind} ({', '.join(sorted(names))})"


def read_safetensors(path):
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        data = bytearray(file.read())
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        if entry["dtype"] != "F32":
            sys.exit(f"compare_torch.py: {path}: {name} is {entry['dtype']}; F32 is read")
        begin, end = entry["data_offsets"]
        tensors[name] = torch.frombuffer(data, dtype=torch.float32, count=(end - begin) // 4, offset=begin).reshape(entry["shape"]).clone()
    return tensors


class Decoder:
    """Llama in plain tensor operations; query, key and value are one matrix, gate and up another, as in the program it is compared with."""

    def __init__(self, model):
        directory = model if os.path.isdir(model) else os.path.dirname(model)
        with open(os.path.join(directory, "config.json")) as file:
            self.config = c = json.load(file)
        if c.get("model_type") != "llama" or not c.get("tie_word_embeddings"):
            sys.exit(f"compare_torch.py: {directory}: a llama with tied embeddings is compared")
        self.heads, self.kv_heads, self.head_dim = c["num_attention_heads"], c["num_key_value_heads"], c["head_dim"]
        self.layers = c["num_hidden_layers"]
        d, ff, width = c["hidden_size"], c["intermediate_size"], (self.heads + 2 * self.kv_heads) * self.head_dim
        weights = os.path.join(directory, "model.safetensors")
        self.has_weights = os.path.exists(weights)
        if self.has_weights:
            t = read_safetensors(weights)
            get = lambda i, names: torch.cat([t[f"model.layers.{i}.{n}.weight"] for n in names])
            self.embedding, self.final_norm = t["model.embed_tokens.weight"], t["model.norm.weight"]
            self.layer = [[get(i, ["input_layernorm"]), get(i, [f"self_attn.{n}_proj" for n in "qkv"]), get(i, ["self_attn.o_proj"]),
                           get(i, ["post_attention_layernorm"]), get(i, ["mlp.gate_proj", "mlp.up_proj"]), get(i, ["mlp.down_proj"])]
                          for i in range(self.layers)]
        else:
            torch.manual_seed(1)
            fresh = lambda *shape: torch.randn(*shape) / math.sqrt(d)
            self.embedding, self.final_norm = fresh(c["vocab_size"], d), torch.ones(d)
            self.layer = [[torch.ones(d), fresh(width, d), fresh(d, self.heads * self.head_dim), torch.ones(d), fresh(2 * ff, d), fresh(d, ff)]
                          for _ in range(self.layers)]
        angles = torch.outer(torch.arange(128.0), c["rope_theta"] ** (-torch.arange(0, self.head_dim, 2).float() / self.head_dim))
        self.cos, self.sin = torch.cat([angles, angles], 1).cos(), torch.cat([angles, angles], 1).sin()

    def parameters(self):
        return [self.embedding, self.final_norm, *(w for layer in self.layer for w in layer)]

    def norm(self, x, w):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.config["rms_norm_eps"]) * w

    def rotate(self, x, first):
        cos, sin = self.cos[first:first + x.shape[2]], self.sin[first:first + x.shape[2]]
        left, right = x.chunk(2, -1)
        return x * cos + torch.cat([-right, left], -1) * sin

    def forward(self, tokens, cache=None, first=0):
        """tokens: [rows, t] at positions first...; logits [rows, t, vocab]. cache: keys and values a layer, [rows, heads, capacity, head_dim]."""
        rows, t = tokens.shape
        x = F.embedding(tokens, self.embedding)
        mask = torch.full((t, t), -math.inf).triu(1) if t > 1 else None
        for i, (input_norm, qkv, output, post_norm, gate_up, down) in enumerate(self.layer):
            heads = (self.norm(x, input_norm) @ qkv.t()).view(rows, t, -1, self.head_dim).transpose(1, 2)
            q, k, v = heads.split([self.heads, self.kv_heads, self.kv_heads], 1)
            q, k = self.rotate(q, first), self.rotate(k, first)
            if cache is not None:
                cache[i][0][:, :, first:first + t], cache[i][1][:, :, first:first + t] = k, v
                k, v = cache[i][0][:, :, :first + t], cache[i][1][:, :, :first + t]
            if self.kv_heads != self.heads:
                k, v = (a.repeat_interleave(self.heads // self.kv_heads, 1) for a in (k, v))
            scores = q @ k.transpose(2, 3) / math.sqrt(self.head_dim)
            if mask is not None:
                scores = scores + mask
            attended = (scores.softmax(-1) @ v).transpose(1, 2).reshape(rows, t, -1)
            x = x + attended @ output.t()
            gate, up = (self.norm(x, post_norm) @ gate_up.t()).chunk(2, -1)
            x = x + (F.silu(gate) * up) @ down.t()
        return self.norm(x, self.final_norm) @ self.embedding.t()

    def sample(self, rows, count):
        """`count` tokens a row, at temperature 1 with their log-probabilities; the prompts are those of the benchmark."""
        with torch.inference_mode():
            tokens = torch.tensor([[bench_token(self.config, r, t) for t in range(PROMPT_TOKENS)] for r in range(rows)])
            shape = (rows, self.kv_heads, PROMPT_TOKENS + count, self.head_dim)
            cache = [(torch.empty(shape), torch.empty(shape)) for _ in range(self.layers)]
            first = 0
            for _ in range(count):
                logprobs = self.forward(tokens, cache, first)[:, -1].log_softmax(-1)
                first += tokens.shape[1]
                tokens = torch.multinomial(logprobs.exp(), 1)
                logprobs.gather(1, tokens)


class Trainer:
    def __init__(self, decoder):
        self.decoder = decoder
        for p in decoder.parameters():
            p.requires_grad_(True)
        self.optimizer = torch.optim.AdamW(decoder.parameters(), lr=1e-7, betas=(0.9, 0.98), weight_decay=0.01)
        rows = torch.tensor([[bench_token(decoder.config, r, t) for t in range(POSITIONS + 1)] for r in range(ROWS)])
        self.tokens, self.targets = rows[:, :-1], rows[:, PROMPT_TOKENS:]

    def step(self):
        self.optimizer.zero_grad()
        logits = self.decoder.forward(self.tokens)[:, PROMPT_TOKENS - 1:]
        loss = F.cross_entropy(logits.reshape(-1, logits.shape[-1]), self.targets.reshape(-1))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.decoder.parameters(), 1)
        self.optimizer.step()
        return loss.item()


def per_call(seconds, f):
    """(wall, processor) milliseconds a call, over as many calls as fill `seconds`."""
    wall, cpu, calls = time.perf_counter(), time.process_time(), 0
    while calls == 0 or time.perf_counter() - wall < seconds:
        f()
        calls += 1
    return (time.perf_counter() - wall) * 1e3 / calls, (time.process_time() - cpu) * 1e3 / calls


def decode_step(decoder, rows, seconds):
    one, many = (per_call(seconds / 2, lambda: decoder.sample(rows, n)) for n in (1, 1 + DECODE_STEPS))
    return tuple((m - o) / DECODE_STEPS for m, o in zip(many, one))


def bench(arguments, scenario, *options):
    command = [arguments.bench, scenario, "--json", "--repetitions", "1", "--seconds", str(arguments.seconds), "--teacher", arguments.teacher,
               "--student", arguments.student, *options]
    try:
        ran = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        sys.exit(f"compare_torch.py: cannot run {arguments.bench}: {error.strerror}; build it, or name it with --bench")
    if ran.returncode != 0:
        sys.exit(f"compare_torch.py: {' '.join(command)} failed: {ran.stderr.strip()}")
    return json.loads(ran.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", default="build/release/bin/pipestill-bench", help="default: %(default)s")
    parser.add_argument("--teacher", default="examples/tasks/teacher", help="default: %(default)s")
    parser.add_argument("--student", default="examples/tasks/student/config.json", help="default: %(default)s")
    parser.add_argument("--repetitions", type=int, default=5, help="who goes first alternates; default: %(default)s")
    parser.add_argument("--seconds", type=float, default=0.3, help="the least time of a measurement; default: %(default)s")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.randn(64, 64) @ torch.randn(64, 64)  # loads what is loaded late
    blas = blas_name()

    decoders = {"teacher": Decoder(arguments.teacher), "student": Decoder(arguments.student)}
    trainers = {role: Trainer(Decoder(getattr(arguments, role))) for role in decoders}
    first_loss = {role: trainer.step() for role, trainer in trainers.items()}
    figures = {}  # case -> ours and torch's (wall, cpu)

    def ours():
        sampled, trained = bench(arguments, "sample", "--rows", "64,16,1"), bench(arguments, "train")
        for case in sampled["cases"]:
            figures.setdefault("decode " + case["name"], {}).setdefault("pipestill", []).append((case["step_ms"]["median"], case["cpu_ms"]["median"]))
        for case in trained["cases"]:
            role = case["name"]
            figures.setdefault("train " + role, {}).setdefault("pipestill", []).append((case["step_ms"]["median"], case["cpu_ms"]["median"]))
            if trainers[role].decoder.has_weights and abs(case["loss"] - first_loss[role]) > 1e-4 * abs(case["loss"]):
                sys.exit(f"compare_torch.py: the losses of the {role} differ, {case['loss']} and {first_loss[role]}: not the same work")

    def theirs():
        for role, decoder in decoders.items():
            for rows in (64, 16, 1):
                name = f"decode {role}, {rows} row{'' if rows == 1 else 's'}"
                figures.setdefault(name, {}).setdefault("torch", []).append(decode_step(decoder, rows, arguments.seconds))
            figures.setdefault("train " + role, {}).setdefault("torch", []).append(per_call(arguments.seconds, trainers[role].step))

    for k in range(arguments.repetitions):
        for measure in ((ours, theirs) if k % 2 == 0 else (theirs, ours)):
            measure()

    def spread(values):
        return {"min": min(values), "median": statistics.median(values), "max": max(values)}

    cases = []
    for name, sides in sorted(figures.items()):
        case = {"name": name}
        for side in ("pipestill", "torch"):
            case[side] = {"wall_ms": spread([w for w, _ in sides[side]]), "cpu_ms": spread([c for _, c in sides[side]])}
        case["cpu_ratio"] = spread([t / p for (_, t), (_, p) in zip(sides["torch"], sides["pipestill"])])
        cases.append(case)
    if arguments.json:
        print(json.dumps({"torch": torch.__version__, "blas": blas, "repetitions": arguments.repetitions, "cases": cases}))
        return
    text = lambda s, digits: f"{s['median']:.{digits}f} ({s['min']:.{digits}f} to {s['max']:.{digits}f})"
    print(f"torch {torch.__version__} with {blas}, one thread; ms of processor time a step, median (min to max) of {arguments.repetitions}\n")
    print(f"{'':<26}{'pipestill':<30}{'torch':<32}torch over pipestill")
    for case in cases:
        print(f"{case['name']:<26}{text(case['pipestill']['cpu_ms'], 3):<30}{text(case['torch']['cpu_ms'], 3):<32}{text(case['cpu_ratio'], 2)}")
    for role, trainer in trainers.items():
        if trainer.decoder.has_weights:
            print(f"\nthe {role}'s loss on the training batch: {first_loss[role]:.6f} in both, within 1e-4")


if __name__ == "__main__":
    main()
