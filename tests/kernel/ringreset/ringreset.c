// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What KVM_RESET_DIRTY_RINGS costs: a virtual machine of this program's own, without QEMU.
 *
 *	ringreset ENTRIES PAGES random|sequential ROUNDS	a full ring
 *	ringreset ENTRIES PAGES empty ROUNDS VCPUS		rings without an entry
 *
 * The guest is one loop of 32-bit code without paging: it takes addresses from a table and writes a
 * byte to each.  Its table and code are in a memory slot of their own, which is not logged; the
 * addresses are distinct pages of a second slot, which is.  A round has the guest write as many
 * pages as make the ring full but for a reserve, marks the entries as harvested, and times the
 * ioctl.  After each round every page that was written must make an entry again: the next round
 * writes the same pages, beginning with another one, and counts its entries.
 *
 * Prints "name value" lines: rounds, entries (per round), reset_ns (median of the rounds).
 *
 * Limits: AMD or Intel, one vCPU that writes.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define PAGE		4096ul
#define LOW_SIZE	(4ul << 20)
#define CODE		0x1000ul
#define TABLE		0x10000ul
#define LOGGED		0x40000000ul
#define RESERVE		640u	/* with what hardware logs */
#define MAX_ROUNDS	100
#define MAX_VCPUS	64

/* mov eax,[esi]; add esi,4; mov byte [eax],1; cmp esi,edi; jb loop; out 0x10,al; jmp to the out */
static const uint8_t code[] = {
	0x8b, 0x06, 0x83, 0xc6, 0x04, 0xc6, 0x00, 0x01, 0x39, 0xfe, 0x72, 0xf4, 0xe6, 0x10, 0xeb, 0xfc,
};

struct machine {
	int kvm, vm, vcpus[MAX_VCPUS];
	struct kvm_run *run;
	size_t run_size;
	uint8_t *low;
	struct kvm_dirty_gfn *ring;
	uint32_t size, at;
};

static void die(const char *what)
{
	fprintf(stderr, "ringreset: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int must(int ret, const char *what)
{
	if (ret < 0)
		die(what);
	return ret;
}

static void *map(size_t size, int fd, off_t offset)
{
	int flags = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE : MAP_SHARED;
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, offset);

	if (memory == MAP_FAILED)
		die("mmap");
	return memory;
}

static void add_slot(struct machine *m, uint32_t slot, uint64_t gpa, void *memory, uint64_t size,
		     uint32_t flags)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.flags = flags,
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = (uintptr_t)memory,
	};

	must(ioctl(m->vm, KVM_SET_USER_MEMORY_REGION, &region), "KVM_SET_USER_MEMORY_REGION");
}

static void flat(struct kvm_segment *segment, uint8_t type)
{
	*segment = (struct kvm_segment) {
		.limit = 0xffffffff, .selector = 8, .type = type, .present = 1, .db = 1, .s = 1,
		.g = 1,
	};
}

static void set_registers(struct machine *m, uint32_t entries)
{
	struct kvm_regs regs = { .rip = CODE, .rsi = TABLE, .rdi = TABLE + 4 * entries,
				 .rflags = 2 };
	struct kvm_sregs sregs;

	must(ioctl(m->vcpus[0], KVM_GET_SREGS, &sregs), "KVM_GET_SREGS");
	flat(&sregs.cs, 11);
	flat(&sregs.ds, 3);
	sregs.es = sregs.fs = sregs.gs = sregs.ss = sregs.ds;
	sregs.cr0 |= 1;
	must(ioctl(m->vcpus[0], KVM_SET_SREGS, &sregs), "KVM_SET_SREGS");
	must(ioctl(m->vcpus[0], KVM_SET_REGS, &regs), "KVM_SET_REGS");
}

