# What the virtual machine needs, sourced by run.sh: qemu and cpio installed,
# Debian's kernel downloaded and unpacked into $cache. Sets kernels,
# kernel and release; SAMPAN_VM_KERNEL names another unpacked kernel package.
missing=()
for package in busybox-static cpio e2fsprogs qemu-system-x86 seabios; do
  dpkg-query -W -f '${Status}' $package 2>/dev/null | grep -q 'ok installed' || missing+=($package)
done
if [ ${#missing[@]} -gt 0 ]; then
  echo "installing ${missing[*]}"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" > /dev/null
fi

mkdir -p "$cache"
if [ ! -e "$cache/kernel/ready" ]; then
  rm -rf "$cache/kernel" "$cache"/linux-image-*.deb
  image=$(apt-cache depends linux-image-amd64 | awk '$1 == "Depends:" {print $2; exit}')
  [ -n "$image" ] || { echo "apt knows no linux-image-amd64: the virtual machine needs Debian's package lists"; exit 1; }
  # As root in the caller's folder: apt's own user may not write there.
  (cd "$cache" && apt-get download -q -o APT::Sandbox::User=root "$image" > /dev/null)
  dpkg -x "$cache"/linux-image-*.deb "$cache/kernel"
  rm -f "$cache"/linux-image-*.deb
  touch "$cache/kernel/ready"
fi
kernels=${SAMPAN_VM_KERNEL:-$cache/kernel}
kernel=$(ls "$kernels"/boot/vmlinuz-*)
release=${kernel##*/vmlinuz-}
