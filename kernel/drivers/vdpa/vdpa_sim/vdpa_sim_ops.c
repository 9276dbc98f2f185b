// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Operations of a simulated device for the vDPA bus.
 *
 * Two tables of operations differ in how mappings come (module parameter batch_mapping): as a whole
 * tree at the end of a batch, or one by one.  Operations that a kernel's struct vdpa_config_ops has no
 * member for are in vdpa_sim_ext_ops.
 *
 * Queue indices come from userspace through the bus: all are checked by vdpa_sim_queue_at().
 *
 * Limits: features can be set until FEATURES_OK; the bus drivers check that.
 */
#include <linux/log2.h>
#include <linux/nospec.h>
#include <linux/qemu-live-uapi.h>

#include "vdpa_sim_core.h"

#ifdef VDPA_NEEDS_EXT_OPS
#define VDPA_SIM_CLEAN_MAP VDPA_EXT_RESET_F_CLEAN_MAP
#else
#define VDPA_SIM_CLEAN_MAP VDPA_RESET_F_CLEAN_MAP
#endif

static struct vdpa_sim_queue *vdpa_sim_queue_at(struct vdpa_device *vdpa, u16 idx)
{
	struct vdpa_sim_device *sim = vdpa_sim_of(vdpa);

	if (idx >= sim->nqueues)
		return NULL;
	return &sim->queues[array_index_nospec(idx, sim->nqueues)];
}

/* The queue with its unit locked, or NULL; pair with vdpa_sim_put_queue(). */
static struct vdpa_sim_queue *vdpa_sim_get_queue(struct vdpa_device *vdpa, u16 idx)
{
	struct vdpa_sim_queue *vq = vdpa_sim_queue_at(vdpa, idx);

	if (vq)
		mutex_lock(&vq->unit->lock);
	return vq;
}

static void vdpa_sim_put_queue(struct vdpa_sim_queue *vq)
{
	mutex_unlock(&vq->unit->lock);
}

/* Virtqueues. */

static int vdpa_sim_set_vq_address(struct vdpa_device *vdpa, u16 idx, u64 desc, u64 avail, u64 used)
{
	struct vdpa_sim_queue *vq;

	if (!IS_ALIGNED(desc, VRING_DESC_ALIGN_SIZE) ||
	    !IS_ALIGNED(avail, VRING_AVAIL_ALIGN_SIZE) || !IS_ALIGNED(used, VRING_USED_ALIGN_SIZE))
		return -EINVAL;
	vq = vdpa_sim_get_queue(vdpa, idx);
	if (!vq)
		return -EINVAL;
	vq->desc = desc;
	vq->avail = avail;
	vq->used = used;
	vdpa_sim_put_queue(vq);
	return 0;
}

/* A size that makes no sense is remembered as none, and the queue does not become ready. */
static void vdpa_sim_set_vq_num(struct vdpa_device *vdpa, u16 idx, u32 num)
{
	struct vdpa_sim_queue *vq = vdpa_sim_get_queue(vdpa, idx);

	if (!vq)
		return;
	vq->num = is_power_of_2(num) && num <= VDPA_SIM_QUEUE_MAX ? num : 0;
	vdpa_sim_put_queue(vq);
}

static void vdpa_sim_kick_vq(struct vdpa_device *vdpa, u16 idx)
{
	struct vdpa_sim_queue *vq = vdpa_sim_queue_at(vdpa, idx);

	if (vq && READ_ONCE(vq->active))
		vdpa_sim_unit_schedule(vq->unit);
}

static void vdpa_sim_set_vq_cb(struct vdpa_device *vdpa, u16 idx, struct vdpa_callback *cb)
{
	struct vdpa_sim_queue *vq = vdpa_sim_get_queue(vdpa, idx);

	if (!vq)
		return;
	vq->cb = *cb;
	vdpa_sim_put_queue(vq);
}

