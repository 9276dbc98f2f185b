// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a container of VFIO says: to be compared between two modules, and on its own.
 *
 *	vfiotrack random GROUP DEVICE SEED STEPS [REAL]		print the answer to each of STEPS calls
 *	vfiotrack cost GROUP DEVICE REAL			what it costs to track a million pinned pages
 *	vfiotrack promises GROUP DEVICE [NAME]			what ours promises beyond the stock module's
 *
 * GROUP is the number of the group of a mediated device (tests/kernel/mdev), DEVICE its name; REAL the
 * group of a device behind an IOMMU, which "random" attaches and detaches, and "cost" attaches.
 *
 * "random" makes the same calls whatever the answers are, so two modules that agree print the same.
 * Among them are ranges that cut mappings, overlap, are misaligned or end beyond the last address, and
 * bitmaps that are too short.  Of a bitmap the words that are not zero are printed.
 *
 * Left out is what the stock module does not define or has wrong: no flag at all; a page size of 0;
 * mappings that end at the last address (it does not see that two overlap); bits of pages that are not
 * mapped (it may set some behind a mapping that does not begin at a word of the bitmap).  Which error
 * keeps a device from being attached is not compared: ours looks at addresses before it pins memory.
 *
 * Limits: one container.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "vfio_test_mdev.h"

#define PAGE	    4096ull
#define ARENA_PAGES 8192u		/* of addresses: 32 MiB */
#define MEMORY	    ((void *)0x200000000000ul)
#define GIB	    (1ull << 30)
#define HEAD_UNMAP  sizeof(struct vfio_iommu_type1_dma_unmap)

struct subject {
	int container, group, device, real;
	uint8_t *memory;
};

