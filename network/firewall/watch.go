package firewall

import (
	"encoding/binary"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// settle lets a reload of the host's firewall finish before we look, and
	// bounds how often we do while something changes rules all the time.
	settle = 100 * time.Millisecond
	// eventSize holds one event; what is cut off is not needed.
	eventSize = 8 << 10
	// nftablesGroup is NFNLGRP_NFTABLES.
	nftablesGroup = 7
)

// watcher calls a function after changes of the host's nftables rules. It waits
// in the network poller and costs nothing while the rules stay as they are.
type watcher struct {
	sock *os.File
	once sync.Once
	done chan struct{}
}

func watch(changed func()) (*watcher, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("watch the host's firewall rules: %w", err)
	}
	err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, nftablesGroup)
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("watch the host's firewall rules: %w", err)
	}
	w := &watcher{sock: os.NewFile(uintptr(fd), "nftables events"), done: make(chan struct{})}
	go w.run(changed)
	return w, nil
}

func (w *watcher) run(changed func()) {
	defer close(w.done)
	buf := make([]byte, eventSize)
	for {
		n, err := w.sock.Read(buf)
		if err == nil && !structural(buf[:n]) {
			continue
		}
		if err != nil && !isOverrun(err) {
			return // closed
		}
		// Take everything that arrives meanwhile as one change.
		if w.sock.SetReadDeadline(time.Now().Add(settle)) != nil {
			return
		}
		for until := time.Now().Add(settle); time.Now().Before(until); {
			if _, err := w.sock.Read(buf); os.IsTimeout(err) {
				break
			} else if err != nil && !isOverrun(err) {
				return
			}
		}
		if w.sock.SetReadDeadline(time.Time{}) != nil {
			return
		}
		changed()
	}
}

func (w *watcher) close() {
	w.once.Do(func() { w.sock.Close() })
	<-w.done
}

// structural tells whether the datagram speaks of a table, chain or rule;
// elements come and go with every published port, ours and others'.
func structural(b []byte) bool {
	for len(b) >= unix.NLMSG_HDRLEN {
		n := int(binary.NativeEndian.Uint32(b))
		typ := binary.NativeEndian.Uint16(b[4:])
		if typ>>8 == unix.NFNL_SUBSYS_NFTABLES {
			switch typ & 0xff {
			case unix.NFT_MSG_NEWTABLE, unix.NFT_MSG_DELTABLE, unix.NFT_MSG_NEWCHAIN, unix.NFT_MSG_DELCHAIN, unix.NFT_MSG_NEWRULE, unix.NFT_MSG_DELRULE:
				return true
			}
		}
		if n < unix.NLMSG_HDRLEN || n > len(b) {
			return false
		}
		b = b[min((n+3)&^3, len(b)):]
	}
	return false
}

// isOverrun tells whether events were lost (ENOBUFS): something changed.
func isOverrun(err error) bool {
	pe, ok := err.(*os.PathError)
	return ok && pe.Err == unix.ENOBUFS
}
