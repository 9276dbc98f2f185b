// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What takes more than one call: who may open, whose the memory is, what is pinned and for how long,
 * errors that come back late, threads that do everything at once, a device that goes meanwhile.
 *
 * The judge of use after free, of leaks of the slab and of locks is the kernel itself: L1 runs with
 * slub_debug, and a report of its fails the scenario.  These tests check what user space sees.
 *
 * Limits: the two racing tests run for a fixed time, so what they meet differs from run to run.
 */

#define _GNU_SOURCE
#include "exerciser.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define RACERS		4
#define RACE_SECONDS	4

#define KIB(bytes) ((long)((bytes) / 1024))

static int reference_errno(const struct subject *subject, int ours)
{
	return subject->reference ? EFAULT : ours;
}

static int open_errno(const struct subject *subject)
{
	int fd = subject_open(subject);
	int err = fd < 0 ? errno : 0;

	if (fd >= 0)
		close(fd);
	return err;
}

static void walk_opens(const struct subject *subject)
{
	int fd = subject_open(subject), copy = dup(fd), status;
	pid_t pid;

	ok(fd >= 0, "open");
	ok(open_errno(subject) == EBUSY, "second open: EBUSY");
	pid = fork();
	if (!pid)
		_exit(open_errno(subject));
	waitpid(pid, &status, 0);
	ok(WIFEXITED(status) && WEXITSTATUS(status) == EBUSY, "open by another process: EBUSY");
	close(fd);
	ok(open_errno(subject) == EBUSY, "a duplicate keeps it open");
	ok(!try_ioctl(copy, VHOST_SET_OWNER, NULL), "the duplicate works");
	close(copy);
	ok(!open_errno(subject), "open again after the last close");
}

/* A child inherits the file and no right to the memory; it may be the last to close. */
static void walk_heirs(const struct subject *subject)
{
	long before = pinned_kib();
	int fd = reach(subject, RUNNING), gate[2], status;
	char byte = 0;
	pid_t pid;

	if (pipe(gate))
		die("pipe");
	ok(pinned_kib() == before + KIB(IOVA_SIZE), "mapped pages are pinned");
	pid = fork();
	if (!pid) {
		int err = try_map(fd, 0, IOVA_BASE + IOVA_SIZE, PAGE, subject->arena, VHOST_ACCESS_RW);

		if (read(gate[0], &byte, 1) != 1)
			err = EIO;
		_exit(err);	/* the last close is here */
	}
	close(fd);
	ok(open_errno(subject) == EBUSY, "a child keeps it open");
	ok(pinned_kib() == before + KIB(IOVA_SIZE), "and mapped pages are still pinned");
	if (write(gate[1], &byte, 1) != 1)
		die("pipe");
	waitpid(pid, &status, 0);
	ok(WIFEXITED(status) && WEXITSTATUS(status) == reference_errno(subject, EPERM),
	   "a child cannot map: %s", errno_name(reference_errno(subject, EPERM)));
	ok(pinned_kib() == before, "nothing is pinned after the child's exit");
	ok(!open_errno(subject), "open again after the child's exit");
	close(gate[0]);
	close(gate[1]);
}

/* The memory is gone from the process before it is unmapped from the device. */
static void walk_unmapped_memory(const struct subject *subject)
{
	long before = pinned_kib();
	int fd = reach(subject, OWNED);
	void *memory = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ok(!try_map(fd, 0, 1ULL << 32, 16 * PAGE, memory, VHOST_ACCESS_RW), "memory mapped");
	munmap(memory, 16 * PAGE);
	ok(!try_unmap(fd, 0, 1ULL << 32, 16 * PAGE), "INVALIDATE after munmap");
	ok(pinned_kib() == before + KIB(IOVA_SIZE), "its pages are not pinned any more");
	close(fd);
	ok(pinned_kib() == before, "closing unpins");
}

static void set_memlock(rlim_t bytes)
{
	struct rlimit limit = { bytes, RLIM_INFINITY };

	if (setrlimit(RLIMIT_MEMLOCK, &limit))
		die("setrlimit");
}

