// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Intel IFC VF: the PCI function and the management device.
 *
 * Theory of operation
 *
 *	probe ----> management device ----> dev_add ----> vDPA device (ifcvf_vdpa.c)
 *	remove <--- (dev_del, if need be) <-- dev_del <-- stopped
 *
 * An IFC VF is a virtio network or block device whose control path is this driver and whose data
 * path is the guest's own rings.  A function that is probed is a management device of the vDPA bus
 * and can carry one vDPA device, made and ended by `vdpa dev add` and `vdpa dev del`; the device
 * may offer fewer features than the hardware (device_features).
 *
 * The function can go at any time: unbound by hand, or pulled out.  Then remove() ends the vDPA
 * device, the vDPA bus unbinds its driver, and remove() stops the hardware, if it is there.  struct
 * ifcvf_vf ends with the function; a struct ifcvf_dev may live on for its last reference, but is
 * not called any more.
 *
 * virtio-net waits for the answer to a control command until its queue is marked broken, in work that
 * its own removal waits for.  A function that was pulled out never answers, and virtio_vdpa does not
 * know that it is gone, so remove() marks the queues of the virtio device on it first.
 *
 * DMA goes through the platform's IOMMU with the function's own requester id; the device has no
 * IOMMU of its own.
 *
 * Limits: three products (ifcvf_pci_ids); modern interface only, so a transitional device is driven
 * in modern mode or not at all; one vDPA device for one function; nothing but the features can be
 * set when a device is added; if virtio-net waits on CPU 0 and the function's slot is ACPI's, remove()
 * is not called, since ACPI handles its events on CPU 0 and virtio-net does not leave it.
 */
#include <linux/module.h>
#include <linux/virtio.h>
#include <uapi/linux/vdpa.h>
#include <uapi/linux/virtio_blk.h>
#include <uapi/linux/virtio_ids.h>
#include <uapi/linux/virtio_net.h>

#include "ifcvf.h"

/* Index of ifcvf_types, and the driver_data of a PCI ID, where a dynamic ID has 0. */
enum {
	TYPE_UNKNOWN,
	TYPE_NET,
	TYPE_BLOCK,
};

static const struct ifcvf_type ifcvf_types[] = {
	[TYPE_NET] = {
		.virtio_id = VIRTIO_ID_NET,
		.config_len = sizeof(struct virtio_net_config),
		.ids = (struct virtio_device_id[]) { { VIRTIO_ID_NET, VIRTIO_DEV_ANY_ID }, {} },
	},
	[TYPE_BLOCK] = {
		.virtio_id = VIRTIO_ID_BLOCK,
		.config_len = sizeof(struct virtio_blk_config),
		.ids = (struct virtio_device_id[]) { { VIRTIO_ID_BLOCK, VIRTIO_DEV_ANY_ID }, {} },
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

/* Without these there is no vDPA. */
#define FEATURES_NEEDED (BIT_ULL(VIRTIO_F_VERSION_1) | BIT_ULL(VIRTIO_F_ACCESS_PLATFORM))

static struct ifcvf_vf *ifcvf_to_vf(struct vdpa_mgmt_dev *mgmt)
{
	return container_of(mgmt, struct ifcvf_vf, mgmt);
}

static int ifcvf_dev_add(struct vdpa_mgmt_dev *mgmt, const char *name,
			 const struct vdpa_dev_set_config *config)
{
	struct ifcvf_vf *vf = ifcvf_to_vf(mgmt);
	u64 features = vf->features;

	if (vf->dev)
		return -EBUSY;
	if (config->mask & BIT_ULL(VDPA_ATTR_DEV_FEATURES)) {
		features = config->device_features;
		if ((features & ~vf->features) || (FEATURES_NEEDED & ~features))
			return -EINVAL;
	}
	return ifcvf_dev_create(vf, name, features);
}

static void ifcvf_dev_del(struct vdpa_mgmt_dev *mgmt, struct vdpa_device *vdpa)
{
	struct ifcvf_vf *vf = ifcvf_to_vf(mgmt);

	_vdpa_unregister_device(vdpa);
	/* Not used any more, and perhaps freed; the last driver may have left it running. */
	vf->dev = NULL;
	ifcvf_stop(vf);
}

static const struct vdpa_mgmtdev_ops ifcvf_mgmt_ops = {
	.dev_add = ifcvf_dev_add,
	.dev_del = ifcvf_dev_del,
};

static int ifcvf_enable(struct pci_dev *pdev)
{
	int ret = pcim_enable_device(pdev);

	if (ret)
		return ret;
	return dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64));
}

static int ifcvf_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct ifcvf_vf *vf;
	int ret;

	if (id->driver_data != TYPE_NET && id->driver_data != TYPE_BLOCK)
		return -ENODEV;
	vf = devm_kzalloc(&pdev->dev, sizeof(*vf), GFP_KERNEL);
	if (!vf)
		return -ENOMEM;
	vf->pdev = pdev;
	vf->type = &ifcvf_types[id->driver_data];
	mutex_init(&vf->lock);
	spin_lock_init(&vf->config_cb_lock);
	pci_set_drvdata(pdev, vf);

	ret = ifcvf_enable(pdev);
	if (ret)
		return ret;
	ret = ifcvf_hw_probe(vf);
	if (ret)
		goto clear_master;
	if (FEATURES_NEEDED & ~vf->features) {
		pci_err(pdev, "offers features %#llx, but not all of %#llx\n", vf->features,
			FEATURES_NEEDED);
		ret = -ENODEV;
		goto clear_master;
	}

	vf->mgmt = (struct vdpa_mgmt_dev) {
		.device = &pdev->dev,
		.ops = &ifcvf_mgmt_ops,
		.id_table = vf->type->ids,
		.config_attr_mask = BIT_ULL(VDPA_ATTR_DEV_FEATURES),
		.supported_features = vf->features,
		.max_supported_vqs = vf->nr_queues,
	};
	ret = vdpa_mgmtdev_register(&vf->mgmt);
	if (ret)
		goto clear_master;
	return 0;

clear_master:
	pci_clear_master(pdev);
	return ret;
}

/* virtio_vdpa makes its virtio device a child of the device that does the DMA. */
static int ifcvf_break_virtio(struct device *dev, void *unused)
{
	if (dev->bus && !strcmp(dev->bus->name, "virtio"))
		virtio_break_device(dev_to_virtio(dev));
	return 0;
}

static void ifcvf_remove(struct pci_dev *pdev)
{
	struct ifcvf_vf *vf = pci_get_drvdata(pdev);

	if (!pci_device_is_present(pdev))
		device_for_each_child(&pdev->dev, NULL, ifcvf_break_virtio);
	vdpa_mgmtdev_unregister(&vf->mgmt);
	pci_clear_master(pdev);
}

static struct pci_driver ifcvf_driver = {
	.name = "ifcvf",
	.id_table = ifcvf_pci_ids,
	.probe = ifcvf_probe,
	.remove = ifcvf_remove,
};
module_pci_driver(ifcvf_driver);

MODULE_DESCRIPTION("vDPA driver for Intel IFC virtual functions");
MODULE_LICENSE("GPL");
