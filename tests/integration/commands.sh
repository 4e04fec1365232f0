#!/usr/bin/env bash
# Every command explains itself and prints what other programs read; a run directory holds what it promises.
. "$(dirname "$0")/lib.sh"
cd "$scratch"
write_rows 30 rows.jsonl
write_rows 6 heldout.jsonl
write_simulated_recipe on_policy recipe.json
make_example_data

# Help and version
for command in "" run check describe order render eval diff audit tokenize train-tokenizer; do
  expect_exit 0 "$pipestill" $command --help
  expect_text "$stdout" "Example: pipestill $command"
  [ ! -s "$stderr" ] || fail "pipestill $command --help prints to stderr"
  [ -z "$command" ] || { expect_exit 0 "$pipestill" --help && expect_text "$stdout" "  $command "; }
done
expect_exit 0 "$pipestill" --version
grep -qE '^[0-9]+\.[0-9]+\.[0-9]+$' "$stdout" || fail "--version prints \"$(cat "$stdout")\""
checked "--help of every command has an example; --version is $(cat "$stdout")"

# order, against NumPy
# expect_order JSON FLAG...
expect_order() {
  expect_exit 0 "$pipestill" order --rows 10 --json "${@:2}"
  expect_equal "order ${*:2}" "{\"order\":[$1]}" "$(cat "$stdout")"
}
expect_order 5,6,0,7,3,2,4,9,1,8 --seed 42 --epoch 0
expect_order 5,6,0,7,3,2,4,9,1,8 --seed 40 --epoch 2
expect_order 4,6,2,7,3,5,9,0,8,1
expect_order 8,0,6,5,7,1,4,3,9,2 --seed 1267650600228229401496703205376
expect_exit 0 "$pipestill" order --rows 10 --seed 42
expect_equal "order as text" "5 6 0 7 3 2 4 9 1 8" "$(echo $(cat "$stdout"))"
expect_exit 0 "$pipestill" order --rows 10 --seed 1234567890123456789012345678901234567890
expect_equal "the rows in the order of a seed of 40 digits" "0 1 2 3 4 5 6 7 8 9" "$(echo $(sort -n "$stdout"))"
expect_exit 0 "$pipestill" order --rows 5 --groups 2 --rows 2 --groups 1 --seed 42 --json
expect_equal "the batches of a mix" '{"batches":[[[0,4],[0,2],[1,1]],[[0,3],[0,1],[1,0]],[[0,0],[1,0]]]}' "$(cat "$stdout")"
expect_exit 0 "$pipestill" order --rows 3 --groups 2 --seed 0
expect_equal "batches as text" "0:2 0:0;0:1" "$(paste -sd ';' "$stdout")"
expect_exit 2 "$pipestill" order --rows 3 --rows 4 --groups 2
expect_sentence --groups "1 for 2"
expect_exit 2 "$pipestill" order --rows 10 --seed -1
expect_sentence seed '"-1"'
expect_exit 2 "$pipestill" order --rows 10 --seed 0x10
expect_sentence seed '"0x10"'
checked "order is NumPy's permutation, for seeds of any size; a negative seed is refused"

# describe
expect_exit 0 "$pipestill" describe --json
cp "$stdout" describe.json
expect_json describe.json
expect_exit 0 "$pipestill" describe
for key in method seed dataset.path teacher.max_tokens teacher.error_rate student.tokenizer student.fail_at_step training.learning_rate engine.depth \
  engine.stop_grace evaluation.every telemetry.trace; do
  expect_text "$stdout" "    $key "
  expect_text describe.json "\"name\":\"$key\""
done
expect_exit 0 "$pipestill" describe forward_backward
expect_text "$stdout" training.learning_rate
if grep -qF dataset.path "$stdout"; then fail "describe forward_backward prints the keys of other stages"; fi
checked "describe prints the keys, as text and as JSON"

