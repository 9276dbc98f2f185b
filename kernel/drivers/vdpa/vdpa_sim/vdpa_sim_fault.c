// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Faults on request, for tests: off until root switches them on.
 *
 *	/sys/kernel/debug/vdpa_sim/DEVICE/fault/POINT/times	how often; -1 always, 0 off
 *	                                             /skip	calls to let pass first
 *	                                             /error	errno (positive); 0 only delays
 *	                                             /delay_ms	sleep first, at most a minute
 *	                                             /hits	how often it struck
 *
 * A fault strikes before the operation has had any effect: the caller sees an error and the device is
 * as it was.  Points whose operation cannot fail have another meaning: a configuration space that is
 * read under "config" shows all ones, a write is lost, as with a card that fell off its bus; a request
 * under "data" is failed (blk) or dropped (net).
 *
 * Limits: two operations that race for the last of `times` strike once; `skip` is not exact then.
 */
#include <linux/delay.h>
#include <linux/err.h>

#include "vdpa_sim_core.h"

#define VDPA_SIM_MAX_DELAY_MS 60000

static struct dentry *vdpa_sim_debugfs_root;

static const char *const vdpa_sim_fault_names[VDPA_SIM_NR_FAULTS] = {
	[VDPA_SIM_FAULT_MAP] = "map",
	[VDPA_SIM_FAULT_UNMAP] = "unmap",
	[VDPA_SIM_FAULT_SUSPEND] = "suspend",
	[VDPA_SIM_FAULT_RESUME] = "resume",
	[VDPA_SIM_FAULT_RESET] = "reset",
	[VDPA_SIM_FAULT_GET_VQ_STATE] = "get_vq_state",
	[VDPA_SIM_FAULT_SET_VQ_STATE] = "set_vq_state",
	[VDPA_SIM_FAULT_CONFIG] = "config",
	[VDPA_SIM_FAULT_DATA] = "data",
};

/* Whether the fault strikes this call; counts it if so. */
static bool vdpa_sim_fault_due(struct vdpa_sim_fault *fault)
{
	u32 skip = READ_ONCE(fault->skip);

	if (skip) {
		WRITE_ONCE(fault->skip, skip - 1);
		return false;
	}
	return atomic_read(&fault->times) < 0 || atomic_dec_if_positive(&fault->times) >= 0;
}

/* 0 or a negative errno; may sleep. */
int vdpa_sim_fault(struct vdpa_sim_device *sim, enum vdpa_sim_fault_point point)
{
	struct vdpa_sim_fault *fault = &sim->faults[point];

	if (likely(!atomic_read(&fault->times)) || !vdpa_sim_fault_due(fault))
		return 0;
	atomic_inc(&fault->hits);
	if (READ_ONCE(fault->delay_ms))
		msleep(min_t(u32, READ_ONCE(fault->delay_ms), VDPA_SIM_MAX_DELAY_MS));
	return -(int)min_t(u32, READ_ONCE(fault->error), MAX_ERRNO);
}
EXPORT_SYMBOL_GPL(vdpa_sim_fault);

static void vdpa_sim_add_point(struct vdpa_sim_fault *fault, const char *name,
			       struct dentry *faults)
{
	struct dentry *dir = debugfs_create_dir(name, faults);

	fault->error = EIO;
	debugfs_create_atomic_t("times", 0600, dir, &fault->times);
	debugfs_create_atomic_t("hits", 0400, dir, &fault->hits);
	debugfs_create_u32("skip", 0600, dir, &fault->skip);
	debugfs_create_u32("error", 0600, dir, &fault->error);
	debugfs_create_u32("delay_ms", 0600, dir, &fault->delay_ms);
}

void vdpa_sim_debugfs_add(struct vdpa_sim_device *sim)
{
	struct dentry *faults;
	int point;

	sim->debugfs = debugfs_create_dir(dev_name(&sim->vdpa.dev), vdpa_sim_debugfs_root);
	faults = debugfs_create_dir("fault", sim->debugfs);
	for (point = 0; point < VDPA_SIM_NR_FAULTS; point++)
		vdpa_sim_add_point(&sim->faults[point], vdpa_sim_fault_names[point], faults);
	vdpa_sim_meter_debugfs(sim, sim->debugfs);
	if (sim->kind->debugfs)
		sim->kind->debugfs(sim, sim->debugfs);
}

/* Returns when no process is in any of the files. */
void vdpa_sim_debugfs_remove(struct vdpa_sim_device *sim)
{
	debugfs_remove_recursive(sim->debugfs);
	sim->debugfs = NULL;
}

void vdpa_sim_debugfs_init(void)
{
	vdpa_sim_debugfs_root = debugfs_create_dir("vdpa_sim", NULL);
}

void vdpa_sim_debugfs_exit(void)
{
	debugfs_remove_recursive(vdpa_sim_debugfs_root);
}
