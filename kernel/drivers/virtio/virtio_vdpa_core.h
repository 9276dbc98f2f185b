/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Shared by the files of module virtio_vdpa.
 *
 *	virtio_vdpa_transport.c	binding, status, features, configuration
 *	virtio_vdpa_queues.c	set-up, reset and removal of virtqueues, their events
 *	virtio_vdpa_affinity.c	which CPUs a queue's interrupt goes to
 */
#ifndef QEMU_LIVE_VIRTIO_VDPA_CORE_H
#define QEMU_LIVE_VIRTIO_VDPA_CORE_H

#include <linux/cpumask.h>
#include <linux/interrupt.h>
#include <linux/mutex.h>
#include <linux/vdpa.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>

/**
 * struct virtio_vdpa_queue - one queue of the vDPA device
 * @vq:     the virtqueue that events go to; NULL while there is none.  Written by find_vqs, del_vqs and
 *          queue resets (which the virtio driver does not run at once), read under RCU.
 * @wanted: where its interrupt should go, NULL for anywhere; protected by affinity_lock
 * @irq:    the interrupt that has the hint, or -1; protected by affinity_lock
 */
struct virtio_vdpa_queue {
	struct virtqueue __rcu *vq;
	struct cpumask *wanted;
	int irq;
};

/**
 * struct virtio_vdpa - a virtio device on a vDPA device
 * @vdev:    for virtio drivers; its last reference frees the structure
 * @vdpa:    good from probe to remove
 * @affinity_lock: see struct virtio_vdpa_queue
 * @nqueues: how many the vDPA device has
 * @queues:  by index
 */
struct virtio_vdpa {
	struct virtio_device vdev;
	struct vdpa_device *vdpa;
	struct mutex affinity_lock;
	unsigned int nqueues;
	struct virtio_vdpa_queue queues[];
};

static inline struct virtio_vdpa *virtio_vdpa_from_vdev(struct virtio_device *vdev)
{
	return container_of(vdev, struct virtio_vdpa, vdev);
}

/* virtio_vdpa_queues.c */
int virtio_vdpa_find_queues(struct virtio_device *vdev, unsigned int n, struct virtqueue *vqs[],
			    vq_callback_t *callbacks[], const char *const names[], const bool *ctx,
			    struct irq_affinity *spread);
void virtio_vdpa_del_queues(struct virtio_device *vdev);
int virtio_vdpa_disable_queue(struct virtqueue *vq);
int virtio_vdpa_enable_queue(struct virtqueue *vq);

/* virtio_vdpa_affinity.c */
void virtio_vdpa_spread(struct virtio_vdpa *vv, const struct irq_affinity *spread,
			struct virtqueue *const vqs[], unsigned int n);
int virtio_vdpa_set_affinity(struct virtqueue *vq, const struct cpumask *mask);
const struct cpumask *virtio_vdpa_get_affinity(struct virtio_device *vdev, int index);
void virtio_vdpa_set_hints(struct virtio_vdpa *vv);
void virtio_vdpa_clear_hints(struct virtio_vdpa *vv);
void virtio_vdpa_clear_affinity(struct virtio_vdpa *vv);

#endif
