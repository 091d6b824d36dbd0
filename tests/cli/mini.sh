#!/usr/bin/env bash
# The language model compiled in: with a stand-in that is the default (build/standin), and the one that ships.
. "$(dirname "$0")/tap.sh"
unset GYEOL_MODEL GYEOL_ADAPTER
export XDG_CACHE_HOME=$dir/cache
standin=$build/standin/gyeol
post='나는 친구들이랑 노는게 재밌어. 혼자 있는 건 싫다. 계획 없이 떠나는 여행이 좋다'
axes() { jq -c .axes <<<"$1"; }

# Files and the bytes compiled in are one judge. A copy: judging by files leaves a pack beside them.
one_judge() { # NAME GYEOL FOLDER: same hashes, same verdicts
    local files=$dir/$1 in out row rows
    rows=$(head -30 "$top/data/posts/dev.tsv" | tail -n +2 | cut -f1)
    mkdir "$files" && cp "$3/mini.gguf" "$3/gyeol.json" "$files"
    in=$("$2" judge --mode one-pass --json --reason "$post")
    out=$("$2" judge --model "$files" --json --reason "$post")
    is "$1: the hash is the file's" "$(jq -r .judge.model_sha256 <<<"$in")" "$(sha256sum <"$files/mini.gguf" | cut -c1-64)"
    is "$1: files and compiled in are the same model" "$(jq -c '.judge | del(.model)' <<<"$in")" "$(jq -c '.judge | del(.model)' <<<"$out")"
    while IFS= read -r row; do "$2" judge --mode one-pass --json --reason -- "$row" | jq -c '[.axes, .reason]'; done <<<"$rows" >"$dir/in"
    while IFS= read -r row; do "$2" judge --model "$files" --json --reason -- "$row" | jq -c '[.axes, .reason]'; done <<<"$rows" >"$dir/out"
    is "$1: and say the same" "$(sort -u "$dir/in" | wc -l) $(sha256sum <"$dir/in")" "$(wc -l <<<"$rows") $(sha256sum <"$dir/out")"
    cp "$3/mini.gguf" "$files/alone.gguf"
    if [ "$(axes "$in")" != "$(axes "$("$2" judge --model "$files/alone.gguf" --json "$post")")" ]; then ok "$1: calibrated"
    else not_ok "$1: calibrated" "the same without gyeol.json: $(axes "$in")"; fi
}

# The stand-in, where it is the default.
before=$(ls "$build/standin")
json=$("$standin" judge --json "$post")
is "the default is the language model" "$(jq -r '.judge | .mode + " " + .model' <<<"$json")" "one-pass gyeol-mini"
is "... whatever the threads" "$(axes "$("$standin" judge --threads 3 --json "$post")")" "$(axes "$json")"
is "... in another type" "$("$standin" judge --type f32 --json "$post" | jq '[.axes[].p | .up + .keep + .down | . - 1 | fabs < 2e-6] | all')" true
is "... asked per axis" "$("$standin" judge --mode per-axis --json "$post" | jq -c '[.judge.mode, .judge.model, .unparsed]')" '["per-axis","gyeol-mini",4]'
is "an adapter of the environment is a named model's" "$(axes "$(GYEOL_ADAPTER=/nowhere "$standin" judge --json "$post")")" "$(axes "$json")"
refused "an adapter by name is looked for" 1 '/nowhere' "$standin" judge --adapter /nowhere "$post"
is "--mode linear is the linear judge of any build" "$("$standin" judge --mode linear --json "$post" | jq -c '[.judge, .axes]')" \
    "$("$gyeol" judge --mode linear --json "$post" | jq -c '[.judge, .axes]')"
is "a file of train linear is judged as one" "$("$standin" judge --model "$top/models/linear/linear.gyl" --json "$post" | jq -r .judge.mode)" linear
one_judge stand-in "$standin" "$build/standin"
"$standin" import --db "$dir/a.db" "$top/data/demo" >/dev/null
is "batch judges with it" "$("$standin" batch --db "$dir/a.db" --json | jq -c '[.judged, .failed, .judge.model]')" '[31,0,"gyeol-mini"]'
head -100 "$top/data/posts/dev.tsv" >"$dir/dev.tsv"
like "eval --against builtin is it" "$("$standin" eval "$dir/dev.tsv" --against builtin | tail -1)" '^These 99 rows are not enough to tell'
is "eval --against linear is not" "$("$standin" eval "$dir/dev.tsv" --against linear --json | jq '.measures | length > 0')" true
refused "it is calibrated already" 2 '\-\-model is missing' "$standin" train calibrate --data "$dir/dev.tsv"
is "nothing is packed or cached for it" "$(ls "$build/standin") $(find "$XDG_CACHE_HOME" 2>/dev/null | wc -l)" "$before 0"

# What ships.
if [ -e "$top/models/mini/mini.gguf" ]; then
    one_judge mini "$gyeol" "$top/models/mini"
else
    for mode in one-pass per-axis; do
        refused "a build that holds none says so: $mode" 1 'this build holds no language model; name one' "$gyeol" judge --mode $mode text
    done
fi
finish
