package firewall

import (
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/network/netlink"
)

// UserTable is where the admin's own rules for forwarded traffic go. It is not
// part of our table, since nobody else can change one that our socket owns. What
// its chain drops stays dropped: an accept of ours does not override it. Sampan
// makes it, puts it back empty after a flush of everything, and takes it away at
// its end if it is empty still.
const UserTable = "sampan-user"

// userChain sees packets before our forward chain, after translation.
var userChain = chain{"forward", "filter", unix.NF_INET_FORWARD, -5}

// keepUserTable makes the table if it is missing.
func (t *Table) keepUserTable() {
	if t.conn == nil || tableExists(t.conn, UserTable) {
		return
	}
	if err := t.apply([]*netlink.Request{addTable(UserTable, 0), addChain(UserTable, userChain)}); err != nil {
		t.cfg.Log.Warn("the nftables table for your own rules cannot be made", "table", UserTable, "error", err)
	}
}

// dropUserTable removes the table unless somebody has put a rule or a chain
// into it.
func (t *Table) dropUserTable() error {
	if !tableExists(t.conn, UserTable) {
		return nil
	}
	chains := 0
	r := nftMsg("list the nftables chains", unix.NFT_MSG_GETCHAIN, 0, unix.NFPROTO_INET)
	err := t.conn.Dump(r, func(body []byte) error {
		if len(body) < 4 {
			return nil
		}
		for typ, v := range netlink.Attrs(body[4:]) {
			if typ == unix.NFTA_CHAIN_TABLE && text(v) == UserTable {
				chains++
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	rules, err := listRules(t.conn, unix.NFPROTO_INET, UserTable, userChain.name)
	if err != nil || len(rules) > 0 || chains > 1 {
		return err
	}
	return t.apply([]*netlink.Request{delTable(UserTable)})
}

func tableExists(conn *netlink.Conn, name string) bool {
	r := nftMsg("look up the nftables table inet "+name, unix.NFT_MSG_GETTABLE, 0, unix.NFPROTO_INET).String(unix.NFTA_TABLE_NAME, name)
	return conn.Get(r, func([]byte) error { return nil }) == nil
}
