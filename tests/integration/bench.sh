#!/usr/bin/env bash
# Every scenario of pipestill-bench, with the smallest sizes: it runs, and its JSON has its keys. No figure is looked at.
. "$(dirname "$0")/lib.sh"
cd "$scratch"
bench=$bin_dir/pipestill-bench
models=(--teacher "$source_dir/examples/tasks/teacher" --student "$source_dir/examples/tasks/student/config.json")

# expect_keys KEY...: $stdout is one line of JSON that has them
expect_keys() {
  local key
  expect_equal "the number of lines that --json prints" 1 "$(wc -l <"$stdout")"
  expect_json "$stdout"
  for key in "$@" context cpu compiler cores foreign_load; do expect_text "$stdout" "\"$key\":"; done
}
# expect_count COUNT TEXT: so often in $stdout
expect_count() { expect_equal "the number of times that \"$2\" is printed" "$1" "$(grep -oF -- "$2" "$stdout" | wc -l)"; }
# expect_refusal TEXT: one line of stderr, which names it
expect_refusal() {
  expect_equal "the number of lines on stderr" 1 "$(wc -l <"$stderr")"
  expect_text "$stderr" "pipestill-bench: "
  expect_text "$stderr" "$1"
}

scenarios="engine pipeline overlap dataset ledger store tokenize"
[ "$with_torch" = OFF ] || scenarios+=" gemm sample train"
expect_exit 0 "$bench" --help
for scenario in $scenarios; do expect_text "$stdout" "  $scenario "; done
for scenario in $scenarios; do
  expect_exit 0 "$bench" $scenario --help
  expect_text "$stdout" "Example: pipestill-bench $scenario"
  expect_text "$stdout" "--json"
done
expect_exit 2 "$bench" sideways
expect_refusal "sideways"
expect_exit 2 "$bench"
expect_refusal "scenario is missing"
checked "--help of every scenario has an example"

expect_exit 0 "$bench" engine --batches 100 --pairs 1 --json
expect_keys scenario batches depth threads pairs shapes engine hand_written_graph more goal_ns parallel_pipeline plain_threads tracing_an_event_pair rss_growth_mib wall_ns cpu_ns
expect_count 3 '"shape":'
expect_exit 0 "$bench" engine --batches 100 --pairs 1 --threads 2 --depth 2
expect_text "$stdout" "hand-written oneTBB graph"
expect_exit 2 "$bench" engine --depth 0
expect_refusal "--depth"
checked "engine: three shapes and the rivals"

expect_exit 0 "$bench" tokenize --megabytes 1 --repetitions 1 --json
expect_keys scenario tokenizer load_s document_bytes lines mb_per_s ids_sha256 worst factor goal is_goal_met
expect_count 6 '"ids_sha256":'
expect_exit 2 "$bench" tokenize --tokenizer nowhere
expect_refusal nowhere
checked tokenize

expect_exit 0 "$bench" overlap --batches 2 --repetitions 1 --json
expect_keys scenario batches executor repetitions cases teacher depth makespan_s simulated wall lost_us_per_batch cpu_ms_per_batch min median max goal is_goal_met \
  completion_order_makespan_s price_of_order
expect_count 12 '"depth":'
expect_count 12 '"simulated":1E0' # exact, whatever the machine does
expect_exit 0 "$bench" overlap --batches 1 --repetitions 1 --executor small
expect_text "$stdout" "executor small"
expect_text "$stdout" "price of order"
expect_exit 2 "$bench" overlap --executor large
expect_refusal "large"
checked "overlap: three latency models at four depths, exact on the simulated clock"

mkdir temporary
expect_exit 0 "$bench" dataset --rows 1000,3000 --repetitions 1 --directory temporary --json
expect_keys scenario repetitions sizes rows text_bytes_per_row index_ns_per_row reopen_ns_per_row shuffle_ns_per_row read_us_per_row index_growth shuffle_growth \
  index_bytes_per_row peak_bytes_per_row bytes_per_row bytes_goal is_goal_met
