#!/bin/bash
# Makes .cache/debian-nginx.tar: a real Debian root file system with bash and
# nginx, by debootstrap, from the mirror that this machine's apt uses.
set -eu
cd "$(dirname "$0")/.."
out=.cache/debian-nginx.tar
[ -s $out ] && exit 0
mkdir -p .cache
root=$(mktemp -d .cache/debootstrap.XXXXXX)
trap 'rm -rf "$root"' EXIT
mirror=$(apt-get indextargets --format '$(SITE) $(RELEASE) $(COMPONENT)' 2>/dev/null | awk '$2=="bookworm" && $3=="main"{print $1; exit}')
echo "making a Debian root file system with nginx (once)"
# debootstrap mounts proc in the new root: in a mount namespace of its own nothing is left behind.
unshare --mount debootstrap --variant=minbase --include=nginx-light,procps bookworm "$root" "$mirror" > .cache/debootstrap.log 2>&1 \
  || { tail -5 .cache/debootstrap.log; exit 1; }
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
mkdir -p "$root/var/www/html"
echo '<h1>Served from a Sampan container</h1>' > "$root/var/www/html/index.html"
chmod 755 "$root" # mktemp's 0700 would be the image's /
tar -C "$root" --numeric-owner -cf $out.tmp .
mv $out.tmp $out
