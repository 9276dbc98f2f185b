/*
 * dirty-limit: a machine with a virtual clock, on which limits are compared
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * Each vCPU dirties a page that it has not dirtied before each page_ns, if it is let,
 * and has a clock of its own.  The vCPUs meet at events only: syncs of dirty-limit
 * itself, one each second; of a calc-dirty-rate that is started again and again;
 * kicks; and the reaper's wake-ups.  Between two events the vCPUs are run one after
 * another.
 *
 * The fake kernel keeps rings as KVM does: it refuses an entry beyond the soft limit,
 * and a reset frees the entries that are marked, in order.
 *
 * Nothing is as punctual as asked: a timer fires up to TIMER_LATE_NS late, a sleep
 * lasts up to SLEEP_LATE_NS longer, each by a generator with a fixed seed.
 *
 * LIMIT_OURS runs the code that is shipped.  LIMIT_BASE is a script of what QEMU 10.0
 * does: a vCPU whose ring is full empties it and sleeps; each second the sleep is
 * adjusted if the rate is more than 25 MiB/s away from the limit.
 *
 * Limits: no page is dirtied twice, so a sync costs the guest no fault.
 */
#include "limit-model.h"

#include <glib.h>
#include <string.h>

#include "accel/kvm/core/dirty-ring-core.h"
#include "accel/kvm/core/dirty-ring-reaper.h"
#include "system/core/dirty-limit.h"

#define MAX_VCPUS 8
#define RESERVED 64
#define PAGE_BYTES 4096
#define MIB (1ull << 20)

#define NS_PER_US 1000ull
#define NS_PER_MS 1000000ull
#define NS_PER_S 1000000000ull

#define WARM_NS (3 * NS_PER_S)
#define END_NS (6 * NS_PER_S)
#define SYNC_NS NS_PER_S
#define POLL_NS (370 * NS_PER_MS)
#define KICK_NS (23 * NS_PER_MS)

#define EXIT_NS (10 * NS_PER_US)
#define TIMER_LATE_NS (100 * NS_PER_US)
#define SLEEP_LATE_NS (5 * NS_PER_MS)

#define BASE_TOLERANCE_MIB 25
#define BASE_SLEEP_SHARE_MAX 99     /* per cent of the time */

typedef struct Vcpu {
    DirtyRing *ring;
    struct kvm_dirty_gfn *entries;
    uint64_t pushed, reset;     /* entries */
    uint64_t clock_ns;
    uint64_t burst;             /* pages since the last pause */
    bool kicked;
    uint64_t kicked_ns;
    uint64_t out_ns;            /* left the guest then to sleep; 0: runs */
    uint64_t wakes_ns;          /* asleep until then; 0: awake */
    DirtyLimitAccount account;  /* of OURS */
    uint64_t timer_ns;          /* of OURS: fires then; UINT64_MAX: never */
    uint64_t throttle_ns;       /* of BASE */
    uint64_t sampled;           /* of BASE: pushed at the last sync */
    uint64_t pushed_warm;       /* at WARM_NS */
} Vcpu;

typedef struct Machine {
    const LimitCase *c;
    LimitRule rule;
    DirtyRingSet set;
    DirtyReaper reaper;
    Vcpu vcpus[MAX_VCPUS];
    uint64_t reaper_ns;         /* wakes up then */
    uint64_t random;
    uint64_t largest_rate;      /* of BASE, MiB/s */
    LimitResult result;
} Machine;

static uint64_t late(Machine *m, uint64_t most_ns)
{
    m->random ^= m->random << 13;
    m->random ^= m->random >> 7;
    m->random ^= m->random << 17;
    return m->random % most_ns;
}

/* The fake kernel */

static int kernel_reset(void *opaque)
{
    Machine *m = opaque;
    int done = 0;

    for (unsigned v = 0; v < m->c->nvcpus; v++) {
        Vcpu *vcpu = &m->vcpus[v];

        for (; vcpu->reset < vcpu->pushed; vcpu->reset++, done++) {
            struct kvm_dirty_gfn *entry =
                &vcpu->entries[vcpu->reset & (m->c->ring_size - 1)];

            if (!(entry->flags & KVM_DIRTY_GFN_F_RESET)) {
                break;
            }
            entry->flags = 0;
        }
    }
    return done;
}

