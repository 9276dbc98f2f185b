/*
 * KVM dirty ring: set-up, and the accelerator's properties
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * These files connect the ring state machine (core/) to QEMU:
 *
 *   dirty-ring-kernel.c     ioctls on KVM's file descriptors
 *   dirty-ring-vcpus.c      a vCPU's ring, and its ring-full exit
 *   dirty-ring-limit.c      vCPUs that sleep for what they have dirtied
 *   dirty-ring-memslots.c   memory slots that come and go
 *   dirty-ring-publish.c    pages into the RAM list's dirty bitmaps
 *   dirty-ring-sync.c       dirty log sync, start and stop
 *   dirty-ring-refresh.c    a display's refresh
 *   dirty-ring-query.c      QMP and HMP
 *
 * A page goes straight from a ring to the RAM list; there is no bitmap per slot
 * between them, and no function walks guest memory.
 *
 *   thread                     holds          calls
 *   vCPU thread at ring-full   nothing        dirty_ring_full(), its own ring
 *   reaper                     nothing        dirty_ring_make_room()
 *   migration, ...             BQL            kvm_dirty_ring_sync()
 *   display                    BQL            kvm_dirty_ring_refresh()
 *   memory topology change     BQL, slots     kvm_dirty_ring_slot_add(), ...
 *
 * When pages may have been lost (dirty_ring_broken()), a running migration is
 * made to fail and new ones are refused (dirty-ring-sync.c); the guest runs on.
 * It cannot run on where KVM does not reset a full ring, because KVM does not
 * enter a vCPU then: the machine is stopped with an internal error
 * (dirty-ring-vcpus.c).  Either way the event
 * __org.qemu-live_KVM_DIRTY_RING_FAULT names the fault.
 *
 * Limits: one virtual machine per process.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-events-migration.h"
#include "qapi/visitor.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "qemu/rcu.h"
#include "qemu/timer.h"
#include "hw/boards.h"
#include "system/kvm.h"
#include "system/kvm_int.h"
#include "trace.h"
#include "dirty-ring.h"
#include "dirty-ring-state.h"

KVMDirtyRings kvm_dirty_rings;

bool kvm_dirty_ring_enabled(void)
{
    return kvm_state && kvm_state->kvm_dirty_ring_size;
}

uint32_t kvm_dirty_ring_size(void)
{
    return kvm_state->kvm_dirty_ring_size;
}

static void rings_broken(void *opaque, DirtyRingFault fault)
{
    qapi_event_send___org_qemu_live_kvm_dirty_ring_fault(
        fault == DIRTY_RING_FAULT_RESET ? KVM_DIRTY_RING_FAULT_RESET_REFUSED
                                        : KVM_DIRTY_RING_FAULT_OVERFLOW,
        false, 0);
}

static void rings_reaped(void *opaque, uint64_t entries, uint64_t ns)
{
    trace_kvm_dirty_ring_reap(entries, ns / SCALE_US);
}

static void reaper_trace(const char *event)
{
    trace_kvm_dirty_ring_reaper(event);
}

static const DirtyRingOps kvm_dirty_ring_ops = {
    .reset = kvm_dirty_ring_kernel_reset,
    .translate = kvm_dirty_ring_translate,
    .publish = kvm_dirty_ring_publish,
    .reaped = rings_reaped,
    .broken = rings_broken,
};

/*
 * Returns the entries that KVM keeps free in each ring (Linux,
 * kvm_dirty_ring_get_rsvd_entries()): 64, and with Intel's page modification
 * logging the 512 that the CPU may still hold back.
 */
static uint32_t rings_reserve(void)
{
    g_autofree char *pml = NULL;

    return g_file_get_contents("/sys/module/kvm_intel/parameters/pml", &pml,
                               NULL, NULL) && pml[0] == 'Y' ? 64 + 512 : 64;
}

