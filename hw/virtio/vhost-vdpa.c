/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * vhost-vdpa: what vhost asks of its backend.
 *
 * Theory of operation
 * -------------------
 * vhost drives several struct vhost_dev for one device (one per queue pair,
 * one for the control queue), each in small steps. Here the steps of all of
 * them are written into the one VdpaDevice's table of queues (vdpa-device.h),
 * and the device is launched when the last of them is started, halted when the
 * first is stopped:
 *
 *   set_features, set_vring_{num,base,addr,kick,call}   note down
 *   dev_start(true)      of the last: launch
 *   dev_start(false)     of the first: halt; where the queues are is known then
 *   get_vring_base       what halt found
 *   reset_status         of the last: reset
 *
 * While the device runs, what is noted down changes nothing, except interrupts
 * (masked and unmasked at any time).
 *
 * A start may fail at any step: vhost runs out of file descriptors, a ring is no
 * RAM, an ioctl fails. vhost then stops the queues that it has started, and
 * writes what get_vring_base() answers into the guest's virtqueue. So the answer
 * is where this start put the queue, from set_vring_base() on, and never where
 * an earlier run left it. A start that fails leaves the device reset, without a
 * virtio device, and no queue ready.
 *
 * Thread model: the BQL.
 *
 * Limits: vhost's dirty log does not exist here. The feature bit for it is
 * shown to vhost nevertheless, as shadow queues log what they write.
 */
#include "qemu/osdep.h"
#include <sys/ioctl.h>
#include <linux/vhost.h>
#include "hw/virtio/vhost.h"
#include "hw/virtio/vhost-backend.h"
#include "hw/virtio/vhost-vdpa.h"
#include "hw/virtio/vdpa/core/vdpa-shadow-ring.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "exec/ramblock.h"
#include "hw/virtio/vdpa/vdpa-device.h"
#include "trace.h"

static VdpaDevice *device_of(struct vhost_dev *dev)
{
    struct vhost_vdpa *v = dev->opaque;

    return v->shared->device;
}

static VdpaFd *fd_of(struct vhost_dev *dev)
{
    return vdpa_device_fd(device_of(dev));
}

static bool is_first(const struct vhost_dev *dev)
{
    return dev->vq_index == 0;
}

static bool is_last(const struct vhost_dev *dev)
{
    return dev->vq_index + (int)dev->nvqs == dev->vq_index_end;
}

int vhost_vdpa_get_iova_range(int fd, struct vhost_vdpa_iova_range *range)
{
    return ioctl(fd, VHOST_VDPA_GET_IOVA_RANGE, range) < 0 ? -errno : 0;
}

/* --- begin and end ------------------------------------------------------ */

static void last_user(VhostVDPAShared *shared)
{
    vdpa_device_free(g_steal_pointer(&shared->device));
    ram_block_uncoordinated_discard_disable(false);
}

static int first_user(struct vhost_dev *dev, struct vhost_vdpa *v, Error **errp)
{
    VhostVDPAShared *shared = v->shared;
    int err = ram_block_uncoordinated_discard_disable(true);

    if (err) {
        error_setg_errno(errp, -err, "vhost-vdpa: cannot keep guest memory from"
                         " being discarded");
        return err;
    }
    shared->device = vdpa_device_new(shared->device_fd, shared->iova_range.first,
                                     shared->iova_range.last, errp);
    if (!shared->device) {
        ram_block_uncoordinated_discard_disable(false);
        return -EBUSY;
    }
    return 0;
}

static int backend_init(struct vhost_dev *dev, void *opaque, Error **errp)
{
    struct vhost_vdpa *v = opaque;
    int err = v->shared->device ? 0 : first_user(dev, v, errp);

    if (err) {
        return err;
    }
    v->shared->users++;
    v->dev = dev;
    dev->opaque = v;
    dev->backend_cap = fd_of(dev)->backend;
    return 0;
}

static int backend_cleanup(struct vhost_dev *dev)
{
    struct vhost_vdpa *v = dev->opaque;

    if (!v) {
        return 0;       /* init failed */
    }
    dev->opaque = NULL;
    if (--v->shared->users == 0) {
        last_user(v->shared);
    }
    return 0;
}

static int memslots_limit(struct vhost_dev *dev)
{
    return INT_MAX;
}

/* Ours since it was opened. */
static int set_owner(struct vhost_dev *dev)
{
    return 0;
}

static int set_mem_table(struct vhost_dev *dev, struct vhost_memory *mem)
{
    return 0;
}

