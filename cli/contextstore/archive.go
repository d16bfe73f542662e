package contextstore

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
)

const tlsPrefix = "tls/" + dockerEnd + "/"

// Export writes a context with its TLS material as a tar archive.
func (s Store) Export(w io.Writer, name string) error {
	c, err := s.Get(name)
	if err != nil {
		return err
	}
	raw, err := json.Marshal(c)
	if err != nil {
		return err
	}
	tw := tar.NewWriter(w)
	if err := add(tw, metaFile, raw, 0o644); err != nil {
		return err
	}
	files := s.TLS(name)
	for _, file := range TLSFiles {
		if files[file] == "" {
			continue
		}
		raw, err := os.ReadFile(files[file])
		if err != nil {
			return err
		}
		if err := add(tw, tlsPrefix+file, raw, 0o600); err != nil {
			return err
		}
	}
	return tw.Close()
}

func add(tw *tar.Writer, name string, raw []byte, mode int64) error {
	if err := tw.WriteHeader(&tar.Header{Name: name, Mode: mode, Size: int64(len(raw)), Typeflag: tar.TypeReg}); err != nil {
		return err
	}
	_, err := tw.Write(raw)
	return err
}

// foreign tells whether a file of an archive is TLS material of an endpoint that
// is not an Engine API: Docker had one for Kubernetes until 2021, and puts back
// what it does not know. It is left out, since nothing here could use it.
func foreign(file string) bool {
	end, name, ok := strings.Cut(strings.TrimPrefix(file, "tls/"), "/")
	return ok && strings.HasPrefix(file, "tls/") && end != dockerEnd && slices.Contains(TLSFiles, name)
}

// Import stores what Export or Docker wrote, under another name. Nothing in the
// archive says where a file goes.
func (s Store) Import(r io.Reader, name string) error {
	var c *Context
	files := map[string][]byte{}
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("the archive is not one of `context export`: %w", err)
		}
		file := path.Clean(h.Name)
		if h.Typeflag != tar.TypeReg {
			continue
		}
		if h.Size > maxFile {
			return fmt.Errorf("%q in the archive has %d bytes, more than a context may have (%d)", h.Name, h.Size, maxFile)
		}
		raw, err := io.ReadAll(tr)
		if err != nil {
			return fmt.Errorf("read %q in the archive: %w", h.Name, err)
		}
		switch {
		case file == metaFile:
			c = &Context{}
			if err := json.Unmarshal(raw, c); err != nil {
				return fmt.Errorf("%q in the archive is not valid: %w", h.Name, err)
			}
		case path.Dir(file)+"/" == tlsPrefix && slices.Contains(TLSFiles, path.Base(file)):
			files[path.Base(file)] = raw
		case foreign(file):
			// What Docker stored for another endpoint: the context is as good without it.
		default:
			return fmt.Errorf("the archive has a file %q, which a context does not have", h.Name)
		}
	}
	if c == nil {
		return fmt.Errorf("the archive is not one of `context export`: it has no %s", metaFile)
	}
	c.Name = name
	if err := s.SetTLS(name, files); err != nil {
		return err
	}
	return s.Put(c)
}