# check
: >files.before # so that it is in its own list
find . -type f | sort >files.before
expect_exit 0 "$pipestill" check recipe.json
for stage in batch_source student_inference teacher_inference datum_builder forward_backward metrics_sink; do expect_text "$stdout" "$stage"; done
expect_text "$stdout" "30 rows, 8 batches an epoch, 20 steps"
expect_exit 0 "$pipestill" check recipe.json --json
expect_equal "the files after check" "$(cat files.before)" "$(find . -type f | sort)"
cp "$stdout" check.json
expect_json check.json
expect_text check.json '"total_steps":20'
if [ "$with_torch" != OFF ]; then
  expect_exit 0 "$pipestill" check "$example" "${example_data[@]}"
  expect_text "$stdout" "teacher_inference   any order, asynchronous, at most 4"
  expect_text "$stdout" "1000 steps"
  expect_exit 0 "$pipestill" check "$source_dir/examples/tasks/teacher.json" --set "dataset.path=$scratch/data/teacher_train.jsonl" \
    --set "evaluation.path=$scratch/data/validation.jsonl"
  expect_text "$stdout" forward_backward
  if grep -qF teacher_inference "$stdout"; then fail "check shows a teacher in a supervised recipe"; fi
  expect_text "$stdout" "2500 steps"
fi
sed 's/"dataset": {\([^}]*\)}/"dataset": [{\1, "groups_per_batch": 3}, {"path": "heldout.jsonl", "groups_per_batch": 1}]/' recipe.json >mix.json
expect_exit 0 "$pipestill" check mix.json
expect_text "$stdout" "30 rows, 10 batches an epoch, 20 steps"
expect_text "$stdout" "dataset 1: heldout.jsonl, 6 rows, 1 a batch"
expect_exit 2 "$pipestill" check mix.json --set training.batch_size=5
expect_sentence groups_per_batch "is 4, not 5"
sed -i 's/"groups_per_batch": 1}/"groups_per_batch": 1, "renderer": "role_tokens", "teacher": {"teacher_model": "second"}}/' mix.json
expect_exit 0 "$pipestill" check mix.json
expect_text "$stdout" "init_teacher.1"
expect_text "$stdout" "dataset 1: heldout.jsonl, 6 rows, 1 a batch, renderer role_tokens, asks dataset[1].teacher (second)"
for schedule in sequential pipelined; do expect_exit 0 "$pipestill" run mix.json --schedule "$schedule" --out "mix-$schedule" --set training.max_steps=5; done
expect_text "$stdout" "teacher.1"
expect_exit 0 "$pipestill" diff mix-sequential mix-pipelined
rm -r mix.json mix-sequential mix-pipelined
checked "check shows graph and plan, of a mix too, and writes nothing; a mix with two teachers runs to the same bytes on both schedules"

# run, and what it leaves
expect_exit 0 "$pipestill" run recipe.json --out run --json --trace --set evaluation.path=heldout.jsonl --set evaluation.every=8 --set engine.staleness=1
cp "$stdout" printed.json
expect_equal "the number of lines that run --json prints" 1 "$(wc -l <printed.json)"
expect_json printed.json
expect_run run finished 20
expect_equal "the files of the run directory" "evaluations.jsonl identity.json metrics.jsonl model recipe.json run.sqlite summary.json trace.json" "$(echo $(ls run))"
if python3 -c '' 2>/dev/null; then
  python3 -c 'import json; assert json.load(open("printed.json")) == json.load(open("run/summary.json"))' || fail "run --json prints something else than summary.json"
fi
checked "run --json prints the summary and nothing else"

summary=run/summary.json
positive() { awk -v x="$(json_value $summary "$1")" 'BEGIN { exit !(x + 0 > 0) }' || fail "$1 is $(json_value $summary "$1"), not a positive number"; }
a_number() { [[ $(json_value $summary "$1") =~ ^-?[0-9.]+([eE]-?[0-9]+)?$ ]] || fail "$1 is $(json_value $summary "$1"), not a number"; }
for key in wall_s cpu_s tokens_per_s num_tokens num_prompts overlap.busy models.teacher.compute_s models.teacher.tokens models.student.compute_s models.student.tokens; do
  positive $key
