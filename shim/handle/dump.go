package handle

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"runtime"

	"github.com/sampan-containers/sampan/runtime/checkpoint"
)

// maxSaid bounds what is told of a failed dump.
const maxSaid = 16 << 10

// Dump saves the processes of a container, by a helper process of the runtime's program.
func (s *Spawner) Dump(ctx context.Context, r *checkpoint.Request) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, fmt.Sprintf("/proc/self/fd/%d", s.fd()))
	cmd.Args = []string{"sampan-runtime", "dump"}
	cmd.Dir, cmd.Stdin, cmd.Stderr = "/", bytes.NewReader(data), &said
	err = cmd.Run()
	runtime.KeepAlive(s)
	if err != nil && said.Len() > 0 {
		return errors.New(string(said.Bytes()[:min(said.Len(), maxSaid)]))
	}
	return err
}
