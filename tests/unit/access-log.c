/*
 * A log of the accesses that a thread makes to some pages of memory, in their order
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * The memory may not be accessed, so each access is a SIGSEGV that tells its address and
 * whether it writes.  The handler lets it pass, in a single step; SIGTRAP comes
 * after it and forbids the next.
 *
 * Limits: x86-64; one memory at a time; an instruction that accesses two addresses
 * counts as one access; neither ThreadSanitizer nor AddressSanitizer.
 */
#define _GNU_SOURCE
#include "access-log.h"

#include <glib.h>
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>

/* Bits of the page fault's error code and of the flags register. */
#define ERROR_WRITES 2
#define FLAG_TRAP 0x100

/* Used by signal handlers. */
Access access_log[ACCESS_LOG_ROOM];
volatile unsigned access_log_n;
static char *memory;
static size_t memory_size;

static void forbid(bool forbidden)
{
    mprotect(memory, memory_size,
             forbidden ? PROT_NONE : PROT_READ | PROT_WRITE);
}

static void on_access(int number, siginfo_t *info, void *context)
{
    greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
    size_t at = (char *)info->si_addr - memory;

    if (at >= memory_size || access_log_n == ACCESS_LOG_ROOM) {
        g_error("another fault, or too many accesses");
    }
    access_log[access_log_n++] = (Access){ at, regs[REG_ERR] & ERROR_WRITES };
    forbid(false);
    regs[REG_EFL] |= FLAG_TRAP;
}

static void on_step(int number, siginfo_t *info, void *context)
{
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL] &= ~FLAG_TRAP;
    forbid(true);
}

void *access_log_map(size_t size)
{
    memory_size = size;
    memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    g_assert_true(memory != MAP_FAILED);
    return memory;
}

void access_log_unmap(void)
{
    munmap(memory, memory_size);
    memory = NULL;
}

void access_log_start(void)
{
    struct sigaction access = { .sa_sigaction = on_access,
                                .sa_flags = SA_SIGINFO };
    struct sigaction step = { .sa_sigaction = on_step,
                              .sa_flags = SA_SIGINFO };

    sigaction(SIGSEGV, &access, NULL);
    sigaction(SIGTRAP, &step, NULL);
    access_log_n = 0;
    forbid(true);
}

void access_log_stop(void)
{
    forbid(false);
}
