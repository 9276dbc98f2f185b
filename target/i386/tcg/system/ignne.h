/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * IGNNE#, changed only by the thread of the CPU that has the pin.
 *
 * The chipset's IGNNE# (AT-compatible reporting of x87 errors) is a bit in
 * hflags2 of the first CPU, next to GIF, nested paging and the other state of
 * SVM, which that CPU's own thread changes all the time, without a lock and
 * without atomics.  So no other thread may write that word: a plain
 * read-modify-write there undoes a change that the owner makes between the
 * read and the write.
 *
 *   owner's thread         the bit is changed at once
 *   any other thread       work is queued to the owner, before its next block
 *
 * Threads: any; no lock is needed, and the BQL may be held.  Errors: none.
 *
 * Sets and clears from different CPUs happen in the order in which they were
 * queued.  A clear that finds the pin deasserted returns at once; nearly all
 * do, since every FXRSTOR and XRSTOR without a pending x87 error is one.
 *
 * Limits: a clear that comes before a set still queued by the same CPU does
 * nothing, and the pin stays asserted until the next one.  An x87 error that
 * the first CPU reports while a set is queued raises FERR# once more; on
 * hardware, too, the OUT to port F0h races with it when another CPU does it.
 */
#ifndef TARGET_I386_TCG_IGNNE_H
#define TARGET_I386_TCG_IGNNE_H

#include "hw/core/cpu.h"
#include "cpu.h"

static void ignne_apply(CPUState *owner, run_on_cpu_data asserted)
{
    CPUX86State *env = cpu_env(owner);

    if (asserted.host_int) {
        env->hflags2 |= HF2_IGNNE_MASK;
    } else {
        env->hflags2 &= ~HF2_IGNNE_MASK;
    }
}

/**
 * ignne_drive: assert or deassert the first CPU's IGNNE#
 * @env:      the first CPU's state
 * @asserted: the new state of the pin
 */
static inline void ignne_drive(CPUX86State *env, bool asserted)
{
    CPUState *owner = env_cpu(env);

    if (qemu_cpu_is_self(owner)) {
        ignne_apply(owner, RUN_ON_CPU_HOST_INT(asserted));
    } else if (asserted || (qatomic_read(&env->hflags2) & HF2_IGNNE_MASK)) {
        async_run_on_cpu(owner, ignne_apply, RUN_ON_CPU_HOST_INT(asserted));
    }
}

#endif
