// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The vDPA simulator: a device without hardware, with an on-chip IOMMU of its own.
 *
 *	vdpa_sim_core.c	life of a device, the phases it goes through, its workers
 *	vdpa_sim_ops.c	operations for the vDPA bus
 *	vdpa_sim_iommu.c	address spaces
 *	vdpa_sim_queue.c	virtqueues and the data in them
 *	vdpa_sim_fault.c	debugfs: faults for tests
 *	vdpa_sim_meter.c	debugfs: the driver's calls, and how long queues stood still
 *
 * A kick queues the work of the queue's unit on a workqueue of this module; the work serves a batch
 * under the unit's lock, sends interrupts, and queues itself again when there is more.
 *
 * A device is in one of three phases; vdpa_sim_transitions[] has all transitions.  Work that finds
 * its device not running does nothing.  The phase is changed first and the work waited for
 * afterwards, so that when suspend returns no queue moves, no interrupt is on its way, and the
 * position of every queue is final.  Configuration interrupts that fall into a suspension are
 * delivered on resume.
 *
 * Teardown: the vDPA bus unbinds its driver, which resets the device; after the last reference has
 * gone, no pending work can find the device running; free() waits for queued work and frees.  A
 * kick needs a bound driver, and debugfs was removed before: no new work can arise.
 *
 * Limits: drivers of the kernel that wait for a control command without giving up their CPU need a
 * second CPU for the worker.
 */
#include <linux/err.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "vdpa_sim_core.h"

static bool batch_mapping = true;
module_param(batch_mapping, bool, 0444);
MODULE_PARM_DESC(batch_mapping, "take mappings as a whole tree (default) or one by one");

static struct workqueue_struct *vdpa_sim_workqueue;

/* The phase after an event; an event that leaves the phase has no effect. */
static const enum vdpa_sim_phase vdpa_sim_transitions[VDPA_SIM_NR_PHASES][VDPA_SIM_NR_EVENTS] = {
	[VDPA_SIM_PHASE_INIT] = {
		[VDPA_SIM_EVENT_DRIVER_OK]	= VDPA_SIM_PHASE_DRIVER_OK,
		[VDPA_SIM_EVENT_SUSPEND]	= VDPA_SIM_PHASE_INIT,
		[VDPA_SIM_EVENT_RESUME]	= VDPA_SIM_PHASE_INIT,
		[VDPA_SIM_EVENT_RESET]	= VDPA_SIM_PHASE_INIT,
	},
	[VDPA_SIM_PHASE_DRIVER_OK] = {
		[VDPA_SIM_EVENT_DRIVER_OK]	= VDPA_SIM_PHASE_DRIVER_OK,
		[VDPA_SIM_EVENT_SUSPEND]	= VDPA_SIM_PHASE_SUSPENDED,
		[VDPA_SIM_EVENT_RESUME]	= VDPA_SIM_PHASE_DRIVER_OK,
		[VDPA_SIM_EVENT_RESET]	= VDPA_SIM_PHASE_INIT,
	},
	[VDPA_SIM_PHASE_SUSPENDED] = {
		[VDPA_SIM_EVENT_DRIVER_OK]	= VDPA_SIM_PHASE_SUSPENDED,
		[VDPA_SIM_EVENT_SUSPEND]	= VDPA_SIM_PHASE_SUSPENDED,
		[VDPA_SIM_EVENT_RESUME]	= VDPA_SIM_PHASE_DRIVER_OK,
		[VDPA_SIM_EVENT_RESET]	= VDPA_SIM_PHASE_INIT,
	},
};

static bool vdpa_sim_is_running(const struct vdpa_sim_device *sim)
{
	return READ_ONCE(sim->phase) == VDPA_SIM_PHASE_DRIVER_OK;
}

/* Any context. */
void vdpa_sim_unit_schedule(struct vdpa_sim_unit *unit)
{
	if (vdpa_sim_is_running(unit->sim))
		queue_work(vdpa_sim_workqueue, &unit->work);
}

void vdpa_sim_kick_all(struct vdpa_sim_device *sim)
{
	unsigned int i;

	for (i = 0; i < sim->nunits; i++)
		vdpa_sim_unit_schedule(&sim->units[i]);
}
EXPORT_SYMBOL_GPL(vdpa_sim_kick_all);

