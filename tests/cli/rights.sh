#!/usr/bin/env bash
# gyeol user and batch: explanation, freeze, export, erasure; policies; rejudging; following.
. "$(dirname "$0")/tap.sh"
db="$dir/t.db"
g() { # the same judge whatever the default
    local mode=()
    [ "$1" = batch ] && mode=(--mode linear)
    "$gyeol" "$@" "${mode[@]}" --db "$db"
}
g import "$top/data/demo" >/dev/null

is "batch judges every post once" "$(g batch --json | jq .judged)" 31
is "... and no post twice" "$(g batch --json | jq .judged)" 0
is "user list knows everybody" "$(g user list --json | jq length)" 6
is "user show: the keys other programs read" "$(g user show minji --json | jq -c 'keys_unsorted')" \
    '["id","scores","type","posts","surveyed","frozen","created_at"]'
is "a person without a survey is marked" "$(g user show dongwook --json | jq .surveyed)" false

# Scores are a fold over the survey and the judgements: compute it again from the export.
fold='def clamp: if . < 0 then 0 elif . > 100 then 100 else . end;
  . as $d | (.surveys | last | .taken_at // "") as $at | reduce
  (.judgements[] | select(.counts) | . as $j | select(($d.posts[] | select(.id == $j.post)) | .deleted_at == null and .written_at >= $at)) as $j
  ((.surveys | last | .scores) // {ei: 50, sn: 50, tf: 50, jp: 50};
   with_entries(.key as $k | .value = (.value + (if $j.axes[$k].decision == "up" then $j.weight elif $j.axes[$k].decision == "down" then -$j.weight else 0 end) | clamp)))'
for u in minji junho seoyeon taeyang haneul dongwook; do
    is "$u: scores equal the fold of the export" "$(g user export "$u" | jq -Sc "$fold")" "$(g user show "$u" --json | jq -Sc .scores)"
done
is "every history step has a reason that quotes its post" "$(for u in minji junho seoyeon; do
    g user export "$u" | jq '. as $d | [.history[] | . as $h | (.reason | capture("^\u0027(?<q>.*)\u0027에서").q) as $q |
      ($d.posts[] | select(.id == $h.post) | .content | contains($q))] | all'; done | sort -u)" true
is "no reason contradicts its direction" "$(g user history junho --json | jq '[.[] | if .current > .previous then (.reason | test("올렸습니다\\.$")) elif .current < .previous then (.reason | test("내렸습니다\\.$")) else (.reason | test("그대로입니다\\.$")) end] | all')" true
is "the points in the reason are those moved" "$(g user history junho --json | jq '[.[] | (.reason | capture("(?<n>[0-9]+)점").n | tonumber) == (.current - .previous | fabs)] | all')" true

# Objection.
g user freeze junho >/dev/null
printf '{"id":"f1","person":"junho","content":"사람들이랑 떠들고 노는 게 제일 신난다","written_at":"2030-01-01"}\n' >"$dir/posts.jsonl"
g import "$dir/posts.jsonl" >/dev/null
is "a frozen person is not judged" "$(g batch --json | jq .judged)" 0
is "user show says frozen" "$(g user show junho --json | jq .frozen)" true
g user unfreeze junho >/dev/null
is "after unfreezing the others are judged" "$(g batch --json | jq .judged)" 1
refused "freezing nobody" 1 'no person "nobody"' "$gyeol" user freeze nobody --db "$db"

# Export and erasure.
is "export holds everything" "$(g user export minji | jq -c 'keys')" \
    '["created_at","freezes","frozen","history","id","judgements","posts","scores","surveyed","surveys","type"]'
is "export holds every post" "$(g user export minji | jq '.posts | length')" 6
g user erase minji >/dev/null
left=$(cat "$db" "$db"-* 2>/dev/null | grep -acE 'minji|기차표|호떡|내친김에')
is "erase leaves no byte of the person" "$left" 0
refused "the erased person is not there" 1 'no person "minji"' "$gyeol" user show minji --db "$db"
is "the others are still there" "$(g user list --json | jq length)" 5
is "integrity after erasure" "$(sqlite3 "$db" 'pragma integrity_check; pragma foreign_key_check')" ok
refused "erase without id" 2 'want one id' "$gyeol" user erase --db "$db"
refused "an unknown action" 2 'want list' "$gyeol" user frob x --db "$db"

# Editing, deleting, policies.
printf 'id,person,content,written_at,deleted_at\n204,junho,점심 맛있게 먹었습니다,2026-03-22 11:50,2026-03-23\n' >"$dir/posts.csv"
before=$(g user show junho --json | jq .posts)
g import "$dir/posts.csv" >/dev/null
is "a deleted post no longer counts" "$(g user show junho --json | jq .posts)" $((before - 1))
rm -f "$db"*; g import "$top/data/demo" >/dev/null
is "--user judges one person" "$(g batch --user haneul --json | jq .judged)" 5
is "--limit judges so many" "$(g batch --limit 2 --json | jq .judged)" 2
is "the weight in force is stored" "$(g batch --weight 7 --json >/dev/null; g user export taeyang | jq -c '[.judgements[].weight] | unique')" '[7]'
refused "a weight of 0" 2 'want a whole number from 1 to 100' "$gyeol" batch --weight 0 --db "$db"
refused "an unknown policy" 2 'want fixed or weighted' "$gyeol" batch --policy wild --db "$db"
rm -f "$db"*; g import "$top/data/demo" >/dev/null; g batch --policy weighted --weight 10 >/dev/null
is "weighted moves by round(weight x (p_up - p_down))" "$(g user export seoyeon | jq '. as $d | [.history[] | . as $h |
    ($d.judgements[] | select(.post == $h.post and .counts) | .axes[$h.axis].p) as $p |
    ($h.current - $h.previous) == (((10 * ($p.up - $p.down)) | fabs + 0.5 | floor) * (if $p.up > $p.down then 1 else -1 end))] | all')" true

