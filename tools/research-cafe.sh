#!/usr/bin/env bash
# Research, never shipped: what posts labelled with their author's self-declared type add to a judge of data/posts.
#   tools/research-cafe.sh [linear | table | stack | prepare | lm | lm-table] ...      (default: linear table stack)
# TEXTS names the folder with cafe_train.tsv.xz and cafe_dev.tsv.xz, which are read there; everything made lies in
# WORK (default build/research/cafe), which git ignores, and a result that is there is not made again.
# docs/RESEARCH.md says what is done and what came out. lm trains from BASE, a folder with a pre-trained model.
set -euo pipefail
cd "$(dirname "$0")/.."
export LC_ALL=C.UTF-8
WORK=${WORK:-build/research/cafe} TEXTS=${TEXTS:-../shared/data} GYEOL=${GYEOL:-build/gyeol}
METHOD=${METHOD:-full} BASE=${BASE:-build/mini/base}
posts=data/posts/train.tsv dev=data/posts/dev.tsv test=data/posts/test.tsv
mkdir -p "$WORK"
for tool in "$GYEOL" jq xz openssl awk shuf sqlite3; do
    command -v "$tool" >/dev/null || { echo "research-cafe: $tool is missing" >&2; exit 1; }
done

made() { [ -s "$WORK/$1" ]; }
fresh() { # FILE COMMAND...: FILE is what the command prints, whole or not at all
    local file=$1
    shift
    made "$file" && return
    "$@" >"$WORK/$file.new"
    mv "$WORK/$file.new" "$WORK/$file"
}

# ---- the files ----

# The columns of data/posts. User a7 becomes cafe-a7, and an empty one stays empty.
as_posts() {
    awk -F '\t' -v OFS='\t' 'NR == 1 { for (i = 1; i <= NF; i++) c[$i] = i; print "text", "mission", "user", "kind", "ei", "sn", "tf", "jp"; next }
        { u = $c["user"]; print $c["text"], "", u == "" ? "" : "cafe-" u, "cafe", $c["ei"], $c["sn"], $c["tf"], $c["jp"] }'
}
# Coin tosses from a seed, as the manual of coreutils has them ("Sources of random data"). The stream ends when shuf has enough.
stream() { openssl enc -aes-128-ctr -K "$(printf %032x "$1")" -iv 0 -nosalt </dev/zero 2>/dev/null || true; }
draw() { # N SEED
    head -n 1 "$WORK/cafe.tsv"
    tail -n +2 "$WORK/cafe.tsv" | shuf -n "$1" --random-source=<(stream "$2")
}
sample() { fresh "cafe-$1-$2.tsv" draw "$1" "$2"; }
behind_posts() { # FILE
    cat "$posts"
    tail -n +2 "$1"
}
join() { fresh "posts-$1.tsv" behind_posts "$WORK/$1.tsv"; } # NAME: posts-NAME.tsv

# What the judge trained on posts alone says of weak rows (gyeol eval --errors: line, labels, decisions of the rows
# judged otherwise than labelled) makes two other files of labels:
#   self-NAME   the judge's decisions; the authors' types are not used
#   agree-NAME  the same, but a move that the author's type contradicts becomes ?
decisions() { # NAME
    "$GYEOL" eval --errors --model "$WORK/posts.gyl" "$WORK/$1.tsv" | awk -F '\t' -v OFS='\t' '$1 ~ /^[0-9]+$/ { print $1, $3 }'
}
labels() { # NAME self|agree
    awk -F '\t' -v OFS='\t' -v how="$2" 'NR == FNR { decided[$1] = $2; next } FNR == 1 { print; next }
        { for (a = 1; a <= 4 && FNR in decided; a++) {
              d = substr(decided[FNR], a, 1)
              $(4 + a) = how == "agree" && d != "0" && d != $(4 + a) ? "?" : d }
          print }' "$WORK/$1.decided" "$WORK/$1.tsv"
}
relabel() { # NAME self|agree
    fresh "$1.decided" decisions "$1"
    fresh "$2-$1.tsv" labels "$1" "$2"
}

# The rows of every tenth author who has a number (held), or all others (fit).
tenth() { awk -F '\t' -v held="$1" 'NR == 1 || ($3 ~ /0$/) == held' "$WORK/cafe.tsv"; }
unpacked() { xz -dc "$TEXTS/$1" | as_posts; }

