#!/usr/bin/env bash
# gyeol train lora and train full on a model so small that it learns within seconds: runs that are cut short, taken up,
# refused, spread over processes, and what they leave.
. "$(dirname "$0")/tap.sh"
export XDG_CACHE_HOME=$dir/cache OMP_WAIT_POLICY=passive LC_ALL=C.UTF-8
cd "$dir" || exit 1

# Posts of four sentences, one for each axis, that say + 0 or -; FROM to TO.
posts() {
    awk -v from="$1" -v to="$2" 'BEGIN {
        split("친구랑 놀아 신났다;집 앞을 지났다;혼자 있으니 편하다", ei, ";"); split("상상은 끝이 없다;물을 마셨다;하나씩 세어 봤다", sn, ";")
        split("마음이 아팠다;버스를 탔다;이유부터 따졌다", tf, ";"); split("되는대로 간다;손을 씻었다;계획대로 했다", jp, ";")
        split("+ 0 -", sign, " ")
        print "text\tmission\tuser\tkind\tei\tsn\ttf\tjp"
        for (i = from; i <= to; i++) {
            a = i % 3 + 1; b = int(i / 3) % 3 + 1; c = (i + int(i / 9)) % 3 + 1; d = (int(i / 3) + 2 * i) % 3 + 1
            printf "%s %s %s %s %d\t\tu%d\tclear\t%s\t%s\t%s\t%s\n", ei[a], sn[b], tf[c], jp[d], i, i, sign[a], sign[b], sign[c], sign[d]
        } }'
}
# A piece for each character of the files, bytes for all others.
tokenizer() {
    local bytes
    bytes=$(for i in {0..255}; do printf '<0x%02X>\n' "$i"; done)
    cat "$@" | jq -Rs --arg bytes "$bytes" '
        ([["<unk>", 0], ["<s>", 0], ["</s>", 0]] + ($bytes | split("\n") | map([., 0])) +
         (["▁상승", "▁유지", "▁하락"] | map([., -4])) +
         (explode | unique | map(select(. > 32)) | map([([.] | implode), -8]))) as $vocab |
        {added_tokens: [range(3) | {id: ., content: $vocab[.][0], special: true}],
         normalizer: {type: "Replace", pattern: {String: " "}, content: "▁"},
         model: {type: "Unigram", unk_id: 0, byte_fallback: true, vocab: $vocab}}'
}
labels() { awk -F'\t' -v OFS='\t' -v f="$1" 'NR > 1 { for (i = 5; i <= 8; i++) $i = f == "swap" ? ($i == "+" ? "-" : $i == "-" ? "+" : $i) : f } 1' "$2"; }

posts 1 24 >train.tsv
posts 28 45 >dev.tsv
posts 1 6 >few.tsv && labels swap few.tsv >swapped.tsv
cut -f1 train.tsv | tail -n +2 | sed 'p;p' >text.txt
cut -f1 dev.tsv | tail -n +2 >dev.txt
mkdir scratch
tokenizer train.tsv dev.tsv "$top/src/judge/prompt.c" >scratch/tokenizer.json
echo '{"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}' >scratch/tokenizer_config.json
jq '{architectures: ["LlamaForCausalLM"], model_type: "llama", vocab_size: (.model.vocab | length), hidden_size: 64,
    num_hidden_layers: 2, num_attention_heads: 4, num_key_value_heads: 2, head_dim: 16, intermediate_size: 128,
    hidden_act: "silu", max_position_embeddings: 2048, rope_theta: 10000, rms_norm_eps: 1e-5, tie_word_embeddings: true,
    bos_token_id: 1, eos_token_id: 2}' scratch/tokenizer.json >scratch/config.json

