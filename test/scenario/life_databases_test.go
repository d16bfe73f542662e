package scenario

import (
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"

	"github.com/sampan-containers/sampan/test/lab"
)

const (
	databases = "debian-databases:test"
	pgBin     = "/usr/lib/postgresql/15/bin/"
	pgServe   = `set -e
D=/var/lib/postgresql/data
if [ ! -s $D/PG_VERSION ]; then
  chown postgres:postgres $D && chmod 700 $D
  setpriv --reuid postgres --regid postgres --init-groups ` + pgBin + `initdb -D $D -A trust >/dev/null
  echo 'host all all samenet trust' >> $D/pg_hba.conf
fi
exec setpriv --reuid postgres --regid postgres --init-groups ` + pgBin + `postgres -D $D -c listen_addresses='*' -c unix_socket_directories=/tmp`
)

// databaseWait bounds the start of a server, and its stop.
const databaseWait = 40 * time.Second

// PostgreSQL, Redis and nginx from Debian's packages run as in Docker, with named
// volumes, limits, health checks and restart policies; and no transaction of
// PostgreSQL fails while the daemon is killed under load.
func TestDatabases(t *testing.T) {
	d := lab.Start(t)
	d.Import(lab.Cache(t, "debian-databases.tar"), databases)
	d.Sampan("run", "-d", "--name", "pg", "-v", "pgdata:/var/lib/postgresql/data", "--memory", "512m", "--pids-limit", "200", "--shm-size", "128m",
		"--restart", "unless-stopped", "--stop-signal", "INT", "--health-cmd", "tcp:5432", "--health-interval", "200ms", databases, "bash", "-c", pgServe).Must(t)
	d.Sampan("run", "-d", "--name", "redis", "-v", "redisdata:/var/lib/redis", "-w", "/var/lib/redis", "--memory", "128m", "--user", "redis", "--read-only",
		"--restart", "on-failure:3", "--health-cmd", "redis-cli ping | grep -q PONG", "--health-interval", "300ms", databases,
		"redis-server", "--appendonly", "yes", "--dir", "/var/lib/redis").Must(t)
	d.Docker("run", "-d", "--name", "web", "-p", "8081:80", "--memory", "64m", "--cpus", "0.5", "--restart", "always", "--health-cmd", "http:80/",
		"--health-interval", "200ms", databases, "nginx", "-g", "daemon off;").Must(t)
	for _, name := range []string{"pg", "web"} {
		becomesWithin(t, d, name, container.Healthy, databaseWait)
	}
	t.Run("redis", func(t *testing.T) { redis(t, d) })
	t.Run("nginx", func(t *testing.T) {
		if err := page("http://127.0.0.1:8081/"); err != nil {
			t.Error(err)
		}
	})
	t.Run("postgres", func(t *testing.T) { postgres(t, d) })
	t.Run("host shutdown", func(t *testing.T) { hostShutdown(t, d) })
}

// pgReady tells whether the server answers.
func pgReady(d *lab.Daemon) bool {
	return d.Sampan("exec", "-u", "postgres", "pg", pgBin+"pg_isready", "-h", "/tmp").Code == 0
}

// hostShutdown plays the end of the host under load, as the systemd unit does it: the
// servers end cleanly, and start again with the next boot as if nothing had happened.
func hostShutdown(t *testing.T, d *lab.Daemon) {
	before, err := strconv.Atoi(psql(t, d, "select count(*) from pgbench_history"))
	if err != nil {
		t.Fatal(err)
	}
	d.Sampan("exec", "redis", "redis-cli", "set", "last", "word").Must(t)
	address := d.Sampan("inspect", "-f", "{{.NetworkSettings.Networks.bridge.IPAddress}}", "pg").Must(t)
	d.Sampan("run", "-d", "--name", "load2", databases, pgBin+"pgbench", "-h", address, "-U", "postgres", "-n", "-c", "4", "-j", "2", "-T", "600", "postgres").Must(t)
	lab.Eventually(t, databaseWait, "transactions are under way", func() bool {
		n, err := strconv.Atoi(psql(t, d, "select count(*) from pgbench_history"))
		return err == nil && n > before+100
	})
	since := strconv.FormatInt(time.Now().Unix(), 10)
	stopped := strings.Fields(d.Sampan("system", "stop").Must(t))
	slices.Sort(stopped)
	if want := []string{"load2", "pg", "redis", "web"}; !slices.Equal(stopped, want) {
		t.Errorf("stopped %q, want %q", stopped, want)
	}
	d.Stop()
	d.Restart()
	lab.Eventually(t, databaseWait, "the server is there again", func() bool { return pgReady(d) })
	log := d.Sampan("logs", "--since", since, "pg")
	text := log.Out + log.Err
	for _, want := range []string{"database system is shut down", "database system was shut down at", "database system is ready to accept connections"} {
		if !strings.Contains(text, want) {
			t.Errorf("the server's log does not say %q:\n%s", want, text)
		}
	}
	for _, bad := range []string{"not properly shut down", "interrupted", "recovery"} {
		if strings.Contains(text, bad) {
			t.Errorf("the server's log speaks of %q:\n%s", bad, text)
		}
	}
	if after, err := strconv.Atoi(psql(t, d, "select count(*) from pgbench_history")); err != nil || after <= before+100 {
		t.Errorf("%d transactions after the shutdown, more than %d before it: %v", after, before+100, err)
	}
	becomesWithin(t, d, "redis", container.Healthy, databaseWait)
	if out := d.Docker("exec", "redis", "redis-cli", "get", "last").Must(t); out != "word" {
		t.Errorf("redis has %q", out)
	}
	becomesWithin(t, d, "web", container.Healthy, databaseWait)
	if err := page("http://127.0.0.1:8081/"); err != nil {
		t.Error(err)
	}
	if running(t, d, "load2") {
		t.Error("the load runs again, without a restart policy")
	}
}