static void vdpa_sim_set_vq_ready(struct vdpa_device *vdpa, u16 idx, bool ready)
{
	struct vdpa_sim_device *sim = vdpa_sim_of(vdpa);
	struct vdpa_sim_queue *vq;

	mutex_lock(&sim->lock); /* the phase does not change meanwhile */
	vq = vdpa_sim_get_queue(vdpa, idx);
	if (vq) {
		vq->ready = ready && vq->num;
		if (!vq->ready)
			vdpa_sim_queue_stop(vq);
		else if (sim->phase != VDPA_SIM_PHASE_INIT)
			vdpa_sim_queue_start(vq);
		vdpa_sim_meter_queue(vq);
		vdpa_sim_put_queue(vq);
		vdpa_sim_unit_schedule(vq->unit);
	}
	mutex_unlock(&sim->lock);
}

static bool vdpa_sim_get_vq_ready(struct vdpa_device *vdpa, u16 idx)
{
	struct vdpa_sim_queue *vq = vdpa_sim_queue_at(vdpa, idx);

	return vq && READ_ONCE(vq->ready);
}

/* The state of a running queue cannot be set: stop it, or suspend the device. */
static int vdpa_sim_set_vq_state(struct vdpa_device *vdpa, u16 idx,
				 const struct vdpa_vq_state *state)
{
	struct vdpa_sim_device *sim = vdpa_sim_of(vdpa);
	struct vdpa_sim_queue *vq;
	int ret = vdpa_sim_fault(sim, VDPA_SIM_FAULT_SET_VQ_STATE);

	if (ret)
		return ret;
	vq = vdpa_sim_get_queue(vdpa, idx);
	if (!vq)
		return -EINVAL;
	if (vq->active && READ_ONCE(sim->phase) == VDPA_SIM_PHASE_DRIVER_OK)
		ret = -EBUSY;
	else
		vdpa_sim_queue_set_base(vq, state->split.avail_index);
	vdpa_sim_put_queue(vq);
	return ret;
}

static int vdpa_sim_get_vq_state(struct vdpa_device *vdpa, u16 idx, struct vdpa_vq_state *state)
{
	struct vdpa_sim_queue *vq;
	int ret = vdpa_sim_fault(vdpa_sim_of(vdpa), VDPA_SIM_FAULT_GET_VQ_STATE);

	if (ret)
		return ret;
	vq = vdpa_sim_get_queue(vdpa, idx);
	if (!vq)
		return -EINVAL;
	state->split.avail_index = vdpa_sim_queue_base(vq);
	vdpa_sim_put_queue(vq);
	return 0;
}

static int vdpa_sim_get_vendor_vq_stats(struct vdpa_device *vdpa, u16 idx, struct sk_buff *msg,
					struct netlink_ext_ack *extack)
{
	struct vdpa_sim_device *sim = vdpa_sim_of(vdpa);
	struct vdpa_sim_queue *vq = vdpa_sim_get_queue(vdpa, idx);
	int ret;

	if (!vq) {
		NL_SET_ERR_MSG_MOD(extack, "there is no such queue");
		return -EINVAL;
	}
	ret = sim->kind->put_stats(vq, msg);
	vdpa_sim_put_queue(vq);
	return ret;
}

static u32 vdpa_sim_get_vq_align(struct vdpa_device *vdpa)
{
	return PAGE_SIZE;
}

static u32 vdpa_sim_get_vq_group(struct vdpa_device *vdpa, u16 idx)
{
	struct vdpa_sim_device *sim = vdpa_sim_of(vdpa);

	return sim->kind->group_of ? sim->kind->group_of(sim, idx) : 0;
}

static u16 vdpa_sim_get_vq_num_max(struct vdpa_device *vdpa)
{
	return VDPA_SIM_QUEUE_MAX;
}

static u16 vdpa_sim_get_vq_num_min(struct vdpa_device *vdpa)
{
	return 1;
}

static u16 vdpa_sim_get_vq_size(struct vdpa_device *vdpa, u16 idx)
{
	return vdpa_sim_queue_at(vdpa, idx) ? VDPA_SIM_QUEUE_MAX : 0;
}

/* The device. */

static u64 vdpa_sim_get_device_features(struct vdpa_device *vdpa)
{
	return vdpa_sim_of(vdpa)->offered;
}

