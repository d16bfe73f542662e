package value

import "github.com/sampan-containers/sampan/cli/client"

// Dry asks a prune what it would remove.
func (f *Filters) Dry() {
	if f.Values == nil {
		f.Values = client.Filters{}
	}
	f.Values.Add("dry-run", "true")
}

// Pruned is the title over what a prune removed, or with dry would remove.
func Pruned(kind string, dry bool) string {
	if dry {
		return kind + " that would be deleted:"
	}
	return "Deleted " + kind + ":"
}

// Reclaimed goes before the space that a prune gave back, or would.
func Reclaimed(dry bool) string {
	if dry {
		return "Space that would be reclaimed: "
	}
	return "Total reclaimed space: "
}
