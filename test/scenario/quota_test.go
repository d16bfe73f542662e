package scenario

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/kernel/quota"
	"github.com/sampan-containers/sampan/test/lab"
)

// A size needs project quotas. Without them it is refused with what is missing, and
// leaves nothing behind.
func TestSizeIsRefusedWithoutQuotas(t *testing.T) {
	d := lab.Start(t)
	if quota.Probe(lab.DataRoot) == nil {
		t.Skip("the file system of the data root has project quotas: see TestSizeByProjectQuota")
	}
	for _, args := range [][]string{
		{"create", "--name", "small", "--storage-opt", "size=10m", "sampan/box", "true"},
		{"volume", "create", "-o", "size=10m", "small"},
	} {
		r := d.Sampan(args...)
		if r.Code == 0 || !strings.Contains(r.Err, "mounted with the option prjquota") {
			t.Errorf("%v: exit %d, %s", args, r.Code, r.Err)
		}
	}
	if r := d.Sampan("create", "--storage-opt", "size=much", "sampan/box", "true"); r.Code != 1 || !strings.Contains(r.Err, "use a size such as 10g") {
		t.Errorf("a size that is none: exit %d, %s", r.Code, r.Err)
	}
	if r := d.Sampan("volume", "create", "-o", "size=10m", "-o", "type=tmpfs", "-o", "device=tmpfs", "small"); r.Code == 0 || !strings.Contains(r.Err, "o=size=SIZE") {
		t.Errorf("a size of a tmpfs: exit %d, %s", r.Code, r.Err)
	}
	if out := d.Sampan("ps", "-aq").Must(t) + d.Sampan("volume", "ls", "-q").Must(t); out != "" {
		t.Errorf("left behind: %s", out)
	}
}

// limited mounts a new file system with project quotas in force, or says why it cannot.
func limited(t *testing.T, kind string) (dir string) {
	t.Helper()
	at := t.TempDir()
	dir = filepath.Join(at, "data")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(at, "disk")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, 400<<20); err != nil {
		t.Fatal(err)
	}
	makers := map[string][]string{
		"ext4": {"mkfs.ext4", "-q", "-F", "-O", "quota,project", "-E", "quotatype=prjquota", file},
		"xfs":  {"mkfs.xfs", "-q", file},
	}
	if out, err := exec.Command(makers[kind][0], makers[kind][1:]...).CombinedOutput(); err != nil {
		t.Skipf("%s: %v: %s", makers[kind][0], err, out)
	}
	if out, err := exec.Command("mount", "-o", "loop,prjquota", file, dir).CombinedOutput(); err != nil {
		t.Skipf("this machine mounts no %s with project quotas (its kernel needs CONFIG_QFMT_V2 or CONFIG_XFS_QUOTA): %v: %s", kind, err, out)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	if err := quota.Probe(dir); err != nil {
		t.Skipf("%s: %v", kind, err)
	}
	return dir
}

// What a container and a volume hold is limited where the file system can, over a
// restart of the daemon too, and the limit goes with them.
func TestSizeByProjectQuota(t *testing.T) {
	for _, kind := range []string{"ext4", "xfs"} {
		t.Run(kind, func(t *testing.T) {
			root := limited(t, kind)
			d := lab.Start(t, "--data-root", root)
			at := func(dir string) []string { return []string{"sh", "-c", "head -c 30000000 /dev/zero >/" + dir + "/big"} }

			d.Sampan("create", "--name", "small", "--storage-opt", "size=10m", "sampan/box", "sleep", "1000").Must(t)
			upper := filepath.Join(root, "containers", d.Sampan("inspect", "-f", "{{.Id}}", "small").Must(t), "upper")
			if _, limit, err := quota.Of(upper); err != nil || limit != 10<<20 {
				t.Fatalf("the limit is %d: %v", limit, err)
			}
			if out := d.Docker("inspect", "-f", "{{.HostConfig.StorageOpt.size}}", "small").Must(t); out != "10m" {
				t.Errorf("inspect shows %q", out)
			}
			d.Restart("--data-root", root)
			d.Sampan("start", "small").Must(t)
			wantFull(t, d.Sampan(append([]string{"exec", "small"}, at("root")...)...))
			if used, _, err := quota.Of(upper); err != nil || used > 10<<20 || used < 9<<20 {
				t.Errorf("%d bytes are used: %v", used, err)
			}
			// Renames within, and copies up from the image, stay possible.
			d.Sampan("exec", "small", "sh", "-c", "rm /root/big; mkdir /root/a; mv /root/a /root/b; touch /etc/hosts.allow; rm -r /root/b").Must(t)
			d.Sampan("run", "--rm", "sampan/box", "sh", "-c", "head -c 30000000 /dev/zero >/root/big").Must(t)

			d.Sampan("volume", "create", "-o", "size=10m", "tiny").Must(t)
			wantFull(t, d.Sampan(append([]string{"run", "--rm", "-v", "tiny:/data", "sampan/box"}, at("data")...)...))
			data := d.Sampan("volume", "inspect", "-f", "{{.Mountpoint}}", "tiny").Must(t)
			if used, limit, err := quota.Of(data); err != nil || limit != 10<<20 || used > limit || used < 9<<20 {
				t.Errorf("volume: %d of %d bytes are used: %v", used, limit, err)
			}
			if out := d.Docker("volume", "inspect", "-f", "{{.Options.size}}", "tiny").Must(t); out != "10m" {
				t.Errorf("volume inspect shows %q", out)
			}
			d.Sampan("rm", "-f", "small").Must(t)
			d.Sampan("volume", "rm", "tiny").Must(t)
		})
	}
}

func wantFull(t *testing.T, r lab.Result) {
	t.Helper()
	// ext4 says EDQUOT, xfs ENOSPC.
	if r.Code == 0 || !strings.Contains(r.Err, "quota exceeded") && !strings.Contains(r.Err, "no space left") {
		t.Errorf("writing more than the limit: exit %d, %s", r.Code, r.Err)
	}
}
