#!/bin/bash
# gofmt, go vet and staticcheck over the whole module; prints what is wrong and fails.
set -u
cd "$(dirname "$0")/.."
staticcheck_version=v0.8.2
failed=0
unformatted=$(gofmt -l $(git ls-files -co --exclude-standard '*.go'))
if [ -n "$unformatted" ]; then echo "gofmt: not formatted:"; echo "$unformatted"; failed=1; fi
go vet ./... || failed=1
if [ ! -x .tools/staticcheck ]; then
  GOBIN="$PWD/.tools" go install "honnef.co/go/tools/cmd/staticcheck@$staticcheck_version" || exit 1
fi
.tools/staticcheck ./... || failed=1
[ $failed = 0 ] && echo "lint: clean"
exit $failed
