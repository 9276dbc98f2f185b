// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Virtio-pci functions as vDPA devices: registers.
 *
 * Theory of operation
 *
 * The function is a virtio device in modern mode: vendor capabilities in configuration space give
 * BAR, offset and length of its common, notify, ISR and device regions.  Some products have one more
 * region, without a capability: registers with the positions of their queues (struct
 * vp_vdpa_positions).
 *
 * vp_vdpa_hw_probe() checks the device's description of itself once; a part that fails is never
 * mapped or touched.  It checks regions against their BAR in 64-bit arithmetic, and against the
 * size that their use needs; each queue's doorbell against the notify region; the number of queues
 * against the region of positions; queue sizes against virtio's limits.  The rules for the
 * regions are a table.  After that no offset that comes from the device is used again.
 *
 * The device can still be slow, or gone.  The driver waits for a reset for a limited time; a device
 * that does not stop by then loses the right to master the bus, because the memory it may write to
 * is about to be freed.  The driver reads the configuration again while its generation changes, a
 * limited number of times.  A device that was pulled out answers with ones; no driver sets a status
 * of 0xff, so the driver then checks whether the device is still there.
 *
 * Limits: split rings only; of several capabilities of one type the first is used, as virtio has it.
 */
#include <linux/iopoll.h>
#include <linux/log2.h>
#include <linux/virtio_ring.h>

#include "vp_vdpa.h"

/* As many as there is room for. */
#define CAPABILITIES_MAX ((PCI_CFG_SPACE_SIZE - PCI_STD_HEADER_SIZEOF) / sizeof(u32))

#define RESET_POLL_US  100
#define RESET_LIMIT_US (2 * USEC_PER_SEC)
#define CONFIG_TRIES   16

#define SPLIT_RING_MAX 32768

#define vp_vdpa_common(fn, field) \
	(&((struct virtio_pci_common_cfg __iomem *)(fn)->regions[VP_VDPA_COMMON].base)->field)

/* Requirements of a region. */
struct vp_vdpa_region_rule {
	const char *name;
	u8 cfg_type;
	u8 cap_len;  /* least bytes of its capability */
	u8 align;    /* of its start */
	u32 min_len; /* its least bytes */
};

static const struct vp_vdpa_region_rule vp_vdpa_region_rules[VP_VDPA_POSITIONS] = {
	[VP_VDPA_COMMON] = {
		.name = "common", .cfg_type = VIRTIO_PCI_CAP_COMMON_CFG,
		.cap_len = sizeof(struct virtio_pci_cap),
		.align = 4, .min_len = sizeof(struct virtio_pci_common_cfg),
	},
	[VP_VDPA_NOTIFY] = {
		.name = "notify", .cfg_type = VIRTIO_PCI_CAP_NOTIFY_CFG,
		.cap_len = sizeof(struct virtio_pci_notify_cap),
		.align = 2, .min_len = sizeof(__le16),
	},
	[VP_VDPA_ISR] = {
		.name = "ISR", .cfg_type = VIRTIO_PCI_CAP_ISR_CFG,
		.cap_len = sizeof(struct virtio_pci_cap),
		.align = 1, .min_len = 1,
	},
	[VP_VDPA_DEVICE] = {
		.name = "device", .cfg_type = VIRTIO_PCI_CAP_DEVICE_CFG,
		.cap_len = sizeof(struct virtio_pci_cap),
		.align = 4, .min_len = 1,
	},
};

/*
 * Transport features that can be passed on: those that change only the contents of the ring.  The
 * others need support of the driver (packed ring state, notification data, queue reset, SR-IOV).
 */
