# shellcheck shell=bash disable=SC2034
# What the tests of the program share. Sourced, with the arguments of the test: BIN_DIR SOURCE_DIR [WITH_TORCH: ON or OFF]
# Needs bash, coreutils, grep, sed and awk; JSON is parsed as well where there is a python3.
set -euo pipefail
export LC_ALL=C  # $EPOCHREALTIME has a point

[ $# -ge 2 ] || { echo "usage: $0 BIN_DIR SOURCE_DIR [ON|OFF]" >&2; exit 2; }
bin_dir=$(realpath "$1")
source_dir=$(realpath "$2")
with_torch=${3:-ON}
pipestill=$bin_dir/pipestill
scratch=$(mktemp -d)
stdout=$scratch/stdout # of the latest expect_exit
stderr=$scratch/stderr

clean_up() {
  local jobs
  jobs=$(jobs -rp)
  [ -z "$jobs" ] || kill -KILL $jobs 2>/dev/null || true
  wait 2>/dev/null || true
  rm -rf "$scratch"
}
trap clean_up EXIT

# fail MESSAGE: ends the test, with what the latest command said
fail() {
  echo "FAILED: $1" >&2
  if [ -s "$stderr" ]; then
    echo "the latest command's stderr:" >&2
    tail -n 15 "$stderr" >&2
  fi
  exit 1
}

checked() { echo "ok: $1"; }

# expect_exit STATUS COMMAND...: what it printed is in $stdout and $stderr
expect_exit() {
  local want=$1 status=0
  shift
  "$@" >"$stdout" 2>"$stderr" </dev/null || status=$?
  [ "$status" -eq "$want" ] || fail "exit status $status instead of $want: $*"
}

# expect_text FILE TEXT
expect_text() { grep -qF -- "$2" "$1" || fail "$(basename "$1") does not hold \"$2\""; }

# expect_equal WHAT WANT GOT
expect_equal() { [ "$2" = "$3" ] || fail "$1 is \"$3\" instead of \"$2\""; }

expect_file() { [ -e "$1" ] || fail "${1#"$scratch/"} is missing"; }
expect_no_file() { [ ! -e "$1" ] || fail "${1#"$scratch/"} is there and should not be"; }

# expect_sentence TEXT...: one line of $stderr is the program's, and it holds every TEXT
expect_sentence() {
  local sentence text
  sentence=$(grep '^pipestill: ' "$stderr") || fail "no line of stderr begins with \"pipestill: \""
  expect_equal "the number of lines that begin with \"pipestill: \"" 1 "$(wc -l <<<"$sentence")"
  for text in "$@"; do grep -qF -- "$text" <<<"$sentence" || fail "\"$sentence\" does not say \"$text\""; done
}

expect_no_parts() {
  local parts
  parts=$(find "$scratch" -name '*.part*')
  [ -z "$parts" ] || fail "left behind: $parts"
}

# json_value FILE KEY.PATH: a value of a summary.json or recipe.json, which have a key a line; strings without their quotes
json_value() {
  awk -v want="$2" '
    { match($0, /^ */); depth = RLENGTH / 2; line = substr($0, RLENGTH + 1) }
    match(line, /^"[^"]*": /) {
      key[depth] = substr(line, 2, RLENGTH - 4)
      path = key[1]
      for (i = 2; i <= depth; ++i) path = path "." key[i]
      if (path != want) next
      value = substr(line, RLENGTH + 1)
      sub(/,$/, "", value)
      gsub(/^"|"$/, "", value)
      print value
      found = 1
      exit
    }
    END { exit !found }' "$1" || fail "${1#"$scratch/"} has no key $2"
}

# expect_json FILE: it is one JSON value
expect_json() {
  expect_file "$1"
  if ! python3 -c '' 2>/dev/null; then
    echo "not checked, for want of python3: that ${1#"$scratch/"} is JSON"
    return
  fi
  python3 -m json.tool "$1" >/dev/null 2>&1 || fail "${1#"$scratch/"} is not JSON"
}

# expect_json_lines FILE: every line is
expect_json_lines() {
  local line
  while IFS= read -r line; do
    printf '%s\n' "$line" >"$scratch/line.json"
    expect_json "$scratch/line.json"
  done <"$1"
}

# expect_run DIR STATUS [STEPS]: its summary.json says so and fits its metrics.jsonl
expect_run() {
  local steps
  expect_file "$1/summary.json"
  expect_json "$1/summary.json"
  expect_equal "${1#"$scratch/"}: status" "$2" "$(json_value "$1/summary.json" status)"
  steps=$(json_value "$1/summary.json" steps)
  [ $# -lt 3 ] || expect_equal "${1#"$scratch/"}: steps" "$3" "$steps"
  expect_equal "${1#"$scratch/"}: the number of lines of metrics.jsonl" "$steps" "$(wc -l <"$1/metrics.jsonl")"
}

# expect_clean RUN...: audit finds nothing
expect_clean() {
  local run
  for run; do
    expect_exit 0 "$pipestill" audit "$run"
    grep -q '^clean: ' "$stdout" || fail "audit $(basename "$run") exits 0 and does not say clean"
  done
}

# newest_checkpoint RUN [PLACE]: the step of the last one, or of the PLACEth from the end. They are saved beside the training: which there are is a matter of time.
newest_checkpoint() {
  local name
  name=$(find "$1/checkpoints" -maxdepth 1 -name 'step-????????' | sort | tail -n "${2:-1}" | head -n 1)
  [ -n "$name" ] || fail "$1 has no checkpoint"
  echo $((10#${name##*step-}))
}

digest_of() { json_value "$1/summary.json" weights_digest; }

# expect_identical RUN_A RUN_B
expect_identical() {
  expect_exit 0 "$pipestill" diff "$1" "$2"
  grep -q '^identical: ' "$stdout" || fail "diff $(basename "$1") $(basename "$2") exits 0 and does not say identical"
}

milliseconds() { echo $((${EPOCHREALTIME/./} / 1000)); }

# wait_for SECONDS CONDITION...: until the command succeeds
wait_for() {
  local until=$(($(milliseconds) + $1 * 1000))
  shift
  while ! "$@"; do
    [ "$(milliseconds)" -lt "$until" ] || fail "waited in vain for: $*"
    sleep 0.02
  done
}

# write_rows COUNT FILE: conversations for the simulated models
write_rows() {
  local i
  for ((i = 0; i < $1; ++i)); do
    printf '{"messages":[{"role":"user","content":"question %d"},{"role":"assistant","content":"answer %d"}]}\n' "$i" "$i"
  done >"$2"
}

# write_simulated_recipe METHOD FILE: 20 steps on the rows.jsonl beside it. With role_tokens, because role_colon trims answers, and now and
# then one of these is nothing but a blank: an empty answer.
write_simulated_recipe() {
  cat >"$2" <<END
{"method": "$1", "seed": 1,
 "dataset": {"path": "rows.jsonl"},
 "teacher": {"client": "simulated", "max_tokens": 6, "latency": {"distribution": "uniform", "min_ms": 1, "max_ms": 3}},
 "student": {"client": "simulated", "renderer": "role_tokens", "latency": {"distribution": "uniform", "min_ms": 1, "max_ms": 2}},
 "training": {"batch_size": 4, "epochs": 100, "max_steps": 20}}
END
}

example=$source_dir/examples/tasks/distill.json
example_data=() # --set the example's data, once make_example_data has made them
make_example_data() {
  expect_exit 0 "$bin_dir/make_data" "$scratch/data"
  example_data=(--set "dataset.path=$scratch/data/train.jsonl" --set "evaluation.path=$scratch/data/test.jsonl")
}