prepare() {
    fresh cafe.tsv unpacked cafe_train.tsv.xz
    fresh cafe_dev.tsv unpacked cafe_dev.tsv.xz
    sample 20000 1
    join cafe-20000-1
}

# ---- the linear judge ----

fit() { # NAME DATA [OPTIONS]: NAME.gyl, calibrated on the posts' dev split like every other
    local name=$1 data=$2
    shift 2
    made "$name.gyl" || "$GYEOL" train linear --data "$data" --dev "$dev" --out "$WORK/$name.gyl" "$@" --json >"$WORK/$name.fit.json"
}
measure() { # NAME MODEL REFERENCE: of the test split and of cafe_dev, and each against the reference
    local on file
    for on in test cafe_dev; do
        file=$test
        [ $on = test ] || file=$WORK/cafe_dev.tsv
        fresh "$1.$on.json" "$GYEOL" eval --model "$2" "$file" --json
        fresh "$1.$on.against.json" "$GYEOL" eval --model "$2" --against "$3" "$file" --json
    done
}
arm() { # NAME DATA [OPTIONS]
    fit "$@"
    measure "$1" "$WORK/$1.gyl" "$WORK/posts.gyl"
}

# Learning rate, L2 and epochs for the weak labels alone: those with the highest mean AUC on the held-out authors of
# cafe_train. cafe_dev and the posts have no say.
grid() {
    local lr l2 epochs name
    for lr in 2 0.5 0.1; do for l2 in 1e-5 1e-4 1e-3; do for epochs in 3 10; do
        name=grid-$lr-$l2-$epochs
        fit "$name" "$WORK/fit.tsv" --lr $lr --l2 $l2 --epochs $epochs
        fresh "$name.json" "$GYEOL" eval --model "$WORK/$name.gyl" "$WORK/held.tsv" --json
        jq -r --arg o "--lr $lr --l2 $l2 --epochs $epochs" '"\(.overall.auc)\t\($o)"' "$WORK/$name.json"
    done; done; done
}
choose() {
    fresh held.tsv tenth 1
    fresh fit.tsv tenth 0
    fresh grid.tsv grid
    fresh chosen awk -F '\t' '$1 > best { best = $1; options = $2 } END { print options }' "$WORK/grid.tsv"
}

linear() {
    prepare
    arm posts "$posts"
    choose
    # shellcheck disable=SC2046
    arm cafe "$WORK/cafe.tsv" $(cat "$WORK/chosen")
    for n in 1000 5000 20000; do
        for seed in 1 2 3; do
            sample $n $seed
            join cafe-$n-$seed
            arm both-$n-$seed "$WORK/posts-cafe-$n-$seed.tsv"
        done
    done
    join cafe
    arm both-all "$WORK/posts-cafe.tsv"
    for seed in 1 2 3; do
        for how in self agree; do
            relabel cafe-20000-$seed $how
            join $how-cafe-20000-$seed
            arm $how-20000-$seed "$WORK/posts-$how-cafe-20000-$seed.tsv"
        done
    done
}

# ---- stacking: what the cafe judge knows that the posts' judge does not ----

