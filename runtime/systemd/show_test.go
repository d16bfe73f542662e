package systemd

import (
	"encoding/binary"
	"fmt"
	"strings"
)

func littleEndian() binary.ByteOrder { return binary.LittleEndian }

// show writes properties as systemctl would.
func show(list []prop) string {
	var out []string
	for _, p := range list {
		value := fmt.Sprint(p.value)
		if n, ok := p.value.(numberValue); ok {
			value = fmt.Sprintf("%c%d", n.kind, n.value)
		}
		out = append(out, p.name+"="+value)
	}
	return strings.Join(out, " ")
}
