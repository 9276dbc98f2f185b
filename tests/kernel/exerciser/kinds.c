// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Kinds of device that the simulator is not, on tests/kernel/device: one that takes virtual addresses
 * and files, with doorbells; one that needs an IOMMU that is not there.
 *
 * That device shows in its configuration space what it was told (struct view).
 *
 * Limits: mappings by a platform IOMMU want a device behind one: the scenarios of ifcvf have it.
 */

#define _GNU_SOURCE
#include "exerciser.h"

#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_FILE_ENTRIES "/sys/module/vhost_vdpa/parameters/max_file_entries"

/* As in vdpa_test_device.c. */
struct view {
	uint32_t entries[2];
	uint64_t bytes[2];
	uint32_t bell;
	uint32_t without_file;
};

static struct view view_of(int fd)
{
	struct {
		struct vhost_vdpa_config head;
		struct view view;
	} config = { .head = { .off = 0, .len = sizeof(struct view) } };

	if (ioctl(fd, VHOST_VDPA_GET_CONFIG, &config))
		die("GET_CONFIG");
	return config.view;
}

static void sees(int fd, uint32_t entries, unsigned long pages, const char *when)
{
	struct view view = view_of(fd);

	ok(le32toh(view.entries[0]) == entries && le64toh(view.bytes[0]) == pages * PAGE &&
	   !view.without_file, "%s: the device has %u entries, %lu pages (%u, %llu)", when, entries,
	   pages, le32toh(view.entries[0]), (unsigned long long)le64toh(view.bytes[0]) / PAGE);
}

static char *map_file(void *at, unsigned int pages, int prot)
{
	int fd = memfd_create("file", MFD_CLOEXEC);
	char *memory;

	if (fd < 0 || ftruncate(fd, pages * PAGE))
		die("memfd");
	memory = mmap(at, pages * PAGE, prot, MAP_SHARED | (at ? MAP_FIXED : 0), fd, 0);
	if (memory == MAP_FAILED)
		die("mmap");
	close(fd);
	return memory;
}

/* A session that may map. */
static int own(const struct subject *subject)
{
	uint64_t bits;
	int fd = subject_open(subject);

	if (fd < 0 || ioctl(fd, VHOST_SET_OWNER) || ioctl(fd, VHOST_GET_BACKEND_FEATURES, &bits) ||
	    ioctl(fd, VHOST_SET_BACKEND_FEATURES, &bits))
		die("%s", subject->node);
	return fd;
}

/* Pages 0-3 one file, 4-5 private memory, 6-7 another file, 8-9 nothing. */
static void walk_mixed(const struct subject *subject)
{
	char *memory = mmap(NULL, 10 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int fd = own(subject);

	map_file(memory, 4, PROT_READ | PROT_WRITE);
	map_file(memory + 6 * PAGE, 2, PROT_READ | PROT_WRITE);
	munmap(memory + 8 * PAGE, 2 * PAGE);

	ok(!try_map(fd, 0, 0, 8 * PAGE, memory, VHOST_ACCESS_RW), "files and private memory");
	sees(fd, 2, 6, "private memory is passed over");
	ok(try_map(fd, 0, 1 << 20, 10 * PAGE, memory, VHOST_ACCESS_RW) == EFAULT,
	   "files with a hole behind them: EFAULT");
	sees(fd, 2, 6, "and nothing of it is mapped");
	ok(try_map(fd, 0, 1 << 20, PAGE, memory + 8 * PAGE, VHOST_ACCESS_RW) == EFAULT,
	   "a hole with memory behind it: EFAULT");
	ok(!try_map(fd, 0, 1 << 20, PAGE, memory + 4 * PAGE, VHOST_ACCESS_RW), "private memory alone");
	sees(fd, 2, 6, "is nothing to the device");
	ok(!try_map(fd, 0, 1 << 20, PAGE / 2, memory + 16, VHOST_ACCESS_RO), "part of a page");
	ok(!pinned_kib(), "nothing is pinned");
	munmap(memory, 8 * PAGE);
	ok(!try_unmap(fd, 0, 1 << 20, PAGE / 2), "INVALIDATE after munmap and close of the file");
	sees(fd, 2, 6, "the others are still there");
	ok(!try_unmap(fd, 0, 0, UINT64_MAX), "INVALIDATE of everything");
	sees(fd, 0, 0, "nothing is left");
	close(fd);
}

static void walk_read_only(const struct subject *subject)
{
	int memfd = memfd_create("read-only", MFD_CLOEXEC | MFD_ALLOW_SEALING), fd = own(subject);
	char path[64], *memory;
	FILE *file;

	if (memfd < 0 || ftruncate(memfd, PAGE))
		die("memfd");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", memfd);
	file = fopen(path, "r");
	if (!file)
		die("%s", path);
	memory = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fileno(file), 0);
	ok(try_map(fd, 0, 0, PAGE, memory, VHOST_ACCESS_RW) == EFAULT,
	   "a file opened to read, for the device to write: EFAULT");
	ok(!try_map(fd, 0, 0, PAGE, memory, VHOST_ACCESS_RO), "for it to read");
	munmap(memory, PAGE);
	fclose(file);
	close(memfd);
	close(fd);
}

