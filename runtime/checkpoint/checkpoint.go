// Package checkpoint saves the processes of a container into files and makes them
// again from those, by the program criu (CRIU, checkpoint/restore in userspace).
//
// Dump and Restore start "criu swrk", which serves one conversation on a socket: a
// request, notifications that each wait for an answer, a response (rpc.go, swrk.go).
// What is asked for is what runc asks for, so that the same options and configuration
// files (/etc/criu/runc.conf, the annotation org.criu.config) have the same effects,
// and the images of one runtime are read by the other where their mounts agree.
//
// A checkpoint is trusted as far as criu goes: it says which rights the processes get.
// Everything else comes from the caller: the mounts and namespaces from its
// specification, names of log files from here. Files of ours in the images' directory
// are read bounded and checked, and criu's logs never go through a link that lies there
// (CVE-2024-8676).
//
// Only the command line of the OCI runtime uses it: nothing of it may be in a
// supervisor's way. The messages are written by hand, since the generated code of go-criu
// would add to the start of every container; a test compares the two.
package checkpoint

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
)

const (
	dumpLog    = "dump.log"
	restoreLog = "restore.log"
	// defaultImages is where images lie without --image-path, as with runc.
	defaultImages = "checkpoint"
	// defaultConfig is read by criu if it is there; runc names the same.
	defaultConfig    = "/etc/criu/runc.conf"
	configAnnotation = "org.criu.config"
	// oldest is the first criu that freezes a control group of version 2 and takes
	// network and PID namespaces from outside; profiles of a security module need
	// oldestLSM.
	oldest    = 31500
	oldestLSM = 31600
)

// Options are those of runc's commands checkpoint and restore.
type Options struct {
	Program string // criu, looked for in PATH if empty
	Images  string // the directory of the images
	Work    string // for criu's log and statistics; empty: Images
	Parent  string // images of a pre-dump, relative to Images

	LeaveRunning, PreDump                    bool
	TCPEstablished, ExtUnixSockets, ShellJob bool
	FileLocks, AutoDedup, LazyPages          bool

	StatusFD                    int // gets a zero byte when lazy pages can be asked for; -1 without
	LSMProfile, LSMMountContext string

	emptyNet   bool
	cgroupMode uint64
	pageServer struct {
		address string
		port    uint64
	}
}

// Subject is a container, or what shall become one.
type Subject struct {
	ID   string
	Spec *specs.Spec
	Root string // its root file system on the host
	Pid  int    // its first process, for Dump
	// Groups are the directories of its control group by controller, "" for version 2.
	Groups map[string]string
}

// freezer is the directory by which criu stops all processes.
func (s *Subject) freezer() string {
	if dir, ok := s.Groups["freezer"]; ok {
		return dir
	}
	return s.Groups[""]
}

// SetPageServer takes ADDRESS:PORT.
func (o *Options) SetPageServer(text string) error {
	if text == "" {
		return nil
	}
	at := strings.LastIndexByte(text, ':')
	address, port := strings.Trim(text[:max(at, 0)], "[]"), text[at+1:]
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || address == "" || number == 0 {
		return fault.New(fault.Invalid, "--page-server %q is not ADDRESS:PORT, as in 192.0.2.7:27000", text)
	}
	o.pageServer.address, o.pageServer.port = address, number
	return nil
}

// The modes of criu's --manage-cgroups; it has others, which runc does not offer.
var cgroupModes = []struct {
	name  string
	value uint64
}{{"soft", 3}, {"full", 4}, {"strict", 5}, {"ignore", 0}}

// SetCgroupMode takes soft, full, strict or ignore.
func (o *Options) SetCgroupMode(text string) error {
	if text == "" {
		return nil
	}
	for _, m := range cgroupModes {
		if m.name == text {
			o.cgroupMode = m.value + 1 // zero is "not given"
			return nil
		}
	}
	return fault.New(fault.Invalid, "--manage-cgroups-mode %q is not soft, full, strict or ignore", text)
}

