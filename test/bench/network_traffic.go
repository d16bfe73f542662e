package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/sampan-containers/sampan/test/dnsload"
)

const (
	trafficFor    = 400 * time.Millisecond
	trafficRounds = 15
	trafficChunk  = 256 << 10
	trafficPort   = 8000  // in a container, and on the host
	publishedPort = 22000 // on the host
	answerWait    = 10 * time.Second
)

// measureTraffic is what a connection carries, and how long the first one to a
// container takes. Server and client are sockets of this program, made in the
// namespaces of containers and of the engine's host: nothing but the kernel, and
// the peer's proxy, is between them.
func measureTraffic(ctx context.Context, ours, peer *engine) (lines []netLine, err error) {
	engines := []*engine{ours, peer}
	servers := map[*engine]map[string]string{}
	for _, e := range engines {
		stop, ways, err := trafficServers(e)
		if err != nil {
			return nil, err
		}
		defer stop()
		servers[e] = ways
	}
	for _, w := range []struct {
		what, way string
		from      string // a container, or "" for the host
		ratio     float64
	}{
		{"container to container, one bridge", "container", "source", 0.95},
		{"container to host", "host", "source", 0.95},
		{"host to published port, 127.0.0.1", "127.0.0.1", "", 1},
		{"host to published port, [::1]", "::1", "", 0},
	} {
		m, err := pairedMedians(trafficRounds, engines, func(e *engine) ([]float64, error) {
			pid, err := e.sourcePid(w.from)
			if err != nil {
				return nil, err
			}
			rate, err := throughput(pid, servers[e][w.way])
			return []float64{rate}, err
		})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", w.what, err)
		}
		lines = append(lines, netLine{what: "throughput, " + w.what, unit: "MB/s", ours: m[ours][0], peers: m[peer][0], ratio: w.ratio})
	}
	first, err := measureFirst(ctx, ours, peer)
	return append(lines, first...), err
}

func (e *engine) sourcePid(container string) (int, error) {
	if container == "" {
		return e.daemon.Process.Pid, nil
	}
	return e.pidOf(container)
}

// trafficServers starts two containers, one with a published port, and servers
// that take whatever comes: in it and on the host.
func trafficServers(e *engine) (stop func(), ways map[string]string, err error) {
	var undo []func()
	stop = func() {
		for i := len(undo) - 1; i >= 0; i-- {
			undo[i]()
		}
	}
	defer func() {
		if err != nil {
			stop()
		}
	}()
	undo = append(undo, func() { _, _ = e.do("rm", "-f", "source", "sink") })
	if _, err := e.do("run", "-d", "--name", "source", "--network", userNetwork, image, "sleep", "3600"); err != nil {
		return nil, nil, err
	}
	if _, err := e.do("run", "-d", "--name", "sink", "--network", userNetwork, "-p", fmt.Sprintf("%d:%d", publishedPort, trafficPort), image, "sleep", "3600"); err != nil {
		return nil, nil, err
	}
	sink, err := e.pidOf("sink")
	if err != nil {
		return nil, nil, err
	}
	for _, pid := range []int{sink, e.daemon.Process.Pid} {
		end, err := serve(pid, swallow)
		if err != nil {
			return nil, nil, err
		}
		undo = append(undo, end)
	}
	address, err := e.addressOf("sink")
	if err != nil {
		return nil, nil, err
	}
	gateway, err := e.do("inspect", "-f", "{{range .NetworkSettings.Networks}}{{.Gateway}}{{end}}", "sink")
	if err != nil {
		return nil, nil, err
	}
	return stop, map[string]string{
		"container": hostPort(address, trafficPort), "host": hostPort(gateway, trafficPort),
		"127.0.0.1": hostPort("127.0.0.1", publishedPort), "::1": hostPort("::1", publishedPort),
	}, nil
}

func hostPort(host string, port int) string { return net.JoinHostPort(host, fmt.Sprint(port)) }

func (e *engine) addressOf(container string) (string, error) {
	return e.do("inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", container)
}

// serve hands every connection to the traffic port in a process's namespace to f.
func serve(pid int, f func(net.Conn)) (stop func(), err error) {
	var l net.Listener
	err = dnsload.Inside(pid, func() (err error) {
		l, err = net.Listen("tcp", fmt.Sprintf(":%d", trafficPort))
		return err
	})
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				f(c)
			}()
		}
	}()
	return func() { l.Close() }, nil
}

// swallow reads to the end and tells how long that took, and how much it was.
func swallow(c net.Conn) {
	buf := make([]byte, trafficChunk)
	began, sum := time.Now(), 0
	for {
		n, err := c.Read(buf)
		sum += n
		if err != nil {
			break
		}
	}
	fmt.Fprintf(c, "%d %d\n", sum, time.Since(began).Nanoseconds())
}

// dialIn connects from a process's namespace.
func dialIn(pid int, address string) (conn net.Conn, err error) {
	err = dnsload.Inside(pid, func() (err error) {
		conn, err = net.DialTimeout("tcp", address, answerWait)
		return err
	})
	return conn, err
}

