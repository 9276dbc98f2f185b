/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Start a vDPA device for a virtio device of the guest, switch its mode, stop it.
 *
 * Theory of operation
 * -------------------
 * The guest's driver sets queues up one by one. A table keeps what it set, and
 * the device hears nothing of it until the driver has set everything. Then the
 * device is launched, in one place and in one order:
 *
 *   features, address spaces, for each queue {attach, program}, DRIVER_OK,
 *   control state, enable, for each queue {run}
 *
 * Each queue has a kind, a table of operations:
 *
 *   passthrough  the device works on the guest's ring;
 *                vdpa-queue-passthrough.c
 *   shadow       the device works on a ring of QEMU, which forwards buffers;
 *                vdpa-queue-shadow.c
 *   control      the device works on a ring of QEMU, which forwards commands;
 *                net/vhost-vdpa-cvq.c
 *
 * While the device runs, its data queues can be switched between passthrough and
 * shadow:
 *
 *   suspend, for each queue {read base, detach, attach as the other kind,
 *   program}, resume, for each queue {run}
 *
 * A queue whose buffers the device only reads stays (vdpa-queue.c).
 *
 * A switch changes no map, of guest memory or of rings, and does not reset the
 * device: the rings to shadow with are mapped after launch
 * (vdpa-queue-shadow.c). Instead, the device is reset and launched again, and its
 * control state restored, if
 *
 *   it cannot suspend and resume;
 *   its queues cannot be moved while it is suspended (vdpa-quirks.c);
 *   it has chains in flight (below);
 *   it fails to suspend or to report a ring base.
 *
 * A switch that fails after a queue was exchanged ends in the old mode, by a
 * reset as well.
 *
 * Where a queue goes on. A device reports one number, its ring base: the chain
 * that it would take next. That is the guest's used index only if the device has
 * returned all that it took. Going on at the base otherwise would lose the chains
 * in flight, and the used index would jump over entries that were never written.
 * So, while the device is suspended, the base of each queue is compared with the
 * used index in memory, of the guest's ring or of QEMU's, whichever the device
 * serves. If they are equal for all queues, nothing is in flight and the bases
 * hold. If one is not, or the device does not report a base, the device is reset,
 * so that it does not touch those chains any more, and each queue goes on at its
 * used index: the device takes these chains again. A packed ring's base has both
 * positions in it; it goes on at the used one.
 *
 * If guest memory is not mapped yet, the launch waits for it (vdpa-map.h). The
 * guest's driver believes that the device runs, and the driver's notifications
 * stay in their eventfds. The launch also waits for memory that a postcopy
 * migration still has to bring, since missing pages cannot be pinned. Meanwhile,
 * QEMU's model of the device answers the control queue (vdpa-model.c).
 *
 * When the guest breaks the rules of its queues, that is a fault
 * (vdpa_device_fault()): the device is broken, as in virtio_error(), until the
 * guest resets it. A bottom half interrupts the guest for it, with nothing of the
 * device on the stack: the guest may direct the interrupt message to
 * device_status of this device, which halts the device and frees its queues.
 *
 * Phases (VdpaPhase), and what changes them:
 *
 *   HALTED   --launch(), memory is mapped--> LAUNCHED
 *   HALTED   --launch(), memory is missing-> WAITING
 *   WAITING  --memory_ready()--------------> LAUNCHED
 *   any      --stop(), or a failed launch--> HALTED
 *
 * A switch in LAUNCHED that resets the device goes through HALTED, and through
 * WAITING if memory has to be mapped again. Orthogonal to the phase are `held`
 * (a launch waits although memory could be mapped), `switching.pending`, and
 * `shared_asid`. The state of the device itself is VdpaState (core/vdpa-status.h).
 *
 * Statistics of switches: a switch begins, and ends when the device runs again,
 * which may be later if the launch waits. switch_begins() -> switch_ends(),
 * switch_fails() or switch_forgotten(), which do nothing if no switch is pending;
 * so every launch and halt may call them. A switch that the guest interrupts by
 * stopping the device is not counted. Messages that are still queued when the
 * device runs again are not counted either.
 *
 * Thread model: the BQL.
 *
 * Limits: split rings only, where QEMU is in between.
 */
#include "qemu/osdep.h"
#include <linux/qemu-live-uapi.h>
#include "hw/pci/pci_device.h"
#include "hw/virtio/virtio.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "qemu/timer.h"
#include "exec/address-spaces.h"
#include "system/runstate.h"
#include "hw/virtio/trace.h"
#include "hw/virtio/vdpa/core/vdpa-report.h"
#include "vdpa-internal.h"