/* A queue reaches memory through mappings only, so the driver has to negotiate ACCESS_PLATFORM. */
static int vdpa_sim_set_driver_features(struct vdpa_device *vdpa, u64 features)
{
	struct vdpa_sim_device *sim = vdpa_sim_of(vdpa);
	int ret = -EINVAL;

	if (features & ~sim->offered || !(features & BIT_ULL(VIRTIO_F_ACCESS_PLATFORM)))
		return -EINVAL;
	mutex_lock(&sim->lock);
	if (sim->phase == VDPA_SIM_PHASE_INIT) {
		sim->features = features;
		ret = 0;
	}
	mutex_unlock(&sim->lock);
	return ret;
}

static u64 vdpa_sim_get_driver_features(struct vdpa_device *vdpa)
{
	return READ_ONCE(vdpa_sim_of(vdpa)->features);
}

static u64 vdpa_sim_get_backend_features(const struct vdpa_device *vdpa)
{
	return BIT_ULL(VHOST_BACKEND_F_ENABLE_AFTER_DRIVER_OK);
}

static void vdpa_sim_set_config_cb(struct vdpa_device *vdpa, struct vdpa_callback *cb)
{
	struct vdpa_sim_device *sim = vdpa_sim_of(vdpa);

	mutex_lock(&sim->config_lock);
	sim->config_cb = *cb;
	mutex_unlock(&sim->config_lock);
}

static u32 vdpa_sim_get_device_id(struct vdpa_device *vdpa)
{
	return vdpa_sim_of(vdpa)->kind->device_id;
}

static u32 vdpa_sim_get_vendor_id(struct vdpa_device *vdpa)
{
	return 0;
}

static u8 vdpa_sim_get_status(struct vdpa_device *vdpa)
{
	struct vdpa_sim_device *sim = vdpa_sim_of(vdpa);

	return READ_ONCE(sim->status) | (READ_ONCE(sim->broken) ? VIRTIO_CONFIG_S_NEEDS_RESET : 0);
}

static void vdpa_sim_set_status(struct vdpa_device *vdpa, u8 status)
{
	struct vdpa_sim_device *sim = vdpa_sim_of(vdpa);

	mutex_lock(&sim->lock);
	WRITE_ONCE(sim->status, status & ~VIRTIO_CONFIG_S_NEEDS_RESET);
	mutex_unlock(&sim->lock);
	if (status & VIRTIO_CONFIG_S_DRIVER_OK)
		vdpa_sim_device_event(sim, VDPA_SIM_EVENT_DRIVER_OK);
}

static int vdpa_sim_reset(struct vdpa_device *vdpa)
{
	return vdpa_sim_device_event(vdpa_sim_of(vdpa), VDPA_SIM_EVENT_RESET);
}

static int vdpa_sim_compat_reset(struct vdpa_device *vdpa, u32 flags)
{
	int ret = vdpa_sim_reset(vdpa);

	if (!ret && flags & VDPA_SIM_CLEAN_MAP)
		vdpa_sim_spaces_clear(vdpa_sim_of(vdpa));
	return ret;
}

static int vdpa_sim_suspend(struct vdpa_device *vdpa)
{
	return vdpa_sim_device_event(vdpa_sim_of(vdpa), VDPA_SIM_EVENT_SUSPEND);
}

static int vdpa_sim_resume(struct vdpa_device *vdpa)
{
	return vdpa_sim_device_event(vdpa_sim_of(vdpa), VDPA_SIM_EVENT_RESUME);
}

/* Configuration space. */

static bool vdpa_sim_in_config(const struct vdpa_sim_device *sim, unsigned int offset,
			       unsigned int len)
{
	size_t size = sim->kind->config_size;

	return offset <= size && len <= size - offset;
}

static size_t vdpa_sim_get_config_size(struct vdpa_device *vdpa)
{
	return vdpa_sim_of(vdpa)->kind->config_size;
}

static void vdpa_sim_get_config(struct vdpa_device *vdpa, unsigned int offset, void *buf,
				unsigned int len)
{
	struct vdpa_sim_device *sim = vdpa_sim_of(vdpa);
	u8 config[128] = { 0 };

	if (WARN_ON_ONCE(sim->kind->config_size > sizeof(config)))
		return;
	if (!vdpa_sim_in_config(sim, offset, len))
		return;
	if (vdpa_sim_fault(sim, VDPA_SIM_FAULT_CONFIG)) {
		memset(buf, 0xff, len);
		return;
	}
	sim->kind->get_config(sim, config);
	memcpy(buf, config + offset, len);
}

