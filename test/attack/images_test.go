package attack

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/test/counts"
	"github.com/sampan-containers/sampan/test/hostile"
	"github.com/sampan-containers/sampan/test/hostile/tars"
	"github.com/sampan-containers/sampan/test/lab"
)

// A1 (CVE-2014-6407, 2021-32760, 2021-41089, 2025-47290): every archive of the corpus
// by pull, load, import and cp of the running daemon. What can be a layer runs.
func TestA1ArchivesStayInside(t *testing.T) {
	d, outside := start(t)
	r := hostile.New(t, "")
	d.Sampan("create", "--name", "target", base, "true").Must(t)
	for i, attack := range tars.All(t, outside) {
		name := fmt.Sprintf("%s/evil:%d", r.Host(), i)
		r.Add(t, strconv.Itoa(i), []hostile.Layer{hostile.Gzip(t, busybox(t)), hostile.Gzip(t, attack.Raw)}, func(cfg *ocispec.Image, _ *ocispec.Manifest) {
			cfg.Config.Cmd = []string{"/bin/true"}
		})
		for way, enter := range map[string]func() lab.Result{
			"pull":   func() lab.Result { return d.Sampan("pull", "-q", name) },
			"import": func() lab.Result { return lab.Run(t, attack.Raw, lab.Bin(t, "sampan"), "import", "-", name) },
		} {
			t.Run(attack.Name+"/"+way, func(t *testing.T) {
				got := enter()
				if attack.Refused != (got.Code != 0) {
					t.Errorf("refused %v, want %v: %s", got.Code != 0, attack.Refused, got.Err)
				}
				if got.Code == 0 {
					if way == "pull" {
						d.Sampan("run", "--rm", "--network", "none", name)
						back := d.Sampan("save", "-o", filepath.Join(t.TempDir(), "saved"), name)
						if back.Code != 0 {
							t.Errorf("save: %s", back.Err)
						}
					}
					d.Sampan("rmi", "-f", name).Must(t)
				}
				outside.Check(t)
			})
		}
		t.Run(attack.Name+"/cp", func(t *testing.T) {
			lab.Run(t, attack.Raw, lab.Bin(t, "sampan"), "cp", "-", "target:/tmp")
			outside.Check(t)
		})
	}
}

// A2 (CVE-2018-15664, 2019-10152): in a volume that a running container shares with us
// a directory and a link to the root change places all the time, during copies in
// both directions and exports.
func TestA2CopiesDuringASwap(t *testing.T) {
	d, _ := start(t)
	shared := t.TempDir()
	secret := "host-secret-" + filepath.Base(shared)
	for path, text := range map[string]string{filepath.Join("/tmp", secret): "secret of the host", filepath.Join(shared, "sent"): "sent"} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { os.Remove(filepath.Join("/tmp", secret)) })
	for _, err := range []error{os.MkdirAll(filepath.Join(shared, "vol/a/tmp"), 0o777), os.Symlink("/", filepath.Join(shared, "vol/b"))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	d.Sampan("run", "-d", "--name", "racer", "--network", "none", "-v", shared+"/vol:/vol", base, "sleep", "1000").Must(t)
	var stop atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		for !stop.Load() {
			_ = unix.Renameat2(unix.AT_FDCWD, shared+"/vol/a", unix.AT_FDCWD, shared+"/vol/b", unix.RENAME_EXCHANGE)
		}
	}()
	for i := range counts.Of("attack.race") {
		d.Sampan("cp", shared+"/sent", fmt.Sprintf("racer:/vol/a/tmp/%s-%d", secret, i))
		if r := d.Sampan("cp", "racer:/vol/a/tmp/"+secret, "-"); strings.Contains(r.Out, "secret of the host") {
			t.Fatalf("try %d: cp read a file of the host", i)
		}
		if i%10 == 0 {
			if r := d.Sampan("export", "-o", filepath.Join(t.TempDir(), "root.tar"), "racer"); r.Code != 0 {
				t.Errorf("export: %s", r.Err)
			}
		}
	}
	stop.Store(true)
	<-done
	if found, _ := filepath.Glob("/tmp/" + secret + "-*"); len(found) > 0 {
		t.Errorf("cp wrote to the host: %v", found)
	}
	t.Run("links of everyday work", func(t *testing.T) {
		d.Sampan("cp", shared+"/sent", "racer:/var/run/pid").Must(t)
		if out := d.Sampan("exec", "racer", "cat", "/run/pid").Must(t); out != "sent" {
			t.Errorf("/var/run led to %q", out)
		}
	})
}

