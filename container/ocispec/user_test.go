package ocispec

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/sampan-containers/sampan/fault"
)

const passwdText = `root:x:0:0:root:/root:/bin/sh
# comment:x:5:5::/:
web:x:1000:1001:Web:/srv/web:/bin/sh
1000:x:0:0:trap:/root:/bin/sh
4294967295:x:0:0:trap:/root:/bin/sh
noentry:x:99999999999:0::/x:/bin/sh
minus:x:-1:0::/x:/bin/sh
relative:x:7:7::home:/bin/sh
short:x:8
`

const groupText = `root:x:0:
wheel:x:10:root,web
web:x:1001:
extra:x:2000:web,web
bad:x:notanumber:web
42:x:4242:
`

func TestResolveUser(t *testing.T) {
	tests := []struct {
		user   string
		add    []string
		want   User
		refuse string
	}{
		{user: "", want: User{UID: 0, GID: 0, Groups: []uint32{0, 10}, Home: "/root"}},
		{user: "root", want: User{UID: 0, GID: 0, Groups: []uint32{0, 10}, Home: "/root"}},
		{user: "web", want: User{UID: 1000, GID: 1001, Groups: []uint32{1001, 10, 2000}, Home: "/srv/web"}},
		// CVE-2016-3697: the number, not the hostile entry named 1000.
		{user: "1000", want: User{UID: 1000, GID: 1001, Groups: []uint32{1001, 10, 2000}, Home: "/srv/web"}},
		{user: "1234", want: User{UID: 1234, GID: 0, Groups: []uint32{0}, Home: "/"}},
		{user: "web:wheel", want: User{UID: 1000, GID: 10, Groups: []uint32{10}, Home: "/srv/web"}},
		{user: "web:33", want: User{UID: 1000, GID: 33, Groups: []uint32{33}, Home: "/srv/web"}},
		{user: "web:42", want: User{UID: 1000, GID: 42, Groups: []uint32{42}, Home: "/srv/web"}},
		{user: "5:6", want: User{UID: 5, GID: 6, Groups: []uint32{6}, Home: "/"}},
		{user: "relative", want: User{UID: 7, GID: 7, Groups: []uint32{7}, Home: "/"}},
		{user: "5", add: []string{"wheel", "77"}, want: User{UID: 5, GID: 0, Groups: []uint32{0, 10, 77}, Home: "/"}},
		{user: "2147483647", want: User{UID: 2147483647, Groups: []uint32{0}, Home: "/"}},

		{user: "2147483648", refuse: "must be in range"},
		{user: "4294967295", refuse: "must be in range"},
		{user: "4294967296", refuse: "must be in range"},
		{user: "99999999999999999999", refuse: "must be in range"},
		{user: "-1", refuse: "must be in range"},
		{user: "+1", refuse: "must be in range"},
		{user: " 0", refuse: "blanks"},
		{user: "0\n", refuse: "blanks"},
		{user: "1:", refuse: "must follow the colon"},
		{user: ":1", want: User{UID: 0, GID: 1, Groups: []uint32{1}, Home: "/root"}},
		{user: "1:2:3", refuse: "must follow the colon"},
		{user: "1:-1", refuse: "must be in range"},
		{user: "noentry", refuse: "unable to find user noentry: no matching entries in passwd file"},
		{user: "minus", refuse: "unable to find user"},
		{user: "short", refuse: "unable to find user"},
		{user: "nobody", refuse: "unable to find user nobody: no matching entries in passwd file"},
		{user: "web:nogroup", refuse: "Unable to find group nogroup: no matching entries in group file"},
		{user: "web", add: []string{"bad"}, refuse: "Unable to find group bad"},
	}
	for _, tt := range tests {
		t.Run(tt.user, func(t *testing.T) {
			got, err := ResolveUser(tt.user, tt.add, []byte(passwdText), []byte(groupText))
			if tt.refuse != "" {
				if !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), tt.refuse) {
					t.Fatalf("got %+v, %v; want a refusal with %q", got, err, tt.refuse)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got.UID != tt.want.UID || got.GID != tt.want.GID || got.Home != tt.want.Home || !slices.Equal(got.Groups, tt.want.Groups) {
				t.Fatalf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestResolveUserIsBounded(t *testing.T) {
	group := strings.Repeat("g:x:1:root\n", maxEntries) + "late:x:9:root\n"
	u, err := ResolveUser("root", nil, []byte("root:x:0:0::/root:\n"), []byte(group))
	if err != nil {
		t.Fatal(err)
	}
	if slices.Contains(u.Groups, 9) {
		t.Fatal("a line beyond the limit was read")
	}
	var many strings.Builder
	for i := range 70_000 {
		many.WriteString("g:x:" + strconv.Itoa(i) + ":w\n")
	}
	u, err = ResolveUser("w", nil, []byte("w:x:1:1::/:\n"), []byte(many.String()))
	if err != nil {
		t.Fatal(err)
	}
	if len(u.Groups) > maxGroups {
		t.Fatalf("%d groups are more than the kernel takes", len(u.Groups))
	}
}

func FuzzResolveUser(f *testing.F) {
	f.Add("web:wheel", []byte(passwdText), []byte(groupText))
	f.Add("0", []byte("::::::\n:"), []byte("\x00:x:1"))
	f.Fuzz(func(t *testing.T, user string, passwd, group []byte) {
		u, err := ResolveUser(user, nil, passwd, group)
		if err != nil {
			return
		}
		if u.UID > maxID || u.GID > maxID || !strings.HasPrefix(u.Home, "/") || !slices.Contains(u.Groups, u.GID) {
			t.Fatalf("%q: %+v", user, u)
		}
	})
}
