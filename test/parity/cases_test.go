package parity

// container is one way to create a container.
type containerCase struct {
	name    string
	flags   []string
	image   string   // busybox when empty
	command []string // sleep 1000 when nil
	until   string   // the state that is compared: running when empty, created, exited, stopped, restarted, failed
}

// cases go to both engines word by word. Those that want every capability are
// only created: runc fails where the machine itself lacks one.
var cases = []containerCase{
	{name: "plain"},
	{name: "named", flags: []string{"-e", "A=1", "-e", "B=two words", "-l", "tier=front", "-l", "empty"}},
	{name: "published", flags: []string{"-p", "18080:80", "-p", "127.0.0.1:18081:81/udp", "-p", "18082-18083:82-83"}},
	{name: "random-port", flags: []string{"-p", "84"}},
	{name: "exposed", flags: []string{"--expose", "90", "--expose", "91-92/udp"}},
	{name: "publish-all", flags: []string{"-P", "--expose", "93"}},
	{name: "no-network", flags: []string{"--network", "none"}},
	{name: "host-network", flags: []string{"--network", "host"}},
	{name: "joined-network", flags: []string{"--network", "container:plain"}},
	{name: "mac", flags: []string{"--mac-address", "02:42:00:00:00:99"}},
	{name: "binds", flags: []string{"-v", "/srv:/srv:ro", "-v", "/opt:/host-opt:rprivate", "-v", "named:/named", "-v", "named:/nocopy:nocopy,ro"}},
	{name: "anonymous", flags: []string{"-v", "/anonymous"}},
	{name: "tmpfs", flags: []string{"--tmpfs", "/t1", "--tmpfs", "/t2:size=1m,mode=700"}},
	{name: "mounts", flags: []string{"--mount", "type=bind,src=/srv,dst=/a,readonly", "--mount", "type=volume,src=second,dst=/b",
		"--mount", "type=tmpfs,dst=/c,tmpfs-size=1m,tmpfs-mode=0700", "--mount", "type=bind,src=/srv,dst=/d,bind-propagation=private"}},
	{name: "mount-anonymous", flags: []string{"--mount", "type=volume,dst=/v"}},
	{name: "volumes-from", flags: []string{"--volumes-from", "binds:ro"}},
	{name: "memory", flags: []string{"-m", "64m", "--memory-reservation", "32m", "--oom-score-adj", "500"}},
	{name: "swap", flags: []string{"-m", "64m", "--memory-swap", "128m", "--memory-swappiness", "10", "--oom-kill-disable"}},
	{name: "cpus", flags: []string{"--cpus", "0.5", "--cpu-shares", "512", "--cpuset-cpus", "0", "--cpuset-mems", "0"}},
	{name: "quota", flags: []string{"--cpu-period", "50000", "--cpu-quota", "25000", "--pids-limit", "100"}},
	{name: "unlimited-pids", flags: []string{"--pids-limit", "-1"}},
	{name: "user", flags: []string{"--user", "1000:1000", "--workdir", "/work", "--entrypoint", "/bin/busybox", "--group-add", "7"}},
	{name: "checked-entrypoint-reset", flags: []string{"--entrypoint", ""}, image: full},
	{name: "caps", flags: []string{"--cap-add", "NET_ADMIN", "--cap-add", "SYS_TIME", "--cap-drop", "CHOWN"}},
	{name: "all-caps", flags: []string{"--cap-add", "all", "--cap-drop", "cap_mknod"}, until: "created"},
	{name: "privileged", flags: []string{"--privileged"}, until: "created"},
	{name: "read-only", flags: []string{"--read-only"}},
	{name: "always", flags: []string{"--restart", "always"}},
	{name: "on-failure", flags: []string{"--restart", "on-failure:3"}},
	{name: "unless-stopped", flags: []string{"--restart", "unless-stopped"}},
	{name: "no-healthcheck", flags: []string{"--no-healthcheck"}},
	{name: "healthcheck", flags: []string{"--health-cmd", "true", "--health-interval", "1h", "--health-timeout", "2s", "--health-retries", "4"}},
	{name: "ulimit", flags: []string{"--ulimit", "nofile=512:1024", "--ulimit", "core=0"}},
	{name: "sysctl", flags: []string{"--sysctl", "net.ipv4.ip_forward=0", "--sysctl", "kernel.msgmax=65536"}},
	{name: "dns", flags: []string{"--dns", "192.0.2.1", "--dns-search", "example.org", "--dns-option", "ndots:2", "--add-host", "db:192.0.2.2"}},
	{name: "hostname", flags: []string{"--hostname", "h1", "--domainname", "example.org"}},
	{name: "terminal", flags: []string{"-t", "-i"}, command: []string{"sh"}},
	{name: "stdin", flags: []string{"-i"}},
	{name: "temporary", flags: []string{"--rm"}},
	{name: "log-options", flags: []string{"--log-driver", "json-file", "--log-opt", "max-size=1m", "--log-opt", "max-file=2"}},
	{name: "no-log", flags: []string{"--log-driver", "none"}},
	{name: "stop", flags: []string{"--stop-signal", "SIGINT", "--stop-timeout", "3"}},
	{name: "shm", flags: []string{"--shm-size", "8m"}},
	{name: "host-namespaces", flags: []string{"--ipc", "host", "--pid", "host", "--uts", "host"}},
	{name: "shareable", flags: []string{"--ipc", "shareable"}},
	{name: "joined-namespaces", flags: []string{"--ipc", "container:shareable", "--pid", "container:plain"}},
	{name: "private-cgroup", flags: []string{"--cgroupns", "private"}},
	{name: "security", flags: []string{"--security-opt", "no-new-privileges", "--security-opt", "seccomp=unconfined"}},
	{name: "device", flags: []string{"--device", "/dev/fuse", "--device", "/dev/null:/dev/mine:r", "--device-cgroup-rule", "c 1:3 rw"}},
	{name: "cgroup-parent", flags: []string{"--cgroup-parent", cgroupParent}},
	{name: "checked-whole-image", image: full, command: []string{}},
	{name: "checked-whole-image-over", flags: []string{"-e", "A=2", "-l", "tier=back", "-v", "/data", "--user", "0"}, image: full},
	{name: "created", until: "created"},
	{name: "created-published", flags: []string{"-p", "18090:80", "-v", "/anonymous"}, until: "created"},
	{name: "ended", command: []string{"true"}, until: "exited"},
	{name: "ended-three", flags: []string{"-p", "18091:80"}, command: []string{"sh", "-c", "exit 3"}, until: "exited"},
	{name: "killed", command: []string{"sh", "-c", "kill -9 $$"}, until: "exited"},
	{name: "init", flags: []string{"--init"}},
	{name: "bridge", flags: []string{"--network", "bridge"}},
	{name: "volume-label", flags: []string{"--mount", "type=volume,dst=/v,volume-label=a=b"}},
	{name: "stopped", flags: []string{"--stop-timeout", "0"}, until: "stopped"},
	{name: "restarted", flags: []string{"--restart", "on-failure:1"}, command: []string{"sh", "-c", "exit 4"}, until: "restarted"},
	{name: "failed-command", command: []string{"absent"}, until: "failed"},
	{name: "failed-directory", command: []string{"/etc"}, until: "failed"},
	{name: "failed-right", command: []string{"/etc/noexec"}, until: "failed"},
}

