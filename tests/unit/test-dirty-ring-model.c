/*
 * Dirty ring: no write is lost, whatever the kernel and the harvesting threads
 * do
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * vCPU threads write pages of a fake machine (fake-kvm.c) as fast as they can
 * and handle their own full rings; the reaper reaps; the main thread syncs
 * and copies the pages that are dirty, as a migration does.  In the end the
 * writers stop, one last sync is made, and the copy must equal the memory.
 *
 * A page that is published before it is write-protected everywhere, an entry
 * dropped, or a sync that returns before other threads' pages are out, leaves
 * a page that differs.
 *
 * Limits: chance decides which interleavings occur; each run makes some
 * 100,000 page faults.
 */
#include <glib.h>
#include <string.h>

#include "accel/kvm/core/dirty-ring-core.h"
#include "accel/kvm/core/dirty-ring-reaper.h"
#include "accel/kvm/core/dirty-ring-slots.h"
#include "fake-kvm.h"
#include "ring-stats.h"

#define NPAGES 2048
#define RING_SIZE 256
#define WRITES_PER_VCPU 60000
#define MAX_VCPUS 8

typedef struct Model {
    FakeKvm *kvm;
    DirtyRingSet set;
    DirtySlotTable slots;
    DirtyReaper reaper;
    bool dirty[NPAGES];         /* atomic: what has been published */
    uint64_t copy[NPAGES];      /* the destination's memory */
    int writing;                /* atomic: vCPUs not yet done */
    uint64_t pages_of[MAX_VCPUS];
} Model;

typedef struct Writer {
    Model *model;
    unsigned v;
    pthread_t thread;
} Writer;

typedef struct Case {
    const char *name;
    unsigned nvcpus;
    FakeReset reset_mode;
    bool reaper;
} Case;

static int model_reset(void *opaque)
{
    return fake_kvm_reset(((Model *)opaque)->kvm);
}

static size_t model_translate(void *opaque, const uint32_t *slots,
                              uint64_t *pages, size_t n)
{
    return dirty_slots_translate(&((Model *)opaque)->slots, slots, pages, n);
}

static void model_publish(void *opaque, const uint64_t *pages, size_t n)
{
    Model *model = opaque;

    for (size_t i = 0; i < n; i++) {
        g_assert_cmpuint(pages[i], <, NPAGES);
        __atomic_store_n(&model->dirty[pages[i]], true, __ATOMIC_SEQ_CST);
    }
}

static const DirtyRingOps model_ops = {
    .reset = model_reset,
    .translate = model_translate,
    .publish = model_publish,
};

static void *writer_thread(void *opaque)
{
    Writer *writer = opaque;
    Model *model = writer->model;
    DirtyRing *ring = dirty_ring_find(&model->set, writer->v);
    unsigned seed = writer->v + 1;

    for (int i = 0; i < WRITES_PER_VCPU; i++) {
        uint64_t page = rand_r(&seed) % NPAGES;

        while (!fake_kvm_write(model->kvm, writer->v, page)) {
            g_assert_cmpint(dirty_ring_full(ring), ==, DIRTY_RING_FULL_FREED);
        }
    }
    __atomic_fetch_sub(&model->writing, 1, __ATOMIC_RELEASE);
    return NULL;
}

static void *reaper_thread(void *opaque)
{
    dirty_reaper_run(opaque);
    return NULL;
}

static Model *model_new(const Case *c)
{
    Model *model = g_new0(Model, 1);

    model->kvm = fake_kvm_new(c->nvcpus, RING_SIZE, NPAGES);
    model->kvm->reset_mode = c->reset_mode;
    model->writing = c->nvcpus;
    dirty_slots_init(&model->slots);
    dirty_slots_add(&model->slots, 0, 0, NPAGES);
    dirty_ring_set_init(&model->set, RING_SIZE, 64, &model_ops, model);
    dirty_reaper_init(&model->reaper, &model->set);
    for (unsigned v = 0; v < c->nvcpus; v++) {
        DirtyRing *ring = dirty_ring_add(&model->set, v,
                                         model->kvm->vcpus[v].ring);

        dirty_ring_bind(ring, model, &model->pages_of[v]);
    }
    return model;
}

static void model_free(Model *model)
{
    dirty_reaper_destroy(&model->reaper);
    dirty_ring_set_destroy(&model->set);
    dirty_slots_destroy(&model->slots);
    fake_kvm_free(model->kvm);
    g_free(model);
}

