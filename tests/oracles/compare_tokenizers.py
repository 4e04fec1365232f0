#!/usr/bin/env python3
"""Compares ids and speed with Hugging Face tokenizers, in one run on the same texts, documents and threads.

    python3 -m venv venv && venv/bin/pip install tokenizers==0.23.2
    cmake --build build/release --target pipestill-bench
    venv/bin/python tests/oracles/compare_tokenizers.py build/release/bin/pipestill-bench path/to/model...

A model is a directory with tokenizer.json. The texts are those of `pipestill-bench tokenize`, which writes them here; the ids of
every text must be equal. Rates are medians of MB/s by the wall clock; both sides are measured in turn, --rounds times. Two threads of
the library are its own (RAYON_NUM_THREADS), over batches of documents.
"""
import argparse
import hashlib
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

GOAL = 2.0  # of the library's rate, on one thread


def documents_of(data, size):
    """As bench/made_texts.cpp cuts them."""
    begin, out = 0, []
    while begin < len(data):
        line_end = data.find(b"\n", begin + size) if begin + size < len(data) else -1
        end = len(data) if line_end < 0 else line_end + 1
        out.append(data[begin:end].decode())
        begin = end
    return out


def library(arguments):
    """Measures the library once; runs in a process of its own, since its number of threads is fixed at its first use."""
    from tokenizers import Tokenizer

    directory, texts, size = arguments
    tokenizer = Tokenizer.from_file(os.path.join(directory, "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    out = {}
    for path in sorted(pathlib.Path(texts).glob("*.txt")):
        data = path.read_bytes()
        documents = documents_of(data, int(size))
        if os.environ["RAYON_NUM_THREADS"] == "1":
            encode = lambda: [tokenizer.encode(d, add_special_tokens=False) for d in documents]
        else:
            encode = lambda: tokenizer.encode_batch(documents, add_special_tokens=False)
        encode()  # warm-up, as on the other side
        begun = time.perf_counter()
        encoded = encode()
        seconds = time.perf_counter() - begun
        digest = hashlib.sha256()
        for e in encoded:
            digest.update("".join(f"{i} " for i in e.ids).encode())
        out[path.stem] = {"mb_per_s": len(data) * 1e-6 / seconds, "ids_sha256": digest.hexdigest()}
    print(json.dumps(out))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("bench")
    parser.add_argument("models", nargs="+")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--megabytes", type=int, default=2)
    parser.add_argument("--document", type=int, default=4096)
    options = parser.parse_args()
    failures = 0
    for model in options.models:
        rates, ids = {}, {}
        with tempfile.TemporaryDirectory() as texts:
            for _ in range(options.rounds):
                ours = json.loads(subprocess.run(
                    [options.bench, "tokenize", "--tokenizer", model, "--megabytes", str(options.megabytes), "--document", str(options.document),
                     "--repetitions", "1", "--write", texts, "--json"], check=True, capture_output=True, text=True).stdout)
                for line in ours["lines"]:
                    key = line["text"], line["threads"]
                    rates.setdefault(key, ([], []))[0].append(line["mb_per_s"]["median"])
                    ids.setdefault(line["text"], set()).add(line["ids_sha256"])
                for threads in (1, 2):
                    environment = dict(os.environ, RAYON_NUM_THREADS=str(threads), TOKENIZERS_PARALLELISM="false" if threads == 1 else "true")
                    theirs = json.loads(subprocess.run([sys.executable, __file__, "--library", model, texts, str(options.document)], check=True,
                                                       capture_output=True, text=True, env=environment).stdout)
                    for text, line in theirs.items():
                        rates[text, threads][1].append(line["mb_per_s"])
                        ids[text].add(line["ids_sha256"])
        print(f"{os.path.basename(os.path.normpath(model))}: MB/s of pipestill and tokenizers, median of {options.rounds}")
        for (text, threads), (ours, theirs) in sorted(rates.items()):
            ratio = statistics.median(ours) / statistics.median(theirs)
            goal = f"goal {GOAL}: {'met' if ratio >= GOAL else 'missed'}" if threads == 1 else ""
            print(f"  {text:<14}{threads} thread{'s' if threads > 1 else ' '}{statistics.median(ours):>8.1f}{statistics.median(theirs):>8.1f}   x {ratio:.1f}   {goal}")
        for text, digests in sorted(ids.items()):
            if len(digests) != 1:
                failures += 1
                print(f"  {text}: the ids DIFFER")
    if failures:
        sys.exit(f"{failures} texts with different ids")
    print("the ids of all texts are equal")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--library"]:
        library(sys.argv[2:])
    else:
        main()
