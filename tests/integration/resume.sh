#!/usr/bin/env bash
# Whatever ended a run, it goes on with --resume to the bytes of the run that nothing ended, and says what it passes over. What must not change may not.
. "$(dirname "$0")/lib.sh"
cd "$scratch"
set -m # or the runs would inherit an ignored SIGINT, as background jobs of a script do
write_rows 30 rows.jsonl
write_rows 6 heldout.jsonl
write_simulated_recipe on_policy recipe.json
command=("$pipestill" run recipe.json --set checkpoint.every=4 --set engine.staleness=1 --set evaluation.path=heldout.jsonl --set evaluation.every=5 --no-progress)
run() { "${command[@]}" "$@"; }
# killed DIR POINT[:N] FLAG...: a run that ends there
killed() {
  local out=$1 point=$2 status=0
  shift 2
  (PIPESTILL_FAULT=$point run --out "$out" "$@" >/dev/null 2>&1) 2>/dev/null || status=$?
  [ "$status" -eq 137 ] || fail "$out was to be killed at $point, and its exit status is $status"
}
expect_same() {
  expect_identical whole "$1"
  expect_clean "$1"
  expect_equal "$1: ledger_digest" "$(json_value whole/summary.json ledger_digest)" "$(json_value "$1/summary.json" ledger_digest)"
  cmp <(sed 's/,"observed".*//' whole/metrics.jsonl) <(sed 's/,"observed".*//' "$1/metrics.jsonl") || fail "$1: another metrics.jsonl"
  cmp whole/evaluations.jsonl "$1/evaluations.jsonl" || fail "$1: another evaluations.jsonl"
}
expect_exit 0 run --out whole
steps=$(json_value whole/summary.json steps)

# from a checkpoint, with nothing but the directory
killed a ledger.after_commit:11
saved=$(newest_checkpoint a)
expect_exit 2 run --out a
expect_sentence "holds a run already" "--resume"
expect_exit 0 "$pipestill" run --resume --out a --no-progress
expect_text "$stderr" "goes on at batch $saved of $steps; $((11 - saved)) batches that the ledger has behind it are computed again and compared"
expect_equal "resumed_at" "$saved" "$(json_value a/summary.json resumed_at)"
expect_equal "steps" "$steps" "$(json_value a/summary.json steps)"
expect_equal "num_tokens" "$(json_value whole/summary.json num_tokens)" "$(json_value a/summary.json num_tokens)"
expect_equal "eval.before" "$(json_value whole/summary.json eval.before.exact_match)" "$(json_value a/summary.json eval.before.exact_match)"
expect_same a
content_of() { find "$1" -type f | sort | xargs sha256sum | sha256sum; }
digest=$(content_of a)
expect_exit 0 "$pipestill" run --resume --out a --no-progress
expect_text "$stdout" "has finished: there is nothing left to do"
expect_equal "a finished run that is resumed" "$digest" "$(content_of a)"
expect_exit 2 "$pipestill" run --resume --out a --no-progress --seed 5
expect_sentence "a has finished with seed 1" "for 5 name another directory"
expect_exit 0 run --resume --out a
checked "a killed run goes on from its newest checkpoint, and one that has finished does nothing"

# another schedule, depth and threads; then killed again while it goes on
killed b ledger.after_commit:6 --schedule sequential
(PIPESTILL_FAULT=resume.before_cut "$pipestill" run --resume --out b >/dev/null 2>&1) 2>/dev/null && fail "b was to be killed"
(PIPESTILL_FAULT=ledger.after_commit:3 "$pipestill" run --resume --out b --depth 8 --threads 2 >/dev/null 2>&1) 2>/dev/null && fail "b was to be killed"
expect_exit 0 "$pipestill" run --resume --out b --depth 2 --no-progress
expect_same b
checked "schedules may change between a run's parts"

# before anything was saved, and before the run had begun
killed c ledger.before_commit:2
expect_exit 0 "$pipestill" run --resume --out c --no-progress
expect_text "$stderr" "begins again: there is no checkpoint"
expect_same c
expect_exit 2 "$pipestill" run --resume --out d
expect_sentence "d holds no run that could go on"
expect_exit 0 run --resume --out d
expect_same d
expect_exit 2 "$pipestill" run --resume
expect_sentence "--resume needs --out"
checked "a run without a checkpoint begins again, and one that never was begins"

