// Takes the place of the library of this name: see go.work and the package comment.
module github.com/opencontainers/go-digest

go 1.26
