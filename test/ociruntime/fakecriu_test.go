package ociruntime

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/checkpoint-restore/go-criu/v7/rpc"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
)

// A criu of our own: this program, called "swrk". It takes requests as criu does, writes
// its log where criu would, and fails every dump and restore. What it was asked for lies
// in the file that askedEnv names.
const askedEnv = "SAMPAN_TEST_CRIU_ASKED"

func fakeCriu() int {
	const socket = 3
	buf := make([]byte, 64<<10)
	n, err := unix.Read(socket, buf)
	var req rpc.CriuReq
	if err != nil || proto.Unmarshal(buf[:n], &req) != nil {
		return 1
	}
	answer := &rpc.CriuResp{Type: req.Type, Success: proto.Bool(true)}
	switch req.GetType() {
	case rpc.CriuReqType_VERSION:
		answer.Version = &rpc.CriuVersion{MajorNumber: proto.Int32(3), MinorNumber: proto.Int32(17)}
	case rpc.CriuReqType_FEATURE_CHECK:
		answer.Features = req.Features
	default:
		answer.Success = proto.Bool(false)
		opts := req.GetOpts()
		dir := opts.GetImagesDirFd()
		if opts.WorkDirFd != nil {
			dir = opts.GetWorkDirFd()
		}
		// Criu follows links there (log.c, log_init), as root.
		log, err := os.OpenFile(fmt.Sprintf("/proc/%d/fd/%d/%s", os.Getppid(), dir, opts.GetLogFile()), os.O_WRONLY|os.O_CREATE|os.O_TRUNC|os.O_APPEND, 0o600)
		if err == nil {
			_, err = log.WriteString("(00.000001) Error (criu/fake.c:1): this criu refuses everything\n")
		}
		text, marshalErr := prototext.MarshalOptions{Multiline: true}.Marshal(&req)
		if err := errors.Join(err, marshalErr, os.WriteFile(os.Getenv(askedEnv), text, 0o600)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	data, err := proto.Marshal(answer)
	if err != nil {
		return 1
	}
	if _, err := unix.Write(socket, data); err != nil {
		return 1
	}
	_, _ = unix.Read(socket, buf) // its end
	return 0
}

// asked calls the runtime with the criu of our own and returns the request that it got.
func (l *lab) asked(args ...string) *rpc.CriuReq {
	l.t.Helper()
	program, err := os.Executable()
	must(l.t, err)
	file := filepath.Join(l.t.TempDir(), "asked")
	must(l.t, os.Setenv(askedEnv, file))
	defer os.Unsetenv(askedEnv)
	r := l.call(append([]string{"--criu", program}, args...)...)
	text, err := os.ReadFile(file)
	if err != nil {
		l.t.Fatalf("%q: criu was not asked for anything: exit code %d, %s", args, r.code, r.err)
	}
	if os.Getenv(env) == "" && (!strings.Contains(r.err, "this criu refuses everything") || r.code != 1) {
		l.t.Errorf("%q: exit code %d, %q; want criu's reason", args, r.code, r.err)
	}
	var req rpc.CriuReq
	must(l.t, prototext.Unmarshal(text, &req))
	return &req
}

// images makes a directory with what a dump leaves there beside criu's own files.
func (l *lab) images(streams string) string {
	l.t.Helper()
	dir := l.t.TempDir()
	must(l.t, os.WriteFile(filepath.Join(dir, "descriptors.json"), []byte(streams), 0o600))
	return dir
}

// logOfCheckpoint: a checkpoint brings a link where criu will write its log.
func logOfCheckpoint(l *lab) bool {
	l.write(base("true"))
	canary := filepath.Join(l.t.TempDir(), "canary")
	must(l.t, os.WriteFile(canary, []byte("intact"), 0o600))
	dir := l.images("[]")
	must(l.t, os.Symlink(canary, filepath.Join(dir, "restore.log")))
	l.asked("restore", "--image-path", dir, l.id())
	data, err := os.ReadFile(canary)
	must(l.t, err)
	return string(data) != "intact"
}

// streamOfCheckpoint: a checkpoint says that its standard input was the network namespace
// that is joined, so that criu takes what the caller has there for one.
func streamOfCheckpoint(l *lab) bool {
	l.write(base("true"))
	req := l.asked("restore", "--image-path", l.images(`["extRootNetNS","pipe:[5]","/etc/shadow"]`), l.id())
	for _, e := range req.GetOpts().GetInheritFd() {
		if e.GetKey() != "pipe:[5]" {
			return true
		}
	}
	return false
}

// TestHostileCheckpoint: files that a checkpoint brings are read as what they must be.
func TestHostileCheckpoint(t *testing.T) {
	l := newLab(t, ours)
	l.write(base("true"))
	secret := filepath.Join(t.TempDir(), "secret")
	must(t, os.WriteFile(secret, []byte(`["pipe:[1]"]`), 0o600))
	for name, c := range map[string]struct {
		make func(file string) error
		want string
	}{
		"a link":     {func(file string) error { return os.Symlink(secret, file) }, "too many levels of symbolic links"},
		"a FIFO":     {func(file string) error { return unix.Mkfifo(file, 0o600) }, "not a regular file"},
		"endless":    {func(file string) error { return errors.Join(os.WriteFile(file, nil, 0o600), os.Truncate(file, 5<<30)) }, "not a regular file of at most"},
		"no list":    {func(file string) error { return os.WriteFile(file, []byte(`{"a":1}`), 0o600) }, "not a list"},
		"four":       {func(file string) error { return os.WriteFile(file, []byte(`["","","",""]`), 0o600) }, "not a list of up to three"},
		"missing":    {func(string) error { return nil }, "there is no complete checkpoint"},
		"a deep one": {func(file string) error { return os.WriteFile(file, []byte(strings.Repeat("[", 60000)), 0o600) }, "not a list"},
	} {
		t.Run(name, func(t *testing.T) {
			l.t = t
			dir := t.TempDir()
			must(t, c.make(filepath.Join(dir, "descriptors.json")))
			program, err := os.Executable()
			must(t, err)
			left := l.nothingLeft("oci-")
			l.refused(c.want, "--criu", program, "restore", "--image-path", dir, l.id())
			left()
		})
	}
	t.Run("a specification of its own", func(t *testing.T) {
		l.t = t
		dir := l.images("[]")
		must(t, os.WriteFile(filepath.Join(dir, "config.json"), []byte(`{"mounts":[{"destination":"/host","source":"/","type":"bind","options":["rbind"]}],"annotations":{"org.criu.config":"/evil"}}`), 0o600))
		opts := l.asked("restore", "--image-path", dir, l.id()).GetOpts()
		for _, m := range opts.GetExtMnt() {
			if m.GetVal() == "/" {
				t.Errorf("the checkpoint's mount was taken: %v", m)
			}
		}
		if opts.GetConfigFile() != "/etc/criu/runc.conf" {
			t.Errorf("criu's configuration is %s", opts.GetConfigFile())
		}
	})
}

// TestCheckpointOptions: what each flag of checkpoint and restore asks of criu.
func TestCheckpointOptions(t *testing.T) {
	l := newLab(t, ours)
	s := base("sleep 1000")
	source := t.TempDir()
	s.Mounts = append(s.Mounts, bindMount(source, "/mnt"))
	l.write(s)
	id := l.id()
	l.ok("run", "-d", id)
	parent := t.TempDir()
	images := filepath.Join(parent, "images")
	dump := func(args ...string) func(*testing.T) *rpc.CriuReq {
		return func(t *testing.T) *rpc.CriuReq {
			l.t = t
			return l.asked(append(append([]string{"checkpoint", "--image-path", images}, args...), id)...)
		}
	}
	restore := func(args ...string) func(*testing.T) *rpc.CriuReq {
		return func(t *testing.T) *rpc.CriuReq {
			l.t = t
			return l.asked(append(append([]string{"restore", "--image-path", l.images(`["pipe:[7]","file[1:2]","pipe:[7]"]`)}, args...), l.id())...)
		}
	}
	must(t, os.MkdirAll(filepath.Join(parent, "first"), 0o700))
	for name, c := range map[string]struct {
		ask  func(*testing.T) *rpc.CriuReq
		want func(*rpc.CriuOpts, *rpc.CriuReq) bool
	}{
		"checkpoint": {dump(), func(o *rpc.CriuOpts, r *rpc.CriuReq) bool {
			return r.GetType() == rpc.CriuReqType_DUMP && !o.GetLeaveRunning() && o.GetNotifyScripts() && o.GetManageCgroups() && o.GetOrphanPtsMaster() && o.GetLogFile() == "dump.log" &&
				o.GetLogLevel() == 4 && o.GetPid() > 1 && o.GetEmptyNs() == unix.CLONE_NEWNET && o.GetRoot() == l.path("") && hasMount(o, "/mnt", "/mnt") && hasMount(o, "/proc/keys", "/dev/null") &&
				strings.HasPrefix(o.GetFreezeCgroup(), "/sys/fs/cgroup") && !o.GetTcpEstablished() && !o.GetShellJob() && !o.GetFileLocks() && o.WorkDirFd == nil
		}},
		"--work-path":     {dump("--work-path", filepath.Join(parent, "work")), func(o *rpc.CriuOpts, _ *rpc.CriuReq) bool { return o.WorkDirFd != nil }},
		"--leave-running": {dump("--leave-running"), func(o *rpc.CriuOpts, _ *rpc.CriuReq) bool { return o.GetLeaveRunning() }},
		"--tcp-established": {dump("--tcp-established"), func(o *rpc.CriuOpts, _ *rpc.CriuReq) bool {
			return o.GetTcpEstablished()
		}},
		"--ext-unix-sk": {dump("--ext-unix-sk"), func(o *rpc.CriuOpts, _ *rpc.CriuReq) bool { return o.GetExtUnixSk() }},
		"--shell-job":   {dump("--shell-job"), func(o *rpc.CriuOpts, _ *rpc.CriuReq) bool { return o.GetShellJob() }},
		"--file-locks":  {dump("--file-locks"), func(o *rpc.CriuOpts, _ *rpc.CriuReq) bool { return o.GetFileLocks() }},
		"--lazy-pages":  {dump("--lazy-pages"), func(o *rpc.CriuOpts, _ *rpc.CriuReq) bool { return o.GetLazyPages() }},
		"--page-server": {dump("--page-server", "192.0.2.1:27000"), func(o *rpc.CriuOpts, _ *rpc.CriuReq) bool {
			return o.GetPs().GetAddress() == "192.0.2.1" && o.GetPs().GetPort() == 27000
		}},
		"--pre-dump": {dump("--pre-dump"), func(o *rpc.CriuOpts, r *rpc.CriuReq) bool {
			return r.GetType() == rpc.CriuReqType_PRE_DUMP && len(o.GetExtMnt()) == 0
		}},
		"--parent-path": {dump("--parent-path", "../first"), func(o *rpc.CriuOpts, _ *rpc.CriuReq) bool {
			return o.GetParentImg() == "../first" && o.GetTrackMem()
		}},
		"--manage-cgroups-mode": {dump("--manage-cgroups-mode", "strict"), func(o *rpc.CriuOpts, _ *rpc.CriuReq) bool {
			return o.GetManageCgroupsMode() == rpc.CriuCgMode_STRICT
		}},
		"--empty-ns":   {dump("--empty-ns", "network"), func(o *rpc.CriuOpts, _ *rpc.CriuReq) bool { return o.GetEmptyNs() == unix.CLONE_NEWNET }},
		"--auto-dedup": {dump("--auto-dedup"), func(o *rpc.CriuOpts, _ *rpc.CriuReq) bool { return o.GetAutoDedup() }},
		"restore": {restore(), func(o *rpc.CriuOpts, r *rpc.CriuReq) bool {
			return r.GetType() == rpc.CriuReqType_RESTORE && o.GetRstSibling() && o.GetEvasiveDevices() && o.GetLogFile() == "restore.log" && hasMount(o, "/mnt", source) &&
				hasMount(o, "/dev/null", "/dev/null") && len(o.GetCgRoot()) > 0 && len(o.GetInheritFd()) == 2 && o.GetInheritFd()[1].GetKey() == "file[1:2]" && o.GetInheritFd()[1].GetFd() == 1
		}},
		"restore --tcp-established": {restore("--tcp-established"), func(o *rpc.CriuOpts, _ *rpc.CriuReq) bool { return o.GetTcpEstablished() }},
		"restore --ext-unix-sk":     {restore("--ext-unix-sk"), func(o *rpc.CriuOpts, _ *rpc.CriuReq) bool { return o.GetExtUnixSk() }},
		"restore --shell-job":       {restore("--shell-job"), func(o *rpc.CriuOpts, _ *rpc.CriuReq) bool { return o.GetShellJob() }},
		"restore --file-locks":      {restore("--file-locks"), func(o *rpc.CriuOpts, _ *rpc.CriuReq) bool { return o.GetFileLocks() }},
		"restore --lazy-pages":      {restore("--lazy-pages"), func(o *rpc.CriuOpts, _ *rpc.CriuReq) bool { return o.GetLazyPages() }},
		"restore --auto-dedup":      {restore("--auto-dedup"), func(o *rpc.CriuOpts, _ *rpc.CriuReq) bool { return o.GetAutoDedup() }},
		"restore --manage-cgroups-mode": {restore("--manage-cgroups-mode", "full"), func(o *rpc.CriuOpts, _ *rpc.CriuReq) bool {
			return o.GetManageCgroupsMode() == rpc.CriuCgMode_FULL
		}},
		"restore --lsm-profile": {restore("--lsm-profile", "apparmor:x"), func(o *rpc.CriuOpts, _ *rpc.CriuReq) bool { return o.GetLsmProfile() == "apparmor:x" }},
		"restore --lsm-mount-context": {restore("--lsm-mount-context", "c"), func(o *rpc.CriuOpts, _ *rpc.CriuReq) bool {
			return o.GetLsmMountContext() == "c"
		}},
		"restore --detach and others": {restore("--detach", "--no-subreaper", "--no-pivot", "--pid-file", filepath.Join(parent, "pid")), func(*rpc.CriuOpts, *rpc.CriuReq) bool { return true }},
	} {
		t.Run(name, func(t *testing.T) {
			req := c.ask(t)
			if !c.want(req.GetOpts(), req) {
				t.Errorf("criu was asked for %s", prototext.Format(req))
			}
		})
	}
	l.t = t
	if status := l.status(id); status != "running" {
		t.Errorf("after dumps that failed the container is %q", status)
	}
	l.refused("ADDRESS:PORT", "checkpoint", "--page-server", "nowhere", id)
	l.refused("soft, full, strict or ignore", "checkpoint", "--manage-cgroups-mode", "hard", id)
	l.refused("only the network namespace", "checkpoint", "--empty-ns", "ipc", id)
	l.refused("must be relative", "checkpoint", "--parent-path", "/tmp", id)
	l.refused("--status-fd 77 is not open", "checkpoint", "--lazy-pages", "--status-fd", "77", id)
	l.refused("there is no program", "--criu", "/nonexistent/criu", "checkpoint", id)
	l.refused("there is no checkpoint", "restore", "--image-path", "/nonexistent", l.id())
}

func hasMount(o *rpc.CriuOpts, key, val string) bool {
	for _, m := range o.GetExtMnt() {
		if m.GetKey() == key && m.GetVal() == val {
			return true
		}
	}
	return false
}