# stopped: its checkpoint is where it was cut
"${command[@]}" --out e --set teacher.latency.min_ms=100 --set teacher.latency.max_ms=150 >/dev/null 2>&1 &
wait_for 20 test -s e/metrics.jsonl
kill -INT $!
wait $! && fail "e was to be stopped" || expect_equal "a stopped run's exit status" 130 $?
cut=$(wc -l <e/metrics.jsonl)
expect_file "e/checkpoints/$(printf 'step-%08d' "$cut")"
expect_exit 0 "$pipestill" run --resume --out e --no-progress
expect_text "$stderr" "goes on at batch $cut of $steps; 0 batches"
expect_same e
checked "a stop leaves a checkpoint at its cut"

# failed: the same, and what failed may be mended
expect_exit 3 run --out f --set student.fail_at_step=9
expect_equal "the failed run's steps" 9 "$(json_value f/summary.json steps)"
expect_file f/checkpoints/step-00000009
expect_exit 2 run --resume --out f
expect_sentence "student.fail_at_step was 9, and is -1 now; --allow-changed student.fail_at_step"
expect_exit 0 run --resume --out f --allow-changed student.fail_at_step
expect_identical whole f
expect_equal "deterministic" false "$(json_value f/summary.json deterministic)"
grep -q "resumed with another student.fail_at_step: 9 before, -1 then" f/summary.json || fail "the change is not among the reasons"
checked "a failure leaves a checkpoint at its cut, and what is changed on purpose is among the reasons"

# damaged checkpoints
killed g ledger.after_commit:14
saved=$(printf 'step-%08d' "$(newest_checkpoint g)")
before=$(newest_checkpoint g 2)
printf 'x' >>"g/checkpoints/$saved/student/simulated.json"
expect_exit 0 run --resume --out g
expect_text "$stderr" "$saved is damaged and not used: "
expect_text "$stderr" "goes on at batch $before of $steps"
expect_same g
checked "a damaged checkpoint is passed over with a sentence"

# another recipe, other data, another machine, another recomputation
killed h ledger.after_commit:11
cp -r h h.before
expect_exit 2 run --resume --out h --seed 99
expect_sentence "seed was" "--allow-changed seed"
expect_exit 2 "$pipestill" run --resume --out h --set training.learning_rate=0.5
expect_sentence "training.learning_rate"
cp rows.jsonl rows.kept
sed -i 's/30 /31 /;1s/a/b/' rows.jsonl
echo '{"prompt": "one more"}' >>rows.jsonl
cp -r h h.changed
expect_exit 2 "$pipestill" run --resume --out h.changed
expect_sentence "dataset was" "--allow-changed dataset"
expect_exit 2 run --resume --out h.changed
expect_sentence "dataset was" "--allow-changed dataset"
diff -r h h.changed >&2 || fail "a run that was refused for its data has changed"
cp rows.kept rows.jsonl
cp -r h h.facts
for fact in libc cpu teacher tokenizer student; do
  sed -i "/^ *\"identity\": {/,\$s/\"$fact\": \"[^\"]*\"/\"$fact\": \"1.0\"/" h/identity.json
  expect_exit 2 "$pipestill" run --resume --out h
  expect_sentence "$fact was 1.0, and is" "--allow-changed $fact"
  cp h.before/identity.json h/identity.json
  rm -f h.facts/run.sqlite-shm h/run.sqlite-shm
  diff -r h h.facts >&2 || fail "a run that was refused for its $fact has changed"
done
expect_exit 2 "$pipestill" run --resume --out h --set student.model=another
expect_sentence "student was simulated" "--allow-changed student"
sed -i 's/"parts": \[/"parts": [], "more": [/' h/identity.json
expect_exit 2 "$pipestill" run --resume --out h
expect_sentence "h/identity.json" "parts and identity must both"
cp h.before/identity.json h/identity.json
expect_exit 2 run --out i --allow-changed libc
expect_sentence "--allow-changed belongs to --resume"
expect_exit 0 run --resume --out h
expect_same h
checked "a changed recipe, dataset or machine is refused by name, and the run can go on afterwards"

# a staleness that the checkpoint has not enough students for: refused, and nothing has changed
killed few ledger.after_commit:11
before=$(content_of few)
expect_exit 2 "$pipestill" run --resume --out few --no-progress --set engine.staleness=2 --allow-changed engine.staleness
expect_sentence "does not hold the student after" "engine.staleness 2"
rm -f few/run.sqlite-shm # SQLite makes it for whoever reads a killed run's log
expect_equal "a run that is refused" "$before" "$(content_of few)"
expect_exit 0 run --resume --out few
expect_same few
checked "a run goes on with the students that its checkpoint has, or not at all"