#define TRANSPORT_FIRST 24
#define TRANSPORT_LAST	49
#define TRANSPORT_SUPPORTED                                                        \
	(BIT_ULL(VIRTIO_F_NOTIFY_ON_EMPTY) | BIT_ULL(VIRTIO_F_ANY_LAYOUT) |        \
	 BIT_ULL(VIRTIO_RING_F_INDIRECT_DESC) | BIT_ULL(VIRTIO_RING_F_EVENT_IDX) | \
	 BIT_ULL(VIRTIO_F_VERSION_1) | BIT_ULL(VIRTIO_F_ACCESS_PLATFORM) |         \
	 BIT_ULL(VIRTIO_F_IN_ORDER) | BIT_ULL(VIRTIO_F_ORDER_PLATFORM))
#define FEATURES_SUPPORTED (~GENMASK_ULL(TRANSPORT_LAST, TRANSPORT_FIRST) | TRANSPORT_SUPPORTED)

/* Regions: find, check, map */

static u32 vp_vdpa_config_dword(struct pci_dev *pdev, int pos)
{
	u32 value = 0;

	pci_read_config_dword(pdev, pos, &value);
	return value;
}

/* Where the capability of @cfg_type is, 0 for nowhere. */
static u8 vp_vdpa_find_capability(struct pci_dev *pdev, u8 cfg_type)
{
	u8 pos = pci_find_capability(pdev, PCI_CAP_ID_VNDR);
	int left = CAPABILITIES_MAX;
	u8 type = 0;

	/* The list can be circular; the PCI core bounds each of its searches, not all together. */
	for (; pos && left; pos = pci_find_next_capability(pdev, pos, PCI_CAP_ID_VNDR), left--) {
		pci_read_config_byte(pdev, pos + offsetof(struct virtio_pci_cap, cfg_type), &type);
		if (type == cfg_type)
			return pos;
	}
	return 0;
}

/* Whether a region is inside a memory BAR of this function. */
static bool vp_vdpa_in_bar(struct pci_dev *pdev, const struct vp_vdpa_region *region)
{
	return region->bar < PCI_STD_NUM_BARS &&
	       (pci_resource_flags(pdev, region->bar) & IORESOURCE_MEM) && region->len &&
	       (u64)region->off + region->len <= pci_resource_len(pdev, region->bar);
}

static int vp_vdpa_find_region(struct vp_vdpa_function *fn, const struct vp_vdpa_region_rule *rule,
			       struct vp_vdpa_region *region)
{
	struct pci_dev *pdev = fn->pdev;
	u8 pos = vp_vdpa_find_capability(pdev, rule->cfg_type);
	u8 cap_len = 0;

	if (!pos) {
		pci_err(pdev, "no capability for the %s region\n", rule->name);
		return -ENODEV;
	}
	pci_read_config_byte(pdev, pos + offsetof(struct virtio_pci_cap, cap_len), &cap_len);
	pci_read_config_byte(pdev, pos + offsetof(struct virtio_pci_cap, bar), &region->bar);
	region->off = vp_vdpa_config_dword(pdev, pos + offsetof(struct virtio_pci_cap, offset));
	region->len = vp_vdpa_config_dword(pdev, pos + offsetof(struct virtio_pci_cap, length));
	if (cap_len < rule->cap_len || !vp_vdpa_in_bar(pdev, region) ||
	    region->len < rule->min_len || !IS_ALIGNED(region->off, rule->align)) {
		pci_err(pdev,
			"unusable %s region: BAR %u, offset %#x, length %#x, capability of %u bytes\n",
			rule->name, region->bar, region->off, region->len, cap_len);
		return -EINVAL;
	}
	if (rule->cfg_type == VIRTIO_PCI_CAP_NOTIFY_CFG)
		fn->notify_stride = vp_vdpa_config_dword(
			pdev, pos + offsetof(struct virtio_pci_notify_cap, notify_off_multiplier));
	return 0;
}

