#!/usr/bin/env bash
# What goes wrong is one clear sentence and an exit status, and leaves nothing half-done behind.
. "$(dirname "$0")/lib.sh"
cd "$scratch"
write_rows 40 rows.jsonl
write_simulated_recipe off_policy recipe.json
write_simulated_recipe on_policy on_policy.json

# refused TEXT... -- COMMAND...: the input is wrong; nothing was printed, nothing made
refused() {
  local texts=()
  while [ "$1" != -- ]; do
    texts+=("$1")
    shift
  done
  shift
  expect_exit 2 "$@"
  expect_sentence "${texts[@]}"
  expect_equal "the number of lines of stderr" 1 "$(wc -l <"$stderr")"
  [ ! -s "$stdout" ] || fail "an error also prints to stdout: $*"
  expect_no_file out
  expect_no_parts
  checked "$(cut -c 12- "$stderr")"
}
# failed STATUS STAGE SEQ STEPS COMMAND...: a run that began and failed
failed() {
  local status=$1 stage=$2 seq=$3 steps=$4
  shift 4
  rm -rf out
  expect_exit "$status" "$@" --out out
  expect_sentence "$stage, batch $seq: "
  expect_run out failed "$steps"
  expect_equal "failure.stage" "$stage" "$(json_value out/summary.json failure.stage)"
  expect_equal "failure.seq" "$seq" "$(json_value out/summary.json failure.seq)"
  expect_no_file out/model
  expect_no_parts
  checked "$(grep '^pipestill: ' "$stderr" | cut -c 12-)"
}
run=("$pipestill" run recipe.json --out out)

# The recipe and the command line
refused "student.renderer: the renderer gpt_oss_low_reasoning needs the option current_date" -- "${run[@]}" --set student.renderer=gpt_oss_low_reasoning
refused recipe.json "unknown key training.bath_size" "did you mean training.batch_size" -- "${run[@]}" --set training.bath_size=3
sed 's/"seed": 1/"seed": 1, "seeds": 2/' recipe.json >unknown.json
refused unknown.json "unknown key seeds" "did you mean seed" -- "$pipestill" run unknown.json --out out
sed 's/"seed": 1/"seed": 1,\n "seed": 2/' recipe.json >duplicate.json
refused duplicate.json:2: "the key seed is given twice" -- "$pipestill" run duplicate.json --out out
refused "teacher.latncy" "did you mean teacher.latency" -- "${run[@]}" --set teacher.latncy.mean_ms=3
refused nowhere.json -- "$pipestill" run nowhere.json --out out
refused training.max_steps '"many"' -- "${run[@]}" --set training.max_steps=many
refused --set KEY=VALUE '"training.max_steps"' -- "${run[@]}" --set training.max_steps
refused "--schedule sequential" "--depth 4" -- "${run[@]}" --schedule sequential --depth 4
refused "--schedule" eventually -- "${run[@]}" --schedule eventually
refused engine.depth 1024 -- "${run[@]}" --depth 0
refused RECIPE -- "$pipestill" run
refused rows.txt jsonl -- "${run[@]}" --set dataset.path=rows.txt
refused "cannot open the dataset" nowhere.jsonl -- "${run[@]}" --set dataset.path=nowhere.jsonl
refused nowhere.jsonl -- "${run[@]}" --set evaluation.path=nowhere.jsonl
refused seed -- "${run[@]}" --seed -1
refused engine.staleness off_policy -- "${run[@]}" --set engine.staleness=1
refused nowhere/metrics.jsonl -- "$pipestill" diff nowhere nowhere
refused nowhere "holds no run" -- "$pipestill" audit nowhere
refused '"forward_sideways"' describe -- "$pipestill" describe forward_sideways
if [ "$with_torch" != OFF ]; then refused nowhere -- "$pipestill" eval --model nowhere --data rows.jsonl; fi

# Where the run would go
expect_exit 0 "$pipestill" run recipe.json --out held --set training.max_steps=2
find held -type f -exec sha256sum {} + >held.before
refused held "holds a run already" -- "$pipestill" run recipe.json --out held
find held -type f -exec sha256sum {} + >held.after
expect_equal "a directory that held a run" "$(cat held.before)" "$(cat held.after)"
touch plain
refused plain "not a directory" -- "$pipestill" run recipe.json --out plain
mkdir empty
refused nowhere.jsonl -- "$pipestill" run recipe.json --out empty --set dataset.path=nowhere.jsonl
expect_equal "what a refused run left in an empty directory" "" "$(ls -A empty)"
refused "cannot make the run directory" -- "$pipestill" run recipe.json --out plain/below

# The data
awk 'NR == 30 { print "this is not JSON" } { print }' rows.jsonl >broken.jsonl
failed 2 batch_source 7 7 "$pipestill" run recipe.json --set dataset.path=broken.jsonl --set dataset.shuffle=false
expect_sentence broken.jsonl:30:
expect_exit 0 "$pipestill" run recipe.json --out skipped --set dataset.path=broken.jsonl --set dataset.shuffle=false --set dataset.on_bad_row=skip
expect_run skipped finished 20
expect_text "$stderr" "skipped $scratch/broken.jsonl:30:1: unexpected t in JSON"
expect_equal "dropped.bad, of two epochs" 2 "$(json_value skipped/summary.json dropped.bad)"
checked "with dataset.on_bad_row skip the same run finishes, and tells the row"
rm -rf out
refused "rows.jsonl" "is no database" -- "${run[@]}" --set dataset.table=t
refused training.batch_size groups_per_batch -- "${run[@]}" --set dataset.groups_per_batch=3
gzip -c rows.jsonl | head -c 200 >cut.jsonl.gz
refused cut.jsonl.gz "is cut off after 200 bytes" -- "${run[@]}" --set dataset.path=cut.jsonl.gz
(echo 'not JSON either' && cat rows.jsonl) >broken_first.jsonl
refused broken_first.jsonl:1: -- "${run[@]}" --set dataset.path=broken_first.jsonl --set dataset.shuffle=false
refused broken.jsonl:30: -- "${run[@]}" --set evaluation.path=broken.jsonl