# what is changed on purpose may give other batches than the ledger has behind the checkpoint
killed whole-killed ledger.after_commit:11 # once: which checkpoint the next moment would have brought depends on the machine
saved=$(newest_checkpoint whole-killed)
cp -r whole-killed purpose
expect_exit 0 "$pipestill" run --resume --out purpose --no-progress --set training.learning_rate=0.5 --allow-changed training.learning_rate
expect_text "$stderr" "goes on at batch $saved of $steps; $((11 - saved)) batches that the ledger has behind it are computed anew, and not compared"
expect_clean purpose
for change in seed=7 training.batch_size=3 engine.staleness=0 dataset.shuffle=false; do
  cp -r whole-killed purpose-2
  expect_exit 0 "$pipestill" run --resume --out purpose-2 --no-progress --set $change --allow-changed ${change%=*}
  expect_clean purpose-2 # every batch by the recipe that it was computed by
  rm -r purpose-2
done

# killed again at every moment of the change: it holds from one moment on, and before that there was none
for point in resume.before_cut resume.after_cut run.before_recipe ledger.after_commit:1 ledger.after_commit:4; do
  cp -r whole-killed purpose-3
  (PIPESTILL_FAULT=$point "$pipestill" run --resume --out purpose-3 --no-progress --set training.learning_rate=0.5 --allow-changed training.learning_rate >/dev/null 2>&1) 2>/dev/null && fail "the change was to be killed at $point"
  if [[ $point == resume.* ]]; then
    expect_exit 0 "$pipestill" run --resume --out purpose-3 --no-progress
    expect_same purpose-3
  else
    expect_exit 0 "$pipestill" run --resume --out purpose-3 --no-progress
    expect_identical purpose purpose-3
    expect_equal "the rate after a kill at $point" 0.5 "$(json_value purpose-3/recipe.json training.learning_rate)"
    expect_text purpose-3/summary.json "resumed with another training.learning_rate"
    expect_clean purpose-3
  fi
  rm -r purpose-3
done

# changed twice, and killed each time before recipe.json was written
cp -r whole-killed twice
for rate in 0.5 0.25; do
  (PIPESTILL_FAULT=run.before_recipe "$pipestill" run --resume --out twice --no-progress --set training.learning_rate=$rate --allow-changed training.learning_rate >/dev/null 2>&1) 2>/dev/null && fail "twice was to be killed"
done
expect_exit 0 "$pipestill" run --resume --out twice --no-progress
expect_equal "the rate" 0.25 "$(json_value twice/recipe.json training.learning_rate)"
expect_clean twice
rm -r twice

# cut before its first step
cp -r whole-killed cut
status=0
PIPESTILL_FAULT=sqlite.write:1=ENOSPC "$pipestill" run --resume --out cut --no-progress --set training.learning_rate=0.5 --allow-changed training.learning_rate >"$stdout" 2>"$stderr" || status=$?
expect_equal "exit status of a resume on a full disk" 3 $status
expect_clean cut
rm -r cut

# back behind the change: what the ledger has from there on was another recipe's
cp -r whole-killed behind
(PIPESTILL_FAULT=ledger.after_commit:3 "$pipestill" run --resume --out behind --no-progress --set training.learning_rate=0.5 --allow-changed training.learning_rate >/dev/null 2>&1) 2>/dev/null && fail "behind was to be killed"
rm -r "behind/checkpoints/$(printf 'step-%08d' "$saved")"
expect_exit 0 "$pipestill" run --resume --out behind --no-progress
expect_text "$stderr" "computed anew, and not compared"
expect_clean behind
rm -r behind
cp -r whole-killed behind # and behind one that sets nothing apart
(PIPESTILL_FAULT=ledger.after_commit:3 "$pipestill" run --resume --out behind --no-progress --set training.max_steps=25 --allow-changed training.max_steps >/dev/null 2>&1) 2>/dev/null && fail "behind was to be killed"
rm -r "behind/checkpoints/$(printf 'step-%08d' "$saved")"
expect_exit 0 "$pipestill" run --resume --out behind --no-progress
expect_text "$stderr" "computed again and compared"
expect_clean behind
rm -r behind whole-killed
checked "what changes batches on purpose is not held against those that it changes"

