/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Virtio-pci functions as vDPA devices: shared by the driver's files.
 *
 *	vp_vdpa_main.c	PCI function and management device: probe, remove, dev_add, dev_del
 *	vp_vdpa_probe.h	probe and remove, for drivers of products that show more
 *	vp_vdpa_ops.c	operations of the vDPA device; the steps of each virtio status bit
 *	vp_vdpa_irq.c	MSI-X vectors: which queues share one, and which callbacks run
 *	vp_vdpa_hw.c	registers: their places, and every access to them
 *
 * Limits: see vp_vdpa_main.c.
 */
#ifndef VP_VDPA_H
#define VP_VDPA_H

#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/spinlock.h>
#include <linux/vdpa.h>
#include <linux/virtio_pci_modern.h>

#include "vp_vdpa_probe.h"

struct vp_vdpa_function;

/* Parts of the function's BARs that the driver uses. */
enum vp_vdpa_region_id {
	VP_VDPA_COMMON,
	VP_VDPA_NOTIFY,
	VP_VDPA_ISR,
	VP_VDPA_DEVICE,
	VP_VDPA_POSITIONS,
	VP_VDPA_NR_REGIONS
};

/**
 * struct vp_vdpa_region - a range of a BAR that has been checked to be in it
 * @base: mapped address
 * @pa:	  bus address
 * @len:  bytes; 0 for positions that there are not
 * @off:  from the start of the BAR
 * @bar:  which
 */
struct vp_vdpa_region {
	void __iomem *base;
	phys_addr_t pa;
	u32 len;
	u32 off;
	u8 bar;
};

/**
 * struct vp_vdpa_queue - one virtqueue
 *
 * From probe on, constant:
 * @doorbell, @doorbell_pa: where to notify
 * @max_size: entries that the device allows
 *
 * Set by the user of the vDPA device, handed to the device when it starts; protected by fn->lock:
 * @desc, @avail, @used, @size, @ready
 * @next_avail: index to start from; in a live queue the device knows better
 * @live: the device has it
 *
 * Written with fn->lock held, read without it (vp_vdpa_irq_of()):
 * @irq: the vector that is this queue's alone, or -EINVAL
 *
 * Protected by @cb_lock, which the interrupt handler holds while it calls:
 * @cb: the callback
 */
struct vp_vdpa_queue {
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
 * struct vp_vdpa_line - one interrupt vector and what it serves
 * @first, @count: queues
 * @config:	   configuration changes
 */
struct vp_vdpa_line {
	struct vp_vdpa_function *fn;
	int irq;
	u16 first;
	u16 count;
	bool config;
	char name[40];
};

/**
 * struct vp_vdpa_dev - the vDPA device on a function
 * @features: offered
 * @driver_features: chosen by its driver; protected by fn->lock
 */
struct vp_vdpa_dev {
	struct vdpa_device vdpa;
	struct vp_vdpa_function *fn;
	u64 features;
	u64 driver_features;
};

/**
 * struct vp_vdpa_function - one PCI function, from probe to remove
 * @ids:	its kind, for the management device
 * @features: offered by the hardware, less those that this driver cannot pass on
 * @lock:	serializes registers that have a selector, and the queues' settings
 * @dev:	the vDPA device, of which there is at most one; protected by the vDPA core's lock
 *		around dev_add and dev_del
 * @in_reset:	the last status that was set is 0; written with @lock held, read without
 * @lines:	interrupt vectors in use, @nr_lines of them; protected by @lock
 */
struct vp_vdpa_function {
	struct vdpa_mgmt_dev mgmt;
	struct pci_dev *pdev;
	struct vp_vdpa_type type;
	struct virtio_device_id ids[2]; /* with the end mark */
	struct vp_vdpa_region regions[VP_VDPA_NR_REGIONS];
	u32 notify_stride;
	u32 config_len;
	u64 features;

	struct mutex lock;
	struct vp_vdpa_dev *dev;
	bool in_reset;
	struct vp_vdpa_queue *queues;
	u16 nr_queues;
	struct vp_vdpa_line *lines;
	u16 nr_lines;

	spinlock_t config_cb_lock;	/* held by the handler while it calls */
	struct vdpa_callback config_cb; /* protected by config_cb_lock */
};

/*
 * vp_vdpa_hw.c
 *
 * vp_vdpa_hw_probe: find and check everything, map it, allocate fn->queues.  The device is reset.
 * vp_vdpa_hw_reset: 0 when the device has stopped, all DMA and interrupts included, or is gone;
 *		   -ETIMEDOUT when it would not, and then it can no longer master the bus.
 * vp_vdpa_hw_queue_start: hand queue @i to the device.  -EINVAL for settings that the device does
 *		   not allow, -EIO when it does not take them.
 */
int vp_vdpa_hw_probe(struct vp_vdpa_function *fn);
bool vp_vdpa_hw_removed(const struct vp_vdpa_function *fn);
int vp_vdpa_hw_reset(struct vp_vdpa_function *fn);
u8 vp_vdpa_hw_get_status(const struct vp_vdpa_function *fn);
void vp_vdpa_hw_set_status(struct vp_vdpa_function *fn, u8 status);
void vp_vdpa_hw_set_features(struct vp_vdpa_function *fn, u64 features);
int vp_vdpa_hw_queue_start(struct vp_vdpa_function *fn, u16 i);
u16 vp_vdpa_hw_next_avail(const struct vp_vdpa_function *fn, u16 i);
bool vp_vdpa_hw_set_queue_vector(struct vp_vdpa_function *fn, u16 i, u16 vector);
bool vp_vdpa_hw_set_config_vector(struct vp_vdpa_function *fn, u16 vector);
bool vp_vdpa_hw_config_changed(const struct vp_vdpa_function *fn);
u8 vp_vdpa_hw_generation(const struct vp_vdpa_function *fn);
void vp_vdpa_hw_read_config(struct vp_vdpa_function *fn, u32 off, void *buf, u32 len);
void vp_vdpa_hw_write_config(struct vp_vdpa_function *fn, u32 off, const void *buf, u32 len);

static inline void vp_vdpa_hw_kick(const struct vp_vdpa_function *fn, u16 i)
{
	vp_iowrite16(i, fn->queues[i].doorbell);
}

/*
 * vp_vdpa_irq.c
 *
 * vp_vdpa_irq_start: vectors for all queues and for configuration changes; 0 or a negative errno.
 * vp_vdpa_irq_stop: after it returns no handler runs.  The device must be reset before.
 * vp_vdpa_irq_of:   the vector of queue @i if it is that queue's alone, otherwise -EINVAL.  Without
 *		   fn->lock; the caller keeps the device from being reset while it uses the vector.
 *
 * The first two with fn->lock held.
 */
int vp_vdpa_irq_start(struct vp_vdpa_function *fn);
void vp_vdpa_irq_stop(struct vp_vdpa_function *fn);
int vp_vdpa_irq_of(const struct vp_vdpa_function *fn, u16 i);

/*
 * vp_vdpa_ops.c
 *
 * vp_vdpa_dev_create: allocate and register; 0 or a negative errno.
 * vp_vdpa_stop: the device reset, no handler running, no callback left, all settings forgotten.
 */
int vp_vdpa_dev_create(struct vp_vdpa_function *fn, const char *name, u64 features);
int vp_vdpa_stop(struct vp_vdpa_function *fn);

#endif
