#!/usr/bin/env bash
# Installs what the tests need, builds, runs every test. The last line is "N passed, N failed, N skipped" and the
# exit status follows. FAST=1 leaves out the sanitizer and fuzzing runs.
set -u
cd "$(dirname "$0")"
tools/deps.sh gcc clang make pkg-config libc6-dev libsqlite3-dev libjansson-dev libutf8proc-dev libpcre2-dev nettle-dev \
    libcurl4-openssl-dev ca-certificates libcmocka-dev libmicrohttpd-dev libopenmpi-dev openmpi-bin jq sqlite3 openssl clang-format cppcheck pmccabe libclang-rt-14-dev libomp-14-dev git gawk || exit 1
passed=0 failed=0 skipped=0
add() { # takes the last count in a log
    local p='' f='' s=''
    read -r p f s < <(sed -nE 's/^([0-9]+) passed, ([0-9]+) failed, ([0-9]+) skipped$/\1 \2 \3/p' "$1" | tail -n 1)
    if [ -z "${s:-}" ]; then echo "no count at the end of this run"; failed=$((failed + 1)); return; fi
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
}
step() { # NAME COMMAND...: one test that passes if the command does
    local name=$1 log
    shift
    log=$(mktemp)
    if "$@" >"$log" 2>&1; then passed=$((passed + 1)); echo "ok: $name"
    else failed=$((failed + 1)); echo "FAILED: $name"; tail -n 40 "$log"; fi
    rm -f "$log"
}
run() { # NAME COMMAND...: a run of many tests
    local log
    echo "== $1"
    shift
    log=$(mktemp)
    "$@" 2>&1 | tee "$log" | grep -v '^  \(CC\|AR\|LD\) '
    add "$log"
    rm -f "$log"
}
run "tests" make -j"$(nproc)" test
step "lint" make lint
step "clang compiles without a warning" make -s -j"$(nproc)" BUILD=build/clang CC=clang build/clang/gyeol
if [ -z "${FAST:-}" ]; then
    run "tests under AddressSanitizer and UBSan" env KILLS=5 KILL_POSTS=6000 SHORT=1 make -j"$(nproc)" asan
    run "fuzzing, a short while" make -s -j"$(nproc)" fuzz-short
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