uint64_t vdpa_device_unshadowable(const VdpaDevice *d)
{
    return vdpa_shadow_ring_refused(d->features | BIT_ULL(VIRTIO_F_VERSION_1));
}

bool vdpa_device_shadows(const VdpaDevice *d)
{
    return d->shared_asid ||
           (d->mode == VDPA_MODE_SHADOW && !vdpa_device_unshadowable(d));
}

/* QEMU's ring is a split ring. */
const VdpaQueueKind *vdpa_device_control(const VdpaDevice *d)
{
    return d->features >> VIRTIO_F_RING_PACKED & 1 ? NULL : d->control_kind;
}

/* --- steps -------------------------------------------------------------- */

int vdpa_device_advance(VdpaDevice *d, VdpaEvent event, Error **errp)
{
    VdpaState from = d->status.state;
    int err = vdpa_status_event(&d->status, event);

    trace_vdpa_status(d, vdpa_event_name(event), vdpa_state_name(from),
                    vdpa_state_name(d->status.state), err);
    if (err == -EPROTO) {
        error_setg(errp, "the device refused to %s", vdpa_event_name(event));
    } else if (err == -ENODEV) {
        error_setg(errp, "the device was removed while in use");
    } else if (err) {
        error_setg_errno(errp, -err, "cannot %s the device",
                         vdpa_event_name(event));
    }
    return err;
}

static int program_config_call(VdpaDevice *d, Error **errp)
{
    int fd = d->config_call;
    int err = vdpa_fd_command(&d->fd, VDPA_SET_CONFIG_CALL, &fd);

    if (err && err != -ENOTSUP) {
        error_setg_errno(errp, -err, "cannot %s",
                         vdpa_fd_name(VDPA_SET_CONFIG_CALL));
        return err;
    }
    return 0;
}

/* --- statistics of switches --------------------------------------------- */

static uint64_t messages(const VdpaDevice *d)
{
    VdpaMapStats now = vdpa_map_stats(d->map);

    return now.maps + now.unmaps;
}

static void switch_begins(VdpaDevice *d)
{
    d->switching = (VdpaSwitch) {
        .pending = true,
        .start = qemu_clock_get_ns(QEMU_CLOCK_REALTIME),
        .messages = messages(d),
        .resets = d->status.resets,
    };
}

static void switch_ends(VdpaDevice *d)
{
    const VdpaSwitch *s = &d->switching;
    uint64_t spent = qemu_clock_get_ns(QEMU_CLOCK_REALTIME) - s->start;

    if (!s->pending) {
        return;
    }
    d->switching.pending = false;
    d->stats.switches++;
    d->stats.switch_ns = spent;
    d->stats.switch_worst_ns = MAX(d->stats.switch_worst_ns, spent);
    d->stats.switch_messages += messages(d) - s->messages;
    d->stats.switch_resets += d->status.resets - s->resets;
    trace_vdpa_switched(d, d->mode, spent);
}

static void switch_fails(VdpaDevice *d)
{
    if (d->switching.pending) {
        d->switching.pending = false;
        d->stats.switches_failed++;
    }
}

static void switch_forgotten(VdpaDevice *d)
{
    d->switching.pending = false;
}

/* --- how long the steps of a launch and of a halt take ------------------- */

void vdpa_steps_begin(VdpaDevice *d)
{
    d->stats.step_at = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);
}

void vdpa_step_ends(VdpaDevice *d, VdpaStep step)
{
    int64_t now = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);

    d->stats.step_ns[step] = now - d->stats.step_at;
    d->stats.step_at = now;
}

/* --- launch ------------------------------------------------------------- */

/* Data queues are enabled only when the control state is there again. */
static bool restores(const VdpaDevice *d)
{
    return d->frontend && d->control >= 0 && vdpa_device_control(d) &&
           d->queue[d->control].ready;
}

static int prepare(VdpaDevice *d, Error **errp)
{
    int err = 0;

    vdpa_steps_begin(d);
    if (d->status.state != VDPA_STATE_RESET) {
        err = vdpa_device_advance(d, VDPA_EVENT_RESET, errp);
    }
    d->status.features = d->features;
    err = err ?: vdpa_device_advance(d, VDPA_EVENT_ACK_DRIVER, errp);
    err = err ?: vdpa_device_advance(d, VDPA_EVENT_SET_FEATURES, errp);
    err = err ?: vdpa_quirks_asid(d, errp);
    vdpa_step_ends(d, VDPA_STEP_FEATURES);
    FOR_EACH_QUEUE(d, q) {
        err = err ?: vdpa_queue_attach(q, false, errp);
    }
    err = err ?: program_config_call(d, errp);
    vdpa_step_ends(d, VDPA_STEP_QUEUES);
    return err;
}

