/*
 * Dirty ring: in which order a release reads and writes an entry
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * Once an entry is marked, KVM may reset it and fill it again.  So it must have been
 * read before, and not be touched afterwards.  No other thread is needed to see
 * that: the ring lies in a page that may not be accessed, so each access is a
 * SIGSEGV that tells its address and whether it writes.  The handler lets it pass,
 * in a single step; SIGTRAP comes after it and forbids the next.
 *
 * Accesses are logged up to the reset ioctl, during which signals are blocked.
 *
 * Limits: x86-64; an instruction that accesses two entries counts as one access.
 */
#define _GNU_SOURCE
#include <glib.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "accel/kvm/core/dirty-ring-core.h"
#include "named-tests.h"

#define SIZE 64
#define PUSHED 40
#define ROOM 4096

/* Bits of the page fault's error code and of the flags register. */
#define ERROR_WRITES 2
#define FLAG_TRAP 0x100

typedef struct Access {
    size_t at;              /* offset in the ring */
    bool writes;
} Access;

/* Used by signal handlers. */
static struct kvm_dirty_gfn *ring;
static Access accesses[ROOM];
static volatile unsigned naccesses;

static void forbid(bool forbidden)
{
    mprotect(ring, 4096, forbidden ? PROT_NONE : PROT_READ | PROT_WRITE);
}

static void on_access(int number, siginfo_t *info, void *context)
{
    greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
    size_t at = (char *)info->si_addr - (char *)ring;

    if (at >= 4096 || naccesses == ROOM) {
        g_error("another fault, or too many accesses");
    }
    accesses[naccesses++] = (Access){ at, regs[REG_ERR] & ERROR_WRITES };
    forbid(false);
    regs[REG_EFL] |= FLAG_TRAP;
}

static void on_step(int number, siginfo_t *info, void *context)
{
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL] &= ~FLAG_TRAP;
    forbid(true);
}

static void catch_accesses(void)
{
    struct sigaction access = { .sa_sigaction = on_access,
                                .sa_flags = SA_SIGINFO };
    struct sigaction step = { .sa_sigaction = on_step,
                              .sa_flags = SA_SIGINFO };

    sigaction(SIGSEGV, &access, NULL);
    sigaction(SIGTRAP, &step, NULL);
}

/* Resets all; from here on nothing is logged. */
static int reset(void *opaque)
{
    int n = 0;

    forbid(false);
    for (int i = 0; i < SIZE; i++) {
        n += ring[i].flags == KVM_DIRTY_GFN_F_RESET;
        ring[i].flags = 0;
    }
    return n;
}

static size_t translate(void *opaque, const uint32_t *slots, uint64_t *pages,
                        size_t n)
{
    return n;
}

static void publish(void *opaque, const uint64_t *pages, size_t n)
{
}

static const DirtyRingOps ops = {
    .reset = reset,
    .translate = translate,
    .publish = publish,
};

/* @step: pages between two neighbours; 1 is dense, so entries are sorted. */
static void push(unsigned step)
{
    for (unsigned i = 0; i < PUSHED; i++) {
        ring[i] = (struct kvm_dirty_gfn){
            .flags = KVM_DIRTY_GFN_F_DIRTY,
            .offset = (PUSHED - i) * step,
        };
    }
}

static bool is_flags(const Access *access)
{
    return access->at % sizeof(*ring) == offsetof(struct kvm_dirty_gfn, flags);
}

/* Each entry: read, marked once, and then left alone. */
static void check_entry(unsigned entry)
{
    unsigned marked = 0, words = 0;

    for (unsigned i = 0; i < naccesses; i++) {
        if (accesses[i].at / sizeof(*ring) != entry) {
            continue;
        }
        g_assert_cmpuint(marked, ==, 0);
        if (!is_flags(&accesses[i])) {
            words += !accesses[i].writes;
        } else if (accesses[i].writes) {
            g_assert_cmpuint(words, >=, 2);
            marked++;
        }
    }
    g_assert_cmpuint(marked, ==, 1);
}

static void check_release(unsigned step)
{
    DirtyRingSet set;

    ring = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    dirty_ring_set_init(&set, SIZE, 1, &ops, NULL);
    dirty_ring_add(&set, 0, ring);
    push(step);
    naccesses = 0;
    catch_accesses();
    forbid(true);
    g_assert_cmpuint(dirty_ring_reap_all(&set), ==, PUSHED);
    for (unsigned i = 0; i < PUSHED; i++) {
        check_entry(i);
    }
    dirty_ring_set_destroy(&set);
    munmap(ring, 4096);
}

static void test_as_it_is(void)
{
    check_release(1000);
}

static void test_sorted(void)
{
    check_release(1);
}

static const NamedTest tests[] = {
    { "as-it-is", test_as_it_is },
    { "sorted", test_sorted },
};

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    named_tests_add("dirty-ring-accesses", tests, G_N_ELEMENTS(tests));
    return g_test_run();
}
