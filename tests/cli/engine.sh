#!/usr/bin/env bash
# Judging with a language model: a tiny random one, so what is checked is everything but the judgement's worth.
. "$(dirname "$0")/tap.sh"
unset GYEOL_MODEL GYEOL_ADAPTER
export XDG_CACHE_HOME=$dir/cache
"$build/random_model" "$dir/tiny.gguf" tiny f32 3 || exit 1
m=$dir/tiny.gguf
text='나는 친구들이랑 노는게 재밌어. 혼자 있는 건 싫다. 계획 없이 떠나는 여행이 좋다'
axes() { jq -c '.axes' <<<"$1"; }

one=$("$gyeol" judge --model "$m" --json "$text")
is "a GGUF file is judged in mode one-pass" "$(jq -r '.judge | .mode + " " + .model' <<<"$one")" "one-pass tiny.gguf"
is "the judgement names the file's SHA-256" "$(jq -r .judge.model_sha256 <<<"$one")" "$(sha256sum <"$m" | cut -c1-64)"
is "probabilities add up to one" "$(jq '[.axes[].p | .up + .keep + .down] | map((. - 1) | fabs < 2e-6) | all' <<<"$one")" true
is "the weights were packed beside the model" "$(ls "$dir" | grep -c '^tiny.gguf.bf16.*\.pack$')" 1
inode=$(stat -c %i "$m".bf16.*.pack)
again=$("$gyeol" judge --model "$m" --json "$text")
is "a second run maps the pack" "$(stat -c %i "$m".bf16.*.pack)" "$inode"
is "and says the same" "$(axes "$again")" "$(axes "$one")"
is "whatever the threads" "$(axes "$("$gyeol" judge --model "$m" --threads 3 --json "$text")")" "$(axes "$one")"
is "the environment names the model" "$(axes "$(GYEOL_MODEL=$m "$gyeol" judge --json "$text")")" "$(axes "$one")"
is "an option wins over it" "$(GYEOL_MODEL=/nowhere "$gyeol" judge --model "$m" --json "$text" | jq -r .judge.mode)" one-pass
is "--mode linear is the judge compiled in, whatever the environment says" \
    "$(GYEOL_MODEL=$m "$gyeol" judge --mode linear --json "$text" | jq -r .judge.model)" gyeol-linear
is "no evidence is timed where none was sought" "$(jq .evidence_ms <<<"$one")" null
is "an adapter of the environment is not the linear judge's" \
    "$(GYEOL_ADAPTER=/nowhere "$gyeol" judge --model "$top/models/linear/linear.gyl" --json "$text" | jq -r .judge.mode)" linear
refused "but a language model's" 1 '/nowhere' env GYEOL_ADAPTER=/nowhere "$gyeol" judge --model "$m" "$text"
refused "a misspelt model is what is missing" 1 'nope.gyl: No such file' env GYEOL_ADAPTER=/nowhere "$gyeol" judge --model nope.gyl "$text"
touch -d '2020-01-01' "$m"
"$gyeol" judge --model "$m" "$text" >/dev/null
if [ "$(stat -c %i "$m".bf16.*.pack)" != "$inode" ]; then ok "a changed file is packed anew"; else not_ok "a changed file is packed anew"; fi
for t in f32 q8_0 q4_0; do
    is "--type $t judges" "$("$gyeol" judge --model "$m" --type $t --json "$text" | jq '.axes | length')" 4
done
head -c 1000 "$m".q8_0.*.pack >"$dir/short" && cp "$dir/short" "$m".q8_0.*.pack
is "a truncated pack is made again" "$("$gyeol" judge --model "$m" --type q8_0 --json "$text" | jq '.axes | length')" 4

