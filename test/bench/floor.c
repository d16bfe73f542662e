//go:build ignore

/*
 * floor.c: what the kernel itself needs for a container, as the lower bound of the
 * benchmark rows. It makes the same namespaces, mounts, device nodes and masks
 * as the default specification (`runc spec`), joins the same kind of control groups
 * and executes the program, in C, with nothing read, parsed, checked or recorded.
 *
 *   cc -O2 -static -o floor floor.c
 *   floor ROOTFS PROGRAM [ARG...]
 *
 * The exit status is the program's; 125 is a failure of floor itself.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <net/if.h>
#include <unistd.h>
#include <linux/capability.h>

#define CGROUPS "/sys/fs/cgroup"
#define MAX_HIERARCHIES 16

static void die(const char *what)
{
	fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
	_exit(125);
}

#define must(call) do { if ((call) < 0) die(#call); } while (0)

/* The v1 hierarchies with a group for us, and their tasks files. */
static char groups[MAX_HIERARCHIES][320];
static int tasks[MAX_HIERARCHIES];
static int hierarchies;

/* linux.resources.devices of the specification, and the devices every container has */
static void device_rules(const char *group)
{
	static const char *allowed[] = {
		"c *:* m", "b *:* m", "c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm", "c 1:8 rwm", "c 1:9 rwm",
		"c 5:0 rwm", "c 5:1 rwm", "c 5:2 rwm", "c 136:* rwm",
	};
	char path[512];
	int fd;

	snprintf(path, sizeof path, "%s/devices.deny", group);
	must(fd = open(path, O_WRONLY));
	must(write(fd, "a", 1));
	close(fd);
	snprintf(path, sizeof path, "%s/devices.allow", group);
	must(fd = open(path, O_WRONLY));
	for (unsigned i = 0; i < sizeof allowed / sizeof *allowed; i++)
		must(write(fd, allowed[i], strlen(allowed[i])));
	close(fd);
}

static void make_groups(void)
{
	char path[512];
	struct dirent *e;
	DIR *d = opendir(CGROUPS);

	if (!d)
		return;
	while ((e = readdir(d)) && hierarchies < MAX_HIERARCHIES) {
		if (e->d_name[0] == '.' || e->d_type == DT_LNK)
			continue;
		snprintf(path, sizeof path, CGROUPS "/%s/tasks", e->d_name);
		if (access(path, W_OK) < 0)
			continue;	/* v2 */
		snprintf(groups[hierarchies], sizeof groups[0], CGROUPS "/%s/floor-%d", e->d_name, getpid());
		must(mkdir(groups[hierarchies], 0755));
		if (!strcmp(e->d_name, "cpuset")) {
			/* a fresh cpuset takes no task before it has cpus and memory nodes */
			const char *files[] = { "cpuset.cpus", "cpuset.mems" };
			for (int i = 0; i < 2; i++) {
				char value[256];
				int n, fd;
				snprintf(path, sizeof path, CGROUPS "/cpuset/%s", files[i]);
				must(fd = open(path, O_RDONLY));
				must(n = read(fd, value, sizeof value));
				close(fd);
				snprintf(path, sizeof path, "%s/%s", groups[hierarchies], files[i]);
				must(fd = open(path, O_WRONLY));
				must(write(fd, value, n));
				close(fd);
			}
		}
		if (!strcmp(e->d_name, "devices"))
			device_rules(groups[hierarchies]);
		snprintf(path, sizeof path, "%s/tasks", groups[hierarchies]);
		must(tasks[hierarchies] = open(path, O_WRONLY | O_CLOEXEC));
		hierarchies++;
	}
	closedir(d);
}

static void remove_groups(void)
{
	for (int i = 0; i < hierarchies; i++)
		rmdir(groups[i]);
}

static void node(const char *name, int major, int minor)
{
	must(mknod(name, S_IFCHR | 0666, makedev(major, minor)));
}

static void mask(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return;
	if (S_ISDIR(st.st_mode))
		must(mount("tmpfs", path, "tmpfs", MS_RDONLY, "size=0k"));
	else
		must(mount("/dev/null", path, NULL, MS_BIND, NULL));
}

static void read_only(const char *path)
{
	if (mount(path, path, NULL, MS_BIND | MS_REC, NULL) == 0)
		must(mount(NULL, path, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL));
}