func becomesWithin(t *testing.T, d *lab.Daemon, name string, want container.HealthStatus, within time.Duration) {
	t.Helper()
	lab.Eventually(t, within, name+" becomes "+string(want)+": "+d.Sampan("logs", "-n", "5", name).Err, func() bool {
		h := health(t, d, name)
		return h != nil && h.Status == want
	})
}

func redis(t *testing.T, d *lab.Daemon) {
	// The volume has its owner from the directory of the image.
	becomesWithin(t, d, "redis", container.Healthy, databaseWait)
	d.Sampan("exec", "redis", "redis-cli", "set", "key", "kept").Must(t)
	d.Sampan("stop", "redis").Must(t)
	if _, code, _ := status(t, d, "redis"); code != 0 {
		t.Errorf("stop: exit code %d, want 0", code)
	}
	d.Sampan("rm", "redis").Must(t)
	d.Sampan("run", "-d", "--name", "redis", "-v", "redisdata:/var/lib/redis", "--restart", "always", "--user", "redis", "--health-cmd", "tcp:6379", "--health-interval", "100ms", databases,
		"redis-server", "--appendonly", "yes", "--dir", "/var/lib/redis").Must(t)
	becomesWithin(t, d, "redis", container.Healthy, databaseWait)
	if out := d.Docker("exec", "redis", "redis-cli", "get", "key").Must(t); out != "kept" {
		t.Errorf("the key is %q after a new container on the volume", out)
	}
}

func psql(t *testing.T, d *lab.Daemon, query string) string {
	t.Helper()
	return d.Sampan("exec", "-u", "postgres", "pg", pgBin+"psql", "-h", "/tmp", "-At", "-c", query).Must(t)
}

func postgres(t *testing.T, d *lab.Daemon) {
	const seconds = "8"
	d.Sampan("exec", "-u", "postgres", "pg", pgBin+"pgbench", "-h", "/tmp", "-i", "-q").Must(t)
	before := psql(t, d, "select pg_postmaster_start_time()")
	// The clients run in a container of their own, over the network.
	address := d.Sampan("inspect", "-f", "{{.NetworkSettings.Networks.bridge.IPAddress}}", "pg").Must(t)
	d.Sampan("run", "-d", "--name", "load", databases, pgBin+"pgbench", "-h", address, "-U", "postgres", "-n", "-c", "4", "-j", "2", "-T", seconds, "postgres").Must(t)
	kills := 0
	for running(t, d, "load") {
		d.Kill()
		time.Sleep(300 * time.Millisecond)
		d.Restart()
		time.Sleep(300 * time.Millisecond)
		kills++
	}
	out := d.Sampan("logs", "load").Must(t)
	if _, code, _ := status(t, d, "load"); code != 0 || kills < 3 || !strings.Contains(out, "number of failed transactions: 0 ") {
		t.Errorf("pgbench ended with %d over %d kills of the daemon:\n%s%s", code, kills, out, d.Sampan("logs", "load").Err)
	}
	if after := psql(t, d, "select pg_postmaster_start_time()"); after != before {
		t.Errorf("the server was restarted: %s, then %s", before, after)
	}
	count := psql(t, d, "select count(*) from pgbench_history")

	// Its own death: the policy starts it again, and it recovers.
	pid := d.Sampan("inspect", "-f", "{{.State.Pid}}", "pg").Must(t)
	if err := exec.Command("kill", "-9", pid).Run(); err != nil {
		t.Fatal(err)
	}
	lab.Eventually(t, policyWait, "the policy starts it again", func() bool {
		state, _, n := status(t, d, "pg")
		return state == "running" && n == 1
	})
	becomesWithin(t, d, "pg", container.Healthy, databaseWait)
	ready := func() bool { return pgReady(d) }
	lab.Eventually(t, databaseWait, "it has recovered", ready)
	if now := psql(t, d, "select count(*) from pgbench_history"); now != count {
		t.Errorf("%s transactions after the crash, %s before", now, count)
	}
	// A clean stop, and everything is there in a new container.
	d.Sampan("stop", "-t", "30", "pg").Must(t)
	if _, code, _ := status(t, d, "pg"); code != 0 {
		t.Errorf("stop: exit code %d, want 0", code)
	}
	if out := d.Sampan("logs", "-n", "5", "pg"); !strings.Contains(out.Err+out.Out, "database system is shut down") {
		t.Errorf("the end of its log: %s%s", out.Out, out.Err)
	}
	d.Sampan("rm", "pg").Must(t)
	d.Sampan("run", "-d", "--name", "pg", "-v", "pgdata:/var/lib/postgresql/data", "--restart", "unless-stopped", "--stop-signal", "INT",
		"--health-cmd", "tcp:5432", "--health-interval", "200ms", databases, "bash", "-c", pgServe).Must(t)
	lab.Eventually(t, databaseWait, "the next one serves", ready)
	if now := psql(t, d, "select count(*) from pgbench_history"); now != count {
		t.Errorf("%s transactions in the new container, %s before", now, count)
	}
}