# NAME SPLIT FILE: of each row its number and log p_up - log p_down on the four axes.
directions() {
    local in=$WORK/$1.$2.import db=$WORK/$1.$2.db
    rm -rf "$in" "$db"
    mkdir -p "$in"
    awk -F '\t' -v OFS='\t' -v missions="$in/missions.tsv" 'NR == 1 { for (i = 1; i <= NF; i++) c[$i] = i
              print "id", "title" >missions; print "id", "person", "mission", "content"; next }
            { m = $c["mission"]; if (m != "" && !(m in id)) { id[m] = ++n; print n, m >missions }
              print NR - 1, "one", m == "" ? "" : id[m], $c["text"] }' "$3" >"$in/posts.tsv"
    "$GYEOL" import --db "$db" "$in" >/dev/null
    "$GYEOL" batch --db "$db" --model "$WORK/$1.gyl" >/dev/null
    sqlite3 -readonly -separator $'\t' "$db" 'SELECT CAST(o.ext AS INTEGER), ln(j.ei_up / j.ei_down), ln(j.sn_up / j.sn_down),
        ln(j.tf_up / j.tf_down), ln(j.jp_up / j.jp_down) FROM judgement j JOIN post o ON o.id = j.post_id AND j.version = o.version
        WHERE j.counts = 1 AND min(j.ei_up, j.ei_down, j.sn_up, j.sn_down, j.tf_up, j.tf_down, j.jp_up, j.jp_down) > 0
        ORDER BY 1'
}
# Logistic regression on the dev rows that move, by Newton's method: up or down from 1, the posts' judge's log-odds,
# and, second, also those of the cafe judge in units of their standard deviation; alpha is that third weight. Then both
# on the test rows that move.
stacked() {
    local s
    for s in dev test; do
        awk -F '\t' -v part=$s 'FILENAME ~ /tsv$/ { if (FNR == 1) for (i = 1; i <= NF; i++) c[$i] = i
                else for (a = 1; a <= 4; a++) label[FNR - 1, a] = $c[substr("ei sn tf jp", 3 * a - 2, 2)]; next }
            FILENAME ~ /posts\.[a-z]*\.z$/ { for (a = 1; a <= 4; a++) posts[$1, a] = $(1 + a); next }
            { for (a = 1; a <= 4; a++) if (label[$1, a] ~ /[-+]/ && ($1, a) in posts)
                  print part, a, label[$1, a] == "+" ? 1 : 0, posts[$1, a], $(1 + a) }' \
            "data/posts/$s.tsv" "$WORK/posts.$s.z" "$WORK/cafe.$s.z"
    done | awk '
        function newton(a, k,   round, i, j, l, r, p, w, m, f) { # w[1..k] of axis a; V[i, j] the inverse of the Hessian
            for (j = 1; j <= k; j++) W[j] = 0
            for (round = 0; round < 30; round++) {
                for (j = 1; j <= k; j++) for (l = 1; l <= 2 * k; l++) m[j, l] = l == k + j
                for (j = 1; j <= k; j++) g[j] = 0
                for (i = 0; i < n["dev", a]; i++) {
                    p = up("dev", a, i, k); w = p * (1 - p)
                    for (j = 1; j <= k; j++) {
                        g[j] += (y["dev", a, i] - p) * X["dev", a, i, j]
                        for (l = 1; l <= k; l++) m[j, l] += w * X["dev", a, i, j] * X["dev", a, i, l]
                    }
                }
                for (j = 1; j <= k; j++) { # Gauss-Jordan; the matrix is positive definite
                    f = m[j, j]
                    for (l = 1; l <= 2 * k; l++) m[j, l] /= f
                    for (r = 1; r <= k; r++) if (r != j) { f = m[r, j]; for (l = 1; l <= 2 * k; l++) m[r, l] -= f * m[j, l] }
                }
                for (j = 1; j <= k; j++) for (l = 1; l <= k; l++) W[j] += m[j, k + l] * g[l]
            }
            error = sqrt(m[k, 2 * k])
        }
        function scale(a,   i, sum, squares, sd) { # the third column, to a standard deviation of 1 on dev
            for (i = 0; i < n["dev", a]; i++) { sum += X["dev", a, i, 3]; squares += X["dev", a, i, 3] ^ 2 }
            sd = sqrt(squares / n["dev", a] - (sum / n["dev", a]) ^ 2)
            for (i = 0; i < n["dev", a]; i++) X["dev", a, i, 3] /= sd
            for (i = 0; i < n["test", a]; i++) X["test", a, i, 3] /= sd
        }
        function up(s, a, i, k,   j, z) { z = 0; for (j = 1; j <= k; j++) z += W[j] * X[s, a, i, j]; return 1 / (1 + exp(-z)) }
        function test(a, k,   i, p) {
            right[k] = loss[k] = 0
            for (i = 0; i < n["test", a]; i++) {
                p = up("test", a, i, k); hit[k, i] = (p > 0.5) == y["test", a, i]
                right[k] += hit[k, i]; loss[k] -= log(y["test", a, i] ? p : 1 - p)
            }
        }
        { i = n[$1, $2]++; y[$1, $2, i] = $3; X[$1, $2, i, 1] = 1; X[$1, $2, i, 2] = $4; X[$1, $2, i, 3] = $5 }
        END {
            print "| axis | dev, test rows | alpha (standard error) | direction without, with | only with / only without right | log loss without, with |\n|---|---|---|---|---|---|"
            for (a = 1; a <= 4; a++) {
                scale(a); newton(a, 2); test(a, 2); newton(a, 3); test(a, 3)
                gained = lost = 0
                for (i = 0; i < n["test", a]; i++) { gained += hit[3, i] > hit[2, i]; lost += hit[3, i] < hit[2, i] }
                t = n["test", a]
                printf "| %s | %d, %d | %.2f (%.2f) | %.3f, %.3f | %d/%d | %.4f, %.4f |\n", substr("ei sn tf jp", 3 * a - 2, 2), n["dev", a], t,
                    W[3], error, right[2] / t, right[3] / t, gained, lost, loss[2] / t, loss[3] / t
            }
        }'
}
stack() {
    local s name
    made cafe.gyl || linear
    for s in dev test; do
        for name in posts cafe; do fresh "$name.$s.z" directions $name $s "data/posts/$s.tsv"; done
    done
    fresh stack.md stacked
    cat "$WORK/stack.md"
}

