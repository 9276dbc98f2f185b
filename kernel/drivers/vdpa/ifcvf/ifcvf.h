/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Intel IFC VF: shared by the driver's files.
 *
 *	ifcvf_main.c	PCI function and management device: probe, remove, dev_add, dev_del
 *	ifcvf_vdpa.c	operations of the vDPA device; the steps of each virtio status bit
 *	ifcvf_irq.c	MSI-X vectors: which queues share one, and which callbacks run
 *	ifcvf_hw.c	registers: their places, and every access to them
 *
 * Limits: see ifcvf_main.c.
 */
#ifndef IFCVF_H
#define IFCVF_H

#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/spinlock.h>
#include <linux/vdpa.h>
#include <linux/virtio_pci_modern.h>

struct ifcvf_vf;

/* Parts of the function's BARs that the driver uses. */
enum ifcvf_region_id {
	IFCVF_COMMON,
	IFCVF_NOTIFY,
	IFCVF_ISR,
	IFCVF_DEVICE,
	IFCVF_LM,
	IFCVF_NR_REGIONS
};

/**
 * struct ifcvf_region - a range of a BAR that has been checked to be in it
 * @base: mapped address
 * @pa:	  bus address
 * @len:  bytes, never 0
 * @off:  from the start of the BAR
 * @bar:  which
 */
struct ifcvf_region {
	void __iomem *base;
	phys_addr_t pa;
	u32 len;
	u32 off;
	u8 bar;
};

/**
 * struct ifcvf_type - a kind of virtio device that VFs come as
 * @virtio_id:	VIRTIO_ID_*
 * @config_len:	bytes of its configuration space that virtio knows
 * @ids:	the same for a management device
 */
struct ifcvf_type {
	u32 virtio_id;
	u32 config_len;
	struct virtio_device_id *ids;
};

/**
 * struct ifcvf_queue - one virtqueue
 *
 * From probe on, constant:
 * @doorbell, @doorbell_pa: where to notify
 * @max_size: entries that the device allows
 *
 * Set by the user of the vDPA device, handed to the device when it starts; protected by vf->lock:
 * @desc, @avail, @used, @size, @ready
 * @next_avail: index to start from; in a live queue the device knows better
 * @live: the device has it
 *
 * Written with vf->lock held, read without it (ifcvf_irq_of()):
 * @irq: the vector that is this queue's alone, or -EINVAL
 *
 * Protected by @cb_lock, which the interrupt handler holds while it calls:
 * @cb: the callback
 */
struct ifcvf_queue {
	__le16 __iomem *doorbell;
	phys_addr_t doorbell_pa;
	u16 max_size;

	u64 desc;
	u64 avail;
	u64 used;
	u32 size;
	u16 next_avail;
	bool ready;
	bool live;
	int irq;

	spinlock_t cb_lock;
	struct vdpa_callback cb;
};

/**
 * struct ifcvf_line - one interrupt vector and what it serves
 * @first, @count: queues
 * @config:	   configuration changes
 */
struct ifcvf_line {
	struct ifcvf_vf *vf;
	int irq;
	u16 first;
	u16 count;
	bool config;
	char name[40];
};

/**
 * struct ifcvf_dev - the vDPA device on a VF
 * @features: offered
 * @driver_features: chosen by its driver; protected by vf->lock
 */
struct ifcvf_dev {
	struct vdpa_device vdpa;
	struct ifcvf_vf *vf;
	u64 features;
	u64 driver_features;
};

/**
 * struct ifcvf_vf - one PCI function, from probe to remove
 * @features: offered by the hardware, less those that this driver cannot pass on
 * @lock:	serializes registers that have a selector, and the queues' settings
 * @dev:	the vDPA device, of which there is at most one; protected by the vDPA core's lock
 *		around dev_add and dev_del
 * @in_reset:	the last status that was set is 0; written with @lock held, read without
 * @lines:	interrupt vectors in use, @nr_lines of them; protected by @lock
 */
struct ifcvf_vf {
	struct vdpa_mgmt_dev mgmt;
	struct pci_dev *pdev;
	const struct ifcvf_type *type;
	struct ifcvf_region regions[IFCVF_NR_REGIONS];
	u32 notify_stride;
	u32 config_len;
	u64 features;

	struct mutex lock;
	struct ifcvf_dev *dev;
	bool in_reset;
	struct ifcvf_queue *queues;
	u16 nr_queues;
	struct ifcvf_line *lines;
	u16 nr_lines;

	spinlock_t config_cb_lock;	/* held by the handler while it calls */
	struct vdpa_callback config_cb; /* protected by config_cb_lock */
};

/*
 * ifcvf_hw.c
 *
 * ifcvf_hw_probe: find and check everything, map it, allocate vf->queues.  The device is reset.
 * ifcvf_hw_reset: 0 when the device has stopped, all DMA and interrupts included, or is gone;
 *		   -ETIMEDOUT when it would not, and then it can no longer master the bus.
 * ifcvf_hw_queue_start: hand queue @i to the device.  -EINVAL for settings that the device does
 *		   not allow, -EIO when it does not take them.
 */
int ifcvf_hw_probe(struct ifcvf_vf *vf);
bool ifcvf_hw_removed(const struct ifcvf_vf *vf);
int ifcvf_hw_reset(struct ifcvf_vf *vf);
u8 ifcvf_hw_get_status(const struct ifcvf_vf *vf);
void ifcvf_hw_set_status(struct ifcvf_vf *vf, u8 status);
void ifcvf_hw_set_features(struct ifcvf_vf *vf, u64 features);
int ifcvf_hw_queue_start(struct ifcvf_vf *vf, u16 i);
u16 ifcvf_hw_next_avail(const struct ifcvf_vf *vf, u16 i);
bool ifcvf_hw_set_queue_vector(struct ifcvf_vf *vf, u16 i, u16 vector);
bool ifcvf_hw_set_config_vector(struct ifcvf_vf *vf, u16 vector);
bool ifcvf_hw_config_changed(const struct ifcvf_vf *vf);
u8 ifcvf_hw_generation(const struct ifcvf_vf *vf);
void ifcvf_hw_read_config(struct ifcvf_vf *vf, u32 off, void *buf, u32 len);
void ifcvf_hw_write_config(struct ifcvf_vf *vf, u32 off, const void *buf, u32 len);

static inline void ifcvf_hw_kick(const struct ifcvf_vf *vf, u16 i)
{
	vp_iowrite16(i, vf->queues[i].doorbell);
}

/*
 * ifcvf_irq.c
 *
 * ifcvf_irq_start: vectors for all queues and for configuration changes; 0 or a negative errno.
 * ifcvf_irq_stop: after it returns no handler runs.  The device must be reset before.
 * ifcvf_irq_of:   the vector of queue @i if it is that queue's alone, otherwise -EINVAL.  Without
 *		   vf->lock; the caller keeps the device from being reset while it uses the vector.
 *
 * The first two with vf->lock held.
 */
int ifcvf_irq_start(struct ifcvf_vf *vf);
void ifcvf_irq_stop(struct ifcvf_vf *vf);
int ifcvf_irq_of(const struct ifcvf_vf *vf, u16 i);

/*
 * ifcvf_vdpa.c
 *
 * ifcvf_dev_create: allocate and register; 0 or a negative errno.
 * ifcvf_stop: the device reset, no handler running, no callback left, all settings forgotten.
 */
int ifcvf_dev_create(struct ifcvf_vf *vf, const char *name, u64 features);
int ifcvf_stop(struct ifcvf_vf *vf);

#endif
