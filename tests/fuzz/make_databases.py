#!/usr/bin/env python3
"""Makes the seeds of corpus/ledger_file and corpus/answers_file: a run's two databases in the smallest pages, and the same with one thing wrong.

usage: make_databases.py PIPESTILL CORPUS
To be run again when a table changes: the old files are then refused, and show little.
"""
import json
import pathlib
import sqlite3
import subprocess
import sys
import tempfile

RECIPE = {
    "method": "off_policy", "seed": 1, "dataset": {"path": "rows.jsonl"},
    "teacher": {"client": "simulated", "max_tokens": 3, "teacher_store": "answers.sqlite"},
    "student": {"client": "simulated", "tokenizer": "bytes", "renderer": "role_colon"},
    "training": {"batch_size": 2, "max_steps": 3},
}

LEDGER = {
    "whole": "",
    "no-batch": "DELETE FROM rows; DELETE FROM batches",
    "no-origin": "DELETE FROM origin",
    "digest-other": "UPDATE batches SET digest = zeroblob(32) WHERE step = 1",
    "digest-short": "UPDATE batches SET digest = zeroblob(31) WHERE step = 1",
    "digest-text-other": "UPDATE batches SET datum_digest = 'x' WHERE step = 2",
    "step-missing": "DELETE FROM rows WHERE step = 1; DELETE FROM batches WHERE step = 1",
    "step-negative": "UPDATE batches SET step = -1 WHERE step = 0",
    "step-largest": "UPDATE batches SET step = 9223372036854775807 WHERE step = 2",
    "row-missing": "DELETE FROM rows WHERE step = 1 AND place = 0",
    "row-without-batch": "DELETE FROM batches WHERE step = 2",
    "row-unread": "UPDATE rows SET content = NULL WHERE step = 0 AND place = 1",
    "epoch-negative": "UPDATE batches SET epoch = -1 WHERE step = 1",
    "rate-text": "UPDATE batches SET learning_rate = 'x' WHERE step = 1",
    "rate-nan": "UPDATE batches SET learning_rate = x'000000000000f87f' WHERE step = 2",
    "loss-blob": "UPDATE batches SET distill_loss = x'0000000000000000' WHERE step = 1",
    "version-other": "PRAGMA user_version = 2",
    "program-other": "PRAGMA application_id = 1",
    "table-more": "CREATE TABLE more (a)",
    "index-more": "CREATE INDEX more ON batches (epoch)",
    "trigger-more": "CREATE TRIGGER more AFTER INSERT ON batches BEGIN DELETE FROM rows; END",
    "view-instead": "DROP TABLE origin; CREATE VIEW origin AS SELECT '/x' AS recipe_directory",
}

ANSWERS = {
    "whole": "",
    "no-answer": "DELETE FROM answers",
    "checksum-other": "UPDATE answers SET checksum = zeroblob(16) WHERE id = 1",
    "payload-other": "UPDATE answers SET payload = x'02' WHERE id = 1",
    "key-short": "UPDATE answers SET key = x'01' WHERE id = 1",
    "kind-other": "UPDATE answers SET kind = 'score' WHERE id = 1",
    "placed": "INSERT INTO places SELECT key, id FROM answers; INSERT INTO placed SELECT 0, max(id) FROM answers",
    "placed-half": "INSERT INTO places SELECT key, id FROM answers WHERE id < 3; INSERT INTO placed VALUES (0, 2)",
    "placed-ahead": "INSERT INTO placed VALUES (0, 100)",
    "placed-negative": "INSERT INTO placed VALUES (0, -5)",
    "place-of-none": "INSERT INTO places SELECT key, 77 FROM answers; INSERT INTO placed VALUES (0, 6)",
    "places-swapped": "INSERT INTO places SELECT key, 7 - id FROM answers; INSERT INTO placed VALUES (0, 6)",
    "key-twice": "INSERT INTO answers (key, kind, payload, checksum) SELECT key, kind, payload, checksum FROM answers WHERE id = 1",
    "id-largest": "UPDATE answers SET id = 9223372036854775807 WHERE id = 2",
    "version-other": "PRAGMA user_version = 2",
    "program-other": "PRAGMA application_id = 1",
    "table-more": "CREATE TABLE more (a)",
    "trigger-more": "CREATE TRIGGER more AFTER INSERT ON answers BEGIN DELETE FROM answers; END",
}


def change(source: pathlib.Path, sql: str, into: pathlib.Path) -> None:
    into.write_bytes(source.read_bytes())
    database = sqlite3.connect(into)
    database.executescript("PRAGMA journal_mode = DELETE; PRAGMA page_size = 512;" + sql + "; VACUUM")
    database.close()


def damage(whole: pathlib.Path) -> None:
    """What no SQL does."""
    content = whole.read_bytes()
    beside = whole.parent
    (beside / "nothing").write_bytes(b"")
    (beside / "cut-header").write_bytes(content[:60])
    (beside / "cut-page").write_bytes(content[: len(content) // 2 + 100])
    (beside / "cut-pages").write_bytes(content[: len(content) // 1024 * 512])
    (beside / "log-mode").write_bytes(content[:18] + b"\x02\x02" + content[20:])
    (beside / "page-size-other").write_bytes(content[:16] + b"\x10\x00" + content[18:])
    (beside / "root-twice").write_bytes(content[:512] + content[512:1024] * (len(content) // 512 - 1))
    (beside / "text-utf16").write_bytes(content[:56] + b"\x00\x00\x00\x02" + content[60:])


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    program, corpus = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2])
    with tempfile.TemporaryDirectory() as scratch_name:
        scratch = pathlib.Path(scratch_name)
        (scratch / "rows.jsonl").write_text("".join(json.dumps({"prompt": f"question {i}"}) + "\n" for i in range(6)))
        (scratch / "recipe.json").write_text(json.dumps(RECIPE))
        subprocess.run([program, "run", "recipe.json", "--out", "run", "--no-progress"], cwd=scratch, check=True, stdout=subprocess.DEVNULL)
        same = "UPDATE origin SET recipe_directory = '/x'; UPDATE batches SET observed_teacher_latency_ns = 1, observed_forward_backward_ns = 2, observed_time_ns = 3"
        change(scratch / "run/run.sqlite", same, scratch / "ledger.sqlite")
        for source, changes, folder in ((scratch / "ledger.sqlite", LEDGER, corpus / "ledger_file"), (scratch / "answers.sqlite", ANSWERS, corpus / "answers_file")):
            folder.mkdir(parents=True, exist_ok=True)
            for name, sql in changes.items():
                change(source, sql, folder / name)
            damage(folder / "whole")


if __name__ == "__main__":
    main()