# the recipe and its data have moved: it is given again once, and known from then on
mkdir place
cp rows.jsonl heldout.jsonl recipe.json place
(cd place && killed ../moved ledger.after_commit:11)
mv place new-place
expect_exit 2 "$pipestill" run --resume --out moved --no-progress
(cd new-place && PIPESTILL_FAULT=ledger.after_commit:3 run --resume --out ../moved >/dev/null 2>&1) 2>/dev/null && fail "moved was to be killed"
expect_exit 0 "$pipestill" run --resume --out moved --no-progress
expect_same moved
checked "a project that has moved is known where it is now"

# files that people take away, or write into
killed gone ledger.after_commit:11
saved=$(newest_checkpoint gone)
cp -r gone gone.before
rm gone/metrics.jsonl
echo '{"when": "during", "step": -1, "rows": 6.5}' >>gone/evaluations.jsonl
expect_exit 0 run --resume --out gone
expect_text "$stderr" "goes on at batch $saved of $steps"
expect_same gone
rm -r gone
mv gone.before gone
mv gone/identity.json gone.identity
expect_exit 2 run --resume --out gone
expect_sentence "gone/identity.json" "put it back"
mv gone.identity gone/identity.json
expect_exit 0 run --resume --out gone
expect_same gone
checked "metrics.jsonl may be taken away, identity.json may not"

# the run's end, moved on purpose: further away, into what the ledger has already, and before the checkpoint
for end in 25 10; do
  expect_exit 0 run --out "end-whole" --set training.max_steps=$end
  killed end ledger.after_commit:11
  expect_exit 0 "$pipestill" run --resume --out end --no-progress --set training.max_steps=$end --allow-changed training.max_steps
  expect_equal "the moved end" $end "$(json_value end/summary.json steps)"
  expect_identical end-whole end
  expect_clean end
  rm -r end end-whole
done
killed end ledger.after_commit:11
(PIPESTILL_FAULT=ledger.before_commit:1 "$pipestill" run --resume --out end --no-progress --set training.max_steps=10 --allow-changed training.max_steps >/dev/null 2>&1) 2>/dev/null && fail "end was to be killed"
expect_clean end # what was behind the new end is gone
rm -r end
killed end ledger.after_commit:11 --set training.lr_schedule=cosine
expect_exit 0 "$pipestill" run --resume --out end --no-progress --set training.max_steps=25 --allow-changed training.max_steps
expect_text "$stderr" "computed anew, and not compared" # the learning rate falls more slowly now
expect_clean end
rm -r end
killed end ledger.after_commit:11
saved=$(newest_checkpoint end)
expect_exit 2 "$pipestill" run --resume --out end --no-progress --set "training.max_steps=$((saved - 1))" --allow-changed training.max_steps
expect_sentence "would end after $((saved - 1)) batches"
(PIPESTILL_FAULT=ledger.after_commit:1 "$pipestill" run --resume --out end >/dev/null 2>&1) 2>/dev/null && fail "end was to be killed"
expect_clean end # its lines were cut back, and what the ledger has behind them is no fault
checked "the end of a run can be moved, but not before what was trained"

# one process at a time
"${command[@]}" --out j --set teacher.latency.min_ms=100 --set teacher.latency.max_ms=150 >/dev/null 2>&1 &
first=$!
wait_for 20 test -s j/metrics.jsonl
expect_exit 2 run --resume --out j
expect_sentence "another process is running in j"
kill -KILL $first
wait $first 2>/dev/null || true
expect_exit 0 "$pipestill" run --resume --out j --no-progress
expect_same j
checked "a second process is refused, and a killed one keeps no lock"

# a ledger that somebody looks at with SQLite: before anything is asked of a teacher, and with nothing changed
if python3 -c 'import sqlite3' 2>/dev/null; then
  for use in 'SELECT count(*) FROM batches' 'DELETE FROM rows'; do
    out=used-${use%% *}
    killed "$out" ledger.after_commit:11
    mkfifo in-use let-go
    python3 -c 'import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("BEGIN")
database.execute(sys.argv[2]).fetchall()
open("in-use", "w").close()
open("let-go").close()
database.execute("ROLLBACK")' "$out/run.sqlite" "$use" &
    user=$!
    : <in-use
    before=$(cd "$out" && content_of .)
    expect_exit 3 "$pipestill" run --resume --out "$out" --no-progress
    expect_sentence "$out/run.sqlite is in use by another process"
    expect_equal "a run that was refused" "$before" "$(cd "$out" && content_of .)"
    : >let-go
    wait $user
    rm in-use let-go
    expect_exit 0 "$pipestill" run --resume --out "$out" --no-progress
    expect_same "$out"
  done
  checked "a ledger that another process uses is refused at once"
