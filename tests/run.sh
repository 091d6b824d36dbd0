#!/usr/bin/env bash
# Runs test programs that speak TAP (cmocka's, and the scripts in tests/cli) and adds them up. Prints only what
# failed or was skipped; the last line is the count, and the exit status follows.
set -u
passed=0 failed=0 skipped=0
for t in "$@"; do
    name=$(basename "$t") log=$(mktemp)
    start=$SECONDS
    CMOCKA_MESSAGE_OUTPUT=tap timeout "${TEST_SECONDS:-600}" "$t" >"$log" 2>&1 </dev/null
    status=$?
    # cmocka calls a skipped test "not ok N # SKIP name".
    sed -i -E 's/^not ok( [0-9]+ # SKIP\b)/ok\1/' "$log"
    skip=$(grep -ciE '^ok\b.*# skip' "$log")
    ok=$(($(grep -cE '^ok\b' "$log") - skip))
    bad=$(grep -cE '^not ok\b' "$log")
    # A program that dies without saying which test failed is a failure too.
    if [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then bad=1; echo "$name: exit status $status"; fi
    if [ $((ok + bad + skip)) -eq 0 ]; then bad=1; echo "$name: ran no test"; fi
    printf '%-28s %4d passed %3d failed %3d skipped  %3d s\n' "$name" "$ok" "$bad" "$skip" $((SECONDS - start))
    [ "$skip" -gt 0 ] && grep -iE '^ok\b.*# skip' "$log"
    [ "$bad" -gt 0 ] && grep -vE '^ok\b' "$log" | tail -n 60
    passed=$((passed + ok)) failed=$((failed + bad)) skipped=$((skipped + skip))
    rm -f "$log"
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
