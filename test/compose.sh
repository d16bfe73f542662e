#!/bin/bash
# Builds Compose v2 from the Go proxy for the tests, once. Its module excludes
# versions of others, so `go install` of it is refused; it is built in a copy.
set -eu
cd "$(dirname "$0")/.."
version=v2.40.3
out=$PWD/.cache/compose/$version/docker-compose
if [ ! -x "$out" ]; then
  echo "building Compose $version (some minutes, once)"
  src=$(go mod download -json "github.com/docker/compose/v2@$version" | sed -n 's/^\s*"Dir": "\(.*\)",$/\1/p')
  dir=$(mktemp -d)
  trap 'rm -rf "$dir"' EXIT
  cp -r --no-preserve=mode "$src/." "$dir"
  (cd "$dir" && CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$out" ./cmd)
fi
ln -sfn "$version/docker-compose" .cache/compose/docker-compose