// SetEmptyNamespaces takes the kinds of namespaces whose content is not saved. That of
// the network never is, here as with runc: whoever made it makes it again.
func (o *Options) SetEmptyNamespaces(kinds []string) error {
	for _, kind := range kinds {
		if kind != string(specs.NetworkNamespace) {
			return fault.New(fault.Invalid, "--empty-ns %q: only the network namespace can be left empty", kind)
		}
	}
	o.emptyNet = true
	return nil
}

// directories makes the paths absolute and the directories.
func (o *Options) directories(make bool) error {
	var err error
	if o.Images == "" {
		o.Images = defaultImages
	}
	if o.Images, err = filepath.Abs(o.Images); err != nil {
		return err
	}
	if make {
		if err := os.MkdirAll(o.Images, 0o700); err != nil {
			return fault.New(fault.Invalid, "make the directory of the images: %w", err)
		}
	}
	if st, err := os.Stat(o.Images); err != nil || !st.IsDir() {
		return fault.New(fault.NotFound, "there is no checkpoint: %s is not a directory", o.Images)
	}
	if o.Parent != "" {
		if filepath.IsAbs(o.Parent) {
			return fault.New(fault.Invalid, "--parent-path %s must be relative to --image-path", o.Parent)
		}
		if st, err := os.Stat(filepath.Join(o.Images, o.Parent)); err != nil || !st.IsDir() {
			return fault.New(fault.Invalid, "--parent-path: %s is not a directory", filepath.Join(o.Images, o.Parent))
		}
	}
	if o.Work == "" {
		return nil
	}
	if o.Work, err = filepath.Abs(o.Work); err != nil {
		return err
	}
	if err := os.MkdirAll(o.Work, 0o700); err != nil {
		return fault.New(fault.Invalid, "make the working directory of criu: %w", err)
	}
	return nil
}

// logDir is where criu writes what is no image.
func (o *Options) logDir() string {
	if o.Work != "" {
		return o.Work
	}
	return o.Images
}

// checkStatusFD refuses a descriptor that nothing can be written to.
func (o *Options) checkStatusFD() error {
	if o.StatusFD < 0 {
		return nil
	}
	how, err := unix.FcntlInt(uintptr(o.StatusFD), unix.F_GETFL, 0)
	if err != nil {
		return fault.New(fault.Invalid, "--status-fd %d is not open", o.StatusFD)
	}
	if how&unix.O_ACCMODE == unix.O_RDONLY {
		return fault.New(fault.Invalid, "--status-fd %d is not open for writing", o.StatusFD)
	}
	return nil
}

// request begins a request with what dump and restore have in common.
func (o *Options) request(s *Subject, log string) *options {
	r := &options{
		logFile: log, logLevel: 4, notifyScripts: true, manageCgroups: true, orphanPts: true,
		shellJob: o.ShellJob, extUnix: o.ExtUnixSockets, tcpEstablished: o.TCPEstablished,
		fileLocks: o.FileLocks, autoDedup: o.AutoDedup, lazyPages: o.LazyPages,
	}
	if o.emptyNet {
		r.emptyNS = unix.CLONE_NEWNET
	}
	if o.cgroupMode > 0 {
		r.cgroupMode, r.hasCgroupMode = o.cgroupMode-1, true
	}
	config, set := s.Spec.Annotations[configAnnotation]
	if !set {
		config = defaultConfig
	}
	r.configFile = config
	return r
}

// namespaceOf returns the namespace of a kind, or nil.
func namespaceOf(spec *specs.Spec, kind specs.LinuxNamespaceType) *specs.LinuxNamespace {
	if spec.Linux == nil {
		return nil
	}
	for i := range spec.Linux.Namespaces {
		if spec.Linux.Namespaces[i].Type == kind {
			return &spec.Linux.Namespaces[i]
		}
	}
	return nil
}

// externalKey is by what name criu knows a namespace that is not saved; runc's names.
func externalKey(kind specs.LinuxNamespaceType) string {
	if kind == specs.NetworkNamespace {
		return "extRootNetNS"
	}
	return "extRootPidNS"
}

// criuName is criu's name of a kind of namespace.
func criuName(kind specs.LinuxNamespaceType) string {
	switch kind {
	case specs.NetworkNamespace:
		return "net"
	case specs.MountNamespace:
		return "mnt"
	}
	return strings.ToLower(string(kind))
}