/*
 * Finds out from the properties how many entries a ring is to have; 0 for no rings.
 * Returns 0, or -EINVAL after it has reported that the properties contradict each
 * other.
 */
static int rings_size(KVMState *s, uint32_t *size)
{
    bool on = kvm_dirty_rings.asked == ON_OFF_AUTO_ON;
    bool off = kvm_dirty_rings.asked == ON_OFF_AUTO_OFF;

    *size = s->kvm_dirty_ring_size;
    if (on && !kvm_dirty_rings.asked_size) {
        *size = kvm_dirty_ring_kernel_default_size(s);
    } else if ((on && !*size) || (off && *size)) {
        error_report("KVM dirty ring: dirty-ring=%s and dirty-ring-size=%"
                     PRIu32 " contradict each other; leave one of them out",
                     on ? "on" : "off", *size);
        return -EINVAL;
    }
    return 0;
}

int kvm_dirty_ring_setup(KVMState *s)
{
    uint32_t size;
    int ret;

    GLOBAL_STATE_CODE();
    ret = rings_size(s, &size);
    if (ret < 0) {
        return ret;
    }
    /* A size other than 0 means that rings are in use. */
    s->kvm_dirty_ring_size = 0;
    s->kvm_dirty_ring_bytes = 0;
    if (!size) {
        return 0;
    }
    ret = kvm_dirty_ring_kernel_enable(s, size);
    if (ret < 0 || !s->kvm_dirty_ring_size) {
        return ret;
    }
    dirty_slots_init(&kvm_dirty_rings.slots);
    dirty_ring_set_init(&kvm_dirty_rings.set, size,
                        MIN(rings_reserve(), size - 1), &kvm_dirty_ring_ops, s);
    dirty_reaper_init(&kvm_dirty_rings.reaper, &kvm_dirty_rings.set);
    kvm_dirty_rings.reaper.trace = reaper_trace;
    kvm_dirty_rings.nr_vcpus = current_machine->smp.max_cpus;
    kvm_dirty_rings.vcpus = g_new0(DirtyRing *, kvm_dirty_rings.nr_vcpus);
    kvm_dirty_ring_limit_setup(kvm_dirty_rings.nr_vcpus);
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
    GLOBAL_STATE_CODE();
    if (s->kvm_dirty_ring_size) {
        qemu_thread_create(&kvm_dirty_rings.reaper_thread, "kvm-reaper",
                           reaper_thread, &kvm_dirty_rings.reaper,
                           QEMU_THREAD_DETACHED);
    }
}

/* The properties dirty-ring and dirty-ring-size */

static bool get_dirty_ring(Object *obj, Error **errp)
{
    KVMState *s = KVM_STATE(obj);

    return s->kvm_dirty_ring_size ||
           (s->fd == -1 && kvm_dirty_rings.asked == ON_OFF_AUTO_ON);
}

static void set_dirty_ring(Object *obj, bool value, Error **errp)
{
    if (KVM_STATE(obj)->fd != -1) {
        error_setg(errp, "dirty-ring cannot be set once KVM is running");
        return;
    }
    kvm_dirty_rings.asked = value ? ON_OFF_AUTO_ON : ON_OFF_AUTO_OFF;
}

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
    kvm_dirty_rings.asked_size = true;
}

void kvm_dirty_ring_class_init(ObjectClass *oc)
{
    object_class_property_add_bool(oc, "dirty-ring", get_dirty_ring,
                                   set_dirty_ring);
    object_class_property_set_description(oc, "dirty-ring",
        "Dirty rings of 65536 entries, or as many as the kernel offers, "
        "unless dirty-ring-size says otherwise (default: off)");
    object_class_property_add(oc, "dirty-ring-size", "uint32",
                              get_dirty_ring_size, set_dirty_ring_size,
                              NULL, NULL);
    object_class_property_set_description(oc, "dirty-ring-size",
        "Entries in each vCPU's dirty ring, a power of two "
        "(default: 0, dirty bitmap instead of rings)");
}