train() { "$gyeol" train "$@"; }
# The options of most runs here: eight steps, two evaluations.
lora=(lora --model base --data train.tsv --dev dev.tsv --batch 6 --steps 8 --eval-every 4 --lr 5e-3 --dropout 0.1)
posts=(full --scratch scratch --data train.tsv --dev dev.tsv --batch 6 --steps 8 --eval-every 4 --lr 3e-3)
text=(full --scratch scratch --data text.txt --dev dev.txt --seq 48 --batch 4 --steps 8 --eval-every 4 --lr 3e-3)
# What a run left, without times: weights byte for byte, figures, notes.
left() {
    sha256sum <"$(ls "$1"/adapter_model.safetensors "$1"/model.safetensors 2>/dev/null)"
    cut -d, -f1-5,7- "$1/metrics.csv"
    jq -S 'del(.training.seconds)' "$1/gyeol.json"
}
same() { # NAME DIR DIR
    if diff <(left "$2") <(left "$3") >diff.txt; then ok "$1"; else not_ok "$1" "$(head -12 diff.txt)"; fi
}
last_loss() { awk -F, 'NR > 1 && $3 != "" { x = $3 } END { print x }' "$1/metrics.csv"; }
dev_losses() { awk -F, 'NR > 1 && $7 != "" { print $7 }' "$1/metrics.csv"; }
below() { awk -v x="$1" -v y="$2" 'BEGIN { exit !(x != "" && x < y) }'; }
numbers() { tail -c +$((9 + $(od -An -tu8 -N8 "$1/adapter_model.safetensors"))) "$1/adapter_model.safetensors" | od -An -v -tf4 -w4; }
similar() { # NAME DIR DIR: all numbers of two adapters, as vectors
    local apart
    apart=$(paste <(numbers "$2") <(numbers "$3") | awk '{ far += ($1 - $2) ^ 2; sum += $1 ^ 2 } END { printf "%.1e of %d numbers", sqrt(far / sum), NR }')
    if below "${apart%% *}" 1e-3; then ok "$1 ($apart)"; else not_ok "$1" "apart by $apart"; fi
}

# ---- learning
train full --scratch scratch --data train.tsv --dev dev.tsv --out base --steps 200 --batch 12 --lr 3e-3 --warmup 10 --eval-every 200 --patience 0 >out 2>err ||
    { cat err; exit 1; }
if below "$(last_loss base)" 0.3; then ok "all weights of a model learn posts"; else not_ok "all weights of a model learn posts" "loss $(last_loss base)"; fi
like "... and what is alike is judged so on dev" "$(jq .training.metrics.direction_accuracy base/gyeol.json)" '^(0\.[789]|1)'
is "the model opens and is calibrated" "$("$gyeol" judge --model base --json '친구랑 놀아 신났다 물을 마셨다' | jq -r '[.judge.mode, (.axes | length)] | join(" ")')" "one-pass 4"
train lora --model base --data swapped.tsv --dev dev.tsv --out learned --steps 100 --targets all --lr 1e-2 --rank 16 --alpha 32 --dropout 0 --batch 6 \
    --eval-every 100 >out 2>err
if below "$(last_loss learned)" 0.05; then ok "an adapter learns the opposite to near-zero loss"; else not_ok "an adapter learns the opposite to near-zero loss" "loss $(last_loss learned)"; fi
like "the judge of the run is evaluated like any other" "$("$gyeol" eval --model learned swapped.tsv --json | jq -r .judge.mode)" one-pass

# ---- cut short and taken up: the same bytes
i=0
for kind in lora posts text; do
    declare -n options=$kind
    train "${options[@]}" --out "$kind.whole" --threads 1 >/dev/null 2>err || cat err
    refused "$kind: --stop-after leaves as an interrupt does" 1 'interrupted after step 4 of 8; go on with --resume' \
        bash -c '"$@" 2>&1 >/dev/null | grep ^gyeol: >&2; exit ${PIPESTATUS[0]}' _ "$gyeol" train "${options[@]}" --out "$kind.cut" --threads 1 --stop-after 4
    is "... without evaluating, and nothing but a checkpoint" "$(ls "$kind.cut") $(jq -r .numbers.evaluated "$kind.cut/checkpoint/state.json")" "checkpoint 18446744073709551615"
    refused "... and is not begun anew by mistake" 1 'unfinished run; want --resume' "$gyeol" train "${options[@]}" --out "$kind.cut"
    train "${options[@]}" --out "$kind.cut" --threads 3 --resume >/dev/null 2>err || cat err
    same "$kind: taken up it leaves the same bytes" "$kind.cut" "$kind.whole"
    is "... and no checkpoint" "$(ls "$kind.cut" | grep -c checkpoint)" 0
done
train "${lora[@]}" --out odd --stop-after 3 >/dev/null 2>&1
train "${lora[@]}" --out odd --stop-after 7 --resume >/dev/null 2>&1
train "${lora[@]}" --out odd --resume >/dev/null 2>&1
same "stopped twice, before and after the evaluation" odd lora.whole
train "${lora[@]}" --out undropped --dropout 0 >/dev/null 2>&1
if [ "$(sha256sum <undropped/adapter_model.safetensors)" != "$(sha256sum <lora.whole/adapter_model.safetensors)" ]; then ok "dropout 0 and 0.1 differ"; else not_ok "dropout 0 and 0.1 differ"; fi
train "${lora[@]}" --out undropped2 --dropout 0 --checkpointing --optimizer-bits 32 >/dev/null 2>&1
is "recomputing activations changes no bit" "$(sha256sum <undropped2/adapter_model.safetensors)" "$(sha256sum <undropped/adapter_model.safetensors)"