static int start_and_enable(VdpaDevice *d, Error **errp)
{
    int err = vdpa_queues_enable(d, true, errp);

    if (!restores(d)) {
        err = err ?: vdpa_queues_enable(d, false, errp);
        vdpa_step_ends(d, VDPA_STEP_ENABLE);
        err = err ?: vdpa_device_advance(d, VDPA_EVENT_START, errp);
        vdpa_step_ends(d, VDPA_STEP_START);
        return err;
    }
    err = err ?: vdpa_device_advance(d, VDPA_EVENT_START, errp);
    vdpa_step_ends(d, VDPA_STEP_START);
    err = err ?: d->frontend->restore(d->frontend_opaque, errp);
    vdpa_step_ends(d, VDPA_STEP_CONTROL);
    err = err ?: vdpa_queues_enable(d, false, errp);
    vdpa_step_ends(d, VDPA_STEP_ENABLE);
    return err;
}

/* Queues that the device cannot have served yet are where they were. */
static void launch_undo(VdpaDevice *d, bool served)
{
    vdpa_queues_pause(d, true);
    vdpa_device_reset(d);
    FOR_EACH_QUEUE(d, q) {
        vdpa_queue_detach(q);
        if (!served) {
            q->stopped_at = q->guest.base;
        }
    }
}

/* Memory is mapped. On failure the device is reset. */
static int launch_now(VdpaDevice *d, Error **errp)
{
    bool served;
    int err;

    vdpa_model_end(d);
    err = prepare(d, errp);
    served = !err;
    err = err ?: start_and_enable(d, errp);
    if (err) {
        launch_undo(d, served);
        return err;
    }
    d->stats.launches++;
    vdpa_map_live(d->map, true);
    vdpa_queues_run(d, true);
    switch_ends(d);
    vdpa_rings_ahead(d);
    return 0;
}

/*
 * The address space to map. A PCI device without a vIOMMU has a view of its own
 * of the machine's memory if its driver accepted ACCESS_PLATFORM; that memory has
 * been mapped since QEMU started.
 */
static AddressSpace *memory_of(const VdpaDevice *d)
{
    BusState *bus = qdev_get_parent_bus(DEVICE(d->vdev));
    Object *transport = bus ? OBJECT(bus->parent) : NULL;

    if (transport && object_dynamic_cast(transport, TYPE_PCI_DEVICE) &&
        pci_device_iommu_address_space(PCI_DEVICE(transport)) ==
        &address_space_memory) {
        return &address_space_memory;
    }
    return d->vdev->dma_as;
}

static void memory_ready(void *opaque);

/* 0: all of it is mapped. -EINPROGRESS: it is waited for. */
static int await_memory(VdpaDevice *d, Error **errp)
{
    int err = -EINPROGRESS;

    if (!d->held) {
        vdpa_map_begin(d->map, memory_of(d));
        if (!vdpa_rings_kept(d)) {
            vdpa_rings_drop(d);
        }
        err = vdpa_map_when_ready(d->map, memory_ready, d, errp);
    }
    return err;
}

static void memory_ready(void *opaque)
{
    VdpaDevice *d = opaque;
    Error *err = NULL;

    if (await_memory(d, &err) == -EINPROGRESS) {
        return;
    }
    d->phase = VDPA_LAUNCHED;
    if (err || launch_now(d, &err)) {
        vdpa_device_fail(d, err);
    }
}

void vdpa_device_hold(VdpaDevice *d, bool hold)
{
    GLOBAL_STATE_CODE();
    trace_vdpa_hold(d, hold);
    d->held = hold;
    if (hold && d->phase == VDPA_HALTED) {
        vdpa_map_let_go(d->map);
    } else if (!hold && d->phase == VDPA_WAITING) {
        memory_ready(d);
    } else if (!hold && !vdpa_map_space(d->map)) {
        vdpa_map_begin(d->map, &address_space_memory);
    }
}

int vdpa_device_launch(VdpaDevice *d, VirtIODevice *vdev, Error **errp)
{
    int err;

    GLOBAL_STATE_CODE();
    d->vdev = vdev;
    FOR_EACH_QUEUE(d, q) {
        q->stopped_at = q->guest.base;
    }
    err = d->frontend && d->frontend->accepted
          ? d->frontend->accepted(d->frontend_opaque, d->features, errp) : 0;
    if (err) {
        return err;
    }
    err = await_memory(d, errp);
    d->phase = err == -EINPROGRESS ? VDPA_WAITING : VDPA_LAUNCHED;
    trace_vdpa_launch(d, d->phase == VDPA_WAITING);
    if (d->phase == VDPA_WAITING) {
        vdpa_model_begin(d);
        return 0;
    }
    err = err ?: launch_now(d, errp);
    if (err) {
        d->phase = VDPA_HALTED;
        vdpa_map_drop(d->map);      /* the next launch tries again to map */
    }
    return err;
}