// notYet are flags that Sampan refuses by name. One that it no longer refuses
// fails the test: its row belongs in cases then.
var notYet = [][]string{
	{"--log-driver", "syslog"},
	{"--log-driver", "nonsense"}, // dockerd looks for a plugin for 15 s and says the same
}

// bodies are create requests as other clients than docker's send them; what is
// left out gets its default from the version of the API.
var bodies = []string{
	`{"Image":"` + busybox + `","Cmd":["true"]}`,
	`{"Image":"` + busybox + `","Cmd":"true","Entrypoint":"/bin/busybox"}`,
	`{"Image":"` + busybox + `","Cmd":["true"],"HostConfig":{}}`,
	`{"Image":"` + busybox + `","Cmd":["true"],"HostConfig":{"NetworkMode":"bridge","PidsLimit":0,"ShmSize":0}}`,
	`{"Image":"` + busybox + `","Cmd":["true"],"HostConfig":{"NetworkMode":"","Binds":[],"CapAdd":[],"OomKillDisable":null,"MemorySwappiness":-1}}`,
	`{"Image":"` + busybox + `","Cmd":["true"],"Env":null,"Labels":null,"Volumes":{"/v":{}},"ExposedPorts":{"80/tcp":{},"81/udp":{}}}`,
	`{"Image":"` + busybox + `","Cmd":["true"],"HostConfig":{"PortBindings":{"80/tcp":[{"HostPort":"18200"}],"81/udp":[{}],"82/tcp":null}}}`,
	`{"Image":"` + busybox + `","Cmd":["true"],"HostConfig":{"Memory":67108864,"CpuShares":2,"RestartPolicy":{"Name":"always"}}}`,
	`{"Image":"` + busybox + `","Cmd":["true"],"HostConfig":{"Mounts":[{"Type":"bind","Source":"/srv","Target":"/a","ReadOnly":true}]}}`,
	`{"Image":"` + busybox + `","Cmd":["true"],"NetworkingConfig":{"EndpointsConfig":{}},"HostConfig":{"AutoRemove":true}}`,
	`{"Image":"` + busybox + `","Cmd":["true"],"Hostname":"h","Domainname":"d","User":"1","Tty":true,"OpenStdin":true,"StdinOnce":true,"StopSignal":"SIGHUP","StopTimeout":7}`,
}