static int vp_vdpa_find_regions(struct vp_vdpa_function *fn)
{
	const struct vp_vdpa_positions *positions = fn->type.positions;
	struct vp_vdpa_region *region = &fn->regions[VP_VDPA_POSITIONS];
	int i, ret;

	for (i = 0; i < ARRAY_SIZE(vp_vdpa_region_rules); i++) {
		ret = vp_vdpa_find_region(fn, &vp_vdpa_region_rules[i], &fn->regions[i]);
		if (ret)
			return ret;
	}
	if (!positions)
		return 0;
	region->bar = positions->bar;
	region->len = min_t(resource_size_t, pci_resource_len(fn->pdev, region->bar), U32_MAX);
	if (!vp_vdpa_in_bar(fn->pdev, region)) {
		pci_err(fn->pdev, "no region of queue positions in BAR %u\n", region->bar);
		return -ENODEV;
	}
	return 0;
}

static int vp_vdpa_map_regions(struct vp_vdpa_function *fn)
{
	int i, ret, bars = 0;

	for (i = 0; i < VP_VDPA_NR_REGIONS; i++)
		bars |= fn->regions[i].len ? BIT(fn->regions[i].bar) : 0;
	ret = pcim_iomap_regions(fn->pdev, bars, pci_name(fn->pdev));
	if (ret) {
		pci_err(fn->pdev, "cannot map BARs %#x: %d\n", bars, ret);
		return ret;
	}
	for (i = 0; i < VP_VDPA_NR_REGIONS; i++) {
		struct vp_vdpa_region *region = &fn->regions[i];

		if (!region->len)
			continue;
		region->base = pcim_iomap_table(fn->pdev)[region->bar] + region->off;
		region->pa = pci_resource_start(fn->pdev, region->bar) + region->off;
	}
	return 0;
}

/* Queues */

static void vp_vdpa_select_queue(const struct vp_vdpa_function *fn, u16 i)
{
	vp_iowrite16(i, vp_vdpa_common(fn, queue_select));
}

static u64 vp_vdpa_position_offset(const struct vp_vdpa_positions *positions, u16 i)
{
	return positions->first + (u64)positions->pair * (i / 2) + positions->step * (i % 2);
}

static __le16 __iomem *vp_vdpa_position(const struct vp_vdpa_function *fn, u16 i)
{
	return fn->regions[VP_VDPA_POSITIONS].base + vp_vdpa_position_offset(fn->type.positions, i);
}

static int vp_vdpa_probe_queue(struct vp_vdpa_function *fn, u16 i)
{
	const struct vp_vdpa_region *notify = &fn->regions[VP_VDPA_NOTIFY];
	struct vp_vdpa_queue *queue = &fn->queues[i];
	u64 off;

	vp_vdpa_select_queue(fn, i);
	off = (u64)vp_ioread16(vp_vdpa_common(fn, queue_notify_off)) * fn->notify_stride;
	queue->max_size = vp_ioread16(vp_vdpa_common(fn, queue_size));
	if (off + sizeof(__le16) > notify->len || !IS_ALIGNED(off, sizeof(__le16))) {
		pci_err(fn->pdev, "queue %u is notified at %#llx, the notify region ends at %#x\n",
			i, off, notify->len);
		return -EINVAL;
	}
	if (!queue->max_size || queue->max_size > SPLIT_RING_MAX) {
		pci_err(fn->pdev, "queue %u has %u entries\n", i, queue->max_size);
		return -EINVAL;
	}
	queue->doorbell = notify->base + off;
	queue->doorbell_pa = notify->pa + off;
	queue->irq = -EINVAL;
	spin_lock_init(&queue->cb_lock);
	return 0;
}

/* Whether each of @nr queues has a register for its position, or none needs one. */
static bool vp_vdpa_room_for_positions(const struct vp_vdpa_function *fn, u16 nr)
{
	return !fn->type.positions ||
	       vp_vdpa_position_offset(fn->type.positions, nr - 1) + sizeof(__le16) <=
		       fn->regions[VP_VDPA_POSITIONS].len;
}

