/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vhost_vdpa: what its files share.
 *
 *	vdpa.c		nodes and sessions: probe, open, release, removal
 *	vdpa_ioctl.c	the table of ioctls, and those about the device
 *	vdpa_vring.c	ioctls about one queue, interrupts
 *	vdpa_as.c	IOTLB messages, address spaces, batches
 *	vdpa_dma.c	three ways in which a device is told of a mapping
 *	vdpa_mem.c	two kinds of memory behind a mapping
 *	vdpa_notify.c	doorbells mapped into user space
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
 *	vhost.mutex	everything in a session, but for what names another lock; never held while
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
#include <linux/vdpa.h>
#include <linux/vdpa_ext.h>

#include "vhost.h"

/* From later kernels' uapi; the numbers are theirs. */
#define VV_RESUME			_IO(VHOST_VIRTIO, 0x7E)
#define VV_GET_VRING_DESC_GROUP		_IOWR(VHOST_VIRTIO, 0x7F, struct vhost_vring_state)
#define VV_GET_VRING_SIZE		_IOWR(VHOST_VIRTIO, 0x82, struct vhost_vring_state)
#define VV_BACKEND_F_RESUME			5
#define VV_BACKEND_F_ENABLE_AFTER_DRIVER_OK	6
#define VV_BACKEND_F_IOTLB_PERSIST		8

struct vv_session;

/**
 * struct vv_node - one character device
 * @lock:	protects @vdpa and @session
 * @vdpa:	NULL once the device was removed
 * @session:	who has the node open, NULL for nobody
 */
struct vv_node {
	struct device dev;
	struct cdev cdev;
	struct mutex lock;
	struct vdpa_device *vdpa;
	struct vv_session *session;
};

/**
 * struct vv_signal - where an interrupt goes
 * @lock:	protects @ctx, and by that keeps it alive while it is signalled
 * @ctx:	owned; NULL for nowhere
 */
struct vv_signal {
	spinlock_t lock;
	struct eventfd_ctx *ctx;
};

/**
 * struct vv_queue - one virtqueue
 * @vq:		vhost.ko's part: the kick file, the error file
 * @call:	where its interrupt goes
 * @producer:	the interrupt offered for bypass
 * @bypassed:	@producer is registered; protected by vhost.mutex
 */
struct vv_queue {
	struct vhost_virtqueue vq;
	struct vv_signal call;
	struct irq_bypass_producer producer;
	bool bypassed;
};

/**
 * struct vv_as - one address space
 * @live:	what user space has mapped
 * @retired:	what it has unmapped and the device may still reach; its memory stays held
 * @told:	the device was told of some mapping since it was opened
 *
 * All protected by vhost.mutex.
 */
struct vv_as {
	struct vv_session *session;
	struct vhost_iotlb live;
	struct vhost_iotlb retired;
	u32 id;
	bool told;
};

/**
 * struct vv_range - a mapping that user space asks for; checked, and for pinned memory whole pages
 */
struct vv_range {
	u64 iova;
	u64 size;
	u64 uaddr;
	u32 perm;
};

/**
 * struct vv_dma_ops - how a device learns of mappings
 * @attach:	once, when a session begins; NULL for nothing to do
 * @detach:	its opposite; nothing is mapped any more
 * @map:	one entry now; NULL for a device that takes whole trees
 * @unmap:	the opposite; afterwards, or after @sync if there is one, the device does not reach
 *		the memory
 * @sync:	complete all that @unmap gathered; NULL for a device that has nothing to gather
 * @commit:	the device takes all of @live; NULL for one that was told entry by entry
 */
struct vv_dma_ops {
	int (*attach)(struct vv_session *s);
	void (*detach)(struct vv_session *s);
	int (*map)(struct vv_as *as, u64 iova, u64 size, u64 addr, u32 perm, void *opaque);
	int (*unmap)(struct vv_as *as, u64 iova, u64 size, struct iommu_iotlb_gather *gather);
	void (*sync)(struct vv_as *as, struct iommu_iotlb_gather *gather);
	int (*commit)(struct vv_as *as, struct vhost_iotlb *tree);
};