static size_t translate(void *opaque, const uint32_t *slots, uint64_t *pages,
                        size_t n)
{
    (void)opaque;
    (void)slots;
    (void)pages;
    return n;
}

static void publish(void *opaque, const uint64_t *pages, size_t n)
{
    (void)opaque;
    (void)pages;
    (void)n;
}

static const DirtyRingOps ops = {
    .reset = kernel_reset,
    .translate = translate,
    .publish = publish,
};

static uint64_t vcpu_room(const Machine *m, const Vcpu *vcpu)
{
    return m->c->ring_size - RESERVED - (vcpu->pushed - vcpu->reset);
}

static void vcpu_push(const Machine *m, Vcpu *vcpu, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++, vcpu->pushed++) {
        vcpu->entries[vcpu->pushed & (m->c->ring_size - 1)] =
            (struct kvm_dirty_gfn){
                .flags = KVM_DIRTY_GFN_F_DIRTY,
                .offset = vcpu->pushed,
            };
    }
}

/* Sleeping */

static void vcpu_sleep(Machine *m, Vcpu *vcpu, uint64_t ns)
{
    m->result.longest_sleep_ns = MAX(m->result.longest_sleep_ns, ns);
    m->result.sleeps++;
    if (!vcpu->out_ns) {
        vcpu->out_ns = vcpu->clock_ns;
    }
    vcpu->wakes_ns = vcpu->clock_ns + ns + late(m, SLEEP_LATE_NS);
}

static void vcpu_enter(Machine *m, Vcpu *vcpu)
{
    if (vcpu->out_ns) {
        m->result.longest_rest_ns = MAX(m->result.longest_rest_ns,
                                        vcpu->clock_ns - vcpu->out_ns);
        vcpu->out_ns = 0;
    }
}

/* What a vCPU does before it enters the guest. */
static void ours_pay(Machine *m, Vcpu *vcpu)
{
    uint64_t limit = m->c->mib_per_s * MIB;
    uint64_t sleep_ns;

    if (!dirty_limit_due(&vcpu->account, limit, vcpu->clock_ns)) {
        vcpu_enter(m, vcpu);
        return;
    }
    m->result.charges++;
    sleep_ns = dirty_limit_charge(&vcpu->account, limit,
                                  dirty_ring_look(vcpu->ring), PAGE_BYTES,
                                  vcpu->clock_ns);
    if (sleep_ns) {
        vcpu_sleep(m, vcpu, sleep_ns);
    } else {
        vcpu_enter(m, vcpu);
        vcpu->timer_ns = vcpu->account.slice_end_ns + late(m, TIMER_LATE_NS);
    }
}

/* The rule of QEMU 10.0 */

static void base_full(Machine *m, Vcpu *vcpu)
{
    dirty_ring_reap(vcpu->ring);
    if (vcpu->throttle_ns) {
        vcpu_sleep(m, vcpu, vcpu->throttle_ns);
    }
}

/* Moves the sleep per full ring by what the last second's rate is off. */
static void base_adjust(Machine *m, Vcpu *vcpu)
{
    double rate = (vcpu->pushed - vcpu->sampled) * PAGE_BYTES / MIB;
    double limit = m->c->mib_per_s, full_ns, more;

    vcpu->sampled = vcpu->pushed;
    if (rate == 0) {
        vcpu->throttle_ns = 0;
    }
    if (rate == 0 || ABS(rate - limit) <= BASE_TOLERANCE_MIB) {
        return;
    }
    m->largest_rate = MAX(m->largest_rate, rate);
    full_ns = (double)(m->c->ring_size * PAGE_BYTES / MIB) * NS_PER_S /
              m->largest_rate;
    more = MIN(rate, limit) * 2 < MAX(rate, limit)
           ? full_ns * (MAX(rate, limit) / MIN(rate, limit) - 1)
           : full_ns / 10;
    more = rate > limit ? vcpu->throttle_ns + more : vcpu->throttle_ns - more;
    vcpu->throttle_ns = CLAMP(more, 0, full_ns * BASE_SLEEP_SHARE_MAX);
}