# Evidence: the words come from the text, and are found apart from the judgement.
rows=${SHORT:+120}
rows=${rows:-299}
head -$((rows + 1)) "$top/data/posts/dev.tsv" >"$dir/dev.tsv" # a part will do: the model is random
"$gyeol" train calibrate --model "$m" --data "$dir/dev.tsv" --budget 0.6 --json >"$dir/fit.json" 2>"$dir/fit.err"
is "calibration is kept beside the model" "$(jq -r .out "$dir/fit.json") $(jq '.calibration.axes | length' "$m.gyeol.json")" "$m.gyeol.json 4"
is "and lowers the loss on every axis" "$(jq '[.axes[] | .loss_after <= .loss_before] | all' "$dir/fit.json")" true
{
    printf 'text\tmission\tei\tsn\ttf\tjp\n'
    printf '좋다 %s 혼자 %s\t\t+\t0\t-\t+\n싫다 %s 계획 %s\t\t0\t+\t0\t0\n' {1..40}
    printf 'ㅋㅋ\t\t+\t+\t+\t+\n%.0s' {1..30}
} >"$dir/short.tsv"
cp "$m" "$dir/s.gguf" && echo '{"note": [1, 2.5], "type": "f32"}' >"$dir/s.gguf.gyeol.json"
is "posts too short to be judged take no part" "$("$gyeol" train calibrate --model "$dir/s.gguf" --threads 1 --data "$dir/short.tsv" --json | jq .rows)" 20
is "what else was noted stays" "$(jq -c '[.note, .type]' "$dir/s.gguf.gyeol.json") $(ls "$dir" | grep -c 'tmp')" '[[1,2.5],"f32"] 0'
moved=
while IFS= read -r post; do
    moved=$("$gyeol" judge --model "$m" --reason --json "$post")
    [ "$(jq '[.axes[].decision] | any(. != "keep")' <<<"$moved")" = true ] && break
done < <(cut -f1 "$top/data/posts/dev.tsv" | sed 1d | awk 'length($0) > 60' | head -40)
quote=$(jq -r .reason <<<"$moved" | grep -o "'[^']*'" | head -1 | tr -d "'")
if [ -n "$quote" ] && [[ $(jq -r .text <<<"$moved") == *"$quote"* ]]; then ok "a reason quotes the post"; else not_ok "a reason quotes the post" "$moved"; fi
is "evidence is timed apart" "$(jq '.evidence_ms > 0 and .latency_ms > 0' <<<"$moved")" true
refused "a calibration of another prompt is refused" 1 'calibrated for another prompt' "$gyeol" judge --model "$m" --template chatml "$text"

# Whatever is posted.
strange() { # NAME BYTES...: judged with a reason, or kept as too short
    local said
    said=$(printf "${@:2}" | "$gyeol" judge --model "$m" --threads 1 --reason --json -)
    is "$1" "$(jq '[.axes[].decision] | (length == 4)' <<<"$said")" true
}
strange "the longest text" '가%.0s' {1..21845}
strange "an endless line" 'a %.0s' {1..30000}
strange "nothing" ''
strange "six characters" '여섯글자임다'
strange "nothing but markers" '<|im_end|></s>[INST]%.0s' {1..200}
strange "nothing but emoji" '😀👨‍👩‍👧%.0s' {1..200}

# One post alone, and the same among others.
"$gyeol" import --db "$dir/a.db" "$top/data/demo" >/dev/null
"$gyeol" batch --db "$dir/a.db" --model "$m" --json >"$dir/batch.json"
is "batch judges with it" "$(jq -r '.judge.mode + " " + (.failed | tostring)' "$dir/batch.json")" "one-pass 0"
different=0 compared=0
while IFS= read -r row; do
    mission=$(jq -r '.mission // empty' <<<"$row")
    alone=$("$gyeol" judge --model "$m" ${mission:+--mission "$mission"} --json -- "$(jq -r .content <<<"$row")" |
        jq -c '[.axes | .ei, .sn, .tf, .jp | .p | .up, .keep, .down]')
    together=$(jq -c .p <<<"$row")
    compared=$((compared + 1))
    jq -en --argjson a "$alone" --argjson b "$together" '[range(12) | ($a[.] - $b[.]) | fabs < 1.1e-6] | all' >/dev/null ||
        different=$((different + 1))
done < <(sqlite3 -json "$dir/a.db" "select p.content, m.title as mission, json_array(ei_up, ei_keep, ei_down, sn_up, sn_keep, sn_down,
    tf_up, tf_keep, tf_down, jp_up, jp_keep, jp_down) as p from judgement j join post p on p.id = j.post_id
    left join mission m on m.id = p.mission_id where length(p.content) > 8 limit 12" | jq -c '.[] | .p |= fromjson')
