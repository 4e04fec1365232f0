#!/usr/bin/env python3
"""Compares how tools are declared to a model with tinker-cookbook's own code, over random tools.

Usage: compare_tools.py PIPESTILL TOKENIZERS [--cases N] [--seed S]

PIPESTILL is the program, TOKENIZERS a folder with qwen3/, deepseek_v3/ and gpt-oss/ (each with a tokenizer.json).
Needs tinker-cookbook (pip install --no-deps tinker-cookbook); what that imports and this does not need is replaced by stand-ins.
"""
import argparse
import importlib.abc
import importlib.machinery
import json
import random
import subprocess
import sys
from unittest.mock import MagicMock


class StandIns(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Modules that are not installed, as mocks: rendering text needs none of them."""

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"tinker", "torch", "transformers", "PIL", "numpy", "pydantic", "chz", "termcolor", "datasets", "huggingface_hub", "tokenizers", "tiktoken", "tml_renderers"}:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec):
        if spec.name.split(".")[0] == "pydantic":
            module = MagicMock(name=spec.name)
            module.BaseModel = type("BaseModel", (), {})
            return module
        return MagicMock(name=spec.name)

    def exec_module(self, module):
        pass


WORDS = ["location", "units", "größe", "a b", 'quoted "word"', "two\nlines", "back\\slash", "emoji 🙂", "日本", "x"]


def random_value(rng, depth=0):
    kind = rng.randrange(7 if depth < 2 else 5)
    if kind == 0:
        return rng.choice([True, False, None])
    if kind == 1:
        return rng.randrange(-5, 10**rng.randrange(1, 15))
    if kind == 2:
        return rng.choice([0.5, 1.0, -2.25, 1e-7, 3.14])
    if kind < 5:
        return rng.choice(WORDS)
    if kind == 5:
        return [random_value(rng, depth + 1) for _ in range(rng.randrange(3))]
    return {rng.choice(WORDS): random_value(rng, depth + 1) for _ in range(rng.randrange(3))}


def random_schema(rng, depth=0):
    kind = rng.randrange(9 if depth < 3 else 5)
    schema = {}
    if kind < 4:
        schema["type"] = ["string", "number", "integer", "boolean"][kind]
        if kind == 0 and rng.random() < 0.4:
            schema["enum"] = [rng.choice(WORDS) for _ in range(rng.randrange(1, 4))]
    elif kind == 4:
        schema["type"] = rng.choice(["null", ["string", "null"], ["array", "object", "integer"]])
    elif kind == 5:
        schema["type"] = "array"
        if rng.random() < 0.8:
            schema["items"] = random_schema(rng, depth + 1)
    elif kind == 6:
        schema = random_object(rng, depth + 1)
    elif kind == 7:
        schema[rng.choice(["oneOf", "anyOf"])] = [random_schema(rng, depth + 1) for _ in range(rng.randrange(1, 4))]
    for key, make in (("description", lambda: rng.choice(WORDS)), ("title", lambda: rng.choice(WORDS)), ("default", lambda: random_value(rng)),
                      ("nullable", lambda: rng.choice([True, False])), ("examples", lambda: [random_value(rng) for _ in range(rng.randrange(3))])):
        if rng.random() < 0.25:
            schema[key] = make()
    return schema


def random_object(rng, depth=0):
    names = rng.sample(WORDS, rng.randrange(4))
    schema = {"type": "object", "properties": {name: random_schema(rng, depth + 1) for name in names}}
    if rng.random() < 0.7:
        schema["required"] = [name for name in names if rng.random() < 0.5]
    if rng.random() < 0.3:
        schema["description"] = rng.choice(WORDS)
    return schema


def random_tools(rng):
    return [{"name": f"tool_{k}", "description": rng.choice(WORDS), "parameters": random_object(rng)} for k in range(rng.randrange(1, 4))]


def answers(program, tokenizer, questions):
    done = subprocess.run([program, "render", "--tokenizer", tokenizer, "--jsonl"], input="".join(json.dumps(q) + "\n" for q in questions), capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"pipestill render failed: {done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pipestill")
    parser.add_argument("tokenizers")
    parser.add_argument("--cases", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    sys.meta_path.insert(0, StandIns())
    from tinker_cookbook.renderers import deepseek_v3, gpt_oss, kimi_k2, qwen3

    formats = [("qwen3", "qwen3", qwen3.Qwen3Renderer), ("deepseekv3", "deepseek_v3", deepseek_v3.DeepSeekV3DisableThinkingRenderer),
               ("gpt_oss_no_sysprompt", "gpt-oss", gpt_oss.GptOssRenderer), ("kimi_k2", "qwen3", kimi_k2.KimiK2Renderer)]
    different = 0
    for name, tokenizer, reference in formats:
        rng = random.Random(arguments.seed)
        renderer = reference.__new__(reference)
        ours, theirs = [], []
        for _ in range(arguments.cases):
            tools, system = random_tools(rng), rng.choice(["", "Be brief."])
            user = {"role": "user", "content": "q"}
            prefix = [{"role": m["role"], "content": m["content"]} for m in renderer.create_conversation_prefix_with_tools(tools, system)]
            for message in prefix:
                if message["role"] == "_gptoss_internal_system":
                    message["role"] = "<|system|>"
            question = {"kind": "generation_prompt", "renderer": name}
            given = [{"type": "function", "function": tool} for tool in tools] if rng.random() < 0.5 else tools
            ours.append(question | {"tools": given, "messages": ([{"role": "system", "content": system}] if system else []) + [user]})
            theirs.append(question | {"messages": prefix + [user]})
        folder = f"{arguments.tokenizers}/{tokenizer}"
        wrong = 0
        for k, (a, b) in enumerate(zip(answers(arguments.pipestill, folder, ours), answers(arguments.pipestill, folder, theirs), strict=True)):
            if a.get("tokens") != b.get("tokens") or "tokens" not in a:
                wrong += 1
                if wrong == 1:
                    print(f"{name}, case {k}:\n--- ours\n{a.get('text', a)}\n--- theirs\n{b.get('text', b)}")
        print(f"{name}: {arguments.cases} cases, {wrong} different")
        different += wrong
    sys.exit(different > 0)


if __name__ == "__main__":
    main()
