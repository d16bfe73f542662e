package checkpoint

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/kernel/fdpass"
)

const (
	// maxMessage bounds what criu sends at once; its messages have some hundred bytes.
	maxMessage = 40 << 10
	// maxSaid bounds what is read of what criu says on standard error.
	maxSaid = 16 << 10
)

// worker is a running criu that waits for requests. Its descriptor 3 is the other end
// of the conversation, and from 4 on come the files it was given.
type worker struct {
	socket  *os.File
	process *os.Process
	program string
}

// start starts criu with the given standard streams, which become those of restored
// processes. The caller's thread decides about namespaces.
func start(program string, stdio [3]*os.File, files ...*os.File) (*worker, error) {
	if program == "" {
		program = "criu"
	}
	path, err := exec.LookPath(program)
	if err != nil {
		return nil, fault.New(fault.NotFound, "there is no program %s on this machine; checkpoints need CRIU (Debian's package criu)", program)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("start criu: %w", err)
	}
	w := &worker{socket: os.NewFile(uintptr(pair[0]), "criu"), program: path}
	theirs := os.NewFile(uintptr(pair[1]), "criu")
	defer theirs.Close()
	attr := &os.ProcAttr{Files: append(append(stdio[:len(stdio):len(stdio)], theirs), files...), Env: os.Environ()}
	if w.process, err = os.StartProcess(path, []string{path, "swrk", "3"}, attr); err != nil {
		w.socket.Close()
		return nil, fmt.Errorf("start criu: %w", err)
	}
	return w, nil
}

// end closes the conversation, which ends criu, and waits for it.
func (w *worker) end() error {
	w.socket.Close()
	state, err := w.process.Wait()
	if err == nil && !state.Success() {
		err = errors.New("criu ended with " + state.String())
	}
	return err
}

// ask sends a request and returns the response, after notify has seen and agreed to each
// notification. A file that came with a notification is closed after that.
func (w *worker) ask(r *request, notify func(*response, *os.File) error) (*response, error) {
	if _, err := w.socket.Write(r.encode()); err != nil {
		return nil, fmt.Errorf("send criu the request: %w", err)
	}
	buf := make([]byte, maxMessage)
	for {
		n, files, err := fdpass.Recv(int(w.socket.Fd()), buf, 1)
		if errors.Is(err, io.EOF) {
			return nil, errors.New("criu ended without an answer")
		}
		if err != nil {
			return nil, fmt.Errorf("hear from criu: %w", err)
		}
		answer, err := decodeResponse(buf[:n])
		if err != nil {
			return nil, err
		}
		if answer.typ != typeNotify {
			return answer, nil
		}
		if !answer.success {
			// So criu tells of a failure in the middle of its scripts.
			return answer, nil
		}
		var file *os.File
		if len(files) > 0 {
			file = files[0]
		}
		err = notify(answer, file)
		if file != nil {
			file.Close()
		}
		if err != nil {
			return nil, err
		}
		if _, err := w.socket.Write((&request{typ: typeNotify, notifySuccess: true}).encode()); err != nil {
			return nil, fmt.Errorf("answer criu: %w", err)
		}
	}
}

// probe asks a criu for its version, and for what is in r, and refuses what is too old.
// What criu cannot do on this kernel at all comes out here.
func (o *Options) probe(r *request, minimum int) (*response, error) {
	out, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer out.Close()
	w, err := start(o.Program, [3]*os.File{nil, in, in})
	in.Close()
	if err != nil {
		return nil, err
	}
	answer, err := w.ask(r, func(*response, *os.File) error { return nil })
	ended := w.end()
	said, _ := io.ReadAll(io.LimitReader(out, maxSaid))
	if err == nil && answer.success {
		if r.typ == typeVersion && answer.version < minimum {
			return nil, fault.New(fault.NotImplemented, "criu %s is too old: %s or newer is needed", versionText(answer.version), versionText(minimum))
		}
		return answer, nil
	}
	if why := lastError(string(said)); why != "" {
		return nil, fault.New(fault.NotImplemented, "%s cannot work on this machine: %s", w.program, why)
	}
	return nil, errors.Join(err, ended)
}

// check makes sure that criu works here and is new enough.
func (o *Options) check() error {
	minimum := oldest
	if o.LSMProfile != "" || o.LSMMountContext != "" {
		minimum = oldestLSM
	}
	_, err := o.probe(&request{typ: typeVersion}, minimum)
	return err
}

// checkFeatures asks whether criu and the kernel can do what the options need.
func (o *Options) checkFeatures() error {
	if !o.PreDump && !o.LazyPages {
		return nil
	}
	answer, err := o.probe(&request{typ: typeFeatureCheck, memTrack: o.PreDump, lazyPages: o.LazyPages}, 0)
	switch {
	case err != nil:
		return err
	case o.PreDump && !answer.memTrack:
		return fault.New(fault.NotImplemented, "--pre-dump: this kernel does not track changes of memory (CONFIG_MEM_SOFT_DIRTY)")
	case o.LazyPages && !answer.lazyPages:
		return fault.New(fault.NotImplemented, "--lazy-pages: this kernel, or criu, has no userfaultfd for it (CONFIG_USERFAULTFD)")
	}
	return nil
}

func versionText(v int) string {
	return fmt.Sprintf("%d.%d.%d", v/10000, v/100%100, v%100)
}

// lastError finds the reason in criu's messages: the first line with the word Error,
// since those that follow only tell which of its functions gave up. hint adds what is to
// be done.
func lastError(text string) string {
	for line := range strings.Lines(text) {
		_, what, found := strings.Cut(line, "Error (")
		if !found {
			continue
		}
		// Error (criu/cr-dump.c:2053): what
		_, what, found = strings.Cut(what, "): ")
		if what = strings.TrimSpace(what); !found || what == "" || beside(what) {
			continue
		}
		return what + hint(what)
	}
	return ""
}

// beside is for errors that criu reports and goes on.
func beside(what string) bool {
	return strings.HasPrefix(what, "tun: Unable to create tun")
}

// hints say what users can do about a failure of criu.
var hints = []struct{ part, text string }{
	{"rt vDSO area bounds", " (this criu is older than the kernel; a newer criu is needed)"},
	{"Can't dump half of stream unix", " (a socket to a process outside; see --ext-unix-sk)"},
	{"External socket is used", " (a socket to a process outside; see --ext-unix-sk)"},
	{"Connected TCP socket", " (an open connection; see --tcp-established)"},
	{"Some file locks are hold", " (see --file-locks)"},
	{"dumping shell job", " (its terminal belongs to a process outside; see --shell-job)"},
	{"iptables-restore", " (criu needs the programs iptables-restore and ip6tables-restore)"},
	{"No inventory.img image", " (there is no checkpoint in that directory)"},
}

func hint(what string) string {
	for _, h := range hints {
		if strings.Contains(what, h.part) {
			return h.text
		}
	}
	return ""
}
