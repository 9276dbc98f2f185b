/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A vDPA device: made, set up, asked, freed. What it does: vdpa-lifecycle.c.
 *
 * Thread model: the BQL.
 *
 * Limits: none.
 */
#include "qemu/osdep.h"
#include <linux/qemu-live-uapi.h>
#include "hw/virtio/virtio.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "system/iothread.h"
#include "hw/virtio/trace.h"
#include "vdpa-internal.h"

#define WANTED_FEATURES                                     \
    (BIT_ULL(VHOST_BACKEND_F_IOTLB_MSG_V2) |                \
     BIT_ULL(VHOST_BACKEND_F_IOTLB_BATCH) |                 \
     BIT_ULL(VHOST_BACKEND_F_IOTLB_ASID) |                  \
     BIT_ULL(VHOST_BACKEND_F_SUSPEND) |                     \
     BIT_ULL(VHOST_BACKEND_F_RESUME) |                      \
     BIT_ULL(VHOST_BACKEND_F_ENABLE_AFTER_DRIVER_OK) |      \
     BIT_ULL(VHOST_BACKEND_F_IOTLB_PERSIST))

static QTAILQ_HEAD(, VdpaDevice) devices = QTAILQ_HEAD_INITIALIZER(devices);

/* --- setters and getters -------------------------------------------------- */

void vdpa_device_set_frontend(VdpaDevice *d, const VdpaFrontendOps *ops,
                              void *opaque)
{
    d->frontend = ops;
    d->frontend_opaque = opaque;
}

void vdpa_device_set_path(VdpaDevice *d, const char *path)
{
    g_free(d->path);
    d->path = g_strdup(path);
}

void vdpa_device_set_always_shadow(VdpaDevice *d, const char *reason)
{
    d->always_shadow = true;
    d->mode = VDPA_MODE_SHADOW;
    d->reason = reason;
}

void vdpa_device_set_control_kind(VdpaDevice *d, const VdpaQueueKind *kind,
                                  unsigned asid)
{
    d->control_kind = kind;
    d->control_asid = asid;
}

void vdpa_device_set_features(VdpaDevice *d, uint64_t features)
{
    if (d->phase != VDPA_HALTED) {
        return;
    }
    d->features = features;
    for (unsigned i = 0; i < d->nqueues; i++) {
        d->queue[i].ready = false;
    }
}

void vdpa_device_set_control_queue(VdpaDevice *d, int index)
{
    d->control = index;
}

int vdpa_device_set_config_call(VdpaDevice *d, int fd)
{
    d->config_call = fd;
    return d->phase == VDPA_LAUNCHED
           ? vdpa_fd_command(&d->fd, VDPA_SET_CONFIG_CALL, &fd) : 0;
}

VdpaFd *vdpa_device_fd(VdpaDevice *d)
{
    return &d->fd;
}

VdpaMap *vdpa_device_map(VdpaDevice *d)
{
    return d->map;
}

VirtIODevice *vdpa_device_vdev(const VdpaDevice *d)
{
    return d->vdev;
}

uint64_t vdpa_device_features(const VdpaDevice *d)
{
    return d->features;
}

bool vdpa_device_launched(const VdpaDevice *d)
{
    return d->phase != VDPA_HALTED;
}

VdpaQueue *vdpa_device_control_queue(VdpaDevice *d)
{
    return d->control < 0 ? NULL : &d->queue[d->control];
}

unsigned vdpa_device_control_asid(const VdpaDevice *d)
{
    return d->shared_asid ? VDPA_ASID_GUEST : d->control_asid;
}

bool vdpa_device_uses_fd(int fd)
{
    VdpaDevice *d;

    QTAILQ_FOREACH(d, &devices, next) {
        if (d->fd.fd == fd) {
            return true;
        }
    }
    return false;
}

void vdpa_device_adjust_config(VdpaDevice *d, uint8_t *config, size_t size)
{
    if (d->frontend) {
        d->frontend->config(d->frontend_opaque, config, size);
    }
}

/* --- queues and devices --------------------------------------------------- */

int vdpa_device_call(VdpaDevice *d, unsigned index, int fd)
{
    VdpaQueue *q = vdpa_device_queue(d, index);

    q->guest.call = fd;
    if (!q->kind || !q->kind->interrupts) {
        return 0;
    }
    return vdpa_fd_queue_fd(&d->fd, VDPA_SET_QUEUE_CALL, index, fd);
}

VdpaQueue *vdpa_device_queue(VdpaDevice *d, unsigned index)
{
    assert(index < VIRTIO_QUEUE_MAX);
    d->nqueues = MAX(d->nqueues, index + 1);
    return &d->queue[index];
}

/* Without one, the main loop does its work. */
static IOThread *iothread_new(int fd)
{
    g_autofree char *id = g_strdup_printf("vhost-vdpa-%d", fd);
    Error *err = NULL;
    IOThread *iothread = iothread_create(id, &err);

    if (err) {
        warn_reportf_err(err, "vhost-vdpa: the main loop serves shadow queues: ");
    }
    return iothread;
}

static void iothread_drop(VdpaDevice *d)
{
    if (d->foreign_iothread) {
        object_unref(OBJECT(d->iothread));
    } else if (d->iothread) {
        iothread_destroy(d->iothread);
    }
    d->iothread = NULL;
}

void vdpa_device_set_iothread(VdpaDevice *d, IOThread *iothread)
{
    GLOBAL_STATE_CODE();
    object_ref(OBJECT(iothread));
    iothread_drop(d);
    d->iothread = iothread;
    d->foreign_iothread = true;
}

VdpaDevice *vdpa_device_new(int fd, uint64_t first, uint64_t last, Error **errp)
{
    VdpaDevice *d = g_new0(VdpaDevice, 1);
    int err;

    GLOBAL_STATE_CODE();
    vdpa_fd_init(&d->fd, fd);
    err = vdpa_fd_command(&d->fd, VDPA_SET_OWNER, NULL);
    if (err) {
        error_setg_errno(errp, -err, "cannot take the device; is it in use?");
        g_free(d);
        return NULL;
    }
    err = vdpa_fd_agree(&d->fd, WANTED_FEATURES);
    if (err) {
        error_setg_errno(errp, -err, "cannot agree on features with the kernel");
        g_free(d);
        return NULL;
    }
    trace_vdpa_device(d, fd, d->fd.backend);
    vdpa_status_init(&d->status, &d->fd);
    for (unsigned i = 0; i < VIRTIO_QUEUE_MAX; i++) {
        d->queue[i] = (VdpaQueue) {
            .device = d, .index = i, .guest = { .kick = -1, .call = -1 },
        };
    }
    d->iothread = iothread_new(fd);
    d->control = d->config_call = -1;
    d->reason = "no migration";
    vdpa_fault_init(d);
    d->map = vdpa_map_new(&d->fd, first, last);
    vdpa_map_set_changed(d->map, vdpa_device_memory_changed, d);
    QTAILQ_INSERT_TAIL(&devices, d, next);
    return d;
}

void vdpa_device_free(VdpaDevice *d)
{
    bool idle;

    GLOBAL_STATE_CODE();
    vdpa_device_halt(d);
    vdpa_device_reset(d);
    QTAILQ_REMOVE(&devices, d, next);
    vdpa_rings_drop(d);
    idle = vdpa_map_destroy(d->map);
    vdpa_fault_destroy(d);
    iothread_drop(d);
    g_free(d->last_error);
    g_free(d->path);
    if (idle) {
        g_free(d);
    }
}

VdpaDevice *vdpa_device_first(void)
{
    return QTAILQ_FIRST(&devices);
}
