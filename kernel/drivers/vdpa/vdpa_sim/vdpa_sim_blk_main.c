// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Simulated disks (module vdpa_sim_blk): management device "vdpasim_blk".
 *
 *	modprobe vdpa_sim_blk capacity_mib=256 num_queues=2
 *	vdpa dev add name disk0 mgmtdev vdpasim_blk
 *
 * A disk lives in memory as long as its device does, resets included.  Each queue is a unit of its
 * own; a request is done when its batch is, so nothing is in flight once the device is suspended, and
 * a flush has nothing to wait for.
 *
 * Nothing is read or written before the whole request has been checked against the size of the disk
 * and the room in its buffers.  A request that has no room for its status is given back untouched.
 *
 * Reclaim may write memory back to a disk.  Its worker therefore allocates without starting I/O
 * (vdpa_sim_core.c).
 *
 * Limits: size and number of queues are the same for all disks.
 */
#include <linux/module.h>
#include <uapi/linux/vdpa.h>
#include <uapi/linux/virtio_ids.h>

#include "vdpa_sim_blk.h"

#define MAX_QUEUES 16
#define MAX_MIB	   (1U << 20)

static unsigned int capacity_mib = 128;
module_param(capacity_mib, uint, 0444);
MODULE_PARM_DESC(capacity_mib,
		 "size of a disk, 1 to 1048576 MiB; memory is taken as it is written");

static unsigned int num_queues = 1;
module_param(num_queues, uint, 0444);
MODULE_PARM_DESC(num_queues, "queues of a disk, 1 to 16");

struct vdpa_sim_blk {
	struct vdpa_sim_device sim; /* first */
	struct vdpa_sim_blk_store store;
};

static struct vdpa_sim_blk *vdpa_sim_blk_of(struct vdpa_sim_device *sim)
{
	return container_of(sim, struct vdpa_sim_blk, sim);
}

#define ALL_FEATURES                                                                               \
	(VDPA_SIM_FEATURES | BIT_ULL(VIRTIO_BLK_F_SEG_MAX) | BIT_ULL(VIRTIO_BLK_F_BLK_SIZE) |      \
	 BIT_ULL(VIRTIO_BLK_F_TOPOLOGY) | BIT_ULL(VIRTIO_BLK_F_FLUSH) | BIT_ULL(VIRTIO_BLK_F_MQ) | \
	 BIT_ULL(VIRTIO_BLK_F_DISCARD) | BIT_ULL(VIRTIO_BLK_F_WRITE_ZEROES))

static u64 vdpa_sim_blk_disk_sectors(void)
{
	return (u64)capacity_mib << (20 - VDPA_SIM_BLK_SECTOR_SHIFT);
}

/* Serving requests; functions return a virtio_blk status. */

static u8 vdpa_sim_blk_status_of(int ret)
{
	return ret ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK;
}

static u8 vdpa_sim_blk_clear_ranges(struct vdpa_sim_blk *blk,
				    const struct vdpa_sim_blk_limits *limits,
				    const struct vdpa_sim_blk_request *req,
				    struct vdpa_sim_cursor *from)
{
	struct virtio_blk_discard_write_zeroes ranges[VDPA_SIM_BLK_MAX_RANGES];
	size_t count = req->len / sizeof(*ranges);
	size_t i;

	if (vdpa_sim_read(from, ranges, req->len))
		return VIRTIO_BLK_S_IOERR;
	for (i = 0; i < count; i++)
		if (!vdpa_sim_blk_range_is_good(limits, req->action, &ranges[i]))
			return VIRTIO_BLK_S_IOERR;
	for (i = 0; i < count; i++)
		vdpa_sim_blk_store_clear(
			&blk->store, le64_to_cpu(ranges[i].sector) << VDPA_SIM_BLK_SECTOR_SHIFT,
			(u64)le32_to_cpu(ranges[i].num_sectors) << VDPA_SIM_BLK_SECTOR_SHIFT);
	return VIRTIO_BLK_S_OK;
}

static u8 vdpa_sim_blk_put_id(struct vdpa_sim_blk *blk, size_t room, struct vdpa_sim_cursor *to)
{
	char id[VIRTIO_BLK_ID_BYTES] = { 0 };

	strncpy(id, dev_name(&blk->sim.vdpa.dev), sizeof(id) - 1);
	return vdpa_sim_blk_status_of(vdpa_sim_write(to, id, min(room, sizeof(id))));
}

