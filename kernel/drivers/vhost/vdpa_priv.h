/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vhost_vdpa: shared by its files.
 *
 *	vdpa.c		nodes and sessions: probe, open, release, removal
 *	vdpa_ioctl.c	the table of ioctls, and those about the device
 *	vdpa_vring.c	ioctls about one queue, interrupts
 *	vdpa_as.c	IOTLB messages, address spaces, batches
 *	vdpa_dma.c	three ways in which a device is told of a mapping
 *	vdpa_mem.c	two kinds of memory behind a mapping
 *	vdpa_notify.c	doorbells mapped into user space
 *	vdpa_trace.h	trace events
 *
 * A *node* is /dev/vhost-vdpa-N: it lives from probe until the last user of the inode is gone.  A
 * *session* is one open of it, and lives until the last close.  The vDPA device may go at any time
 * in between; then the session is detached and stays as a shell that answers -ENODEV:
 *
 *	open -> attached --------------------------> release: detached, freed
 *	            '-- device removed -> detached --> release: freed
 *
 * Locks, outermost first:
 *
 *	node->lock	which device and which session the node has
 *	mem_lock	one IOTLB message at a time; held while memory is faulted in, which may take
 *			for ever: removal of the device never takes it
 *	vhost.mutex	all fields of a session, but for those that name another lock; never held while
 *			memory of a message is copied or faulted in
 *	cf_lock		of the vDPA device: its configuration
 *	notify_lock	whether doorbells may be mapped; a leaf, taken below mmap_lock
 *	signal.lock	the eventfd that an interrupt goes to; a leaf, taken in interrupt context
 *
 * Limits: kernel 6.1 alone; newer ones have a vhost_vdpa of their own.
 */
#ifndef VHOST_VDPA_PRIV_H
#define VHOST_VDPA_PRIV_H

#include <linux/cdev.h>
#include <linux/iommu.h>
#include <linux/irqbypass.h>
#include <linux/qemu-live-uapi.h>
#include <linux/vdpa.h>
#include <linux/vdpa_ext.h>

#include "vhost.h"

struct vhost_vdpa_session;

/**
 * struct vhost_vdpa_node - one character device
 * @lock:	protects @vdpa and @session
 * @vdpa:	NULL once the device was removed
 * @session:	the open of the node, NULL for none
 */
struct vhost_vdpa_node {
	struct device dev;
	struct cdev cdev;
	struct mutex lock;
	struct vdpa_device *vdpa;
	struct vhost_vdpa_session *session;
};

/**
 * struct vhost_vdpa_signal - where an interrupt goes
 * @lock:	protects @ctx, and by that keeps it alive while it is signalled
 * @ctx:	owned; NULL for nowhere
 */
struct vhost_vdpa_signal {
	spinlock_t lock;
	struct eventfd_ctx *ctx;
};

/**
 * struct vhost_vdpa_queue - one virtqueue
 * @vq:		vhost.ko's part: the kick file, the error file
 * @call:	where its interrupt goes
 * @producer:	the interrupt offered for bypass
 * @bypassed:	@producer is registered; protected by vhost.mutex
 */
struct vhost_vdpa_queue {
	struct vhost_virtqueue vq;
	struct vhost_vdpa_signal call;
	struct irq_bypass_producer producer;
	bool bypassed;
};

/**
 * struct vhost_vdpa_as - one address space
 * @live:	mapped by user space
 * @retired:	unmapped by user space, but the device may still reach it; its memory stays held
 * @told:	the device was told of some mapping since it was opened
 *
 * All protected by vhost.mutex.
 */
struct vhost_vdpa_as {
	struct vhost_vdpa_session *session;
	struct vhost_iotlb live;
	struct vhost_iotlb retired;
	u32 id;
	bool told;
};

/**
 * struct vhost_vdpa_range - a mapping that user space asks for; checked, and for pinned memory whole pages
 */
struct vhost_vdpa_range {
	u64 iova;
	u64 size;
	u64 uaddr;
	u32 perm;
};

/**
 * struct vhost_vdpa_dma_ops - how a device learns of mappings
 * @attach:	once, when a session begins; NULL for nothing to do
 * @detach:	its opposite; nothing is mapped any more
 * @map:	one entry now; NULL for a device that takes whole trees
 * @unmap:	the opposite; afterwards, or after @sync if there is one, the device does not reach
 *		the memory
 * @sync:	complete all that @unmap gathered; NULL for a device that has nothing to gather
 * @commit:	the device takes all of @live; NULL for one that was told entry by entry
 */
struct vhost_vdpa_dma_ops {
	int (*attach)(struct vhost_vdpa_session *s);
	void (*detach)(struct vhost_vdpa_session *s);
	int (*map)(struct vhost_vdpa_as *as, u64 iova, u64 size, u64 addr, u32 perm, void *opaque);
	int (*unmap)(struct vhost_vdpa_as *as, u64 iova, u64 size,
		     struct iommu_iotlb_gather *gather);
	void (*sync)(struct vhost_vdpa_as *as, struct iommu_iotlb_gather *gather);
	int (*commit)(struct vhost_vdpa_as *as, struct vhost_iotlb *tree);
};

/**
 * struct vhost_vdpa_mem_ops - a kind of memory of mappings
 * @check:	can @range be mapped at all?  May widen it.
 * @populate:	hold the memory of @range: one entry of @held per contiguous part.  On error @held
 *		may have entries; the caller releases them.  mem_lock held, vhost.mutex not.
 * @release:	release the memory of one entry
 */
