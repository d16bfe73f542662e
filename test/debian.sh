#!/bin/bash
# Makes real Debian root file systems by debootstrap, from the mirror that this
# machine's apt uses: .cache/debian-nginx.tar with bash and nginx, and
# .cache/debian-databases.tar with PostgreSQL and Redis besides. With "vm": the root
# of the virtual machine, .cache/debian-vm.tar, in place of the latter.
set -eu
cd "$(dirname "$0")/.."
mkdir -p .cache
root=
trap 'rm -rf "$root"' EXIT

# image NAME PACKAGES: in mount and process namespaces of its own, so that no mount
# and no service that a package starts is left behind.
image() {
  local out=.cache/$1.tar mirror
  [ -s "$out" ] && return
  root=$(mktemp -d .cache/debootstrap.XXXXXX)
  mirror=$(apt-get indextargets --format '$(SITE) $(RELEASE) $(COMPONENT)' 2>/dev/null | awk '$2=="bookworm" && $3=="main"{print $1; exit}')
  echo "making a Debian root file system with $2 (once)"
  unshare --mount --pid --fork --kill-child debootstrap --variant=minbase --include="$2" bookworm "$root" "$mirror" > ".cache/$1.log" 2>&1 \
    || { tail -5 ".cache/$1.log"; exit 1; }
  rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root"/var/lib/postgresql/*/main "$root"/usr/share/doc
  mkdir -p "$root/var/www/html"
  echo '<h1>Served from a Sampan container</h1>' > "$root/var/www/html/index.html"
  chmod 755 "$root" # mktemp's 0700 would be the image's /
  tar -C "$root" --numeric-owner -cf "$out.tmp" .
  mv "$out.tmp" "$out"
  rm -rf "$root"
}

image debian-nginx nginx-light,procps
if [ "${1:-}" = vm ]; then
  image debian-vm systemd,systemd-sysv,dbus,kmod,procps,iproute2,nftables,iptables,curl,uidmap,criu,e2fsprogs,tmux,util-linux
  exit
fi
image debian-databases nginx-light,procps,postgresql,redis-server
