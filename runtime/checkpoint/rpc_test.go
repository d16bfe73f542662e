package checkpoint

import (
	"testing"

	"github.com/checkpoint-restore/go-criu/v7/rpc"
	"google.golang.org/protobuf/proto"
)

func ptr[T any](v T) *T { return &v }

// TestRequest: what is written here is what go-criu's generated code reads.
func TestRequest(t *testing.T) {
	for name, c := range map[string]struct {
		ours   request
		theirs *rpc.CriuReq
	}{
		"version":  {request{typ: typeVersion}, &rpc.CriuReq{Type: rpc.CriuReqType_VERSION.Enum()}},
		"answer":   {request{typ: typeNotify, notifySuccess: true}, &rpc.CriuReq{Type: rpc.CriuReqType_NOTIFY.Enum(), NotifySuccess: ptr(true)}},
		"features": {request{typ: typeFeatureCheck, memTrack: true, lazyPages: true}, &rpc.CriuReq{Type: rpc.CriuReqType_FEATURE_CHECK.Enum(), Features: &rpc.CriuFeatures{MemTrack: ptr(true), LazyPages: ptr(true)}}},
		"pre-dump": {
			request{typ: typePreDump, opts: &options{imagesFD: 7, logLevel: 4}},
			&rpc.CriuReq{Type: rpc.CriuReqType_PRE_DUMP.Enum(), Opts: &rpc.CriuOpts{ImagesDirFd: ptr(int32(7)), LogLevel: ptr(int32(4))}},
		},
		"dump": {
			request{typ: typeDump, opts: &options{
				imagesFD: 5, workFD: 6, pid: 300, leaveRunning: true, extUnix: true, tcpEstablished: true, shellJob: true, fileLocks: true,
				logLevel: 4, logFile: "dump.log", pageAddress: "192.0.2.1", pagePort: 27000, notifyScripts: true, root: "/r", parent: "../p", trackMem: true,
				autoDedup: true, mounts: []mountMap{{"/etc/hosts", "/etc/hosts"}, {"/proc/keys", "/dev/null"}}, manageCgroups: true, cgroupMode: 5, hasCgroupMode: true,
				external: []string{"net[4026531840]:extRootNetNS"}, emptyNS: 0x40000000, freezer: "/sys/fs/cgroup/x", lazyPages: true, orphanPts: true, configFile: "/etc/criu/runc.conf",
			}},
			&rpc.CriuReq{Type: rpc.CriuReqType_DUMP.Enum(), Opts: &rpc.CriuOpts{
				ImagesDirFd: ptr(int32(5)), WorkDirFd: ptr(int32(6)), Pid: ptr(int32(300)), LeaveRunning: ptr(true), ExtUnixSk: ptr(true), TcpEstablished: ptr(true),
				ShellJob: ptr(true), FileLocks: ptr(true), LogLevel: ptr(int32(4)), LogFile: ptr("dump.log"),
				Ps: &rpc.CriuPageServerInfo{Address: ptr("192.0.2.1"), Port: ptr(int32(27000))}, NotifyScripts: ptr(true), Root: ptr("/r"), ParentImg: ptr("../p"),
				TrackMem: ptr(true), AutoDedup: ptr(true), ExtMnt: []*rpc.ExtMountMap{{Key: ptr("/etc/hosts"), Val: ptr("/etc/hosts")}, {Key: ptr("/proc/keys"), Val: ptr("/dev/null")}},
				ManageCgroups: ptr(true), ManageCgroupsMode: rpc.CriuCgMode_STRICT.Enum(), External: []string{"net[4026531840]:extRootNetNS"}, EmptyNs: ptr(uint32(0x40000000)),
				FreezeCgroup: ptr("/sys/fs/cgroup/x"), LazyPages: ptr(true), OrphanPtsMaster: ptr(true), ConfigFile: ptr("/etc/criu/runc.conf"),
			}},
		},
		"restore": {
			request{typ: typeRestore, opts: &options{
				imagesFD: 5, evasiveDevices: true, logLevel: 4, logFile: "restore.log", sibling: true, inherit: []inherited{{"pipe:[12]", 1}, {"extRootNetNS", 4}},
				cgroupRoots: []mountMap{{"memory", "/a"}, {"", "/b"}}, cgroupMode: 0, hasCgroupMode: true, join: []mountMap{{"ipc", "/proc/1/ns/ipc"}},
				lsmProfile: "selinux:x", lsmMountContext: "y",
			}},
			&rpc.CriuReq{Type: rpc.CriuReqType_RESTORE.Enum(), Opts: &rpc.CriuOpts{
				ImagesDirFd: ptr(int32(5)), EvasiveDevices: ptr(true), LogLevel: ptr(int32(4)), LogFile: ptr("restore.log"), RstSibling: ptr(true),
				InheritFd: []*rpc.InheritFd{{Key: ptr("pipe:[12]"), Fd: ptr(int32(1))}, {Key: ptr("extRootNetNS"), Fd: ptr(int32(4))}},
				CgRoot:    []*rpc.CgroupRoot{{Ctrl: ptr("memory"), Path: ptr("/a")}, {Path: ptr("/b")}}, ManageCgroupsMode: rpc.CriuCgMode_IGNORE.Enum(),
				JoinNs:     []*rpc.JoinNamespace{{Ns: ptr("ipc"), NsFile: ptr("/proc/1/ns/ipc")}},
				LsmProfile: ptr("selinux:x"), LsmMountContext: ptr("y"),
			}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var got rpc.CriuReq
			if err := proto.Unmarshal(c.ours.encode(), &got); err != nil {
				t.Fatal(err)
			}
			if !proto.Equal(&got, c.theirs) {
				t.Errorf("got  %s\nwant %s", &got, c.theirs)
			}
			if unknown := got.ProtoReflect().GetUnknown(); len(unknown) > 0 {
				t.Errorf("fields that criu does not know: %x", unknown)
			}
		})
	}
}

