// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Intel IFC VF: registers.
 *
 * Theory of operation
 *
 * A VF is a virtio-pci function in modern mode: vendor capabilities in configuration space give
 * BAR, offset and length of its common, notify, ISR and device regions.  One more region has no
 * capability: BAR 4 holds the live-migration registers, a 16-bit index for every queue, in blocks
 * of two queues.
 *
 * ifcvf_hw_probe() checks the device's description of itself once; a part that fails is never
 * mapped or touched.  It checks regions against their BAR in 64-bit arithmetic, and against the
 * size that their use needs; each queue's doorbell against the notify region; the number of queues
 * against the live-migration region; queue sizes against virtio's limits.  The rules for the
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

#include "ifcvf.h"

#define LM_BAR	    4
#define LM_FIRST    0x20
#define LM_BLOCK    0x40
#define LM_REGISTER 4

/* As many as there is room for. */
#define CAPABILITIES_MAX ((PCI_CFG_SPACE_SIZE - PCI_STD_HEADER_SIZEOF) / sizeof(u32))

#define RESET_POLL_US  100
#define RESET_LIMIT_US (2 * USEC_PER_SEC)
#define CONFIG_TRIES   16

#define SPLIT_RING_MAX 32768

#define ifcvf_common(vf, field) \
	(&((struct virtio_pci_common_cfg __iomem *)(vf)->regions[IFCVF_COMMON].base)->field)

/* Requirements of a region. */
struct ifcvf_region_rule {
	const char *name;
	u8 cfg_type;
	u8 cap_len;  /* least bytes of its capability */
	u8 align;    /* of its start */
	u32 min_len; /* its least bytes */
};

