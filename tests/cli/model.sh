#!/usr/bin/env bash
# gyeol model info, logits, pack, merge: against the reference's numbers on tiny models of every family.
. "$(dirname "$0")/tap.sh"
unset GYEOL_MODEL GYEOL_ADAPTER
export XDG_CACHE_HOME=$dir/cache
fixtures=$top/tests/fixtures
ids=1,17,42,200,255,3,3,99,128,64,7,250,31,5,180,77,12,230,66,2,111,140,9,54

# The largest difference between two files of floats; "length" when they are not as long.
floats() { od -A n -v -w4 -t f4 "$1"; }
furthest() {
    paste <(floats "$1") <(floats "$2") | awk 'NF != 2 { print "length"; bad = 1; exit }
        { d = $1 - $2; if (d < 0) d = -d; if (!(d <= most)) most = d } END { if (!bad) printf "%.2g\n", most }'
}
near() { # NAME GOT WANT: within 2e-4
    local far; far=$(furthest "$2" "$3")
    if awk -v d="$far" 'BEGIN { exit !(d != "length" && d + 0 <= 2e-4) }'; then ok "$1"; else not_ok "$1" "differs by $far"; fi
}
logits() { "$gyeol" model logits "$@" --ids $ids --out "$dir/got" >/dev/null; }

# ---- logits
for m in llama_tied llama_untied llama_hcx llama31 mistral gemma2 gemma3 gemma3_layertypes; do
    "$gyeol" model logits "$fixtures/$m" --ids $ids --out "$dir/got" --hidden "$dir/hidden" >/dev/null
    near "logits of $m" "$dir/got" "$fixtures/$m/logits.bin"
    near "residual stream of $m" "$dir/hidden" "$fixtures/$m/hidden_per_layer.bin"
    [ -e "$fixtures/$m/model.gguf" ] || continue
    logits "$fixtures/$m/model.gguf"
    near "logits of $m/model.gguf" "$dir/got" "$fixtures/$m/logits_gguf.bin"
done
while read -r adapter base type; do
    logits "$fixtures/$base" --adapter "$fixtures/$adapter" --type "$type"
    near "logits of $base with $adapter, $type" "$dir/got" "$fixtures/$adapter/logits.bin"
done <<'END'
lora_llama llama_tied f32
lora_llama_all llama_untied f32
lora_gemma2 gemma2 f32
lora_gemma3 gemma3 f32
qlora_llama llama_tied nf4
END
m=$fixtures/gemma3
logits "$m"
cp "$dir/got" "$dir/want"
is "standard output has the same" "$("$gyeol" model logits "$m" --ids $ids | sha256sum)" "$(sha256sum <"$dir/want")"
is "ids from standard input" "$(tr , '\n' <<<$ids | "$gyeol" model logits "$m" --ids - --threads 1 | sha256sum)" "$(sha256sum <"$dir/want")"
is "--json says what was written" "$("$gyeol" model logits "$m" --ids 5,6 --type q8_0 --out "$dir/got" --json | jq -c '[.tokens, .vocabulary, .type, .adapter]')" \
    '[2,256,"q8_0",null]'
is "... and that it is so long" "$(stat -c %s "$dir/got")" $((2 * 256 * 4))
for type in bf16 q8_0 q4_0; do
    logits "$m" --type $type
    far=$(furthest "$dir/got" "$dir/want")
    if awk -v d="$far" 'BEGIN { exit !(d > 1e-3 && d < 3) }'; then ok "--type $type rounds ($far)"; else not_ok "--type $type rounds" "by $far"; fi
done
# Several passes: 1,000 ids begin as 24 do, and the first 300 positions do not know of the rest.
long=$(awk -v ids=$ids 'BEGIN { n = split(ids, a, ","); for (i = 0; i < 1000; i++) printf "%s%d", i ? "," : "", i < n ? a[i + 1] : (i * 7919) % 256 }')
"$gyeol" model logits "$m" --ids "$long" --out "$dir/long" --hidden "$dir/long.hidden" >/dev/null
is "1,000 ids give as many rows" "$(stat -c %s "$dir/long")" $((1000 * 256 * 4))
is "the first rows are those of the short list" "$(head -c $((24 * 1024)) "$dir/long" | sha256sum)" "$(sha256sum <"$dir/want")"
"$gyeol" model logits "$m" --ids "$(cut -d, -f1-300 <<<"$long")" --out "$dir/got" --hidden "$dir/hidden" >/dev/null
is "... also across passes" "$(head -c $((300 * 1024)) "$dir/long" | sha256sum)" "$(sha256sum <"$dir/got")"
is "... in every layer" "$(tail -c $((1000 * 256)) "$dir/long.hidden" | head -c $((300 * 256)) | sha256sum)" "$(tail -c $((300 * 256)) "$dir/hidden" | sha256sum)"