// TestResponse: what go-criu's generated code writes is read here.
func TestResponse(t *testing.T) {
	for name, c := range map[string]struct {
		theirs *rpc.CriuResp
		ours   response
	}{
		"version": {
			&rpc.CriuResp{Type: rpc.CriuReqType_VERSION.Enum(), Success: ptr(true), Version: &rpc.CriuVersion{MajorNumber: ptr(int32(3)), MinorNumber: ptr(int32(17)), Sublevel: ptr(int32(1)), Gitid: ptr("v3")}},
			response{typ: typeVersion, success: true, version: 31701},
		},
		"notification": {
			&rpc.CriuResp{Type: rpc.CriuReqType_NOTIFY.Enum(), Success: ptr(true), Notify: &rpc.CriuNotify{Script: ptr("post-restore"), Pid: ptr(int32(77))}},
			response{typ: typeNotify, success: true, script: "post-restore", pid: 77},
		},
		"restored": {
			&rpc.CriuResp{Type: rpc.CriuReqType_RESTORE.Enum(), Success: ptr(true), Restore: &rpc.CriuRestoreResp{Pid: ptr(int32(5))}},
			response{typ: typeRestore, success: true, pid: 5},
		},
		"failure": {
			&rpc.CriuResp{Type: rpc.CriuReqType_DUMP.Enum(), Success: ptr(false), CrErrno: ptr(int32(3)), CrErrmsg: ptr("no such process")},
			response{typ: typeDump, errno: 3, errText: "no such process"},
		},
		"features": {
			&rpc.CriuResp{Type: rpc.CriuReqType_FEATURE_CHECK.Enum(), Success: ptr(true), Features: &rpc.CriuFeatures{MemTrack: ptr(true), LazyPages: ptr(false), PidfdStore: ptr(true)}},
			response{typ: typeFeatureCheck, success: true, memTrack: true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			data, err := proto.Marshal(c.theirs)
			if err != nil {
				t.Fatal(err)
			}
			got, err := decodeResponse(data)
			if err != nil || *got != c.ours {
				t.Errorf("got  %+v, %v\nwant %+v", got, err, c.ours)
			}
		})
	}
}

func FuzzResponse(f *testing.F) {
	f.Add([]byte("\x08\x06\x10\x01\x2a\x0e\x0a\x0cpost-restore"))
	f.Add([]byte("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))
	f.Add([]byte("\x2a\xff\xff\xff\xff\xff\xff\xff\xff\x7f"))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := decodeResponse(data)
		var theirs rpc.CriuResp
		if theirErr := proto.Unmarshal(data, &theirs); theirErr != nil {
			return // theirs also checks what is not looked at here
		}
		if err == nil && theirs.GetSuccess() != got.success {
			t.Errorf("success is %v and was read as %v", theirs.GetSuccess(), got.success)
		}
	})
}

func TestStreams(t *testing.T) {
	for key, want := range map[string]bool{
		"pipe:[12345]": true, "file[1f:2a]": true,
		"": false, "pipe:[]": false, "pipe:[x]": false, "pipe:[1": false, "pipe:[1]x": false, "xpipe:[1]": false, "file[1f]": false, "file[:2]": false,
		"extRootNetNS": false, "extRootPidNS": false, "tty[5:6]": false, "/etc/shadow": false, "socket:[1]": false,
	} {
		if got := isStream(key); got != want {
			t.Errorf("isStream(%q) is %v", key, got)
		}
	}
}

func TestReasons(t *testing.T) {
	for name, c := range map[string][2]string{
		"the first that is one": {"(00.1) Error (criu/tun.c:85): tun: Unable to create tun: No such file\n(00.2) Error (criu/vdso.c:381): vdso: Unexpected rt vDSO area bounds\n(00.3) Error (criu/vdso.c:613): vdso: Failed\n", "vdso: Unexpected rt vDSO area bounds (this criu is older than the kernel; a newer criu is needed)"},
		"none":                  {"(00.1) Warn  (criu/x.c:1): something\n", ""},
		"cut":                   {"Error (criu/x.c", ""},
		"with advice":           {"Error (criu/sk-inet.c:188): inet: Connected TCP socket, consider using --tcp-established option.\n", "inet: Connected TCP socket, consider using --tcp-established option. (an open connection; see --tcp-established)"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := lastError(c[0]); got != c[1] {
				t.Errorf("got %q, want %q", got, c[1])
			}
		})
	}
}

func TestOptionsRefused(t *testing.T) {
	var o Options
	for name, c := range map[string]struct {
		err  error
		fine bool
	}{
		"page server":         {o.SetPageServer("192.0.2.1:27000"), true},
		"page server by name": {o.SetPageServer("host:1"), true},
		"page server, IPv6":   {o.SetPageServer("[2001:db8::1]:27000"), true},
		"no page server":      {o.SetPageServer(""), true},
		"no port":             {o.SetPageServer("192.0.2.1"), false},
		"no address":          {o.SetPageServer(":27000"), false},
		"port 0":              {o.SetPageServer("h:0"), false},
		"port 65536":          {o.SetPageServer("h:65536"), false},
		"mode":                {o.SetCgroupMode("full"), true},
		"unknown mode":        {o.SetCgroupMode("hard"), false},
		"empty network":       {o.SetEmptyNamespaces([]string{"network"}), true},
		"empty ipc":           {o.SetEmptyNamespaces([]string{"ipc"}), false},
	} {
		if (c.err == nil) != c.fine {
			t.Errorf("%s: %v", name, c.err)
		}
	}
}