static void walk_memlock(const struct subject *subject)
{
	uint64_t next = IOVA_BASE + IOVA_SIZE;
	void *rest = (char *)subject->arena + IOVA_SIZE;
	int fd = reach(subject, OWNED);
	long before = pinned_kib();
	int want = reference_errno(subject, ENOMEM), got;

	set_memlock(before * 1024 + PAGE);
	got = try_map(fd, 0, next, 2 * PAGE, rest, VHOST_ACCESS_RW);
	ok(got == want, "UPDATE above RLIMIT_MEMLOCK: %s, got %s", errno_name(want), errno_name(got));
	ok(pinned_kib() == before, "and pins nothing");
	ok(!try_map(fd, 0, next, PAGE, rest, VHOST_ACCESS_RW), "UPDATE up to RLIMIT_MEMLOCK");
	ok(try_map(fd, 0, next + PAGE, PAGE, rest, VHOST_ACCESS_RW) == want, "and not one page more");
	ok(!try_unmap(fd, 0, next, PAGE), "INVALIDATE gives it back");
	ok(!try_map(fd, 0, next + PAGE, PAGE, rest, VHOST_ACCESS_RW), "to be used again");
	set_memlock(RLIM_INFINITY);
	close(fd);
}

/* A range with a missing end: pages pinned before the missing one are unpinned. */
static void walk_half_there(const struct subject *subject)
{
	char *memory = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int fd = reach(subject, OWNED);
	long before = pinned_kib();

	munmap(memory + 8 * PAGE, 8 * PAGE);
	ok(try_map(fd, 0, 1ULL << 32, 16 * PAGE, memory, VHOST_ACCESS_RW) == EFAULT,
	   "UPDATE of memory whose second half is not there: EFAULT");
	ok(pinned_kib() == before, "and pins nothing");
	ok(!try_map(fd, 0, 1ULL << 32, 8 * PAGE, memory, VHOST_ACCESS_RW), "its first half alone");
	munmap(memory, 8 * PAGE);
	close(fd);
	ok(!pinned_kib(), "closing unpins it");
}

static void walk_batches(const struct subject *subject)
{
	int fd = reach(subject, OWNED);
	void *rest = (char *)subject->arena + IOVA_SIZE;
	uint64_t next = IOVA_BASE + IOVA_SIZE;
	long before = pinned_kib(), held;

	ok(!try_batch(fd, 0, VHOST_IOTLB_BATCH_BEGIN), "BATCH_BEGIN");
	ok(try_map(fd, 1, next, PAGE, rest, VHOST_ACCESS_RW) == reference_errno(subject, EINVAL),
	   "another space than the batch's");
	ok(try_batch(fd, 1, VHOST_IOTLB_BATCH_END) == reference_errno(subject, EINVAL),
	   "the end of another space's batch");
	ok(!try_map(fd, 0, next, 4 * PAGE, rest, VHOST_ACCESS_RW), "UPDATE in a batch");
	ok(!try_unmap(fd, 0, IOVA_BASE, IOVA_SIZE), "INVALIDATE in a batch");
	held = subject->whole_tree && !subject->reference ? KIB(IOVA_SIZE) : 0;
	ok(pinned_kib() == before - KIB(IOVA_SIZE) + held + KIB(4 * PAGE),
	   held ? "memory that the device can still reach stays pinned" :
		  "memory that the device cannot reach is unpinned");
	ok(!try_map(fd, 0, IOVA_BASE, PAGE, rest, VHOST_ACCESS_RW), "UPDATE where it was");
	ok(!try_batch(fd, 0, VHOST_IOTLB_BATCH_END), "BATCH_END");
	ok(pinned_kib() == before - KIB(IOVA_SIZE) + KIB(5 * PAGE), "now it is unpinned");
	ok(!try_batch(fd, 0, VHOST_IOTLB_BATCH_BEGIN), "BATCH_BEGIN");
	ok(!try_unmap(fd, 0, 0, UINT64_MAX), "INVALIDATE of everything");
	close(fd);
	ok(!pinned_kib(), "closed in a batch");
}

