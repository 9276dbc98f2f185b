// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The device under test, and a way into each of its states.
 *
 * Devices come and go through iproute2's `vdpa`.  reach() opens the node and takes the way that a
 * VMM takes; each step is one that the tables have cells for, and one that fails ends the program.
 *
 * Limits: vhost_vdpa has to be the one driver on the bus, or there will be no node.
 */

#define _GNU_SOURCE
#include "exerciser.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

const char *const state_names[STATES] = {
	[OPENED] = "opened",
	[OWNED] = "owned",
	[FEATURES_OK] = "features ok",
	[RUNNING] = "running",
	[SUSPENDED] = "suspended",
	[OTHER] = "not the owner",
	[REMOVED] = "device removed",
};

static int run(char *const argv[])
{
	pid_t pid = fork();
	int status;

	if (pid < 0)
		die("fork");
	if (!pid) {
		execvp(argv[0], argv);
		_exit(127);
	}
	if (waitpid(pid, &status, 0) != pid)
		die("waitpid");
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* /dev/vhost-vdpa-N of a device, from where it is in sysfs. */
static bool find_node(struct subject *subject)
{
	static const char prefix[] = "vhost-vdpa-";
	char path[128];
	struct dirent *entry;
	bool found = false;
	DIR *dir;

	snprintf(path, sizeof(path), "/sys/bus/vdpa/devices/%s", subject->name);
	dir = opendir(path);
	if (!dir)
		return false;
	while (!found && (entry = readdir(dir))) {
		if (strncmp(entry->d_name, prefix, strlen(prefix)))
			continue;
		snprintf(subject->node, sizeof(subject->node), "/dev/%.32s", entry->d_name);
		found = !access(subject->node, F_OK);
	}
	closedir(dir);
	return found;
}

bool subject_exists(const struct subject *subject)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/bus/vdpa/devices/%s", subject->name);
	return !access(path, F_OK);
}

void subject_learn(struct subject *subject)
{
	int fd = subject_open(subject);

	if (fd < 0)
		die("%s", subject->node);
	if (ioctl(fd, VHOST_VDPA_GET_VQS_COUNT, &subject->vqs) ||
	    ioctl(fd, VHOST_VDPA_GET_GROUP_NUM, &subject->groups) ||
	    ioctl(fd, VHOST_VDPA_GET_AS_NUM, &subject->spaces) ||
	    ioctl(fd, VHOST_VDPA_GET_VRING_NUM, &subject->entries))
		die("%s: what it is", subject->node);
	close(fd);
}

