#!/usr/bin/env bash
# Answers that were kept are not asked for again: by the next run, by another process at the same time, by a run without a teacher.
. "$(dirname "$0")/lib.sh"
cd "$scratch"
write_rows 30 rows.jsonl
write_simulated_recipe off_policy recipe.json
stored=(--no-progress --set teacher.teacher_store=kept/answers.sqlite)
mkdir kept
expect_exit 0 "$pipestill" run recipe.json --out plain --no-progress
expect_exit 0 "$pipestill" run recipe.json --out first "${stored[@]}"
expect_identical plain first
[ "$(json_value first/summary.json models.teacher.tokens)" -gt 0 ] || fail "the first run computed no answer"
answers=$("$pipestill" store stats kept/answers.sqlite --json | sed 's/.*"answers":\([0-9]*\).*/\1/')
[ "$answers" -ge 30 ] || fail "only $answers answers were kept"

# another schedule, the same answers: nothing is computed
expect_exit 0 "$pipestill" run recipe.json --out second "${stored[@]}" --schedule sequential
expect_equal "tokens that the teacher computed" 0 "$(json_value second/summary.json models.teacher.tokens)"
expect_identical plain second
expect_equal "answers" "$answers" "$("$pipestill" store stats kept/answers.sqlite --json | sed 's/.*"answers":\([0-9]*\).*/\1/')"
checked "a second run with a shared store makes no request, and ends in the same bytes"

grep -q '"tokens_paid":[1-9]' first/metrics.jsonl || fail "metrics.jsonl says that the first run paid for no token"
expect_equal "batches that paid for a token" 0 "$(grep -vc '"attempts":0,"tokens_paid":0}' second/metrics.jsonl || true)"

# without a teacher
expect_exit 0 "$pipestill" run --replay first --out replayed --no-progress
expect_equal "tokens that the teacher computed" 0 "$(json_value replayed/summary.json models.teacher.tokens)"
expect_identical plain replayed
expect_exit 0 "$pipestill" run recipe.json --replay first --out replayed-too --no-progress --set teacher.teacher_store=kept/answers.sqlite --depth 1
expect_identical plain replayed-too
status=0
(PIPESTILL_FAULT=ledger.after_commit:5 "$pipestill" run recipe.json --replay first --out replay-killed --no-progress --set teacher.teacher_store=kept/answers.sqlite >/dev/null 2>&1) 2>/dev/null || status=$?
expect_equal "exit status of the replay that is killed" 137 "$status"
expect_exit 2 "$pipestill" run --resume --out replay-killed --no-progress
expect_sentence "replayed was" ", and is nothing now" "--allow-changed replayed"
expect_exit 0 "$pipestill" run --resume --out replay-killed --no-progress --replay first
expect_identical first replay-killed
expect_exit 2 "$pipestill" run recipe.json --replay first --out other --no-progress --set teacher.teacher_store=kept/answers.sqlite --seed 77
expect_sentence "have none to this request"
expect_no_file other
expect_exit 2 "$pipestill" run recipe.json --replay first --out other --no-progress --set teacher.teacher_store=kept/answers.sqlite --seed 77 --set teacher.on_error=drop
expect_sentence "have none to this request" # which is no failure of a teacher, that a policy could drop rows for
expect_no_file other
expect_exit 2 "$pipestill" run --replay plain --out other --no-progress
expect_sentence "cannot be replayed without its answers"
expect_exit 2 "$pipestill" run --replay replayed --out other --no-progress
expect_sentence "replayed is a replay itself"
expect_exit 2 "$pipestill" run recipe.json --replay first --out other --no-progress --set teacher.teacher_store=nowhere.sqlite
expect_sentence "nowhere.sqlite"
expect_no_file nowhere.sqlite other
(PIPESTILL_FAULT=ledger.after_commit:5 "$pipestill" run --replay first/ --out replay-slash --no-progress >/dev/null 2>&1) 2>/dev/null && fail "replay-slash was to be killed"
expect_exit 0 "$pipestill" run --resume --out replay-slash --no-progress --replay "$PWD/first"
expect_identical first replay-slash
# which run is replayed is told by its name, not its place
(PIPESTILL_FAULT=ledger.after_commit:5 "$pipestill" run --replay first --out replay-moved --no-progress >/dev/null 2>&1) 2>/dev/null && fail "replay-moved was to be killed"
mv first first-elsewhere
expect_exit 0 "$pipestill" run recipe.json --out first "${stored[@]}" --seed 9
expect_exit 2 "$pipestill" run --resume --out replay-moved --no-progress --replay first
expect_sentence "replayed was" "--allow-changed replayed"
rm -r first
expect_exit 0 "$pipestill" run --resume --out replay-moved --no-progress --replay first-elsewhere
expect_equal "deterministic" true "$(json_value replay-moved/summary.json deterministic)"
mv first-elsewhere first
expect_identical first replay-moved
# other data, or another teacher, from some batch on: no one run
for change in dataset teacher; do
  cp rows.jsonl changing.jsonl
  (PIPESTILL_FAULT=ledger.after_commit:11 "$pipestill" run recipe.json --out changed "${stored[@]}" --set dataset.path=changing.jsonl --set checkpoint.every=4 >/dev/null 2>&1) 2>/dev/null && fail "changed was to be killed"
  if [ $change = dataset ]; then sed -i s/question/query/ changing.jsonl; other=(); else other=(--set teacher.teacher_model=another); fi
  [ $change = teacher ] || ! cmp -s rows.jsonl changing.jsonl || fail "the data have not changed"
  expect_exit 0 "$pipestill" run --resume --out changed --no-progress "${other[@]}" --allow-changed $change
  expect_exit 2 "$pipestill" run --replay changed --out other --no-progress
  expect_sentence "changed cannot be replayed: at batch" "its $change was changed on purpose"
  expect_no_file other
  rm -r changed
