// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Intel IFC VF: interrupts.
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
 * unused VFs cost none.
 *
 * Locks: allocating vectors takes the kernel's locks of interrupts and, behind an IOMMU, of CPU hot-plug,
 * with vf->lock held.  Drivers ask for a queue's vector with CPU hot-plug locked (virtio-net, when it
 * spreads its queues), so ifcvf_irq_of() must not take vf->lock: it reads what ifcvf_irq_start() and
 * ifcvf_irq_stop() publish.
 *
 * Limits: MSI-X only.
 */
#include <linux/interrupt.h>
#include <linux/slab.h>

#include "ifcvf.h"

static const struct ifcvf_irq_plan {
	const char *name;
	bool queues_apart;
	bool config_apart;
} ifcvf_irq_plans[] = {
	{ "a vector for each queue", true, true },
	{ "one vector for all queues", false, true },
	{ "one vector for everything", false, false },
};

static u16 ifcvf_plan_lines(const struct ifcvf_irq_plan *plan, u16 nr_queues)
{
	return (plan->queues_apart ? nr_queues : 1) + plan->config_apart;
}

static const struct ifcvf_irq_plan *ifcvf_choose_plan(u16 nr_queues, int granted)
{
	const struct ifcvf_irq_plan *plan = ifcvf_irq_plans;

	while (ifcvf_plan_lines(plan, nr_queues) > granted)
		plan++;
	return plan;
}

static void ifcvf_run_callback(struct vdpa_callback *cb, spinlock_t *lock)
{
	unsigned long flags;

	spin_lock_irqsave(lock, flags);
	if (cb->callback)
		cb->callback(cb->private);
	spin_unlock_irqrestore(lock, flags);
}

static irqreturn_t ifcvf_interrupt(int irq, void *data)
{
	const struct ifcvf_line *line = data;
	struct ifcvf_vf *vf = line->vf;
	u16 i;

	if (line->config && (!line->count || ifcvf_hw_config_changed(vf)))
		ifcvf_run_callback(&vf->config_cb, &vf->config_cb_lock);
	for (i = line->first; i < line->first + line->count; i++)
		ifcvf_run_callback(&vf->queues[i].cb, &vf->queues[i].cb_lock);
	return IRQ_HANDLED;
}

/* Tell the device; false when it has no room for a vector. */
static bool ifcvf_assign_vector(struct ifcvf_vf *vf, u16 vector)
{
	const struct ifcvf_line *line = &vf->lines[vector];
	u16 i;

	for (i = line->first; i < line->first + line->count; i++)
		if (!ifcvf_hw_set_queue_vector(vf, i, vector))
			return false;
	return !line->config || ifcvf_hw_set_config_vector(vf, vector);
}

static void ifcvf_describe_line(struct ifcvf_vf *vf, const struct ifcvf_irq_plan *plan, u16 vector)
{
	struct ifcvf_line *line = &vf->lines[vector];
	u16 queue_lines = plan->queues_apart ? vf->nr_queues : 1;

	line->vf = vf;
	line->config = plan->config_apart ? vector == queue_lines : true;
	if (vector < queue_lines) {
		line->first = plan->queues_apart ? vector : 0;
		line->count = plan->queues_apart ? 1 : vf->nr_queues;
	}
	if (line->count == 1)
		snprintf(line->name, sizeof(line->name), "ifcvf-%s-%u", pci_name(vf->pdev), vector);
	else
		snprintf(line->name, sizeof(line->name), "ifcvf-%s-%s", pci_name(vf->pdev),
			 line->count ? "queues" : "config");
}

/* One line more; on failure none more. */
static int ifcvf_add_line(struct ifcvf_vf *vf, const struct ifcvf_irq_plan *plan)
{
	u16 vector = vf->nr_lines;
	struct ifcvf_line *line = &vf->lines[vector];
	int ret;

	ifcvf_describe_line(vf, plan, vector);
	line->irq = pci_irq_vector(vf->pdev, vector);
	ret = request_irq(line->irq, ifcvf_interrupt, 0, line->name, line);
	if (ret)
		return ret;
	if (!ifcvf_assign_vector(vf, vector)) {
		free_irq(line->irq, line);
		return -EBUSY;
	}
	vf->nr_lines++;
	return 0;
}

/* Show, or take back, the vectors that are one queue's alone. */
static void ifcvf_publish_irqs(struct ifcvf_vf *vf, bool there)
{
	u16 vector;

	for (vector = 0; vector < vf->nr_lines; vector++) {
		const struct ifcvf_line *line = &vf->lines[vector];

		if (line->count == 1 && !line->config)
			WRITE_ONCE(vf->queues[line->first].irq, there ? line->irq : -EINVAL);
	}
}

int ifcvf_irq_start(struct ifcvf_vf *vf)
{
	const struct ifcvf_irq_plan *plan;
	int ret, granted;
	u16 want;

	lockdep_assert_held(&vf->lock);
	granted = pci_alloc_irq_vectors(
		vf->pdev, 1, ifcvf_plan_lines(&ifcvf_irq_plans[0], vf->nr_queues), PCI_IRQ_MSIX);
	if (granted < 0)
		return granted;
	plan = ifcvf_choose_plan(vf->nr_queues, granted);
	want = ifcvf_plan_lines(plan, vf->nr_queues);
	pci_dbg(vf->pdev, "%d vectors: %s\n", granted, plan->name);

	ret = -ENOMEM;
	vf->lines = kcalloc(want, sizeof(*vf->lines), GFP_KERNEL);
	if (!vf->lines)
		goto free_vectors;
	while (vf->nr_lines < want) {
		ret = ifcvf_add_line(vf, plan);
		if (ret)
			goto stop;
	}
	ifcvf_publish_irqs(vf, true);
	return 0;

free_vectors:
	pci_free_irq_vectors(vf->pdev);
	return ret;
stop:
	ifcvf_irq_stop(vf);
	return ret;
}

void ifcvf_irq_stop(struct ifcvf_vf *vf)
{
	lockdep_assert_held(&vf->lock);
	if (!vf->lines)
		return;
	ifcvf_publish_irqs(vf, false);
	while (vf->nr_lines) {
		struct ifcvf_line *line = &vf->lines[--vf->nr_lines];

		free_irq(line->irq, line);
	}
	pci_free_irq_vectors(vf->pdev);
	kfree(vf->lines);
	vf->lines = NULL;
}

int ifcvf_irq_of(const struct ifcvf_vf *vf, u16 i)
{
	return READ_ONCE(vf->queues[i].irq);
}
