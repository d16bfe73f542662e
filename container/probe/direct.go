package probe

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/container/health"
	"github.com/sampan-containers/sampan/container/index"
)

const (
	// maxAnswer bounds what is read of an HTTP answer.
	maxAnswer = 64 << 10
	// namespaceWait bounds the wait for the shim's answer.
	namespaceWait = 5 * time.Second
	// The statuses that count as healthy: redirects too, they are not followed.
	firstGood, lastGood = 200, 399
)

// loopbacks are tried in this order; an address of its own comes last.
var loopbacks = [...]netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}

// direct probes a port of a container from inside its network namespace, of which
// the shim lends the descriptor once in a run: a probe starts no process, wakes no
// shim, and depends on no file of the container. What answers is untrusted.
type direct struct {
	s     *Probes
	check health.Direct
	ns    *os.File // nil until the first probe
}

func (d *direct) close() {
	if d.ns != nil {
		d.ns.Close()
	}
}

func (d *direct) probe(e *index.Entry, r *index.Run, timeout time.Duration) *container.HealthcheckResult {
	result := &container.HealthcheckResult{Start: time.Now(), ExitCode: 1}
	defer func() { result.End = time.Now() }()
	ctx, cancel := context.WithTimeout(d.s.d.Work.Ending(), timeout)
	defer cancel()
	text, err := d.try(ctx, e, r)
	result.Output = strings.ToValidUTF8(text, "\uFFFD")
	switch {
	case err == nil:
		result.ExitCode = 0
	case errors.Is(err, os.ErrDeadlineExceeded) || ctx.Err() != nil:
		result.ExitCode = codeProbeFailed
		result.Output = fmt.Sprintf("Health check exceeded timeout (%v)", timeout)
	case result.Output == "":
		result.Output = err.Error()
	}
	return result
}

func (d *direct) try(ctx context.Context, e *index.Entry, r *index.Run) (string, error) {
	if d.ns == nil {
		nsCtx, cancel := context.WithTimeout(ctx, namespaceWait)
		defer cancel()
		ns, err := r.Shim.Namespace(nsCtx, "network")
		if err != nil {
			return "", err
		}
		d.ns = ns
	}
	addresses := loopbacks[:]
	if joined := e.Record().State.Net; joined != nil {
		addresses = append(addresses[:len(addresses):len(addresses)], joined.Addrs()...)
	}
	var first error
	for _, a := range addresses {
		conn, err := d.connect(ctx, netip.AddrPortFrom(a, d.check.Port))
		if err == nil {
			defer conn.Close()
			return d.ask(conn)
		}
		if first == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			first = err
		}
		if !errors.Is(err, unix.ECONNREFUSED) && !errors.Is(err, unix.EADDRNOTAVAIL) && !errors.Is(err, unix.ENETUNREACH) && !errors.Is(err, unix.EAFNOSUPPORT) {
			break
		}
	}
	return "", fmt.Errorf("connect to port %d: %w", d.check.Port, first)
}

// connect opens a connection; its deadline is ctx's.
func (d *direct) connect(ctx context.Context, to netip.AddrPort) (*os.File, error) {
	fd, err := socketIn(d.ns, to.Addr().Is4())
	if err != nil {
		return nil, err
	}
	var sa unix.Sockaddr = &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
	if to.Addr().Is4() {
		sa = &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}
	}
	err = unix.Connect(fd, sa)
	if err != nil && err != unix.EINPROGRESS {
		unix.Close(fd)
		return nil, os.NewSyscallError("connect", err)
	}
	f := os.NewFile(uintptr(fd), to.String()) // with the poller's deadlines: it does not block
	if deadline, ok := ctx.Deadline(); ok {
		_ = f.SetDeadline(deadline)
	}
	if err := connected(f); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// connected waits for the end of a connect.
func connected(f *os.File) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	err = raw.Write(func(fd uintptr) bool {
		code, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
		switch {
		case err != nil:
			result = os.NewSyscallError("getsockopt", err)
			return true
		case code != 0:
			result = os.NewSyscallError("connect", unix.Errno(code))
			return true
		}
		_, err = unix.Getpeername(int(fd))
		return err == nil // ENOTCONN: not yet
	})
	return errors.Join(err, result)
}

// socketIn makes a socket that belongs to a network namespace.
func socketIn(ns *os.File, v4 bool) (fd int, err error) {
	family := unix.AF_INET6
	if v4 {
		family = unix.AF_INET
	}
	// A thread that cannot come back must not serve anybody else: it ends with
	// this goroutine, which is not ours to end.
	type made struct {
		fd  int
		err error
	}
	result := make(chan made, 1)
	go func() {
		runtime.LockOSThread()
		own, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			runtime.UnlockOSThread()
			result <- made{-1, os.NewSyscallError("open the daemon's network namespace", err)}
			return
		}
		defer unix.Close(own)
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			runtime.UnlockOSThread()
			result <- made{-1, os.NewSyscallError("enter the container's network namespace", err)}
			return
		}
		fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if unix.Setns(own, unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
		result <- made{fd, os.NewSyscallError("socket", err)}
	}()
	m := <-result
	return m.fd, m.err
}

// ask makes the request, if there is one to make.
func (d *direct) ask(conn *os.File) (string, error) {
	if !d.check.HTTP {
		return "connected to port " + strconv.Itoa(int(d.check.Port)), nil
	}
	request := "GET " + d.check.Path + " HTTP/1.1\r\nHost: localhost:" + strconv.Itoa(int(d.check.Port)) +
		"\r\nUser-Agent: Sampan-Health\r\nAccept: */*\r\nConnection: close\r\n\r\n"
	if _, err := conn.WriteString(request); err != nil {
		return "", fmt.Errorf("send the request: %w", err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(io.LimitReader(conn, maxAnswer)), nil)
	if err != nil {
		return "", fmt.Errorf("read the answer: %w", err)
	}
	defer answer.Body.Close()
	text := answer.Proto + " " + answer.Status
	body, err := io.ReadAll(io.LimitReader(answer.Body, health.MaxOutput))
	if err == nil && len(body) > 0 {
		text += "\n" + string(body)
	}
	if answer.StatusCode < firstGood || answer.StatusCode > lastGood {
		return text, fmt.Errorf("status %d", answer.StatusCode)
	}
	return text, nil
}
