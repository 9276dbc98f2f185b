/*
 * KVM dirty ring: vCPUs that sleep for what they have dirtied
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * Under dirty-limit a vCPU's thread is charged before it enters the guest
 * (system/core/dirty-limit.c): it looks at its own ring and sleeps until it has paid,
 * or runs for a slice.  At the slice's end a timer of its own sends it SIG_IPI, the
 * signal of a kick, so that it leaves the guest and is charged again.  A full ring
 * ends a slice, too.
 *
 *   dirty_limit_set_vcpu()   any thread, BQL: stores the limit, kicks the vCPU
 *   kvm_dirty_ring_vcpu_pay() vCPU's thread, no BQL: charges, sleeps, sets the timer
 *
 * A kick ends a sleep: SIG_IPI is blocked but for the wait itself, and its handler
 * sets kvm_run->immediate_exit.  The vCPU then leaves KVM_RUN at once, serves what it
 * was kicked for, and sleeps the rest before it enters the guest.  So neither a sync nor
 * a stop waits for a sleep.
 *
 * Limits: a process with no room for a timer (RLIMIT_SIGPENDING) charges a vCPU only
 * when it leaves the guest anyway.
 */
#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "qemu/timer.h"
#include "qemu/units.h"
#include "hw/core/cpu.h"
#include "system/dirty-limit.h"
#include "system/kvm.h"
#include "system/kvm_int.h"
#include "system/core/dirty-limit.h"
#include "trace/trace-system.h"
#include "dirty-ring.h"
#include "dirty-ring-state.h"

#include <poll.h>
#include <signal.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

/* All but the first are for the vCPU's thread only. */
typedef struct VcpuLimit {
    uint32_t mib_per_s;         /* atomic; 0: none */
    DirtyLimitAccount account;
    timer_t timer;
    bool has_timer;
    bool no_timer;              /* there was no room for one */
} VcpuLimit;

static VcpuLimit *vcpu_limits;  /* by cpu_index; constant */

void kvm_dirty_ring_limit_setup(int nr_vcpus)
{
    vcpu_limits = g_new0(VcpuLimit, nr_vcpus);
}

void dirty_limit_set_vcpu(int cpu_index, uint64_t mib_per_s)
{
    CPUState *cpu = qemu_get_cpu(cpu_index);

    assert(bql_locked());
    qatomic_set(&vcpu_limits[cpu_index].mib_per_s, MIN(mib_per_s, UINT32_MAX));
    if (cpu && cpu->created) {
        qemu_cpu_kick(cpu);
    }
}

/* Sleeps for @ns.  Returns false if a kick ends the sleep, or has come before. */
static bool vcpu_sleep(CPUState *cpu, uint64_t ns)
{
    struct timespec timeout = {
        .tv_sec = ns / NANOSECONDS_PER_SECOND,
        .tv_nsec = ns % NANOSECONDS_PER_SECOND,
    };
    bool slept = false;
    sigset_t ipi, old;

    trace_dirtylimit_vcpu_execute(cpu->cpu_index, ns / SCALE_US);
    sigemptyset(&ipi);
    sigaddset(&ipi, SIG_IPI);
    pthread_sigmask(SIG_BLOCK, &ipi, &old);
    if (!qatomic_read(&cpu->exit_request) &&
        !qatomic_read(&cpu->kvm_run->immediate_exit)) {
        slept = ppoll(NULL, 0, &timeout, &old) == 0;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return slept;
}

static bool timer_make(VcpuLimit *limit)
{
    struct sigevent event = {
        .sigev_notify = SIGEV_THREAD_ID,
        .sigev_signo = SIG_IPI,
    };

    if (limit->has_timer || limit->no_timer) {
        return limit->has_timer;
    }
    event.sigev_notify_thread_id = qemu_get_thread_id();
    limit->has_timer = timer_create(CLOCK_MONOTONIC, &event, &limit->timer) == 0;
    limit->no_timer = !limit->has_timer;
    if (limit->no_timer) {
        warn_report_once("KVM dirty ring: no timer for a vCPU under a dirty "
                         "limit: %s; the limit will not be exact (ulimit -i)",
                         strerror(errno));
    }
    return limit->has_timer;
}

/* Kicks the calling vCPU at @at_ns. */
static void timer_set(VcpuLimit *limit, uint64_t at_ns)
{
    struct itimerspec when = {
        .it_value.tv_sec = at_ns / NANOSECONDS_PER_SECOND,
        .it_value.tv_nsec = at_ns % NANOSECONDS_PER_SECOND,
    };

    if (timer_make(limit)) {
        timer_settime(limit->timer, TIMER_ABSTIME, &when, NULL);
    }
}

static uint64_t limit_bytes(const VcpuLimit *limit)
{
    return (uint64_t)qatomic_read(&limit->mib_per_s) * MiB;
}

static uint64_t vcpu_charge(CPUState *cpu, VcpuLimit *limit, uint64_t bytes,
                            uint64_t now_ns)
{
    uint64_t pages = dirty_ring_look(kvm_dirty_rings.vcpus[cpu->cpu_index]);
    uint64_t sleep_ns = dirty_limit_charge(&limit->account, bytes, pages,
                                           qemu_real_host_page_size(), now_ns);

    /* For query-migrate. */
    cpu->throttle_us_per_full = dirty_limit_slept_us(&limit->account,
                                                     kvm_dirty_ring_size());
    return sleep_ns;
}

void kvm_dirty_ring_vcpu_pay(CPUState *cpu)
{
    VcpuLimit *limit = kvm_dirty_ring_enabled()
                       ? &vcpu_limits[cpu->cpu_index] : NULL;
    uint64_t bytes, now_ns, sleep_ns;

    if (!limit || (!limit_bytes(limit) && !limit->account.limit)) {
        return;
    }
    do {
        bytes = limit_bytes(limit);
        now_ns = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);
        if (!dirty_limit_due(&limit->account, bytes, now_ns)) {
            return;
        }
        sleep_ns = vcpu_charge(cpu, limit, bytes, now_ns);
    } while (sleep_ns && vcpu_sleep(cpu, sleep_ns));
    if (bytes && !sleep_ns) {
        timer_set(limit, limit->account.slice_end_ns);
    }
}

void kvm_dirty_ring_limit_full(CPUState *cpu)
{
    dirty_limit_set_due(&vcpu_limits[cpu->cpu_index].account);
}

void kvm_dirty_ring_limit_vcpu_gone(CPUState *cpu)
{
    VcpuLimit *limit = &vcpu_limits[cpu->cpu_index];

    if (limit->has_timer) {
        timer_delete(limit->timer);
    }
    limit->has_timer = limit->no_timer = false;
    limit->account = (DirtyLimitAccount){};
}
