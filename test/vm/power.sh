#!/bin/bash
# Power cuts: a virtual machine that pulls, loads, commits and removes images is
# killed at random moments. What its kernel had not written is lost then, and so is
# what its disk was not told to flush: the disk is a fresh qcow2 overlay for each
# boot, and qemu keeps the addresses of new clusters in memory until a flush. After
# each cut every image that was acknowledged must be there, run, and have all of its
# files; in the end nothing may be left over.
#
#   test/vm/power.sh [cuts]     24 by default
#
# SAMPAN_POWER_MOUNT=barrier=0 takes the flushes away; then it has to fail.
set -eu
cd "$(dirname "$0")/../.."
repo=$PWD
cache=.cache/vm
cuts=${1:-24}
[ "$(id -u)" = 0 ] || { echo "run it as root"; exit 1; }
command -v qemu-img > /dev/null || { apt-get update -qq; DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends qemu-utils > /dev/null; }
. test/vm/packages.sh
. test/vm/image.sh
[ -x bin/sampand ] || make --no-print-directory build > /dev/null
work=$(mktemp -d "$cache/power.XXXXXX")
qemu=
cleanup() {
  [ -z "$qemu" ] || kill -9 "$qemu" 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

tree=$work/tree
mkdir -p "$tree"/{bin,sbin,dev,proc,sys,etc,root,usr/bin}
cp /usr/bin/busybox "$tree/bin/busybox"
ln -s busybox "$tree/bin/sh"
ln -s ../bin/busybox "$tree/sbin/modprobe"
cp bin/sampan bin/sampand bin/sampan-runtime bin/sampan-box "$tree/bin/"
CGO_ENABLED=0 go test -c -o "$tree/bin/power.test" ./test/vm/power
echo "root:x:0:0:root:/root:/bin/sh" > "$tree/etc/passwd"
echo "root:x:0:" > "$tree/etc/group"
install_modules "$tree" /virtio /ext4/ /jbd2/ mbcache crc16 crc32 /overlayfs/
install -m 755 test/vm/power/init "$tree/init"
(cd "$tree" && find . | cpio -o -H newc --quiet) > "$work/initramfs"
rm -rf "$tree"
truncate -s 1G "$work/disk"
mke2fs -q -t ext4 "$work/disk"
: > "$work/acked"

# boot NAME: starts the machine; its console is $work/console.
boot() {
  qemu-img create -q -f qcow2 -o cluster_size=4k -b disk -F raw "$work/volatile"
  setsid qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 -m 1536M -nographic -no-reboot -nic none \
    -kernel "$kernel" -initrd "$work/initramfs" \
    -append "console=ttyS0 panic=-1 quiet loglevel=3 cgroup_no_v1=all sampan.power=$1 sampan.mount=${SAMPAN_POWER_MOUNT:-rw}" \
    -drive "file=$work/volatile,format=qcow2,if=virtio,cache=writeback,l2-cache-size=64M" \
    < /dev/null > "$work/console" 2>&1 &
  qemu=$!
}

# off: what the disk has becomes the disk of the next boot.
off() {
  kill -9 "$qemu" 2>/dev/null || true
  wait "$qemu" 2>/dev/null || true
  qemu=
  qemu-img check -q -r leaks -f qcow2 "$work/volatile" > /dev/null 2>&1 || true
  qemu-img commit -q -f qcow2 "$work/volatile"
  rm "$work/volatile"
  tr -d '\r' < "$work/console" > "$cache/console.power"
}

# settle: the images that must be there after what the console has told. A name is
# printed after its acknowledgement, so one line too few is no mistake.
settle() {
  awk '/^ACK /{a[$2]=1} /^GONE /{delete a[$2]} END{for (n in a) print n}' <(sed 's/^/ACK /' "$work/acked") "$cache/console.power" | sort > "$work/new"
  mv "$work/new" "$work/acked"
}

bad=0 pulled=0
# wait_for WORD: until the console says it. Patience is in processor seconds: a machine that
# is stopped, or gets none beside others, is not late. 20 minutes are too long in any case.
wait_for() {
  local tries=0 used
  until grep -aq "^$1" "$work/console"; do
    used=$(awk '{print int(($14 + $15) / 100)}' "/proc/$qemu/stat" 2>/dev/null) || return 1
    if [ "$used" -gt 150 ] || [ $tries -gt 2400 ]; then return 1; fi
    sleep 0.5
    tries=$((tries + 1))
  done
}

for cut in $(seq 1 "$cuts") last; do
  before=$(wc -l < "$work/acked")
  boot "$cut"
  if [ "$cut" = last ]; then wait_for CLEAN || true; sleep 1; else
    wait_for WORKING || true
    sleep "$((RANDOM % 8)).$((RANDOM % 10))"
  fi
  off
  sed -n 's/^HAVE //p' "$cache/console.power" | sort > "$work/have"
  lost=$(comm -23 "$work/acked" "$work/have")
  wrong=$(grep -a '^BAD' "$cache/console.power" || true)
  grep -aq "^$([ "$cut" = last ] && echo CLEAN || echo WORKING)" "$cache/console.power" || wrong+="the machine did not get so far"
  settle
  made=$(grep -ac '^ACK' "$cache/console.power" || true)
  echo "boot $cut: $before acknowledged before, $(wc -l < "$work/have") there and whole, then $made made"
  pulled=$((pulled + made))
  if [ -n "$lost$wrong" ]; then
    bad=1
    [ -z "$lost" ] || echo "LOST: $lost"
    [ -z "$wrong" ] || echo "$wrong"
    cp "$cache/console.power" "$cache/console.power.$cut"
  fi
done
[ "$pulled" -ge "$cuts" ] || { echo "only $pulled images were made: it proves nothing"; bad=1; }
[ $bad = 0 ] && echo "ok: $cuts power cuts, $pulled images acknowledged" || echo "FAIL"
exit $bad
