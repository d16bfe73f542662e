#!/bin/bash
# The tests that need another kernel than the machine's: Debian's 6.1 in a
# virtual machine without acceleration, with a Debian root on ext4.
#
#   test/vm/run.sh [layout ...]     v2 and systemd (the default), v1, hybrid,
#                                   systemd-v1, systemd-hybrid
#
# v2 boots with cgroup_no_v1=all and cgroup2 alone on /sys/fs/cgroup, which is
# what every present distribution does; the systemd layouts have systemd and D-Bus
# as init. SAMPAN_VM_ONLY="package arguments", one a line, runs these test
# binaries alone. Nothing is installed on the machine but qemu; the
# kernel is unpacked into .cache/vm. qemu has a limit of processor time and ends with
# this script.
set -eu
cd "$(dirname "$0")/../.."
repo=$PWD
cache=.cache/vm
limit=${SAMPAN_VM_LIMIT:-2400} # processor seconds for one boot with all its tests
[ $# -gt 0 ] || set -- v2 systemd

[ "$(id -u)" = 0 ] || { echo "make test-vm makes file systems with devices: run it as root"; exit 1; }
. test/vm/packages.sh
test/debian.sh vm
make --no-print-directory build >/dev/null
work=$(mktemp -d "$cache/run.XXXXXX")
qemu=
cleanup() {
  [ -z "$qemu" ] || kill -9 "$qemu" 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

. test/vm/image.sh
make_initramfs "$work/initramfs"
make_disk "$work/root" "$work/disk" "$@"
truncate -s 64M "$work/queue"

# boot LAYOUT: runs the virtual machine and returns the status of its tests.
boot() {
  local layout=$1 cmdline="console=ttyS0 panic=-1 quiet loglevel=4 sampan.layout=$1"
  case $layout in
  v2 | systemd) cmdline+=" cgroup_no_v1=all" ;;
  systemd-hybrid) cmdline+=" systemd.unified_cgroup_hierarchy=0" ;;
  systemd-v1) cmdline+=" systemd.unified_cgroup_hierarchy=0 systemd.legacy_systemd_cgroup_controller=1" ;;
  esac
  # -accel tcg: nested virtualisation cannot be relied on. -icount: the guest's clock
  # goes by the instructions it has executed (8 ns each), so that no time-out in it
  # depends on how busy this machine is, or on whether qemu is stopped for a while; where
  # the guest only waits the clock jumps ahead to its next timer. qemu can do that for
  # one processor.
  # That would hold for a wait for a disk too: while this machine's disk is busy, one
  # fsync then takes up to 18 s of the guest's time (measured). So the root disk is
  # memory of the guest's, read and written by its own instructions. share=off: each
  # boot begins with the same disk. The second, empty one has a queue, for the
  # controller of block devices.
  setsid nice -n 15 qemu-system-x86_64 -accel tcg,thread=single -icount shift=3,sleep=off -cpu max -smp 1 -display none -serial stdio -no-reboot -nic none \
    -machine pc,nvdimm=on -m 2G,slots=2,maxmem=8G \
    -object "memory-backend-file,id=disk,share=off,mem-path=$work/disk,size=$disk_size" -device nvdimm,memdev=disk \
    -drive "file=$work/queue,format=raw,if=virtio,cache=unsafe" \
    -monitor "unix:$work/monitor,server,nowait" \
    -kernel "$kernel" -initrd "$work/initramfs" -append "$cmdline" \
    < /dev/null > "$work/console" 2>&1 &
  qemu=$!
  local ticks=0 shown=0 size
  while kill -0 "$qemu" 2>/dev/null; do
    sleep 1
    ticks=$(awk '{print $14 + $15}' "/proc/$qemu/stat" 2>/dev/null || echo 0)
    size=$(stat -c %s "$work/console")
    [ "$size" = "$shown" ] || { tail -c +$((shown + 1)) "$work/console" | head -c $((size - shown)) | tr -d '\r'; shown=$size; }
    if [ "$ticks" -ge $((limit * 100)) ]; then # USER_HZ is 100 on every architecture
      kill -9 "$qemu" 2>/dev/null || true
      echo "the virtual machine ($layout) did not end within $limit processor seconds"
      break
    fi
  done
  wait "$qemu" 2>/dev/null || true
  qemu=
  tail -c +$((shown + 1)) "$work/console" | tr -d '\r'
  cp "$work/console" "$cache/console.$layout"
  [ "$(sed -n 's/\r//; s/^VM-EXIT \([0-9]*\)$/\1/p' "$work/console" | tail -1)" = 0 ]
}

status=0
for layout in "$@"; do
  echo "=== Linux $release, control groups: $layout"
  if boot "$layout"; then echo "ok   $layout"; else echo "FAIL $layout"; status=1; fi
done
exit $status