refused "an id outside the vocabulary" 1 'token id 256, but the vocabulary .* is 0\.\.255' "$gyeol" model logits "$m" --ids 1,256
refused "an id that is none" 2 '"x7" is no token id' "$gyeol" model logits "$m" --ids 1,x7
refused "a negative id" 2 '"-1" is no token id' "$gyeol" model logits "$m" --ids 3,-1
refused "no ids" 2 'no token id' "$gyeol" model logits "$m" --ids ,
refused "without --ids" 2 'want a model and --ids' "$gyeol" model logits "$m"
refused "an unknown type" 2 '\-\-type q5_k: want' "$gyeol" model logits "$m" --ids 1 --type q5_k
refused "a missing model" 1 'No such file' "$gyeol" model logits "$dir/none" --ids 1
refused "an adapter as model" 1 'an adapter alone' "$gyeol" model logits "$fixtures/lora_llama" --ids 1
refused "an adapter of another shape" 1 'lora_B.weight is \[64, 4\], want \[128, 4\]' "$gyeol" model logits "$m" --adapter "$fixtures/lora_llama" --ids 1
refused "an adapter that is missing" 1 'No such file' "$gyeol" model logits "$m" --adapter "$dir/none" --ids 1
refused "logits that cannot be written" 1 'nowhere' "$gyeol" model logits "$m" --ids 1 --out /nowhere/x
if [ -w /dev/full ]; then
    refused "a full disk behind standard output" 1 'standard output' bash -c "'$gyeol' model logits '$m' --ids $ids >/dev/full"
else
    skip "a full disk behind standard output" "no /dev/full"
fi

# ---- judge directories
mkdir "$dir/judge"
cp -r "$fixtures/lora_llama" "$dir/judge/adapter"
cp "$fixtures/llama_tied/model.gguf" "$dir/judge/base.gguf"
echo '{"base": "base.gguf", "adapter": "adapter"}' >"$dir/judge/gyeol.json"
logits "$dir/judge"
near "a judge directory has its adapter on" "$dir/got" "$fixtures/lora_llama/logits.bin"
logits "$dir/judge" --adapter none
near "--adapter none takes it off" "$dir/got" "$fixtures/llama_tied/logits.bin"
sha=$(sha256sum <"$dir/judge/base.gguf" | cut -c1-64)
echo "{\"base_sha256\": \"$sha\"}" >"$dir/judge/adapter/gyeol.json"
logits "$dir/judge" && ok "an adapter made for this base" || not_ok "an adapter made for this base"
echo "{\"base_sha256\": \"${sha//[0-9]/7}\"}" >"$dir/judge/adapter/gyeol.json"
refused "an adapter made for another base" 1 'was made for a base of SHA-256' "$gyeol" model logits "$dir/judge" --ids 1
rm "$dir/judge/adapter/gyeol.json"
echo '{"base": "base.gguf",}' >"$dir/bad.json"
mkdir "$dir/damaged" && cp "$dir/bad.json" "$dir/damaged/gyeol.json"
refused "a damaged gyeol.json" 1 'gyeol.json' "$gyeol" model info "$dir/damaged"

# ---- pack
for m in llama_untied llama31 mistral gemma2 gemma3 gemma3_layertypes; do
    "$gyeol" model pack "$fixtures/$m" "$dir/f32.gguf" --type f32 >/dev/null 2>&1
    logits "$dir/f32.gguf"
    near "$m packed in f32" "$dir/got" "$fixtures/$m/logits.bin"
done
m=$fixtures/gemma2
"$gyeol" model pack "$m" "$dir/q8.gguf" --type q8_0 --json >"$dir/json" 2>"$dir/err"
is "pack --json says what was written" "$(jq -c '[.type, .tensors, .parameters, .tokenizer, .kept]' "$dir/json")" '["q8_0",46,214080,false,null]'
is "a model without tokenizer is packed with a note" "$(grep -c 'note: .* has no tokenizer' "$dir/err")" 1
is "the file is complete and alone" "$(ls "$dir" | grep -c '^q8\.gguf')" 1
logits "$m" --type q8_0
cp "$dir/got" "$dir/want"
logits "$dir/q8.gguf" --type q8_0
is "a model packed in q8_0 computes as one converted to it" "$(sha256sum <"$dir/got")" "$(sha256sum <"$dir/want")"
"$gyeol" model pack "$dir/q8.gguf" "$dir/again.gguf" --type q8_0 >/dev/null 2>&1
is "packing it again changes nothing" "$(sha256sum <"$dir/again.gguf")" "$(sha256sum <"$dir/q8.gguf")"
"$gyeol" model pack "$dir/q8.gguf" "$dir/q8.gguf" --type q4_0 >/dev/null 2>&1
is "a file can be packed over itself" "$("$gyeol" model info "$dir/q8.gguf" --json | jq -c '.tensors | map_values(.tensors)')" '{"f32":17,"q8_0":1,"q4_0":28}'

