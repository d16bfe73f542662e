package links

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/container"
	mobynet "github.com/moby/moby/api/types/network"

	"github.com/sampan-containers/sampan/container/record"
	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/network"
)

func TestParse(t *testing.T) {
	for _, tc := range []struct{ link, target, alias string }{
		{"db", "db", "db"},
		{"db:database", "db", "database"},
		{"/db:/web/database", "db", "database"},
		{"", "", ""},
		{":x", "", ""},
		{"db:", "", ""},
		{"db:a:b", "", ""},
		{"db:a/b", "", ""},
		{"db:a\n1.2.3.4 b", "", ""},
		{"db:" + strings.Repeat("x", 300), "", ""},
	} {
		target, alias, err := Parse(tc.link)
		if target != tc.target || alias != tc.alias || (err == nil) != (tc.target != "") || err != nil && !errors.Is(err, fault.Invalid) {
			t.Errorf("Parse(%.20q) = %q, %q, %v", tc.link, target, alias, err)
		}
	}
}

func linked() *link {
	rec := &record.Record{ID: "1", Name: "db", Config: &container.Config{Hostname: "host",
		Env:          []string{"PATH=/bin", "HOME=/", "A=1", "B=x=y", "C"},
		ExposedPorts: mobynet.PortSet{mobynet.MustParsePort("6001/tcp"): {}, mobynet.MustParsePort("6000/tcp"): {}, mobynet.MustParsePort("53/udp"): {}}},
		HostConfig: &container.HostConfig{PortBindings: mobynet.PortMap{mobynet.MustParsePort("6002/tcp"): nil}}}
	rec.State.Net = &network.Joined{Endpoints: []network.Endpoint{{Network: "bridge", IP: netip.MustParsePrefix("172.17.0.2/16")}}}
	return &link{rec, "data-base"}
}

// What docker.io 20.10 sets for such a container.
func TestVariables(t *testing.T) {
	const want = `DATA_BASE_PORT=udp://172.17.0.2:53
DATA_BASE_PORT_6000_TCP_START=tcp://172.17.0.2:6000
DATA_BASE_PORT_6000_TCP_ADDR=172.17.0.2
DATA_BASE_PORT_6000_TCP_PROTO=tcp
DATA_BASE_PORT_6000_TCP_PORT_START=6000
DATA_BASE_PORT_6000_TCP_END=tcp://172.17.0.2:6002
DATA_BASE_PORT_6000_TCP_PORT_END=6002
DATA_BASE_PORT_53_UDP=udp://172.17.0.2:53
DATA_BASE_PORT_53_UDP_ADDR=172.17.0.2
DATA_BASE_PORT_53_UDP_PORT=53
DATA_BASE_PORT_53_UDP_PROTO=udp
DATA_BASE_PORT_6000_TCP=tcp://172.17.0.2:6000
DATA_BASE_PORT_6000_TCP_ADDR=172.17.0.2
DATA_BASE_PORT_6000_TCP_PORT=6000
DATA_BASE_PORT_6000_TCP_PROTO=tcp
DATA_BASE_PORT_6001_TCP=tcp://172.17.0.2:6001
DATA_BASE_PORT_6001_TCP_ADDR=172.17.0.2
DATA_BASE_PORT_6001_TCP_PORT=6001
DATA_BASE_PORT_6001_TCP_PROTO=tcp
DATA_BASE_PORT_6002_TCP=tcp://172.17.0.2:6002
DATA_BASE_PORT_6002_TCP_ADDR=172.17.0.2
DATA_BASE_PORT_6002_TCP_PORT=6002
DATA_BASE_PORT_6002_TCP_PROTO=tcp
DATA_BASE_NAME=/web/data-base
DATA_BASE_ENV_A=1
DATA_BASE_ENV_B=x=y`
	l := linked()
	got := variables(l, "web", l.address())
	if text := strings.Join(got, "\n"); text != want {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
}

func TestRewrite(t *testing.T) {
	l := linked()
	if want := []string{"data-base", "host", "db"}; !slices.Equal(l.names(), want) {
		t.Fatalf("names %q", l.names())
	}
	const before = "127.0.0.1\tlocalhost\n172.17.0.2\tdata-base\n172.17.0.2\tdb\n# a remark\n172.17.0.3\tweb\n10.0.0.1 db other\n"
	const want = "127.0.0.1\tlocalhost\n172.17.0.9\tdata-base\n172.17.0.9\tdb\n# a remark\n172.17.0.3\tweb\n10.0.0.1 db other\n"
	if got := l.rewrite(before, "172.17.0.9"); got != want {
		t.Errorf("got %q", got)
	}
}
