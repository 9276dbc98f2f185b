// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A vDPA device for testing the drivers on the bus: it has no data path, and shows what it was told.
 *
 * Theory of operation
 *
 * It stands for kinds of device that the simulator is not; `kind` says which:
 *
 *	files		takes virtual addresses, and files (use_va), as whole trees
 *	platform	has no IOMMU of its own
 *
 * Its configuration space is how it looks from inside (struct view): what is mapped in each address
 * space, and what was stored to the doorbell of queue 0.  Doorbells are pages of memory:
 *
 *	queue 0		a whole page
 *	queue 1		4 bytes: too small to be mapped
 *	queue 2		a whole page, not at a page's beginning
 *
 * A kick is answered with an interrupt, from a work item: the kicker's context is an eventfd's, in
 * which no other may be signalled.
 *
 * Locks: a kick comes with the lock of the kicker's eventfd held, and an interrupt takes that of
 * another, or of the same.  So no lock that kick_vq() takes is held during an interrupt.
 *
 * Limits: kernel 6.1.  It negotiates and starts like any device, and serves nothing.
 */

#include <linux/module.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/vdpa.h>
#include <linux/vhost_iotlb.h>
#include <linux/virtio_config.h>
#include <linux/workqueue.h>
#include <uapi/linux/virtio_ids.h>

#define QUEUES	3
#define SPACES	2

static char *kind = "files";
module_param(kind, charp, 0444);
MODULE_PARM_DESC(kind, "files or platform");

/* The configuration space. */
struct view {
	__le32 entries[SPACES];
	__le64 bytes[SPACES];
	__le32 bell;
	__le32 without_file;	/* entries that should have had one */
};

struct test_device {
	struct vdpa_device vdpa;
	spinlock_t lock;	/* protects calls; held during an interrupt */
	struct vdpa_callback calls[QUEUES];
	unsigned long kicked;	/* a bit for each queue */
	struct work_struct work;
	u16 position[QUEUES];
	bool ready[QUEUES];
	u8 status;
	u64 features;
	struct view view;
	u32 *bells;
};

static struct test_device *of(struct vdpa_device *vdpa)
{
	return container_of(vdpa, struct test_device, vdpa);
}

static bool is_platform(void)
{
	return !strcmp(kind, "platform");
}

static int set_vq_address(struct vdpa_device *vdpa, u16 idx, u64 desc, u64 avail, u64 used)
{
	return 0;
}

static void set_vq_num(struct vdpa_device *vdpa, u16 idx, u32 num)
{
}

static void interrupt(struct work_struct *work)
{
	struct test_device *dev = container_of(work, struct test_device, work);
	unsigned int i;

	spin_lock_irq(&dev->lock);
	for (i = 0; i < QUEUES; i++)
		if (test_and_clear_bit(i, &dev->kicked) && dev->calls[i].callback)
			dev->calls[i].callback(dev->calls[i].private);
	spin_unlock_irq(&dev->lock);
}

static void kick_vq(struct vdpa_device *vdpa, u16 idx)
{
	struct test_device *dev = of(vdpa);

	set_bit(idx, &dev->kicked);
	schedule_work(&dev->work);
}

static void set_vq_cb(struct vdpa_device *vdpa, u16 idx, struct vdpa_callback *cb)
{
	struct test_device *dev = of(vdpa);

	spin_lock_irq(&dev->lock);
	dev->calls[idx] = *cb;
	spin_unlock_irq(&dev->lock);
}

static void set_vq_ready(struct vdpa_device *vdpa, u16 idx, bool ready)
{
	of(vdpa)->ready[idx] = ready;
}

static bool get_vq_ready(struct vdpa_device *vdpa, u16 idx)
{
	return of(vdpa)->ready[idx];
}

static int set_vq_state(struct vdpa_device *vdpa, u16 idx, const struct vdpa_vq_state *state)
{
	of(vdpa)->position[idx] = state->split.avail_index;
	return 0;
}

static int get_vq_state(struct vdpa_device *vdpa, u16 idx, struct vdpa_vq_state *state)
{
	state->split.avail_index = of(vdpa)->position[idx];
	return 0;
}

static struct vdpa_notification_area get_vq_notification(struct vdpa_device *vdpa, u16 idx)
{
	phys_addr_t page = virt_to_phys(of(vdpa)->bells);
	const struct vdpa_notification_area areas[QUEUES] = {
		{ .addr = page, .size = PAGE_SIZE },
		{ .addr = page, .size = sizeof(u32) },
		{ .addr = page + sizeof(u32), .size = PAGE_SIZE },
	};

	return areas[idx];
}

static u32 get_vq_align(struct vdpa_device *vdpa)
{
	return PAGE_SIZE;
}

static u64 get_device_features(struct vdpa_device *vdpa)
{
	return BIT_ULL(VIRTIO_F_VERSION_1) | BIT_ULL(VIRTIO_F_ACCESS_PLATFORM);
}

static int set_driver_features(struct vdpa_device *vdpa, u64 features)
{
	if (features & ~get_device_features(vdpa))
		return -EINVAL;
	of(vdpa)->features = features;
	return 0;
}

static u64 get_driver_features(struct vdpa_device *vdpa)
{
	return of(vdpa)->features;
}

static void set_config_cb(struct vdpa_device *vdpa, struct vdpa_callback *cb)
{
}

static u16 get_vq_num_max(struct vdpa_device *vdpa)
{
	return 256;
}

static u32 get_device_id(struct vdpa_device *vdpa)
{
	return VIRTIO_ID_NET;
}

static u32 get_vendor_id(struct vdpa_device *vdpa)
{
	return 0;
}

