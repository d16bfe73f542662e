package checkpoint

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/kernel/weak"
)

// streamsFile holds what the standard streams were at the dump, in the directory of the
// images; name and form are runc's. Of interest are pipes, and files that the container
// does not have among its own: a restored process gets the new streams in their place.
// Such a file is written as criu calls it, file[MOUNT:INODE], and runc's images have none.
const streamsFile = "descriptors.json"

// maxStreams bounds that file, which may come from elsewhere.
const maxStreams = 64 << 10

// saveStreams writes the file, and tells criu which files are not to be looked for in the
// container.
func (o *Options) saveStreams(pid int, r *options) error {
	var list [3]string
	for i := range list {
		list[i] = streamOf(pid, i)
		if strings.HasPrefix(list[i], filePrefix) && !slices.Contains(r.external, list[i]) {
			r.external = append(r.external, list[i])
		}
	}
	data, err := json.Marshal(list)
	if err != nil {
		return err
	}
	name := filepath.Join(o.Images, streamsFile)
	temp := name + ".new"
	if err = unix.Unlink(temp); err == nil || errors.Is(err, unix.ENOENT) {
		var f *os.File
		if f, err = os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err == nil {
			_, err = f.Write(data)
			err = errors.Join(err, f.Close())
		}
	}
	if err == nil {
		err = os.Rename(temp, name)
	}
	if err != nil {
		return fmt.Errorf("save what the standard streams are: %w", err)
	}
	return nil
}

// streamOf says what a descriptor of a process is.
func streamOf(pid, fd int) string {
	process := "/proc/" + strconv.Itoa(pid)
	target, err := os.Readlink(process + "/fd/" + strconv.Itoa(fd))
	if err != nil {
		return "/dev/null" // closed
	}
	if !strings.HasPrefix(target, "/") {
		return target
	}
	info, err := os.ReadFile(process + "/fdinfo/" + strconv.Itoa(fd))
	table, tableErr := os.ReadFile(process + "/mountinfo")
	_, mount, found := strings.Cut(string(info), "mnt_id:")
	mount, _, _ = strings.Cut(strings.TrimSpace(mount), "\n")
	number, numberErr := strconv.ParseUint(mount, 10, 32)
	var st unix.Stat_t
	if errors.Join(err, tableErr, numberErr, unix.Stat(process+"/fd/"+strconv.Itoa(fd), &st)) != nil || !found {
		return target
	}
	for line := range strings.Lines(string(table)) {
		if id, _, _ := strings.Cut(line, " "); id == mount {
			return target // the container's own
		}
	}
	return fmt.Sprintf("%s%x:%x]", filePrefix, number, st.Ino)
}

// loadStreams reads it and returns what descriptors 0 to 2 take the place of.
func (o *Options) loadStreams() ([]inherited, error) {
	name := filepath.Join(o.Images, streamsFile)
	// A checkpoint is a directory that may come from anywhere: no link to a file of
	// ours, no FIFO to wait at, no endless file.
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fault.New(fault.Invalid, "there is no complete checkpoint in %s: open %s: %w", o.Images, streamsFile, err)
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() || st.Size() > maxStreams {
		return nil, fault.New(fault.Invalid, "the checkpoint's %s is not a regular file of at most %d bytes", name, maxStreams)
	}
	var list []string
	data, err := io.ReadAll(io.LimitReader(f, maxStreams))
	if err == nil {
		err = json.Unmarshal(data, &list)
	}
	if err != nil || len(list) > 3 {
		return nil, fault.New(fault.Invalid, "the checkpoint's %s is not a list of up to three descriptors", name)
	}
	var streams []inherited
	for i, key := range list {
		if isStream(key) && !slices.ContainsFunc(streams, func(s inherited) bool { return s.key == key }) {
			streams = append(streams, inherited{key, i})
		}
	}
	return streams, nil
}

const (
	pipePrefix = "pipe:["
	filePrefix = "file["
)

// isStream accepts pipe:[NUMBER] and file[NUMBER:NUMBER] alone. Anything else, such as
// the name of a namespace, could be given what the caller did not mean for it.
func isStream(key string) bool {
	if weak.Off("checkpointstreams") {
		return true
	}
	body, closed := strings.CutSuffix(key, "]")
	if number, found := strings.CutPrefix(body, pipePrefix); found {
		_, err := strconv.ParseUint(number, 10, 64)
		return closed && err == nil
	}
	body, found := strings.CutPrefix(body, filePrefix)
	mount, inode, pair := strings.Cut(body, ":")
	_, err := strconv.ParseUint(mount, 16, 32)
	_, err2 := strconv.ParseUint(inode, 16, 64)
	return closed && found && pair && errors.Join(err, err2) == nil
}