void subject_add(struct subject *subject)
{
	char *argv[] = { "vdpa", "dev", "add", "name", (char *)subject->name,
			 "mgmtdev", (char *)subject->mgmt, NULL };
	int tries;

	if (run(argv))
		die("vdpa dev add name %s mgmtdev %s", subject->name, subject->mgmt);
	for (tries = 0; !find_node(subject); tries++) {
		if (tries == 100)
			die("no /dev/vhost-vdpa-N for %s", subject->name);
		usleep(50000);
	}
	if (!subject->arena) {
		subject->arena = mmap(NULL, ARENA_SIZE, PROT_READ | PROT_WRITE,
				      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
		if (subject->arena == MAP_FAILED)
			die("mmap");
	}
}

void subject_remove(struct subject *subject)
{
	char *argv[] = { "vdpa", "dev", "del", (char *)subject->name, NULL };

	if (run(argv))
		die("vdpa dev del %s", subject->name);
}

int subject_open(const struct subject *subject)
{
	return open(subject->node, O_RDWR | O_CLOEXEC);
}

int try_ioctl(int fd, unsigned long cmd, void *arg)
{
	return ioctl(fd, cmd, arg) < 0 ? errno : 0;
}

int try_write(int fd, const void *msg, size_t size)
{
	return write(fd, msg, size) < 0 ? errno : 0;
}

static int try_message(int fd, uint32_t asid, struct vhost_iotlb_msg iotlb)
{
	struct vhost_msg_v2 msg = { .type = VHOST_IOTLB_MSG_V2, .asid = asid };

	msg.iotlb = iotlb;
	return try_write(fd, &msg, sizeof(msg));
}

int try_map(int fd, uint32_t asid, uint64_t iova, uint64_t size, const void *memory, uint8_t perm)
{
	return try_message(fd, asid, (struct vhost_iotlb_msg) {
		.iova = iova, .size = size, .uaddr = (uintptr_t)memory, .perm = perm,
		.type = VHOST_IOTLB_UPDATE,
	});
}

int try_unmap(int fd, uint32_t asid, uint64_t iova, uint64_t size)
{
	return try_message(fd, asid, (struct vhost_iotlb_msg) {
		.iova = iova, .size = size, .type = VHOST_IOTLB_INVALIDATE,
	});
}

int try_batch(int fd, uint32_t asid, uint8_t type)
{
	return try_message(fd, asid, (struct vhost_iotlb_msg) { .type = type });
}

uint8_t status_of(int fd)
{
	uint8_t status;

	if (ioctl(fd, VHOST_VDPA_GET_STATUS, &status))
		die("GET_STATUS");
	return status;
}

static void must(int err, const char *what)
{
	errno = err;
	if (err)
		die("on the way to a state: %s", what);
}

static void add_status(int fd, uint8_t bits)
{
	uint8_t status = status_of(fd) | bits;

	must(try_ioctl(fd, VHOST_VDPA_SET_STATUS, &status), "SET_STATUS");
	if ((status_of(fd) & status) != status)
		die("the device does not take status 0x%02x", status);
}

static void own(const struct subject *subject, int fd)
{
	uint64_t bits;

	must(try_ioctl(fd, VHOST_SET_OWNER, NULL), "SET_OWNER");
	must(try_ioctl(fd, VHOST_GET_BACKEND_FEATURES, &bits), "GET_BACKEND_FEATURES");
	must(try_ioctl(fd, VHOST_SET_BACKEND_FEATURES, &bits), "SET_BACKEND_FEATURES");
	must(try_map(fd, 0, IOVA_BASE, IOVA_SIZE, subject->arena, VHOST_ACCESS_RW), "UPDATE");
}

static void set_features(int fd)
{
	uint64_t bits;

	add_status(fd, STATUS_SETUP);
	must(try_ioctl(fd, VHOST_GET_FEATURES, &bits), "GET_FEATURES");
	must(try_ioctl(fd, VHOST_SET_FEATURES, &bits), "SET_FEATURES");
	add_status(fd, STATUS_FEATURES_OK);
}

static void start(int fd)
{
	uint32_t i;

	for (i = 0; i < 2; i++) {
		uint64_t ring = IOVA_BASE + i * 3 * PAGE;
		struct vhost_vring_state num = { i, RING_ENTRIES }, base = { i, 0 }, on = { i, 1 };
		struct vhost_vring_addr addr = {
			.index = i, .desc_user_addr = ring, .avail_user_addr = ring + PAGE,
			.used_user_addr = ring + 2 * PAGE,
		};

		must(try_ioctl(fd, VHOST_SET_VRING_NUM, &num), "SET_VRING_NUM");
		must(try_ioctl(fd, VHOST_SET_VRING_BASE, &base), "SET_VRING_BASE");
		must(try_ioctl(fd, VHOST_SET_VRING_ADDR, &addr), "SET_VRING_ADDR");
		must(try_ioctl(fd, VHOST_VDPA_SET_VRING_ENABLE, &on), "SET_VRING_ENABLE");
	}
	add_status(fd, STATUS_DRIVER_OK);
}

/* A fresh session in a state.  REMOVED is no state to be in: see walk_removed(). */
int reach(const struct subject *subject, enum state state)
{
	int fd = subject_open(subject);

	if (fd < 0)
		die("%s", subject->node);
	memset(subject->arena, 0, ARENA_SIZE);
	if (state >= OWNED)
		own(subject, fd);
	if (state >= FEATURES_OK)
		set_features(fd);
	if (state >= RUNNING)
		start(fd);
	if (state == SUSPENDED)
		must(try_ioctl(fd, VHOST_VDPA_SUSPEND, NULL), "SUSPEND");
	return fd;
}

/* What the kernel counts as pinned by this process. */
long pinned_kib(void)
{
	FILE *file = fopen("/proc/self/status", "r");
	char line[128];
	long kib = -1;

	while (file && kib < 0 && fgets(line, sizeof(line), file))
		sscanf(line, "VmPin: %ld", &kib);
	if (file)
		fclose(file);
	if (kib < 0)
		die("no VmPin in /proc/self/status");
	return kib;
}

/* The simulator fails the next so many operations of a kind; see vdpa_sim_fault.c. */
void inject(const struct subject *subject, const char *point, int times)
{
	char path[192];
	FILE *file;

	snprintf(path, sizeof(path), "/sys/kernel/debug/vdpa_sim/%s/fault/%s/times",
		 subject->name, point);
	file = fopen(path, "w");
	if (!file || fprintf(file, "%d\n", times) < 0 || fclose(file))
		die("%s", path);
}
