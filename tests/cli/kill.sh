#!/usr/bin/env bash
# kill -9 in the middle of batch, 50 times at random moments: nothing is lost, nothing is judged twice, and the end
# equals an uninterrupted run's. And a disk that fills up.
. "$(dirname "$0")/tap.sh"
kills=${KILLS:-50}
posts=${KILL_POSTS:-60000}
seed=${SEED:-$RANDOM}
echo "# SEED=$seed"
RANDOM=$seed

# Posts of many people out of order, made of the demo's sentences so that scores move.
make_posts() { # N
    awk -v n="$1" -v seed="$seed" 'BEGIN { srand(seed) }
    NR > 1 { split($0, f, ","); sub(/^[^,]*,[^,]*,[^,]*,[^,]*,/, ""); sub(/,,$/, ""); gsub(/^"|"$/, ""); text[++k] = $0 }
    END { print "id\tperson\twritten_at\tcontent"
          for (i = 1; i <= n; i++)
              printf "%d\tu%d\t2026-%02d-%02dT%02d:%02d\t%s %d\n", i, rand() * 500, 1 + rand() * 12, 1 + rand() * 28, rand() * 24, rand() * 60, text[1 + int(rand() * k)], i }' \
        "$top/data/demo/posts.csv"
}
mkdir "$dir/in" "$dir/big" "$dir/few"
make_posts "$posts" >"$dir/in/posts.tsv"
"$gyeol" import --db "$dir/whole.db" "$dir/in" >/dev/null
cp "$dir/whole.db" "$dir/killed.db"
"$gyeol" batch --mode linear --db "$dir/whole.db" --workers 1 >/dev/null

done_before=0 went_back=0 in_middle=0
for i in $(seq "$kills"); do
    "$gyeol" batch --mode linear --db "$dir/killed.db" --limit $((posts / kills)) >/dev/null 2>&1 & pid=$!
    sleep "0.$(printf '%03d' $((RANDOM % 120)))"
    kill -9 $pid 2>/dev/null && in_middle=$((in_middle + 1))
    wait $pid 2>/dev/null
    n=$(sqlite3 "$dir/killed.db" 'select count(*) from judgement')
    [ "$n" -lt "$done_before" ] && went_back=1
    done_before=$n
done
is "what was committed stays, kill after kill" "$went_back" 0
[ "$in_middle" -gt 0 ] && ok "$in_middle of $kills kills hit a running batch" || not_ok "no kill hit a running batch"
[ "$done_before" -lt "$posts" ] && ok "work was left for the last run ($done_before of $posts judged)" || not_ok "the kills came too late: all $posts were judged"
"$gyeol" batch --mode linear --db "$dir/killed.db" >/dev/null
content() {
    sqlite3 "$1" "select p.ext, p.ei, p.sn, p.tf, p.jp from person p order by 1;
        select o.ext, j.version, j.counts, j.policy, j.weight, j.ei, j.ei_up, j.ei_why, j.sn, j.sn_up, j.tf, j.tf_up, j.jp, j.jp_up from judgement j join post o on o.id = j.post_id order by 1;
        select p.ext, h.seq, o.ext, h.axis, h.previous, h.current, h.ei, h.sn, h.tf, h.jp, h.reason from history h join person p on p.id = h.person_id join post o on o.id = h.post_id order by 1, 2;" | sha256sum
}
is "after the last run the database equals an uninterrupted run's" "$(content "$dir/killed.db")" "$(content "$dir/whole.db")"
is "PRAGMA integrity_check" "$(sqlite3 "$dir/killed.db" 'pragma integrity_check; pragma foreign_key_check')" ok
is "every post is judged once" "$(sqlite3 "$dir/killed.db" 'select count(*), count(distinct post_id) from judgement')" "$posts|$posts"

# A full disk, on a small file system of our own.
if [ "$(id -u)" -eq 0 ] && mkdir "$dir/small" && mount -t tmpfs -o size=6m tmpfs "$dir/small" 2>/dev/null; then
    trap 'umount "$dir/small"; rm -rf "$dir"' EXIT
    make_posts 60000 >"$dir/big/posts.tsv"
    refused "import on a full disk" 1 'disk is full|No space left' "$gyeol" import --db "$dir/small/t.db" "$dir/big"
    is "... leaves no post behind" "$(sqlite3 "$dir/small/t.db" 'select count(*) from post; pragma integrity_check' | tr '\n' ' ')" "0 ok "
    rm -f "$dir/small/t.db"*
    head -2001 "$dir/big/posts.tsv" >"$dir/few/posts.tsv"
    "$gyeol" import --db "$dir/small/t.db" "$dir/few" >/dev/null
    before=$(sqlite3 "$dir/small/t.db" 'select count(*) from post')
    head -c 20m /dev/zero >"$dir/small/fill" 2>/dev/null
    refused "batch on a full disk" 1 'disk is full|No space left|disk I/O' "$gyeol" batch --mode linear --db "$dir/small/t.db"
    refused "a model on a full disk" 1 'No space left' "$gyeol" train linear --data "$top/data/posts/dev.tsv" --dev "$top/data/posts/dev.tsv" --out "$dir/small/m.gyl"
    is "... leaves no temporary file" "$(ls "$dir/small" | grep -c m.gyl)" 0
    rm "$dir/small/fill"
    is "nothing was lost" "$(sqlite3 "$dir/small/t.db" 'select count(*) from post; pragma integrity_check' | tr '\n' ' ')" "$before ok "
    is "with room again batch goes on" "$("$gyeol" batch --mode linear --db "$dir/small/t.db" --json | jq .judged)" 2000
else
    skip "a full disk" "needs root and mount"
fi
finish
