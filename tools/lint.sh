#!/usr/bin/env bash
# Format, include direction, one includer per outside library, banned functions, file length, complexity, cppcheck.
# Prints what is wrong, one line each; exit 1 if anything is.
set -u
cd "$(dirname "$0")/.."
bad=0
complain() { printf '%s\n' "$*"; bad=1; }
need() { command -v "$1" >/dev/null || { echo "lint: $1 is not installed (apt-get install $2)"; exit 1; }; }
need clang-format clang-format
need cppcheck cppcheck
need pmccabe pmccabe

git rev-parse --git-dir >/dev/null 2>&1 || { echo "lint: needs the git checkout: it looks at the files git knows"; exit 1; }
files=$(git ls-files 'src/*.[ch]' 'include/*.h' 'tests/*.[ch]' 'bench/*.c')
# shellcheck disable=SC2086
clang-format --dry-run -Werror $files >/dev/null 2>&1 || complain "format: run make format"

# Who may include whom (docs/DESIGN.md, 2). Everything may include base, cli everything.
may() {
    case $1 in
    base) echo base ;;
    text) echo base text ;;
    compute) echo base compute ;;
    format) echo base text compute format ;;
    model) echo base compute format model ;;
    net) echo base net ;;
    data) echo base text data ;;
    store) echo base store ;;
    judge) echo base text compute format model judge ;;
    report) echo base report ;;
    train) echo base text data compute format model judge report train ;;
    pipeline) echo base data judge store pipeline ;;
    api) echo base judge api ;;
    cli) echo base text data compute format model net judge report train store pipeline cli ;;
    *) echo "" ;;
    esac
}
for f in $(git ls-files 'src/*.[ch]'); do
    dir=$(echo "$f" | cut -d/ -f2)
    allowed=" $(may "$dir") "
    for inc in $(sed -n 's|^#include "\([a-z]*\)/.*|\1|p' "$f"); do
        [[ $allowed == *" $inc "* ]] || complain "$f: $dir may not include $inc/"
    done
done
only() { # HEADER FILE...: nobody else includes it
    local header=$1 f
    shift
    for f in $(git grep -lE "#include <$header>" -- src include); do
        [[ " $* " == *" $f "* ]] || complain "$f: <$header> belongs to $*"
    done
}
only 'sqlite3\.h' src/store/sqlite_int.h
only 'nettle/.*' src/base/digest.c
only 'curl/.*' src/net/http.c
only 'mpi\.h' src/train/world_mpi.c
only 'pcre2\.h' src/text/regex.c
only 'utf8proc\.h' src/text/utf8.c src/text/unicode.c src/judge/features.c

hits=$(git grep -nE '\b(sprintf|strcpy|strcat|gets|atoi|atol|atof|strtok|alloca|system)\(' -- src include) &&
    complain "banned functions:"$'\n'"$hits"
hits=$(git grep -nE '\b(printf|puts|putchar|exit|abort)\(' -- src ':!src/cli' ':!src/base/log.c') &&
    complain "only cli prints and exits:"$'\n'"$hits"
for f in $(git ls-files '*.c' '*.h' '*.inc'); do
    lines=$(wc -l <"$f")
    [ "$lines" -le 800 ] || complain "$f: $lines lines, at most 800"
done
hits=$(git ls-files 'src/*.c' | xargs pmccabe | awk '$1 > 15 || $5 > 80 {print $6 ": " $7 ": complexity " $1 ", " $5 " lines"}')
[ -z "$hits" ] || complain "complexity over 15, or over 80 lines:"$'\n'"$hits"
# shellcheck disable=SC2046
hits=$(cppcheck --std=c11 --enable=warning,portability,performance --inline-suppr --quiet --error-exitcode=0 \
    --suppress=missingInclude --suppress=missingIncludeSystem --suppress=nullPointerOutOfMemory \
    --template='{file}:{line}: {id}: {message}' -Isrc -Iinclude $(git ls-files 'src/*.c') 2>&1)
[ -z "$hits" ] || complain "cppcheck:"$'\n'"$hits"
[ "$bad" -eq 0 ] && echo "lint: clean"
exit "$bad"
