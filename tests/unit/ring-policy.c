/*
 * Dirty ring: a machine with a virtual clock, on which policies are compared
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * Each vCPU has a clock of its own.  The vCPU whose clock is behind all others
 * makes the next write, and its clock moves on by what that write costs: a write
 * to a page that is writable costs WRITE_NS, a fault FAULT_NS more, a full ring
 * EXIT_NS and the time of the resets that the vCPU's thread makes.  The reaper and
 * the syncs have deadlines on the same clock; their work costs the vCPUs nothing
 * but a TLB flush, since they run on other CPUs, and the faults that follow.
 *
 * The fake kernel protects a page when it resets its entry, and refuses a write
 * that needs an entry while a ring is at its soft limit, as KVM does.
 *
 * The policies of others are scripts of what they do at ring-full, when their
 * reaper wakes up, and at a sync.  OURS is no script: it runs the code that is
 * shipped.
 *
 * Limits: no memory is copied, no write is lost or kept: test-dirty-ring-model.c
 * is about that.  The costs are those of a nested guest, rounded.
 */
#include "ring-policy.h"

#include <glib.h>
#include <string.h>

#include "accel/kvm/core/dirty-ring-core.h"
#include "accel/kvm/core/dirty-ring-reaper.h"
#include "ring-stats.h"

#define MAX_VCPUS 4
#define RESERVED 64

#define NS_PER_MS 1000000ull
#define NS_PER_S 1000000000ull
#define DURATION_NS (1 * NS_PER_S)
#define SYNC_NS (250 * NS_PER_MS)
#define STOCK_PAUSE_NS (1 * NS_PER_S)

#define WRITE_NS 2500
#define FAULT_NS 2500
#define EXIT_NS 10000
#define RESET_CALL_NS 5000
#define RESET_ENTRY_NS 250
#define FLUSH_NS 2000

typedef struct Vcpu {
    uint64_t clock_ns;
    uint64_t random;
    uint64_t next;                  /* page of a cyclic or sequential load */
    struct kvm_dirty_gfn *entries;  /* NULL: bitmap */
    uint64_t pushed;
    uint64_t released;              /* by the scripts */
    uint64_t reset;
} Vcpu;

typedef struct Machine {
    const PolicyCase *c;
    PolicyKind kind;
    Vcpu vcpus[MAX_VCPUS];
    uint64_t npages;
    uint8_t *writable;              /* by page */
    uint8_t *dirty;                 /* by page: published, not yet synced */
    double *zipf;                   /* cumulated weights of the hot pages */
    uint64_t reaper_at_ns;
    uint64_t pause_ns;              /* of HALF_FULL */
    uint64_t pushed_then;           /* by the fastest ring of HALF_FULL */
    uint64_t charged_ns;            /* cost of resets since it was taken */
    DirtyRingSet set;               /* of OURS */
    DirtyReaper reaper;             /* of OURS */
    DirtyRing *rings[MAX_VCPUS];    /* of OURS */
    PolicyResult result;
} Machine;

const char *policy_kind_name(PolicyKind kind)
{
    static const char *const names[] = {
        "bitmap", "stock ring", "half full", "ours",
    };

    return names[kind];
}

const char *policy_load_name(PolicyLoad load)
{
    static const char *const names[] = {
        "uniform", "zipf", "cyclic", "sequential",
    };

    return names[load];
}

/* The fake kernel */

static uint64_t vcpu_first_page(const Machine *m, unsigned v)
{
    return v * (m->npages / m->c->nvcpus);
}

/* KVM_RESET_DIRTY_RINGS. */
static int kernel_reset(void *opaque)
{
    Machine *m = opaque;
    int done = 0;

    for (unsigned v = 0; v < m->c->nvcpus; v++) {
        Vcpu *vcpu = &m->vcpus[v];

        while (vcpu->reset < vcpu->pushed) {
            struct kvm_dirty_gfn *entry =
                &vcpu->entries[vcpu->reset & (m->c->ring_size - 1)];

            if (!(entry->flags & KVM_DIRTY_GFN_F_RESET)) {
                break;
            }
            entry->flags = 0;
            m->writable[entry->offset] = 0;
            vcpu->reset++;
            done++;
        }
    }
    m->charged_ns += RESET_CALL_NS + (uint64_t)done * RESET_ENTRY_NS;
    for (unsigned v = 0; done && v < m->c->nvcpus; v++) {
        m->vcpus[v].clock_ns += FLUSH_NS;
    }
    m->result.resets += done > 0;
    return done;
}

static void publish_one(Machine *m, uint64_t page)
{
    m->result.redirtied += m->dirty[page];
    m->result.published++;
    m->dirty[page] = 1;
}

static bool vcpu_has_room(const Machine *m, const Vcpu *vcpu)
{
    return vcpu->pushed - vcpu->reset < m->c->ring_size - RESERVED;
}

