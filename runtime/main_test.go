package runtime

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/runtime/cgroup"
)

// Groups of the tests are called launch-test-PID…, with the process id of the test.
const testGroup = "launch-test-"

// TestMain lets no control group stay behind: those of a test that was killed are
// removed by the next one, and its own must be gone when it ends.
func TestMain(m *testing.M) {
	removeGroups(func(pid int) bool { return unix.Kill(pid, 0) == unix.ESRCH })
	code := m.Run()
	if left := removeGroups(func(pid int) bool { return pid == os.Getpid() }); len(left) > 0 {
		fmt.Println("FAIL: control groups were left:", left)
		code = 1
	}
	os.Exit(code)
}

// removeGroups removes the groups of tests whose process is wanted, with what runs in
// them, and names them.
func removeGroups(wanted func(pid int) bool) []string {
	var names []string
	found, _ := filepath.Glob("/sys/fs/cgroup/*/sampan/" + testGroup + "*")
	for _, dir := range found {
		name := filepath.Base(dir)
		number, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(name, testGroup), "seal-"), "-")
		pid, err := strconv.Atoi(number)
		if err != nil || !wanted(pid) {
			continue
		}
		names = append(names, dir)
		g, err := cgroup.Load("/sampan/" + name)
		if err != nil {
			continue // removed with the same group of another hierarchy
		}
		_ = g.Kill(context.Background())
		_ = g.Remove(context.Background())
		_ = g.Close()
	}
	return names
}