static void set_most(const char *number)
{
	FILE *file = fopen(MAX_FILE_ENTRIES, "w");

	if (!file || fputs(number, file) < 0 || fclose(file))
		die(MAX_FILE_ENTRIES);
}

static void walk_most(const struct subject *subject)
{
	char *memory = map_file(NULL, 16, PROT_READ | PROT_WRITE);
	int fd, err = 0, i;

	set_most("8\n");
	fd = own(subject);
	for (i = 0; i < 16 && !err; i++)
		err = try_map(fd, 0, i * PAGE, PAGE, memory + i * PAGE, VHOST_ACCESS_RW);
	ok(err == ENOSPC && i == 9, "the ninth of at most eight entries: ENOSPC");
	ok(!try_unmap(fd, 0, 0, PAGE) && !try_map(fd, 0, 0, PAGE, memory, VHOST_ACCESS_RW),
	   "one out, one in");
	close(fd);

	/* What a batch unmaps is kept until the device knows, and that is bounded, too. */
	fd = own(subject);
	err = try_batch(fd, 0, VHOST_IOTLB_BATCH_BEGIN);
	for (i = 0; i < 16 && !err; i++)
		err = try_map(fd, 0, 0, PAGE, memory, VHOST_ACCESS_RW) ?: try_unmap(fd, 0, 0, PAGE);
	ok(err == ENOSPC && i == 9, "the ninth entry that a batch maps and unmaps: ENOSPC (%d: %s)", i,
	   errno_name(err));
	ok(!try_batch(fd, 0, VHOST_IOTLB_BATCH_END), "BATCH_END");
	sees(fd, 1, 1, "the one that was not unmapped is still there");
	ok(!try_unmap(fd, 0, 0, PAGE), "and can be unmapped now");
	sees(fd, 0, 0, "nothing is left");
	close(fd);
	set_most("65536\n");
	munmap(memory, 16 * PAGE);
}

