package server

import (
	"io"
	"net/http"
)

// downloadBuffer is what is gathered before a write to the client.
const downloadBuffer = 256 << 10

// Download answers with a stream of bytes that work writes. begin sends the header;
// an error before it becomes a status, and after it the connection is cut, so
// that no client takes a part for the whole.
func (c *Call) Download(contentType string, work func(begin func() io.Writer) error) error {
	d := &download{w: c.W}
	err := work(func() io.Writer {
		if !d.begun {
			d.begun = true
			c.W.Header().Set("Content-Type", contentType)
			c.W.WriteHeader(http.StatusOK)
		}
		return d
	})
	if err == nil {
		err = d.flush()
	}
	if err != nil && d.begun {
		panic(http.ErrAbortHandler)
	}
	return err
}

type download struct {
	w     io.Writer
	begun bool
	buf   []byte
}

func (d *download) Write(p []byte) (int, error) {
	if len(d.buf)+len(p) > downloadBuffer {
		if err := d.flush(); err != nil {
			return 0, err
		}
	}
	if len(p) >= downloadBuffer {
		return d.w.Write(p)
	}
	if d.buf == nil {
		d.buf = make([]byte, 0, downloadBuffer)
	}
	d.buf = append(d.buf, p...)
	return len(p), nil
}

func (d *download) flush() error {
	_, err := d.w.Write(d.buf)
	d.buf = d.buf[:0]
	return err
}
