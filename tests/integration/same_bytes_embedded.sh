#!/usr/bin/env bash
# The example's recipe, cut short, gives the same weights however it is scheduled, traced, evaluated and computed.
. "$(dirname "$0")/lib.sh"
cd "$scratch"
make_example_data

# distil DIR FLAG...
distil() {
  local out=$1
  shift
  expect_exit 0 "$pipestill" run "$example" --out "$out" "${example_data[@]}" --set training.max_steps=30 --set evaluation.limit=50 "$@"
  expect_run "$out" finished 30
}
file_digest() { sha256sum <"$1/model/model.safetensors"; }

distil reference --schedule sequential --threads 1 --set evaluation.every=0
# same DIR FLAG...: a run that should be the reference once more
same() {
  distil "$@"
  expect_equal "$1: weights_digest" "$(digest_of reference)" "$(digest_of "$1")"
  expect_equal "$1: SHA-256 of model.safetensors" "$(file_digest reference)" "$(file_digest "$1")"
  expect_equal "$1: ledger_digest" "$(json_value reference/summary.json ledger_digest)" "$(json_value "$1/summary.json" ledger_digest)"
  expect_identical reference "$1"
  expect_clean "$1"
  checked "the same bytes: ${*:2}"
}
same sequential-traced --schedule sequential --threads 2 --trace --set evaluation.every=7
same depth-1 --depth 1 --threads 2 --set teacher.in_flight=5
same depth-2 --depth 2 --threads 1 --trace
same depth-4 --depth 4 --threads 2 --set evaluation.every=7
same depth-8 --depth 8 --threads 1 --set evaluation.every=0 --set teacher.in_flight=1000
same two-compute-threads --depth 8 --threads 2 --trace --set evaluation.every=7 --set teacher.compute_threads=2
same two-compute-threads-each --depth 4 --threads 2 --set teacher.compute_threads=2 --set student.compute_threads=2
expect_file sequential-traced/trace.json
expect_equal "evaluations every 7 steps of 30, and before and after" 6 "$(wc -l <depth-4/evaluations.jsonl)"
expect_equal "evaluations of two schedules" "$(cat sequential-traced/evaluations.jsonl)" "$(cat depth-4/evaluations.jsonl)"
checked "evaluations are the same under two schedules"

distil other-seed --depth 4 --seed 8
[ "$(digest_of reference)" != "$(digest_of other-seed)" ] || fail "another seed gives the same weights"
expect_exit 1 "$pipestill" diff reference other-seed
grep -qE '^first difference at step 0: [][a-z_0-9.]+$' "$stdout" || fail "diff names no step and field: $(head -n 1 "$stdout")"
checked "another seed: $(head -n 1 "$stdout")"
