#!/usr/bin/env bash
# train/world: a process alone, and several under mpirun where Open MPI is there to build with.
. "$(dirname "$0")/tap.sh"
alone=$build/world_check several=$build/mpi/world_check
is "a process alone is a world of one" "$("$alone")" "1 ranks agree"
if [ ! -x "$several" ] || ! command -v mpirun >/dev/null; then
    skip "ranks under mpirun" "no Open MPI (libopenmpi-dev, openmpi-bin)"
    finish
    exit
fi
# What Open MPI keeps until the end is not ours to free.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 ASAN_OPTIONS=detect_leaks=0
run() { # RANKS COMMAND...
    local n=$1
    shift
    timeout 120 mpirun --oversubscribe --bind-to none -n "$n" "$@"
}
is "without mpirun the same program is a world of one" "$("$several")" "1 ranks agree"
for n in 2 3 5; do
    is "$n ranks" "$(run "$n" "$several" 2>&1)" "$n ranks agree"
done
run 2 "$several" fail 1 >"$dir/out" 2>&1
is "a rank that gives up does not leave the other waiting" "$?" 3
finish