struct vhost_vdpa_mem_ops {
	int (*check)(struct vhost_vdpa_range *range);
	int (*populate)(struct vhost_vdpa_session *s, const struct vhost_vdpa_range *range,
			struct vhost_iotlb *held);
	void (*release)(struct vhost_vdpa_session *s, const struct vhost_iotlb_map *map);
};

/**
 * struct vhost_vdpa_session - one open of a node
 * @vhost:	vhost.ko's part; its mutex is the session's
 * @vdpa:	NULL once detached.  Protected by vhost.mutex; doorbell faults read it under
 *		@notify_lock, and kicks without a lock: they are stopped before it changes.
 * @mem_lock:	held by a writer of an IOTLB message
 * @batch:	address space of an open batch, NULL for none
 * @suspended:	the device was suspended and neither resumed nor reset since
 * @revoked:	no doorbell may be mapped any more; protected by @notify_lock
 * @reserved:	struct iommu_resv_region: addresses that the platform IOMMU cannot map
 * @mapping:	address space of the node's inode, to unmap doorbells
 */
struct vhost_vdpa_session {
	struct vhost_dev vhost;
	struct mutex mem_lock;
	struct vhost_vdpa_node *node;
	struct vdpa_device *vdpa;
	struct vhost_vdpa_queue *queue;
	struct vhost_virtqueue **vqs;
	struct vhost_vdpa_as *as;
	struct vhost_vdpa_as *batch;
	u32 nvqs;
	u32 nas;
	u64 backend_features;
	bool suspended;
	struct vdpa_iova_range range;
	const struct vhost_vdpa_dma_ops *dma;
	const struct vhost_vdpa_mem_ops *mem;
	struct iommu_domain *domain;
	struct list_head reserved;
	struct vhost_vdpa_signal config;
	struct mutex notify_lock;
	bool revoked;
	struct address_space *mapping;
};

/* The number of the session's node, for trace events. */
static inline unsigned int vhost_vdpa_number(const struct vhost_vdpa_session *s)
{
	return MINOR(s->node->dev.devt);
}

/* The argument of an ioctl, in the kernel. */
union vhost_vdpa_arg {
	u8 status;
	u16 entries;
	u32 number;
	int fd;
	u64 bits;
	struct vhost_vring_state vring;
	struct vhost_vring_file file;
	struct vhost_vring_addr addr;
	struct vhost_vdpa_iova_range range;
};

/* vdpa.c */
int vhost_vdpa_reset(struct vhost_vdpa_session *s);

/* vdpa_ioctl.c */
long vhost_vdpa_ioctl(struct file *file, unsigned int cmd, unsigned long arg);

/* vdpa_vring.c */
void vhost_vdpa_queues_init(struct vhost_vdpa_session *s);
void vhost_vdpa_queues_clear_callbacks(struct vhost_vdpa_session *s);
void vhost_vdpa_queues_free(struct vhost_vdpa_session *s);
void vhost_vdpa_bypass_all(struct vhost_vdpa_session *s, bool on);
int vhost_vdpa_signal_from_fd(int fd, struct eventfd_ctx **ctx);
struct eventfd_ctx *vhost_vdpa_signal_swap(struct vhost_vdpa_signal *signal,
					   struct eventfd_ctx *ctx);
irqreturn_t vhost_vdpa_signal_raise(void *signal);
int vhost_vdpa_vring_set_num(struct vhost_vdpa_session *s, u16 idx, union vhost_vdpa_arg *arg);
int vhost_vdpa_vring_set_addr(struct vhost_vdpa_session *s, u16 idx, union vhost_vdpa_arg *arg);
int vhost_vdpa_vring_set_base(struct vhost_vdpa_session *s, u16 idx, union vhost_vdpa_arg *arg);
int vhost_vdpa_vring_get_base(struct vhost_vdpa_session *s, u16 idx, union vhost_vdpa_arg *arg);
int vhost_vdpa_vring_set_call(struct vhost_vdpa_session *s, u16 idx, union vhost_vdpa_arg *arg);
int vhost_vdpa_vring_enable(struct vhost_vdpa_session *s, u16 idx, union vhost_vdpa_arg *arg);
int vhost_vdpa_vring_get_group(struct vhost_vdpa_session *s, u16 idx, union vhost_vdpa_arg *arg);
int vhost_vdpa_vring_get_desc_group(struct vhost_vdpa_session *s, u16 idx,
				    union vhost_vdpa_arg *arg);
int vhost_vdpa_vring_get_size(struct vhost_vdpa_session *s, u16 idx, union vhost_vdpa_arg *arg);

/* vdpa_as.c */
ssize_t vhost_vdpa_write_iter(struct kiocb *iocb, struct iov_iter *from);
void vhost_vdpa_as_init_all(struct vhost_vdpa_session *s);
void vhost_vdpa_as_disconnect_all(struct vhost_vdpa_session *s);
void vhost_vdpa_as_release_all(struct vhost_vdpa_session *s);

/* vdpa_dma.c */
const struct vhost_vdpa_dma_ops *vhost_vdpa_dma_ops_of(const struct vdpa_device *vdpa);
void vhost_vdpa_dma_set_range(struct vhost_vdpa_session *s);
bool vhost_vdpa_dma_is_reserved(struct vhost_vdpa_session *s, u64 first, u64 last);

/* vdpa_mem.c */
extern const struct vhost_vdpa_mem_ops vhost_vdpa_mem_pinned;
extern const struct vhost_vdpa_mem_ops vhost_vdpa_mem_files;

/* vdpa_notify.c */
int vhost_vdpa_mmap(struct file *file, struct vm_area_struct *vma);
void vhost_vdpa_notify_revoke(struct vhost_vdpa_session *s);

#endif