/* Errors of the device come back, late ones as well, and nothing is lost or leaked over them. */
static void walk_map_faults(const struct subject *subject)
{
	int fd = reach(subject, OWNED), want = reference_errno(subject, EIO), got;
	void *rest = (char *)subject->arena + IOVA_SIZE;
	uint64_t next = IOVA_BASE + IOVA_SIZE;
	long before = pinned_kib();

	inject(subject, "map", 1);
	got = try_map(fd, 0, next, 4 * PAGE, rest, VHOST_ACCESS_RW);
	inject(subject, "map", 0);
	ok(got == want, "UPDATE that the device refuses: %s", errno_name(want));
	ok(pinned_kib() == before, "pins nothing");
	ok(!try_map(fd, 0, next, 4 * PAGE, rest, VHOST_ACCESS_RW), "and can be repeated");

	if (!subject->whole_tree) {
		inject(subject, "unmap", 1);
		got = try_unmap(fd, 0, next, 4 * PAGE);
		inject(subject, "unmap", 0);
		want = subject->reference ? 0 : EIO;
		ok(got == want, "INVALIDATE that the device refuses: %s", errno_name(want));
		if (!subject->reference)
			ok(pinned_kib() > before, "what it may still reach stays pinned");
	} else {
		before = pinned_kib();
		try_batch(fd, 0, VHOST_IOTLB_BATCH_BEGIN);
		ok(!try_unmap(fd, 0, next, 4 * PAGE), "INVALIDATE in a batch");
		inject(subject, "map", 1);
		got = try_batch(fd, 0, VHOST_IOTLB_BATCH_END);
		inject(subject, "map", 0);
		want = subject->reference ? 0 : EIO;	/* differences[] has it */
		ok(got == want, "BATCH_END that the device refuses: %s, got %s", errno_name(want),
		   errno_name(got));
		if (!subject->reference)
			ok(pinned_kib() == before, "what it may still reach stays pinned");
		try_batch(fd, 0, VHOST_IOTLB_BATCH_BEGIN);
		ok(!try_batch(fd, 0, VHOST_IOTLB_BATCH_END), "an empty batch repeats the attempt");
		ok(pinned_kib() == before - KIB(4 * PAGE), "and unpins");
	}
	close(fd);
	ok(!pinned_kib(), "closing unpins everything");
}

static void walk_state_faults(const struct subject *subject)
{
	int fd = reach(subject, RUNNING);
	struct vhost_vring_state base = { 0, 0 };
	uint8_t zero = 0;

	inject(subject, "suspend", 1);
	ok(try_ioctl(fd, VHOST_VDPA_SUSPEND, NULL) == EIO, "SUSPEND that the device refuses: EIO");
	inject(subject, "suspend", 0);
	ok(try_ioctl(fd, VHOST_SET_VRING_BASE, &base) == EINVAL, "it still runs");
	ok(!try_ioctl(fd, VHOST_VDPA_SUSPEND, NULL), "SUSPEND");
	ok(!try_ioctl(fd, VHOST_VDPA_SUSPEND, NULL), "SUSPEND once more");
	ok(!try_ioctl(fd, VHOST_SET_VRING_BASE, &base), "it does not run");
	inject(subject, "resume", 1);
	ok(try_ioctl(fd, VHOST_VDPA_RESUME, NULL) == EIO, "RESUME that the device refuses: EIO");
	inject(subject, "resume", 0);
	ok(!try_ioctl(fd, VHOST_SET_VRING_BASE, &base), "it still does not run");
	ok(!try_ioctl(fd, VHOST_VDPA_RESUME, NULL), "RESUME");
	ok(try_ioctl(fd, VHOST_SET_VRING_BASE, &base) == EINVAL, "it runs");
	inject(subject, "get_vq_state", 1);
	ok(try_ioctl(fd, VHOST_GET_VRING_BASE, &base) == EIO, "GET_VRING_BASE that it refuses: EIO");
	inject(subject, "get_vq_state", 0);
	ok(!try_ioctl(fd, VHOST_VDPA_SUSPEND, NULL), "SUSPEND");
	inject(subject, "reset", 1);
	ok(try_ioctl(fd, VHOST_VDPA_SET_STATUS, &zero) == EIO && status_of(fd),
	   "reset that the device refuses: EIO");
	inject(subject, "reset", 0);
	ok(subject->reference || !try_ioctl(fd, VHOST_SET_VRING_BASE, &base), "it is still suspended");
	ok(!try_ioctl(fd, VHOST_VDPA_SET_STATUS, &zero) && !status_of(fd), "reset while suspended");
	ok(!try_ioctl(fd, VHOST_SET_VRING_BASE, &base), "nothing is left of that");
	close(fd);

	inject(subject, "reset", 1);
	ok(open_errno(subject) == EIO, "open, and the device cannot be reset: EIO");
	inject(subject, "reset", 0);
	ok(!open_errno(subject), "open again");
}