# The result does not depend on threads, and another model counts only when told so.
for n in 1 2 7; do
    rm -f "$db"*; g import "$top/data/demo" >/dev/null; g batch --workers $n >/dev/null
    g user list --json | jq -c '[.[] | {id, scores}]'
done | sort -u | wc -l >"$dir/distinct"
is "any number of workers gives the same scores" "$(cat "$dir/distinct")" 1
head -150 "$top/data/posts/train.tsv" >"$dir/train.tsv" && "$gyeol" train linear --data "$dir/train.tsv" --dev "$top/data/posts/dev.tsv" --out "$dir/other.gyl" >/dev/null 2>&1
is "another model judges nothing again by itself" "$(g batch --model "$dir/other.gyl" --json | jq .judged)" 0
is "--rejudge makes it count" "$(g batch --model "$dir/other.gyl" --rejudge --json | jq .judged)" 31
is "both judgements are kept, one counts" "$(g user export haneul | jq -c '[.judgements | length, ([.[] | select(.counts)] | length)]')" '[10,5]'
is "rejudging again judges nothing" "$(g batch --model "$dir/other.gyl" --rejudge --json | jq .judged)" 0

# --follow picks up what arrives, and leaves on SIGTERM with status 0.
"$gyeol" batch --mode linear --follow --json --db "$db" >"$dir/follow" 2>&1 & pid=$!
sleep 0.7; g import "$dir/posts.jsonl" >/dev/null
for _ in $(seq 50); do [ "$(g user export junho | jq '[.judgements[] | select(.post == "f1")] | length')" = 1 ] && break; sleep 0.2; done
kill -TERM $pid; wait $pid; status=$?
is "--follow judges a post that arrives" "$(g user export junho | jq '[.judgements[] | select(.post == "f1")] | length')" 1
is "--follow leaves cleanly on SIGTERM" "$status" 0

# One person's bad data, written by another program, stops neither the batch nor the person's export.
rm -f "$db"*; g import "$top/data/demo" >/dev/null
sqlite3 "$db" "update post set content = cast(x'ED959CFF20EAB880' as text) where ext = '301'"
refused "a post that is not UTF-8 is named, without its text" 1 '1 post could not be judged and still waits; the first: post 301: text is not UTF-8: byte 0xff at offset 3' \
    "$gyeol" batch --mode linear --db "$db"
is "... and the others are judged" "$(sqlite3 "$db" 'select count(*) from judgement')" 30
is "... and its writer can export it" "$(g user export seoyeon | jq -r '.posts[] | select(.id == "301") | .content')" "$(printf '한\357\277\275 글')"

refused "erasing nobody" 1 'no person "nobody"' "$gyeol" user erase nobody --db "$db"

# A reader that holds on, a locked database: one clear line after the wait. The other program has its transaction once
# its word is out, and keeps it until it is killed, however long that takes on a busy machine.
hold() { # NAME SQL: leaves the program's process id in $holder
    local held=$dir/held.$1
    mkfifo "$held"
    sqlite3 "$db" <"$held" >"$dir/held.out" 2>&1 & holder=$!
    exec 9>"$held"
    echo "$2 select 'held';" >&9
    for _ in $(seq 100); do grep -q held "$dir/held.out" && break; sleep 0.1; done
}
release() { kill "$holder" 2>/dev/null; wait "$holder" 2>/dev/null; exec 9>&-; }
if [ -z "${SHORT:-}" ]; then
    hold reader 'begin; select count(*) from post;'
    refused "erasing beside a reader that holds on says what is left" 1 'the rows are gone, but the file could not be written anew' \
        "$gyeol" user erase seoyeon --db "$db"
    release
    refused "... and erasing again finishes it" 1 'no person "seoyeon"' "$gyeol" user erase seoyeon --db "$db"
    is "... to the last byte" "$(cat "$db" "$db"-* 2>/dev/null | grep -acE 'seoyeon|평행우주')" 0
    hold locker 'begin immediate;'
    refused "a locked database" 1 'locked by another program' "$gyeol" import --db "$db" "$top/data/demo"
    release
fi
if [ "$(id -u)" -ne 0 ]; then
    chmod 444 "$db"; refused "a read-only database" 1 'read-only' "$gyeol" import --db "$db" "$top/data/demo"; chmod 644 "$db"
elif command -v setpriv >/dev/null; then
    mkdir "$dir/ro"; sqlite3 "$db" 'pragma wal_checkpoint(truncate)' >/dev/null; cp "$db" "$dir/ro/t.db"; cp "$gyeol" "$dir/gyeol"; cp -r "$top/data/demo" "$dir/demo"
    chmod 755 "$dir" "$dir/ro"; chmod 444 "$dir/ro/t.db"
    refused "a read-only database" 1 'read-only' setpriv --reuid 65534 --regid 65534 --clear-groups "$dir/gyeol" import --db "$dir/ro/t.db" "$dir/demo"
else
    skip "a read-only database" "running as root without setpriv"
fi
finish