done
# rows that were dropped because their requests failed are dropped again
failing=(--no-progress --set teacher.on_error=drop --set teacher.error_rate=0.2)
expect_exit 0 "$pipestill" run recipe.json --out dropped "${failing[@]}" --set teacher.teacher_store=dropped.sqlite
[ "$(json_value dropped/summary.json dropped.error)" -gt 0 ] || fail "no row was dropped"
expect_exit 0 "$pipestill" run --replay dropped --out dropped-again --no-progress
expect_identical dropped dropped-again
checked "a run is replayed from its answers alone"

# two at once
"$pipestill" run recipe.json --out left --seed 5 --no-progress --set teacher.teacher_store=both.sqlite >/dev/null 2>left.log &
left=$!
expect_exit 0 "$pipestill" run recipe.json --out right --seed 5 --no-progress --set teacher.teacher_store=both.sqlite --set teacher.durability=power --depth 2
wait $left || fail "the other of two runs at once: $(cat left.log)"
expect_identical left right
expect_exit 0 "$pipestill" store verify both.sqlite
expect_text "$stdout" "every one is whole"
checked "two processes that share a store end in one digest"

# a disk that is full when answers are to be kept: no row is dropped for it
for fault in answers.before_commit:1=EIO answers.before_commit:6=ENOSPC sqlite.write:40=ENOSPC sqlite.write:60=EIO sqlite.sync:3=EIO; do
  out=faulty-$fault
  kept=(--no-progress --set teacher.teacher_store="$out.sqlite" --set teacher.on_error=drop)
  status=0
  PIPESTILL_FAULT=$fault "$pipestill" run recipe.json --out "$out" "${kept[@]}" >"$stdout" 2>"$stderr" </dev/null || status=$?
  expect_equal "exit status with $fault" 3 $status
  expect_sentence "sqlite"
  [[ $fault != answers* ]] || expect_sentence "cannot write to $scratch/$out.sqlite"
  expect_exit 0 "$pipestill" run recipe.json --resume --out "$out" "${kept[@]}"
  expect_identical plain "$out"
  expect_clean "$out"
done
checked "a disk that is full ends the run, whatever on_error says, and it goes on"

# models that do not say the same again: what they said is kept in the run's own store, and goes on to be what they said
write_simulated_recipe on_policy recipe-on.json
unrepeatable=("$pipestill" run recipe-on.json --no-progress --set teacher.repeatable=false --set student.repeatable=false --set engine.staleness=1 --set checkpoint.every=4)
expect_exit 0 "${unrepeatable[@]}" --out once
expect_exit 0 "${unrepeatable[@]}" --out twice
expect_exit 1 "$pipestill" diff once twice
killed() { # killed DIR FLAG...
  local out=$1 status=0
  shift
  (PIPESTILL_FAULT=ledger.after_commit:11 "$@" --out "$out" >/dev/null 2>&1) 2>/dev/null || status=$?
  expect_equal "exit status of the run that is killed" 137 "$status"
}
killed odd "${unrepeatable[@]}"
cp -r odd odd.killed
for depth in 1 4; do
  rm -rf odd odd-replayed
  cp -r odd.killed odd
  expect_exit 0 "$pipestill" run --resume --out odd --no-progress --depth $depth
  expect_text "$stderr" "computed again and compared"
  expect_clean odd
  expect_exit 0 "$pipestill" run --replay odd --out odd-replayed --no-progress
  expect_identical odd odd-replayed
  expect_text odd/summary.json "an answer that was under way when the run was cut was asked for again"
  expect_equal "deterministic" false "$(json_value odd/summary.json deterministic)"
  expect_equal "the replay is deterministic" true "$(json_value odd-replayed/summary.json deterministic)"
