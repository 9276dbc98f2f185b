// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Intel IFC VF: virtual functions with virtio's registers, as vDPA devices.
 *
 * Theory of operation
 *
 * The functions are driven by vp_vdpa; this driver knows what virtio does not say: the IDs, how much of
 * the configuration space is of use, and that BAR 4 holds the live-migration registers, a 16-bit
 * index for every queue, in blocks of two queues.  virtio-pci takes whatever has virtio's vendor ID, so
 * a function is given to this driver by name.
 *
 * Limits: three products (ifcvf_pci_ids), whose IDs are a transitional device's; those of vp_vdpa.
 */
#include <linux/module.h>
#include <linux/pci.h>
#include <uapi/linux/virtio_blk.h>
#include <uapi/linux/virtio_ids.h>
#include <uapi/linux/virtio_net.h>

#include "../virtio_pci/vp_vdpa_probe.h"

/* Index of ifcvf_types, and the driver_data of a PCI ID, where a dynamic ID has 0. */
enum {
	TYPE_UNKNOWN,
	TYPE_NET,
	TYPE_BLOCK,
};

static const struct vp_vdpa_positions ifcvf_positions = {
	.bar = 4,
	.first = 0x20,
	.step = 4,
	.pair = 0x40,
};

static const struct vp_vdpa_type ifcvf_types[] = {
	[TYPE_NET] = {
		.virtio_id = VIRTIO_ID_NET,
		.config_len = sizeof(struct virtio_net_config),
		.positions = &ifcvf_positions,
	},
	[TYPE_BLOCK] = {
		.virtio_id = VIRTIO_ID_BLOCK,
		.config_len = sizeof(struct virtio_blk_config),
		.positions = &ifcvf_positions,
	},
};

#define IFCVF_ID(device_, subsystem_, type_)                                                       \
	{ PCI_DEVICE_SUB(PCI_VENDOR_ID_REDHAT_QUMRANET, device_, PCI_VENDOR_ID_INTEL, subsystem_), \
	  .driver_data = type_ }

static const struct pci_device_id ifcvf_pci_ids[] = {
	IFCVF_ID(0x1041, 0x001a, TYPE_NET),   /* N3000 */
	IFCVF_ID(0x1000, 0x0001, TYPE_NET),   /* C5000X-PL */
	IFCVF_ID(0x1001, 0x0002, TYPE_BLOCK), /* C5000X-PL */
	{}
};
MODULE_DEVICE_TABLE(pci, ifcvf_pci_ids);

static int ifcvf_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	if (id->driver_data != TYPE_NET && id->driver_data != TYPE_BLOCK)
		return -ENODEV;
	return vp_vdpa_probe(pdev, &ifcvf_types[id->driver_data]);
}

static struct pci_driver ifcvf_driver = {
	.name = "ifcvf",
	.id_table = ifcvf_pci_ids,
	.probe = ifcvf_probe,
	.remove = vp_vdpa_remove,
};
module_pci_driver(ifcvf_driver);

MODULE_DESCRIPTION("vDPA driver for Intel IFC virtual functions");
MODULE_LICENSE("GPL");
