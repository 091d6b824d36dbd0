#!/usr/bin/env bash
# gyeol import: what it takes, what it refuses, and that a refusal changes nothing.
. "$(dirname "$0")/tap.sh"
db="$dir/t.db"

state() { # everything in the database, for comparing
    sqlite3 "$1" .dump 2>/dev/null | sha256sum
}
make_db() {
    rm -f "$db" "$db"-*
    "$gyeol" import --db "$db" "$top/data/demo" >/dev/null && "$gyeol" batch --mode linear --db "$db" >/dev/null
}
make_db
before=$(state "$db")
is "importing again changes nothing" "$("$gyeol" import --db "$db" "$top/data/demo" --json | jq -c '[.[] | objects | .added + .changed] | add')" 0
is "... not a byte of content" "$(state "$db")" "$before"

# bad NAME REGEX FILE-NAME CONTENT(printf format): refused in one line per bad row, and nothing changed
bad() {
    local name=$1 regex=$2 file="$dir/in/$3" status
    rm -rf "$dir/in"; mkdir "$dir/in"
    printf "$4" >"$file"
    "$gyeol" import --db "$db" "$file" >"$dir/out" 2>"$dir/err"
    status=$?
    if [ "$status" -ne 1 ]; then not_ok "$name" "status $status" "$(cat "$dir/err")"
    elif ! grep -qE "$regex" "$dir/err"; then not_ok "$name" "want /$regex/" "$(head -c 600 "$dir/err")"
    elif [ "$(state "$db")" != "$before" ]; then not_ok "$name" "the database changed"
    else ok "$name"; fi
}
bad "not UTF-8" 'posts.csv:3: .*UTF-8' posts.csv 'id,person,content\n900,minji,good one here\n901,minji,\377\376\n'
bad "a NUL byte" 'posts.csv:2: .*NUL' posts.csv 'id,person,content\n900,minji,a\0b\n'
bad "a score over 100" 'surveys.csv:2: sn is "101", want a whole number from 0 to 100' surveys.csv 'person,ei,sn,tf,jp\nminji,50,101,50,50\n'
bad "a negative score" 'surveys.tsv:2: jp is "-1"' surveys.tsv 'person\tei\tsn\ttf\tjp\nminji\t50\t1\t50\t-1\n'
bad "a score that is no number" 'surveys.csv:2: ei is "many"' surveys.csv 'person,ei,sn,tf,jp\nminji,many,10,50,50\n'
bad "a score that is empty" 'surveys.csv:2: ei is ""' surveys.csv 'person,ei,sn,tf,jp\nminji,,10,50,50\n'
bad "an unknown column" 'unknown column mood; known columns: id, person' posts.csv 'id,person,content,mood\n900,minji,good one here,x\n'
bad "an unknown key in JSON lines" 'unknown column mood' posts.jsonl '{"id":"900","person":"minji","content":"good one here","mood":1}\n'
bad "a missing column" 'posts.csv:1: no column "content"' posts.csv 'id,person\n900,minji\n'
bad "a column named twice" 'posts.csv:1: .*id' posts.csv 'id,person,content,id\n900,minji,good one,901\n'
bad "a duplicate id" 'posts.csv:3: id "900" is in .*posts.csv:2 already' posts.csv 'id,person,content\n900,minji,one two\n900,minji,three\n'
bad "a second survey at one time" 'surveys.csv:3: a second survey' surveys.csv 'person,taken_at,ei,sn,tf,jp\nx,2026-01-01,1,1,1,1\nx,2026-01-01,2,2,2,2\n'
bad "a post of somebody else" 'posts.csv:2: post "101" belongs to another person' posts.csv 'id,person,content\n101,junho,mine now\n'
bad "a time that is none" 'posts.csv:2: written_at: time "yesterday"' posts.csv 'id,person,written_at,content\n900,minji,yesterday,good one here\n'
bad "an empty id" 'posts.csv:2: id is empty' posts.csv 'id,person,content\n,minji,good one here\n'
bad "an id with a control character" 'posts.jsonl:1: .*control character' posts.jsonl '{"id":"a\\u0007","person":"minji","content":"good one here"}\n'
bad "too many fields" 'posts.csv:2: ' posts.csv 'id,person,content\n900,minji,a,b,c\n'
bad "an open quote" 'posts.csv:2: ' posts.csv 'id,person,content\n900,minji,"never closed\n'
bad "broken JSON" 'posts.jsonl:2: ' posts.jsonl '{"id":"900","person":"minji","content":"good one here"}\n{"id":\n'
bad "JSON that is no object" 'posts.jsonl:1: ' posts.jsonl '[1,2]\n'
bad "an empty file" 'posts.csv' posts.csv ''
bad "a file that says not what it is" 'want a file named people, missions, surveys or posts' stuff.csv 'id\n1\n'
bad "an unknown extension" 'posts.xlsx' posts.xlsx 'id\n1\n'
long=$(head -c 65536 /dev/zero | tr '\0' a)
bad "a post over 65,535 bytes" 'posts.csv:2: .*65536 bytes, want at most 65535' posts.csv "id,person,content\n900,minji,$long\n"