/* --- halt --------------------------------------------------------------- */

/* Stops the device with nothing in flight, by a reset if need be. */
static void quiesce(VdpaDevice *d, bool suspend)
{
    Error *err = NULL;

    vdpa_steps_begin(d);
    d->stats.halted = true;
    vdpa_queues_pause(d, true);
    if (suspend && vdpa_status_may(&d->status, VDPA_EVENT_SUSPEND) &&
        vdpa_fd_has(&d->fd, VHOST_BACKEND_F_SUSPEND) &&
        vdpa_device_advance(d, VDPA_EVENT_SUSPEND, &err)) {
        vdpa_warn_reportf_err(err, "vhost-vdpa: ");
    }
    vdpa_step_ends(d, VDPA_STEP_SUSPEND);
    if (!vdpa_queues_idle(d, true)) {
        vdpa_device_reset(d);
    }
    vdpa_step_ends(d, VDPA_STEP_POSITIONS);
    vdpa_queues_detach(d);
    vdpa_step_ends(d, VDPA_STEP_DETACH);
}

static void stop(VdpaDevice *d, bool suspend)
{
    bool waiting = d->phase == VDPA_WAITING;

    if (d->phase == VDPA_HALTED) {
        return;
    }
    trace_vdpa_halt(d);
    vdpa_model_end(d);
    d->phase = VDPA_HALTED;
    vdpa_map_forget_ready(d->map);
    vdpa_map_live(d->map, false);
    if (waiting) {
        switch_forgotten(d);
    } else {
        quiesce(d, suspend);
    }
}

void vdpa_device_halt(VdpaDevice *d)
{
    GLOBAL_STATE_CODE();
    stop(d, true);
}

static void remap_all(VdpaDevice *d, uint64_t first, uint64_t last)
{
    FOR_EACH_QUEUE(d, q) {
        if (q->kind && q->kind->remap) {
            q->kind->remap(q, first, last);
        }
    }
}

/*
 * After a reset that forgets maps, memory is mapped again when needed. Queues
 * that are still to be detached do not rely on the maps that are gone.
 */
void vdpa_device_reset(VdpaDevice *d)
{
    Error *err = NULL;

    GLOBAL_STATE_CODE();
    if (d->status.state == VDPA_STATE_RESET) {
        return;
    }
    if (vdpa_device_advance(d, VDPA_EVENT_RESET, &err)) {
        vdpa_error_reportf_err(err, "vhost-vdpa: ");
    }
    if (!vdpa_fd_has(&d->fd, VHOST_BACKEND_F_IOTLB_PERSIST)) {
        vdpa_map_drop(d->map);
        remap_all(d, 0, UINT64_MAX);
    }
}

/*
 * A VM that stops because it has migrated is to stop soon, and a reset may take
 * long. A suspended device accesses no memory; it is reset when the migration has
 * ended (vdpa_device_settle()), or when it is launched again.
 */
static bool reset_later(const VdpaDevice *d)
{
    return runstate_check(RUN_STATE_FINISH_MIGRATE) &&
           d->status.state == VDPA_STATE_SUSPENDED &&
           vdpa_map_space(d->map) == &address_space_memory;
}

void vdpa_device_settle(VdpaDevice *d)
{
    GLOBAL_STATE_CODE();
    if (d->phase == VDPA_HALTED && d->status.state == VDPA_STATE_SUSPENDED) {
        vdpa_device_reset(d);
    }
}

void vdpa_device_leave(VdpaDevice *d)
{
    GLOBAL_STATE_CODE();
    if (!reset_later(d)) {
        vdpa_device_reset(d);
    }
    if (vdpa_map_space(d->map) != &address_space_memory) {
        vdpa_map_drop(d->map);
    }
    for (unsigned i = 0; i < d->nqueues; i++) {
        d->queue[i].ready = false;
    }
    d->vdev = NULL;
    if (d->frontend && d->frontend->left) {
        d->frontend->left(d->frontend_opaque);
    }
}

void vdpa_device_fail(VdpaDevice *d, Error *err)
{
    VirtIODevice *vdev = d->vdev;

    GLOBAL_STATE_CODE();
    switch_fails(d);
    vdpa_device_halt(d);
    vdpa_device_reset(d);
    vdpa_rings_drop(d);
    vdpa_map_drop(d->map);
    vdpa_device_report(d, vdev, err);
}

