// Package applets lists the names under which sampan-box can be called. The
// daemon makes one link for each in the built-in image without linking the
// tools themselves.
package applets

import "slices"

// Names returns the names of all applets, sorted.
func Names() []string { return slices.Clone(names) }

var names = []string{"sh"}
