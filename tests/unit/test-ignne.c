/*
 * IGNNE#: no thread but its CPU's own ever writes that CPU's flags
 *
 * `hammer` is the fault that the emulated machine had: the owner changes its SVM flags as fast as it
 * can, another thread drives the pin, and each of the owner's changes must still be there when it
 * looks again.
 *
 * Limits: `hammer` finds a write by the wrong thread by luck, in practice within milliseconds where
 * two threads can run at once; on one CPU it takes a preemption at the right place and may miss it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <glib.h>

#include "target/i386/tcg/system/ignne.h"

#define ROUNDS 3000000
#define QUEUE 64

typedef struct Work {
    run_on_cpu_func func;
    run_on_cpu_data data;
} Work;

static CPUState first;
static __thread bool is_owner;

/* protected by queue_lock */
static GMutex queue_lock;
static Work queue[QUEUE];
static unsigned queued;

bool qemu_cpu_is_self(CPUState *cpu)
{
    return cpu == &first && is_owner;
}

void async_run_on_cpu(CPUState *cpu, run_on_cpu_func func, run_on_cpu_data data)
{
    g_assert_true(cpu == &first);
    g_mutex_lock(&queue_lock);
    if (queued < QUEUE) {
        queue[queued++] = (Work){func, data};
    }
    g_mutex_unlock(&queue_lock);
}

static unsigned run_queue(void)
{
    unsigned n;

    g_mutex_lock(&queue_lock);
    n = queued;
    for (unsigned i = 0; i < n; i++) {
        queue[i].func(&first, queue[i].data);
    }
    queued = 0;
    g_mutex_unlock(&queue_lock);
    return n;
}

static void test_owner(void)
{
    is_owner = true;
    first.env.hflags2 = HF2_GIF_MASK;
    ignne_drive(&first.env, true);
    g_assert_cmphex(first.env.hflags2, ==, HF2_GIF_MASK | HF2_IGNNE_MASK);
    ignne_drive(&first.env, false);
    g_assert_cmphex(first.env.hflags2, ==, HF2_GIF_MASK);
    g_assert_cmpuint(run_queue(), ==, 0);
}

static void test_other(void)
{
    is_owner = false;
    first.env.hflags2 = HF2_NPT_MASK;
    ignne_drive(&first.env, true);
    g_assert_cmphex(first.env.hflags2, ==, HF2_NPT_MASK);
    g_assert_cmpuint(run_queue(), ==, 1);
    g_assert_cmphex(first.env.hflags2, ==, HF2_NPT_MASK | HF2_IGNNE_MASK);

    ignne_drive(&first.env, false);
    g_assert_cmphex(first.env.hflags2, ==, HF2_NPT_MASK | HF2_IGNNE_MASK);
    g_assert_cmpuint(run_queue(), ==, 1);
    g_assert_cmphex(first.env.hflags2, ==, HF2_NPT_MASK);

    /* what every FXRSTOR without an x87 error does: nothing to undo, no vCPU is interrupted */
    ignne_drive(&first.env, false);
    g_assert_cmpuint(run_queue(), ==, 0);
}

static int stop;

static gpointer fxrstor_for_ever(gpointer unused)
{
    is_owner = false;
    while (!g_atomic_int_get(&stop)) {
        ignne_drive(&first.env, false);
    }
    return unused;
}

static void test_hammer(void)
{
    GThread *other;
    unsigned lost = 0;

    first.env.hflags2 = 0;
    stop = 0;
    other = g_thread_new("other", fxrstor_for_ever, NULL);
    is_owner = true;
    for (unsigned i = 0; i < ROUNDS; i++) {
        uint32_t want = i & 1 ? HF2_GIF_MASK : HF2_NPT_MASK;

        first.env.hflags2 = want;
        for (unsigned look = 0; look < 4; look++) {
            lost += first.env.hflags2 != want;
        }
    }
    g_atomic_int_set(&stop, 1);
    g_thread_join(other);
    g_assert_cmpuint(lost, ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/ignne/owner", test_owner);
    g_test_add_func("/ignne/other", test_other);
    g_test_add_func("/ignne/hammer", test_hammer);
    return g_test_run();
}