/* Mappings and a reset: user space has to take them out itself, whether the device lost them or not. */
static void walk_reset(const struct subject *subject, bool persist)
{
	const char *how = persist ? "IOTLB_PERSIST" : "no IOTLB_PERSIST";
	int fd = reach(subject, RUNNING), want = reference_errno(subject, EEXIST);
	uint64_t bits = 1 << VHOST_BACKEND_F_IOTLB_MSG_V2 | 1 << VHOST_BACKEND_F_IOTLB_ASID;
	long before = pinned_kib();
	uint8_t zero = 0;

	bits |= persist ? 1 << VHOST_BACKEND_F_IOTLB_PERSIST : 0;
	ok(!try_ioctl(fd, VHOST_SET_BACKEND_FEATURES, &bits), "%s", how);
	ok(!try_ioctl(fd, VHOST_VDPA_SET_STATUS, &zero), "%s: reset", how);
	ok(pinned_kib() == before, "%s: mapped pages are still pinned", how);
	ok(try_map(fd, 0, IOVA_BASE, PAGE, subject->arena, VHOST_ACCESS_RW) == want,
	   "%s: UPDATE: %s", how, errno_name(want));
	ok(!try_unmap(fd, 0, IOVA_BASE, IOVA_SIZE), "%s: INVALIDATE", how);
	ok(pinned_kib() == before - KIB(IOVA_SIZE), "%s: unpinned", how);
	ok(!try_map(fd, 0, IOVA_BASE, PAGE, subject->arena, VHOST_ACCESS_RW), "%s: UPDATE again", how);
	close(fd);
}

/* Results of ioctls that only ask. */
static void walk_values(const struct subject *subject)
{
	uint64_t offered, wanted = 1 << VHOST_BACKEND_F_IOTLB_MSG_V2 | 1 << VHOST_BACKEND_F_IOTLB_BATCH |
		1 << VHOST_BACKEND_F_IOTLB_ASID | 1 << VHOST_BACKEND_F_SUSPEND | 1 << VHOST_BACKEND_F_RESUME |
		1 << VHOST_BACKEND_F_ENABLE_AFTER_DRIVER_OK | 1 << VHOST_BACKEND_F_IOTLB_PERSIST;
	struct vhost_vring_state state = { 1, 77 };
	struct vhost_vdpa_iova_range range;
	int fd = reach(subject, SUSPENDED);
	uint32_t number;

	ok(!ioctl(fd, VHOST_GET_BACKEND_FEATURES, &offered) && offered == wanted,
	   "backend features 0x%llx", (unsigned long long)wanted);
	ok(!ioctl(fd, VHOST_VDPA_GET_DEVICE_ID, &number) && number == 1, "device id 1");
	ok(!ioctl(fd, VHOST_VDPA_GET_VRING_SIZE, &state) && state.index == 1 && state.num == subject->entries,
	   "queue 1 has %u entries", subject->entries);
	ok(!ioctl(fd, VHOST_GET_VRING_BASE, &state) && state.index == 1 && !state.num,
	   "queue 1 is at entry 0");
	ok(!ioctl(fd, VHOST_VDPA_GET_IOVA_RANGE, &range) && range.first < range.last, "IOVA range");
	for (state.index = 0; state.index < subject->vqs; state.index++)
		ok(!ioctl(fd, VHOST_VDPA_GET_VRING_GROUP, &state) && state.num < subject->groups,
		   "queue %u is in group %u of %u", state.index, state.num, subject->groups);
	for (state.index = 0; state.index < subject->groups; state.index++)
		for (state.num = 0; state.num < subject->spaces; state.num++)
			ok(!ioctl(fd, VHOST_VDPA_SET_GROUP_ASID, &state), "group %u into space %u",
			   state.index, state.num);
	state = (struct vhost_vring_state) { 1, 0x1234 };
	ok(!ioctl(fd, VHOST_SET_VRING_BASE, &state), "SET_VRING_BASE");
	state.num = 0;
	ok(!ioctl(fd, VHOST_GET_VRING_BASE, &state) && state.num == 0x1234, "GET_VRING_BASE has it");
	close(fd);
}