done
[[ $(json_value $summary weights_digest) =~ ^[0-9a-f]{64}$ ]] || fail "weights_digest is no SHA-256: $(json_value $summary weights_digest)"
[[ $(json_value $summary ledger_digest) =~ ^[0-9a-f]{64}$ ]] || fail "ledger_digest is no SHA-256: $(json_value $summary ledger_digest)"
expect_equal deterministic true "$(json_value $summary deterministic)"
expect_equal reasons "[]" "$(json_value $summary reasons)"
expect_equal failure null "$(json_value $summary failure)"
for key in cpu cpu_flags libc compiler; do [ -n "$(json_value $summary identity.$key)" ] || fail "identity.$key is empty"; done
for when in before after; do a_number eval.$when.exact_match; done
stages="student_inference teacher_inference datum_builder forward_backward evaluation metrics_sink"
for stage in $stages; do
  expect_equal "stages.$stage.messages" 20 "$(json_value $summary stages.$stage.messages)"
  for key in busy_s p50_ms p99_ms; do positive "stages.$stage.$key"; done
  for key in order_wait_s limit_wait_s; do a_number "stages.$stage.$key"; done
done
grep -qw -- "$(json_value $summary bottleneck)" <<<"$stages" || fail "the bottleneck \"$(json_value $summary bottleneck)\" is no stage"
awk -v t="$(json_value $summary tokens_per_s)" -v n="$(json_value $summary num_tokens)" -v s="$(json_value $summary wall_s)" \
  'BEGIN { exit !(t * s > 0.999 * n && t * s < 1.001 * n) }' || fail "tokens_per_s is not num_tokens over wall_s"
checked "summary.json has its keys"

expect_json_lines run/metrics.jsonl
expect_equal "the steps of metrics.jsonl" "$(echo $(seq 0 19))" "$(echo $(sed 's/^{"step":\([0-9]*\),.*/\1/' run/metrics.jsonl))"
for key in distill_loss num_prompts num_tokens teacher_latency_ms datum_digest learning_rate; do
  expect_equal "the number of lines with $key" 20 "$(grep -c "\"$key\":[^n]" run/metrics.jsonl)"
done
expect_equal "num_tokens, summed" "$(json_value $summary num_tokens)" "$(sed 's/.*"num_tokens":\([0-9]*\),.*/\1/' run/metrics.jsonl | awk '{ n += $1 } END { print n }')"
expect_json_lines run/evaluations.jsonl
expect_equal "the evaluations" "before 0 during 8 during 16 after 20" \
  "$(echo $(sed 's/^{"when":"\([a-z]*\)","step":\([0-9]*\),.*/\1 \2/' run/evaluations.jsonl))"
expect_json run/recipe.json
expect_equal "recipe.json: engine.staleness" 1 "$(json_value run/recipe.json engine.staleness)"
expect_equal "recipe.json: a default" 5 "$(json_value run/recipe.json engine.stop_grace)"
expect_json run/trace.json
for stage in $stages; do expect_text run/trace.json "\"$stage\""; done
checked "metrics.jsonl, evaluations.jsonl, recipe.json and trace.json hold what they should"

cp rows.jsonl heldout.jsonl run/
expect_exit 0 "$pipestill" run run/recipe.json --out again --set dataset.path=rows.jsonl --set evaluation.path=heldout.jsonl
expect_identical run again
gzip -k run/rows.jsonl
expect_exit 0 "$pipestill" run run/recipe.json --out zipped --set dataset.path=rows.jsonl.gz --set dataset.cache=kept --set evaluation.path=heldout.jsonl
expect_identical run zipped
expect_equal "the files of the cache" 2 "$(ls run/kept | wc -l)"
expect_exit 0 "$pipestill" run run/recipe.json --out unzipped --set dataset.path=rows.jsonl.gz --set dataset.cache=kept --set evaluation.path=heldout.jsonl
expect_identical run unzipped
head -n 29 rows.jsonl >run/shorter.jsonl
expect_exit 2 "$pipestill" run run/recipe.json --out changed --set dataset.path=shorter.jsonl --set evaluation.path=heldout.jsonl
expect_sentence dataset.fingerprint shorter.jsonl
expect_no_file changed
checked "the resolved recipe of a run, run again, gives the same run, from a compressed copy too, and refuses other data"

