package app

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// WriteTo copies a stream to a file, or to standard output when path is empty. A
// regular file appears under its name once it is whole.
func (a *App) WriteTo(path string, r io.Reader) error {
	if path == "" {
		_, err := io.Copy(a.Out, r)
		return err
	}
	if st, err := os.Stat(path); err == nil && !st.Mode().IsRegular() {
		if st.IsDir() {
			return fmt.Errorf("invalid output path: %q is a directory; name a file", path)
		}
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(f, r)
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".sampan-")
	if err != nil {
		return fmt.Errorf("invalid output path: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = io.Copy(f, r)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
