#!/bin/bash
# Everything CI runs. Outside: packages, a Debian root file system, the build,
# lint. Then the tests, inside mount, network and pid namespaces of their own:
# what a failed test leaves there ends with them, and what would stay on the
# machine all the same (cgroups, files in /tmp) is looked for at the end.
set -u
cd "$(dirname "$0")/.."

if [ "${1:-}" != inside ]; then
  [ "$(id -u)" = 0 ] || { echo "make test starts containers and networks: run it as root"; exit 1; }
  test/packages.sh || exit 1
  # The root file systems come over the network, which the processors need not wait for.
  test/debian.sh & debian=$!
  go mod download || exit 1
  # Compose v2 takes minutes to build: only the soak waits for it.
  if [ "${SAMPAN_COUNTS:-}" = full ]; then
    test/compose.sh || exit 1
  elif [ ! -e .cache/compose/docker-compose ]; then
    echo "skipped: TestCompose/v2 (test/compose.sh builds Compose v2, in minutes; make test-soak does that)"
  fi
  make --no-print-directory build || exit 1
  go build -o .cache/report ./test/report || exit 1
  test/lint.sh || exit 1
  wait $debian || exit 1

  remains() { { find /sys/fs/cgroup -maxdepth 4 -type d -path '*sampan*'; ls -d /tmp/sampan* ; } 2>/dev/null | sort; }
  remains > .cache/before
  unshare --mount --net --pid --fork --mount-proc --kill-child "$0" inside
  status=$?
  if [ "${SAMPAN_COUNTS:-}" = full ]; then
    test/vm/power.sh || status=1
  else
    echo "skipped: power cuts in a virtual machine (test/vm/power.sh; make test-soak does them)"
  fi
  if ! left=$(remains | comm -13 .cache/before - ) || [ -n "$left" ]; then
    echo "left behind on the machine:"; echo "$left"
    # Deepest first; a group that still has members stays, and is named above.
    echo "$left" | sort -r | while read -r path; do
      case $path in /sys/fs/cgroup/*) find "$path" -depth -type d -exec rmdir {} + ;; /tmp/sampan*) rm -rf "$path" ;; esac
    done
    [ $status = 0 ] && status=1
  fi
  [ $status = 0 ] && echo "ok: nothing is left behind" || echo "FAIL"
  exit $status
fi

ip link set lo up
export GOPROXY=off
status=0
# The launch child runs between clone and execve, where the race detector's
# runtime cannot: runtime and runtime/launch are tested without it.
launch='/runtime$|/runtime/launch$|/runtime/rootfs$'
heavy='/test/|/cmd/'
set -o pipefail
# go test keeps a skipped test's reason to itself; test/report prints it.
tests() { go test -json "$@" | .cache/report || status=1; }
tests -race -timeout 20m $(go list ./... | grep -vE "$launch|$heavy")
tests -timeout 20m $(go list ./... | grep -E "$launch|/cmd/")
tests -p 1 -timeout 60m $(go list ./test/... )
tests -timeout 20m -p 1 -tags failpoints ./test/failpoint/...
exit $status