/* Everything at once; what fails does not matter, what it does to the kernel does. */
struct race {
	const struct subject *subject;
	int fd;
	atomic_bool over;
	atomic_uint calls;
	atomic_uint gone;	/* calls that met ENODEV */
	atomic_uint wrong;	/* calls that met something else after that */
	atomic_bool removed;
};

static void race_call(struct race *race, unsigned int *seed)
{
	const struct ioctl_row *row = ioctl_rows;
	union argument arg;
	unsigned int n, page;
	bool removed = atomic_load(&race->removed);
	int err;

	for (n = 0; row[n].name; n++)
		;
	row += rand_r(seed) % n;
	page = rand_r(seed) % (ARENA_PAGES / 2);
	for (n = 0; n < sizeof(arg); n++)
		arg.bytes[n] = rand_r(seed) % 4 ? 0 : rand_r(seed);
	if (row->kind == RING_FILE)
		arg.file.fd = rand_r(seed) % 2 ? -1 : (int)(rand_r(seed) % 16);
	if (row->kind == STATUS)
		arg.status = rand_r(seed) & 0x0f;
	switch (rand_r(seed) % 8) {
	case 0:
	case 1:
		err = try_map(race->fd, rand_r(seed) % 3, IOVA_BASE + page * PAGE, (1 + page % 7) * PAGE,
			      (char *)race->subject->arena + page * PAGE, 1 + page % 3);
		break;
	case 2:
		err = try_unmap(race->fd, rand_r(seed) % 3, IOVA_BASE + page * PAGE, 8 * PAGE);
		break;
	case 3:
		err = try_batch(race->fd, 0, VHOST_IOTLB_BATCH_BEGIN + page % 2);
		break;
	default:
		err = try_ioctl(race->fd, row->cmd, &arg);
		break;
	}
	atomic_fetch_add(&race->calls, 1);
	if (err == ENODEV)
		atomic_fetch_add(&race->gone, 1);
	else if (removed)
		atomic_fetch_add(&race->wrong, 1);
}

static void *racer(void *data)
{
	static atomic_uint number;
	unsigned int seed = 1 + atomic_fetch_add(&number, 1);
	struct race *race = data;

	while (!atomic_load(&race->over))
		race_call(race, &seed);
	return NULL;
}

/* Kicks come from another side: writes to an eventfd. */
static void *kicker(void *data)
{
	struct race *race = data;
	struct vhost_vring_file file = { 0, eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };
	struct vhost_vring_file call = { 0, eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };
	struct vhost_vring_state on = { 0, 1 };
	uint64_t one = 1;

	while (!atomic_load(&race->over)) {
		try_ioctl(race->fd, VHOST_SET_VRING_KICK, &file);
		try_ioctl(race->fd, VHOST_SET_VRING_CALL, &call);
		try_ioctl(race->fd, VHOST_VDPA_SET_VRING_ENABLE, &on);
		if (write(file.fd, &one, sizeof(one)) < 0)
			continue;
	}
	close(file.fd);
	close(call.fd);
	return NULL;
}

static void race_run(struct race *race, void (*meanwhile)(struct race *race))
{
	pthread_t threads[RACERS + 1];
	int i;

	for (i = 0; i <= RACERS; i++)
		if (pthread_create(&threads[i], NULL, i ? racer : kicker, race))
			die("pthread_create");
	meanwhile(race);
	atomic_store(&race->over, true);
	for (i = 0; i <= RACERS; i++)
		pthread_join(threads[i], NULL);
}

