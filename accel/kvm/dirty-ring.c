/*
 * KVM dirty ring: the accelerator's side of it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * This file connects the ring state machine (dirty-ring-core.c), the slot
 * table (dirty-ring-slots.c) and the reaper (dirty-ring-reaper.c) to QEMU: to
 * KVM's file descriptors below, to the RAM list's dirty bitmaps above, to the
 * memory listener and to the vCPU threads at the sides.  A page goes straight
 * from a ring to the RAM list; there is no bitmap per slot between them, and
 * nothing here walks guest memory.
 *
 *   who                       holds          calls
 *   vCPU thread at ring-full  nothing        dirty_ring_full(), its own ring
 *   reaper                    nothing        dirty_ring_reap_idle()
 *   migration, display, ...   BQL            kvm_dirty_ring_sync()
 *   memory topology change    BQL, slots     ..._slot_add(), _slot_removed()
 *
 * A sync kicks all vCPUs out of the guest, because hardware may hold dirty
 * pages back until then (page modification logging), harvests all rings, and
 * waits until other threads have published what they have harvested.
 *
 * KVM_RESET_DIRTY_RINGS goes to the VM file descriptor directly, not through
 * kvm_vm_ioctl(): that one waits while a memory topology change inhibits
 * ioctls, and the change itself waits for our batches.  The ioctl touches no
 * guest memory and checks slots under the kernel's own lock, so it needs no
 * inhibition.
 *
 * When pages may have been lost (dirty_ring_broken()), a running migration is
 * made to fail and new ones are refused; the guest runs on.  It cannot run on
 * where KVM does not reset a full ring, because KVM does not enter a vCPU then:
 * the machine is stopped with an internal error.  Either way the event
 * __org.qemu-live_KVM_DIRTY_RING_FAULT says which.
 *
 * Limits: one virtual machine per process.  Rings of vCPUs that were unplugged
 * stay mapped, as their file descriptors stay open.
 */
#include "qemu/osdep.h"
#include <sys/ioctl.h>
#include <linux/kvm.h>
#include "qemu/atomic.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "qemu/rcu.h"
#include "qemu/thread.h"
#include "qapi/error.h"
#include "qapi/qapi-events-migration.h"
#include "qapi/visitor.h"
#include "exec/memory.h"
#include "exec/ram_addr.h"
#include "hw/boards.h"
#include "hw/core/cpu.h"
#include "migration/migration.h"
#include "migration/misc.h"
#include "migration/qemu-file.h"
#include "system/dirtylimit.h"
#include "system/kvm.h"
#include "system/kvm_int.h"
#include "system/runstate.h"
#include "dirty-ring.h"
#include "dirty-ring-state.h"
#include "trace.h"

/* How long a vCPU rests after a ring-full exit with an empty ring. */
#define FULL_SPURIOUS_US 1000

KVMDirtyRings kvm_dirty_rings;

bool kvm_dirty_ring_enabled(void)
{
    return kvm_state && kvm_state->kvm_dirty_ring_size;
}

uint32_t kvm_dirty_ring_size(void)
{
    return kvm_state->kvm_dirty_ring_size;
}

/* Calls to the kernel */

static int rings_reset(void *opaque)
{
    KVMState *s = opaque;
    int ret = ioctl(s->vmfd, KVM_RESET_DIRTY_RINGS, 0);

    ret = ret < 0 ? -errno : ret;
    trace_kvm_dirty_ring_reset(ret);
    return ret;
}

static size_t rings_translate(void *opaque, const uint32_t *slots,
                              uint64_t *pages, size_t n)
{
    return dirty_slots_translate(&kvm_dirty_rings.slots, slots, pages, n);
}

/* Publishing to the RAM list */

/* Which dirty bitmaps a page that the guest wrote belongs into. */
static uint8_t publish_clients(void)
{
    return 1 << DIRTY_MEMORY_VGA |
           (global_dirty_tracking ? 1 << DIRTY_MEMORY_MIGRATION : 0);
}

static void publish_run(uint64_t first, uint64_t npages, uint8_t clients)
{
    uint64_t page_size = qemu_real_host_page_size();

    cpu_physical_memory_set_dirty_range(first * page_size, npages * page_size,
                                        clients);
}

/*
 * Neighbours in a ring are often neighbours in memory; they are published as
 * one run.  Runs without the BQL and in any thread: the bitmaps are protected
 * by RCU and set atomically.
 */
