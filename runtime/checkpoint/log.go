package checkpoint

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/kernel/weak"
)

// maxLogTail bounds what is read of criu's log for its errors; each run writes one.
const maxLogTail = 4 << 20

// criuFiles are what criu writes into its working directory, beside the images.
var criuFiles = []string{dumpLog, restoreLog, "stats-dump", "stats-restore"}

// clearLogs takes away what lies in the place of criu's logs and statistics. Criu opens
// them through links, and a checkpoint from elsewhere may have put some there.
func clearLogs(dir *os.File) error {
	if weak.Off("checkpointlog") {
		return nil
	}
	for _, name := range criuFiles {
		err := unix.Unlinkat(int(dir.Fd()), name, 0)
		if err == nil || errors.Is(err, unix.ENOENT) {
			continue
		}
		return fault.New(fault.Invalid, "criu could not write its log: %s is in the way: %w", filepath.Join(dir.Name(), name), err)
	}
	return nil
}

// failure explains why criu did not do what it was asked for.
func (o *Options) failure(s *Subject, typ uint64, log string, answer *response, err error) error {
	path := filepath.Join(o.logDir(), log)
	why := lastError(readLog(path))
	if answer != nil && why == "" {
		why = answer.errText
		if why == "" && answer.errno > 0 {
			why = unix.Errno(answer.errno).Error()
		}
	}
	if why == "" && err != nil {
		why = err.Error()
	}
	if why == "" {
		why = "it does not say why"
	}
	verb := "checkpoint"
	if typ == typeRestore {
		verb = "restore"
	}
	return fmt.Errorf("%s container %s: criu failed: type %s: %s; log file: %s", verb, s.ID, typeNames[typ], why, path)
}

// readLog reads the end of a log, or nothing.
func readLog(path string) string {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return ""
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	st, err := f.Stat()
	if err != nil || !st.Mode().IsRegular() {
		return ""
	}
	tail := io.NewSectionReader(f, max(0, st.Size()-maxLogTail), maxLogTail)
	text, _ := io.ReadAll(tail)
	return string(text)
}