mkdir -p "$dir/huge"
{ printf 'id,person,content\n900,minji,'; head -c 10000000 /dev/zero | tr '\0' b; printf '\n901,minji,fine after it\n'; } >"$dir/huge/posts.csv"
refused_out=$("$gyeol" import --db "$db" "$dir/huge/posts.csv" 2>&1 >/dev/null); status=$?
is "a line of 10 MB: status" "$status" 1
like "a line of 10 MB: one message that does not repeat it" "${refused_out:0:300}" 'posts.csv:2: '
[ ${#refused_out} -lt 1000 ] && ok "... and is short" || not_ok "... and is short" "${#refused_out} bytes"
is "a line of 10 MB changed nothing" "$(state "$db")" "$before"

refused "a missing file" 1 'No such file' "$gyeol" import --db "$db" "$dir/none/posts.csv"
refused "an empty directory" 1 'holds no people' "$gyeol" import --db "$db" "$(mktemp -d -p "$dir")"
refused "no path at all" 2 'want a directory or files' "$gyeol" import --db "$db"
if [ "$(id -u)" -ne 0 ]; then
    mkdir "$dir/secret"; printf 'id\nx\n' >"$dir/secret/people.csv"; chmod 000 "$dir/secret/people.csv"
    refused "an unreadable file" 1 'Permission denied' "$gyeol" import --db "$db" "$dir/secret/people.csv"
else
    mkdir -p "$dir/secret/people.csv"
    refused "an unreadable file (root: a directory in its place)" 1 'people.csv' "$gyeol" import --db "$db" "$dir/secret/people.csv/x/people.csv"
fi
is "refusals changed nothing" "$(state "$db")" "$before"
mkdir -p "$dir/keep"; printf 'id,person,content,mood\n910,minji,good one here,x\n911,,nobody,x\n' >"$dir/keep/posts.csv"
is "a refused import creates no database" "$("$gyeol" import --db "$dir/fresh.db" "$dir/keep/posts.csv" >/dev/null 2>&1; ls "$dir" | grep -c '^fresh')" 0
cp "$db" "$dir/prefix.db"; "$gyeol" import --db "sqlite:$dir/prefix.db" "$dir/keep/posts.csv" >/dev/null 2>&1
is "a refused import leaves the database that sqlite:PATH names" "$(state "$dir/prefix.db")" "$before"
is "--keep-going imports the good rows" "$("$gyeol" import --db "$db" --keep-going --json "$dir/keep" 2>/dev/null | jq -c '[.posts.added, .bad]')" '[1,1]'

# Two first imports at once, one of them refused: the other's work is kept.
mkdir -p "$dir/good" "$dir/refused"
awk 'BEGIN { print "id\tperson\tcontent"; for (i = 1; i <= 20000; i++) printf "g%d\tu%d\tsome words %d\n", i, i % 50, i }' >"$dir/good/posts.tsv"
awk 'BEGIN { print "id\tperson\tcontent"; for (i = 1; i <= 20000; i++) printf "r%d\tu%d\tsome words %d\n", i, i % 50, i; print "\tu1\tx" }' >"$dir/refused/posts.tsv"
"$gyeol" import --db "$dir/race.db" "$dir/refused" >/dev/null 2>&1 &
sleep 0.05
"$gyeol" import --db "$dir/race.db" "$dir/good" >/dev/null 2>&1
status=$?
wait
is "an import beside a refused one succeeds" "$status" 0
is "... and its posts are there" "$(sqlite3 "$dir/race.db" 'select count(*) from post')" 20000
"$gyeol" import --db "$dir/both.db" "$dir/good" >/dev/null 2>&1 &
"$gyeol" import --db "$dir/both.db" "$top/data/demo" >/dev/null 2>&1
wait
is "two first imports at once are both there" "$(sqlite3 "$dir/both.db" 'select count(*) from post')" 20031
is "a new database is its owner's alone" "$(stat -c %a "$dir/both.db")" 600
# The log of a database that was removed must not be taken for the new one's.
"$gyeol" import --db "$dir/old.db" "$dir/good" >/dev/null
"$gyeol" batch --mode linear --db "$dir/old.db" --follow >/dev/null 2>&1 & pid=$!
for _ in $(seq 50); do [ -s "$dir/old.db-wal" ] && break; sleep 0.05; done
sleep 0.2; kill -9 $pid; wait $pid 2>/dev/null
[ -s "$dir/old.db-wal" ] && ok "a killed batch leaves a log" || not_ok "a killed batch leaves a log"
rm "$dir/old.db"
"$gyeol" import --db "$dir/old.db" "$top/data/demo" >/dev/null
is "a stale log does not harm a new database" "$(sqlite3 "$dir/old.db" 'pragma integrity_check; select count(*) from post' | tr '\n' ' ')" "ok 31 "
ln -s "$dir/target.db" "$dir/link.db"
"$gyeol" import --db "$dir/link.db" "$top/data/demo" >/dev/null
is "a link that leads nowhere yet: the new database is the owner's alone" "$(stat -c %a "$dir/target.db")" 600
printf 'id,person,content\n5,a,one text here\n' >"$dir/good/posts.csv"; rm "$dir/good/posts.tsv"; mkdir "$dir/more"; printf 'id,person,content\n5,a,another text\n' >"$dir/more/posts.csv"
refused "one id in two files" 1 'nothing was imported|is in' bash -c "'$gyeol' import --db '$dir/both.db' '$dir/good' '$dir/more' 2>&1 >/dev/null | tail -1 >&2; exit 1"
printf 'id,person,mission,content\n101,ghost,m99,mine\n' >"$dir/more/posts.csv"
"$gyeol" import --db "$dir/both.db" --keep-going "$dir/more" >/dev/null 2>&1
is "a refused row leaves no person behind" "$(sqlite3 "$dir/both.db" "select count(*) from person where ext = 'ghost'")" 0

# Databases that are not ours, or cannot be used.
printf 'id,person,content\n1,a,hello there\n' >"$dir/keep/posts.csv"
sqlite3 "$dir/foreign.db" 'create table t (x); insert into t values (1)'
sum=$(sha256sum <"$dir/foreign.db")
refused "a foreign database" 1 'not a gyeol database' "$gyeol" import --db "$dir/foreign.db" "$dir/keep"
is "... is left alone" "$(sha256sum <"$dir/foreign.db")" "$sum"
sqlite3 "$db" .dump >/dev/null
cp "$db" "$dir/newer.db"; sqlite3 "$dir/newer.db" 'pragma user_version = 99' >/dev/null
refused "a newer database" 1 'schema version 99' "$gyeol" user list --db "$dir/newer.db"
head -c 5000 "$db" >"$dir/cut.db"
refused "a truncated database" 1 'damaged|not a gyeol' "$gyeol" user list --db "$dir/cut.db"
head -c 20000 /dev/urandom >"$dir/noise.db"
refused "noise instead of a database" 1 'not a gyeol database' "$gyeol" batch --db "$dir/noise.db"
refused "a missing database" 1 'no such database' "$gyeol" batch --db "$dir/none.db"
is "... is not created" "$(ls "$dir" | grep -c '^none.db')" 0
refused "a database in a missing directory" 1 'cannot be opened' "$gyeol" import --db "$dir/no/such/x.db" "$dir/keep"
: >"$dir/zero.db"
refused "no name as database" 2 'want the path of a file' "$gyeol" import --db "" "$dir/keep"
refused ":memory: as database" 2 'want the path of a file' "$gyeol" import --db :memory: "$dir/keep"
refused "an empty file as database" 1 'not a gyeol database \(empty\)' "$gyeol" batch --db "$dir/zero.db"
refused "a server that is not built in" 2 'want a file path' "$gyeol" batch --db postgres://u:pw@h/d
GYEOL_DB="$db" "$gyeol" user list >/dev/null && ok "GYEOL_DB names the database" || not_ok "GYEOL_DB names the database"
finish
