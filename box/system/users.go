package system

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"

	"github.com/sampan-containers/sampan/box/tool"
)

// account is the ids of a user; groups begins with the main one.
type account struct {
	uid    int
	groups []int
}

func userName(id int) string {
	if u, err := user.LookupId(strconv.Itoa(id)); err == nil {
		return u.Username
	}
	return ""
}

func groupName(id int) string {
	if g, err := user.LookupGroupId(strconv.Itoa(id)); err == nil {
		return g.Name
	}
	return ""
}

func lookupAccount(name string) (*account, error) {
	if name == "" {
		a := &account{uid: os.Geteuid(), groups: []int{os.Getegid()}}
		list, err := os.Getgroups()
		for _, g := range list {
			if g != a.groups[0] {
				a.groups = append(a.groups, g)
			}
		}
		return a, err
	}
	u, err := user.Lookup(name)
	if err != nil {
		if u, err = user.LookupId(name); err != nil {
			return nil, fmt.Errorf("%s: no such user", name)
		}
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return nil, err
	}
	a := &account{uid: uid}
	ids, err := u.GroupIds()
	if err != nil {
		ids = []string{u.Gid}
	}
	for _, text := range append([]string{u.Gid}, ids...) {
		g, err := strconv.Atoi(text)
		if err == nil && (len(a.groups) == 0 || g != a.groups[0]) {
			a.groups = append(a.groups, g)
		}
	}
	return a, nil
}

func id(c *tool.Call) int {
	o, status, ok := c.Options("ugGnr u=user g=group G=groups n=name r=real")
	if !ok {
		return status
	}
	name := ""
	if len(o.Args) > 0 {
		name = o.Args[0]
	}
	a, err := lookupAccount(name)
	if err != nil {
		return c.Fail("%s", err)
	}
	show := func(n int, lookup func(int) string) string {
		if text := lookup(n); text != "" && o.Has('n') {
			return text
		}
		return strconv.Itoa(n)
	}
	both := func(n int, lookup func(int) string) string {
		if text := lookup(n); text != "" {
			return fmt.Sprintf("%d(%s)", n, text)
		}
		return strconv.Itoa(n)
	}
	var groups []string
	switch {
	case o.Has('u'):
		fmt.Fprintln(c.Out, show(a.uid, userName))
	case o.Has('g'):
		fmt.Fprintln(c.Out, show(a.groups[0], groupName))
	case o.Has('G'):
		for _, g := range a.groups {
			groups = append(groups, show(g, groupName))
		}
		fmt.Fprintln(c.Out, strings.Join(groups, " "))
	default:
		for _, g := range a.groups {
			groups = append(groups, both(g, groupName))
		}
		fmt.Fprintf(c.Out, "uid=%s gid=%s groups=%s\n", both(a.uid, userName), both(a.groups[0], groupName), strings.Join(groups, ","))
	}
	return tool.OK
}

func whoami(c *tool.Call) int {
	name := userName(os.Geteuid())
	if name == "" {
		return c.Fail("cannot find a name for user ID %d", os.Geteuid())
	}
	fmt.Fprintln(c.Out, name)
	return tool.OK
}