static void root(const char *rootfs)
{
	must(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
	must(mount(rootfs, rootfs, NULL, MS_BIND | MS_REC, NULL));
	must(chdir(rootfs));
	must(mount("proc", "proc", "proc", 0, NULL));
	must(mount("tmpfs", "dev", "tmpfs", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k"));
	must(mkdir("dev/pts", 0755));
	must(mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5"));
	must(mkdir("dev/shm", 0755));
	must(mount("shm", "dev/shm", "tmpfs", MS_NOSUID | MS_NOEXEC | MS_NODEV, "mode=1777,size=65536k"));
	must(mkdir("dev/mqueue", 0755));
	must(mount("mqueue", "dev/mqueue", "mqueue", MS_NOSUID | MS_NOEXEC | MS_NODEV, NULL));
	must(mount("sysfs", "sys", "sysfs", MS_NOSUID | MS_NOEXEC | MS_NODEV | MS_RDONLY, NULL));
	must(mount("tmpfs", "sys/fs/cgroup", "tmpfs", MS_NOSUID | MS_NOEXEC | MS_NODEV, "mode=755"));
	for (int i = 0; i < hierarchies; i++) {
		char target[512], *name = groups[i] + strlen(CGROUPS "/");
		snprintf(target, sizeof target, "sys/fs/cgroup/%.*s", (int)(strchr(name, '/') - name), name);
		must(mkdir(target, 0755));
		must(mount(groups[i], target, NULL, MS_BIND, NULL));
		must(mount(NULL, target, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NOEXEC | MS_NODEV, NULL));
	}
	must(mount(NULL, "sys/fs/cgroup", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NOEXEC | MS_NODEV, NULL));
	node("dev/null", 1, 3);
	node("dev/zero", 1, 5);
	node("dev/full", 1, 7);
	node("dev/random", 1, 8);
	node("dev/urandom", 1, 9);
	node("dev/tty", 5, 0);
	must(symlink("/proc/self/fd", "dev/fd"));
	must(symlink("/proc/self/fd/0", "dev/stdin"));
	must(symlink("/proc/self/fd/1", "dev/stdout"));
	must(symlink("/proc/self/fd/2", "dev/stderr"));
	must(symlink("/proc/kcore", "dev/core"));
	must(symlink("pts/ptmx", "dev/ptmx"));
	must(syscall(SYS_pivot_root, ".", "."));
	must(umount2(".", MNT_DETACH));
	must(chdir("/"));
}

static void privileges(void)
{
	struct __user_cap_header_struct h = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct d[2] = { { 0 } };
	struct rlimit files = { 1024, 1024 };
	const unsigned keep = 1 << CAP_AUDIT_WRITE | 1 << CAP_KILL | 1 << CAP_NET_BIND_SERVICE;

	must(setrlimit(RLIMIT_NOFILE, &files));
	must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	for (int c = 0; prctl(PR_CAPBSET_READ, c, 0, 0, 0) >= 0; c++)
		if (c > 31 || !(keep & 1u << c))
			must(prctl(PR_CAPBSET_DROP, c, 0, 0, 0));
	d[0].effective = d[0].permitted = keep;
	must(syscall(SYS_capset, &h, d));
}

static int container(char **argv)
{
	static const char *masks[] = {
		"/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
		"/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi",
	};
	static const char *fixed[] = { "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger" };
	struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int s;

	for (int i = 0; i < hierarchies; i++)
		must(write(tasks[i], "0", 1));
	must(unshare(CLONE_NEWCGROUP));
	must(setsid());
	must(s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
	must(ioctl(s, SIOCSIFFLAGS, &lo));
	root(argv[1]);
	must(sethostname("floor", 5));
	for (unsigned i = 0; i < sizeof fixed / sizeof *fixed; i++)
		read_only(fixed[i]);
	for (unsigned i = 0; i < sizeof masks / sizeof *masks; i++)
		mask(masks[i]);
	must(mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL));	/* root.readonly */
	must(syscall(SYS_close_range, 3, ~0U, 0));
	privileges();
	execv(argv[2], argv + 2);
	die(argv[2]);
	return 125;
}

int main(int argc, char **argv)
{
	int status;
	pid_t pid;

	if (argc < 3) {
		fprintf(stderr, "usage: floor ROOTFS PROGRAM [ARG...]\n");
		return 125;
	}
	umask(0);
	make_groups();
	pid = syscall(SYS_clone, CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | SIGCHLD, 0, 0, 0, 0);
	if (pid < 0)
		die("clone");
	if (pid == 0)
		return container(argv);
	must(waitpid(pid, &status, 0));
	remove_groups();
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