/* One pass of a migration. */
static void sync_and_copy(Model *model)
{
    dirty_ring_reap_all(&model->set);
    dirty_ring_wait_published(&model->set);
    for (uint64_t page = 0; page < NPAGES; page++) {
        if (__atomic_exchange_n(&model->dirty[page], false,
                                __ATOMIC_SEQ_CST)) {
            model->copy[page] = __atomic_load_n(&model->kvm->memory[page],
                                                __ATOMIC_SEQ_CST);
        }
    }
}

/*
 * A page is protected, or its entry is still to come.  After the last sync all
 * are protected: what is writable would be written without a trace.
 */
static void check_protected(const Model *model)
{
    for (uint64_t page = 0; page < NPAGES; page++) {
        g_assert_false(model->kvm->pte_writable[page]);
    }
}

static void check_copy(const Model *model)
{
    for (uint64_t page = 0; page < NPAGES; page++) {
        g_assert_cmpuint(model->copy[page], ==, model->kvm->memory[page]);
    }
}

static void check_counters(Model *model)
{
    DirtyRingStats stats;
    uint64_t pages = 0;

    ring_stats_check(&model->set);
    dirty_ring_stats(&model->set, &stats);
    for (unsigned v = 0; v < model->kvm->nvcpus; v++) {
        g_assert_cmpuint(model->pages_of[v], ==, model->kvm->vcpus[v].pushed);
        pages += model->pages_of[v];
    }
    g_assert_cmpuint(stats.harvested, ==, pages);
    g_assert_cmpuint(stats.published - stats.republished, ==, pages);
    g_assert_cmpuint(stats.unknown, ==, 0);
    g_assert_cmpuint(stats.reset_entries, ==, pages);
    g_assert_cmpuint(stats.overflows, ==, 0);
    g_assert_cmpuint(stats.full_exits, >, 0);
    g_assert_false(dirty_ring_broken(&model->set));
}

static void test_no_write_lost(gconstpointer data)
{
    const Case *c = data;
    Model *model = model_new(c);
    Writer writers[MAX_VCPUS];
    pthread_t reaper;

    pthread_create(&reaper, NULL, reaper_thread, &model->reaper);
    dirty_reaper_set_active(&model->reaper, c->reaper);
    for (unsigned v = 0; v < c->nvcpus; v++) {
        writers[v] = (Writer){ .model = model, .v = v };
        pthread_create(&writers[v].thread, NULL, writer_thread, &writers[v]);
    }
    while (__atomic_load_n(&model->writing, __ATOMIC_ACQUIRE)) {
        sync_and_copy(model);
    }
    for (unsigned v = 0; v < c->nvcpus; v++) {
        pthread_join(writers[v].thread, NULL);
    }
    sync_and_copy(model);
    if (c->reset_mode != FAKE_RESET_STOPPED) {
        check_protected(model);
    }
    check_copy(model);

    dirty_reaper_quit(&model->reaper);
    pthread_join(reaper, NULL);
    check_counters(model);
    model_free(model);
}

static const Case cases[] = {
    { "/dirty-ring/model/1-vcpu", 1, FAKE_RESET_ALL, false },
    { "/dirty-ring/model/2-vcpus", 2, FAKE_RESET_ALL, true },
    { "/dirty-ring/model/2-vcpus/partial", 2, FAKE_RESET_SOME, true },
    { "/dirty-ring/model/2-vcpus/reluctant", 2, FAKE_RESET_RELUCTANT, true },
    { "/dirty-ring/model/2-vcpus/gathers", 2, FAKE_RESET_GATHERS, true },
    { "/dirty-ring/model/8-vcpus/gathers", 8, FAKE_RESET_GATHERS, true },
    { "/dirty-ring/model/2-vcpus/stopped", 2, FAKE_RESET_STOPPED, true },
    { "/dirty-ring/model/8-vcpus/stopped", 8, FAKE_RESET_STOPPED, true },
    { "/dirty-ring/model/8-vcpus", 8, FAKE_RESET_ALL, true },
    { "/dirty-ring/model/8-vcpus/partial", 8, FAKE_RESET_SOME, true },
    { "/dirty-ring/model/8-vcpus/reluctant", 8, FAKE_RESET_RELUCTANT, true },
};

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_test_add_data_func(cases[i].name, &cases[i], test_no_write_lost);
    }
    return g_test_run();
}
