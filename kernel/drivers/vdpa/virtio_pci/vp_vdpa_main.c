// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Virtio-pci functions as vDPA devices: the PCI function and the management device.
 *
 * Theory of operation
 *
 *	probe ----> management device ----> dev_add ----> vDPA device (vp_vdpa_ops.c)
 *	remove <--- (dev_del, if need be) <-- dev_del <-- stopped
 *
 * The function is a virtio device whose control path is this driver and whose data path is the guest's
 * own rings.  Any function with virtio's registers will do: a virtual function of a NIC, or an emulated
 * device of the machine that this kernel is a guest of.  A function that is probed is a management device
 * of the vDPA bus and can carry one vDPA device, made and ended by `vdpa dev add` and `vdpa dev del`; the
 * device may offer fewer features than the hardware (device_features).
 *
 * There are two ways to be probed.  The driver vp_vdpa binds to no function by itself, since virtio-pci
 * and the drivers above it want every one of them: the user names it (driver_override).  A driver of
 * a product that shows more than virtio says has IDs of its own and calls vp_vdpa_probe() (ifcvf).
 *
 * The function can go at any time: unbound by hand, or pulled out.  Then remove() ends the vDPA
 * device, the vDPA bus unbinds its driver, and remove() stops the hardware, if it is there.  struct
 * vp_vdpa_function ends with the function; a struct vp_vdpa_dev may live on for its last reference, but
 * is not called any more.
 *
 * virtio-net waits for the answer to a control command until its queue is marked broken, in work that
 * its own removal waits for.  A function that was pulled out never answers, and virtio_vdpa does not
 * know that it is gone, so remove() marks the queues of the virtio device on it first.
 *
 * DMA goes through the platform's IOMMU with the function's own requester id; the device has no
 * IOMMU of its own.  A device that does not offer VIRTIO_F_ACCESS_PLATFORM would go past that IOMMU,
 * to whatever host memory the guest names, so it is refused.
 *
 * Limits: modern interface only, so a transitional device is driven in modern mode or not at all; one
 * vDPA device for one function; nothing but the features can be set when a device is added; if
 * virtio-net waits on CPU 0 and the function's slot is ACPI's, remove() is not called, since ACPI
 * handles its events on CPU 0 and virtio-net does not leave it.
 */
#include <linux/module.h>
#include <linux/virtio.h>
#include <uapi/linux/vdpa.h>
#include <uapi/linux/virtio_ids.h>

#include "vp_vdpa.h"

/* Without these there is no vDPA. */
#define FEATURES_NEEDED (BIT_ULL(VIRTIO_F_VERSION_1) | BIT_ULL(VIRTIO_F_ACCESS_PLATFORM))

static struct vp_vdpa_function *vp_vdpa_to_fn(struct vdpa_mgmt_dev *mgmt)
{
	return container_of(mgmt, struct vp_vdpa_function, mgmt);
}

static int vp_vdpa_dev_add(struct vdpa_mgmt_dev *mgmt, const char *name,
			   const struct vdpa_dev_set_config *config)
{
	struct vp_vdpa_function *fn = vp_vdpa_to_fn(mgmt);
	u64 features = fn->features;

	if (fn->dev)
		return -EBUSY;
	if (config->mask & BIT_ULL(VDPA_ATTR_DEV_FEATURES)) {
		features = config->device_features;
		if ((features & ~fn->features) || (FEATURES_NEEDED & ~features))
			return -EINVAL;
	}
	return vp_vdpa_dev_create(fn, name, features);
}

static void vp_vdpa_dev_del(struct vdpa_mgmt_dev *mgmt, struct vdpa_device *vdpa)
{
	struct vp_vdpa_function *fn = vp_vdpa_to_fn(mgmt);

	_vdpa_unregister_device(vdpa);
	/* Not used any more, and perhaps freed; the last driver may have left it running. */
	fn->dev = NULL;
	vp_vdpa_stop(fn);
}

static const struct vdpa_mgmtdev_ops vp_vdpa_mgmt_ops = {
	.dev_add = vp_vdpa_dev_add,
	.dev_del = vp_vdpa_dev_del,
};

