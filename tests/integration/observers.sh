#!/usr/bin/env bash
# Who watches a run changes nothing in it: evaluation, checkpoints, tracing and logging in twelve combinations, one digest of weights and ledger.
. "$(dirname "$0")/lib.sh"
cd "$scratch"
write_rows 30 rows.jsonl
write_rows 6 heldout.jsonl
write_simulated_recipe on_policy recipe.json

# twelve NAME FLAG...: prints a line a combination
twelve() {
  local name=$1 evaluation checkpoint trace first="" out number=0
  shift
  printf '%-10s %-11s %-11s %-6s %-10s %-17s %s\n' flow evaluation checkpoint trace log_every weights_digest ledger_digest
  for evaluation in none 0 3; do
    for checkpoint in 0 2; do
      for trace in no yes; do
        number=$((number + 1))
        out=$name-$number
        flags=(--set "checkpoint.every=$checkpoint" --set "telemetry.log_every=$((1 + number * 7 % 5))" --set checkpoint.keep_last=$number)
        [ $evaluation = none ] || flags+=("${heldout[@]}" --set "evaluation.every=$evaluation")
        [ $trace = no ] || flags+=(--trace)
        expect_exit 0 "$pipestill" run "$@" --out "$out" "${flags[@]}"
        printf '%-10s %-11s %-11s %-6s %-10s %-17.16s %.16s\n' "$name" $evaluation $checkpoint $trace $((1 + number * 7 % 5)) "$(digest_of "$out")" "$(json_value "$out/summary.json" ledger_digest)"
        [ -n "$first" ] || first=$out
        expect_equal "$out: weights_digest" "$(digest_of "$first")" "$(digest_of "$out")"
        expect_equal "$out: ledger_digest" "$(json_value "$first/summary.json" ledger_digest)" "$(json_value "$out/summary.json" ledger_digest)"
        case $checkpoint in 0) expect_no_file "$out/checkpoints" ;; *) expect_file "$out/checkpoints" ;; esac
        case $trace in no) expect_no_file "$out/trace.json" ;; *) expect_file "$out/trace.json" ;; esac
        case $evaluation in none) expect_no_file "$out/evaluations.jsonl" ;; 0) expect_equal "evaluations" 2 "$(wc -l <"$out/evaluations.jsonl")" ;; *) [ "$(wc -l <"$out/evaluations.jsonl")" -gt 4 ] || fail "$out: evaluations are missing" ;; esac
      done
    done
  done
  expect_equal "combinations" 12 $number
}

heldout=(--set evaluation.path=heldout.jsonl)
twelve simulated recipe.json --set engine.staleness=1
if [ "$with_torch" = ON ]; then
  make_example_data
  grep -v '"evaluation"' "$example" | sed 's/"engine": {"depth": 4},/"engine": {"depth": 4}/' >"$scratch/example.json"
  cp -r "$(dirname "$example")/teacher" "$(dirname "$example")/student" "$scratch/"
  heldout=(--set "evaluation.path=$scratch/data/test.jsonl" --set evaluation.max_tokens=28 --set evaluation.limit=8)
  twelve embedded "$scratch/example.json" --set "dataset.path=$scratch/data/train.jsonl" --set training.max_steps=12 --set training.batch_size=8
fi
checked "evaluation, checkpoints, traces and logs change nothing"