static int vp_vdpa_probe_queues(struct vp_vdpa_function *fn)
{
	u16 i, nr = vp_ioread16(vp_vdpa_common(fn, num_queues));
	int ret;

	if (!nr || !vp_vdpa_room_for_positions(fn, nr)) {
		pci_err(fn->pdev, "%u queues, with %#x bytes for their positions\n", nr,
			fn->regions[VP_VDPA_POSITIONS].len);
		return -EINVAL;
	}
	fn->queues = devm_kcalloc(&fn->pdev->dev, nr, sizeof(*fn->queues), GFP_KERNEL);
	if (!fn->queues)
		return -ENOMEM;
	for (i = 0; i < nr; i++) {
		ret = vp_vdpa_probe_queue(fn, i);
		if (ret)
			return ret;
	}
	fn->nr_queues = nr;
	return 0;
}

static u64 vp_vdpa_device_features(const struct vp_vdpa_function *fn)
{
	u64 features;

	vp_iowrite32(1, vp_vdpa_common(fn, device_feature_select));
	features = (u64)vp_ioread32(vp_vdpa_common(fn, device_feature)) << 32;
	vp_iowrite32(0, vp_vdpa_common(fn, device_feature_select));
	return features | vp_ioread32(vp_vdpa_common(fn, device_feature));
}

int vp_vdpa_hw_probe(struct vp_vdpa_function *fn)
{
	int ret;

	ret = vp_vdpa_find_regions(fn);
	if (ret)
		return ret;
	ret = vp_vdpa_map_regions(fn);
	if (ret)
		return ret;
	ret = vp_vdpa_hw_reset(fn);
	if (ret)
		return ret;
	fn->config_len = min(fn->regions[VP_VDPA_DEVICE].len, fn->type.config_len);
	fn->features = vp_vdpa_device_features(fn) & FEATURES_SUPPORTED;
	return vp_vdpa_probe_queues(fn);
}

void vp_vdpa_hw_set_features(struct vp_vdpa_function *fn, u64 features)
{
	vp_iowrite32(0, vp_vdpa_common(fn, guest_feature_select));
	vp_iowrite32(lower_32_bits(features), vp_vdpa_common(fn, guest_feature));
	vp_iowrite32(1, vp_vdpa_common(fn, guest_feature_select));
	vp_iowrite32(upper_32_bits(features), vp_vdpa_common(fn, guest_feature));
}

int vp_vdpa_hw_queue_start(struct vp_vdpa_function *fn, u16 i)
{
	const struct vp_vdpa_queue *queue = &fn->queues[i];

	lockdep_assert_held(&fn->lock);
	if (!is_power_of_2(queue->size) || queue->size > queue->max_size)
		return -EINVAL;
	vp_vdpa_select_queue(fn, i);
	vp_iowrite16(queue->size, vp_vdpa_common(fn, queue_size));
	vp_iowrite64_twopart(queue->desc, vp_vdpa_common(fn, queue_desc_lo),
			     vp_vdpa_common(fn, queue_desc_hi));
	vp_iowrite64_twopart(queue->avail, vp_vdpa_common(fn, queue_avail_lo),
			     vp_vdpa_common(fn, queue_avail_hi));
	vp_iowrite64_twopart(queue->used, vp_vdpa_common(fn, queue_used_lo),
			     vp_vdpa_common(fn, queue_used_hi));
	if (fn->type.positions)
		vp_iowrite16(queue->next_avail, vp_vdpa_position(fn, i));
	vp_iowrite16(1, vp_vdpa_common(fn, queue_enable));
	return vp_ioread16(vp_vdpa_common(fn, queue_enable)) == 1 ? 0 : -EIO;
}

u16 vp_vdpa_hw_next_avail(const struct vp_vdpa_function *fn, u16 i)
{
	return vp_ioread16(vp_vdpa_position(fn, i));
}

/* A device that cannot have a vector reads back that it has none. */

bool vp_vdpa_hw_set_queue_vector(struct vp_vdpa_function *fn, u16 i, u16 vector)
{
	lockdep_assert_held(&fn->lock);
	vp_vdpa_select_queue(fn, i);
	vp_iowrite16(vector, vp_vdpa_common(fn, queue_msix_vector));
	return vp_ioread16(vp_vdpa_common(fn, queue_msix_vector)) == vector;
}

