#!/bin/bash
# Installs the Debian packages that the tests and benchmarks need. Services are
# not started: policy-rc.d denies it while packages are set up.
set -eu
need=(btrfs-progs buildah busybox-static ca-certificates curl debootstrap docker-compose docker-registry docker.io e2fsprogs gcc iproute2 iptables libc6-dev nftables podman procps runc criu crun skopeo tmux uidmap umoci util-linux xfsprogs)
missing=()
for package in "${need[@]}"; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
  printf '#!/bin/sh\nexit 101\n' > $policy
  chmod 755 $policy
  trap 'rm -f $policy' EXIT
fi
echo "installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