/**
 * struct vv_mem_ops - what stands behind mappings
 * @check:	can @range be mapped at all?  May widen it.
 * @populate:	hold the memory of @range: one entry of @held per piece.  On error @held may have
 *		entries; the caller releases them.  mem_lock held, vhost.mutex not.
 * @release:	let go of the memory of one entry
 */
struct vv_mem_ops {
	int (*check)(struct vv_range *range);
	int (*populate)(struct vv_session *s, const struct vv_range *range,
			struct vhost_iotlb *held);
	void (*release)(struct vv_session *s, const struct vhost_iotlb_map *map);
};

/**
 * struct vv_session - one open of a node
 * @vhost:	vhost.ko's part; its mutex is the session's
 * @vdpa:	NULL once detached.  Protected by vhost.mutex; doorbell faults read it under
 *		@notify_lock, and kicks without a lock: they are stopped before it changes.
 * @mem_lock:	held by a writer of an IOTLB message
 * @batch:	address space of an open batch, NULL for none
 * @suspended:	the device was suspended and neither resumed nor reset since
 * @revoked:	no doorbell may be mapped any more; protected by @notify_lock
 * @reserved:	struct iommu_resv_region: addresses that the platform IOMMU cannot map
 * @mapping:	where the doorbells mapped so far are found
 */
struct vv_session {
	struct vhost_dev vhost;
	struct mutex mem_lock;
	struct vv_node *node;
	struct vdpa_device *vdpa;
	struct vv_queue *queue;
	struct vhost_virtqueue **vqs;
	struct vv_as *as;
	struct vv_as *batch;
	u32 nvqs;
	u32 nas;
	u64 backend_features;
	bool suspended;
	struct vdpa_iova_range range;
	const struct vv_dma_ops *dma;
	const struct vv_mem_ops *mem;
	struct iommu_domain *domain;
	struct list_head reserved;
	struct vv_signal config;
	struct mutex notify_lock;
	bool revoked;
	struct address_space *mapping;
};

/* The argument of an ioctl, in the kernel. */
union vv_arg {
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
int vv_reset(struct vv_session *s);

/* vdpa_ioctl.c */
long vv_ioctl(struct file *file, unsigned int cmd, unsigned long arg);

/* vdpa_vring.c */
void vv_queues_init(struct vv_session *s);
void vv_queues_silence(struct vv_session *s);
void vv_queues_free(struct vv_session *s);
void vv_bypass_all(struct vv_session *s, bool on);
int vv_signal_from_fd(int fd, struct eventfd_ctx **ctx);
struct eventfd_ctx *vv_signal_swap(struct vv_signal *signal, struct eventfd_ctx *ctx);
irqreturn_t vv_signal_raise(void *signal);
int vv_vring_set_num(struct vv_session *s, u16 idx, union vv_arg *arg);
int vv_vring_set_addr(struct vv_session *s, u16 idx, union vv_arg *arg);
int vv_vring_set_base(struct vv_session *s, u16 idx, union vv_arg *arg);
int vv_vring_get_base(struct vv_session *s, u16 idx, union vv_arg *arg);
int vv_vring_set_call(struct vv_session *s, u16 idx, union vv_arg *arg);
int vv_vring_enable(struct vv_session *s, u16 idx, union vv_arg *arg);
int vv_vring_get_group(struct vv_session *s, u16 idx, union vv_arg *arg);
int vv_vring_get_desc_group(struct vv_session *s, u16 idx, union vv_arg *arg);
int vv_vring_get_size(struct vv_session *s, u16 idx, union vv_arg *arg);

/* vdpa_as.c */
ssize_t vv_write_iter(struct kiocb *iocb, struct iov_iter *from);
void vv_as_init_all(struct vv_session *s);
void vv_as_disconnect_all(struct vv_session *s);
void vv_as_release_all(struct vv_session *s);

/* vdpa_dma.c */
const struct vv_dma_ops *vv_dma_ops_of(const struct vdpa_device *vdpa);
void vv_dma_set_range(struct vv_session *s);
bool vv_dma_is_reserved(struct vv_session *s, u64 first, u64 last);

/* vdpa_mem.c */
extern const struct vv_mem_ops vv_mem_pinned;
extern const struct vv_mem_ops vv_mem_files;

/* vdpa_notify.c */
int vv_mmap(struct file *file, struct vm_area_struct *vma);
void vv_notify_revoke(struct vv_session *s);

#endif