static void rings_publish(void *opaque, const uint64_t *pages, size_t n)
{
    uint8_t clients = publish_clients();
    size_t start = 0;

    /* Pairs with readers of the bitmaps: rings are read before pages are. */
    smp_mb();
    RCU_READ_LOCK_GUARD();
    for (size_t i = 1; i <= n; i++) {
        if (i == n || pages[i] != pages[i - 1] + 1) {
            publish_run(pages[start], i - start, clients);
            start = i;
        }
    }
}

/*
 * A vCPU that the dirty page rate limit slows down is slowed down at
 * ring-full: were its ring emptied for it, it would not get there.
 */
static bool rings_leave_alone(void *opaque, void *owner)
{
    CPUState *cpu = owner;

    return dirtylimit_in_service() &&
           qatomic_read(&cpu->throttle_us_per_full) > 0;
}

static void rings_broken(void *opaque, DirtyRingFault fault)
{
    qapi_event_send___org_qemu_live_kvm_dirty_ring_fault(
        fault == DIRTY_RING_FAULT_RESET ? KVM_DIRTY_RING_FAULT_RESET_REFUSED
                                        : KVM_DIRTY_RING_FAULT_OVERFLOW,
        false, 0);
}

static const DirtyRingOps kvm_dirty_ring_ops = {
    .reset = rings_reset,
    .translate = rings_translate,
    .publish = rings_publish,
    .leave_alone = rings_leave_alone,
    .broken = rings_broken,
};

/* Set-up */

/* KVM's capability for rings, or 0; *@max_bytes is the largest ring. */
static unsigned int rings_capability(KVMState *s, int *max_bytes)
{
    static const unsigned int caps[] = {
        KVM_CAP_DIRTY_LOG_RING,
        KVM_CAP_DIRTY_LOG_RING_ACQ_REL,
    };

    for (int i = 0; i < ARRAY_SIZE(caps); i++) {
        *max_bytes = kvm_vm_check_extension(s, caps[i]);
        if (*max_bytes > 0) {
            return caps[i];
        }
    }
    return 0;
}

/*
 * Architectures that write guest memory outside of any vCPU (arm64, saving
 * its interrupt tables) log those pages in a bitmap beside the rings.
 */
static int rings_enable_backup_bitmap(KVMState *s)
{
    int ret;

    if (kvm_vm_check_extension(s, KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP) <= 0) {
        return 0;
    }
    ret = kvm_vm_enable_cap(s, KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP, 0);
    if (ret < 0) {
        error_report("KVM dirty ring: cannot enable the backup bitmap: %s",
                     strerror(-ret));
        return ret;
    }
    s->kvm_dirty_ring_with_bitmap = true;
    return 0;
}

static int rings_enable(KVMState *s, uint32_t size)
{
    uint64_t bytes = (uint64_t)size * sizeof(struct kvm_dirty_gfn);
    int max_bytes, ret;
    unsigned int capability = rings_capability(s, &max_bytes);

    if (!capability) {
        warn_report("KVM dirty ring: not offered by this kernel, "
                    "using the dirty bitmap");
        return 0;
    }
    if (bytes > max_bytes) {
        error_report("KVM dirty ring: dirty-ring-size=%" PRIu32
                     " is too large, this kernel allows at most %zu entries",
                     size, max_bytes / sizeof(struct kvm_dirty_gfn));
        return -EINVAL;
    }
    ret = kvm_vm_enable_cap(s, capability, 0, bytes);
    if (ret < 0) {
        error_report("KVM dirty ring: the kernel refuses dirty-ring-size=%"
                     PRIu32 ": %s; try a larger one, such as 4096",
                     size, strerror(-ret));
        return ret;
    }
    s->kvm_dirty_ring_size = size;
    s->kvm_dirty_ring_bytes = bytes;
    return rings_enable_backup_bitmap(s);
}

int kvm_dirty_ring_setup(KVMState *s)
{
    uint32_t size = s->kvm_dirty_ring_size;
    int ret;

    /* A size other than 0 says that rings are in use, which is not yet so. */
    s->kvm_dirty_ring_size = 0;
    s->kvm_dirty_ring_bytes = 0;
    if (!size) {
        return 0;
    }
    ret = rings_enable(s, size);
    if (ret < 0 || !s->kvm_dirty_ring_size) {
        return ret;
    }
    dirty_slots_init(&kvm_dirty_rings.slots);
    dirty_ring_set_init(&kvm_dirty_rings.set, size, &kvm_dirty_ring_ops, s);
    dirty_reaper_init(&kvm_dirty_rings.reaper, &kvm_dirty_rings.set);
    kvm_dirty_rings.nr_vcpus = current_machine->smp.max_cpus;
    kvm_dirty_rings.vcpus = g_new0(DirtyRing *, kvm_dirty_rings.nr_vcpus);
    return 0;
}