# ---- what --resume refuses
train "${lora[@]}" --out kept --stop-after 2 >/dev/null 2>&1
cp dev.tsv dev2.tsv && posts 46 46 | tail -1 >>dev2.tsv
cp train.tsv train2.tsv && posts 46 46 | tail -1 >>train2.tsv
resume() { # NAME REGEX OPTION...
    local name=$1 regex=$2
    shift 2
    refused "--resume: $name" 1 "$regex" "$gyeol" train "${lora[@]}" --out kept --resume "$@"
}
resume "another learning rate" 'state.json: --lr was 0.005, now 0.01: --resume changes nothing' --lr 1e-2
resume "several settings" '--rank was 8, now 4, --targets was q,k,v,o, now q, --seed was 1, now 2' --rank 4 --targets q --seed 2
resume "other training data" '--data has other content' --data train2.tsv
resume "other dev data" '--dev has other content: ' --dev dev2.tsv
resume "another base" '--model has other content' --model learned/../posts.whole
resume "another template" '--template was plain, now chatml' --template chatml
train "${text[@]}" --out kept.text --stop-after 2 >/dev/null 2>&1
refused "--resume: dev data dropped" 1 '--dev was given, now not given' \
    "$gyeol" train full --scratch scratch --data text.txt --seq 48 --batch 4 --steps 8 --eval-every 4 --lr 3e-3 --out kept.text --resume
