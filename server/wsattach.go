package server

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"

	"github.com/sampan-containers/sampan/server/websocket"
)

// binaryFramesSince is the version in which streams over WebSocket became binary.
var binaryFramesSince = V(1, 28)

// frames is how a hijacked connection speaks WebSocket.
type frames struct {
	accept string
	opcode byte
	conn   *websocket.Conn
}

// HijackWebSocket is Hijack for a client that asks for a WebSocket. The frames
// are made here: the stream runs through the daemon, and ends with it.
func (c *Call) HijackWebSocket() (*Hijacking, error) {
	accept, err := websocket.Accept(c.Request.Header)
	if err != nil {
		return nil, err
	}
	opcode := byte(websocket.Binary)
	if c.Version < binaryFramesSince {
		opcode = websocket.Text
	}
	return &Hijacking{c: c, frames: &frames{accept: accept, opcode: opcode}}, nil
}

func (f *frames) header() []byte {
	return fmt.Appendf(nil, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", f.accept)
}

// descriptor returns one end of a socket pair, on whose other end a pump makes
// frames of what comes and takes them from what goes.
func (f *frames) descriptor(client net.Conn, ahead []byte, tty bool, settled <-chan struct{}) (*os.File, error) {
	local, far, err := localPair()
	if err != nil {
		return nil, fmt.Errorf("make a socket pair for a WebSocket: %w", err)
	}
	f.conn = websocket.New(io.MultiReader(bytes.NewReader(ahead), client), client, f.opcode)
	go f.pump(client, local, tty, settled)
	return far, nil
}

// pump copies both ways until the shim closes its side.
func (f *frames) pump(client net.Conn, local *net.UnixConn, tty bool, settled <-chan struct{}) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		if _, err := io.Copy(local, f.conn); err != nil {
			_ = local.Close() // gone, or breaking the protocol: nobody is to write to it
			return
		}
		_ = local.CloseWrite()
	}()
	if tty {
		_, _ = io.Copy(f.conn, local)
	} else {
		copyFrames(f.conn, local)
	}
	<-settled
	_ = f.conn.CloseWrite()
	_ = client.Close()
	<-done
	_ = local.Close()
}

// copyFrames takes the headers of Docker's multiplexed stream away: over a
// WebSocket both outputs come as one.
func copyFrames(to io.Writer, from io.Reader) {
	var header [8]byte
	buf := make([]byte, 32<<10)
	for {
		if _, err := io.ReadFull(from, header[:]); err != nil {
			return
		}
		left := int(binary.BigEndian.Uint32(header[4:]))
		for left > 0 {
			n, err := from.Read(buf[:min(left, len(buf))])
			if n > 0 {
				if _, werr := to.Write(buf[:n]); werr != nil {
					return
				}
				left -= n
			}
			if err != nil {
				return
			}
		}
	}
}