static void die(const char *what)
{
	printf("vfiotrack: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int must(int ret, const char *what)
{
	if (ret < 0)
		die(what);
	return ret;
}

static void check(bool good, const char *what)
{
	if (good)
		return;
	printf("vfiotrack: failed: %s\n", what);
	exit(1);
}

/* 0 or -errno. */
static int call(int fd, unsigned long request, void *arg)
{
	return ioctl(fd, request, arg) < 0 ? -errno : 0;
}

static int open_group(const char *number)
{
	char path[64];

	snprintf(path, sizeof(path), "/dev/vfio/%s", number);
	return must(open(path, O_RDWR), path);
}

static struct subject begin(const char *group, const char *device, size_t memory)
{
	struct subject s = { .real = -1 };

	s.container = must(open("/dev/vfio/vfio", O_RDWR), "container");
	s.group = open_group(group);
	must(ioctl(s.group, VFIO_GROUP_SET_CONTAINER, &s.container), "group into container");
	must(ioctl(s.container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU), "VFIO_SET_IOMMU");
	s.device = must(ioctl(s.group, VFIO_GROUP_GET_DEVICE_FD, device), "device");
	s.memory = mmap(MEMORY, memory, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	if (s.memory == MAP_FAILED)
		die("memory");
	madvise(s.memory, memory, MADV_NOHUGEPAGE);
	memset(s.memory, 1, memory);
	return s;
}

static struct vfio_test_command command(struct subject *s, uint32_t op, uint64_t iova,
					uint32_t count, uint64_t value, uint32_t prot)
{
	struct vfio_test_command cmd = {
		.op = op, .iova = iova, .count = count, .value = value, .prot = prot,
	};

	must(pwrite(s->device, &cmd, sizeof(cmd), 0), "command");
	must(pread(s->device, &cmd, sizeof(cmd), 0), "answer");
	return cmd;
}

static int map(struct subject *s, uint64_t iova, uint64_t size, uint64_t offset, uint32_t flags)
{
	struct vfio_iommu_type1_dma_map arg = {
		.argsz = sizeof(arg), .flags = flags, .iova = iova, .size = size,
		.vaddr = (uintptr_t)s->memory + offset,
	};

	return call(s->container, VFIO_IOMMU_MAP_DMA, &arg);
}

static int unmap(struct subject *s, uint64_t iova, uint64_t *size, uint32_t flags,
		 struct vfio_bitmap *bitmap)
{
	union {
		struct vfio_iommu_type1_dma_unmap arg;
		uint8_t bytes[HEAD_UNMAP + sizeof(struct vfio_bitmap)];
	} u = { .arg = { .argsz = sizeof(u), .flags = flags, .iova = iova, .size = *size } };
	int ret;

	if (bitmap) {
		u.arg.flags |= VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP;
		memcpy(u.arg.data, bitmap, sizeof(*bitmap));
	}
	ret = call(s->container, VFIO_IOMMU_UNMAP_DMA, &u);
	*size = ret ? 0 : u.arg.size;
	return ret;
}

static int track(struct subject *s, uint32_t flags)
{
	struct vfio_iommu_type1_dirty_bitmap arg = { .argsz = sizeof(arg), .flags = flags };

	return call(s->container, VFIO_IOMMU_DIRTY_PAGES, &arg);
}

static int get(struct subject *s, uint64_t iova, uint64_t size, struct vfio_bitmap bitmap)
{
	union {
		struct vfio_iommu_type1_dirty_bitmap arg;
		uint8_t bytes[sizeof(struct vfio_iommu_type1_dirty_bitmap) +
			      sizeof(struct vfio_iommu_type1_dirty_bitmap_get)];
	} u = { .arg = { .argsz = sizeof(u), .flags = VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP } };
	struct vfio_iommu_type1_dirty_bitmap_get range = {
		.iova = iova, .size = size, .bitmap = bitmap,
	};

	memcpy(u.arg.data, &range, sizeof(range));
	return call(s->container, VFIO_IOMMU_DIRTY_PAGES, &u);
}

/* A number of a file of /proc, by the format of its line; -1: none. */
static long number_in(const char *path, const char *format)
{
	FILE *file = fopen(path, "r");
	char line[256];
	long number = -1;

	while (file && fgets(line, sizeof(line), file))
		sscanf(line, format, &number);
	if (file)
		fclose(file);
	return number;
}

/* KiB that the process has locked. */
static long locked(void)
{
	return number_in("/proc/self/status", "VmLck: %ld");
}

/* --- random ---------------------------------------------------------------------------------- */

static uint64_t state;

static uint32_t any(uint32_t below)
{
	state = state * 6364136223846793005ull + 1442695040888963407ull;
	return (state >> 33) % below;
}

static uint64_t words[ARENA_PAGES / 64 + 64];

static struct vfio_bitmap some_bitmap(uint64_t size)
{
	struct vfio_bitmap bitmap = { .pgsize = PAGE, .data = (void *)words };
	uint64_t pages = size / PAGE;

	memset(words, 0, sizeof(words));
	bitmap.size = (pages + 63) / 64 * 8 + any(2) * 8;
	if (!any(20))
		bitmap.size = any(16);
	if (!any(30))
		bitmap.pgsize <<= 1 + any(4);
	return bitmap;
}

/* Which pages of the arena are mapped. */
static bool mapped[ARENA_PAGES + 1024];

static void set_mapped(uint64_t iova, uint64_t size, bool yes)
{
	for (uint64_t page = iova / PAGE; page < (iova + size) / PAGE; page++)
		if (page < sizeof(mapped))
			mapped[page] = yes;
}

static void print_bitmap(uint64_t iova, uint64_t size)
{
	for (uint64_t bit = 0; bit < sizeof(words) * 8; bit++) {
		uint64_t page = iova / PAGE + bit;

		if (bit >= size / PAGE || page >= sizeof(mapped) || !mapped[page])
			words[bit / 64] &= ~(1ull << bit % 64);
	}
	for (unsigned int i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (words[i])
			printf(" %u:%llx", i, (unsigned long long)words[i]);
}

/* Blocks of pages, so that ranges of different calls often agree. */
static void some_range(uint64_t *iova, uint64_t *size)
{
	static const uint32_t lengths[] = { 1, 3, 16, 63, 64, 65, 100, 256, 640 };
	uint32_t length = lengths[any(9)], first = any(ARENA_PAGES / 80) * 80;

	*iova = first * PAGE;
	*size = length * PAGE;
	if (!any(40))
		*iova += any(PAGE);
	if (!any(40))
		*size += any(PAGE);
	if (!any(60))
		*size = 0;
	if (!any(60))
		*iova = -*size - PAGE;
	if (!any(60))
		*iova = 0xfee00000;
}

#define KNOWN 64
static struct { uint64_t iova, size; } known[KNOWN];
static unsigned int nr_known;

/* One that was mapped, most of the time, if the module said yes or not. */
static void known_range(uint64_t *iova, uint64_t *size)
{
	unsigned int which = any(KNOWN);

	if (!nr_known || !any(6)) {
		some_range(iova, size);
		return;
	}
	*iova = known[which % nr_known].iova;
	*size = known[which % nr_known].size;
	if (!any(8))
		*size += any(100) * PAGE;
	if (!any(8))
		*iova = 0, *size = ARENA_PAGES * PAGE;
}

static void step_map(struct subject *s)
{
	uint64_t iova, size, offset = any(ARENA_PAGES / 2) * PAGE;
	uint32_t flags = any(5) ? 3 : any(5);
	int ret;

	some_range(&iova, &size);
	ret = map(s, iova, size, offset, flags);
	printf("map %llx+%llx %u: %d", (unsigned long long)iova, (unsigned long long)size, flags, ret);
	if (!ret)
		set_mapped(iova, size, true);
	known[nr_known < KNOWN ? nr_known++ : any(KNOWN)] = (typeof(*known)) { iova, size };
}

static void step_unmap(struct subject *s)
{
	struct vfio_bitmap bitmap;
	bool with = any(2);
	uint64_t iova, size, asked;
	uint32_t flags = any(40) ? 0 : 1 << any(4);
	int ret;

	known_range(&iova, &size);
	bitmap = some_bitmap(size);
	if (flags == VFIO_DMA_UNMAP_FLAG_ALL && any(2))
		iova = size = 0;
	printf("unmap %llx+%llx %u %d:", (unsigned long long)iova, (unsigned long long)size, flags,
	       with);
	asked = size;
	ret = unmap(s, iova, &size, flags & ~1u, with ? &bitmap : NULL);
	printf(" %d %llx", ret, (unsigned long long)size);
	if (ret)
		return;
	print_bitmap(iova, asked);
	if (flags == VFIO_DMA_UNMAP_FLAG_ALL)
		set_mapped(0, sizeof(mapped) * PAGE, false);
	else if (flags != VFIO_DMA_UNMAP_FLAG_VADDR)
		set_mapped(iova, asked, false);
}

static void step_get(struct subject *s)
{
	struct vfio_bitmap bitmap;
	uint64_t iova, size;

	known_range(&iova, &size);
	bitmap = some_bitmap(size);
	printf("get %llx+%llx: %d", (unsigned long long)iova, (unsigned long long)size,
	       get(s, iova, size, bitmap));
	print_bitmap(iova, size);
}

static void step_command(struct subject *s, uint32_t op)
{
	struct vfio_test_command cmd;
	uint64_t iova, size;
	uint32_t count;

	known_range(&iova, &size);
	count = op == VFIO_TEST_PIN || op == VFIO_TEST_UNPIN || op == VFIO_TEST_DMA
			? 1 + any(20) : 1 + any(3 * PAGE);
	iova += (uint64_t)any(30) * PAGE;
	if (op == VFIO_TEST_READ || op == VFIO_TEST_WRITE)
		iova += any(PAGE);
	else
		iova &= -PAGE;
	cmd = command(s, op, iova, count, any(256), 1 + any(3));
	printf("op %u %llx+%x: %d %llx", op, (unsigned long long)iova, count, cmd.error,
	       (unsigned long long)cmd.value);
}

static void step_real(struct subject *s, bool *attached)
{
	int ret;

	ret = *attached ? call(s->real, VFIO_GROUP_UNSET_CONTAINER, NULL)
			: call(s->real, VFIO_GROUP_SET_CONTAINER, &s->container);
	printf("%s: %s", *attached ? "detach" : "attach", ret ? "refused" : "done");
	*attached ^= !ret;
}

static void step_info(struct subject *s)
{
	uint8_t bytes[1024] = {};
	struct vfio_iommu_type1_info *info = (void *)bytes;
	struct vfio_info_cap_header *cap;
	int ret;

	info->argsz = any(4) ? sizeof(bytes) : 16 + any(64);
	ret = call(s->container, VFIO_IOMMU_GET_INFO, info);
	printf("info: %d %x %llx", ret, info->flags, (unsigned long long)info->iova_pgsizes);
	if (ret || info->argsz < sizeof(*info) || !info->cap_offset)
		return;
	for (uint32_t at = info->cap_offset; at; at = cap->next) {
		cap = (void *)(bytes + at);
		printf(" %u", cap->id);
		if (cap->id == VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL)
			printf(":%u", ((struct vfio_iommu_type1_info_dma_avail *)cap)->avail);
	}
}

static void run_random(struct subject *s, unsigned int steps)
{
	bool attached = false;

	for (unsigned int step = 0; step < steps; step++) {
		printf("%u ", step);
		switch (any(24)) {
		case 0 ... 4:
			step_map(s);
			break;
		case 5 ... 6:
			step_unmap(s);
			break;
		case 7 ... 10:
			step_get(s);
			break;
		case 11 ... 14:
			step_command(s, VFIO_TEST_PIN);
			break;
		case 15 ... 17:
			step_command(s, VFIO_TEST_UNPIN);
			break;
		case 18:
			step_command(s, VFIO_TEST_READ);
			break;
		case 19 ... 20:
			step_command(s, VFIO_TEST_WRITE);
			break;
		case 21:
			step_command(s, VFIO_TEST_DMA);
			break;
		case 22:
			printf("track: %d", track(s, any(3) ? 1 : 2));
			break;
		case 23:
			if (s->real >= 0 && !any(3))
				step_real(s, &attached);
			else
				step_info(s);
			break;
		}
		printf(" locked %ld\n", locked());
	}
}

/* --- cost ------------------------------------------------------------------------------------ */

static uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000ull + time.tv_nsec;
}

#define COST_GIB    960u
#define COST_PINS   1042u	/* of each mapping of a GiB: a million in all */
#define COST_MEMORY (256ull << 20)
#define WHOLE	    (4 * GIB)	/* above addresses that are reserved for interrupts */

static void cost_get(struct subject *s, const char *name, const char *which, uint64_t iova,
		     uint64_t bytes)
{
	struct vfio_bitmap bitmap = { .pgsize = PAGE, .size = bytes };
	uint64_t start, bits = 0;

	bitmap.data = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (bitmap.data == MAP_FAILED)
		die("bitmap");
	start = now();
	must(get(s, iova, bytes * 8 * PAGE, bitmap), name);
	printf("%s_%s_ns %llu\n", name, which, (unsigned long long)(now() - start));
	for (uint64_t i = 0; i < bytes / 8; i++)
		bits += __builtin_popcountll(((uint64_t *)bitmap.data)[i]);
	printf("%s_%s_pages %llu\n", name, which, (unsigned long long)bits);
	munmap(bitmap.data, bytes);
}

/* KiB of the kernel's. */
static long slab(void)
{
	return number_in("/proc/meminfo", "Slab: %ld");
}

/* A million pins, a number of pages apart. */
static void cost_of(struct subject *s, const char *name, unsigned int apart)
{
	uint64_t start, bytes = COST_GIB * GIB / PAGE / 8;
	long before = slab();

	start = now();
	for (unsigned int i = 0; i < COST_GIB; i++)
		for (unsigned int n = 0; n < COST_PINS; n++)
			check(!command(s, VFIO_TEST_PIN, i * GIB + n * apart * PAGE, 1, 0, 3).error, "pin");
	printf("%s_pin_ns %llu\n", name, (unsigned long long)(now() - start));
	printf("%s_slab_kib %ld\n", name, slab() - before);
	start = now();
	must(track(s, 1), "start");
	printf("%s_start_ns %llu\n", name, (unsigned long long)(now() - start));
	cost_get(s, name, "get", 0, bytes);
	cost_get(s, name, "again", 0, bytes);
	start = now();
	must(track(s, 2), "stop");
	printf("%s_stop_ns %llu\n", name, (unsigned long long)(now() - start));
	start = now();
	for (unsigned int i = 0; i < COST_GIB; i++)
		command(s, VFIO_TEST_UNPIN, i * GIB, GIB / PAGE, 0, 0);
	printf("%s_unpin_ns %llu\n", name, (unsigned long long)(now() - start));
}

/* A bitmap of 16 GiB that an IOMMU has, all of it dirty. */
static void cost_of_whole(struct subject *s, const char *real)
{
	uint64_t size = 0, bytes = 16 * GIB / PAGE / 8;

	for (unsigned int part = 0; part < 16 * GIB / COST_MEMORY; part++)
		must(map(s, WHOLE + part * COST_MEMORY, COST_MEMORY, 0, 3), "map");
	s->real = open_group(real);
	must(ioctl(s->real, VFIO_GROUP_SET_CONTAINER, &s->container), "attach");
	must(track(s, 1), "start");
	cost_get(s, "whole", "get", WHOLE, bytes);
	must(track(s, 2), "stop");
	must(unmap(s, 0, &size, VFIO_DMA_UNMAP_FLAG_ALL, NULL), "unmap");
	must(ioctl(s->real, VFIO_GROUP_UNSET_CONTAINER), "detach");
}

static void run_cost(struct subject *s, const char *real)
{
	uint64_t left = 0;

	cost_of_whole(s, real);

	for (unsigned int i = 0; i < COST_GIB; i++)
		for (unsigned int part = 0; part < GIB / COST_MEMORY; part++)
			must(map(s, i * GIB + part * COST_MEMORY, COST_MEMORY, 0, 3), "map");
	cost_of(s, "far", 251);
	cost_of(s, "near", 1);
	must(unmap(s, 0, &left, VFIO_DMA_UNMAP_FLAG_ALL, NULL), "unmap");
}

/* --- promises -------------------------------------------------------------------------------- */

static uint64_t dirty_bits(struct subject *s, uint64_t iova, uint64_t pages)
{
	struct vfio_bitmap bitmap = { .pgsize = PAGE, .size = sizeof(words), .data = (void *)words };
	uint64_t bits = 0;

	memset(words, 0, sizeof(words));
	check(!get(s, iova, pages * PAGE, bitmap), "get");
	for (unsigned int i = 0; i < sizeof(words) / sizeof(*words); i++)
		bits += __builtin_popcountll(words[i]);
	return bits;
}

/*
 * A bitmap that cannot be written forgets nothing, and unmaps nothing.  The mapping does not begin at a
 * word of the bitmap.
 */
static void promise_fault(struct subject *s)
{
	struct vfio_bitmap bad = { .pgsize = PAGE, .size = 64, .data = (void *)PAGE };
	uint64_t size = 100 * PAGE;

	check(!map(s, 3 * PAGE, 100 * PAGE, 0, 3), "map");
	check(!track(s, 1), "start");
	check(!command(s, VFIO_TEST_WRITE, 10 * PAGE, 5 * PAGE, 7, 0).error, "write");
	check(get(s, 0, 103 * PAGE, bad) == -EFAULT, "a bitmap that is not mapped is EFAULT");
	check(unmap(s, 3 * PAGE, &size, 0, &bad) == -EFAULT, "EFAULT, unmapping");
	check(dirty_bits(s, 0, 103) == 5 && words[0] == 0x1full << 10, "no page is forgotten after EFAULT");
	check(dirty_bits(s, 0, 103) == 0, "they are forgotten when they were reported");
	size = 100 * PAGE;
	check(!unmap(s, 3 * PAGE, &size, 0, NULL) && size == 100 * PAGE, "the mapping is still there");
	check(!track(s, 2), "stop");
}

/* A write that faults after two pages has written those: they are dirty. */
static void promise_part(struct subject *s)
{
	check(!map(s, 0, 100 * PAGE, 0, 3), "map");
	check(!track(s, 1), "start");
	must(mprotect(s->memory + 2 * PAGE, PAGE, PROT_NONE), "mprotect");
	check(command(s, VFIO_TEST_WRITE, 0, 3 * PAGE, 9, 0).error == -EFAULT, "EFAULT");
	must(mprotect(s->memory + 2 * PAGE, PAGE, PROT_READ | PROT_WRITE), "mprotect");
	check(s->memory[PAGE] == 9, "part of it was written");
	check(dirty_bits(s, 0, 100) >= 2, "pages that it wrote are dirty");
	uint64_t size = 100 * PAGE;
	check(!unmap(s, 0, &size, 0, NULL), "unmap");
	check(!track(s, 2), "stop");
}

/* Flags and page sizes of no meaning are errors. */
static void promise_arguments(struct subject *s)
{
	struct vfio_bitmap none = { .pgsize = 0, .size = 8, .data = (void *)words };
	uint64_t size = PAGE;

	check(!map(s, 0, PAGE, 0, 3), "map");
	check(track(s, 0) == -EINVAL, "no flag");
	check(track(s, 3) == -EINVAL, "two flags");
	check(!track(s, 1), "start");
	check(get(s, 0, PAGE, none) == -EINVAL, "page size 0");
	none.pgsize = PAGE + 1;
	check(get(s, 0, PAGE, none) == -EINVAL, "page size that is no power of 2");
	check(unmap(s, 0, &size, 0, &none) == -EINVAL, "the same, unmapping");
	size = PAGE;
	check(!unmap(s, 0, &size, 0, NULL), "unmap");
	check(!track(s, 2), "stop");
}

/* A device that does not let go: an error, after a bounded time; the mapping stays. */
static void promise_deaf(struct subject *s)
{
	uint64_t size = 16 * PAGE;
	long before = locked();

	check(!map(s, 0, 16 * PAGE, 0, 3), "map");
	check(!command(s, VFIO_TEST_PIN, 0, 16, 0, 3).error, "pin");
	command(s, VFIO_TEST_IGNORE, 0, 0, 1000, 0);
	check(unmap(s, 0, &size, 0, NULL) == -EBUSY, "EBUSY");
	command(s, VFIO_TEST_IGNORE, 0, 0, 3, 0);
	size = 16 * PAGE;
	check(!unmap(s, 0, &size, 0, NULL) && size == 16 * PAGE, "it is asked again");
	check(locked() == before, "nothing is left locked");
}

/* A device that pins a page of another mapping for each that it unpins: an error as well. */
static void promise_turns(struct subject *s)
{
	uint64_t size = 32 * PAGE;

	check(!map(s, 0, 16 * PAGE, 0, 3), "map");
	check(!map(s, 16 * PAGE, 16 * PAGE, 0, 3), "map another");
	check(!command(s, VFIO_TEST_PIN, 0, 1, 0, 3).error, "pin");
	command(s, VFIO_TEST_TURNS, 0, 0, 16 * PAGE, 0);
	check(unmap(s, 0, &size, 0, NULL) == -EBUSY, "EBUSY");
	command(s, VFIO_TEST_TURNS, 0, 0, 0, 0);
	size = 32 * PAGE;
	check(!unmap(s, 0, &size, 0, NULL) && size == 32 * PAGE, "both go");
}

struct thread {
	struct subject *s;
	uint64_t iova;
};

static void *unmapping(void *opaque)
{
	struct thread *t = opaque;

	for (int i = 0; i < 20; i++) {
		uint64_t size = 64 * PAGE;

		check(!map(t->s, t->iova, size, 0, 3), "map");
		check(!command(t->s, VFIO_TEST_PIN, t->iova, 64, 0, 3).error, "pin");
		check(!unmap(t->s, t->iova, &size, 0, NULL), "unmap");
	}
	return NULL;
}

/* Threads that unmap what a slow device has pinned do not wait for each other for ever. */
static void promise_threads(struct subject *s)
{
	struct thread threads[4];
	pthread_t ids[4];

	command(s, VFIO_TEST_SLOW, 0, 0, 2, 0);
	for (int i = 0; i < 4; i++) {
		threads[i] = (struct thread) { s, i * 1024 * PAGE };
		must(-pthread_create(&ids[i], NULL, unmapping, &threads[i]), "thread");
	}
	for (int i = 0; i < 4; i++)
		pthread_join(ids[i], NULL);
	command(s, VFIO_TEST_SLOW, 0, 0, 0, 0);
}

/* What a device writes is where the process reads, also where the process has not touched memory. */
static void promise_memory(struct subject *s)
{
	uint8_t *fresh = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct vfio_iommu_type1_dma_map arg = {
		.argsz = sizeof(arg), .flags = 1, .iova = 0, .size = 4 * PAGE,
		.vaddr = (uintptr_t)fresh,
	};
	uint64_t size = 4 * PAGE;
	struct vfio_test_command cmd;

	check(!call(s->container, VFIO_IOMMU_MAP_DMA, &arg), "map to read");
	check(!command(s, VFIO_TEST_PIN, 0, 4, 0, 1).error, "pin to read");
	check(command(s, VFIO_TEST_PIN, 0, 4, 0, 2).error == -EPERM, "pin to write");
	memset(fresh, 3, 4 * PAGE);
	cmd = command(s, VFIO_TEST_READ, 0, 4 * PAGE, 0, 0);
	check(!cmd.error && cmd.value == 3 * 4 * PAGE, "read by the CPU");
	cmd = command(s, VFIO_TEST_DMA_READ, 0, 4, 0, 0);
	check(!cmd.error && cmd.value == 4 * 0x0303030303030303ull, "read by the device");
	check(!unmap(s, 0, &size, 0, NULL), "unmap");
	arg.flags = 3;
	check(!call(s->container, VFIO_IOMMU_MAP_DMA, &arg), "map");
	check(!command(s, VFIO_TEST_PIN, 0, 4, 0, 3).error, "pin");
	check(command(s, VFIO_TEST_DMA, 0, 4, 0x1234, 0).value == 4, "written by the device");
	for (int i = 0; i < 4; i++)
		check(*(uint64_t *)(fresh + i * PAGE) == 0x1234, "the process sees it");
	size = 4 * PAGE;
	check(!unmap(s, 0, &size, 0, NULL), "unmap");
	munmap(fresh, 4 * PAGE);
}

static const struct {
	const char *name;
	void (*run)(struct subject *s);
} promises[] = {
	{ "arguments", promise_arguments },
	{ "fault", promise_fault },
	{ "part", promise_part },
	{ "memory", promise_memory },
	{ "deaf", promise_deaf },
	{ "turns", promise_turns },
	{ "threads", promise_threads },
};

/* All of them, or the one of that name. */
static void run_promises(struct subject *s, const char *name)
{
	for (unsigned int i = 0; i < sizeof(promises) / sizeof(*promises); i++)
		if (!name || !strcmp(name, promises[i].name))
			promises[i].run(s);
	check(locked() == 0, "nothing is left locked");
	printf("kept\n");
}

int main(int argc, char **argv)
{
	struct subject s;

	setvbuf(stdout, NULL, _IOFBF, 1 << 20);
	if (argc < 4)
		return 2;
	if (!strcmp(argv[1], "random") && argc >= 6) {
		s = begin(argv[2], argv[3], ARENA_PAGES * PAGE);
		state = strtoull(argv[4], NULL, 0);
		if (argc > 6)
			s.real = open_group(argv[6]);
		run_random(&s, atoi(argv[5]));
	} else if (!strcmp(argv[1], "cost") && argc > 4) {
		s = begin(argv[2], argv[3], COST_MEMORY);
		run_cost(&s, argv[4]);
	} else if (!strcmp(argv[1], "promises")) {
		s = begin(argv[2], argv[3], ARENA_PAGES * PAGE);
		run_promises(&s, argc > 4 ? argv[4] : NULL);
	} else {
		return 2;
	}
	return 0;
}
