package server_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
)

// The fake engine writes into the connection that it gets, raw as with a
// terminal; what the client sees must be one binary frame and the closing one.
func TestAttachOverWebSocket(t *testing.T) {
	_, _, socket, _ := start(t)
	for version, want := range map[string]string{"1.41": "\x82\x09attached \x88\x02\x03\xe8", "1.24": "\x81\x09attached \x88\x02\x03\xe8"} {
		conn, err := net.Dial("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "GET /v%s/containers/tty/attach/ws?stream=1 HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", version)
		in := bufio.NewReader(conn)
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("Sec-Websocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
			t.Errorf("at %s: %s %v", version, resp.Status, resp.Header)
		}
		got, err := io.ReadAll(in)
		if err != nil || string(got) != want {
			t.Errorf("at %s: %q, %v; want %q", version, got, err, want)
		}
	}
}