// throughput is what one connection carries in MB/s, as the server saw it.
func throughput(pid int, address string) (float64, error) {
	conn, err := dialIn(pid, address)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	buf := make([]byte, trafficChunk)
	for end := time.Now().Add(trafficFor); time.Now().Before(end); {
		if _, err := conn.Write(buf); err != nil {
			return 0, err
		}
	}
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return 0, errors.New("no TCP connection")
	}
	if err := tcp.CloseWrite(); err != nil {
		return 0, err
	}
	if err := conn.SetReadDeadline(time.Now().Add(answerWait)); err != nil {
		return 0, err
	}
	var sum, took int64
	if _, err := fmt.Fscan(bufio.NewReader(conn), &sum, &took); err != nil {
		return 0, err
	}
	return float64(sum) / float64(took) * 1e3, nil
}

// measureFirst is the time of the first connection to a container that was just
// started, from connect to the first byte back, and that from `run` to an answer.
func measureFirst(ctx context.Context, ours, peer *engine) ([]netLine, error) {
	m, err := pairedMedians(netPairs, []*engine{ours, peer}, func(e *engine) (figures []float64, err error) {
		for _, host := range []string{"127.0.0.1", "::1", ""} {
			d, err := e.firstAnswer(ctx, host)
			if err != nil {
				return nil, fmt.Errorf("first connection to %s: %w", host, err)
			}
			figures = append(figures, d)
		}
		d, err := e.runToAnswer()
		return append(figures, d), err
	})
	if err != nil {
		return nil, err
	}
	var lines []netLine
	for i, what := range []string{
		"first connection, host to published port, 127.0.0.1", "first connection, host to published port, [::1]",
		"first connection, container to container", "`run -d -p` of a web server until its first answer over 127.0.0.1",
	} {
		l := netLine{what: what, unit: "µs", ours: m[ours][i], peers: m[peer][i]}
		if i == 3 {
			l.unit = "ms"
		}
		lines = append(lines, l)
	}
	return lines, nil
}

// firstAnswer is the time, in µs, of the first connection to a new container, by
// its published port on a host address or from a container.
func (e *engine) firstAnswer(_ context.Context, host string) (us float64, err error) {
	if _, err := e.do("run", "-d", "--name", "target", "--network", userNetwork, "-p", fmt.Sprintf("%d:%d", publishedPort+1, trafficPort), image, "sleep", "3600"); err != nil {
		return 0, err
	}
	defer func() {
		_, rmErr := e.do("rm", "-f", "target")
		err = errors.Join(err, rmErr)
	}()
	pid, err := e.pidOf("target")
	if err != nil {
		return 0, err
	}
	stop, err := serve(pid, func(c net.Conn) { _, _ = io.CopyN(c, c, 1) })
	if err != nil {
		return 0, err
	}
	defer stop()
	from, address := e.daemon.Process.Pid, hostPort(host, publishedPort+1)
	if host == "" {
		if from, err = e.pidOf("source"); err != nil {
			return 0, err
		}
		if address, err = e.addressOf("target"); err != nil {
			return 0, err
		}
		address = hostPort(address, trafficPort)
	}
	err = dnsload.Inside(from, func() error {
		began := time.Now()
		if err := oneByte(address); err != nil {
			return err
		}
		us = float64(time.Since(began).Nanoseconds()) / 1e3
		return nil
	})
	return us, err
}

// oneByte connects, sends a byte and reads it back.
func oneByte(address string) error {
	c, err := net.DialTimeout("tcp", address, answerWait)
	if err != nil {
		return err
	}
	defer c.Close()
	b := []byte{'x'}
	if _, err := c.Write(b); err != nil {
		return err
	}
	_, err = io.ReadFull(c, b)
	return err
}

// runToAnswer is the time, in ms, from the command that starts a web server to
// its first answer.
func (e *engine) runToAnswer() (ms float64, err error) {
	defer func() {
		_, rmErr := e.do("rm", "-f", "target")
		err = errors.Join(err, rmErr)
	}()
	began := time.Now()
	_, err = e.do("run", "-d", "--name", "target", "--network", userNetwork, "-p", fmt.Sprintf("%d:%d", publishedPort+1, trafficPort), image, "busybox", "httpd", "-f", "-p", fmt.Sprint(trafficPort))
	if err != nil {
		return 0, err
	}
	err = dnsload.Inside(e.daemon.Process.Pid, func() error {
		for {
			err := oneRequest(hostPort("127.0.0.1", publishedPort+1))
			if err == nil || time.Since(began) > answerWait {
				return err
			}
			time.Sleep(200 * time.Microsecond)
		}
	})
	return inMS(time.Since(began)), err
}

func oneRequest(address string) error {
	c, err := net.DialTimeout("tcp", address, answerWait)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET / HTTP/1.0\r\n\r\n"); err != nil {
		return err
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if err == nil && len(line) < len("HTTP/1.0 200") {
		return fmt.Errorf("the answer is %q", line)
	}
	return err
}
