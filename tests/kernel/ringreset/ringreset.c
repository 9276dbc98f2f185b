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
#include <time.h>

#include "machine.h"

#define RESERVE		640u	/* with what hardware logs */
#define MAX_ROUNDS	100

/* mov eax,[esi]; add esi,4; mov byte [eax],1; cmp esi,edi; jb loop; out 0x10,al; jmp to the out */
static const uint8_t code[] = {
	0x8b, 0x06, 0x83, 0xc6, 0x04, 0xc6, 0x00, 0x01, 0x39, 0xfe, 0x72, 0xf4, 0xe6, 0x10, 0xeb, 0xfc,
};

/* Of the ring: the entry that the guest writes next. */
static uint32_t at;

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

	set_registers(m, 0, TABLE, TABLE + 4 * entries);
	for (;;) {
		must(ioctl(m->vcpus[0], KVM_RUN, 0), "KVM_RUN");
		if (m->run[0]->exit_reason == KVM_EXIT_IO)
			break;
		if (m->run[0]->exit_reason == KVM_EXIT_DIRTY_RING_FULL) {
			fprintf(stderr, "ringreset: the ring is full\n");
			exit(1);
		}
		if (m->run[0]->exit_reason != KVM_EXIT_INTR) {
			fprintf(stderr, "ringreset: exit %u\n", m->run[0]->exit_reason);
			exit(1);
		}
	}
	while (made < m->size && m->ring[0][(at + made) % m->size].flags & KVM_DIRTY_GFN_F_DIRTY)
		m->ring[0][(at + made++) % m->size].flags |= KVM_DIRTY_GFN_F_RESET;
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
	at = (at + expected) % m->size;
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
	begin(&m, entries, pages, vcpus, code, sizeof(code));
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
