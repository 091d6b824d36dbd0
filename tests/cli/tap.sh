# Sourced by the scripts here: TAP output, a scratch directory, and checks that say what they saw.
set -u
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
build=${BUILD:-build}
[[ $build == /* ]] || build=$top/$build
gyeol=$build/gyeol
dir=$(mktemp -d "${TMPDIR:-/tmp}/gyeol-cli-XXXXXX")
trap 'rm -rf "$dir"' EXIT
unset GYEOL_DB
count=0 failures=0

ok() { count=$((count + 1)); echo "ok $count - $1"; }
not_ok() { # NAME DETAIL...
    count=$((count + 1)) failures=$((failures + 1))
    echo "not ok $count - $1"
    shift
    printf '# %s\n' "$@"
}
skip() { count=$((count + 1)); echo "ok $count - $1 # SKIP $2"; }
is() { # NAME GOT WANT
    if [ "$2" = "$3" ]; then ok "$1"; else not_ok "$1" "got:  $2" "want: $3"; fi
}
like() { # NAME GOT REGEX
    if [[ $2 =~ $3 ]]; then ok "$1"; else not_ok "$1" "got:  $2" "want: /$3/"; fi
}
# refused NAME STATUS REGEX COMMAND...: fails with that status and exactly one line on stderr that matches.
refused() {
    local name=$1 want=$2 regex=$3 status
    shift 3
    "$@" >"$dir/refused.out" 2>"$dir/refused.err" </dev/null
    status=$?
    if [ "$status" -ne "$want" ]; then
        not_ok "$name" "status $status, want $want" "$(head -c 400 "$dir/refused.err")"
    elif [ "$(wc -l <"$dir/refused.err")" -ne 1 ]; then
        not_ok "$name" "want one line on stderr, got:" "$(head -5 "$dir/refused.err")"
    elif ! grep -qE -e "$regex" "$dir/refused.err"; then
        not_ok "$name" "stderr: $(cat "$dir/refused.err")" "want /$regex/"
    else
        ok "$name"
    fi
}
finish() { echo "1..$count"; [ "$failures" -eq 0 ]; }