static void wait_a_while(struct race *race)
{
	sleep(RACE_SECONDS);
}

static void walk_race(const struct subject *subject)
{
	struct race race = { .subject = subject, .fd = reach(subject, RUNNING) };

	race_run(&race, wait_a_while);
	ok(atomic_load(&race.calls) > 100, "%d threads and a kicker, all ioctls and messages", RACERS);
	note("%u calls", atomic_load(&race.calls));
	ok(!atomic_load(&race.gone), "no thread met ENODEV");
	close(race.fd);
	ok(!pinned_kib(), "nothing is pinned afterwards");
}

static void remove_device(struct race *race)
{
	usleep(500000);
	subject_remove((struct subject *)race->subject);
	atomic_store(&race->removed, true);
	usleep(500000);
}

static void walk_race_removal(struct subject *subject)
{
	struct race race = { .subject = subject };

	if (subject->reference) {
		skipped("removal waits there until the file is closed", "removal beside threads");
		return;
	}
	race.fd = reach(subject, RUNNING);
	race_run(&race, remove_device);
	ok(atomic_load(&race.gone) > 0, "removal beside %d threads and a kicker", RACERS);
	ok(!atomic_load(&race.wrong), "afterwards all calls met ENODEV (%u did not)",
	   atomic_load(&race.wrong));
	ok(!pinned_kib(), "nothing is pinned while it is still open");
	close(race.fd);
	subject_add(subject);
}

static void walk_opens_amid_removal(struct subject *subject)
{
	int i, fd;

	if (subject->reference)
		return;
	for (i = 0; i < 5; i++) {
		fd = reach(subject, i % 2 ? SUSPENDED : RUNNING);
		if (!fork()) {
			usleep(20000 * i);
			close(fd);
			_exit(0);
		}
		close(fd);
		subject_remove(subject);
		wait(NULL);
		subject_add(subject);
	}
	ok(true, "removal and the last close at about the same time");
}

/* Killed while it maps: the session goes with the process. */
static void walk_killed(const struct subject *subject)
{
	int i, err = 0;

	for (i = 0; i < 4; i++) {
		pid_t pid = fork();

		if (!pid) {
			int fd = reach(subject, RUNNING);
			unsigned int seed = i;
			struct race race = { .subject = subject, .fd = fd };

			for (;;)
				race_call(&race, &seed);
		}
		usleep(50000 + 30000 * i);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		err = err ?: open_errno(subject);
	}
	ok(!err, "a process killed in the middle leaves the device to others");
}

static void walk_doorbell(const struct subject *subject)
{
	int fd = reach(subject, RUNNING), want = subject->reference ? 524 : EOPNOTSUPP;
	void *map = mmap(NULL, PAGE, PROT_WRITE, MAP_SHARED, fd, 0);

	ok(map == MAP_FAILED && errno == want, "mmap, the device has no doorbells: %s",
	   errno_name(want));
	map = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ok(map == MAP_FAILED && errno == EINVAL, "mmap to read: EINVAL");
	map = mmap(NULL, 2 * PAGE, PROT_WRITE, MAP_SHARED, fd, 0);
	ok(map == MAP_FAILED && errno == EINVAL, "mmap of two pages: EINVAL");
	map = mmap(NULL, PAGE, PROT_WRITE, MAP_PRIVATE, fd, 0);
	ok(map == MAP_FAILED && errno == EINVAL, "private mmap: EINVAL");
	close(fd);
}

void walk_life(struct subject *subject)
{
	walk_opens(subject);
	walk_heirs(subject);
	walk_unmapped_memory(subject);
	walk_memlock(subject);
	walk_half_there(subject);
	walk_values(subject);
	walk_doorbell(subject);
	walk_batches(subject);
	walk_map_faults(subject);
	walk_state_faults(subject);
	walk_reset(subject, true);
	walk_reset(subject, false);
	walk_killed(subject);
	walk_race(subject);
	walk_race_removal(subject);
	walk_opens_amid_removal(subject);
}