m=$fixtures/llama_tied
refused "pack without a type" 2 '\-\-type is missing' "$gyeol" model pack "$m" "$dir/x.gguf"
refused "pack with a type that cannot be written" 2 '\-\-type nf4: want f32' "$gyeol" model pack "$m" "$dir/x.gguf" --type nf4
refused "pack without a target" 2 'want a model and the file to write' "$gyeol" model pack "$m" --type f32
refused "pack onto a directory" 2 'is a directory' "$gyeol" model pack "$m" "$dir" --type f32
refused "pack where nothing can be written" 1 '/nowhere/x.gguf' "$gyeol" model pack "$m" /nowhere/x.gguf --type f32
head -c 20000 "$m/model.gguf" >"$dir/cut.gguf"
refused "a GGUF file cut short" 1 'cut.gguf: ' "$gyeol" model pack "$dir/cut.gguf" "$dir/x.gguf" --type f32
printf 'GGUF' >"$dir/head.gguf"
refused "four bytes of a GGUF file" 1 'head.gguf: ' "$gyeol" model info "$dir/head.gguf"
mkdir "$dir/shards" && cp "$m/config.json" "$dir/shards"
echo '{"weight_map": {"model.embed_tokens.weight": "model-00001-of-00002.safetensors"}}' >"$dir/shards/model.safetensors.index.json"
for action in "info" "logits --ids 1" "pack --type f32 $dir/x.gguf"; do
    set -- $action
    refused "missing shards: $1" 1 'model-00001-of-00002.safetensors: No such file' "$gyeol" model "$1" "$dir/shards" "${@:2}"
done
[ ! -e "$dir/x.gguf" ] && ok "what is refused writes nothing" || not_ok "what is refused writes nothing"
if [ "$(id -u)" -eq 0 ] && mkdir "$dir/small" && mount -t tmpfs -o size=200k tmpfs "$dir/small" 2>/dev/null; then
    trap 'umount "$dir/small"; rm -rf "$dir"' EXIT
    echo before >"$dir/small/x.gguf"
    refused "pack on a full disk" 1 'No space left' "$gyeol" model pack "$m" "$dir/small/x.gguf" --type f32
    is "... leaves what was there" "$(ls "$dir/small") $(cat "$dir/small/x.gguf")" "x.gguf before"
    refused "logits on a full disk" 1 'No space left' "$gyeol" model logits "$m" --ids "$long" --out "$dir/small/x" --hidden "$dir/small/h"
    is "... leave nothing" "$(ls "$dir/small")" x.gguf
else
    skip "pack on a full disk" "needs root and mount"
fi

# ---- merge
while read -r adapter base; do
    "$gyeol" model merge "$fixtures/$base" --adapter "$fixtures/$adapter" "$dir/merged.gguf" --type f32 >/dev/null 2>&1
    logits "$dir/merged.gguf"
    near "$adapter folded into $base" "$dir/got" "$fixtures/$adapter/logits.bin"
done <<'END'
lora_llama llama_tied
lora_llama_all llama_untied
lora_gemma2 gemma2
lora_gemma3 gemma3
END
"$gyeol" model merge "$dir/judge" "$dir/merged.gguf" >/dev/null 2>&1
is "a judge directory is merged with its adapter, in bf16" "$("$gyeol" model info "$dir/merged.gguf" --json | jq -c '.tensors | keys')" '["bf16","f32"]'
"$gyeol" model merge "$dir/judge" "$dir/merged.gguf" --type f32 >/dev/null 2>&1
logits "$dir/merged.gguf"
near "... in f32 to the same logits" "$dir/got" "$fixtures/lora_llama/logits.bin"
refused "merge without an adapter" 2 'want --adapter DIR' "$gyeol" model merge "$m" "$dir/x.gguf"
refused "merge of another base's adapter" 1 'lora_B.weight is' "$gyeol" model merge "$fixtures/gemma2" --adapter "$fixtures/lora_llama" "$dir/x.gguf"

# ---- info
info() { "$gyeol" model info "$@" --json; }
is "info of a directory" "$(info "$fixtures/gemma3" | jq -c '[.kind, .format, .architecture, .parameters, .shape.layers, .shape.vocabulary, .attention.sliding_window]')" \
    '["decoder","safetensors","gemma3",313280,6,256,8]'