static u8 vdpa_sim_blk_perform(struct vdpa_sim_blk *blk, const struct vdpa_sim_blk_limits *limits,
			       const struct vdpa_sim_blk_request *req, struct vdpa_sim_cursor *from,
			       struct vdpa_sim_cursor *to)
{
	switch (req->action) {
	case VDPA_SIM_BLK_READ:
		return vdpa_sim_blk_status_of(
			vdpa_sim_blk_store_read(&blk->store, req->offset, req->len, to));
	case VDPA_SIM_BLK_WRITE:
		return vdpa_sim_blk_status_of(
			vdpa_sim_blk_store_write(&blk->store, req->offset, req->len, from));
	case VDPA_SIM_BLK_FLUSH:
		return VIRTIO_BLK_S_OK;
	case VDPA_SIM_BLK_ID:
		return vdpa_sim_blk_put_id(blk, req->len, to);
	case VDPA_SIM_BLK_DISCARD:
	case VDPA_SIM_BLK_ZERO:
		return vdpa_sim_blk_clear_ranges(blk, limits, req, from);
	case VDPA_SIM_BLK_REFUSE:
		break;
	}
	return req->status;
}

static u8 vdpa_sim_blk_run_request(struct vdpa_sim_blk *blk, struct vdpa_sim_queue *vq,
				   size_t readable, size_t writable)
{
	struct vdpa_sim_blk_limits limits = {
		.features = blk->sim.features,
		.sectors = vdpa_sim_blk_disk_sectors(),
	};
	struct virtio_blk_outhdr head;
	struct vdpa_sim_cursor from, to;
	struct vdpa_sim_blk_request req;
	u8 status;

	if (readable < sizeof(head) || vdpa_sim_fault(&blk->sim, VDPA_SIM_FAULT_DATA))
		return VIRTIO_BLK_S_IOERR;
	vdpa_sim_cursor_init(&from, vq, &vq->in);
	vdpa_sim_cursor_init(&to, vq, &vq->out);
	if (vdpa_sim_read(&from, &head, sizeof(head)))
		return VIRTIO_BLK_S_IOERR;
	req = vdpa_sim_blk_parse(&limits, &head, readable, writable);
	status = vdpa_sim_blk_perform(blk, &limits, &req, &from, &to);
	if (status == VIRTIO_BLK_S_OK)
		vq->stats.bytes += req.len;
	return status;
}

/* The status is the last byte that the driver wants written. */
static void vdpa_sim_blk_serve_one(struct vdpa_sim_blk *blk, struct vdpa_sim_queue *vq)
{
	size_t writable = vdpa_sim_iov_bytes(&vq->out);
	struct vdpa_sim_cursor end;
	u32 written = 0;
	u8 status;

	vq->stats.requests++;
	if (!writable) {
		vq->stats.errors++;
		vdpa_sim_queue_complete(vq, 0);
		return;
	}
	status = vdpa_sim_blk_run_request(blk, vq, vdpa_sim_iov_bytes(&vq->in), writable);
	if (status != VIRTIO_BLK_S_OK)
		vq->stats.errors++;
	vdpa_sim_cursor_init(&end, vq, &vq->out);
	if (!vdpa_sim_skip(&end, writable - 1) && !vdpa_sim_write(&end, &status, sizeof(status)))
		written = min_t(size_t, writable, U32_MAX);
	vdpa_sim_queue_complete(vq, written);
}

static bool vdpa_sim_blk_serve(struct vdpa_sim_unit *unit)
{
	struct vdpa_sim_queue *vq = unit->queues;
	int i;

	if (!vq->active)
		return false;
	vdpa_sim_queue_disable_kicks(vq);
	for (i = 0; i < VDPA_SIM_BATCH; i++) {
		if (vdpa_sim_queue_fetch(vq, &vq->in, &vq->out) <= 0)
			return !vdpa_sim_queue_enable_kicks(vq);
		vdpa_sim_blk_serve_one(vdpa_sim_blk_of(unit->sim), vq);
		cond_resched();
	}
	return true;
}

/* The device. */

static void vdpa_sim_blk_start(struct vdpa_sim_device *sim)
{
}

static void vdpa_sim_blk_reset(struct vdpa_sim_device *sim)
{
}

#define LE(bits, value) ((__force __virtio##bits)cpu_to_le##bits(value))

static void vdpa_sim_blk_get_config(struct vdpa_sim_device *sim, void *buf)
{
	struct virtio_blk_config *config = buf;

	config->capacity = LE(64, vdpa_sim_blk_disk_sectors());
	config->seg_max = LE(32, 128);
	config->blk_size = LE(32, 1 << VDPA_SIM_BLK_SECTOR_SHIFT);
	config->min_io_size = LE(16, 1);
	config->opt_io_size = LE(32, PAGE_SIZE >> VDPA_SIM_BLK_SECTOR_SHIFT);
	config->num_queues = LE(16, sim->nqueues);
	config->max_discard_sectors = LE(32, VDPA_SIM_BLK_MAX_RANGE_SECTORS);
	config->max_discard_seg = LE(32, VDPA_SIM_BLK_MAX_RANGES);
	config->discard_sector_alignment = LE(32, 1);
	config->max_write_zeroes_sectors = LE(32, VDPA_SIM_BLK_MAX_RANGE_SECTORS);
	config->max_write_zeroes_seg = LE(32, VDPA_SIM_BLK_MAX_RANGES);
	config->write_zeroes_may_unmap = 1;
}

