// Package compat gives answers the shape that an older API version had. The
// types of github.com/moby/moby/api describe the newest version only; here is,
// per noun, the table of what each version dropped or added. Every function
// takes the newest form and returns what to encode, without changing its
// argument, whose parts may be shared.
//
// A table row says: clients below this version get this change. All rows that
// apply run, newest first.
package compat

import "github.com/sampan-containers/sampan/server"

type step[T any] struct {
	below server.Version
	apply func(*T)
}

// downgrade runs the steps of a table that a client of version v needs.
func downgrade[T any](v server.Version, table []step[T], answer *T) *T {
	for _, s := range table {
		if v < s.below {
			s.apply(answer)
		}
	}
	return answer
}

var (
	v1_25 = server.V(1, 25)
	v1_28 = server.V(1, 28)
	v1_42 = server.V(1, 42)
	v1_43 = server.V(1, 43)
	v1_44 = server.V(1, 44)
	v1_45 = server.V(1, 45)
	v1_46 = server.V(1, 46)
	v1_48 = server.V(1, 48)
	v1_49 = server.V(1, 49)
	v1_50 = server.V(1, 50)
	v1_51 = server.V(1, 51)
	v1_52 = server.V(1, 52)
	v1_53 = server.V(1, 53)
	v1_56 = server.V(1, 56)
)

// orEmpty makes an absent list "[]" instead of "null".
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