/* When it returns, every unit has finished the batch that it was in. */
void vdpa_sim_wait_units(struct vdpa_sim_device *sim)
{
	unsigned int i;

	for (i = 0; i < sim->nunits; i++) {
		mutex_lock(&sim->units[i].lock);
		mutex_unlock(&sim->units[i].lock);
	}
}

static bool vdpa_sim_serve_batch(struct vdpa_sim_unit *unit)
{
	struct vdpa_sim_space *space = vdpa_sim_space_of(unit);
	unsigned int i;
	bool more;

	down_read(&space->sem);
	for (i = 0; i < unit->nqueues; i++)
		vdpa_sim_queue_bind(&unit->queues[i], space);
	more = unit->sim->kind->serve(unit);
	for (i = 0; i < unit->nqueues; i++)
		vdpa_sim_queue_check_interrupt(&unit->queues[i]);
	up_read(&space->sem);
	for (i = 0; i < unit->nqueues; i++)
		vdpa_sim_queue_interrupt(&unit->queues[i]);
	return more;
}

/*
 * Reclaim may wait for a request of this unit: nothing here allocates in a way that starts I/O, and the
 * workqueue has a rescuer for when no worker can be made.
 */
static void vdpa_sim_unit_work(struct work_struct *work)
{
	struct vdpa_sim_unit *unit = container_of(work, struct vdpa_sim_unit, work);
	unsigned int noio = memalloc_noio_save();
	bool more = false;

	mutex_lock(&unit->lock);
	if (vdpa_sim_is_running(unit->sim))
		more = vdpa_sim_serve_batch(unit);
	mutex_unlock(&unit->lock);
	memalloc_noio_restore(noio);
	if (more)
		vdpa_sim_unit_schedule(unit);
}

/* After a change of phase: nothing runs when this returns, and nothing starts. */
static void vdpa_sim_wait_workers(struct vdpa_sim_device *sim)
{
	unsigned int i;

	for (i = 0; i < sim->nunits; i++)
		cancel_work_sync(&sim->units[i].work);
	mutex_lock(&sim->config_lock); /* the last configuration interrupt */
	mutex_unlock(&sim->config_lock);
}

static void vdpa_sim_start_queues(struct vdpa_sim_device *sim)
{
	unsigned int i;

	for (i = 0; i < sim->nqueues; i++) {
		struct vdpa_sim_queue *vq = &sim->queues[i];

		mutex_lock(&vq->unit->lock);
		vdpa_sim_queue_start(vq);
		mutex_unlock(&vq->unit->lock);
	}
}

static void vdpa_sim_clear_config_interrupt(struct vdpa_sim_device *sim)
{
	mutex_lock(&sim->config_lock);
	memset(&sim->config_cb, 0, sizeof(sim->config_cb));
	sim->config_pending = false;
	mutex_unlock(&sim->config_lock);
}

static void vdpa_sim_reset_state(struct vdpa_sim_device *sim)
{
	unsigned int i;

	for (i = 0; i < sim->nqueues; i++) {
		struct vdpa_sim_queue *vq = &sim->queues[i];

		mutex_lock(&vq->unit->lock);
		vdpa_sim_queue_reset(vq);
		mutex_unlock(&vq->unit->lock);
	}
	for (i = 0; i < ARRAY_SIZE(sim->group_space); i++)
		WRITE_ONCE(sim->group_space[i], 0);
	sim->kind->reset(sim);
	sim->status = 0;
	sim->features = 0;
	WRITE_ONCE(sim->broken, false);
	WRITE_ONCE(sim->kernel_owned, false);
	vdpa_sim_clear_config_interrupt(sim);
}

/* Deliver the configuration interrupt that was held back. */
static void vdpa_sim_flush_config_interrupt(struct vdpa_sim_device *sim)
{
	mutex_lock(&sim->config_lock);
	if (sim->config_pending && sim->config_cb.callback)
		sim->config_cb.callback(sim->config_cb.private);
	sim->config_pending = false;
	mutex_unlock(&sim->config_lock);
}

/* Act on a change; the phase is the new one. */
static void vdpa_sim_phase_changed(struct vdpa_sim_device *sim, enum vdpa_sim_phase from)
{
	switch (sim->phase) {
	case VDPA_SIM_PHASE_DRIVER_OK:
		if (from == VDPA_SIM_PHASE_SUSPENDED)
			vdpa_sim_flush_config_interrupt(sim);
		vdpa_sim_kick_all(sim);
		break;
	case VDPA_SIM_PHASE_SUSPENDED:
	case VDPA_SIM_PHASE_INIT:
		vdpa_sim_wait_workers(sim);
		break;
	default:
		break;
	}
}