else
  echo "not checked, for want of python3: a ledger that another process uses"
fi

# a disk that fails: a sentence, exit 3, and the run can go on
for fault in file.write:4=ENOSPC file.write:12=EIO file.sync:9=EIO file.rename:6=ENOSPC directory.make:3=EIO sqlite.write:30=ENOSPC sqlite.write:60=EIO sqlite.write:95=EDQUOT sqlite.sync:2=EIO sqlite.open:1=EIO sqlite.open:2=ENOSPC; do
  out=disk-$fault
  status=0
  PIPESTILL_FAULT=$fault "${command[@]}" --out "$out" >"$stdout" 2>"$stderr" </dev/null || status=$?
  expect_equal "exit status with $fault" 3 $status
  expect_text "$stderr" "$out/"
  expect_exit 0 run --resume --out "$out"
  expect_same "$out"
done
checked "a disk that is full or broken ends the run with a sentence, and it can go on"

# the end of an epoch, a short last batch, max_steps inside an epoch
for shape in "--set training.batch_size=7 --set training.epochs=3" "--set training.batch_size=30 --set training.epochs=4" "--set training.max_steps=13 --set training.epochs=9"; do
  # shellcheck disable=SC2086
  expect_exit 0 run --out shape-whole $shape
  shape_steps=$(json_value shape-whole/summary.json steps)
  for at in 1 $((shape_steps / 2)) $((shape_steps - 1)) "$shape_steps"; do
    # shellcheck disable=SC2086
    killed "shape-$at" "ledger.after_commit:$at" $shape --set checkpoint.every=1
    expect_exit 0 "$pipestill" run --resume --out "shape-$at" --no-progress
    expect_identical shape-whole "shape-$at"
    expect_clean "shape-$at"
  done
  rm -r shape-*
done
checked "epochs that end, short batches and max_steps"

# a directory that cannot be written: at the start, and from some moment on. Who is root passes by permissions, unless the capability to do so is given away.
confined=()
if [ "$(id -u)" -eq 0 ]; then
  confined=(setpriv --bounding-set=-dac_override,-dac_read_search --inh-caps=-dac_override,-dac_read_search)
fi
mkdir -p readonly/probe
chmod a-w readonly
if "${confined[@]}" true 2>/dev/null && ! "${confined[@]}" touch readonly/file 2>/dev/null; then
  for out in readonly/new readonly; do
    expect_exit 2 "${confined[@]}" "${command[@]}" --out $out
    expect_sentence "run directory $out" "Permission denied"
  done
  expect_equal "what a refused run leaves" probe "$(ls -A readonly)"
  chmod u+w readonly

  "${confined[@]}" "${command[@]}" --out k --set checkpoint.every=1 --set teacher.latency.min_ms=40 --set teacher.latency.max_ms=60 >"$stdout" 2>"$stderr" </dev/null &
  running=$!
  wait_for 20 test -e k/checkpoints/step-00000002
  chmod a-w k k/checkpoints
  status=0
  wait $running || status=$?
  expect_equal "exit status of a run whose directory becomes read-only" 3 $status
  expect_sentence "k/checkpoints/step-" "Permission denied"
  expect_exit 2 "${confined[@]}" "$pipestill" run --resume --out k --no-progress
  expect_sentence "cannot write to the run directory k"
  chmod u+w k k/checkpoints
  expect_exit 0 "${confined[@]}" "$pipestill" run --resume --out k --no-progress
  expect_same k
  checked "a directory that cannot be written is refused, and one that becomes so ends the run, which can go on"
else
  chmod u+w readonly
  echo "not checked: a directory without write permission, which this user writes to all the same"
fi
for fault in file.write:1=EROFS file.write:9=EROFS file.rename:5=EROFS directory.make:1=EROFS; do
  out=rofs-$fault
  status=0
  PIPESTILL_FAULT=$fault "${command[@]}" --out "$out" >"$stdout" 2>"$stderr" </dev/null || status=$?
  expect_equal "exit status with $fault" 3 $status
  expect_sentence "$out/"
  expect_exit 0 run --resume --out "$out"
  expect_same "$out"
done
checked "a file system that becomes read-only ends the run with a sentence, and it can go on"