// A3 (CVE-2019-14271): the container's own programs and libraries, by all names that
// an engine could call, are never executed or loaded by the engine.
func TestA3NothingOfTheContainerIsExecuted(t *testing.T) {
	d, _ := start(t)
	const marker = "executed-by-the-engine"
	var evil []tar.Header
	for _, dir := range []string{"sbin", "usr/bin", "usr/sbin", "usr/local/bin"} {
		for _, name := range strings.Fields("xz gzip unpigz zstd tar ps nsenter id getent mount sh unshare runc docker-init tini") {
			evil = append(evil, tar.Header{Name: dir + "/" + name, Typeflag: tar.TypeReg, Mode: 0o755, Linkname: "#!/bin/busybox sh\n/bin/busybox touch /" + marker + " /tmp/" + marker + "\n"})
		}
	}
	for _, name := range []string{"lib/libnss_files.so.2", "lib/x86_64-linux-gnu/libnss_files.so.2", "lib64/ld-linux-x86-64.so.2", "lib/x86_64-linux-gnu/libc.so.6"} {
		evil = append(evil, tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o755, Linkname: "\x7fELF nothing"})
	}
	evil = append(evil, tar.Header{Name: "etc/nsswitch.conf", Typeflag: tar.TypeReg, Mode: 0o644, Linkname: "passwd: files evil\nhosts: evil\n"},
		tar.Header{Name: "etc/ld.so.preload", Typeflag: tar.TypeReg, Mode: 0o644, Linkname: "/lib/libnss_files.so.2\n"})
	path := filepath.Join(t.TempDir(), "evil.tar")
	if err := os.WriteFile(path, busybox(t, evil...), 0o600); err != nil {
		t.Fatal(err)
	}
	d.Import(path, "evil:1")
	d.Sampan("run", "-d", "--init", "--name", "evil", "--network", "none", "-u", "app", "evil:1", "/bin/sleep", "1000").Must(t)
	dir := t.TempDir()
	for _, args := range [][]string{
		{"cp", "evil:/etc", dir}, {"cp", dir, "evil:/tmp/new"}, {"exec", "-u", "app:app", "evil", "/bin/true"}, {"exec", "-w", "/tmp", "evil", "/bin/true"},
		{"top", "evil"}, {"stats", "--no-stream", "evil"}, {"diff", "evil"}, {"export", "-o", filepath.Join(dir, "root"), "evil"},
		{"commit", "evil", "evil:2"}, {"save", "-o", filepath.Join(dir, "saved"), "evil:2"}, {"logs", "evil"}, {"restart", "-t", "0", "evil"},
	} {
		if r := d.Sampan(args...); r.Code != 0 && args[0] != "exec" {
			t.Errorf("%v: %s", args, r.Err)
		}
	}
	if out := d.Sampan("diff", "evil").Must(t); strings.Contains(out, marker) {
		t.Errorf("a program of the container was executed: %s", out)
	}
	for _, p := range []string{"/" + marker, "/tmp/" + marker} {
		if _, err := os.Lstat(p); err == nil {
			os.Remove(p)
			t.Errorf("a program of the container was executed on the host: %s is there", p)
		}
	}
	for _, name := range []string{"sampan", "sampand", "sampan-runtime", "sampan-box"} {
		f, err := elf.Open(lab.Bin(t, name))
		if err != nil {
			t.Fatal(err)
		}
		if libs, err := f.ImportedLibraries(); err != nil || len(libs) > 0 || f.Section(".interp") != nil {
			t.Errorf("%s loads libraries, which a container's root may hold: %v, %v", name, libs, err)
		}
		f.Close()
	}
}