/* --- features ----------------------------------------------------------- */

/*
 * The kernel has no command that resets one queue: a guest that does so would
 * believe in vain that the device has let go of its ring. A device whose queues
 * are always shadowed offers what a shadow queue supports.
 */
static int get_features(struct vhost_dev *dev, uint64_t *features)
{
    struct vhost_vdpa *v = dev->opaque;
    int err = vdpa_fd_command(fd_of(dev), VDPA_GET_FEATURES, features);

    if (!err) {
        *features &= ~BIT_ULL(VIRTIO_F_RING_RESET);
        if (v->shared->always_shadow) {
            *features &= ~vdpa_shadow_ring_refused(*features);
        }
        *features |= BIT_ULL(VHOST_F_LOG_ALL);
    }
    return err;
}

/*
 * The first step of a start. No queue is ready from an earlier start that
 * failed: vhost stops a queue only if it started all of it.
 */
static int set_features(struct vhost_dev *dev, uint64_t features)
{
    if (is_first(dev)) {
        vdpa_device_set_features(device_of(dev),
                                 features & ~BIT_ULL(VHOST_F_LOG_ALL));
    }
    return 0;
}

static int set_backend_cap(struct vhost_dev *dev)
{
    dev->backend_cap = fd_of(dev)->backend;
    return 0;
}

static int get_device_id(struct vhost_dev *dev, uint32_t *id)
{
    return vdpa_fd_command(fd_of(dev), VDPA_GET_DEVICE_ID, id);
}

static bool force_iommu(struct vhost_dev *dev)
{
    return true;
}

/* --- configuration ------------------------------------------------------ */

static int config_access(struct vhost_dev *dev, VdpaCommand command,
                         uint32_t offset, uint8_t *data, uint32_t size)
{
    g_autofree struct vhost_vdpa_config *config =
        g_malloc0(sizeof(*config) + size);
    int err;

    config->off = offset;
    config->len = size;
    memcpy(config->buf, data, size);
    err = vdpa_fd_command(fd_of(dev), command, config);
    if (!err) {
        memcpy(data, config->buf, size);
    }
    return err;
}

static int get_config(struct vhost_dev *dev, uint8_t *config, uint32_t size,
                      Error **errp)
{
    int err = config_access(dev, VDPA_GET_CONFIG, 0, config, size);

    if (err) {
        error_setg_errno(errp, -err, "vhost-vdpa: cannot %s",
                         vdpa_fd_name(VDPA_GET_CONFIG));
    } else {
        vdpa_device_adjust_config(device_of(dev), config, size);
    }
    return err;
}

static int set_config(struct vhost_dev *dev, const uint8_t *data,
                      uint32_t offset, uint32_t size, uint32_t flags)
{
    g_autofree uint8_t *copy = g_memdup2(data, size);

    return config_access(dev, VDPA_SET_CONFIG, offset, copy, size);
}

static int set_config_call(struct vhost_dev *dev, int fd)
{
    return vdpa_device_set_config_call(device_of(dev), fd);
}

/* --- queues: noted down ------------------------------------------------- */

/*
 * The queue to set up; NULL while the device is launched, and before the first
 * start, when vhost has not distributed the indexes yet.
 */
static VdpaQueue *queue_to_set_up(struct vhost_dev *dev, unsigned index)
{
    VdpaDevice *d = device_of(dev);

    return vdpa_device_launched(d) || !dev->vq_index_end
           ? NULL : vdpa_device_queue(d, index);
}

static int set_vring_num(struct vhost_dev *dev, struct vhost_vring_state *state)
{
    VdpaQueue *q = queue_to_set_up(dev, state->index);

    if (q) {
        q->guest.num = state->num;
    }
    return 0;
}

static int set_vring_base(struct vhost_dev *dev,
                          struct vhost_vring_state *state)
{
    VdpaQueue *q = queue_to_set_up(dev, state->index);

    if (q) {
        q->guest.base = q->stopped_at = state->num;
    }
    return 0;
}

/* vhost gives the address last of what a queue needs: it is complete then. */
static int set_vring_addr(struct vhost_dev *dev, struct vhost_vring_addr *addr)
{
    VdpaQueue *q = queue_to_set_up(dev, addr->index);

    if (q) {
        q->guest.desc = addr->desc_user_addr;
        q->guest.avail = addr->avail_user_addr;
        q->guest.used = addr->used_user_addr;
        q->ready = true;
    }
    return 0;
}

