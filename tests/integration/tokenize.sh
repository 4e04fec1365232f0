#!/usr/bin/env bash
# pipestill tokenize: lines of JSON there and back, a table for people, and bad lines by their number.
. "$(dirname "$0")/lib.sh"
cd "$scratch"

# A vocabulary of a few characters and merges; pieces are words with the space before them.
mkdir small
cat >small/tokenizer.json <<'JSON'
{"added_tokens": [{"id": 8, "content": "<s>", "special": true, "normalized": false}, {"id": 9, "content": "<n>", "special": false, "normalized": false}],
 "normalizer": null,
 "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
 "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}], "pair": [],
                    "special_tokens": {"<s>": {"id": "<s>", "ids": [8], "tokens": ["<s>"]}}},
 "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
 "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "Ġ": 2, "Ã": 3, "©": 4, "ab": 5, "Ġab": 6, "<": 7}, "merges": ["a b", "Ġ ab"]}}
JSON
tokenize=("$pipestill" tokenize --tokenizer small)

# lines STATUS FLAG...: stdin through --jsonl
lines() {
  local want=$1 status=0
  shift
  "${tokenize[@]}" --jsonl "$@" >"$stdout" 2>"$stderr" || status=$?
  [ "$status" -eq "$want" ] || fail "exit status $status instead of $want: tokenize --jsonl $*"
}
lines 0 < <(printf '%s\n' '{"text":"ab ab"}' '{"text":""}' '{"text":"é<s>a<n>"}')
expect_equal "encoded lines" '{"ids":[5,6]} {"ids":[]} {"ids":[3,4,8,0,9]}' "$(echo $(cat "$stdout"))"
cp "$stdout" ids.jsonl
lines 0 --decode <ids.jsonl
expect_equal "decoded lines" '{"text":"ab ab"} {"text":""} {"text":"é<s>a<n>"}' "$(echo $(cat "$stdout"))"
lines 0 --special-tokens < <(echo '{"text":"ab"}')
expect_equal "with special tokens" '{"ids":[8,5]}' "$(cat "$stdout")"
lines 0 --plain-text < <(echo '{"text":"<s>a<n>"}')
expect_equal "as plain text" '{"ids":[7,0,9]}' "$(cat "$stdout")"
lines 0 --decode < <(echo '{"ids":[4,99]}')
expect_equal "a part of a character, and an id that no token has" $'{"text":"\xef\xbf\xbd"}' "$(cat "$stdout")"
lines 0 </dev/null
[ ! -s "$stdout" ] || fail "no lines give lines"
checked "lines of texts become lines of ids, and back"

# bad LINE TEXT [FLAG...]: the second line is refused by its number, the first one was answered
bad() {
  lines 2 "${@:3}" < <(printf '%s\n' '{"text":"a","ids":[0]}' "$1")
  expect_sentence "stdin, line 2" "$2"
  expect_equal "the lines before a bad one" 1 "$(wc -l <"$stdout")"
}
bad '{' "ends too early"
bad '[]' "the key text"
bad '{"text":3}' "text must be a string"
bad '{"text":"a","text":"b"}' "given twice"
bad $'{"text":"\xff"}' "UTF-8"
bad '' "ends too early"
bad '{"ids":3}' "a list of token ids" --decode
bad '{"ids":[0,-1]}' "ids[1]" --decode
bad '{"text":"a"}' "the key ids" --decode
checked "a bad line is named by its number"

expect_exit 0 "${tokenize[@]}" "ab <s>"
expect_equal "the table" $'      id  piece\n       5  "ab"\n       2  " "\n       8  "<s>"\n3 tokens' "$(cat "$stdout")"
expect_exit 0 "${tokenize[@]}" --json "ab ab"
expect_equal "--json" '{"ids":[5,6],"text":"ab ab"}' "$(cat "$stdout")"
expect_json "$stdout"
expect_exit 0 "${tokenize[@]}" --decode "[5, 6]"
expect_equal "--decode" "ab ab" "$(cat "$stdout")"
expect_equal "stdin" '{"ids":[5,6],"text":"ab ab"}' "$(printf 'ab ab' | "${tokenize[@]}" --json)"
expect_exit 0 "$pipestill" tokenize --tokenizer bytes --json "hé"
expect_equal "bytes" '{"ids":[104,195,169],"text":"hé"}' "$(cat "$stdout")"
checked "a text is shown as a table, as JSON, and read back"

expect_exit 2 "$pipestill" tokenize --tokenizer nowhere a
expect_sentence nowhere tokenizer.json
expect_exit 2 "${tokenize[@]}" --decode "5 x"
expect_sentence '"x" is no token id'
expect_exit 2 "${tokenize[@]}" --jsonl a
expect_sentence "leave out TEXT"
expect_exit 2 "$pipestill" tokenize --tokenizer bytes --decode 300
expect_sentence "token 300"
printf '{"model":{"type":"WordPiece"}}' >small/tokenizer.json
expect_exit 2 "${tokenize[@]}" a
expect_sentence small/tokenizer.json model.type WordPiece
checked "what cannot be read is refused in a sentence"