/* What the device has no operation for. */
static void walk_lacking(const struct subject *subject)
{
	struct vhost_vring_state state = { 0, 0 };
	uint64_t bits = 0;
	int fd = own(subject);

	ok(try_ioctl(fd, VHOST_VDPA_SUSPEND, NULL) == EOPNOTSUPP, "SUSPEND: EOPNOTSUPP");
	ok(try_ioctl(fd, VHOST_VDPA_RESUME, NULL) == EOPNOTSUPP, "RESUME: EOPNOTSUPP");
	ok(try_ioctl(fd, VHOST_VDPA_GET_VRING_GROUP, &state) == EOPNOTSUPP,
	   "GET_VRING_GROUP: EOPNOTSUPP");
	ok(try_ioctl(fd, VHOST_VDPA_SET_GROUP_ASID, &state) == EOPNOTSUPP,
	   "SET_GROUP_ASID: EOPNOTSUPP");
	ok(!try_ioctl(fd, VHOST_VDPA_GET_VRING_SIZE, &state) && state.num == 256,
	   "GET_VRING_SIZE: the maximum of all");
	try_ioctl(fd, VHOST_GET_BACKEND_FEATURES, &bits);
	ok(bits == (1 << VHOST_BACKEND_F_IOTLB_MSG_V2 | 1 << VHOST_BACKEND_F_IOTLB_BATCH |
		    1 << VHOST_BACKEND_F_IOTLB_ASID), "backend features 0x%llx: no more are offered",
	   (unsigned long long)bits);
	bits |= 1 << VHOST_BACKEND_F_SUSPEND;
	ok(try_ioctl(fd, VHOST_SET_BACKEND_FEATURES, &bits) == EOPNOTSUPP, "nor taken");
	close(fd);
}

static int mmap_errno(int fd, unsigned int queue, int prot, int flags)
{
	void *map = mmap(NULL, PAGE, prot, flags, fd, queue * PAGE);

	if (map == MAP_FAILED)
		return errno;
	munmap(map, PAGE);
	return 0;
}

static sigjmp_buf after_bus;

static void on_bus(int number)
{
	siglongjmp(after_bus, 1);
}

/* Does a store end in SIGBUS? */
static bool store_faults(volatile uint32_t *where, uint32_t what)
{
	if (sigsetjmp(after_bus, 1))
		return true;
	*where = what;
	return false;
}