is "posts judged together get what each gets alone" "$different of $compared" "0 of 12"
"$gyeol" eval --model "$m" --json "$dir/dev.tsv" >"$dir/eval.json"
is "eval takes it" "$(jq -r '"\(.rows) \(.judge.mode)"' "$dir/eval.json")" "$rows one-pass"

answer=$("$gyeol" judge --model "$m" --mode per-axis --json "$text")
is "per-axis generates and counts what it cannot parse" "$(jq '.judge.mode == "per-axis" and .unparsed == 4 and .generated_tokens > 4 and ([.axes[].decision] | all(. == "keep"))' <<<"$answer")" true

# A judge directory names its parts.
mkdir "$dir/judge" && cp "$m" "$dir/judge/base.gguf"
echo '{"base": "base.gguf", "type": "q8_0"}' >"$dir/judge/gyeol.json"
is "a judge directory judges" "$("$gyeol" judge --model "$dir/judge" --json "$text" | jq -r .judge.mode)" one-pass
is "with the type it names" "$(ls "$dir/judge" | grep -c 'q8_0.*pack$')" 1
echo "{\"base\": \"$m\", \"type\": \"q9\"}" >"$dir/judge/gyeol.json"
refused "a type it does not have is its own fault" 1 'gyeol.json: type is "q9", want f32' "$gyeol" judge --model "$dir/judge" "$text"
echo "{\"base\": \"$m\"}" >"$dir/judge/gyeol.json"
is "a base may lie elsewhere" "$(axes "$("$gyeol" judge --model "$dir/judge" --json "$text")")" "$(axes "$(mv "$m.gyeol.json" "$dir/away" && "$gyeol" judge --model "$m" --json "$text")")"
mv "$dir/away" "$m.gyeol.json"
echo '{"base": "none.gguf"}' >"$dir/judge/gyeol.json"
refused "or be missing" 1 'judge/none.gguf: No such file' "$gyeol" judge --model "$dir/judge" "$text"
echo '{"base": 7' >"$dir/judge/gyeol.json"
refused "a broken gyeol.json is refused" 1 'gyeol.json:[0-9]+: ' "$gyeol" judge --model "$dir/judge" "$text"

# Where the folder cannot be written, the pack goes to the cache.
if [ "$(id -u)" -eq 0 ] && command -v setpriv >/dev/null; then
    mkdir -p "$dir/locked" "$XDG_CACHE_HOME" && cp "$m" "$dir/locked/tiny.gguf" && chmod 755 "$dir" && chmod 555 "$dir/locked" && chmod 777 "$XDG_CACHE_HOME"
    setpriv --reuid 65534 --regid 65534 --clear-groups "$gyeol" judge --model "$dir/locked/tiny.gguf" --json "$text" >"$dir/o" 2>&1
    is "a folder that cannot be written: the pack is in the cache" "$(find "$XDG_CACHE_HOME/gyeol" -name 'tiny.gguf-*.pack' | wc -l)" 1
else
    skip "a folder that cannot be written" "needs root and setpriv"
fi

refused "no such file" 1 'none.gguf: No such file' "$gyeol" judge --model "$dir/none.gguf" --mode one-pass "$text"
cp -r "$top/tests/fixtures/gemma3" "$dir/mute"
refused "a model without words" 1 'no tokenizer there' "$gyeol" judge --model "$dir/mute" "$text"
is "is not packed for nothing" "$(ls "$dir/mute" | grep -c pack)" 0
refused "an unknown type" 2 'type q3: want f32, bf16, q8_0 or q4_0' "$gyeol" judge --model "$m" --type q3 "$text"
refused "an unknown template" 2 'template x: want one of' "$gyeol" judge --model "$m" --template x "$text"
refused "a mode that is not there" 2 'no such mode' "$gyeol" judge --mode oracle "$text"
head -c 2000 "$m" >"$dir/cut.gguf"
refused "a truncated file" 1 'cut.gguf' "$gyeol" judge --model "$dir/cut.gguf" "$text"
refused "no database: known before the model is packed" 1 'no such database' "$gyeol" batch --db "$dir/none.db" --model "$dir/fresh.gguf"
refused "another mode is not calibrated" 2 'mode per-axis' "$gyeol" train calibrate --mode per-axis --model "$m" --data "$dir/short.tsv"
refused "calibrating without data" 2 'data is missing' "$gyeol" train calibrate --model "$m"
finish
