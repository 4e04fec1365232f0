#!/usr/bin/env bash
# A wall clock that jumps, backwards above all, during a run and between its lives, changes nothing: the same bytes, and the newest checkpoint by step.
. "$(dirname "$0")/lib.sh"
cd "$scratch"
library=$(dirname "$bin_dir")/lib/libjumping_clock.so
if [ ! -e "$library" ]; then
  echo "skipped: a build with a sanitizer has no libjumping_clock.so, which would come before the sanitizer's own library"
  exit 0
fi
hour=3600
year=31536000
readings=$scratch/readings
# with_clock BEGIN STEP MS COMMAND...: its wall clock is BEGIN seconds off, and each MS milliseconds STEP more
with_clock() {
  local shift=$1,$2,$3
  shift 3
  PIPESTILL_TEST_CLOCK=$shift PIPESTILL_TEST_CLOCK_LOG=$readings LD_PRELOAD=$library "$@"
}
# killed DIR POINT:N BEGIN STEP MS FLAG...: a life that ends there, under that clock
killed() {
  local out=$1 point=$2 status=0
  shift 2
  (PIPESTILL_FAULT=$point with_clock "$1" "$2" "$3" "${command[@]}" --out "$out" "${@:4}" >/dev/null 2>&1) 2>/dev/null || status=$?
  [ "$status" -eq 137 ] || fail "$out was to be killed at $point, and its exit status is $status"
}
expect_jumps() {
  local back
  back=$(awk '{ sum += $3 } END { print sum + 0 }' "$readings")
  [ "$back" -gt "$1" ] || fail "the program saw its clock go back $back times only"
  rm "$readings"
}
write_rows 30 rows.jsonl
write_rows 6 heldout.jsonl
write_simulated_recipe on_policy recipe.json
command=("$pipestill" run recipe.json --set checkpoint.every=4 --set engine.staleness=1 --set teacher.teacher_store=answers.sqlite --set evaluation.path=heldout.jsonl
  --set evaluation.every=5 --set student.latency.min_ms=10 --set student.latency.max_ms=12 --no-progress) # a save has time to end between two steps
expect_same() {
  expect_identical whole "$1"
  expect_clean "$1"
  expect_equal "$1: ledger_digest" "$(json_value whole/summary.json ledger_digest)" "$(json_value "$1/summary.json" ledger_digest)"
}
expect_exit 0 "${command[@]}" --out whole
rm answers.sqlite

# an hour back every two milliseconds, and forward again
for step in -$hour $hour; do
  rm -f answers.sqlite
  expect_exit 0 with_clock 0 "$step" 2 "${command[@]}" --out "during$step"
  expect_same "during$step"
  [ "$step" -gt 0 ] || expect_jumps 2
done
checked "a clock that jumps while a run goes on"

# killed ten years ahead of the life that goes on
rm -f answers.sqlite "$readings"
killed a checkpoint.after_retention:2 $((10 * year)) -1 7
killed a ledger.after_commit:2 0 -$hour 3 --resume
saved=$(newest_checkpoint a)
find "a/checkpoints/$(printf 'step-%08d' "$saved")" -exec touch -d '2001-01-01' {} + # the newest by its files' times is another one
[ "$(newest_checkpoint a 2)" -lt "$saved" ] || fail "a has one checkpoint only"
expect_exit 0 with_clock -$((10 * year)) -$hour 3 "${command[@]}" --out a --resume
expect_text "$stderr" "goes on at batch $saved of 20"
expect_same a
expect_jumps 0
checked "the newest checkpoint is the one of the last step, whatever the clock says"

# data that is changed while the clock is back is still seen to be changed
killed c ledger.after_commit:6 0 0 1
cp -p rows.jsonl rows.kept
sed -i 's/question 7/question 8/' rows.jsonl
touch -r rows.kept rows.jsonl
expect_exit 2 with_clock -$((10 * year)) -$hour 3 "$pipestill" run --out c --resume --no-progress
expect_sentence "dataset was" "--allow-changed dataset"
cp -p rows.kept rows.jsonl
expect_exit 0 with_clock -$((10 * year)) -$hour 3 "$pipestill" run --out c --resume --no-progress
expect_same c
checked "changed data is refused whatever the clock and the file's time say"

# a stop's grace is counted by another clock
set -m # or the run would inherit an ignored SIGINT
PIPESTILL_TEST_CLOCK=0,-$hour,5 LD_PRELOAD=$library "${command[@]}" --out d --set teacher.latency.min_ms=100 --set teacher.latency.max_ms=150 >/dev/null 2>&1 &
wait_for 20 test -s d/metrics.jsonl
kill -INT $!
wait $! && fail "d was to be stopped" || expect_equal "a stopped run's exit status" 130 $?
expect_exit 0 with_clock 0 -$hour 5 "$pipestill" run --out d --resume --no-progress
expect_same d
checked "a stop"
