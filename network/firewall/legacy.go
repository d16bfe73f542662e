package firewall

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Layout of linux/netfilter_ipv4/ip_tables.h.
const (
	iptSoGetInfo, iptSoGetEntries = 64, 65
	iptNameLen                    = 32
	iptInfoSize                   = 84 // struct ipt_getinfo
	iptInfoUnderflow              = 56 // offset of underflow[]
	iptInfoTableSize              = 80
	iptEntriesHeader              = 40 // struct ipt_get_entries before its table
	iptEntryTargetOffset          = 88
	iptEntrySize                  = 112
	iptInIface                    = 16
	iptTargetVerdict              = 32
	maxLegacyTable                = 16 << 20
	hookForward                   = 2
	verdictAccept, verdictDrop    = -2, -1 // as stored: -verdict-1
)

// LegacyWarning returns a sentence when iptables-legacy drops forwarded traffic
// and lacks a rule for one of the bridges, else "". Sampan does not change those tables:
// they are shared without transactions and not visible to nftables.
func LegacyWarning(bridges []string) string {
	if !legacyFilterLoaded() {
		return ""
	}
	dropped, let, err := legacyForward()
	if err != nil || !dropped {
		return ""
	}
	var shut, commands []string
	for _, b := range bridges {
		if !slices.Contains(let, b) {
			shut = append(shut, b)
			commands = append(commands, fmt.Sprintf("iptables-legacy -I FORWARD -i %[1]s -j ACCEPT && iptables-legacy -I FORWARD -o %[1]s -j ACCEPT", b))
		}
	}
	if len(shut) == 0 {
		return ""
	}
	return fmt.Sprintf("the FORWARD policy of iptables-legacy is DROP, so containers on %s cannot reach other networks (nor each other, where bridges are filtered) and published ports cannot be reached from other hosts; run: %s", strings.Join(shut, ", "), strings.Join(commands, " && "))
}

// legacyFilterLoaded asks first, because the query itself would create the table.
func legacyFilterLoaded() bool {
	f, err := os.Open("/proc/net/ip_tables_names")
	if err != nil {
		return false
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if s.Text() == "filter" {
			return true
		}
	}
	return false
}

// legacyForward tells whether the FORWARD policy is DROP, and which bridges have a rule that
// accepts what comes from them.
func legacyForward() (policyDrop bool, letThrough []string, err error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return false, nil, fmt.Errorf("open a raw socket: %w", err)
	}
	defer unix.Close(fd)
	info := make([]byte, iptInfoSize)
	copy(info, "filter")
	if err := getsockopt(fd, iptSoGetInfo, info); err != nil {
		return false, nil, err
	}
	size := binary.NativeEndian.Uint32(info[iptInfoTableSize:])
	forward := binary.NativeEndian.Uint32(info[iptInfoUnderflow+4*hookForward:])
	if size > maxLegacyTable {
		return false, nil, fmt.Errorf("the iptables-legacy filter table is too big (%d bytes)", size)
	}
	table := make([]byte, iptEntriesHeader+size)
	copy(table, "filter")
	binary.NativeEndian.PutUint32(table[iptNameLen:], size)
	if err := getsockopt(fd, iptSoGetEntries, table); err != nil {
		return false, nil, err
	}
	policyDrop, letThrough = parseLegacy(table[iptEntriesHeader:], forward)
	return policyDrop, letThrough, nil
}

// parseLegacy walks the entries; forward is the offset of the FORWARD policy.
func parseLegacy(table []byte, forward uint32) (policyDrop bool, letThrough []string) {
	for at := uint32(0); uint64(at)+iptEntrySize <= uint64(len(table)); {
		e := table[at:]
		target := uint32(binary.NativeEndian.Uint16(e[iptEntryTargetOffset:]))
		next := uint32(binary.NativeEndian.Uint16(e[iptEntryTargetOffset+2:]))
		if next < iptEntrySize || target+iptTargetVerdict+4 > next || uint64(next) > uint64(len(e)) {
			return policyDrop, letThrough
		}
		if e[target+2] == 0 { // the standard target has an empty name
			verdict := int32(binary.NativeEndian.Uint32(e[target+iptTargetVerdict:]))
			in, _, _ := bytes.Cut(e[iptInIface:iptInIface+unix.IFNAMSIZ], []byte{0})
			if verdict == verdictAccept && len(in) > 0 {
				letThrough = append(letThrough, string(in))
			}
			policyDrop = policyDrop || (at == forward && verdict == verdictDrop)
		}
		at += next
	}
	return policyDrop, letThrough
}

func getsockopt(fd, opt int, buf []byte) error {
	n := uint32(len(buf))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.IPPROTO_IP, uintptr(opt),
		uintptr(unsafe.Pointer(&buf[0])), uintptr(unsafe.Pointer(&n)), 0)
	if errno != 0 {
		return fmt.Errorf("read the iptables-legacy filter table: %w", errno)
	}
	return nil
}