refused "--resume: lora's run as full" 1 'method was lora, now full' "$gyeol" train "${posts[@]}" --out kept --resume
refused "--resume without a checkpoint" 1 'no checkpoint to go on from' "$gyeol" train "${lora[@]}" --out new --resume
state=$(ls kept/checkpoint/*.safetensors)
cp -r kept cut && truncate -s -100 "cut/${state#kept/}"
refused "--resume: a checkpoint cut short" 1 'state-0000000002.safetensors: ' "$gyeol" train "${lora[@]}" --out cut --resume
cp -r kept spoilt && jq '.numbers.step = "9"' kept/checkpoint/state.json >spoilt/checkpoint/state.json
refused "--resume: a step beyond the end" 1 'state.json: numbers.step is ' "$gyeol" train "${lora[@]}" --out spoilt --resume
train "${lora[@]}" --out kept --resume --save-every 1 >/dev/null 2>&1
same "what was refused did no harm" kept lora.whole

# ---- early stopping
train "${lora[@]}" --data swapped.tsv --out early --steps 60 --eval-every 2 --patience 2 --json >early.json 2>early.err
best=$(jq .best_step early.json) stopped=$(jq .steps early.json)
is "without getting better on dev a run stops early" "$(jq .stopped_early early.json) $((stopped - best))" "true 4"
is "... the best is what is kept" "$(jq .training.best_step early/gyeol.json) $(jq .training.metrics.dev_loss early/gyeol.json | cut -c1-8)" \
    "$best $(dev_losses early | sort -g | head -1 | cut -c1-8)"
train "${lora[@]}" --data swapped.tsv --out early2 --steps 60 --eval-every 2 --patience 2 --stop-after "$best" >/dev/null 2>&1
train "${lora[@]}" --data swapped.tsv --out early2 --steps 60 --eval-every 2 --patience 2 --resume >/dev/null 2>&1
same "... by a run that was cut short too" early2 early

# ---- runs that cannot learn
reject() { # NAME REGEX OPTION...: no line but one, nothing written
    local name=$1 regex=$2
    shift 2
    rm -rf none
    refused "$name" 1 "$regex" "$gyeol" train "${lora[@]}" --out none "$@"
    [ ! -e none ] || not_ok "$name: wrote $(ls -d none/*)"
}
head -1 train.tsv >empty.tsv
labels 0 train.tsv >kept.tsv
labels '?' train.tsv >unknown.tsv
awk -F'\t' -v OFS='\t' 'NR > 1 { $6 = "+" } 1' train.tsv >one.tsv
cut -f1-3 train.tsv >unlabelled.tsv
: >nothing.tsv
reject "no rows" 'empty.tsv: .*no ' --data empty.tsv
reject "an empty file" 'nothing.tsv' --data nothing.tsv
reject "one class" 'kept.tsv: .*every label of ei is 0' --data kept.tsv
reject "one class on one axis" 'one.tsv: .*every label of sn is \+' --data one.tsv
reject "no label known" 'unknown.tsv: .*no row has a label' --data unknown.tsv
reject "no columns of labels" 'unlabelled.tsv' --data unlabelled.tsv
reject "dev data of one class" 'kept.tsv: no row labelled \+ or - on ei' --dev kept.tsv
reject "dev data without rows" 'empty.tsv' --dev empty.tsv
reject "a file that is not there" 'nowhere.tsv: No such file' --data nowhere.tsv
reject "a model that is not there" 'nowhere' --model nowhere
refused "text for an adapter" 2 'text is for gyeol train full' "$gyeol" train "${lora[@]}" --out none --data text.txt
reject "a directory whose parent is missing" 'no/where' --out no/where
printf '' >empty.txt
refused "empty text" 1 'empty.txt' "$gyeol" train "${text[@]}" --out none --data empty.txt
printf '\377\376\n' >bytes.txt
refused "text that is not UTF-8" 1 'bytes.txt' "$gyeol" train "${text[@]}" --out none --data bytes.txt
refused "the linear judge is no base" 1 'linear.gyl' "$gyeol" train "${lora[@]}" --out none --model "$top/models/linear/linear.gyl"
refused "--scratch with fewer tokens than its tokenizer" 1 'a tokenizer of [0-9]+ tokens, but the model has 100' \
    bash -c 'cp -r scratch fewer && jq ".vocab_size = 100" scratch/config.json >fewer/config.json; "$@"' _ "$gyeol" train "${posts[@]}" --scratch fewer --out none
sed -i 's/"base": "[^"]*"/"base": "..\/posts.whole"/' learned/gyeol.json
refused "the adapter of another base" 1 'base' "$gyeol" judge --model learned '친구랑 놀아 신났다'
sed -i 's/"base": "[^"]*"/"base": "..\/base"/' learned/gyeol.json
train "${lora[@]}" --model learned --steps 1 --out over >/dev/null 2>&1
is "a judge directory lends its base, and the adapter is a fresh one" "$(jq -r .base over/gyeol.json)" ../base

# ---- a run that diverges
blown=(lora --model base --data train.tsv --dev dev.tsv --batch 6 --steps 60 --eval-every 1 --save-every 1 --patience 0 --lr 10 --alpha 1e6 --targets all --clip 0 --warmup 0 --schedule constant)
train "${blown[@]}" --out blown >out 2>err
is "an absurd learning rate ends a run" "$?" 1
like "... in one clear line" "$(tail -1 err)" 'gradient of step [0-9]+ is .*diverged; blown/checkpoint holds step [0-9]+, want a lower --lr'
is "... and the last checkpoint is whole" "$(train "${blown[@]}" --out blown --resume 2>&1 | grep -c '^going on after step\|diverged')" 2

# ---- memory
if [[ -z ${SHORT:-} ]]; then
    refused "a run that cannot fit says what would" 1 'would take .* of memory, but .* are available; (--checkpointing|--batch [0-9]+|--checkpointing --batch [0-9]+) would take ' \
        bash -c 'ulimit -v 600000 && exec "$@"' _ "$gyeol" train "${posts[@]}" --data "$top/data/posts/train.tsv" --batch 2048 --out none --threads 1
else
    skip "a run that cannot fit" "sanitizers reserve more than any limit"
fi

# ---- signals
for signal in TERM INT; do
    env --default-signal=$signal "$gyeol" train "${lora[@]}" --out "sig$signal" --steps 4000 --patience 0 --eval-every 4000 >/dev/null 2>err &
    pid=$!
    for _ in {1..600}; do grep -q '^step 10/' err && break; sleep 0.05; done
    kill -s $signal $pid
    wait $pid
    is "SIG$signal ends a run" "$?" 1
    like "... with a checkpoint" "$(tail -1 err)" 'interrupted after step [0-9]+ of 4000; go on with --resume'
    n=$(jq -r .numbers.step "sig$signal/checkpoint/state.json")
    train "${lora[@]}" --out "sig$signal" --steps 4000 --patience 0 --eval-every 4000 --resume --stop-after $((n + 1)) >/dev/null 2>err
    like "... that can be taken up" "$(tail -1 err)" "interrupted after step $((n + 1)) of 4000"
done

# ---- a full disk
if [ "$(id -u)" -eq 0 ] && mkdir small && mount -t tmpfs -o size=1m tmpfs small 2>/dev/null; then
    trap 'umount "$dir/small"; rm -rf "$dir"' EXIT
    train "${lora[@]}" --out small/run --stop-after 2 >/dev/null 2>&1
    before=$(cat small/run/checkpoint/* | sha256sum)
    head -c 4m /dev/zero >small/fill 2>/dev/null
    train "${lora[@]}" --out small/run --resume --save-every 1 >/dev/null 2>err
    is "a full disk while checkpointing" "$? $(grep -c '^gyeol: .*No space left' err)" "1 1"
    is "... leaves the last checkpoint, and nothing half written" "$(cat small/run/checkpoint/* | sha256sum)" "$before"
    rm small/fill
    train "${lora[@]}" --out small/run --resume >/dev/null 2>err || cat err
    cp -r small/run roomy
    sed -i 's|"base": "[^"]*"|"base": "../base"|' roomy/gyeol.json
    same "with room again it goes on to the same end" roomy lora.whole
    umount small
    trap 'rm -rf "$dir"' EXIT
else
    skip "a full disk while checkpointing" "needs root and mount"
fi

# ---- what is said
is "plain progress has no control characters" "$(train "${lora[@]}" --out plain 2>&1 >/dev/null | grep -c $'\r\|\033')" 0
train "${lora[@]}" --out plain >plain.out 2>plain.err
like "the plan" "$(sed -n 1p plain.err)" '^24 items, 18 dev; 8 steps, 4 an epoch of .* tokens; [0-9]+ parameters'
like "the forecast" "$(sed -n 2p plain.err)" '^forecast: .* of memory \(.* available\), .* s'
like "an evaluation" "$(grep '^step 4 ' plain.err)" 'epoch 1.00  loss [0-9.]+  dev loss [0-9.]+  direction [0-9.]+  meaningful [0-9.]+  unneeded [0-9.]+'
like "the last step" "$(grep '^step 8/8' plain.err)" 'loss [0-9.]+  lr [0-9.e+-]+  norm [0-9.]+  [0-9]+ tokens/s'
like "the result" "$(cat plain.out)" '^plain written: step [48] of 8, .* of training; dev loss [0-9.]+, direction accuracy'
if script -qec true /dev/null >/dev/null 2>&1; then
    script -qec "'$gyeol' train ${lora[*]} --out terminal" /dev/null >terminal.err 2>&1 </dev/null
    like "a terminal sees every step on one line" "$(tr '\r' '\n' <terminal.err | grep -c 'step [1-8]/8')" '^[1-8]$'
else
    skip "a terminal sees every step on one line" "needs script(1)"
fi

# ---- several processes
several=$build/mpi/gyeol
if [ -x "$several" ] && command -v mpirun >/dev/null; then
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 ASAN_OPTIONS=detect_leaks=0 OMP_NUM_THREADS=1
    spread=(--batch 3 --accumulate 4 --dropout 0.1)
    mpi() { timeout 300 mpirun --oversubscribe --bind-to none -n 2 "$several" train "$@"; }
    train "${lora[@]}" --out alone "${spread[@]}" >/dev/null 2>err || cat err
    mpi "${lora[@]}" --out both "${spread[@]}" >both.out 2>both.err || cat both.err
    similar "two processes do what one does, up to rounding" alone both
    train "${lora[@]}" --out f32 --compute f32 >/dev/null 2>err || cat err
    mpi "${lora[@]}" --out halves --compute f32 >/dev/null 2>err || cat err
    similar "... one pass between them too" f32 halves # in bf16 a gradient of halves rounds otherwise
    is "... and write once" "$(grep -c written both.out) $(grep -c '^step 8/8' both.err)" "1 1"
    mpi "${lora[@]}" --out both.cut "${spread[@]}" --stop-after 4 >/dev/null 2>&1
    mpi "${lora[@]}" --out both.cut "${spread[@]}" --resume >/dev/null 2>err || cat err
    same "... and can be cut short" both.cut both
    mpi "${lora[@]}" --out both.cut "${spread[@]}" --stop-after 4 >/dev/null 2>&1
    refused "--resume by another number of processes" 1 'processes was 2, now 1' "$gyeol" train "${lora[@]}" --out both.cut "${spread[@]}" --resume
else
    skip "two processes do what one does" "no Open MPI (libopenmpi-dev, openmpi-bin)"
fi
finish