static const enum vdpa_sim_fault_point vdpa_sim_event_faults[VDPA_SIM_NR_EVENTS] = {
	[VDPA_SIM_EVENT_DRIVER_OK] = VDPA_SIM_NR_FAULTS,
	[VDPA_SIM_EVENT_SUSPEND] = VDPA_SIM_FAULT_SUSPEND,
	[VDPA_SIM_EVENT_RESUME] = VDPA_SIM_FAULT_RESUME,
	[VDPA_SIM_EVENT_RESET] = VDPA_SIM_FAULT_RESET,
};

/**
 * vdpa_sim_device_event - the one place where phases change
 * @sim:   the device
 * @event: requested by the driver
 *
 * Return: 0, or the errno of fault injection, and then nothing has happened.
 */
int vdpa_sim_device_event(struct vdpa_sim_device *sim, enum vdpa_sim_event event)
{
	enum vdpa_sim_fault_point point = vdpa_sim_event_faults[event];
	enum vdpa_sim_phase from;
	int ret = 0;

	if (point != VDPA_SIM_NR_FAULTS)
		ret = vdpa_sim_fault(sim, point);
	if (ret)
		return ret;
	mutex_lock(&sim->lock);
	from = sim->phase;
	if (event == VDPA_SIM_EVENT_DRIVER_OK && from == VDPA_SIM_PHASE_INIT) {
		sim->kind->start(sim);
		vdpa_sim_start_queues(sim);
	}
	WRITE_ONCE(sim->phase, vdpa_sim_transitions[from][event]);
	if (from != sim->phase || sim->status)
		atomic64_inc(&sim->counts.events[event]);
	if (from != sim->phase) {
		vdpa_sim_meter_device(sim);
		vdpa_sim_phase_changed(sim, from);
	}
	if (event == VDPA_SIM_EVENT_RESET)
		vdpa_sim_reset_state(sim);
	mutex_unlock(&sim->lock);
	return 0;
}

/* The configuration space has changed.  May sleep; a unit's lock may be held. */
void vdpa_sim_config_changed(struct vdpa_sim_device *sim)
{
	atomic_inc(&sim->generation);
	mutex_lock(&sim->config_lock);
	if (!vdpa_sim_is_running(sim))
		sim->config_pending = READ_ONCE(sim->phase) == VDPA_SIM_PHASE_SUSPENDED;
	else if (sim->config_cb.callback)
		sim->config_cb.callback(sim->config_cb.private);
	mutex_unlock(&sim->config_lock);
}
EXPORT_SYMBOL_GPL(vdpa_sim_config_changed);

/* Life of a device. */

static void vdpa_sim_init_units(struct vdpa_sim_device *sim)
{
	unsigned int per_unit = sim->kind->queues_per_unit;
	unsigned int i;

	for (i = 0; i < sim->nunits; i++) {
		struct vdpa_sim_unit *unit = &sim->units[i];

		unit->sim = sim;
		unit->idx = i;
		unit->queues = &sim->queues[i * per_unit];
		unit->nqueues = min(per_unit, sim->nqueues - i * per_unit);
		mutex_init(&unit->lock);
		INIT_WORK(&unit->work, vdpa_sim_unit_work);
	}
	for (i = 0; i < sim->nqueues; i++)
		vdpa_sim_queue_init(&sim->queues[i], &sim->units[i / per_unit], i);
}

static int vdpa_sim_allocate_parts(struct vdpa_sim_device *sim, unsigned int nqueues)
{
	unsigned int nunits = DIV_ROUND_UP(nqueues, sim->kind->queues_per_unit);
	int ret;

	ret = vdpa_sim_spaces_init(sim);
	if (ret)
		return ret;
	sim->queues = kvcalloc(nqueues, sizeof(*sim->queues), GFP_KERNEL);
	if (!sim->queues)
		return -ENOMEM;
	sim->nqueues = nqueues;
	sim->units = kcalloc(nunits, sizeof(*sim->units), GFP_KERNEL);
	if (!sim->units)
		return -ENOMEM;
	sim->nunits = nunits;
	vdpa_sim_init_units(sim);
	return 0;
}