bool vp_vdpa_hw_set_config_vector(struct vp_vdpa_function *fn, u16 vector)
{
	vp_iowrite16(vector, vp_vdpa_common(fn, msix_config));
	return vp_ioread16(vp_vdpa_common(fn, msix_config)) == vector;
}

/* Reading the ISR clears it. */
bool vp_vdpa_hw_config_changed(const struct vp_vdpa_function *fn)
{
	return vp_ioread8(fn->regions[VP_VDPA_ISR].base) & VIRTIO_PCI_ISR_CONFIG;
}

/* Status */

bool vp_vdpa_hw_removed(const struct vp_vdpa_function *fn)
{
	return vp_ioread8(vp_vdpa_common(fn, device_status)) == 0xff &&
	       !pci_device_is_present(fn->pdev);
}

/* A device that is gone reads as FAILED; after a reset as 0, as the bus driver expects. */
u8 vp_vdpa_hw_get_status(const struct vp_vdpa_function *fn)
{
	if (vp_vdpa_hw_removed(fn))
		return READ_ONCE(fn->in_reset) ? 0 : VIRTIO_CONFIG_S_FAILED;
	return vp_ioread8(vp_vdpa_common(fn, device_status));
}

void vp_vdpa_hw_set_status(struct vp_vdpa_function *fn, u8 status)
{
	WRITE_ONCE(fn->in_reset, !status);
	vp_iowrite8(status, vp_vdpa_common(fn, device_status));
}

int vp_vdpa_hw_reset(struct vp_vdpa_function *fn)
{
	u8 status;
	int ret;

	vp_vdpa_hw_set_status(fn, 0);
	ret = read_poll_timeout(vp_ioread8, status, !status || vp_vdpa_hw_removed(fn),
				RESET_POLL_US, RESET_LIMIT_US, false,
				vp_vdpa_common(fn, device_status));
	if (ret) {
		pci_err(fn->pdev, "does not finish a reset; cut off from memory\n");
		pci_clear_master(fn->pdev);
	} else if (!status) {
		pci_set_master(fn->pdev);
	}
	return ret;
}

/* Configuration space */

u8 vp_vdpa_hw_generation(const struct vp_vdpa_function *fn)
{
	return vp_ioread8(vp_vdpa_common(fn, config_generation));
}

/* How many of @len bytes at @off are in the configuration space. */
static u32 vp_vdpa_config_len(const struct vp_vdpa_function *fn, u32 off, u32 len)
{
	return off < fn->config_len ? min(len, fn->config_len - off) : 0;
}

/* Bytes beyond the configuration space read as 0. */
void vp_vdpa_hw_read_config(struct vp_vdpa_function *fn, u32 off, void *buf, u32 len)
{
	const u8 __iomem *config = fn->regions[VP_VDPA_DEVICE].base;
	u32 i, part = vp_vdpa_config_len(fn, off, len);
	int tries = CONFIG_TRIES;
	u8 *byte = buf;
	u8 before;

	memset(byte + part, 0, len - part);
	if (!part)
		return;
	do {
		before = vp_vdpa_hw_generation(fn);
		for (i = 0; i < part; i++)
			byte[i] = vp_ioread8(config + off + i);
	} while (vp_vdpa_hw_generation(fn) != before && --tries);
	if (!tries)
		dev_warn_ratelimited(&fn->pdev->dev,
				     "configuration changes faster than it is read\n");
}

void vp_vdpa_hw_write_config(struct vp_vdpa_function *fn, u32 off, const void *buf, u32 len)
{
	u8 __iomem *config = fn->regions[VP_VDPA_DEVICE].base;
	u32 i, part = vp_vdpa_config_len(fn, off, len);
	const u8 *byte = buf;

	for (i = 0; i < part; i++)
		vp_iowrite8(byte[i], config + off + i);
}
