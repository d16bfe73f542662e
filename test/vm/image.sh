# Makes what the virtual machine boots, sourced by run.sh.

disk_size=3G

# install_modules TO NAME...: the kernel's modules whose paths contain a name,
# with their dependencies' index.
install_modules() {
  local to=$1 from="$kernels/lib/modules/$release" name
  shift
  for name in "$@"; do
    (cd "$from" && find kernel -path "*$name*" -name '*.ko' | cpio -pdmu --quiet "$repo/$to/lib/modules/$release")
  done
  cp "$from"/modules.builtin "$from"/modules.order "$to/lib/modules/$release/"
  busybox depmod -b "$to" "$release"
}

# make_initramfs FILE: busybox and the drivers of the root disk.
make_initramfs() {
  local tree=$work/initramfs.d
  mkdir -p "$tree"/{bin,sbin,dev,proc,new}
  cp /usr/bin/busybox "$tree/bin/busybox"
  ln -s busybox "$tree/bin/sh"
  ln -s ../bin/busybox "$tree/sbin/modprobe"
  install_modules "$tree" /virtio /nvdimm/ /acpi/nfit/ /ext4/ /jbd2/ mbcache crc16 crc32 libcrc32c
  install -m 755 test/vm/init "$tree/init"
  (cd "$tree" && find . | cpio -o -H newc --quiet) > "$1"
}

# borrow TREE PROGRAM...: copies programs that this machine has (test/packages.sh),
# and the libraries they name, into a tree. Both are Debian 12.
borrow() {
  local tree=$1 program file
  shift
  for program in "$@"; do
    program=$(PATH=/usr/sbin:/usr/bin command -v "$program") || continue # Debian's, not one in /usr/local
    for file in "$program" $(ldd "$program" 2>/dev/null | grep -o '/[^ ]*'); do
      mkdir -p "$tree/$(dirname "$file")"
      [ -e "$tree/$file" ] || cp -L "$file" "$tree/$file"
    done
  done
}

# wanted LAYOUT...: the lines of test/vm/tests that these layouts run.
wanted() {
  if [ -n "${SAMPAN_VM_ONLY:-}" ]; then
    sed 's/^/all /' <<< "$SAMPAN_VM_ONLY"
    return
  fi
  local kinds=all
  case " $* " in *" v2 "*) kinds+='|v2' ;; esac
  case " $* " in *" systemd"*) kinds+='|systemd' ;; esac
  grep -E "^($kinds) " test/vm/tests
}

# make_disk TREE FILE LAYOUT...: a Debian root with the kernel's modules, our binaries
# and the test binaries, at the paths they have on this machine.
make_disk() {
  local tree=$1 file=$2 kind package arguments
  shift 2
  mkdir "$tree"
  tar -C "$tree" -xf .cache/debian-vm.tar
  cp /usr/bin/busybox "$tree/usr/bin/busybox"
  borrow "$tree" docker runc crun criu podman conmon dockerd containerd ctr containerd-shim-runc-v2 mkfs.xfs
  cp -r /etc/containers "$tree/etc/" # podman's policy
  cp -r /usr/share/containers "$tree/usr/share/"
  rm -f "$tree/sbin/modprobe"
  ln -s ../bin/busybox "$tree/sbin/modprobe"
  ln -sf ../bin/busybox "$tree/usr/bin/wget"
  # As on a fresh machine nothing is loaded: the kernel asks modprobe.
  install_modules "$tree" /overlayfs/ /net/netfilter/ /ipv4/netfilter/ /ipv6/netfilter/ /net/bridge/ /net/802/ /net/llc/ /net/sctp/ \
    /net/unix/ /net/netlink/ /ipv4/inet_diag /ipv4/tcp_diag /ipv4/udp_diag /net/packet/ /net/8021q/ \
    /drivers/net/veth /drivers/net/tun /drivers/net/dummy /drivers/net/macvlan /drivers/net/ipvlan /drivers/block/loop /block/bfq \
    /drivers/infiniband/core/ /drivers/infiniband/sw/rxe/ udp_tunnel /drivers/md/dm- libcrc32c crc32c /fs/fuse/ /fs/autofs/ /fs/quota/ /fs/xfs/ /fs/ext4/ /fs/jbd2/
  mkdir -p "$tree$repo/bin" "$tree$repo/.cache" "$tree/vm" "$tree/etc/systemd/system/multi-user.target.wants"
  cp bin/* "$tree$repo/bin/"
  cp -r docs "$tree$repo/"
  ln -fL .cache/debian-nginx.tar "$tree$repo/.cache/debian-nginx.tar" 2>/dev/null || cp .cache/debian-nginx.tar "$tree$repo/.cache/"
  install -m 755 test/vm/guest "$tree/vm/guest"
  cp test/vm/sampan-tests.service "$tree/etc/systemd/system/"
  ln -s ../sampan-tests.service "$tree/etc/systemd/system/multi-user.target.wants/"
  echo "$repo" > "$tree/vm/repo"
  wanted "$@" > "$tree/vm/tests"
  while read -r kind package arguments; do
    mkdir -p "$tree$repo/$package"
    [ -e "$tree$repo/$package/vm.test" ] || CGO_ENABLED=0 go test -c -o "$tree$repo/$package/vm.test" "./$package"
    [ ! -d "$package/testdata" ] || cp -r "$package/testdata" "$tree$repo/$package/"
  done < "$tree/vm/tests"
  mke2fs -q -t ext4 -d "$tree" -L sampan-vm "$file" $disk_size > /dev/null
}