is "info has the digest of the weights" "$(info "$fixtures/gemma3" | jq -r '.sha256, .files[0].sha256' | uniq)" "$(sha256sum <"$fixtures/gemma3/model.safetensors" | cut -c1-64)"
is "info says what each type takes" "$(info "$fixtures/gemma3" | jq -c '.memory | keys_unsorted, (.f32 > .bf16 and .bf16 > .q8_0 and .q8_0 > .q4_0)' | tr '\n' ' ')" \
    '["f32","bf16","q8_0","q4_0","nf4","kv_per_position"] true '
is "info of a GGUF file" "$(info "$fixtures/llama31/model.gguf" | jq -c '[.kind, .format, .name, .attention.rope.scaling]')" '["decoder","gguf","Llama31","factors"]'
is "info of a judge directory" "$(info "$dir/judge" | jq -c '[.kind, .judge.base, .adapter.r, .adapter.parameters]')" '["judge","base.gguf",4,5376]'
is "info of an adapter" "$(info "$fixtures/lora_llama_all" | jq -c '[.kind, .adapter.r, .adapter.use_rslora]')" '["adapter",4,true]'
is "info of a linear judge" "$(info "$top/models/linear/linear.gyl" | jq -r '.kind + " " + .sha256')" "linear $(sha256sum <"$top/models/linear/linear.gyl" | cut -c1-64)"
echo '{"model_type": "bert", "hidden_size": 32}' >"$dir/config.json"
mkdir "$dir/bert" && mv "$dir/config.json" "$dir/bert"
is "info of an encoder" "$(info "$dir/bert" | jq -c '[.kind, .runnable, .config.hidden_size]')" '["encoder",false,32]'
echo '{"model_type": "qwen2"}' >"$dir/bert/config.json"
is "info of what this program does not run" "$(info "$dir/bert" | jq -c '[.kind, .architecture, .runnable]')" '["other","qwen2",false]'
shared=$top/../shared/tokenizers
if [ -d "$shared" ]; then
    is "info of a vocabulary" "$(info "$shared/gpt-2/ggml-vocab-gpt-2.gguf" | jq -c '[.kind, .architecture]')" '["vocabulary","gpt2"]'
else
    skip "info of a vocabulary" "no ../shared"
fi
like "info for people" "$("$gyeol" model info "$fixtures/gemma3" | tr -s ' \n' ' ')" 'architecture gemma3 .* layers 6 .* kv_per_position 3072 \(3\.07 kB\)'
mkdir "$dir/empty"
refused "info of an empty directory" 1 'no model there' "$gyeol" model info "$dir/empty"
refused "info of a text" 1 'neither a GGUF file nor a linear judge' "$gyeol" model info "$top/README.md"
refused "info of nothing" 2 'want one path' "$gyeol" model info

# ---- verify
cp "$fixtures/llama_tied/model.gguf" "$dir/good.gguf"
is "--verify of a good file" "$(info "$dir/good.gguf" --verify | jq .verified)" true
bytes=$(stat -c %s "$dir/good.gguf")
cp "$dir/good.gguf" "$dir/nan.gguf"
printf '\377\377\377\377' | dd of="$dir/nan.gguf" bs=1 seek=$((bytes - 4)) conv=notrunc 2>/dev/null
refused "--verify of a file with a NaN" 1 'nan.gguf: output_norm.weight holds' "$gyeol" model info "$dir/nan.gguf" --verify
if "$build/random_model" "$dir/tiny.gguf" tiny f32 3 2>/dev/null && "$gyeol" judge --model "$dir/tiny.gguf" "나는 친구들이랑 노는게 재밌어" >/dev/null 2>&1; then
    pack=$(info "$dir/tiny.gguf" --verify | jq -r '.packs[0].path')
    [ -e "$pack" ] && ok "--verify reads packed weights too" || not_ok "--verify reads packed weights too" "$pack"
    printf '\125' | dd of="$pack" bs=1 seek=5000 conv=notrunc 2>/dev/null
    refused "--verify of damaged packed weights" 1 'checksum' "$gyeol" model info "$dir/tiny.gguf" --verify
else
    skip "--verify of packed weights" "no model to judge with"
fi

for c in "" info logits pack merge pull; do
    "$gyeol" model $c --help >"$dir/help" 2>&1 && [ -s "$dir/help" ] && ok "gyeol model $c --help" || not_ok "gyeol model $c --help"
done
refused "an unknown action" 2 'model' "$gyeol" model frob
finish
