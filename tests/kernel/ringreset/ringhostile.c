// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A process that scribbles over the dirty rings of its own virtual machine.
 *
 *	ringhostile ENTRIES VCPUS SECONDS SEED
 *
 * Each vCPU writes to logged pages without end; when its ring is full it has the rings reset and
 * goes on.  Meanwhile
 *
 *	a scribbler per ring	changes flags, slot and offset of random entries: to random values, to
 *				those at the edges, and to what a well-behaved process writes
 *	the resetter		asks for a reset of all rings without pause
 *	the changer		deletes the logged slot and makes it again, of two sizes
 *	the main thread		signals the resetter, so that resets are cut short
 *
 * No call may fail with another errno than EINTR, or EINVAL for what the process itself broke, and
 * none may take longer than the reader of `longest_us` is content with.  Every vCPU has to leave
 * KVM_RUN when it is signalled at the end.
 *
 * Prints "name value" lines: resets, cut (resets that failed as a signal came), runs (KVM_RUN that ended), full
 * (of these because of a full ring), changes (of the slot), longest_us (of a reset).
 *
 * Limits: whether pages are lost is not looked at: a process that scribbles loses its own.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <time.h>

#include "machine.h"

#define PAGES		4096u
#define SLOT_PAGES	2048u	/* of the slot when it is small */

/* loop: mov byte [esi],1; add esi,4096; cmp esi,edi; jb loop; mov esi,LOGGED; jmp loop */
static const uint8_t code[] = {
	0xc6, 0x06, 0x01, 0x81, 0xc6, 0x00, 0x10, 0x00, 0x00, 0x39, 0xfe, 0x72, 0xf3,
	0xbe, 0x00, 0x00, 0x00, 0x40, 0xeb, 0xec,
};

static struct machine m;
static void *memory;
static int over;
static uint64_t resets, cut, runs, full, changes, longest_us;

static bool is_over(void)
{
	return __atomic_load_n(&over, __ATOMIC_RELAXED);
}

static void add(uint64_t *n)
{
	__atomic_fetch_add(n, 1, __ATOMIC_RELAXED);
}