sed 's/"dataset": {\([^}]*\)}/"dataset": [{\1, "groups_per_batch": 3}, {"path": "heldout.jsonl", "groups_per_batch": 1}]/' recipe.json >mix.json
expect_exit 0 "$pipestill" run mix.json --out mixed
expect_run mixed finished 20
cp rows.jsonl heldout.jsonl mixed/
expect_exit 0 "$pipestill" run mixed/recipe.json --out mixed_again --schedule sequential
expect_identical mixed mixed_again
checked "a mix, run again from its resolved recipe on the other schedule, gives the same run"

expect_exit 0 "$pipestill" run recipe.json --out quiet --set training.max_steps=3
expect_text "$stdout" "3 steps"
expect_text "$stdout" "$(digest_of quiet)"
expect_text "$stdout" quiet
expect_exit 0 "$pipestill" run recipe.json --set training.max_steps=3
compgen -G "runs/recipe-*Z/summary.json" >/dev/null || fail "without --out, no runs/recipe-<UTC time>"
checked "without --out a run goes to $(echo runs/recipe-*)"

expect_exit 0 "$pipestill" diff run again --json
expect_equal "diff --json of equal runs" '{"identical":true,"equal_steps":20}' "$(cat "$stdout")"
expect_exit 1 "$pipestill" diff run quiet --json
cp "$stdout" diff.json
expect_json diff.json
expect_text diff.json '"identical":false'
checked "diff --json"

expect_clean run again zipped mixed mixed_again quiet
expect_exit 0 "$pipestill" audit run --json
cp "$stdout" audit.json
expect_json audit.json
expect_text audit.json '"clean":true,"faults":0,"steps":20,"ledger_digest":"'"$(json_value run/summary.json ledger_digest)"'"'
cp -r run altered
sed -i 's/"step":7,/"step":70,/' altered/metrics.jsonl
expect_exit 1 "$pipestill" audit altered
expect_text "$stdout" "FAULT  metrics"
expect_text "$stdout" "step 7: metrics.jsonl says step 70, and the ledger 7"
expect_exit 1 "$pipestill" audit altered --json
cp "$stdout" audit.json
expect_json audit.json
expect_text audit.json '"clean":false,"faults":1,'
mv rows.jsonl away.jsonl
expect_exit 0 "$pipestill" audit run # rows.jsonl was copied beside its recipe.json
expect_exit 1 "$pipestill" audit quiet
expect_text "$stdout" "which rows are due cannot be checked: "
expect_text "$stdout" "-      contents"
mv away.jsonl rows.jsonl
rm -r altered
checked "audit finds runs clean, sees a changed file, and says what it could not check"

# A student that starts as the teacher and learns next to nothing answers as well as the teacher.
if [ "$with_torch" != OFF ]; then
  held_out=$scratch/data/test.jsonl
  expect_exit 0 "$pipestill" run "$example" "${example_data[@]}" --out copy --set student.model=teacher/ --set training.learning_rate=1e-9 \
    --set training.max_steps=2 --set evaluation.limit=40
  expect_run copy finished 2
  expect_exit 0 "$pipestill" eval --model copy/model --data "$held_out" --limit 40 --max-tokens 28 --renderer role_tokens --json
  cp "$stdout" eval.json
  expect_json eval.json
  after=$(json_value copy/summary.json eval.after.exact_match)
  # 1 and 1E0 are one number, which the two files write in their own ways.
  expect_equal "eval --json of the final model" "$(awk -v x="$after" 'BEGIN { print x + 0 }')" "$(sed -n 's/^{"rows":40,"exact_match":\([0-9.E+-]*\)}$/\1/p' eval.json | awk '{ print $1 + 0 }')"
  awk -v x="$after" 'BEGIN { exit !(x > 0.5) }' || fail "the student that starts as the teacher has an exact match of only $after"
  expect_exit 0 "$pipestill" eval --model "$source_dir/examples/tasks/teacher" --data "$held_out" --limit 40 --metric exact_match
  expect_text "$stdout" "of 40 rows"
  expect_sentence role_tokens
  checked "eval of the final model agrees with eval.after: exact match $after"
fi
expect_no_parts