/* The vCPUs */

static void vcpu_full(Machine *m, Vcpu *vcpu)
{
    vcpu->clock_ns += EXIT_NS;
    if (m->rule == LIMIT_BASE) {
        base_full(m, vcpu);
    } else {
        dirty_ring_full(vcpu->ring);
        dirty_limit_set_due(&vcpu->account);
        m->reaper_ns = MIN(m->reaper_ns, vcpu->clock_ns + NS_PER_MS);
        ours_pay(m, vcpu);
    }
}

static void vcpu_out(Machine *m, Vcpu *vcpu)
{
    vcpu->clock_ns += EXIT_NS;
    if (vcpu->kicked) {
        vcpu->kicked = false;
        m->result.longest_kick_ns = MAX(m->result.longest_kick_ns,
                                        vcpu->clock_ns - vcpu->kicked_ns);
    }
    if (m->rule == LIMIT_OURS) {
        ours_pay(m, vcpu);
    }
}

/* The vCPU dirties pages until @until_ns, at most. */
static void vcpu_write(Machine *m, Vcpu *vcpu, uint64_t until_ns)
{
    uint64_t room = vcpu_room(m, vcpu);
    uint64_t n = (until_ns - vcpu->clock_ns) / m->c->page_ns;

    if (m->c->idle_ns) {
        n = MIN(n, BURST_PAGES - vcpu->burst);
    }
    if (n && !room) {
        vcpu_full(m, vcpu);
        return;
    }
    n = MIN(n, room);
    vcpu_push(m, vcpu, n);
    vcpu->burst += n;
    /* The rest of the time is too short for a page: it is lost. */
    vcpu->clock_ns = n ? vcpu->clock_ns + n * m->c->page_ns : until_ns;
    if (m->c->idle_ns && vcpu->burst == BURST_PAGES) {
        vcpu->burst = 0;
        vcpu->clock_ns += m->c->idle_ns;
    }
}

static void vcpu_step(Machine *m, Vcpu *vcpu, uint64_t until_ns)
{
    if (vcpu->wakes_ns) {
        /* QEMU 10.0 does not wake up for a kick. */
        bool kicked = vcpu->kicked && m->rule == LIMIT_OURS;

        if (!kicked && vcpu->wakes_ns > until_ns) {
            vcpu->clock_ns = until_ns;
            return;
        }
        if (!kicked) {
            vcpu->clock_ns = MAX(vcpu->clock_ns, vcpu->wakes_ns);
        }
        vcpu->wakes_ns = 0;
        vcpu_out(m, vcpu);
        if (!vcpu->wakes_ns) {
            vcpu_enter(m, vcpu);
        }
    } else if (vcpu->kicked) {
        vcpu_out(m, vcpu);
    } else if (vcpu->clock_ns >= vcpu->timer_ns) {
        vcpu->timer_ns = UINT64_MAX;
        vcpu_out(m, vcpu);
    } else {
        vcpu_write(m, vcpu, MIN(until_ns, vcpu->timer_ns));
    }
}

/* Events */

static void kick_all(Machine *m, uint64_t now_ns)
{
    for (unsigned v = 0; v < m->c->nvcpus; v++) {
        m->vcpus[v].kicked = true;
        m->vcpus[v].kicked_ns = MAX(now_ns, m->vcpus[v].clock_ns);
    }
}

static void sync_all(Machine *m, uint64_t now_ns)
{
    kick_all(m, now_ns);
    dirty_ring_reap_all(&m->set);
    dirty_ring_wait_published(&m->set);
}