static int set_vring_kick(struct vhost_dev *dev, struct vhost_vring_file *file)
{
    VdpaQueue *q = queue_to_set_up(dev, file->index);

    if (q) {
        q->guest.kick = file->fd;
    }
    return 0;
}

static int set_vring_call(struct vhost_dev *dev, struct vhost_vring_file *file)
{
    if (!dev->vq_index_end) {
        return 0;
    }
    return vdpa_device_call(device_of(dev), file->index, file->fd);
}

/* The launch enables what the guest has set up. */
static int set_vring_enable(struct vhost_dev *dev, int enable)
{
    return 0;
}

/* Not only vhost asks, but x-query-virtio-queue-status, too, of a running one. */
static int get_vring_base(struct vhost_dev *dev, struct vhost_vring_state *state)
{
    VdpaDevice *d = device_of(dev);
    VdpaQueue *q = vdpa_device_queue(d, state->index);

    if (vdpa_device_launched(d)) {
        return -1;
    }
    q->ready = false;
    if (q->stopped_at < 0) {
        return -EIO;    /* vhost reads it off the guest's used ring */
    }
    state->num = q->stopped_at;
    return 0;
}

static int get_vq_index(struct vhost_dev *dev, int index)
{
    return index;
}

static int vq_get_addr(struct vhost_dev *dev, struct vhost_vring_addr *addr,
                       struct vhost_virtqueue *vq)
{
    addr->desc_user_addr = vq->desc_phys;
    addr->avail_user_addr = vq->avail_phys;
    addr->used_user_addr = vq->used_phys;
    return 0;
}

/* What the guest's IOMMU says reaches the device's own maps: vdpa-map.c. */
static int send_device_iotlb_msg(struct vhost_dev *dev,
                                 struct vhost_iotlb_msg *msg)
{
    return 0;
}

/* --- start and stop ----------------------------------------------------- */

static int start(struct vhost_dev *dev)
{
    VdpaDevice *d = device_of(dev);
    Error *err = NULL;
    int ret;

    if (!is_last(dev)) {
        return 0;
    }
    ret = vdpa_device_launch(d, dev->vdev, &err);
    if (ret) {
        vdpa_device_report(d, dev->vdev, err);
        vdpa_device_leave(d);
    }
    return ret;
}

void vhost_vdpa_report_start(struct vhost_vdpa *v, VirtIODevice *vdev,
                             int error)
{
    vdpa_device_start_failed(v->shared->device, vdev, error);
}

static int dev_start(struct vhost_dev *dev, bool started)
{
    if (started) {
        return start(dev);
    }
    vdpa_device_halt(device_of(dev));
    return 0;
}

static void reset_status(struct vhost_dev *dev)
{
    if (is_last(dev)) {
        vdpa_device_leave(device_of(dev));
    }
}

static int reset_device(struct vhost_dev *dev)
{
    VdpaDevice *d = device_of(dev);

    vdpa_device_halt(d);
    vdpa_device_reset(d);
    return 0;
}

static int set_log_base(struct vhost_dev *dev, uint64_t base,
                        struct vhost_log *log)
{
    return 0;
}

const VhostOps vdpa_ops = {
    .backend_type = VHOST_BACKEND_TYPE_VDPA,

    .vhost_backend_init = backend_init,
    .vhost_backend_cleanup = backend_cleanup,
    .vhost_backend_memslots_limit = memslots_limit,
    .vhost_set_owner = set_owner,
    .vhost_set_mem_table = set_mem_table,
    .vhost_set_log_base = set_log_base,

    .vhost_get_features = get_features,
    .vhost_set_features = set_features,
    .vhost_set_backend_cap = set_backend_cap,
    .vhost_get_device_id = get_device_id,
    .vhost_force_iommu = force_iommu,

    .vhost_get_config = get_config,
    .vhost_set_config = set_config,
    .vhost_set_config_call = set_config_call,

    .vhost_set_vring_num = set_vring_num,
    .vhost_set_vring_base = set_vring_base,
    .vhost_get_vring_base = get_vring_base,
    .vhost_set_vring_addr = set_vring_addr,
    .vhost_set_vring_kick = set_vring_kick,
    .vhost_set_vring_call = set_vring_call,
    .vhost_set_vring_enable = set_vring_enable,
    .vhost_get_vq_index = get_vq_index,
    .vhost_vq_get_addr = vq_get_addr,

    .vhost_send_device_iotlb_msg = send_device_iotlb_msg,

    .vhost_dev_start = dev_start,
    .vhost_reset_status = reset_status,
    .vhost_reset_device = reset_device,
};