static void walk_doorbells(struct subject *subject)
{
	int fd = own(subject), status;
	volatile uint32_t *bell = mmap(NULL, PAGE, PROT_WRITE, MAP_SHARED, fd, 0), *untouched;
	pid_t pid;

	signal(SIGBUS, on_bus);
	ok(bell != MAP_FAILED, "mmap of a doorbell");
	*bell = 0x1234;
	ok(le32toh(view_of(fd).bell) == 0x1234, "a store reaches the device");
	pid = fork();
	if (!pid) {
		*bell = 0x5678;
		_exit(0);
	}
	waitpid(pid, &status, 0);
	ok(!status && le32toh(view_of(fd).bell) == 0x5678, "a child's as well");
	ok(mprotect((void *)bell, PAGE, PROT_READ | PROT_WRITE) && errno == EACCES,
	   "mprotect to read: EACCES");
	ok(mremap((void *)bell, PAGE, 2 * PAGE, MREMAP_MAYMOVE) == MAP_FAILED, "mremap to two pages");
	ok(mmap_errno(fd, 0, PROT_READ | PROT_WRITE, MAP_SHARED) == EINVAL, "to read: EINVAL");
	ok(mmap_errno(fd, 0, PROT_WRITE, MAP_PRIVATE) == EINVAL, "private: EINVAL");
	ok(mmap_errno(fd, 1, PROT_WRITE, MAP_SHARED) == EOPNOTSUPP, "a small area: EOPNOTSUPP");
	ok(mmap_errno(fd, 2, PROT_WRITE, MAP_SHARED) == EINVAL, "not at a page's beginning: EINVAL");
	ok(mmap_errno(fd, 3, PROT_WRITE, MAP_SHARED) == EINVAL, "first queue that is not there: EINVAL");
	ok(mmap_errno(fd, 65536 * 4, PROT_WRITE, MAP_SHARED) == EINVAL, "queue 2^18: EINVAL");

	untouched = mmap(NULL, PAGE, PROT_WRITE, MAP_SHARED, fd, 0);
	subject_remove(subject);
	ok(store_faults(bell, 1), "a store after the device was removed: SIGBUS");
	ok(store_faults(untouched, 1), "the first store to a doorbell, after that: SIGBUS");
	ok(mmap_errno(fd, 0, PROT_WRITE, MAP_SHARED) == ENODEV, "mmap after that: ENODEV");
	munmap((void *)bell, PAGE);
	munmap((void *)untouched, PAGE);
	close(fd);
	subject_add(subject);

	fd = own(subject);
	bell = mmap(NULL, PAGE, PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	ok(subject_open(subject) < 0 && errno == EBUSY, "a mapped doorbell keeps the node open");
	ok(!store_faults(bell, 9), "and works");
	munmap((void *)bell, PAGE);
	fd = subject_open(subject);
	ok(fd >= 0, "open again after munmap");
	close(fd);
}

static bool is_signalled(int event)
{
	struct pollfd poll_fd = { .fd = event, .events = POLLIN };
	uint64_t count;

	return poll(&poll_fd, 1, 1000) == 1 && read(event, &count, sizeof(count)) == sizeof(count);
}

/* The test device answers a kick with an interrupt. */
static void walk_eventfds(struct subject *subject)
{
	struct vhost_vring_file kick = { 0, eventfd(0, EFD_CLOEXEC) }, call = kick, none = { 0, -1 };
	uint64_t one = 1;
	int fd = own(subject), i;

	call.fd = eventfd(0, EFD_CLOEXEC);
	ok(!try_ioctl(fd, VHOST_SET_VRING_CALL, &call), "a call eventfd");
	ok(!try_ioctl(fd, VHOST_SET_VRING_KICK, &kick), "a kick eventfd");
	ok(write(kick.fd, &one, sizeof(one)) == sizeof(one) && is_signalled(call.fd),
	   "a kick goes in, an interrupt comes out");
	for (i = 0; i < 200; i++) {
		struct vhost_vring_file next = { 0, eventfd(0, EFD_CLOEXEC) };

		if (try_ioctl(fd, VHOST_SET_VRING_CALL, &next))
			break;
		close(call.fd);
		call = next;
		if (write(kick.fd, &one, sizeof(one)) != sizeof(one) || !is_signalled(call.fd))
			break;
	}
	ok(i == 200, "200 call eventfds, one after the other (%d)", i);
	ok(!try_ioctl(fd, VHOST_SET_VRING_CALL, &none), "no call eventfd");
	ok(!try_ioctl(fd, VHOST_SET_VRING_KICK, &none), "no kick eventfd");
	ok(!try_ioctl(fd, VHOST_SET_VRING_KICK, &kick), "the kick eventfd again");
	subject_remove(subject);
	ok(write(kick.fd, &one, sizeof(one)) == sizeof(one), "a kick after the device was removed");
	close(fd);
	ok(write(kick.fd, &one, sizeof(one)) == sizeof(one), "a kick after the close");
	close(kick.fd);
	close(call.fd);
	subject_add(subject);
}

static void walk_removed_files(struct subject *subject)
{
	char *memory = map_file(NULL, 4, PROT_READ | PROT_WRITE);
	int fd = own(subject);

	ok(!try_map(fd, 0, 0, 4 * PAGE, memory, VHOST_ACCESS_RW), "a file is mapped");
	subject_remove(subject);
	ok(try_unmap(fd, 0, 0, 4 * PAGE) == ENODEV, "INVALIDATE after the removal: ENODEV");
	close(fd);
	munmap(memory, 4 * PAGE);
	subject_add(subject);
}

void walk_files(struct subject *subject)
{
	walk_mixed(subject);
	walk_read_only(subject);
	walk_most(subject);
	walk_lacking(subject);
	walk_doorbells(subject);
	walk_eventfds(subject);
	walk_removed_files(subject);
}

void walk_platform(struct subject *subject)
{
	int i;

	for (i = 0; i < 3; i++)
		ok(subject_open(subject) < 0 && errno == EOPNOTSUPP,
		   "open without an IOMMU before the device: EOPNOTSUPP");
}
