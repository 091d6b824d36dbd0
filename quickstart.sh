#!/usr/bin/env bash
# From a fresh Debian 12 to judged posts: installs what is missing, builds, imports data/demo into demo/gyeol.db,
# judges, and shows what became of everybody's scores and why. Safe to run again.
set -euo pipefail
cd "$(dirname "$0")"
tools/deps.sh gcc make pkg-config libc6-dev libsqlite3-dev libjansson-dev libutf8proc-dev libpcre2-dev nettle-dev libcurl4-openssl-dev ca-certificates
echo "Building build/gyeol ..."
make -s -j"$(nproc)" build/gyeol >/dev/null

db=demo/gyeol.db
mkdir -p demo
build/gyeol import --db $db data/demo >/dev/null
scores() { build/gyeol user list --db $db; }
if [ ! -e demo/before.txt ]; then scores >demo/before.tmp && mv demo/before.tmp demo/before.txt; fi
echo
echo "Judging the demo posts ..."
build/gyeol batch --db $db
echo
echo "Before:"
cat demo/before.txt
echo
echo "After:"
scores
echo
echo "Why:"
while read -r id _; do
    echo "$id"
    build/gyeol user history "$id" --db $db | sed 's/^/  /'
done < <(scores)
cat <<'TXT'

Try next:
  build/gyeol judge --reason "주말엔 약속 없이 집에서 조용히 쉬는 게 제일 좋다"
  build/gyeol user show minji --db demo/gyeol.db
  build/gyeol eval data/posts/test.tsv
TXT