static void *reaper_thread(void *opaque)
{
    rcu_register_thread();
    dirty_reaper_run(opaque);
    rcu_unregister_thread();
    return NULL;
}

void kvm_dirty_ring_start_reaper(KVMState *s)
{
    if (s->kvm_dirty_ring_size) {
        qemu_thread_create(&kvm_dirty_rings.reaper_thread, "kvm-reaper",
                           reaper_thread, &kvm_dirty_rings.reaper,
                           QEMU_THREAD_DETACHED);
    }
}

/* vCPUs */

static struct kvm_dirty_gfn *map_ring(CPUState *cpu, Error **errp)
{
    off_t offset = qemu_real_host_page_size() * KVM_DIRTY_LOG_PAGE_OFFSET;
    void *entries = mmap(NULL, kvm_state->kvm_dirty_ring_bytes,
                         PROT_READ | PROT_WRITE, MAP_SHARED, cpu->kvm_fd,
                         offset);

    if (entries == MAP_FAILED) {
        error_setg_errno(errp, errno,
                         "KVM dirty ring: cannot map the ring of vCPU %d",
                         cpu->cpu_index);
        return NULL;
    }
    return entries;
}

int kvm_dirty_ring_init_vcpu(CPUState *cpu, Error **errp)
{
    unsigned long id = kvm_arch_vcpu_id(cpu);
    struct kvm_dirty_gfn *entries;
    DirtyRing *ring;

    if (!kvm_dirty_ring_enabled()) {
        return 0;
    }
    if (cpu->cpu_index < 0 || cpu->cpu_index >= kvm_dirty_rings.nr_vcpus) {
        error_setg(errp, "KVM dirty ring: vCPU index %d is beyond maxcpus=%d",
                   cpu->cpu_index, kvm_dirty_rings.nr_vcpus);
        return -EINVAL;
    }
    ring = dirty_ring_find(&kvm_dirty_rings.set, id);
    if (!ring) {
        entries = map_ring(cpu, errp);
        if (!entries) {
            return -ENOMEM;
        }
        ring = dirty_ring_add(&kvm_dirty_rings.set, id, entries);
    }
    dirty_ring_bind(ring, cpu, &cpu->dirty_pages);
    kvm_dirty_rings.vcpus[cpu->cpu_index] = ring;
    return 0;
}

void kvm_dirty_ring_destroy_vcpu(CPUState *cpu)
{
    DirtyRing *ring;

    if (!kvm_dirty_ring_enabled()) {
        return;
    }
    ring = kvm_dirty_rings.vcpus[cpu->cpu_index];
    if (ring) {
        dirty_ring_reap(ring);
        dirty_ring_bind(ring, NULL, NULL);
        kvm_dirty_rings.vcpus[cpu->cpu_index] = NULL;
    }
}

static void vcpu_full_spurious(CPUState *cpu)
{
    trace_kvm_dirty_ring_spurious_full(cpu->cpu_index);
    error_report_once("KVM dirty ring: KVM says that the ring of vCPU %d "
                      "is full, but it is empty: this kernel loses dirty "
                      "pages, migration cannot be trusted", cpu->cpu_index);
    g_usleep(FULL_SPURIOUS_US);
}

/* KVM would end each KVM_RUN of @cpu at once: it must not be tried for ever. */
static void vcpu_full_stuck(CPUState *cpu)
{
    BQL_LOCK_GUARD();
    if (runstate_is_running()) {
        error_report_once("KVM dirty ring: the ring of vCPU %d is full and "
                          "KVM does not reset it, so the vCPU cannot run: "
                          "stopping the guest", cpu->cpu_index);
        qapi_event_send___org_qemu_live_kvm_dirty_ring_fault(
            KVM_DIRTY_RING_FAULT_VCPU_STUCK, true, cpu->cpu_index);
        vm_stop(RUN_STATE_INTERNAL_ERROR);
    }
}

void kvm_dirty_ring_vcpu_full(CPUState *cpu)
{
    DirtyRing *ring = kvm_dirty_ring_enabled()
                      ? kvm_dirty_rings.vcpus[cpu->cpu_index] : NULL;

    trace_kvm_dirty_ring_full(cpu->cpu_index);
    /* No thread that holds the BQL may make a writing guest wait for it. */
    assert(!bql_locked());
    switch (ring ? dirty_ring_full(ring) : DIRTY_RING_FULL_SPURIOUS) {
    case DIRTY_RING_FULL_FREED:
        break;
    case DIRTY_RING_FULL_SPURIOUS:
        vcpu_full_spurious(cpu);
        break;
    case DIRTY_RING_FULL_STUCK:
        vcpu_full_stuck(cpu);
        break;
    }
}