static u8 get_status(struct vdpa_device *vdpa)
{
	return of(vdpa)->status;
}

static void set_status(struct vdpa_device *vdpa, u8 status)
{
	of(vdpa)->status = status;
}

static int reset(struct vdpa_device *vdpa)
{
	struct test_device *dev = of(vdpa);

	dev->status = 0;
	dev->features = 0;
	memset(dev->position, 0, sizeof(dev->position));
	memset(dev->ready, 0, sizeof(dev->ready));
	return 0;
}

static size_t get_config_size(struct vdpa_device *vdpa)
{
	return sizeof(struct view);
}

static void get_config(struct vdpa_device *vdpa, unsigned int offset, void *buf, unsigned int len)
{
	struct test_device *dev = of(vdpa);

	dev->view.bell = cpu_to_le32(READ_ONCE(dev->bells[0]));
	if (offset <= sizeof(dev->view) && len <= sizeof(dev->view) - offset)
		memcpy(buf, (char *)&dev->view + offset, len);
}

static void set_config(struct vdpa_device *vdpa, unsigned int offset, const void *buf,
		       unsigned int len)
{
}

static int set_map(struct vdpa_device *vdpa, unsigned int asid, struct vhost_iotlb *iotlb)
{
	struct test_device *dev = of(vdpa);
	const struct vdpa_map_file *file;
	struct vhost_iotlb_map *map;
	u32 entries = 0, without = 0;
	u64 bytes = 0;

	if (asid >= SPACES)
		return -EINVAL;
	for (map = vhost_iotlb_itree_first(iotlb, 0, U64_MAX); map;
	     map = vhost_iotlb_itree_next(map, 0, U64_MAX)) {
		file = map->opaque;
		without += !file || !file->file;
		bytes += map->size;
		entries++;
	}
	dev->view.entries[asid] = cpu_to_le32(entries);
	dev->view.bytes[asid] = cpu_to_le64(bytes);
	dev->view.without_file = cpu_to_le32(without);
	return 0;
}

static void free_device(struct vdpa_device *vdpa)
{
	cancel_work_sync(&of(vdpa)->work);
	free_page((unsigned long)of(vdpa)->bells);
}

#define COMMON_OPS							\
	.set_vq_address = set_vq_address, .set_vq_num = set_vq_num,	\
	.kick_vq = kick_vq, .set_vq_cb = set_vq_cb,			\
	.set_vq_ready = set_vq_ready, .get_vq_ready = get_vq_ready,	\
	.set_vq_state = set_vq_state, .get_vq_state = get_vq_state,	\
	.get_vq_notification = get_vq_notification,			\
	.get_vq_align = get_vq_align,					\
	.get_device_features = get_device_features,			\
	.set_driver_features = set_driver_features,			\
	.get_driver_features = get_driver_features,			\
	.set_config_cb = set_config_cb,					\
	.get_vq_num_max = get_vq_num_max,				\
	.get_device_id = get_device_id, .get_vendor_id = get_vendor_id,	\
	.get_status = get_status, .set_status = set_status,		\
	.reset = reset, .get_config_size = get_config_size,		\
	.get_config = get_config, .set_config = set_config,		\
	.free = free_device

static const struct vdpa_config_ops files_ops = { COMMON_OPS, .set_map = set_map };
static const struct vdpa_config_ops platform_ops = { COMMON_OPS };

static void parent_release(struct device *dev)
{
}

static struct device parent = { .init_name = "vdpa_test", .release = parent_release };

static int dev_add(struct vdpa_mgmt_dev *mgmt, const char *name,
		   const struct vdpa_dev_set_config *config)
{
	bool platform = is_platform();
	struct test_device *dev;
	int err = -ENOMEM;

	dev = vdpa_alloc_device(struct test_device, vdpa, &parent,
				platform ? &platform_ops : &files_ops, 1, platform ? 1 : SPACES,
				name, !platform);
	if (IS_ERR(dev))
		return PTR_ERR(dev);
	spin_lock_init(&dev->lock);
	INIT_WORK(&dev->work, interrupt);
	dev->vdpa.dma_dev = &parent;
	dev->vdpa.mdev = mgmt;
	dev->bells = (u32 *)get_zeroed_page(GFP_KERNEL);
	if (dev->bells)
		err = _vdpa_register_device(&dev->vdpa, QUEUES);
	if (err)
		put_device(&dev->vdpa.dev);
	return err;
}

static void dev_del(struct vdpa_mgmt_dev *mgmt, struct vdpa_device *vdpa)
{
	_vdpa_unregister_device(vdpa);
}

static const struct vdpa_mgmtdev_ops mgmt_ops = { .dev_add = dev_add, .dev_del = dev_del };

static struct virtio_device_id ids[] = { { VIRTIO_ID_NET, VIRTIO_DEV_ANY_ID }, { 0 } };

static struct vdpa_mgmt_dev mgmt = {
	.device = &parent,
	.ops = &mgmt_ops,
	.id_table = ids,
	.max_supported_vqs = QUEUES,
};

static int __init test_device_init(void)
{
	int err = device_register(&parent);

	if (err) {
		put_device(&parent);
		return err;
	}
	err = vdpa_mgmtdev_register(&mgmt);
	if (err)
		device_unregister(&parent);
	return err;
}
module_init(test_device_init);

static void __exit test_device_exit(void)
{
	vdpa_mgmtdev_unregister(&mgmt);
	device_unregister(&parent);
}
module_exit(test_device_exit);

MODULE_DESCRIPTION("vDPA device without a data path, for tests");
MODULE_LICENSE("GPL");