static void nothing(int number)
{
	(void)number;
}

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000ull + t.tv_nsec / 1000;
}

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static void reset(void)
{
	uint64_t start = now_us(), took, before = __atomic_load_n(&longest_us, __ATOMIC_RELAXED);
	int ret = ioctl(m.vm, KVM_RESET_DIRTY_RINGS, 0);

	took = now_us() - start;
	while (took > before && !__atomic_compare_exchange_n(&longest_us, &before, took, false,
							     __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
	add(&resets);
	if (ret < 0 && errno == EINTR)
		add(&cut);
	else if (ret < 0 && errno != EINVAL)
		die("KVM_RESET_DIRTY_RINGS");
}

static void *scribbler(void *opaque)
{
	struct kvm_dirty_gfn *ring = m.ring[(uintptr_t)opaque >> 32];
	uint64_t state = 88172645463325252ull ^ (uintptr_t)opaque;
	static const uint32_t slots[] = { 1, 0, 2, 0x10001, 0x7fff, 0xffff, 0xffffffff, 0x20001 };
	static const uint64_t offsets[] = { 0, PAGES - 1, PAGES, SLOT_PAGES, 1ull << 52, ~0ull, 63, 64 };

	while (!is_over()) {
		uint64_t dice = next_random(&state), value = next_random(&state);
		struct kvm_dirty_gfn *entry = &ring[(dice >> 32) % m.size];

		switch (dice % 8) {
		case 0:
			__atomic_store_n(&entry->flags, (uint32_t)value, __ATOMIC_RELAXED);
			break;
		case 1:
			__atomic_store_n(&entry->flags, (uint32_t)value % 4, __ATOMIC_RELAXED);
			break;
		case 2:
			__atomic_store_n(&entry->slot, slots[value % 8], __ATOMIC_RELAXED);
			break;
		case 3:
			__atomic_store_n(&entry->offset, offsets[value % 8], __ATOMIC_RELAXED);
			break;
		case 4:
			__atomic_store_n(&entry->slot, (uint32_t)value, __ATOMIC_RELAXED);
			__atomic_store_n(&entry->offset, next_random(&state), __ATOMIC_RELAXED);
			break;
		default:	/* as it should be, for a run of entries */
			for (unsigned int i = 0; i < value % 512; i++) {
				entry = &ring[((dice >> 32) + i) % m.size];
				if (entry->flags & KVM_DIRTY_GFN_F_DIRTY)
					__atomic_store_n(&entry->flags, 3, __ATOMIC_RELEASE);
			}
		}
	}
	return NULL;
}

static void *resetter(void *opaque)
{
	while (!is_over())
		reset();
	return opaque;
}

static void *changer(void *opaque)
{
	for (unsigned int i = 0; !is_over(); i++) {
		struct timespec pause = { 0, 2000000 };
		uint64_t pages = i % 2 ? PAGES : SLOT_PAGES;

		add_slot(&m, 1, LOGGED, memory, 0, 0);
		add_slot(&m, 1, LOGGED, memory, pages * PAGE, KVM_MEM_LOG_DIRTY_PAGES);
		add(&changes);
		nanosleep(&pause, NULL);
	}
	return opaque;
}

static void *vcpu(void *opaque)
{
	int n = (uintptr_t)opaque;
	bool anew = true;

	while (!is_over()) {
		if (anew)
			set_registers(&m, n, LOGGED + n * PAGE, LOGGED + PAGES * PAGE);
		if (ioctl(m.vcpus[n], KVM_RUN, 0) < 0 && errno != EINTR && errno != EFAULT)
			die("KVM_RUN");
		add(&runs);
		if (m.run[n]->exit_reason == KVM_EXIT_DIRTY_RING_FULL) {
			add(&full);
			reset();
		}
		/* a write where the slot is not is an access to a device */
		anew = m.run[n]->exit_reason != KVM_EXIT_DIRTY_RING_FULL &&
		       m.run[n]->exit_reason != KVM_EXIT_INTR;
	}
	return NULL;
}

static pthread_t start(void *(*run)(void *), uintptr_t opaque)
{
	pthread_t thread;

	if ((errno = pthread_create(&thread, NULL, run, (void *)opaque)))
		die("pthread_create");
	return thread;
}

int main(int argc, char **argv)
{
	uint32_t entries = argc > 4 ? strtoul(argv[1], NULL, 10) : 0;
	int vcpus = argc > 4 ? atoi(argv[2]) : 0, n = 0;
	uint64_t end = now_us() + 1000000ull * (argc > 4 ? strtoul(argv[3], NULL, 10) : 0);
	uintptr_t seed = argc > 4 ? strtoul(argv[4], NULL, 10) : 0;
	pthread_t threads[2 * MAX_VCPUS + 2];
	struct sigaction action = { .sa_handler = nothing };
	struct timespec pause = { 0, 300000 };

	if (!entries || vcpus < 1 || vcpus > MAX_VCPUS) {
		fprintf(stderr, "usage: ringhostile ENTRIES VCPUS SECONDS SEED\n");
		return 2;
	}
	sigaction(SIGUSR1, &action, NULL);
	begin(&m, entries, PAGES, vcpus, code, sizeof(code));
	memory = map(PAGES * PAGE, -1, 0);
	threads[n++] = start(resetter, 0);
	threads[n++] = start(changer, 0);
	for (int i = 0; i < vcpus; i++) {
		threads[n++] = start(vcpu, i);
		threads[n++] = start(scribbler, (uintptr_t)i << 32 | (seed & 0xffffffff));
	}
	while (now_us() < end) {
		nanosleep(&pause, NULL);
		pthread_kill(threads[0], SIGUSR1);
	}
	over = 1;
	for (int i = 0; i < n; i++) {
		while (pthread_tryjoin_np(threads[i], NULL)) {
			pthread_kill(threads[i], SIGUSR1);
			nanosleep(&pause, NULL);
		}
	}
	printf("resets %llu\ncut %llu\nruns %llu\nfull %llu\nchanges %llu\nlongest_us %llu\n",
	       (unsigned long long)resets, (unsigned long long)cut, (unsigned long long)runs,
	       (unsigned long long)full, (unsigned long long)changes,
	       (unsigned long long)longest_us);
	return 0;
}
