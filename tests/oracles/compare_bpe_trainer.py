#!/usr/bin/env python3
"""Trains the same vocabularies with pipestill and with Hugging Face tokenizers, which must be equal token by token, and merge by merge.

    python3 -m venv venv && venv/bin/pip install tokenizers==0.23.2
    venv/bin/python tests/oracles/compare_bpe_trainer.py build/release/bin/pipestill examples/tasks/data/teacher_train.jsonl [--size N]...

Rows of the file have messages. The library reads our file back too, and must give the ids of `pipestill tokenize` for the first texts.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, trainers

SPECIAL = ["<|pad|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"]


def library(texts, size):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    trainer = trainers.BpeTrainer(vocab_size=size, min_frequency=2, show_progress=False, special_tokens=[AddedToken(text, special=True) for text in SPECIAL],
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def merges_of(tokenizer_json):
    return [tuple(merge.split(" ") if isinstance(merge, str) else merge) for merge in tokenizer_json["model"]["merges"]]


def compare(program, data, texts, size):
    with tempfile.TemporaryDirectory() as directory:
        out = os.path.join(directory, "vocabulary")
        subprocess.run([program, "train-tokenizer", data, "--size", str(size), "--out", out], check=True, stdout=subprocess.DEVNULL)
        path = os.path.join(out, "tokenizer.json")
        with open(path, encoding="utf-8") as file:
            ours = json.load(file)
        read_by_library = Tokenizer.from_file(path)
        lines = "".join(json.dumps({"text": text}) + "\n" for text in texts[:2000])
        ids = [json.loads(line)["ids"] for line in subprocess.run([program, "tokenize", "--tokenizer", out, "--jsonl", "--plain-text"], input=lines,
                                                                  check=True, capture_output=True, text=True).stdout.splitlines()]
    read_by_library.encode_special_tokens = True  # special tokens' texts are ordinary text, as with --plain-text
    differing_ids = sum(read_by_library.encode(text, add_special_tokens=False).ids != got for text, got in zip(texts, ids, strict=False))
    theirs = json.loads(library(texts, size).to_str())
    mine, other = merges_of(ours), merges_of(theirs)
    same = next((i for i, (a, b) in enumerate(zip(mine, other)) if a != b), min(len(mine), len(other)))
    is_same = mine == other and ours["model"]["vocab"] == theirs["model"]["vocab"]
    print(f"size {size}: {len(ours['model']['vocab'])} and {len(theirs['model']['vocab'])} tokens, {len(mine)} and {len(other)} merges, of which the first {same} "
          f"are equal; {'the same vocabulary' if is_same else 'the vocabularies DIFFER'}; {differing_ids} of {len(ids)} texts with other ids")
    return is_same and differing_ids == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("program")
    parser.add_argument("data")
    parser.add_argument("--size", type=int, action="append")
    options = parser.parse_args()
    with open(options.data, encoding="utf-8") as file:
        texts = [message["content"] for line in file for message in json.loads(line)["messages"]]
    results = [compare(options.program, options.data, texts, size) for size in options.size or [261, 320, 512, 1000]]
    if not all(results):
        sys.exit("vocabularies or ids differ")


if __name__ == "__main__":
    main()