/* --- switch ------------------------------------------------------------- */

static bool can_resume(const VdpaDevice *d)
{
    return vdpa_fd_has(&d->fd, VHOST_BACKEND_F_SUSPEND) &&
           vdpa_fd_has(&d->fd, VHOST_BACKEND_F_RESUME) &&
           d->can_rebase != VDPA_REBASE_NO;
}

static int exchange(VdpaQueue *q, Error **errp)
{
    int err = vdpa_queue_enable(q, false, errp);

    if (err) {
        return err;
    }
    vdpa_queue_detach(q);
    if (q->stopped_at < 0) {
        error_setg(errp, "queue %u: the device does not say where it is",
                   q->index);
        return -EIO;
    }
    err = vdpa_queue_attach(q, true, errp);
    return err ?: vdpa_queue_enable(q, true, errp);
}

/* The data queues, while the device is suspended. */
static int switch_suspended(VdpaDevice *d, Error **errp)
{
    int err;

    FOR_EACH_QUEUE(d, q) {
        err = vdpa_queue_stays(q) ? 0 : exchange(q, errp);
        if (err) {
            return err;
        }
    }
    err = vdpa_device_advance(d, VDPA_EVENT_RESUME, errp);
    return err ?: vdpa_queues_enable(d, true, errp);    /* see vdpa-quirks.c */
}

/* Stop the device, and launch it again where it stopped. */
static int switch_anew(VdpaDevice *d, bool suspend, Error **errp)
{
    VirtIODevice *vdev = d->vdev;

    stop(d, suspend);
    FOR_EACH_QUEUE(d, q) {
        if (q->stopped_at < 0) {
            virtio_queue_restore_last_avail_idx(vdev, q->index);
            q->guest.base = virtio_queue_get_last_avail_idx(vdev, q->index);
        }
    }
    vdpa_device_reset(d);
    return vdpa_device_launch(d, vdev, errp);
}

/*
 * Whether the device is suspended, with nothing in flight, and lets its queues be
 * put elsewhere. What it refuses here costs a reset, not the migration.
 */
static bool suspend(VdpaDevice *d)
{
    Error *err = NULL;
    bool can_rebase;

    vdpa_queues_pause(d, false);
    if (vdpa_device_advance(d, VDPA_EVENT_SUSPEND, &err) ||
        vdpa_quirks_can_rebase(d, &can_rebase, &err)) {
        warn_reportf_err(err, "vhost-vdpa: the device is reset for a switch: ");
        return false;
    }
    return can_rebase && vdpa_queues_idle(d, false);
}

static int switch_now(VdpaDevice *d, Error **errp)
{
    int err;

    if (!can_resume(d)) {
        return switch_anew(d, true, errp);
    }
    if (!suspend(d)) {
        return switch_anew(d, false, errp);
    }
    err = switch_suspended(d, errp);
    if (!err) {
        vdpa_queues_run(d, false);
    }
    return err;
}

/* From wherever a switch has got to: launched again as it was before. */
static void switch_undo(VdpaDevice *d)
{
    Error *err = NULL;

    if (switch_anew(d, true, &err)) {
        vdpa_device_fail(d, err);
    }
}

int vdpa_device_switch(VdpaDevice *d, VdpaMode mode, const char *reason,
                       Error **errp)
{
    VdpaMode old = d->mode;
    const char *old_reason = d->reason;
    int err;

    GLOBAL_STATE_CODE();
    if (d->always_shadow || mode == d->mode) {
        return 0;
    }
    d->mode = mode;
    d->reason = reason;
    if (d->phase != VDPA_LAUNCHED || d->shared_asid) {
        return 0;
    }
    switch_begins(d);
    err = switch_now(d, errp);
    if (!err) {
        if (d->phase != VDPA_WAITING) {
            switch_ends(d);
        }
        return 0;
    }
    switch_fails(d);
    d->mode = old;
    d->reason = mode == VDPA_MODE_PASSTHROUGH ? "the switch back failed" : old_reason;
    switch_undo(d);
    return err;
}

/* --- changes of memory --------------------------------------------------- */

/* Maps are also dropped when a device was reset and its queues are detached. */
static bool runs(const VdpaDevice *d)
{
    return d->status.state == VDPA_STATE_DRIVER_OK ||
           d->status.state == VDPA_STATE_SUSPENDED;
}

void vdpa_device_memory_changed(void *opaque, uint64_t first, uint64_t last)
{
    VdpaDevice *d = opaque;

    if (d->phase == VDPA_LAUNCHED && runs(d)) {
        remap_all(d, first, last);
    }
}
