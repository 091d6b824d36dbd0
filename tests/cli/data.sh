#!/usr/bin/env bash
# The labelled posts and the shipped judge: what data/posts/README.md and models/linear/README.md promise.
. "$(dirname "$0")/tap.sh"
posts="$top/data/posts"
train="$posts/train.tsv" dev="$posts/dev.tsv" test="$posts/test.tsv" blind="$posts/blind.tsv"

"$gyeol" data check "$train" "$dev" "$test" "$blind" --json >"$dir/check" 2>"$dir/err" &&
    ok "data check finds nothing in the four files" || not_ok "data check finds nothing in the four files" "$(cat "$dir/err")"
rows() { jq "[.files[] | select(.name | test(\"$1\")) | .rows] | add" "$dir/check"; }
least() { [ "$2" -ge "$3" ] && ok "$1: $2, at least $3" || not_ok "$1" "got $2, want at least $3"; }
least "distinct posts in train, dev and test" "$(rows 'train|dev|test')" 4000
least "rows in blind" "$(rows blind)" 500
column() { awk -F'\t' -v c="$1" 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == c) k = i; next } { print $k }' "${@:2}"; }
least "posts in blind" "$(column kind "$blind" | grep -vc statement)" 300
least "one-axis statements in blind" "$(column kind "$blind" | grep -c statement)" 200
labels() { awk -F'\t' 'NR == 1 { for (i = 1; i <= NF; i++) c[$i] = i; next } FNR > 1 { print $c["kind"], $c["ei"] $c["sn"] $c["tf"] $c["jp"] }' "$train" "$dev" "$test"; }
labels >"$dir/labels"
i=0
for axis in ei sn tf jp; do
    for sign in + -; do
        pattern=$(printf '0%.0s' 1 2 3 4); pattern=${pattern:0:i}$sign${pattern:i+1}
        least "clear posts $axis$sign" "$(awk -v p="$pattern" '($1 == "clear" || $1 == "statement") && $2 == p' "$dir/labels" | wc -l)" 350
    done
    i=$((i + 1))
done
least "posts that say nothing" "$(awk '$2 == "0000"' "$dir/labels" | wc -l)" 700
least "posts on two to four axes" "$(awk '{ n = gsub(/[-+]/, "", $2) } n >= 2' "$dir/labels" | wc -l)" 500
least "posts that talk to the judge" "$(grep -c '^to-judge' "$dir/labels")" 200

# The shipped judges on posts that neither training nor tuning has seen: the linear one, and the default if that is
# another.
above() { # NAME FILE EXPRESSION
    local got; got=$(jq -r "$3" "$2")
    [ "$got" = true ] && ok "$1" || not_ok "$1" "$(jq -c .overall "$2")"
}
modes=linear
[ "$("$gyeol" judge --json text | jq -r .judge.mode)" = linear ] || modes+=' one-pass'
for mode in $modes; do
    judge=$("$gyeol" judge --mode $mode --json text | jq -r .judge.model)
    "$gyeol" eval --mode $mode "$blind" --json >"$dir/blind"
    "$gyeol" eval --mode $mode "$test" --json >"$dir/test"
    above "$judge, blind: direction accuracy at least 0.85" "$dir/blind" '.overall.direction_accuracy >= 0.85'
    above "$judge, blind: meaningful at least 0.70" "$dir/blind" '.overall.meaningful >= 0.70'
    above "$judge, blind: unneeded at most 0.08" "$dir/blind" '.overall.unneeded <= 0.08'
    "$gyeol" eval --mode $mode "$blind" --kind statement --json >"$dir/statements"
    above "$judge, blind statements: AUC at least 0.85 on every axis" "$dir/statements" '[.axes[].auc >= 0.85] | all'
    echo "# $judge: blind $(jq -c '.overall | {direction_accuracy, meaningful, unneeded}' "$dir/blind") test $(jq -c '.overall | {direction_accuracy, meaningful, unneeded}' "$dir/test")"
done

# make linear-model makes the shipped file again, bit for bit, with any number of threads.
for threads in 1 3; do
    "$gyeol" train linear --data "$train" --dev "$dev" --out "$dir/again.gyl" --threads $threads >/dev/null
    is "the shipped model again, $threads threads" "$(sha256sum <"$dir/again.gyl")" "$(sha256sum <"$top/models/linear/linear.gyl")"
done
[ "$(stat -c %s "$top/models/linear/linear.gyl")" -le 4000000 ] && ok "the model is at most 4 MB" || not_ok "the model is at most 4 MB"
printf 'text\tei\tsn\ttf\tjp\n친구들과 놀았다\t+\t+\t+\t+\n집에서 쉬었다\t+\t-\t-\t-\n' >"$dir/one.tsv"
refused "training data without a direction" 1 'no row is down on ei' "$gyeol" train linear --data "$dir/one.tsv" --dev "$dev" --out "$dir/x.gyl"
[ ! -e "$dir/x.gyl" ] && ok "... writes nothing" || not_ok "... writes nothing"
refused "train without --out" 2 '\-\-out is missing' "$gyeol" train linear --data "$train" --dev "$dev"
refused "a directory that is missing" 1 'No such file' "$gyeol" train linear --data "$dev" --dev "$dev" --out "$dir/no/x.gyl"

# data check finds what it should, data split keeps relatives together.
printf 'text\tei\tsn\ttf\tjp\tuser\n오늘은 친구들과 함께 즐겁게 놀았다\t+\t0\t0\t0\tu1\n나는 INFP라서 그래\t0\t0\t0\t0\tu2\n연락은 010-1234-5678\t0\t0\t0\t0\t\n' >"$dir/a.tsv"
printf 'text\tei\tsn\ttf\tjp\tuser\n오늘은 친구들과 함께 즐겁게 놀았어\t+\t0\t0\t0\tu1\n' >"$dir/b.tsv"
"$gyeol" data check "$dir/a.tsv" "$dir/b.tsv" --json >"$dir/found" 2>/dev/null
is "data check exits 1" "$?" 1
is "data check counts" "$(jq -c '[.found["near-across"], .found.person, .found["type-name"], .found.phone] | map(.count)' "$dir/found")" '[1,1,1,1]'
"$gyeol" data check "$dir/a.tsv" "$dir/b.tsv" --allow near-across,person,type-name,phone >/dev/null && ok "--allow" || not_ok "--allow"
refused "--allow of something unknown" 2 'no such finding' "$gyeol" data check "$dir/a.tsv" --allow everything
refused "data check of a missing file" 1 'No such file' "$gyeol" data check "$dir/none.tsv"
"$gyeol" data split "$test" --out "$dir/split" --train 0.5 --dev 0.25 --test 0.25 >/dev/null
is "data split keeps every row" "$(cat "$dir/split"/*.tsv | grep -vc $'^text\t')" "$(($(wc -l <"$test") - 1))"
is "... and no person on two sides" "$("$gyeol" data check "$dir/split"/*.tsv --json 2>/dev/null | jq .found.person.count)" 0
refused "shares that do not add up" 2 '' "$gyeol" data split "$test" --out "$dir/split2" --train 0.5
finish
