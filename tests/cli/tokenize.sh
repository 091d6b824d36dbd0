#!/usr/bin/env bash
# gyeol model tokenize: the contract of its output, and refusals. What the ids are is tests/test_tokenizer*.c.
source "$(dirname "${BASH_SOURCE[0]}")/tap.sh"
cd "$dir" || exit 1

cat >tokenizer.json <<'EOF'
{"added_tokens": [{"id": 9, "content": "<s>", "special": true}],
 "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2, "\n": 3, "\r": 4, "<": 5, "s": 6, ">": 7, "가": 8},
           "merges": ["a b"]}}
EOF
tok() { "$gyeol" model tokenize "$@"; }

is "ids of a text" "$(tok . 'abba가')" "2 1 0 8"
is "--ids-only is the same" "$(tok . 'abba가' --ids-only)" "2 1 0 8"
is "the file itself" "$(tok tokenizer.json ab)" "2"
is "standard input without an argument" "$(printf 'ab' | tok .)" "2"
is "standard input is one text, byte for byte" "$(printf 'ab\r\na\n' | tok . -)" "2 4 3 0 3"
is "nothing gives an empty line" "$(printf '' | tok . - | od -An -c | tr -d ' ')" '\n'
is "an empty argument too" "$(tok . '' | od -An -c | tr -d ' ')" '\n'
is "one text per line" "$(printf 'ab\n\nba\r\n<s>' | tok . - --lines | tr '\n' '|')" "2||1 0 4|5 6 7|"
is "a break at the end begins no line" "$(printf 'ab\n' | tok . - --lines | tr '\n' '|')" "2|"
is "no lines of nothing" "$(printf '' | tok . - --lines | wc -c)" 0
is "control tokens are text" "$(tok . 'a<s>b')" "0 5 6 7 1"
is "unless asked for" "$(tok . 'a<s>b' --special)" "0 9 1"
is "a NUL ends nothing" "$(printf 'a\0<' | tok . -)" "0 5"
is "--json" "$(tok . 'ab<s>' --special --json | jq -c .)" \
    '{"tokenizer":"BPE","vocabulary":10,"texts":[{"ids":[2,9],"pieces":["ab","<s>"]}]}'
is "--json of lines" "$(printf 'a\nb\n' | tok . - --lines --json | jq -c '[.texts[].ids]')" '[[0],[1]]'

refused "text that is not UTF-8" 1 'text: not UTF-8 at offset 1' tok . "$(printf 'a\377')"
refused "a line that is not UTF-8" 1 'line 2: text: not UTF-8 at offset 0' bash -c "printf 'a\n\377\n' | '$gyeol' model tokenize . - --lines"
refused "no model" 2 'want MODEL' tok
refused "two texts" 2 'want MODEL' tok . a b
refused "a model that is not there" 1 'none: No such file' tok none a
mkdir empty
refused "a folder without a tokenizer" 1 'empty: no tokenizer there: want tokenizer.json' tok empty a
printf 'hello' >hello
refused "a file that is none" 1 'hello' tok hello a
printf '{"model":{"type":"BPE","vocab":{"a":0},"merges":["a a"]}}' >bad.json
refused "a tokenizer that contradicts itself" 1 'bad.json: model: merges|bad.json: merge 0: "aa" is not in the vocabulary' tok bad.json a
printf '{"pre_tokenizer":{"type":"Foo"},"model":{"type":"BPE","vocab":{"a":0},"merges":[]}}' >foo.json
refused "a step that is not supported, by name" 1 'pre_tokenizer: type "Foo" is not supported' tok foo.json a

mkdir judge
printf '{"base": "../tokenizer.json"}' >judge/gyeol.json
is "a judge directory: its base's tokenizer" "$(tok judge abb)" "2 1"

# One word of 60 KB, and 1 MB: seconds if the time grew with the square.
head -c 60000 /dev/zero | tr '\0' a >word
is "a long word" "$(timeout 5 "$gyeol" model tokenize . - <word | wc -w)" 60000
head -c 1000000 /dev/zero | sed 's/\x0/ab/g' >words
is "a longer one of merges" "$(timeout 10 "$gyeol" model tokenize . - <words | wc -w)" 1000000

hcx=$top/../shared/tokenizers/hyperclovax
if [ -d "$hcx" ]; then
    is "HyperCLOVAX" "$(tok "$hcx" '안녕 너무')" "103221 100889 109949 167 91834"
    is "HyperCLOVAX in decomposed Hangul" \
        "$(tok "$hcx" "$(printf '\341\204\213\341\205\241\341\206\253\341\204\202\341\205\247\341\206\274')")" "$(tok "$hcx" '안녕')"
    is "HyperCLOVAX, a long word" "$(timeout 20 "$gyeol" model tokenize "$hcx" - <words | wc -l)" 1
else
    skip "HyperCLOVAX" "../shared/tokenizers is not there"
fi
finish