static int vdpa_sim_blk_put_stats(struct vdpa_sim_queue *vq, struct sk_buff *msg)
{
	return vdpa_sim_put_stat(msg, "requests", vq->stats.requests) ?:
	       vdpa_sim_put_stat(msg, "bytes", vq->stats.bytes) ?:
	       vdpa_sim_put_stat(msg, "errors", vq->stats.errors);
}

static void vdpa_sim_blk_destroy(struct vdpa_sim_device *sim)
{
	vdpa_sim_blk_store_free(&vdpa_sim_blk_of(sim)->store);
}

static const struct vdpa_sim_kind vdpa_sim_blk_kind = {
	.device_id = VIRTIO_ID_BLOCK,
	.size = sizeof(struct vdpa_sim_blk),
	.config_size = sizeof(struct virtio_blk_config),
	.ngroups = 1,
	.nspaces = 1,
	.queues_per_unit = 1,
	.serve = vdpa_sim_blk_serve,
	.start = vdpa_sim_blk_start,
	.reset = vdpa_sim_blk_reset,
	.get_config = vdpa_sim_blk_get_config,
	.put_stats = vdpa_sim_blk_put_stats,
	.destroy = vdpa_sim_blk_destroy,
};

/* Management device. */

static struct device *vdpa_sim_blk_parent;

/* Features to offer; 0 when the request cannot be met. */
static u64 vdpa_sim_blk_wanted_features(const struct vdpa_dev_set_config *config)
{
	u64 all = ALL_FEATURES & (num_queues > 1 ? U64_MAX : ~BIT_ULL(VIRTIO_BLK_F_MQ));

	if (!(config->mask & BIT_ULL(VDPA_ATTR_DEV_FEATURES)))
		return all;
	if (config->device_features & ~all ||
	    !(config->device_features & BIT_ULL(VIRTIO_F_ACCESS_PLATFORM)))
		return 0;
	return config->device_features;
}

static int vdpa_sim_blk_dev_add(struct vdpa_mgmt_dev *mgmt, const char *name,
				const struct vdpa_dev_set_config *config)
{
	u64 features = vdpa_sim_blk_wanted_features(config);
	struct vdpa_sim_device *sim;
	int ret;

	if (!features)
		return -EINVAL;
	sim = vdpa_sim_device_new(&vdpa_sim_blk_kind, vdpa_sim_blk_parent, name, num_queues);
	if (IS_ERR(sim))
		return PTR_ERR(sim);
	vdpa_sim_blk_store_init(&vdpa_sim_blk_of(sim)->store);
	sim->offered = features;
	ret = vdpa_sim_device_register(sim, mgmt);
	if (ret)
		vdpa_sim_device_drop(sim);
	return ret;
}

static void vdpa_sim_blk_dev_del(struct vdpa_mgmt_dev *mgmt, struct vdpa_device *vdpa)
{
	vdpa_sim_device_unregister(vdpa_sim_of(vdpa));
}

static const struct vdpa_mgmtdev_ops vdpa_sim_blk_mgmt_ops = {
	.dev_add = vdpa_sim_blk_dev_add,
	.dev_del = vdpa_sim_blk_dev_del,
};

static struct virtio_device_id vdpa_sim_blk_ids[] = {
	{ VIRTIO_ID_BLOCK, VIRTIO_DEV_ANY_ID },
	{ 0 },
};

static struct vdpa_mgmt_dev vdpa_sim_blk_mgmt = {
	.ops = &vdpa_sim_blk_mgmt_ops,
	.id_table = vdpa_sim_blk_ids,
	.config_attr_mask = BIT_ULL(VDPA_ATTR_DEV_FEATURES),
	.supported_features = ALL_FEATURES,
};

static int __init vdpa_sim_blk_init(void)
{
	int ret;

	if (!num_queues || num_queues > MAX_QUEUES || !capacity_mib || capacity_mib > MAX_MIB)
		return -EINVAL;
	vdpa_sim_blk_parent = root_device_register("vdpasim_blk");
	if (IS_ERR(vdpa_sim_blk_parent))
		return PTR_ERR(vdpa_sim_blk_parent);
	vdpa_sim_blk_mgmt.device = vdpa_sim_blk_parent;
	vdpa_sim_blk_mgmt.max_supported_vqs = num_queues;
	ret = vdpa_mgmtdev_register(&vdpa_sim_blk_mgmt);
	if (ret)
		root_device_unregister(vdpa_sim_blk_parent);
	return ret;
}
module_init(vdpa_sim_blk_init);

/* Unregistering the management device deletes its devices. */
static void __exit vdpa_sim_blk_exit(void)
{
	vdpa_mgmtdev_unregister(&vdpa_sim_blk_mgmt);
	root_device_unregister(vdpa_sim_blk_parent);
}
module_exit(vdpa_sim_blk_exit);

MODULE_DESCRIPTION("vDPA simulator, block devices");
MODULE_LICENSE("GPL");