/* Makes @page writable and logs it. */
static void vcpu_fault(Machine *m, Vcpu *vcpu, uint64_t page)
{
    m->writable[page] = 1;
    m->result.faults++;
    vcpu->clock_ns += FAULT_NS;
    if (m->kind != POLICY_BITMAP) {
        struct kvm_dirty_gfn *entry =
            &vcpu->entries[vcpu->pushed++ & (m->c->ring_size - 1)];

        *entry = (struct kvm_dirty_gfn){
            .flags = KVM_DIRTY_GFN_F_DIRTY,
            .offset = page,
        };
    }
}

/* Scripts of other policies */

/* Releases all entries of @vcpu's ring and publishes them. */
static void script_take(Machine *m, Vcpu *vcpu)
{
    for (; vcpu->released < vcpu->pushed; vcpu->released++) {
        struct kvm_dirty_gfn *entry =
            &vcpu->entries[vcpu->released & (m->c->ring_size - 1)];

        entry->flags = KVM_DIRTY_GFN_F_RESET;
        publish_one(m, entry->offset);
    }
}

static void script_take_all(Machine *m)
{
    for (unsigned v = 0; v < m->c->nvcpus; v++) {
        script_take(m, &m->vcpus[v]);
    }
    kernel_reset(m);
}

static uint64_t most_pushed(const Machine *m)
{
    uint64_t most = 0;

    for (unsigned v = 0; v < m->c->nvcpus; v++) {
        most = MAX(most, m->vcpus[v].pushed);
    }
    return most;
}

/* Empties all rings when the fastest ought to be half full. */
static void script_half_full(Machine *m)
{
    uint64_t pushed = most_pushed(m);
    uint64_t uptake = pushed - m->pushed_then;
    uint64_t longest = MIN(2 * m->pause_ns, NS_PER_S);
    uint64_t half = uptake ? m->pause_ns * (m->c->ring_size / 2) / uptake
                           : longest;

    m->pushed_then = pushed;
    m->pause_ns = CLAMP(half, NS_PER_MS, MAX(longest, NS_PER_MS));
    script_take_all(m);
}

/* Ours */

static size_t ours_translate(void *opaque, const uint32_t *slots,
                             uint64_t *pages, size_t n)
{
    (void)opaque;
    (void)slots;
    (void)pages;
    return n;
}

static void ours_publish(void *opaque, const uint64_t *pages, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        publish_one(opaque, pages[i]);
    }
}

static const DirtyRingOps ours_ops = {
    .reset = kernel_reset,
    .translate = ours_translate,
    .publish = ours_publish,
};

static void ours_init(Machine *m)
{
    dirty_ring_set_init(&m->set, m->c->ring_size, RESERVED, &ours_ops, m);
    dirty_reaper_init(&m->reaper, &m->set);
    for (unsigned v = 0; v < m->c->nvcpus; v++) {
        m->rings[v] = dirty_ring_add(&m->set, v, m->vcpus[v].entries);
    }
}

static void ours_destroy(Machine *m)
{
    dirty_reaper_destroy(&m->reaper);
    ring_stats_check(&m->set);
    dirty_ring_set_destroy(&m->set);
}

/* What happens on the virtual clock */

static void full_exit(Machine *m, unsigned v)
{
    Vcpu *vcpu = &m->vcpus[v];
    uint64_t stall;

    m->result.full_exits++;
    m->charged_ns = 0;
    if (m->kind == POLICY_STOCK) {
        script_take_all(m);
    } else if (m->kind == POLICY_HALF_FULL) {
        script_take(m, vcpu);
        kernel_reset(m);
    } else {
        dirty_ring_full(m->rings[v]);
        /* dirty_reaper_hurry() */
        if (!m->reaper.leaves) {
            m->reaper_at_ns = MIN(m->reaper_at_ns, vcpu->clock_ns + NS_PER_MS);
        }
    }
    stall = EXIT_NS + m->charged_ns;
    vcpu->clock_ns += stall;
    m->result.stall_max_ns = MAX(m->result.stall_max_ns, stall);
}

static void reaper_wakes(Machine *m)
{
    if (m->kind == POLICY_STOCK) {
        script_take_all(m);
        m->pause_ns = STOCK_PAUSE_NS;
    } else if (m->kind == POLICY_HALF_FULL) {
        script_half_full(m);
    } else {
        m->pause_ns = dirty_reaper_step(&m->reaper, m->reaper_at_ns);
    }
    m->reaper_at_ns += m->pause_ns;
    m->result.wakeups++;
}

/* A sync publishes everything; then migration takes what is dirty. */
static void sync_all(Machine *m)
{
    switch (m->kind) {
    case POLICY_BITMAP:
        memset(m->writable, 0, m->npages);
        break;
    case POLICY_OURS:
        dirty_ring_reap_all(&m->set);
        dirty_ring_wait_published(&m->set);
        break;
    default:
        script_take_all(m);
        break;
    }
    memset(m->dirty, 0, m->npages);
}