# ---- the table ----

line() { # NAME: figures of the test split, differences from the reference, then figures of cafe_dev
    jq -rn --arg name "$1" --slurpfile t "$WORK/$1.test.json" --slurpfile a "$WORK/$1.test.against.json" --slurpfile c "$WORK/$1.cafe_dev.json" '
        def change(x): x.difference, x.ci95[];
        $t[0].overall as $o | $a[0].measures as $m | $a[0].mcnemar.direction as $d |
        [$name, $o.direction_accuracy, $o.auc, $o.meaningful, $o.unneeded, change($m.direction_accuracy), change($m.meaningful),
         $d.only_a, $d.only_b, $d.p, $c[0].axes[].auc, $c[0].overall.auc, $c[0].overall.direction_accuracy] | @tsv' |
        awk -F '\t' '{ printf "| %s | %.3f | %.3f | %.3f | %.3f | %+.3f (%+.3f to %+.3f) | %+.3f (%+.3f to %+.3f) | %d/%d | %s | %.3f %.3f %.3f %.3f | %.3f | %.3f |\n",
            $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14 < 0.001 ? "< 0.001" : sprintf("%.3f", $14), $15, $16, $17, $18, $19, $20 }'
}
head_line() {
    echo "| trained on | direction | AUC | meaningful | unneeded | direction less posts' (95 %) | meaningful less posts' (95 %) | only it / only posts right | p | cafe_dev AUC ei sn tf jp | mean | direction |"
    echo "|---|---|---|---|---|---|---|---|---|---|---|---|"
}
table() {
    head_line
    line posts
    line cafe
    for n in 1000 5000 20000; do for seed in 1 2 3; do line both-$n-$seed; done; done
    line both-all
    for how in self agree; do for seed in 1 2 3; do line $how-20000-$seed; done; done
}

# ---- the language model ----

# One epoch of 20,000 weak rows, then the posts; against the posts alone for as many epochs, and against both mixed.
# The first stage is measured once, at its end, so nothing is chosen in it; its dev split is the posts', for the weak
# rows have no kept ones to calibrate on. METHOD is full (default) or lora; an adapter is merged before the next stage.
tune() { # NAME MODEL DATA [OPTIONS]
    local name=$1 model=$2 data=$3
    shift 3
    made "$name/gyeol.json" || "$GYEOL" train "$METHOD" --model "$model" --data "$data" --dev "$dev" \
        --out "$WORK/$name" --seed "${SEED:-1}" ${TRAIN_OPTIONS:-} "$@"
}
lm() {
    local epochs=${EPOCHS:-3} begin=$WORK/$METHOD-cafe name
    [ -d "$BASE" ] || { echo "research-cafe: BASE=$BASE: no such folder, want a pre-trained model" >&2; exit 1; }
    prepare
    tune "$METHOD-posts" "$BASE" "$posts" --epochs "$epochs"
    tune "$METHOD-cafe" "$BASE" "$WORK/cafe-20000-1.tsv" --epochs 1 --eval-every 1000000 --patience 0
    if [ "$METHOD" = lora ]; then
        begin=$WORK/lora-cafe.gguf
        made lora-cafe.gguf || "$GYEOL" model merge "$BASE" --adapter "$WORK/lora-cafe" "$begin"
    fi
    tune "$METHOD-cafe-posts" "$begin" "$posts" --epochs "$epochs"
    tune "$METHOD-both" "$BASE" "$WORK/posts-cafe-20000-1.tsv" --epochs "$epochs"
    for name in posts cafe cafe-posts both; do measure "$METHOD-$name" "$WORK/$METHOD-$name" "$WORK/$METHOD-posts"; done
}
lm-table() {
    head_line
    for name in posts cafe cafe-posts both; do line "$METHOD-$name"; done
}

# shellcheck disable=SC2048
for stage in ${*:-linear table stack}; do
    "$stage"
done
