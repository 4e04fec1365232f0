#!/usr/bin/env python3
"""Compares ids and texts with the Python package sentencepiece, over models that it trains here: every algorithm, normaliser and kind of symbol.

    python3 -m venv venv && venv/bin/pip install sentencepiece==0.1.97
    cmake --build build/release --target pipestill-app
    venv/bin/python tests/oracles/compare_sentencepiece.py build/release/bin/pipestill [path/to/tokenizer.model...]

Ids of every text, and the text of these and of random ids, must be equal.
"""
import json
import os
import random
import subprocess
import sys
import tempfile

import sentencepiece

WORDS = "the still of a refinery distils while feed keeps flowing teacher student batch token pipe Ａｂｃ ﬁne café e\u0301te\u0301 日本語 текст 12345 3.14 <user> <sep> 😀 naïve".split()
VARIANTS = {
    "bpe": dict(model_type="bpe"),
    "bpe-bytes": dict(model_type="bpe", byte_fallback=True, vocab_size=420, normalization_rule_name="identity", remove_extra_whitespaces=False, split_digits=True),
    "bpe-symbols": dict(model_type="bpe", user_defined_symbols=["<user>", "<us", "\u2581\u2581"], control_symbols=["<sep>", "<pad>"]),
    "unigram": dict(model_type="unigram"),
    "unigram-bytes": dict(model_type="unigram", byte_fallback=True, vocab_size=420, normalization_rule_name="nfkc_cf"),
    "unigram-symbols": dict(model_type="unigram", user_defined_symbols=["<user>", "日本"], control_symbols=["<sep>"], pad_id=3),
    "unigram-suffix": dict(model_type="unigram", treat_whitespace_as_suffix=True, normalization_rule_name="nfkc"),
    "unigram-bare": dict(model_type="unigram", add_dummy_prefix=False, bos_id=-1, eos_id=-1, unk_surface="?"),
    "word": dict(model_type="word", vocab_size=40, hard_vocab_limit=False),
    "char": dict(model_type="char", vocab_size=60, hard_vocab_limit=False),
}


def made_texts(random_source, count):
    out = ["", " ", "  a  b ", "\n\t x", "\u2581 \u2581\u2581", "<s> </s> <unk> <sep>", "\0a", "\U0010ffff\ufffd", "ﷺ" * 3]
    for _ in range(count):
        kind = random_source.randrange(3)
        if kind == 0:
            out.append(" ".join(random_source.choices(WORDS, k=random_source.randrange(1, 30))))
        elif kind == 1:
            out.append("".join(random_source.choices(" \u2581aehistＡﬁé<>user12日本\u0301\n", k=random_source.randrange(60))))
        else:
            out.append("".join(chr(c) for c in (random_source.randrange(0x110000) for _ in range(30)) if not 0xD800 <= c < 0xE000))
    return out


def convert(program, model, lines, *options):
    done = subprocess.run([program, "tokenize", "--tokenizer", model, "--jsonl", *options], input="".join(json.dumps(line) + "\n" for line in lines).encode(),
                          capture_output=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{model}: {done.stderr.decode()}")
    return [json.loads(line) for line in done.stdout.decode().split("\n")[:-1]]


def compare(name, program, model):
    source = random.Random(7)
    theirs = sentencepiece.SentencePieceProcessor(model_file=model)
    texts = made_texts(source, 2000)
    ours = convert(program, model, [{"text": t} for t in texts], "--plain-text")
    wrong = [t for t, o in zip(texts, ours, strict=True) if o["ids"] != theirs.encode(t)]
    # Control symbols are left out of random ids: there the library prints nothing, and this program their text.
    plain = [i for i in range(theirs.get_piece_size()) if not theirs.is_control(i)]
    ids = [[i for i in theirs.encode(t)] for t in texts] + [source.choices(plain, k=source.randrange(1, 40)) for _ in range(2000)]
    decoded = convert(program, model, [{"ids": i} for i in ids], "--decode")
    wrong += [i for i, o in zip(ids, decoded, strict=True) if o["text"] != theirs.decode(i)]
    print(f"{name}: {theirs.get_piece_size()} pieces, {len(texts)} texts, {len(ids)} lists of ids, {len(wrong)} differ")
    for case in wrong[:3]:
        print(f"  {case!r}")
    return len(wrong)


def main():
    program, models = sys.argv[1], sys.argv[2:]
    different = sum(compare(model, program, model) for model in models)
    with tempfile.TemporaryDirectory() as folder:
        source = random.Random(1)
        sentences = [" ".join(source.choices(WORDS, k=12)) for _ in range(500)]
        for name, options in VARIANTS.items():
            prefix = os.path.join(folder, name)
            sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(sentences), model_prefix=prefix, minloglevel=2, num_threads=1,
                                                     **{"vocab_size": 120, "hard_vocab_limit": False, **options})
            different += compare(name, program, prefix + ".model")
    if different:
        sys.exit(f"{different} differ")
    print("all equal")


if __name__ == "__main__":
    main()