static void begin(struct machine *m, uint32_t entries, uint64_t pages, int vcpus)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_DIRTY_LOG_RING,
				      .args = { entries * sizeof(struct kvm_dirty_gfn) } };

	m->size = entries;
	m->kvm = must(open("/dev/kvm", O_RDWR), "/dev/kvm");
	m->vm = must(ioctl(m->kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
	must(ioctl(m->vm, KVM_ENABLE_CAP, &cap), "KVM_CAP_DIRTY_LOG_RING");
	m->low = map(LOW_SIZE, -1, 0);
	memcpy(m->low + CODE, code, sizeof(code));
	add_slot(m, 0, 0, m->low, LOW_SIZE, 0);
	add_slot(m, 1, LOGGED, map(pages * PAGE, -1, 0), pages * PAGE, KVM_MEM_LOG_DIRTY_PAGES);
	for (int i = 0; i < vcpus; i++)
		m->vcpus[i] = must(ioctl(m->vm, KVM_CREATE_VCPU, i), "KVM_CREATE_VCPU");
	m->run_size = must(ioctl(m->kvm, KVM_GET_VCPU_MMAP_SIZE, 0), "KVM_GET_VCPU_MMAP_SIZE");
	m->run = map(m->run_size, m->vcpus[0], 0);
	m->ring = map(entries * sizeof(*m->ring), m->vcpus[0], KVM_DIRTY_LOG_PAGE_OFFSET * PAGE);
}

/* Chooses @entries distinct pages of @pages; always the same. */
static uint32_t *choose(uint32_t entries, uint64_t pages, int random)
{
	uint32_t *chosen = calloc(entries, sizeof(*chosen));
	uint8_t *seen = calloc(pages, 1);
	uint64_t state = 88172645463325252ull;

	if (!chosen || !seen)
		die("calloc");
	for (uint32_t i = 0; i < entries;) {
		uint64_t page = i;

		state ^= state << 13;
		state ^= state >> 7;
		state ^= state << 17;
		if (random)
			page = state & (pages - 1);
		if (!seen[page]++)
			chosen[i++] = page;
	}
	free(seen);
	return chosen;
}

/* The chosen pages, beginning with another one in each round. */
static void fill_table(struct machine *m, const uint32_t *chosen, uint32_t entries,
		       unsigned int round)
{
	uint32_t *table = (uint32_t *)(m->low + TABLE);

	for (uint32_t i = 0; i < entries; i++)
		table[i] = LOGGED + chosen[(i + round * 97) % entries] * PAGE;
}

/* The guest writes all pages of the table; returns the entries that this made. */
static uint32_t write_pages(struct machine *m, uint32_t entries)
{
	uint32_t made = 0;

	set_registers(m, entries);
	for (;;) {
		must(ioctl(m->vcpus[0], KVM_RUN, 0), "KVM_RUN");
		if (m->run->exit_reason == KVM_EXIT_IO)
			break;
		if (m->run->exit_reason == KVM_EXIT_DIRTY_RING_FULL) {
			fprintf(stderr, "ringreset: the ring is full\n");
			exit(1);
		}
		if (m->run->exit_reason != KVM_EXIT_INTR) {
			fprintf(stderr, "ringreset: exit %u\n", m->run->exit_reason);
			exit(1);
		}
	}
	while (made < m->size && m->ring[(m->at + made) % m->size].flags & KVM_DIRTY_GFN_F_DIRTY)
		m->ring[(m->at + made++) % m->size].flags |= KVM_DIRTY_GFN_F_RESET;
	return made;
}

static uint64_t now_ns(void)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	return at.tv_sec * 1000000000ull + at.tv_nsec;
}

static uint64_t reset_ns(struct machine *m, uint32_t expected)
{
	uint64_t start = now_ns(), ns;
	int ret = must(ioctl(m->vm, KVM_RESET_DIRTY_RINGS, 0), "KVM_RESET_DIRTY_RINGS");

	ns = now_ns() - start;
	if ((uint32_t)ret != expected) {
		fprintf(stderr, "ringreset: %d of %u entries were reset\n", ret, expected);
		exit(1);
	}
	m->at = (m->at + expected) % m->size;
	return ns;
}

static int by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	uint32_t entries = argc > 4 ? strtoul(argv[1], NULL, 10) : 0, used = 0;
	uint64_t pages = argc > 4 ? strtoull(argv[2], NULL, 10) : 0, ns[MAX_ROUNDS];
	unsigned int rounds = argc > 4 ? strtoul(argv[4], NULL, 10) : 0;
	int vcpus = argc > 5 ? atoi(argv[5]) : 1, empty;
	struct machine m = { 0 };
	uint32_t *chosen;

	if (entries <= RESERVE || pages & (pages - 1) || pages < entries || !rounds ||
	    rounds > MAX_ROUNDS || vcpus < 1 || vcpus > MAX_VCPUS ||
	    TABLE + 4 * entries > LOW_SIZE) {
		fprintf(stderr, "usage: ringreset ENTRIES PAGES random|sequential|empty ROUNDS [VCPUS]\n");
		return 2;
	}
	empty = !strcmp(argv[3], "empty");
	if (!empty)
		used = entries - RESERVE;
	chosen = choose(used, pages, !strcmp(argv[3], "random"));
	begin(&m, entries, pages, vcpus);
	/* round 0 is not timed: the pages are mapped in it */
	for (unsigned int round = 0; round <= rounds; round++) {
		if (!empty) {
			fill_table(&m, chosen, used, round);
			if (write_pages(&m, used) != used) {
				fprintf(stderr, "ringreset: pages are missing in round %u\n", round);
				return 1;
			}
		}
		ns[round ? round - 1 : 0] = reset_ns(&m, used);
	}
	qsort(ns, rounds, sizeof(*ns), by_number);
	printf("rounds %u\nentries %u\nreset_ns %llu\n", rounds, used,
	       (unsigned long long)ns[rounds / 2]);
	return 0;
}
