// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Virtio-pci functions as vDPA devices: interrupts.
 *
 * Theory of operation
 *
 * Each queue should have a vector of its own, and configuration changes one more.  A host can be
 * short of vectors, so there are plans, best first; the driver takes the first that fits the
 * granted number:
 *
 *	one for each queue, one for the configuration
 *	one for all queues, one for the configuration
 *	one for everything; the ISR register says when it was (also) the configuration
 *
 * A plan comes down to a list of lines, and one handler serves any line.  A callback is called under
 * the lock that guards it: once ops->set_vq_cb() has returned, the old one neither runs nor will.
 *
 * The driver requests vectors when the device starts and frees them when it has been reset, so that
 * unused functions cost none.
 *
 * Locks: allocating vectors takes the kernel's locks of interrupts and, behind an IOMMU, of CPU hot-plug,
 * with fn->lock held.  Drivers ask for a queue's vector with CPU hot-plug locked (virtio-net, when it
 * spreads its queues), so vp_vdpa_irq_of() must not take fn->lock: it reads what vp_vdpa_irq_start() and
 * vp_vdpa_irq_stop() publish.
 *
 * Limits: MSI-X only.
 */
#include <linux/interrupt.h>
#include <linux/slab.h>

#include "vp_vdpa.h"

static const struct vp_vdpa_irq_plan {
	const char *name;
	bool queues_apart;
	bool config_apart;
} vp_vdpa_irq_plans[] = {
	{ "a vector for each queue", true, true },
	{ "one vector for all queues", false, true },
	{ "one vector for everything", false, false },
};

static u16 vp_vdpa_plan_lines(const struct vp_vdpa_irq_plan *plan, u16 nr_queues)
{
	return (plan->queues_apart ? nr_queues : 1) + plan->config_apart;
}

static const struct vp_vdpa_irq_plan *vp_vdpa_choose_plan(u16 nr_queues, int granted)
{
	const struct vp_vdpa_irq_plan *plan = vp_vdpa_irq_plans;

	while (vp_vdpa_plan_lines(plan, nr_queues) > granted)
		plan++;
	return plan;
}

static void vp_vdpa_run_callback(struct vdpa_callback *cb, spinlock_t *lock)
{
	unsigned long flags;

	spin_lock_irqsave(lock, flags);
	if (cb->callback)
		cb->callback(cb->private);
	spin_unlock_irqrestore(lock, flags);
}

static irqreturn_t vp_vdpa_interrupt(int irq, void *data)
{
	const struct vp_vdpa_line *line = data;
	struct vp_vdpa_function *fn = line->fn;
	u16 i;

	if (line->config && (!line->count || vp_vdpa_hw_config_changed(fn)))
		vp_vdpa_run_callback(&fn->config_cb, &fn->config_cb_lock);
	for (i = line->first; i < line->first + line->count; i++)
		vp_vdpa_run_callback(&fn->queues[i].cb, &fn->queues[i].cb_lock);
	return IRQ_HANDLED;
}

/* Tell the device; false when it has no room for a vector. */
static bool vp_vdpa_assign_vector(struct vp_vdpa_function *fn, u16 vector)
{
	const struct vp_vdpa_line *line = &fn->lines[vector];
	u16 i;

	for (i = line->first; i < line->first + line->count; i++)
		if (!vp_vdpa_hw_set_queue_vector(fn, i, vector))
			return false;
	return !line->config || vp_vdpa_hw_set_config_vector(fn, vector);
}

static void vp_vdpa_describe_line(struct vp_vdpa_function *fn, const struct vp_vdpa_irq_plan *plan,
				  u16 vector)
{
	struct vp_vdpa_line *line = &fn->lines[vector];
	u16 queue_lines = plan->queues_apart ? fn->nr_queues : 1;

	line->fn = fn;
	line->config = plan->config_apart ? vector == queue_lines : true;
	if (vector < queue_lines) {
		line->first = plan->queues_apart ? vector : 0;
		line->count = plan->queues_apart ? 1 : fn->nr_queues;
	}
	if (line->count == 1)
		snprintf(line->name, sizeof(line->name), "%s-%s-%u", fn->pdev->driver->name,
			 pci_name(fn->pdev), vector);
	else
		snprintf(line->name, sizeof(line->name), "%s-%s-%s", fn->pdev->driver->name,
			 pci_name(fn->pdev), line->count ? "queues" : "config");
}

/* One line more; on failure none more. */
static int vp_vdpa_add_line(struct vp_vdpa_function *fn, const struct vp_vdpa_irq_plan *plan)
{
	u16 vector = fn->nr_lines;
	struct vp_vdpa_line *line = &fn->lines[vector];
	int ret;

	vp_vdpa_describe_line(fn, plan, vector);
	line->irq = pci_irq_vector(fn->pdev, vector);
	ret = request_irq(line->irq, vp_vdpa_interrupt, 0, line->name, line);
	if (ret)
		return ret;
	if (!vp_vdpa_assign_vector(fn, vector)) {
		free_irq(line->irq, line);
		return -EBUSY;
	}
	fn->nr_lines++;
	return 0;
}

/* Show, or take back, the vectors that are one queue's alone. */
static void vp_vdpa_publish_irqs(struct vp_vdpa_function *fn, bool there)
{
	u16 vector;

	for (vector = 0; vector < fn->nr_lines; vector++) {
		const struct vp_vdpa_line *line = &fn->lines[vector];

		if (line->count == 1 && !line->config)
			WRITE_ONCE(fn->queues[line->first].irq, there ? line->irq : -EINVAL);
	}
}

int vp_vdpa_irq_start(struct vp_vdpa_function *fn)
{
	const struct vp_vdpa_irq_plan *plan;
	int ret, granted;
	u16 want;

	lockdep_assert_held(&fn->lock);
	granted = pci_alloc_irq_vectors(fn->pdev, 1,
					vp_vdpa_plan_lines(&vp_vdpa_irq_plans[0], fn->nr_queues),
					PCI_IRQ_MSIX);
	if (granted < 0)
		return granted;
	plan = vp_vdpa_choose_plan(fn->nr_queues, granted);
	want = vp_vdpa_plan_lines(plan, fn->nr_queues);
	pci_dbg(fn->pdev, "%d vectors: %s\n", granted, plan->name);

	ret = -ENOMEM;
	fn->lines = kcalloc(want, sizeof(*fn->lines), GFP_KERNEL);
	if (!fn->lines)
		goto free_vectors;
	while (fn->nr_lines < want) {
		ret = vp_vdpa_add_line(fn, plan);
		if (ret)
			goto stop;
	}
	vp_vdpa_publish_irqs(fn, true);
	return 0;

free_vectors:
	pci_free_irq_vectors(fn->pdev);
	return ret;
stop:
	vp_vdpa_irq_stop(fn);
	return ret;
}

void vp_vdpa_irq_stop(struct vp_vdpa_function *fn)
{
	lockdep_assert_held(&fn->lock);
	if (!fn->lines)
		return;
	vp_vdpa_publish_irqs(fn, false);
	while (fn->nr_lines) {
		struct vp_vdpa_line *line = &fn->lines[--fn->nr_lines];

		free_irq(line->irq, line);
	}
	pci_free_irq_vectors(fn->pdev);
	kfree(fn->lines);
	fn->lines = NULL;
}

int vp_vdpa_irq_of(const struct vp_vdpa_function *fn, u16 i)
{
	return READ_ONCE(fn->queues[i].irq);
}