/* Memory slots; with the BQL and the slots lock held */

static uint32_t slot_word(const KVMSlot *slot)
{
    return (uint32_t)slot->as_id << 16 | slot->slot;
}

void kvm_dirty_ring_slot_add(const KVMSlot *slot)
{
    uint64_t page_size = qemu_real_host_page_size();

    if (kvm_dirty_ring_enabled()) {
        dirty_slots_add(&kvm_dirty_rings.slots, slot_word(slot),
                        slot->ram_start_offset / page_size,
                        slot->memory_size / page_size);
    }
}

/* Fetches the backup bitmap of @slot into its dirty_bmap. */
static bool slot_fetch_backup(KVMSlot *slot)
{
    struct kvm_dirty_log log = {
        .slot = slot_word(slot),
        .dirty_bitmap = slot->dirty_bmap,
    };
    int ret = kvm_vm_ioctl(kvm_state, KVM_GET_DIRTY_LOG, &log);

    if (ret < 0 && ret != -ENOENT) {
        error_report_once("KVM dirty ring: cannot read the backup bitmap of "
                          "slot %d: %s", slot->slot, strerror(-ret));
    }
    return ret >= 0;
}

/*
 * With page modification logging a vCPU keeps addresses of dirty pages in a
 * buffer of its own until it leaves the guest; KVM then looks their slots up to
 * put them into the ring, and finds none once the slot is gone.  A vCPU that is
 * out of the guest has flushed its buffer.
 */
bool kvm_dirty_ring_removal_loses_pages(const KVMMemoryListener *kml)
{
    KVMMemoryUpdate *update;

    if (!kvm_dirty_ring_enabled()) {
        return false;
    }
    QSIMPLEQ_FOREACH(update, &kml->transaction_del, next) {
        MemoryRegion *mr = update->section.mr;

        if (memory_region_is_ram(mr) &&
            memory_region_get_dirty_log_mask(mr)) {
            return true;
        }
    }
    return false;
}

void kvm_dirty_ring_slot_removing(KVMSlot *slot)
{
    if (kvm_state->kvm_dirty_ring_with_bitmap) {
        slot_fetch_backup(slot);
    }
}

void kvm_dirty_ring_slot_removed(const KVMSlot *slot)
{
    if (kvm_dirty_ring_enabled()) {
        /*
         * vCPUs could write to the slot until KVM had dropped it, so rings
         * that were harvested earlier would miss the last writes.
         */
        dirty_ring_reap_all(&kvm_dirty_rings.set);
        dirty_ring_wait_published(&kvm_dirty_rings.set);
        dirty_slots_remove(&kvm_dirty_rings.slots, slot_word(slot));
    }
}

/* Sync */

/* Waits until all vCPUs that were asked to have left the guest. */
typedef struct KickAll {
    QemuCond done;
    int pending;        /* protected by the BQL */
} KickAll;

static void vcpu_kicked(CPUState *cpu, run_on_cpu_data data)
{
    KickAll *kick = data.host_ptr;

    if (--kick->pending == 0) {
        qemu_cond_signal(&kick->done);
    }
}

/*
 * Gets every vCPU out of the guest once: asks all, then waits for all.  One
 * that is stopped or not yet running has nothing to flush.  Called with the
 * BQL held, which is released while waiting.
 */
static void kick_all_vcpus(void)
{
    KickAll kick = {};
    CPUState *cpu;

    qemu_cond_init(&kick.done);
    CPU_FOREACH(cpu) {
        if (cpu->created && !cpu->stopped && !qemu_cpu_is_self(cpu)) {
            kick.pending++;
            async_run_on_cpu(cpu, vcpu_kicked, RUN_ON_CPU_HOST_PTR(&kick));
        }
    }
    while (kick.pending) {
        qemu_cond_wait_bql(&kick.done);
    }
    qemu_cond_destroy(&kick.done);
}

static void slot_sync_backup(KVMSlot *slot)
{
    if (slot->memory_size && slot->flags & KVM_MEM_LOG_DIRTY_PAGES &&
        slot_fetch_backup(slot)) {
        cpu_physical_memory_set_dirty_lebitmap(
            slot->dirty_bmap, slot->ram_start_offset,
            slot->memory_size / qemu_real_host_page_size());
        memset(slot->dirty_bmap, 0, slot->dirty_bmap_size);
    }
}

/* The BQL keeps the slots in place; the vCPUs are stopped. */
static void sync_backup_bitmaps(KVMState *s)
{
    for (int as = 0; as < s->nr_as; as++) {
        KVMMemoryListener *kml = s->as[as].ml;

        for (int i = 0; kml && i < kml->nr_slots_allocated; i++) {
            slot_sync_backup(&kml->slots[i]);
        }
    }
}

