#!/usr/bin/env bash
# pipestill render: what a model sees, for people and for programs.
. "$(dirname "$0")/lib.sh"
cd "$scratch"
vocabulary=$source_dir/examples/tasks/teacher
cat >answered.json <<'E2'
{"messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "reverse: ab"}, {"role": "assistant", "content": "ba"}]}
E2
echo '[{"role":"user","content":"q"}]' >waiting.json

# For people: what is trained is marked, in colour on a terminal alone
expect_exit 0 "$pipestill" render answered.json --tokenizer "$vocabulary" --renderer role_tokens
expect_equal "an answered conversation" "<|system|>be brief<|user|>reverse: ab<|assistant|>⟦ba<|end|>⟧" "$(cat "$stdout")"
expect_text "$stderr" "renderer role_tokens, as --renderer says; trained: last_assistant_message"
expect_text "$stderr" "25 tokens, 3 of them trained"
expect_exit 0 "$pipestill" render answered.json --tokenizer bytes --model meta-llama/Llama-3.2-1B --train-on-what all_messages
expect_equal "a model's own format" $'System:⟦ be brief\n\n⟧User:⟦ reverse: ab\n\n⟧Assistant:⟦ ba\n\nUser:⟧' "$(cat "$stdout")"
expect_text "$stderr" "renderer role_colon, which tinker-cookbook recommends for meta-llama/Llama-3.2-1B"
expect_exit 0 "$pipestill" render waiting.json --tokenizer bytes --renderer role_colon
expect_equal "a conversation that waits is a prompt" $'User: q\n\nAssistant:' "$(cat "$stdout")"
expect_exit 0 "$pipestill" render answered.json --tokenizer bytes --renderer role_tokens --prompt
expect_equal "--prompt" "<|system|>be brief<|user|>reverse: ab<|assistant|>ba<|end|><|assistant|>" "$(cat "$stdout")"
printf '[{"role":"user","content":"\\u001b[2Jx"}]' >escape.json
expect_exit 0 "$pipestill" render escape.json --tokenizer bytes --renderer role_colon
expect_text "$stdout" '\u001b[2Jx'
if command -v script >/dev/null; then
  on_terminal() { script -qec "$1" /dev/null </dev/null; }
  command="'$pipestill' render answered.json --tokenizer bytes --renderer role_tokens 2>/dev/null"
  on_terminal "$command" >coloured
  expect_text coloured $'\e[1;32mba<|end|>\e[0m'
  NO_COLOR=1 on_terminal "$command" >plain
  expect_text plain "⟦ba<|end|>⟧"
  if grep -q $'\e' plain; then fail "NO_COLOR is not respected"; fi
  checked "colour on a terminal, and none where NO_COLOR is set"
else
  echo "not checked, for want of script(1): colour on a terminal"
fi
checked "render shows people what is trained"

# For programs
expect_exit 0 "$pipestill" render answered.json --tokenizer bytes --renderer role_tokens --json
cp "$stdout" answer.json
expect_json answer.json
expect_text answer.json '"weights_rle":[[0,'
cat >questions <<'E2'
{"id":"a","kind":"generation_prompt","renderer":"role_colon","renderer_options":{},"tokenizer":"x","messages":[{"role":"user","content":"é"}],"args":{"prefill":"b"},"expect":{}}

{"kind":"supervised","renderer":"role_tokens","messages":[{"role":"assistant","content":"a"}],"args":{"train_on_what":"customized"}}
{"kind":"parse_response","renderer":"role_tokens","response_tokens":[97,260]}
E2
"$pipestill" render --tokenizer bytes --jsonl <questions >"$stdout" 2>"$stderr" || fail "render --jsonl exits $?"
expect_equal "the number of answers" 3 "$(wc -l <"$stdout")"
expect_equal "a prompt as JSON" '{"text":"User: é\n\nAssistant:b","tokens":[85,115,101,114,58,32,195,169,10,10,65,115,115,105,115,116,97,110,116,58,98],"chunk_lengths":[5,5,10,1]}' \
  "$(sed -n 1p "$stdout")"
expect_equal "the kind of an error" '{"error_type":"AssertionError"' "$(sed -n 2p "$stdout" | cut -d, -f1)"
expect_equal "an answer as JSON" '{"message":{"role":"assistant","content":"a"},"termination":"stop_sequence"}' "$(sed -n 3p "$stdout")"
checked "render --jsonl answers a line with a line"

# What is wrong is one sentence
status=0
echo '{"kind":"properties"}' | "$pipestill" render --tokenizer bytes --jsonl >"$stdout" 2>"$stderr" || status=$?
expect_equal "the exit status of a line that is no question" 2 "$status"
expect_sentence "line 1: renderer is missing"
expect_exit 2 "$pipestill" render answered.json --tokenizer bytes
expect_sentence "--renderer or --model is missing"
expect_exit 2 "$pipestill" render --tokenizer bytes --renderer role_colon
expect_sentence "CONVERSATION is missing"
expect_exit 2 "$pipestill" render answered.json --tokenizer bytes --renderer role_kolon
expect_sentence 'pipestill: there is no renderer "role_kolon"; accepted: role_colon'
expect_exit 2 "$pipestill" render answered.json --tokenizer bytes --renderer role_colon --keep-thinking
expect_sentence "the renderer role_colon has no option strip_thinking_from_history"
expect_exit 2 "$pipestill" render answered.json --tokenizer bytes --model Qwen/Qwen9
expect_sentence "the organisation's model is unknown; name one"
expect_exit 2 "$pipestill" render missing.json --tokenizer bytes --renderer role_colon
expect_sentence missing.json
echo '[{"role":"user","content":7}]' >wrong.json
expect_exit 2 "$pipestill" render wrong.json --tokenizer bytes --renderer role_colon
expect_sentence "wrong.json: messages[0].content is neither a string nor a list of parts"
checked "wrong input is one sentence and exit status 2"