/**
 * vdpa_sim_device_new - a device of some kind, not yet registered
 * @kind:    which; outlives the device
 * @parent:  of the management device
 * @name:    on the vDPA bus
 * @nqueues: at least one
 *
 * Until registration the caller undoes it by vdpa_sim_device_drop().
 *
 * Return: the device, at the start of kind->size bytes of zeroes, or an error pointer.
 */
struct vdpa_sim_device *vdpa_sim_device_new(const struct vdpa_sim_kind *kind, struct device *parent,
					    const char *name, unsigned int nqueues)
{
	struct vdpa_device *vdpa;
	struct vdpa_sim_device *sim;
	int ret;

	vdpa = __vdpa_alloc_device(parent, vdpa_sim_config_ops(batch_mapping), kind->ngroups,
				   kind->nspaces, kind->size, name, false);
	if (IS_ERR(vdpa))
		return ERR_CAST(vdpa);
	sim = vdpa_sim_of(vdpa);
	sim->kind = kind;
	mutex_init(&sim->lock);
	mutex_init(&sim->config_lock);
	vdpa_sim_dma_setup(sim);
	ret = vdpa_sim_allocate_parts(sim, nqueues);
#ifdef VDPA_NEEDS_EXT_OPS
	if (!ret)
		ret = vdpa_set_ext_ops(vdpa, &vdpa_sim_ext_ops);
#endif
	if (ret) {
		vdpa_sim_device_drop(sim);
		return ERR_PTR(ret);
	}
	return sim;
}
EXPORT_SYMBOL_GPL(vdpa_sim_device_new);

/* Give up a device that was not registered. */
void vdpa_sim_device_drop(struct vdpa_sim_device *sim)
{
	put_device(&sim->vdpa.dev);
}
EXPORT_SYMBOL_GPL(vdpa_sim_device_drop);

/* config->free: the last reference is gone. */
void vdpa_sim_device_free(struct vdpa_device *vdpa)
{
	struct vdpa_sim_device *sim = vdpa_sim_of(vdpa);
	unsigned int i;

	WRITE_ONCE(sim->phase, VDPA_SIM_PHASE_INIT);
	for (i = 0; i < sim->nunits; i++) {
		cancel_work_sync(&sim->units[i].work);
		mutex_destroy(&sim->units[i].lock);
	}
	for (i = 0; sim->nunits && i < sim->nqueues; i++) {
		vringh_kiov_cleanup(&sim->queues[i].in);
		vringh_kiov_cleanup(&sim->queues[i].out);
	}
	if (sim->kind->destroy)
		sim->kind->destroy(sim);
	kfree(sim->units);
	kvfree(sim->queues);
	vdpa_sim_spaces_free(sim);
	mutex_destroy(&sim->config_lock);
	mutex_destroy(&sim->lock);
}

/* From the management device's dev_add. */
int vdpa_sim_device_register(struct vdpa_sim_device *sim, struct vdpa_mgmt_dev *mgmt)
{
	int ret;

	sim->kind->reset(sim);
	sim->vdpa.mdev = mgmt;
	ret = _vdpa_register_device(&sim->vdpa, sim->nqueues);
	if (!ret)
		vdpa_sim_debugfs_add(sim);
	return ret;
}
EXPORT_SYMBOL_GPL(vdpa_sim_device_register);

/* From the management device's dev_del. */
void vdpa_sim_device_unregister(struct vdpa_sim_device *sim)
{
	vdpa_sim_debugfs_remove(sim);
	_vdpa_unregister_device(&sim->vdpa);
}
EXPORT_SYMBOL_GPL(vdpa_sim_device_unregister);

static int __init vdpa_sim_init(void)
{
	int ret;

	ret = vdpa_sim_iommu_init();
	if (ret)
		return ret;
	vdpa_sim_workqueue = alloc_workqueue("vdpa_sim", WQ_UNBOUND | WQ_MEM_RECLAIM, 0);
	if (!vdpa_sim_workqueue) {
		vdpa_sim_iommu_exit();
		return -ENOMEM;
	}
	vdpa_sim_debugfs_init();
	return 0;
}
module_init(vdpa_sim_init);

static void __exit vdpa_sim_exit(void)
{
	vdpa_sim_debugfs_exit();
	destroy_workqueue(vdpa_sim_workqueue);
	vdpa_sim_iommu_exit();
}
module_exit(vdpa_sim_exit);

MODULE_DESCRIPTION("vDPA simulator, core");
MODULE_LICENSE("GPL");
