// Takes the place of the library of this name: see the replace directive in
// Sampan's go.mod, and the package comment for the reason.
module github.com/opencontainers/go-digest

go 1.26