static const struct ifcvf_region_rule ifcvf_region_rules[IFCVF_LM] = {
	[IFCVF_COMMON] = {
		.name = "common", .cfg_type = VIRTIO_PCI_CAP_COMMON_CFG,
		.cap_len = sizeof(struct virtio_pci_cap),
		.align = 4, .min_len = sizeof(struct virtio_pci_common_cfg),
	},
	[IFCVF_NOTIFY] = {
		.name = "notify", .cfg_type = VIRTIO_PCI_CAP_NOTIFY_CFG,
		.cap_len = sizeof(struct virtio_pci_notify_cap),
		.align = 2, .min_len = sizeof(__le16),
	},
	[IFCVF_ISR] = {
		.name = "ISR", .cfg_type = VIRTIO_PCI_CAP_ISR_CFG,
		.cap_len = sizeof(struct virtio_pci_cap),
		.align = 1, .min_len = 1,
	},
	[IFCVF_DEVICE] = {
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

static u32 ifcvf_config_dword(struct pci_dev *pdev, int pos)
{
	u32 value = 0;

	pci_read_config_dword(pdev, pos, &value);
	return value;
}

/* Where the capability of @cfg_type is, 0 for nowhere. */
static u8 ifcvf_find_capability(struct pci_dev *pdev, u8 cfg_type)
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
static bool ifcvf_in_bar(struct pci_dev *pdev, const struct ifcvf_region *region)
{
	return region->bar < PCI_STD_NUM_BARS &&
	       (pci_resource_flags(pdev, region->bar) & IORESOURCE_MEM) && region->len &&
	       (u64)region->off + region->len <= pci_resource_len(pdev, region->bar);
}

static int ifcvf_find_region(struct ifcvf_vf *vf, const struct ifcvf_region_rule *rule,
			     struct ifcvf_region *region)
{
	struct pci_dev *pdev = vf->pdev;
	u8 pos = ifcvf_find_capability(pdev, rule->cfg_type);
	u8 cap_len = 0;

	if (!pos) {
		pci_err(pdev, "no capability for the %s region\n", rule->name);
		return -ENODEV;
	}
	pci_read_config_byte(pdev, pos + offsetof(struct virtio_pci_cap, cap_len), &cap_len);
	pci_read_config_byte(pdev, pos + offsetof(struct virtio_pci_cap, bar), &region->bar);
	region->off = ifcvf_config_dword(pdev, pos + offsetof(struct virtio_pci_cap, offset));
	region->len = ifcvf_config_dword(pdev, pos + offsetof(struct virtio_pci_cap, length));
	if (cap_len < rule->cap_len || !ifcvf_in_bar(pdev, region) || region->len < rule->min_len ||
	    !IS_ALIGNED(region->off, rule->align)) {
		pci_err(pdev,
			"unusable %s region: BAR %u, offset %#x, length %#x, capability of %u bytes\n",
			rule->name, region->bar, region->off, region->len, cap_len);
		return -EINVAL;
	}
	if (rule->cfg_type == VIRTIO_PCI_CAP_NOTIFY_CFG)
		vf->notify_stride = ifcvf_config_dword(
			pdev, pos + offsetof(struct virtio_pci_notify_cap, notify_off_multiplier));
	return 0;
}

static int ifcvf_find_regions(struct ifcvf_vf *vf)
{
	struct ifcvf_region *lm = &vf->regions[IFCVF_LM];
	int i, ret;

	for (i = 0; i < ARRAY_SIZE(ifcvf_region_rules); i++) {
		ret = ifcvf_find_region(vf, &ifcvf_region_rules[i], &vf->regions[i]);
		if (ret)
			return ret;
	}
	lm->bar = LM_BAR;
	lm->len = min_t(resource_size_t, pci_resource_len(vf->pdev, LM_BAR), U32_MAX);
	if (!ifcvf_in_bar(vf->pdev, lm)) {
		pci_err(vf->pdev, "no live-migration region in BAR %u\n", LM_BAR);
		return -ENODEV;
	}
	return 0;
}

static int ifcvf_map_regions(struct ifcvf_vf *vf)
{
	int i, ret, bars = 0;

	for (i = 0; i < IFCVF_NR_REGIONS; i++)
		bars |= BIT(vf->regions[i].bar);
	ret = pcim_iomap_regions(vf->pdev, bars, pci_name(vf->pdev));
	if (ret) {
		pci_err(vf->pdev, "cannot map BARs %#x: %d\n", bars, ret);
		return ret;
	}
	for (i = 0; i < IFCVF_NR_REGIONS; i++) {
		struct ifcvf_region *region = &vf->regions[i];

		region->base = pcim_iomap_table(vf->pdev)[region->bar] + region->off;
		region->pa = pci_resource_start(vf->pdev, region->bar) + region->off;
	}
	return 0;
}

/* Queues */

static void ifcvf_select_queue(const struct ifcvf_vf *vf, u16 i)
{
	vp_iowrite16(i, ifcvf_common(vf, queue_select));
}

static u32 ifcvf_lm_offset(u16 i)
{
	return LM_FIRST + i / 2 * LM_BLOCK + i % 2 * LM_REGISTER;
}

static __le16 __iomem *ifcvf_lm_register(const struct ifcvf_vf *vf, u16 i)
{
	return vf->regions[IFCVF_LM].base + ifcvf_lm_offset(i);
}

static int ifcvf_probe_queue(struct ifcvf_vf *vf, u16 i)
{
	const struct ifcvf_region *notify = &vf->regions[IFCVF_NOTIFY];
	struct ifcvf_queue *queue = &vf->queues[i];
	u64 off;

	ifcvf_select_queue(vf, i);
	off = (u64)vp_ioread16(ifcvf_common(vf, queue_notify_off)) * vf->notify_stride;
	queue->max_size = vp_ioread16(ifcvf_common(vf, queue_size));
	if (off + sizeof(__le16) > notify->len || !IS_ALIGNED(off, sizeof(__le16))) {
		pci_err(vf->pdev, "queue %u is notified at %#llx, the notify region ends at %#x\n",
			i, off, notify->len);
		return -EINVAL;
	}
	if (!queue->max_size || queue->max_size > SPLIT_RING_MAX) {
		pci_err(vf->pdev, "queue %u has %u entries\n", i, queue->max_size);
		return -EINVAL;
	}
	queue->doorbell = notify->base + off;
	queue->doorbell_pa = notify->pa + off;
	queue->irq = -EINVAL;
	spin_lock_init(&queue->cb_lock);
	return 0;
}

static int ifcvf_probe_queues(struct ifcvf_vf *vf)
{
	u16 i, nr = vp_ioread16(ifcvf_common(vf, num_queues));
	int ret;

	if (!nr || ifcvf_lm_offset(nr - 1) + LM_REGISTER > vf->regions[IFCVF_LM].len) {
		pci_err(vf->pdev, "%u queues, with %#x bytes of live-migration region\n", nr,
			vf->regions[IFCVF_LM].len);
		return -EINVAL;
	}
	vf->queues = devm_kcalloc(&vf->pdev->dev, nr, sizeof(*vf->queues), GFP_KERNEL);
	if (!vf->queues)
		return -ENOMEM;
	for (i = 0; i < nr; i++) {
		ret = ifcvf_probe_queue(vf, i);
		if (ret)
			return ret;
	}
	vf->nr_queues = nr;
	return 0;
}

static u64 ifcvf_device_features(const struct ifcvf_vf *vf)
{
	u64 features;

	vp_iowrite32(1, ifcvf_common(vf, device_feature_select));
	features = (u64)vp_ioread32(ifcvf_common(vf, device_feature)) << 32;
	vp_iowrite32(0, ifcvf_common(vf, device_feature_select));
	return features | vp_ioread32(ifcvf_common(vf, device_feature));
}

int ifcvf_hw_probe(struct ifcvf_vf *vf)
{
	int ret;

	ret = ifcvf_find_regions(vf);
	if (ret)
		return ret;
	ret = ifcvf_map_regions(vf);
	if (ret)
		return ret;
	ret = ifcvf_hw_reset(vf);
	if (ret)
		return ret;
	vf->config_len = min(vf->regions[IFCVF_DEVICE].len, vf->type->config_len);
	vf->features = ifcvf_device_features(vf) & FEATURES_SUPPORTED;
	return ifcvf_probe_queues(vf);
}

void ifcvf_hw_set_features(struct ifcvf_vf *vf, u64 features)
{
	vp_iowrite32(0, ifcvf_common(vf, guest_feature_select));
	vp_iowrite32(lower_32_bits(features), ifcvf_common(vf, guest_feature));
	vp_iowrite32(1, ifcvf_common(vf, guest_feature_select));
	vp_iowrite32(upper_32_bits(features), ifcvf_common(vf, guest_feature));
}

int ifcvf_hw_queue_start(struct ifcvf_vf *vf, u16 i)
{
	const struct ifcvf_queue *queue = &vf->queues[i];

	lockdep_assert_held(&vf->lock);
	if (!is_power_of_2(queue->size) || queue->size > queue->max_size)
		return -EINVAL;
	ifcvf_select_queue(vf, i);
	vp_iowrite16(queue->size, ifcvf_common(vf, queue_size));
	vp_iowrite64_twopart(queue->desc, ifcvf_common(vf, queue_desc_lo),
			     ifcvf_common(vf, queue_desc_hi));
	vp_iowrite64_twopart(queue->avail, ifcvf_common(vf, queue_avail_lo),
			     ifcvf_common(vf, queue_avail_hi));
	vp_iowrite64_twopart(queue->used, ifcvf_common(vf, queue_used_lo),
			     ifcvf_common(vf, queue_used_hi));
	vp_iowrite16(queue->next_avail, ifcvf_lm_register(vf, i));
	vp_iowrite16(1, ifcvf_common(vf, queue_enable));
	return vp_ioread16(ifcvf_common(vf, queue_enable)) == 1 ? 0 : -EIO;
}

u16 ifcvf_hw_next_avail(const struct ifcvf_vf *vf, u16 i)
{
	return vp_ioread16(ifcvf_lm_register(vf, i));
}

/* A device that cannot have a vector reads back that it has none. */

bool ifcvf_hw_set_queue_vector(struct ifcvf_vf *vf, u16 i, u16 vector)
{
	lockdep_assert_held(&vf->lock);
	ifcvf_select_queue(vf, i);
	vp_iowrite16(vector, ifcvf_common(vf, queue_msix_vector));
	return vp_ioread16(ifcvf_common(vf, queue_msix_vector)) == vector;
}

bool ifcvf_hw_set_config_vector(struct ifcvf_vf *vf, u16 vector)
{
	vp_iowrite16(vector, ifcvf_common(vf, msix_config));
	return vp_ioread16(ifcvf_common(vf, msix_config)) == vector;
}

/* Reading the ISR clears it. */
bool ifcvf_hw_config_changed(const struct ifcvf_vf *vf)
{
	return vp_ioread8(vf->regions[IFCVF_ISR].base) & VIRTIO_PCI_ISR_CONFIG;
}

/* Status */

bool ifcvf_hw_removed(const struct ifcvf_vf *vf)
{
	return vp_ioread8(ifcvf_common(vf, device_status)) == 0xff &&
	       !pci_device_is_present(vf->pdev);
}

/* A device that is gone reads as FAILED; after a reset as 0, as the bus driver expects. */
u8 ifcvf_hw_get_status(const struct ifcvf_vf *vf)
{
	if (ifcvf_hw_removed(vf))
		return READ_ONCE(vf->in_reset) ? 0 : VIRTIO_CONFIG_S_FAILED;
	return vp_ioread8(ifcvf_common(vf, device_status));
}

void ifcvf_hw_set_status(struct ifcvf_vf *vf, u8 status)
{
	WRITE_ONCE(vf->in_reset, !status);
	vp_iowrite8(status, ifcvf_common(vf, device_status));
}

int ifcvf_hw_reset(struct ifcvf_vf *vf)
{
	u8 status;
	int ret;

	ifcvf_hw_set_status(vf, 0);
	ret = read_poll_timeout(vp_ioread8, status, !status || ifcvf_hw_removed(vf), RESET_POLL_US,
				RESET_LIMIT_US, false, ifcvf_common(vf, device_status));
	if (ret) {
		pci_err(vf->pdev, "does not finish a reset; cut off from memory\n");
		pci_clear_master(vf->pdev);
	} else if (!status) {
		pci_set_master(vf->pdev);
	}
	return ret;
}

/* Configuration space */

u8 ifcvf_hw_generation(const struct ifcvf_vf *vf)
{
	return vp_ioread8(ifcvf_common(vf, config_generation));
}

/* How many of @len bytes at @off are in the configuration space. */
static u32 ifcvf_config_len(const struct ifcvf_vf *vf, u32 off, u32 len)
{
	return off < vf->config_len ? min(len, vf->config_len - off) : 0;
}

/* Bytes beyond the configuration space read as 0. */
void ifcvf_hw_read_config(struct ifcvf_vf *vf, u32 off, void *buf, u32 len)
{
	const u8 __iomem *config = vf->regions[IFCVF_DEVICE].base;
	u32 i, part = ifcvf_config_len(vf, off, len);
	int tries = CONFIG_TRIES;
	u8 *byte = buf;
	u8 before;

	memset(byte + part, 0, len - part);
	if (!part)
		return;
	do {
		before = ifcvf_hw_generation(vf);
		for (i = 0; i < part; i++)
			byte[i] = vp_ioread8(config + off + i);
	} while (ifcvf_hw_generation(vf) != before && --tries);
	if (!tries)
		dev_warn_ratelimited(&vf->pdev->dev,
				     "configuration changes faster than it is read\n");
}

void ifcvf_hw_write_config(struct ifcvf_vf *vf, u32 off, const void *buf, u32 len)
{
	u8 __iomem *config = vf->regions[IFCVF_DEVICE].base;
	u32 i, part = ifcvf_config_len(vf, off, len);
	const u8 *byte = buf;

	for (i = 0; i < part; i++)
		vp_iowrite8(byte[i], config + off + i);
}
