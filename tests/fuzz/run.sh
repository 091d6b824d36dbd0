#!/usr/bin/env bash
# Runs each fuzz target for FUZZ_SECONDS on its seeds; one result per target, the count last.
set -u
seconds=${FUZZ_SECONDS:-600} passed=0 failed=0
cd "$(dirname "$0")/../.."
for target in "$@"; do
    name=$(basename "$target") log=$(mktemp) corpus=build/fuzz/corpus-$(basename "$target")
    mkdir -p "$corpus"
    seeds=tests/fuzz/seeds/$name
    [ -d "$seeds" ] || seeds=
    # shellcheck disable=SC2086
    if "$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=4096 -artifact_prefix=build/fuzz/ \
        -print_final_stats=1 "$corpus" $seeds >"$log" 2>&1; then
        passed=$((passed + 1))
        echo "ok: $name, $(sed -nE 's/^stat::number_of_executed_units: *([0-9]+).*/\1/p' "$log") runs in $seconds s"
    else
        failed=$((failed + 1)); echo "FAILED: $name"; tail -n 40 "$log"
    fi
    rm -f "$log"
done
echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ]
