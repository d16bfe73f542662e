package runtime_test

import (
	"log"
	"os"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/runtime"
)

// A program that runs a command in a container: here in a copy of the host's own files,
// read-only, in namespaces of its own.
func Example() {
	spec := &specs.Spec{
		Process: &specs.Process{Args: []string{"hostname"}, Cwd: "/", Env: []string{"PATH=/bin:/usr/bin"}},
		Root:    &specs.Root{Path: "/", Readonly: true},
		Linux: &specs.Linux{Namespaces: []specs.LinuxNamespace{
			{Type: specs.MountNamespace}, {Type: specs.PIDNamespace}, {Type: specs.UTSNamespace}, {Type: specs.NetworkNamespace},
		}},
		Mounts:   []specs.Mount{{Destination: "/dev", Type: "tmpfs", Source: "tmpfs"}},
		Hostname: "in-a-container",
	}
	c, err := runtime.Launch(&runtime.LaunchSpec{ID: "example", Spec: spec, Stdio: [3]*os.File{nil, os.Stdout, os.Stderr}})
	if err != nil {
		log.Fatal(err)
	}
	var status unix.WaitStatus
	if _, err := unix.Wait4(c.Pid, &status, unix.WALL, nil); err != nil {
		log.Fatal(err)
	}
	if err := c.Destroy(); err != nil {
		log.Fatal(err)
	}
}
