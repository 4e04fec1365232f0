#!/usr/bin/env bash
# The weights of a simulated on_policy run are a function of recipe, data and seed: not of schedule, depth, threads, latencies, requests in
# flight, tracing or evaluation. A batch meets the student that its staleness says.
. "$(dirname "$0")/lib.sh"
cd "$scratch"
write_rows 30 rows.jsonl
write_rows 6 heldout.jsonl
write_simulated_recipe on_policy recipe.json

variant=0
pids=()
# start DIR FLAG...: a run in the background, with latencies of its own
start() {
  local out=$1
  shift
  variant=$((variant + 1))
  "$pipestill" run recipe.json --out "$out" "${base[@]}" --set teacher.latency.seed=$variant --set student.latency.seed=$((2 * variant)) \
    --set teacher.latency.straggler_rate=0.1 --set teacher.latency.straggler_factor=3 --set teacher.in_flight=$((1 + variant * 7 % 16)) "$@" \
    >/dev/null 2>"$out.log" </dev/null &
  pids+=($!)
}
join() {
  local pid
  for pid in "${pids[@]}"; do wait "$pid" || fail "a run ended with exit status $?: $(cat ./*.log | grep '^pipestill: ' | head -n 1)"; done
  pids=()
}
# expect_versions RUN STALENESS: batch N was sampled with the student after max(0, N - s) batches
expect_versions() {
  local want got
  want=$(for ((n = 0; n < 20; ++n)); do echo $((n > $2 ? n - $2 : 0)); done)
  got=$(sed -n 's/.*"student_version":\([0-9]*\),.*/\1/p' "$1/metrics.jsonl")
  expect_equal "$1: the students that the batches met" "$(echo $want)" "$(echo $got)"
}

all_digests=()
all_ledgers=()
for staleness in 0 1 2; do
  for seed in 1 2 3; do
    base=(--seed "$seed" --set "engine.staleness=$staleness")
    here=s$staleness-seed$seed
    for threads in 1 2; do
      for trace in "" --trace; do
        start "$here-sequential-$threads$trace" --schedule sequential --threads $threads $trace
        for depth in 1 2 4 8; do start "$here-depth$depth-$threads$trace" --depth $depth --threads $threads $trace; done
        join
      done
    done
    for every in 0 7; do start "$here-evaluated$every" --depth 4 --set evaluation.path=heldout.jsonl --set evaluation.every=$every; done
    join

    reference=$here-sequential-1
    runs=0
    for summary in "$here"-*/summary.json; do
      run=$(dirname "$summary")
      expect_equal "$run: status" finished "$(json_value "$summary" status)"
      expect_equal "$run: weights_digest" "$(digest_of $reference)" "$(digest_of "$run")"
      expect_equal "$run: ledger_digest" "$(json_value $reference/summary.json ledger_digest)" "$(json_value "$summary" ledger_digest)"
      expect_identical "$reference" "$run"
      case $run in *--trace) expect_file "$run/trace.json" ;; *) expect_no_file "$run/trace.json" ;; esac
      runs=$((runs + 1))
    done
    expect_equal "the number of runs" 22 $runs
    expect_run "$reference" finished 20
    expect_clean "$reference" "$here-depth8-2"
    expect_versions "$reference" $staleness
    expect_versions "$here-depth8-2" $staleness
    expect_equal "evaluations with every 0" 2 "$(wc -l <"$here-evaluated0/evaluations.jsonl")"
    expect_equal "evaluations with every 7" 4 "$(wc -l <"$here-evaluated7/evaluations.jsonl")"
    all_digests+=("$(digest_of "$reference")")
    all_ledgers+=("$(json_value "$reference/summary.json" ledger_digest)")
    checked "staleness $staleness, seed $seed: $runs runs, one digest $(digest_of "$reference" | cut -c 1-16)"
  done
done
expect_equal "the number of digests over 3 seeds and 3 stalenesses" 9 "$(printf '%s\n' "${all_digests[@]}" | sort -u | wc -l)"
expect_equal "the number of ledger digests" 9 "$(printf '%s\n' "${all_ledgers[@]}" | sort -u | wc -l)"
checked "every seed and every staleness has a digest of its own"

expect_exit 1 "$pipestill" diff s0-seed1-depth4-2 s0-seed2-depth4-2
expect_text "$stdout" "first difference at step 0: "
expect_exit 1 "$pipestill" diff s0-seed1-depth4-2 s1-seed1-depth4-2
expect_text "$stdout" "first difference at step 1: "
checked "diff sees another seed at step 0 and another staleness at step 1"