/* What happens at @now_ns; returns when something happens next. */
static uint64_t events(Machine *m, uint64_t now_ns)
{
    uint64_t next_ns = MIN(now_ns - now_ns % SYNC_NS + SYNC_NS, END_NS);

    if (now_ns && now_ns % SYNC_NS == 0) {
        sync_all(m, now_ns);
        for (unsigned v = 0; v < m->c->nvcpus; v++) {
            base_adjust(m, &m->vcpus[v]);
        }
    }
    if (m->c->polled) {
        if (now_ns % POLL_NS == 0) {
            sync_all(m, now_ns);
        }
        if (now_ns % KICK_NS == 0) {
            kick_all(m, now_ns);
        }
        next_ns = MIN(next_ns, now_ns - now_ns % POLL_NS + POLL_NS);
        next_ns = MIN(next_ns, now_ns - now_ns % KICK_NS + KICK_NS);
    }
    if (now_ns >= m->reaper_ns) {
        m->reaper_ns = now_ns + dirty_reaper_step(&m->reaper, now_ns);
    }
    return MIN(next_ns, m->reaper_ns);
}

static void note_warm(Machine *m)
{
    for (unsigned v = 0; v < m->c->nvcpus; v++) {
        m->vcpus[v].pushed_warm = m->vcpus[v].pushed;
    }
    m->result.sleeps = m->result.charges = 0;
    m->result.longest_sleep_ns = m->result.longest_rest_ns = 0;
}

/* The run */

static void machine_init(Machine *m)
{
    dirty_ring_set_init(&m->set, m->c->ring_size, RESERVED, &ops, m);
    dirty_reaper_init(&m->reaper, &m->set);
    g_assert_cmpuint(m->c->nvcpus, <=, MAX_VCPUS);
    for (unsigned v = 0; v < m->c->nvcpus; v++) {
        Vcpu *vcpu = &m->vcpus[v];

        vcpu->entries = g_new0(struct kvm_dirty_gfn, m->c->ring_size);
        vcpu->ring = dirty_ring_add(&m->set, v, vcpu->entries);
        vcpu->timer_ns = UINT64_MAX;
        /* The limit is set while the guest runs: QEMU kicks each vCPU. */
        vcpu->kicked = true;
    }
    /* The reaper of QEMU 10.0 does nothing under a limit. */
    m->reaper_ns = m->rule == LIMIT_OURS ? NS_PER_MS : UINT64_MAX;
}

static void machine_destroy(Machine *m)
{
    dirty_reaper_destroy(&m->reaper);
    dirty_ring_set_destroy(&m->set);
    for (unsigned v = 0; v < m->c->nvcpus; v++) {
        g_free(m->vcpus[v].entries);
    }
}

static void machine_judge(Machine *m)
{
    LimitResult *r = &m->result;
    uint64_t vcpu_seconds = m->c->nvcpus * (END_NS - WARM_NS) / NS_PER_S;

    r->slowest = G_MAXDOUBLE;
    for (unsigned v = 0; v < m->c->nvcpus; v++) {
        const Vcpu *vcpu = &m->vcpus[v];
        double rate = (double)(vcpu->pushed - vcpu->pushed_warm) * PAGE_BYTES *
                      NS_PER_S / (END_NS - WARM_NS) / MIB / m->c->mib_per_s;

        r->slowest = MIN(r->slowest, rate);
        r->fastest = MAX(r->fastest, rate);
    }
    r->sleeps /= vcpu_seconds;
    r->charges /= vcpu_seconds;
}

LimitResult limit_run(LimitRule rule, const LimitCase *c)
{
    Machine m = { .c = c, .rule = rule, .random = 0x9e3779b97f4a7c15ull };
    uint64_t now_ns = 0, next_ns;

    machine_init(&m);
    while (now_ns < END_NS) {
        if (now_ns == WARM_NS) {
            note_warm(&m);
        }
        next_ns = events(&m, now_ns);
        for (unsigned v = 0; v < c->nvcpus; v++) {
            while (m.vcpus[v].clock_ns < next_ns) {
                vcpu_step(&m, &m.vcpus[v], next_ns);
            }
        }
        /* A full ring may have called the reaper. */
        now_ns = next_ns;
    }
    machine_judge(&m);
    machine_destroy(&m);
    return m.result;
}
