package layout

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
)

// marker is the file by which programs find out that they run in a container, as
// Docker's have it.
const marker = ".dockerenv"

// Lowers are a container's layers, top first, with the one above them that every
// container has. Having no directories but its root, it hides no attributes.
func (p *Paths) Lowers(layers []string) []string {
	if p.Base == "" || len(layers) == 0 { // a root without layers is a copy that has it
		return layers
	}
	return slices.Insert(slices.Clone(layers), 0, p.Base)
}

// MakeBase makes that layer.
func (p *Paths) MakeBase() error {
	if err := os.Mkdir(p.Base, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	f, err := os.OpenFile(filepath.Join(p.Base, marker), os.O_CREATE|os.O_RDONLY, 0o755)
	if err != nil {
		return err
	}
	return f.Close()
}
