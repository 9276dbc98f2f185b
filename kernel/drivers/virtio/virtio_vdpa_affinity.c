// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Affinity of the queues' interrupts.
 *
 * A virtio driver has two ways to set affinity: it has find_vqs spread its queues over the CPUs,
 * and asks afterwards which CPUs a queue got (virtio-blk), or it names CPUs for a queue
 * (virtio-net).  6.1's vDPA has no operation to pass that on, but gives the interrupt of a queue.
 * Devices may request their interrupts as late as at DRIVER_OK and free them at reset, so
 *
 *	find_vqs, set_vq_affinity	the wanted masks are kept
 *	DRIVER_OK			the interrupts that exist now get hints
 *	reset				the hints are removed: none may be left at free_irq()
 *
 * Limits: NUMA nodes are not looked at, and the sets of struct irq_affinity are taken as one.  A device
 * without an interrupt per queue ignores all this, and of queues that share one the last decides.
 */
#include <linux/slab.h>

#include "virtio_vdpa_core.h"

/* The kernel keeps the mask's address, so the mask stays as it is until this has been called. */
static void virtio_vdpa_clear_hint_locked(struct virtio_vdpa *vv, struct virtio_vdpa_queue *queue)
{
	lockdep_assert_held(&vv->affinity_lock);
	if (queue->irq < 0)
		return;
	irq_update_affinity_hint(queue->irq, NULL);
	queue->irq = -1;
}

static void virtio_vdpa_set_hint_locked(struct virtio_vdpa *vv, unsigned int index)
{
	struct virtio_vdpa_queue *queue = &vv->queues[index];
	int irq;

	lockdep_assert_held(&vv->affinity_lock);
	if (!queue->wanted || !vv->vdpa->config->get_vq_irq)
		return;
	irq = vv->vdpa->config->get_vq_irq(vv->vdpa, index);
	if (irq >= 0 && !irq_set_affinity_and_hint(irq, queue->wanted))
		queue->irq = irq;
}

/**
 * virtio_vdpa_set_hints - tell interrupts where to go
 * @vv: its device has its interrupts
 */
void virtio_vdpa_set_hints(struct virtio_vdpa *vv)
{
	unsigned int i;

	mutex_lock(&vv->affinity_lock);
	for (i = 0; i < vv->nqueues; i++)
		virtio_vdpa_set_hint_locked(vv, i);
	mutex_unlock(&vv->affinity_lock);
}

/**
 * virtio_vdpa_clear_hints - the device is going to free its interrupts
 * @vv: keeps the wanted masks
 */
void virtio_vdpa_clear_hints(struct virtio_vdpa *vv)
{
	unsigned int i;

	mutex_lock(&vv->affinity_lock);
	for (i = 0; i < vv->nqueues; i++)
		virtio_vdpa_clear_hint_locked(vv, &vv->queues[i]);
	mutex_unlock(&vv->affinity_lock);
}

static void virtio_vdpa_set_wanted_locked(struct virtio_vdpa *vv, unsigned int index,
					  struct cpumask *wanted)
{
	struct virtio_vdpa_queue *queue = &vv->queues[index];

	virtio_vdpa_clear_hint_locked(vv, queue);
	kfree(queue->wanted);
	queue->wanted = wanted;
}

/**
 * virtio_vdpa_clear_affinity - nothing is wanted any more
 * @vv: has no virtqueues, or loses them
 */
void virtio_vdpa_clear_affinity(struct virtio_vdpa *vv)
{
	unsigned int i;

	mutex_lock(&vv->affinity_lock);
	for (i = 0; i < vv->nqueues; i++)
		virtio_vdpa_set_wanted_locked(vv, i, NULL);
	mutex_unlock(&vv->affinity_lock);
}

/**
 * virtio_vdpa_set_affinity - a virtio driver names CPUs for a queue
 * @vq: the queue
 * @mask: copied; NULL for any CPU
 *
 * Return: 0 or -ENOMEM
 */
int virtio_vdpa_set_affinity(struct virtqueue *vq, const struct cpumask *mask)
{
	struct virtio_vdpa *vv = virtio_vdpa_from_vdev(vq->vdev);
	struct cpumask *wanted = NULL;

	if (mask) {
		wanted = kmemdup(mask, cpumask_size(), GFP_KERNEL);
		if (!wanted)
			return -ENOMEM;
	}
	mutex_lock(&vv->affinity_lock);
	virtio_vdpa_set_wanted_locked(vv, vq->index, wanted);
	virtio_vdpa_set_hint_locked(vv, vq->index);
	mutex_unlock(&vv->affinity_lock);
	return 0;
}

/**
 * virtio_vdpa_get_affinity - the CPUs that a queue was given
 * @vdev: the virtio device
 * @index: of the queue
 *
 * Return: a mask that stays until the queue or its affinity changes; NULL for none
 */
const struct cpumask *virtio_vdpa_get_affinity(struct virtio_device *vdev, int index)
{
	struct virtio_vdpa *vv = virtio_vdpa_from_vdev(vdev);

	return index >= 0 && index < vv->nqueues ? vv->queues[index].wanted : NULL;
}

/* CPUs whose rank among the possible ones is in share @share of @shares, evenly and in order. */
static struct cpumask *virtio_vdpa_cpu_share(unsigned int share, unsigned int shares)
{
	unsigned int cpu, rank = 0, cpus = num_possible_cpus();
	struct cpumask *mask = kzalloc(cpumask_size(), GFP_KERNEL);

	if (!mask)
		return NULL;
	for_each_possible_cpu(cpu)
		if (rank++ * shares / cpus == share)
			cpumask_set_cpu(cpu, mask);
	return mask;
}

/* Does the queue's interrupt take part: has it a callback, is it not among the first or last ones? */
static bool virtio_vdpa_is_spread(const struct irq_affinity *spread, struct virtqueue *const vqs[],
				  unsigned int n, unsigned int i)
{
	return vqs[i] && vqs[i]->callback && i >= spread->pre_vectors &&
	       i + spread->post_vectors < n;
}

/**
 * virtio_vdpa_spread - give each queue a part of the CPUs
 * @vv: the device
 * @spread: how many queues at the beginning and at the end are left out
 * @vqs: the driver's queues, with NULL for those it does not use
 * @n: their number
 *
 * Queues beyond the number of CPUs get none, and neither does one for which there is no memory;
 * drivers fall back on a mapping of their own then.
 */
void virtio_vdpa_spread(struct virtio_vdpa *vv, const struct irq_affinity *spread,
			struct virtqueue *const vqs[], unsigned int n)
{
	unsigned int i, shares = 0, share = 0;

	for (i = 0; i < n; i++)
		shares += virtio_vdpa_is_spread(spread, vqs, n, i);
	shares = min(shares, num_possible_cpus());

	mutex_lock(&vv->affinity_lock);
	for (i = 0; i < n && share < shares; i++)
		if (virtio_vdpa_is_spread(spread, vqs, n, i))
			virtio_vdpa_set_wanted_locked(vv, vqs[i]->index,
						      virtio_vdpa_cpu_share(share++, shares));
	mutex_unlock(&vv->affinity_lock);
}