done
expect_exit 0 "$pipestill" store stats odd/answers.sqlite
expect_text "$stdout" " score, "
expect_text "$stdout" " student_sample"
expect_exit 0 "$pipestill" store export odd/answers.sqlite
grep -q '"kind":"student_sample","tokens":\[' "$stdout" || fail "the student's samples are not exported"
rm -r odd
cp -r odd.killed odd
rm odd/answers.sqlite*
expect_exit 3 "$pipestill" run --resume --out odd --no-progress
expect_sentence "was computed before with another result" "--allow-changed ledger"
expect_exit 0 "$pipestill" run --resume --out odd --no-progress --allow-changed ledger
expect_text "$stderr" "computed anew, and not compared"
expect_text odd/summary.json "without comparing the"
expect_clean odd
rm -r odd odd-replayed
cp -r odd.killed odd # all answers are there, and some of them are not compared: a run of two parts, and of one recipe
expect_exit 0 "$pipestill" run --resume --out odd --no-progress --allow-changed ledger
expect_clean odd
expect_exit 0 "$pipestill" run --replay odd --out odd-replayed --no-progress
expect_identical odd odd-replayed
rm -r odd-replayed
expect_exit 2 "$pipestill" run --replay odd --out odd-replayed --no-progress --set training.learning_rate=0.5
expect_sentence "odd was recorded with training.learning_rate" "its student does not repeat itself"
expect_no_file odd-replayed
expect_exit 2 "$pipestill" run --replay odd --out odd-replayed --no-progress --set student.model=another
expect_sentence "odd was recorded with student simulated" "its student does not repeat itself"
rm -r odd
cp -r odd.killed odd # what the student drew before is another student's from here on
expect_exit 0 "$pipestill" run --resume --out odd --no-progress --set training.learning_rate=0.5 --allow-changed training.learning_rate
expect_clean odd
expect_exit 2 "$pipestill" run --replay odd --out odd-replayed --no-progress
expect_sentence "odd cannot be replayed: at batch" "training.learning_rate was changed on purpose"
# a teacher that does repeat itself is recorded with its student
expect_exit 0 "$pipestill" run recipe-on.json --no-progress --set student.repeatable=false --set engine.staleness=1 --out half
expect_exit 0 "$pipestill" run --replay half --out half-replayed --no-progress
expect_identical half half-replayed
expect_equal "tokens that the teacher computed" 0 "$(json_value half-replayed/summary.json models.teacher.tokens)"
checked "models that do not repeat themselves draw once"

# commands
status=0
"$pipestill" store export kept/answers.sqlite >/dev/full 2>export.log || status=$?
expect_equal "exit status of an export to a full disk" 3 "$status"
expect_text export.log "could not all be written to standard output"
expect_exit 0 "$pipestill" store export kept/answers.sqlite
answers=$("$pipestill" store stats kept/answers.sqlite --json | sed 's/.*"answers":\([0-9]*\).*/\1/')
expect_equal "exported lines" "$answers" "$(wc -l <"$stdout")"
expect_json_lines <(head -n 3 "$stdout")
expect_exit 2 "$pipestill" store stats recipe.json
expect_sentence recipe.json
expect_exit 2 "$pipestill" store verify nothing.sqlite
expect_sentence "there is no answer store at nothing.sqlite"
expect_exit 2 "$pipestill" store sideways
expect_sentence "sideways"
expect_exit 2 "$pipestill" store
expect_sentence "stats, verify or export"
expect_exit 2 "$pipestill" run recipe.json --out other --replay nowhere
expect_sentence "nowhere holds no run that could be replayed"
expect_exit 2 "$pipestill" run recipe.json --out other --set teacher.teacher_store=rows.jsonl
expect_sentence "teacher.teacher_store: " "rows.jsonl is no SQLite database"
mkdir inside
expect_exit 2 "$pipestill" run recipe.json --out inside/ --set teacher.teacher_store=inside/answers.sqlite
expect_sentence "teacher.teacher_store: " "inside/answers.sqlite lies in the run directory"
expect_exit 2 "$pipestill" run recipe.json --out inside --set dataset.cache=inside/model
expect_sentence "dataset.cache: " "inside/model lies in the run directory"
expect_equal "what is left in it" "" "$(ls -A inside)"
expect_exit 2 "$pipestill" run recipe.json --out other --set teacher.durability=some
expect_sentence "teacher.durability"
checked "store stats, verify and export"

# of the embedded teacher: told apart by its content, not by its place
if [ "$with_torch" = ON ]; then
  make_example_data
  short=("$example" "${example_data[@]}" --no-progress --set training.max_steps=4 --set training.batch_size=8 --set evaluation.limit=2 --set teacher.teacher_store="$scratch/torch.sqlite")
  expect_exit 0 "$pipestill" run "${short[@]}" --out torch-first
  grep -q '"student": "fresh weights of ' torch-first/identity.json || fail "identity.json does not say what the student began with"
  cp -r "$(dirname "$example")/teacher" moved
  expect_exit 0 "$pipestill" run "${short[@]}" --out torch-second --set teacher.teacher_model="$scratch/moved"
  expect_equal "tokens that the teacher computed" 0 "$(json_value torch-second/summary.json models.teacher.tokens)"
  expect_identical torch-first torch-second
  checked "an embedded teacher's answers are its own, wherever it lies"
fi