/*
 * KVM writes guest memory outside of vCPUs when device state is saved, which
 * happens while the VM does not run.  Not every sync that is the last one says
 * so: postcopy's, when it stops the source, does not.
 */
static bool backup_bitmaps_final(bool last_stage)
{
    return last_stage || !runstate_is_running();
}

/* A migration that may have missed pages must not complete. */
static void fail_migration(void)
{
    MigrationState *ms = migrate_get_current();
    Error *err = NULL;

    if (!migration_is_running()) {
        return;
    }
    error_setg(&err, "KVM dirty ring: the kernel has lost dirty pages");
    migrate_set_error(ms, err);
    error_free(err);
    WITH_QEMU_LOCK_GUARD(&ms->qemu_file_lock) {
        if (ms->to_dst_file) {
            qemu_file_set_error(ms->to_dst_file, -EIO);
        }
    }
}

/*
 * When it returns, every page that the guest had dirtied before the call is
 * in the RAM list's bitmaps.  The rings hold the entries of all address
 * spaces, so one sync serves all of them.
 */
static void kvm_dirty_ring_sync(MemoryListener *listener, bool last_stage)
{
    trace_kvm_dirty_ring_flush(0);
    assert(bql_locked());
    kick_all_vcpus();
    dirty_ring_reap_all(&kvm_dirty_rings.set);
    dirty_ring_wait_published(&kvm_dirty_rings.set);
    qatomic_inc(&kvm_dirty_rings.syncs);
    if (kvm_state->kvm_dirty_ring_with_bitmap &&
        backup_bitmaps_final(last_stage)) {
        sync_backup_bitmaps(kvm_state);
    }
    if (dirty_ring_broken(&kvm_dirty_rings.set)) {
        fail_migration();
    }
    trace_kvm_dirty_ring_flush(1);
}

/*
 * Refuses migrations only.  calc-dirty-rate and dirty-limit do not look whether
 * logging began, and QEMU would die of an assertion when they end it.
 */
static bool kvm_dirty_ring_log_start(MemoryListener *listener, Error **errp)
{
    if (global_dirty_tracking & GLOBAL_DIRTY_MIGRATION &&
        dirty_ring_broken(&kvm_dirty_rings.set)) {
        error_setg(errp, "KVM dirty ring: the kernel has lost dirty pages "
                   "before; start the guest without dirty-ring-size to "
                   "migrate it");
        return false;
    }
    dirty_reaper_set_active(&kvm_dirty_rings.reaper, true);
    return true;
}

static void kvm_dirty_ring_log_stop(MemoryListener *listener)
{
    dirty_reaper_set_active(&kvm_dirty_rings.reaper, false);
}

bool kvm_dirty_ring_register(KVMMemoryListener *kml)
{
    if (!kvm_dirty_ring_enabled()) {
        return false;
    }
    if (kml->as_id == 0) {
        kml->listener.log_sync_global = kvm_dirty_ring_sync;
        kml->listener.log_global_start = kvm_dirty_ring_log_start;
        kml->listener.log_global_stop = kvm_dirty_ring_log_stop;
    }
    return true;
}

/* The property */

static void get_dirty_ring_size(Object *obj, Visitor *v, const char *name,
                                void *opaque, Error **errp)
{
    uint32_t value = KVM_STATE(obj)->kvm_dirty_ring_size;

    visit_type_uint32(v, name, &value, errp);
}

static void set_dirty_ring_size(Object *obj, Visitor *v, const char *name,
                                void *opaque, Error **errp)
{
    KVMState *s = KVM_STATE(obj);
    uint32_t value;

    if (s->fd != -1) {
        error_setg(errp, "dirty-ring-size cannot be set once KVM is running");
        return;
    }
    if (!visit_type_uint32(v, name, &value, errp)) {
        return;
    }
    if (value && !is_power_of_2(value)) {
        error_setg(errp, "dirty-ring-size must be a power of two, not %"
                   PRIu32, value);
        return;
    }
    s->kvm_dirty_ring_size = value;
}

void kvm_dirty_ring_class_init(ObjectClass *oc)
{
    object_class_property_add(oc, "dirty-ring-size", "uint32",
                              get_dirty_ring_size, set_dirty_ring_size,
                              NULL, NULL);
    object_class_property_set_description(oc, "dirty-ring-size",
        "Entries in each vCPU's dirty ring, a power of two "
        "(default: 0, dirty bitmap instead of rings)");
}
