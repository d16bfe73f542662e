#!/bin/bash
# make bench: builds the lower bound in C, then runs the benchmark inside mount
# and pid namespaces of its own, so that no daemon or mount of it outlives it.
set -eu
cd "$(dirname "$0")/../.."
[ "$(id -u)" = 0 ] || { echo "make bench starts containers and networks: run it as root"; exit 1; }
test/packages.sh
mkdir -p .cache
gcc -O2 -static -o .cache/floor test/bench/floor.c
go build -o .cache/bench ./test/bench
status=0
# bash is pid 1 there and reaps what the daemons orphan.
unshare --mount --pid --fork --mount-proc --kill-child bash -c '.cache/bench "$@"; exit $?' bash "$@" || status=$?
# The parent groups of both engines are empty now.
find /sys/fs/cgroup -depth -type d \( -name docker-bench -o -name sampan-bench -o -path '*/docker-bench/*' -o -path '*/sampan-bench/*' \) -exec rmdir {} + 2>/dev/null || true
exit $status
