/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vp_vdpa for other drivers: a PCI function with virtio's registers becomes a vDPA device.
 *
 * A driver that knows more of its product than virtio says (its kind, where it keeps the positions of
 * its queues) gives it to vp_vdpa_probe().
 *
 * Limits: see vp_vdpa_main.c.
 */
#ifndef VP_VDPA_PROBE_H
#define VP_VDPA_PROBE_H

#include <linux/types.h>

struct pci_dev;

/**
 * struct vp_vdpa_positions - where a device shows the position of each queue
 * @bar:      that has the registers
 * @first:    bytes from its start to the register of queue 0; each has 16 bits
 * @step:     bytes from an even queue's register to that of the next, odd one
 * @pair:     bytes from a pair of queues to the next
 *
 * A position is the index of the next available entry, as it is in the ring.  It is written before the
 * queue is enabled and read while it is.
 */
struct vp_vdpa_positions {
	u8 bar;
	u32 first;
	u32 step;
	u32 pair;
};

/**
 * struct vp_vdpa_type - a kind of function
 * @virtio_id:	VIRTIO_ID_*
 * @config_len:	the most bytes of its configuration space that are passed on
 * @positions:	NULL for a device that neither shows nor takes positions; not copied
 */
struct vp_vdpa_type {
	u32 virtio_id;
	u32 config_len;
	const struct vp_vdpa_positions *positions;
};

/*
 * vp_vdpa_probe:  for a pci_driver's probe.  The function is enabled, checked, reset, and a management
 *		   device of the vDPA bus.  0 or a negative errno; @type is copied.  Uses the function's
 *		   driver data.
 * vp_vdpa_remove: for its remove.  The vDPA device has gone when it returns.
 */
int vp_vdpa_probe(struct pci_dev *pdev, const struct vp_vdpa_type *type);
void vp_vdpa_remove(struct pci_dev *pdev);

#endif