// A4 (CVE-2026-17106): a daemon answers `cp` with the corpus; the client unpacks it
// below the destination.
func TestA4HostileDaemon(t *testing.T) {
	outside := tars.NewCanary(t)
	honest := tars.Attack{Name: "an honest archive", Raw: hostile.Tar(t, map[string][]byte{"x/f": []byte("text")}, "x/f")}
	for _, attack := range append(tars.All(t, outside), honest) {
		t.Run(attack.Name, func(t *testing.T) {
			socket := filepath.Join(t.TempDir(), "s")
			l, err := net.Listen("unix", socket)
			if err != nil {
				t.Fatal(err)
			}
			srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				w.Header().Set("Api-Version", "1.41")
				if strings.HasSuffix(q.URL.Path, "/archive") {
					stat, _ := json.Marshal(map[string]any{"name": "x", "size": 4096, "mode": uint32(os.ModeDir | 0o755), "mtime": time.Now(), "linkTarget": ""})
					w.Header().Set("X-Docker-Container-Path-Stat", base64.StdEncoding.EncodeToString(stat))
					w.Header().Set("Content-Type", "application/x-tar")
					if q.Method == http.MethodGet {
						_, _ = w.Write(attack.Raw)
					}
				}
			})}
			go srv.Serve(l) //nolint:errcheck // ends with Close
			t.Cleanup(func() { srv.Close() })
			to := filepath.Join(t.TempDir(), "to")
			if err := os.Mkdir(to, 0o755); err != nil {
				t.Fatal(err)
			}
			for _, dest := range []string{to, filepath.Join(to, "new")} {
				lab.Run(t, nil, lab.Bin(t, "sampan"), "-H", "unix://"+socket, "cp", "victim:/x", dest)
				outside.Check(t)
			}
			if got, err := os.ReadFile(filepath.Join(to, "x/f")); attack.Name == honest.Name && string(got) != "text" {
				t.Errorf("what is right does not arrive: %q, %v", got, err)
			}
		})
	}
}

// A5 (CVE-2017-14992, 2023-25153), G1: bombs and lies of a registry end in an error,
// and the daemon stays small.
func TestA5RegistryBombs(t *testing.T) {
	d, _ := start(t)
	r := hostile.New(t, "")
	endless := func(media string) hostile.Trick {
		return func(w http.ResponseWriter, q *http.Request) bool {
			w.Header().Set("Content-Type", media)
			for block := bytes.Repeat([]byte("["), 64<<10); q.Method == http.MethodGet; {
				if _, err := w.Write(block); err != nil {
					break
				}
			}
			return true
		}
	}
	layer := hostile.Gzip(t, busybox(t))
	for name, tt := range map[string]struct {
		set  func() hostile.Trick
		want string
	}{
		"endless manifest": {func() hostile.Trick { return endless(ocispec.MediaTypeImageManifest) }, "larger than the limit"},
		"endless index":    {func() hostile.Trick { return endless(ocispec.MediaTypeImageIndex) }, "larger than the limit"},
		"deep JSON": {func() hostile.Trick {
			r.Put("x", hostile.Manifest{MediaType: ocispec.MediaTypeImageManifest, Raw: []byte(`{"config":` + strings.Repeat("[", 1<<20) + `}`)})
			return nil
		}, "not valid"},
		"empty digest": {func() hostile.Trick {
			r.Add(t, "x", []hostile.Layer{layer}, func(_ *ocispec.Image, m *ocispec.Manifest) { m.Layers[0].Digest = "" })
			return nil
		}, "digest"},
		"index of 65536": {func() hostile.Trick {
			list := make([]ocispec.Descriptor, 1<<14)
			for i := range list {
				list[i] = ocispec.Descriptor{MediaType: ocispec.MediaTypeImageIndex, Digest: digest.FromString(fmt.Sprint(i)), Size: 1}
			}
			r.Index(t, "x", list...)
			return nil
		}, ""},
		"wrong diffID": {func() hostile.Trick {
			r.Add(t, "x", []hostile.Layer{layer}, func(cfg *ocispec.Image, _ *ocispec.Manifest) { cfg.RootFS.DiffIDs[0] = digest.FromString("x") })
			return nil
		}, digest.FromString("x").String()},
		"gzip of zeros": {func() hostile.Trick {
			r.Add(t, "x", []hostile.Layer{{Blob: hostile.Gzip(t, make([]byte, 256<<20)).Blob, MediaType: ocispec.MediaTypeImageLayerGzip}}, nil)
			return nil
		}, "diffID"},
	} {
		t.Run(name, func(t *testing.T) {
			trick := tt.set()
			r.Play(trick)
			defer r.Play(nil)
			res := d.Sampan("pull", "-q", r.Host()+"/web:x")
			if res.Code == 0 || !strings.Contains(res.Err, tt.want) || strings.Count(strings.TrimSpace(res.Err), "\n") > 0 {
				t.Errorf("exit %d: %s", res.Code, res.Err)
			}
		})
	}
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.Pid()))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		if text, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, _ := strconv.Atoi(strings.Fields(text)[0])
			t.Logf("the daemon took %d MiB at most", kib/1024)
			if kib == 0 || kib > 256*1024 {
				t.Errorf("the daemon took %d KiB", kib)
			}
		}
	}
	if left := d.Sampan("images", "-q").Must(t); strings.Count(left, "\n") > 0 {
		t.Errorf("images: %s", left)
	}
}