# The backends
failed 3 teacher_inference 0 0 "$pipestill" run recipe.json --set teacher.error_rate=1
expect_equal "failure.code" backend_failed "$(json_value out/summary.json failure.code)"
for threads in 1 2; do
  for depth in 1 4; do
    failed 3 forward_backward 5 5 "$pipestill" run recipe.json --set student.fail_at_step=5 --threads $threads --depth $depth
    failed 3 forward_backward 9 9 "$pipestill" run on_policy.json --set engine.staleness=2 --set student.fail_at_step=9 --threads $threads --depth $depth
  done
done
expect_exit 0 "$pipestill" run on_policy.json --set engine.staleness=2 --out whole
expect_exit 1 "$pipestill" diff out whole
expect_text "$stdout" "first difference at step 9: step"
expect_clean out whole
checked "the steps before a failure are those of a run that does not fail, and so does audit find them"

# A disk that is full, for which a limit on the size of files stands: the run ends at the first batch that cannot be recorded.
rm -rf out
expect_exit 3 bash -c 'trap "" XFSZ; ulimit -f 100; exec "$@"' - "$pipestill" run recipe.json --out out
expect_sentence "metrics_sink, batch " "SQLite failed on out/run.sqlite"
expect_run out failed
[ "$(json_value out/summary.json steps)" -gt 2 ] || fail "the limit was reached too early to tell anything"
said=$(grep '^pipestill: ' "$stderr" | cut -c 12-)
expect_clean out
checked "$said; what was recorded before is clean"

failed 3 forward_backward 3 3 "$pipestill" run recipe.json --set student.fail_at_step=3 --json
expect_equal "the number of lines that a failed run --json prints" 1 "$(wc -l <"$stdout")"
rm -rf out

if [ "$with_torch" != OFF ]; then
  make_example_data
  embedded=("$pipestill" run "$example" --out out "${example_data[@]}" --set evaluation.limit=10 --set training.max_steps=5)
  with_teacher() { refused "${@:2}" -- "${embedded[@]}" --set "teacher.teacher_model=$1"; }

  with_teacher "$scratch/nowhere" teacher.teacher_model "$scratch/nowhere"
  cp -r "$source_dir/examples/tasks/teacher" truncated
  truncate -s 100000 truncated/model.safetensors
  with_teacher "$scratch/truncated" teacher.teacher_model truncated/model.safetensors "truncated"
  cp -r "$source_dir/examples/tasks/teacher" headless
  truncate -s 5 headless/model.safetensors
  with_teacher "$scratch/headless" headless/model.safetensors
  cp -r "$source_dir/examples/tasks/teacher" corrupted
  printf '{"hidden_size": ' >corrupted/config.json
  with_teacher "$scratch/corrupted" corrupted/config.json
  cp -r "$source_dir/examples/tasks/teacher" stranger
  sed 's/abcdef/bacdef/' "$source_dir/examples/tasks/teacher/chars.json" >stranger/chars.json
  cmp -s stranger/chars.json "$source_dir/examples/tasks/teacher/chars.json" && fail "the test did not change the vocabulary"
  with_teacher "$scratch/stranger" teacher.teacher_model "$scratch/stranger" student.tokenizer "must have the same tokenizer"
  printf '{' >stranger/chars.json
  with_teacher "$scratch/stranger" teacher.teacher_model "cannot be compared" stranger/chars.json
  rm stranger/chars.json
  expect_exit 0 "${embedded[@]}" --set "teacher.teacher_model=$scratch/stranger" --set training.max_steps=1
  rm -rf out
  printf '{}' >corrupted/config.json
  with_teacher "$scratch/corrupted" corrupted/config.json
  refused "on-policy" '"torch"' -- "${embedded[@]}" --set method=on_policy

  head -n 100 "$scratch/data/train.jsonl" >accented.jsonl
  sed -i '100s/"content":"/&é/' accented.jsonl
  grep -q é accented.jsonl || fail "the test did not put an accent into the data"
  failed 2 teacher_inference 1 1 "$pipestill" run "$example" "${example_data[@]}" --set "dataset.path=$scratch/accented.jsonl" \
    --set dataset.shuffle=false --set evaluation.limit=10
  expect_sentence accented.jsonl:100: "'é' (U+00E9)"
  rm -rf out
  head -n 1 "$scratch/data/train.jsonl" | sed 's/"content":"/&é/' >accented.jsonl
  expect_exit 2 "${embedded[@]}" --set "dataset.path=$scratch/accented.jsonl"
  expect_sentence accented.jsonl:1: "'é' (U+00E9)"
  expect_no_file out
  checked "a character outside the vocabulary in the first batch leaves no directory"
fi

# The sentence names what was typed.
refused runn -- "$pipestill" runn recipe.json
refused engine.threads -1 -- "${run[@]}" --threads -1
failed 3 teacher_inference 0 0 "$pipestill" run on_policy.json --set teacher.error_rate=1
