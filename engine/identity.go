package engine

import (
	"crypto/rand"
	"fmt"
	"net"
	"os"

	"github.com/sampan-containers/sampan/state"
)

const (
	identityBucket = "meta"
	identityKey    = "engine-id"
)

// Identity returns the engine's id, which is made once per data root.
func Identity(store *state.Store) (string, error) {
	var id string
	err := store.Update(func(tx *state.Tx) error {
		found, err := tx.Get(identityBucket, identityKey, &id)
		if err != nil || found {
			return err
		}
		id = newIdentity()
		return tx.Put(identityBucket, identityKey, id)
	})
	return id, err
}

func newIdentity() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80 // a random UUID, RFC 9562
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// Notify tells the service manager about the daemon's state (sd_notify(3)), such
// as "READY=1". Without a service manager it does nothing.
func Notify(message string) error {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("notify the service manager: %w", err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte(message)); err != nil {
		return fmt.Errorf("notify the service manager: %w", err)
	}
	return nil
}
