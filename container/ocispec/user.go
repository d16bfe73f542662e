package ocispec

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/sampan-containers/sampan/fault"
)

// User is a resolved user of a container.
type User struct {
	UID, GID uint32
	Groups   []uint32 // supplementary
	Home     string
}

const (
	// maxID is the largest id the kernel's tools agree on: 2^32-1 means "none",
	// and beyond 2^31-1 some programs read a negative number (CVE-2024-40635).
	maxID = 1<<31 - 1
	// maxEntries bounds how many lines of a hostile passwd or group file are read.
	maxEntries = 100_000
	// maxGroups is the kernel's NGROUPS_MAX.
	maxGroups = 65536
)

// ResolveUser finds the user "", name, uid, name:group, uid:gid and the groups
// of --group-add in the texts of the container's passwd and group files, which
// are untrusted. A number always means the number, even where a hostile passwd
// has an entry of that name (CVE-2016-3697).
func ResolveUser(user string, groupAdd []string, passwd, group []byte) (User, error) {
	name, groupName, hasGroup := strings.Cut(user, ":")
	if hasGroup && (groupName == "" || strings.Contains(groupName, ":")) {
		return User{}, fault.New(fault.Invalid, "invalid user %q: a group name or id must follow the colon (use USER or USER:GROUP)", user)
	}
	u := User{Home: "/"}
	entry, err := findUser(name, passwd)
	if err != nil {
		return User{}, err
	}
	u.UID, u.GID = entry.uid, entry.gid
	if entry.home != "" {
		u.Home = entry.home
	}
	groups := newGroupSet()
	if hasGroup {
		if u.GID, err = findGroup(groupName, group); err != nil {
			return User{}, err
		}
	} else if entry.name != "" {
		groupsOf(entry.name, group, groups)
	}
	for _, g := range groupAdd {
		gid, err := findGroup(g, group)
		if err != nil {
			return User{}, err
		}
		groups.add(gid)
	}
	// The primary group belongs to the list as well: without it a file closed to
	// the group but open to others could be reached (CVE-2022-36109).
	groups.addFirst(u.GID)
	u.Groups = groups.ids
	return u, nil
}

type passwdEntry struct {
	name     string
	uid, gid uint32
	home     string
}

func findUser(name string, passwd []byte) (passwdEntry, error) {
	id, numeric, err := parseID("user", name)
	if err != nil {
		return passwdEntry{}, err
	}
	if name == "" {
		numeric = true // root
	}
	var found passwdEntry
	ok := eachLine(passwd, func(f []string) bool {
		if len(f) < 4 {
			return false
		}
		uid, uok := fileID(f[2])
		gid, gok := fileID(f[3])
		if !uok || !gok {
			return false
		}
		if numeric && uid != id || !numeric && f[0] != name {
			return false
		}
		found = passwdEntry{name: f[0], uid: uid, gid: gid}
		if len(f) > 5 && strings.HasPrefix(f[5], "/") {
			found.home = f[5]
		}
		return true
	})
	if ok {
		return found, nil
	}
	if numeric {
		return passwdEntry{uid: id}, nil
	}
	return passwdEntry{}, fault.New(fault.Invalid, "unable to find user %s: no matching entries in passwd file", name)
}

func findGroup(name string, group []byte) (uint32, error) {
	id, numeric, err := parseID("group", name)
	if err != nil {
		return 0, err
	}
	if numeric {
		return id, nil
	}
	var gid uint32
	ok := eachLine(group, func(f []string) bool {
		if len(f) < 3 || f[0] != name {
			return false
		}
		g, ok := fileID(f[2])
		gid = g
		return ok
	})
	if !ok {
		return 0, fault.New(fault.Invalid, "Unable to find group %s: no matching entries in group file", name)
	}
	return gid, nil
}

func groupsOf(user string, group []byte, set *groupSet) {
	eachLine(group, func(f []string) bool {
		if len(f) < 4 {
			return false
		}
		gid, ok := fileID(f[2])
		if !ok {
			return false
		}
		for _, member := range strings.Split(f[3], ",") {
			if member == user {
				set.add(gid)
				break
			}
		}
		return false
	})
}

// parseID tells whether text is a number; one out of range, or one that only
// looks like one (sign, blanks), is refused rather than taken for a name.
func parseID(kind, text string) (id uint32, numeric bool, err error) {
	if text == "" {
		return 0, false, nil
	}
	if strings.TrimSpace(text) != text || strings.ContainsFunc(text, func(r rune) bool { return r < 0x20 || r == 0x7f }) {
		return 0, false, fault.New(fault.Invalid, "invalid %s %q: blanks and control characters are not allowed", kind, text)
	}
	n, convErr := strconv.ParseInt(text, 10, 64)
	if convErr != nil {
		if isDigits(strings.TrimLeft(text, "+-")) {
			return 0, false, fault.New(fault.Invalid, "invalid %s %q: uids and gids must be in range 0-%d", kind, text, maxID)
		}
		return 0, false, nil
	}
	if n < 0 || n > maxID || text[0] == '+' {
		return 0, false, fault.New(fault.Invalid, "invalid %s %q: uids and gids must be in range 0-%d", kind, text, maxID)
	}
	return uint32(n), true, nil
}

func isDigits(s string) bool {
	if s == "" {
		return false
	}
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// fileID parses an id inside passwd or group; a bad one makes the line void.
func fileID(s string) (uint32, bool) {
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err == nil && n <= maxID
}

// eachLine calls f with the fields of each line until it returns true.
func eachLine(data []byte, f func(fields []string) bool) bool {
	for n := 0; len(data) > 0 && n < maxEntries; n++ {
		line := data
		if i := bytes.IndexByte(data, '\n'); i >= 0 {
			line, data = data[:i], data[i+1:]
		} else {
			data = nil
		}
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' || bytes.IndexByte(line, 0) >= 0 {
			continue
		}
		if f(strings.Split(string(line), ":")) {
			return true
		}
	}
	return false
}

type groupSet struct {
	seen map[uint32]bool
	ids  []uint32
}

func newGroupSet() *groupSet { return &groupSet{seen: map[uint32]bool{}} }

func (g *groupSet) add(id uint32) {
	if !g.seen[id] && len(g.ids) < maxGroups-1 {
		g.seen[id] = true
		g.ids = append(g.ids, id)
	}
}

func (g *groupSet) addFirst(id uint32) {
	if g.seen[id] {
		return
	}
	g.seen[id] = true
	g.ids = append([]uint32{id}, g.ids...)
}
