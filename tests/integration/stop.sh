#!/usr/bin/env bash
# A run that is stopped ends with 130, in time, with what it did until then: weights, metrics and a summary.
. "$(dirname "$0")/lib.sh"
cd "$scratch"
set -m # or the runs would inherit an ignored SIGINT, as background jobs of a script do
write_rows 30 rows.jsonl
write_simulated_recipe off_policy recipe.json
patient=(--set training.max_steps=100000 --set training.epochs=100000 --set evaluation.path=rows.jsonl)

# start DIR RECIPE FLAG...
start() {
  run=$1
  "$pipestill" run "$2" --out "$1" "${@:3}" >stdout 2>stderr </dev/null &
  pid=$!
  # Until then it is still the shell, which loses track of a child that a signal ends this early.
  local tries=0
  until [ "$(readlink "/proc/$pid/exe")" = "$(readlink -f "$pipestill")" ] || [ $((++tries)) -gt 1000 ]; do :; done
}
# expect_stop MOST_MS: after the signal. Far below what a run that overhears it would take, and far above what a stop takes, for busy machines.
expect_stop() {
  local status=0 took
  while kill -0 "$pid" 2>/dev/null; do
    [ $(($(milliseconds) - signalled)) -le $(($1 + 5000)) ] || fail "$run: still there $(($1 + 5000)) ms after the signal"
    sleep 0.01
  done
  wait "$pid" || status=$?
  took=$(($(milliseconds) - signalled))
  expect_equal "$run: exit status" 130 $status
  [ $took -le "$1" ] || fail "$run: took $took ms to stop, at most $1 expected"
  stopped_after=$took
}
interrupt() {
  kill -"${1:-INT}" "$pid"
  signalled=$(milliseconds)
}
has_steps() { [ -e "$run/metrics.jsonl" ] && [ "$(wc -l <"$run/metrics.jsonl")" -ge "$1" ]; }
expect_stopped_run() {
  expect_run "$run" stopped
  expect_file "$run/model"
  expect_identical "$run" "$run"
  expect_clean "$run"
  expect_no_parts
}

# What is in flight finishes within the grace.
start graceful recipe.json "${patient[@]}" --depth 4 --set teacher.latency.distribution=fixed --set teacher.latency.mean_ms=300 --set engine.stop_grace=5
wait_for 20 has_steps 4
before=$(wc -l <graceful/metrics.jsonl)
interrupt
expect_stop 4500
expect_stopped_run
steps=$(json_value graceful/summary.json steps)
[ "$steps" -gt "$before" ] || fail "graceful: nothing that was in flight finished: $before steps before the signal, $steps after"
checked "SIGINT: what was in flight finished in $stopped_after ms ($before steps at the signal, $steps at the end)"

# And it is as if the recipe had ended there.
expect_exit 0 "$pipestill" run recipe.json --out whole "${patient[@]}" --set training.max_steps="$steps"
expect_run whole finished "$steps"
expect_identical graceful whole
expect_exit 0 "$pipestill" run recipe.json --out longer "${patient[@]}" --set training.max_steps=$((steps + 1))
expect_exit 1 "$pipestill" diff graceful longer
expect_text "$stdout" "first difference at step $steps: step"
checked "a stopped run is the run that has as many steps"

# What a killed run has written down stands, and is right as far as it goes.
for steps in 1 3 6 10; do
  start "killed-$steps" recipe.json "${patient[@]}" --depth 4
  wait_for 20 has_steps $steps
  expect_exit 3 "$pipestill" audit "$run"
  expect_sentence "is in use"
  kill -KILL "$pid"
  wait "$pid" 2>/dev/null || true
  expect_no_file "$run/summary.json"
  expect_clean "$run"
  recorded=$(sed -n 's/^clean: \([0-9]*\) steps.*/\1/p' "$stdout")
  [ "$recorded" -ge $steps ] || fail "$run: the ledger has $recorded steps, and metrics.jsonl had $steps"
done
checked "SIGKILL: the ledger has every step that metrics.jsonl had, and audit finds it clean, once the run has ended"

# Beyond the grace the cut falls, and everything in flight is dropped.
slow=(--depth 4 --set teacher.latency.distribution=fixed --set teacher.latency.mean_ms=60000)
start cut recipe.json "${patient[@]}" "${slow[@]}" --set engine.stop_grace=1
wait_for 20 test -e cut/metrics.jsonl
sleep 0.3
interrupt
expect_stop 10000
[ $stopped_after -ge 900 ] || fail "cut: stopped after $stopped_after ms, before its grace was over"
expect_stopped_run
expect_equal "cut: steps" 0 "$(json_value cut/summary.json steps)"
checked "SIGINT with a teacher that takes a minute: cut after $stopped_after ms of 1 s grace"

start terminated recipe.json "${patient[@]}" "${slow[@]}" --set engine.stop_grace=0
wait_for 20 test -e terminated/metrics.jsonl
sleep 0.3
interrupt TERM
expect_stop 10000
expect_stopped_run
checked "SIGTERM is the same; without grace it took $stopped_after ms"

start twice recipe.json "${patient[@]}" "${slow[@]}" --set engine.stop_grace=60
wait_for 20 test -e twice/metrics.jsonl
sleep 0.3
interrupt
sleep 0.5
kill -0 "$pid" 2>/dev/null || fail "twice: ended in spite of its grace"
interrupt
expect_stop 10000
expect_stopped_run
checked "a second SIGINT cuts at once: $stopped_after ms of 60 s grace"

# The first moments: before main, before the ports, before the first batch.
early=0 no_directory=0
for delay in 0 0.002 0.004 0.006 0.008 0.01 0.015 0.02 0.03 0.05; do
  start "early-$delay" recipe.json "${patient[@]}" --set teacher.latency.mean_ms=60000 --set teacher.latency.distribution=fixed --set engine.stop_grace=0.2
  sleep $delay
  interrupt
  expect_stop 10000
  if [ -e "$run" ]; then
    expect_run "$run" stopped 0
    expect_clean "$run"
    expect_no_parts
  else
    no_directory=$((no_directory + 1))
  fi
  early=$((early + 1))
done
checked "SIGINT within the first 50 ms: $early times 130; $no_directory left no directory, the others a summary of 0 steps"

if [ "$with_torch" != OFF ]; then
  make_example_data
  start embedded "$example" "${example_data[@]}" --set evaluation.limit=20 --set engine.stop_grace=1
  wait_for 60 has_steps 2
  interrupt
  expect_stop 15000
  expect_stopped_run
  expect_file embedded/model/model.safetensors
  expect_exit 0 "$pipestill" eval --model embedded/model --data "$scratch/data/test.jsonl" --limit 5 --json
  checked "an embedded run: 130 after $stopped_after ms, $(json_value embedded/summary.json steps) steps, its model can be evaluated"

  start embedded-early "$example" "${example_data[@]}" --set evaluation.limit=20 --set engine.stop_grace=1
  sleep 0.1
  interrupt
  expect_stop 15000
  if [ -e "$run" ]; then expect_run "$run" stopped 0; fi
  checked "an embedded run before its first step: 130 after $stopped_after ms"
fi