expect_count 2 '"rows":'
expect_exit 0 "$bench" dataset --rows 10 --repetitions 1 --directory temporary
expect_text "$stdout" "shuffle, ns"
expect_equal "what dataset leaves behind" "" "$(ls -A temporary)"
expect_exit 2 "$bench" dataset --rows 10 --directory nowhere
expect_refusal "--directory"
checked "dataset: two sizes, and nothing left behind"

expect_exit 0 "$bench" ledger --rows 1,8 --batches 20 --repetitions 1 --directory temporary --json
expect_keys scenario batches repetitions sizes rows append_us append_cpu_us longest_us open_us bytes content_digest_us
expect_count 2 '"append_us":'
expect_exit 0 "$bench" ledger --rows 2 --batches 10 --repetitions 1 --directory temporary
expect_text "$stdout" "the longest append"
expect_equal "what ledger leaves behind" "" "$(ls -A temporary)"
checked "ledger: two sizes, and nothing left behind"

expect_exit 0 "$bench" store --batches 3 --rows 2 --repetitions 1 --directory temporary --json
expect_keys scenario batches rows repetitions goal_percent cases depth durability wall_s more_percent is_goal_met
expect_count 6 '"durability":'
expect_exit 0 "$bench" store --batches 2 --rows 1 --repetitions 1 --directory temporary
expect_text "$stdout" "more than without"
expect_equal "what store leaves behind" "" "$(ls -A temporary)"
checked "store: two depths, two kinds of durability, and nothing left behind"

write_rows 8 rows.jsonl
write_simulated_recipe off_policy recipe.json
expect_exit 0 "$bench" pipeline recipe.json --pairs 2 --steps 2 --json
expect_keys scenario recipe steps pairs sequential pipelined wall_s cpu_s overlap_busy wall_ratio cpu_ratio same_bytes weights_digest num_tokens teacher_tokens
expect_text "$stdout" '"same_bytes":true'
expect_exit 2 "$bench" pipeline missing.json
expect_refusal "missing.json"
checked "pipeline: the same bytes"

if [ "$with_torch" = OFF ]; then
  expect_exit 2 "$bench" gemm
  expect_refusal subcommand
  checked "without embedded models there is nothing to measure of them"
  exit 0
fi

expect_exit 0 "$bench" gemm "${models[@]}" --repetitions 1 --seconds 0 --json
expect_keys scenario repetitions threads lines name products gflop gflops dnnl_gflops ratio goal is_goal_met onednn
expect_count 1 '"goal":8E-1'
expect_exit 0 "$bench" gemm "${models[@]}" --repetitions 1 --seconds 0
expect_text "$stdout" "1024 x 192 x 192"
grep -qE 'goal 0\.8: (met|missed)$' "$stdout" || fail "gemm does not say whether its goal is met"
expect_exit 2 "$bench" gemm --teacher nowhere
expect_refusal nowhere
checked "gemm"

steps="cases name tokens gflop step_ms cpu_ms tokens_per_s gflops products_ms share_of_products bound_ms share_of_bound"
expect_exit 0 "$bench" sample "${models[@]}" --rows 2,1 --repetitions 1 --seconds 0 --json
expect_keys scenario repetitions prompt_tokens decode_steps gemm_gflops onednn_isa libtorch $steps
for name in "teacher, 2 rows" "teacher, 1 row" "student, 2 rows" "student, 1 row"; do expect_count 1 "\"name\":\"$name\""; done
expect_exit 2 "$bench" sample "${models[@]}" --rows 0
expect_refusal rows
checked "sample"

expect_exit 0 "$bench" train "${models[@]}" --rows 2 --repetitions 1 --seconds 0 --json
expect_keys scenario repetitions rows positions targets gemm_gflops onednn_isa libtorch loss $steps
expect_exit 0 "$bench" train "${models[@]}" --rows 2 --repetitions 1 --seconds 0
expect_text "$stdout" "tokens/s"
checked "train"