static void vdpa_sim_set_config(struct vdpa_device *vdpa, unsigned int offset, const void *buf,
				unsigned int len)
{
	struct vdpa_sim_device *sim = vdpa_sim_of(vdpa);

	if (!sim->kind->set_config || !vdpa_sim_in_config(sim, offset, len))
		return;
	if (vdpa_sim_fault(sim, VDPA_SIM_FAULT_CONFIG))
		return;
	sim->kind->set_config(sim, offset, buf, len);
}

static u32 vdpa_sim_get_generation(struct vdpa_device *vdpa)
{
	return atomic_read(&vdpa_sim_of(vdpa)->generation);
}

static struct vdpa_iova_range vdpa_sim_get_iova_range(struct vdpa_device *vdpa)
{
	return (struct vdpa_iova_range) { .first = 0, .last = U64_MAX };
}

#ifdef VDPA_NEEDS_EXT_OPS
const struct vdpa_ext_ops vdpa_sim_ext_ops = {
	.resume = vdpa_sim_resume,
	.reset_map = vdpa_sim_reset_map,
	.compat_reset = vdpa_sim_compat_reset,
	.get_vq_size = vdpa_sim_get_vq_size,
	.get_backend_features = vdpa_sim_get_backend_features,
};
#define VDPA_SIM_NEWER_OPS
#else
#define VDPA_SIM_NEWER_OPS                                                          \
	.resume = vdpa_sim_resume, .reset_map = vdpa_sim_reset_map,                 \
	.compat_reset = vdpa_sim_compat_reset, .get_vq_size = vdpa_sim_get_vq_size, \
	.get_backend_features = vdpa_sim_get_backend_features,
#endif

#define VDPA_SIM_COMMON_OPS                                                                      \
	VDPA_SIM_NEWER_OPS.set_vq_address = vdpa_sim_set_vq_address,                             \
	.set_vq_num = vdpa_sim_set_vq_num, .kick_vq = vdpa_sim_kick_vq,                          \
	.set_vq_cb = vdpa_sim_set_vq_cb, .set_vq_ready = vdpa_sim_set_vq_ready,                  \
	.get_vq_ready = vdpa_sim_get_vq_ready, .set_vq_state = vdpa_sim_set_vq_state,            \
	.get_vq_state = vdpa_sim_get_vq_state,                                                   \
	.get_vendor_vq_stats = vdpa_sim_get_vendor_vq_stats,                                     \
	.get_vq_align = vdpa_sim_get_vq_align, .get_vq_group = vdpa_sim_get_vq_group,            \
	.get_vq_num_max = vdpa_sim_get_vq_num_max, .get_vq_num_min = vdpa_sim_get_vq_num_min,    \
	.get_device_features = vdpa_sim_get_device_features,                                     \
	.set_driver_features = vdpa_sim_set_driver_features,                                     \
	.get_driver_features = vdpa_sim_get_driver_features,                                     \
	.set_config_cb = vdpa_sim_set_config_cb, .get_device_id = vdpa_sim_get_device_id,        \
	.get_vendor_id = vdpa_sim_get_vendor_id, .get_status = vdpa_sim_get_status,              \
	.set_status = vdpa_sim_set_status, .reset = vdpa_sim_reset, .suspend = vdpa_sim_suspend, \
	.get_config_size = vdpa_sim_get_config_size, .get_config = vdpa_sim_get_config,          \
	.set_config = vdpa_sim_set_config, .get_generation = vdpa_sim_get_generation,            \
	.get_iova_range = vdpa_sim_get_iova_range, .set_group_asid = vdpa_sim_set_group_asid,    \
	.free = vdpa_sim_device_free

static const struct vdpa_config_ops vdpa_sim_set_map_ops = {
	VDPA_SIM_COMMON_OPS,
	.set_map = vdpa_sim_set_map,
};

static const struct vdpa_config_ops vdpa_sim_dma_map_ops = {
	VDPA_SIM_COMMON_OPS,
	.dma_map = vdpa_sim_dma_map,
	.dma_unmap = vdpa_sim_dma_unmap,
};

const struct vdpa_config_ops *vdpa_sim_config_ops(bool whole_tree)
{
	return whole_tree ? &vdpa_sim_set_map_ops : &vdpa_sim_dma_map_ops;
}