static int vp_vdpa_enable(struct pci_dev *pdev)
{
	int ret = pcim_enable_device(pdev);

	if (ret)
		return ret;
	return dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64));
}

int vp_vdpa_probe(struct pci_dev *pdev, const struct vp_vdpa_type *type)
{
	struct vp_vdpa_function *fn;
	int ret;

	fn = devm_kzalloc(&pdev->dev, sizeof(*fn), GFP_KERNEL);
	if (!fn)
		return -ENOMEM;
	fn->pdev = pdev;
	fn->type = *type;
	fn->ids[0] = (struct virtio_device_id) { type->virtio_id, VIRTIO_DEV_ANY_ID };
	mutex_init(&fn->lock);
	spin_lock_init(&fn->config_cb_lock);
	pci_set_drvdata(pdev, fn);

	ret = vp_vdpa_enable(pdev);
	if (ret)
		return ret;
	ret = vp_vdpa_hw_probe(fn);
	if (ret)
		goto clear_master;
	if (FEATURES_NEEDED & ~fn->features) {
		pci_err(pdev, "offers features %#llx, but not all of %#llx\n", fn->features,
			FEATURES_NEEDED);
		ret = -ENODEV;
		goto clear_master;
	}

	fn->mgmt = (struct vdpa_mgmt_dev) {
		.device = &pdev->dev,
		.ops = &vp_vdpa_mgmt_ops,
		.id_table = fn->ids,
		.config_attr_mask = BIT_ULL(VDPA_ATTR_DEV_FEATURES),
		.supported_features = fn->features,
		.max_supported_vqs = fn->nr_queues,
	};
	ret = vdpa_mgmtdev_register(&fn->mgmt);
	if (ret)
		goto clear_master;
	return 0;

clear_master:
	pci_clear_master(pdev);
	return ret;
}
EXPORT_SYMBOL_GPL(vp_vdpa_probe);

/* virtio_vdpa makes its virtio device a child of the device that does the DMA. */
static int vp_vdpa_break_virtio(struct device *dev, void *unused)
{
	if (dev->bus && !strcmp(dev->bus->name, "virtio"))
		virtio_break_device(dev_to_virtio(dev));
	return 0;
}

void vp_vdpa_remove(struct pci_dev *pdev)
{
	struct vp_vdpa_function *fn = pci_get_drvdata(pdev);

	if (!pci_device_is_present(pdev))
		device_for_each_child(&pdev->dev, NULL, vp_vdpa_break_virtio);
	vdpa_mgmtdev_unregister(&fn->mgmt);
	pci_clear_master(pdev);
}
EXPORT_SYMBOL_GPL(vp_vdpa_remove);

/* Functions that the user names */

#define MODERN_FIRST 0x1040 /* device ID of virtio's type 0, without a transitional interface */
#define MODERN_LAST  0x107f
#define LEGACY_FIRST 0x1000 /* where the subsystem's ID is the type */

/* Which virtio device the function is; 0, which none is, for one that is no virtio device. */
static u32 vp_vdpa_virtio_id(const struct pci_dev *pdev)
{
	if (pdev->vendor != PCI_VENDOR_ID_REDHAT_QUMRANET || pdev->device > MODERN_LAST ||
	    pdev->device < LEGACY_FIRST)
		return 0;
	return pdev->device < MODERN_FIRST ? pdev->subsystem_device : pdev->device - MODERN_FIRST;
}

static int vp_vdpa_probe_named(struct pci_dev *pdev, const struct pci_device_id *id)
{
	const struct vp_vdpa_type type = {
		.virtio_id = vp_vdpa_virtio_id(pdev),
		.config_len = U32_MAX,
	};

	if (!type.virtio_id) {
		pci_err(pdev, "no virtio device: its ID is %04x:%04x\n", pdev->vendor,
			pdev->device);
		return -ENODEV;
	}
	return vp_vdpa_probe(pdev, &type);
}

static struct pci_driver vp_vdpa_driver = {
	.name = "vp_vdpa",
	.probe = vp_vdpa_probe_named,
	.remove = vp_vdpa_remove,
};
module_pci_driver(vp_vdpa_driver);

MODULE_DESCRIPTION("vDPA driver for virtio-pci functions");
MODULE_LICENSE("GPL");
