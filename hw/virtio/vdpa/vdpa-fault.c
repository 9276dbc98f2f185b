/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What goes wrong with a vDPA device, and who is told.
 *
 * Theory of operation
 * -------------------
 * The user gets one line, which is also kept for queries; a guest that does it
 * again and again does not fill the log (vdpa-report.h). The guest sees that the
 * device is broken as in virtio_error(): DEVICE_NEEDS_RESET, and no queue of it is
 * served by QEMU's own model until the guest has reset it.
 *
 * The status changes at once; so it is part of what a migration sends. It changes
 * again in a bottom half: when a start fails, virtio_set_status() is on the stack,
 * and stores the guest's status once the device has returned. The interrupt waits for
 * the bottom half, too: its message goes where the guest wants it to, and if that
 * is device_status of this device, it halts the device and frees its queues.
 * Faults are found in the middle of serving a queue, while the device is halted,
 * and while the memory map changes.
 *
 * Lifetime: the bottom half goes with the VdpaDevice, which may outlive the
 * virtio device; so it holds a reference to that.
 *
 * Thread model: the BQL.
 *
 * Limits: a fault that is found while the machine stops to be migrated is in the
 * status at the destination, but does not interrupt the guest there.
 */
#include "qemu/osdep.h"
#include <sys/resource.h>
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "vdpa-internal.h"
#include "vdpa-guest-mem.h"
#include "hw/virtio/vdpa/core/vdpa-report.h"

static void set_needs_reset(VirtIODevice *vdev)
{
    if (virtio_vdev_has_feature(vdev, VIRTIO_F_VERSION_1)) {
        vdev->status |= VIRTIO_CONFIG_S_NEEDS_RESET;
    }
}

/*
 * virtio_notify_config() does not interrupt the guest for a device that is
 * broken. The message may reset the device: it can reach the configuration of a
 * bridge above it.
 */
static void interrupt(VirtIODevice *vdev)
{
    VDPA_IO_GUARD(vdev);

    vdev->broken = false;
    virtio_notify_config(vdev);
    vdev->broken = vdev->status & VIRTIO_CONFIG_S_DRIVER_OK;
}

/* The device may have been reset meanwhile, or be on its way out. */
static void notify_fault(void *opaque)
{
    VdpaDevice *d = opaque;
    VirtIODevice *vdev = g_steal_pointer(&d->faulty);

    if (!vdev) {
        return;
    }
    if (vdev->broken && DEVICE(vdev)->realized) {
        set_needs_reset(vdev);
        if (vdev->status & VIRTIO_CONFIG_S_NEEDS_RESET &&
            vdev->status & VIRTIO_CONFIG_S_DRIVER_OK) {
            interrupt(vdev);
        }
    }
    object_unref(OBJECT(vdev));
}

static void break_device(VdpaDevice *d, VirtIODevice *vdev, const char *reason)
{
    vdpa_error_report("vhost-vdpa: %s", reason);
    set_needs_reset(vdev);
    vdev->broken = true;
    if (!d->faulty) {
        d->faulty = VIRTIO_DEVICE(object_ref(OBJECT(vdev)));
        qemu_bh_schedule(d->fault_bh);
    }
}

void vdpa_device_fault(VdpaDevice *d, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_free(d->last_error);
    d->last_error = g_strdup_vprintf(format, args);
    va_end(args);
    if (d->vdev) {
        break_device(d, d->vdev, d->last_error);
    }
}

void vdpa_device_report(VdpaDevice *d, VirtIODevice *vdev, Error *err)
{
    g_free(d->last_error);
    d->last_error = g_strdup(error_get_pretty(err));
    error_free(err);
    if (d->frontend) {
        vdpa_error_report("vhost-vdpa: %s", d->last_error);
        d->frontend->failed(d->frontend_opaque);
    } else if (vdev) {
        break_device(d, vdev, d->last_error);
    }
}

/*
 * Before the device is launched, vhost opens eventfds and maps rings: if that
 * fails, the errno is all that there is to say.
 */
static Error *start_error(int error)
{
    struct rlimit limit;
    Error *err = NULL;

    if (error == -EMFILE && !getrlimit(RLIMIT_NOFILE, &limit)) {
        error_setg(&err, "cannot start the device: QEMU has no file descriptors"
                   " left, RLIMIT_NOFILE is %" PRIu64 "; raise it (ulimit -n)",
                   (uint64_t)limit.rlim_cur);
    } else {
        error_setg_errno(&err, -error, "cannot start the device: vhost cannot"
                         " set the queues up");
    }
    return err;
}

void vdpa_device_start_failed(VdpaDevice *d, VirtIODevice *vdev, int error)
{
    if (!d->faulty) {       /* else the launch has reported it */
        vdpa_device_report(d, vdev, start_error(error));
    }
}

void vdpa_fault_init(VdpaDevice *d)
{
    d->fault_bh = qemu_bh_new(notify_fault, d);
}

void vdpa_fault_destroy(VdpaDevice *d)
{
    qemu_bh_delete(d->fault_bh);
    if (d->faulty) {
        object_unref(OBJECT(d->faulty));
    }
}