/* The load */

static uint64_t random_next(Vcpu *vcpu)
{
    vcpu->random ^= vcpu->random << 13;
    vcpu->random ^= vcpu->random >> 7;
    vcpu->random ^= vcpu->random << 17;
    return vcpu->random;
}

static uint64_t zipf_page(const Machine *m, Vcpu *vcpu)
{
    uint64_t low = 0, high = m->c->hot_pages - 1;
    double at = (random_next(vcpu) >> 11) * 0x1p-53 * m->zipf[high];

    while (low < high) {
        uint64_t middle = (low + high) / 2;

        if (m->zipf[middle] < at) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    /* Weights have nothing to do with where a page is. */
    return low * 2654435761u % m->c->hot_pages;
}

static uint64_t vcpu_next_page(Machine *m, unsigned v)
{
    Vcpu *vcpu = &m->vcpus[v];
    uint64_t all = m->npages / m->c->nvcpus;
    uint64_t page;

    switch (m->c->load) {
    case LOAD_UNIFORM:
        page = random_next(vcpu) % m->c->hot_pages;
        break;
    case LOAD_ZIPF:
        page = zipf_page(m, vcpu);
        break;
    case LOAD_CYCLIC:
        page = vcpu->next++ % m->c->hot_pages;
        break;
    default:
        page = vcpu->next++ % all;
        break;
    }
    return vcpu_first_page(m, v) + page;
}

static void vcpu_write(Machine *m, unsigned v)
{
    Vcpu *vcpu = &m->vcpus[v];
    uint64_t page = vcpu_next_page(m, v);

    if (!m->writable[page]) {
        if (m->kind != POLICY_BITMAP) {
            while (!vcpu_has_room(m, vcpu)) {
                full_exit(m, v);
            }
        }
        vcpu_fault(m, vcpu, page);
    }
    vcpu->clock_ns += WRITE_NS;
    m->result.writes++;
}

/* The run */

static unsigned hindmost(const Machine *m)
{
    unsigned first = 0;

    for (unsigned v = 1; v < m->c->nvcpus; v++) {
        if (m->vcpus[v].clock_ns < m->vcpus[first].clock_ns) {
            first = v;
        }
    }
    return first;
}

static void machine_init(Machine *m)
{
    const PolicyCase *c = m->c;
    /* A sequential load does not come round: WRITE_NS bounds how far it gets. */
    uint64_t each = c->load == LOAD_SEQUENTIAL
                    ? DURATION_NS / (WRITE_NS + FAULT_NS) + 1 : c->hot_pages;
    double sum = 0;

    g_assert_cmpuint(c->nvcpus, <=, MAX_VCPUS);
    m->npages = each * c->nvcpus;
    m->writable = g_new0(uint8_t, m->npages);
    m->dirty = g_new0(uint8_t, m->npages);
    m->zipf = g_new(double, c->hot_pages);
    for (uint64_t page = 0; page < c->hot_pages; page++) {
        sum += 1.0 / (page + 1);
        m->zipf[page] = sum;
    }
    for (unsigned v = 0; v < c->nvcpus; v++) {
        m->vcpus[v].random = 0x9e3779b97f4a7c15ull * (v + 1);
        m->vcpus[v].entries = g_new0(struct kvm_dirty_gfn, c->ring_size);
    }
    m->pause_ns = NS_PER_MS;
    m->reaper_at_ns = m->kind == POLICY_BITMAP ? UINT64_MAX : NS_PER_MS;
}

static void machine_destroy(Machine *m)
{
    for (unsigned v = 0; v < m->c->nvcpus; v++) {
        g_free(m->vcpus[v].entries);
    }
    g_free(m->zipf);
    g_free(m->dirty);
    g_free(m->writable);
}

PolicyResult policy_run(PolicyKind kind, const PolicyCase *c)
{
    Machine m = { .c = c, .kind = kind };
    uint64_t sync_at_ns = SYNC_NS;

    machine_init(&m);
    if (kind == POLICY_OURS) {
        ours_init(&m);
    }
    while (true) {
        unsigned v = hindmost(&m);
        uint64_t now = m.vcpus[v].clock_ns;

        if (now >= DURATION_NS) {
            break;
        }
        if (now >= sync_at_ns) {
            sync_all(&m);
            sync_at_ns += SYNC_NS;
        } else if (now >= m.reaper_at_ns) {
            reaper_wakes(&m);
        } else {
            vcpu_write(&m, v);
        }
    }
    if (kind == POLICY_OURS) {
        ours_destroy(&m);
    }
    machine_destroy(&m);
    return m.result;
}
