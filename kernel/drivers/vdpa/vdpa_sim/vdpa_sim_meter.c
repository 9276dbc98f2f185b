// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Counts of a driver's calls, and how long they made queues stand still.
 *
 *	/sys/kernel/debug/vdpa_sim/DEVICE/queues	a line for each queue that ever ran
 *	                                 /driver	a line of counters
 *
 * A queue runs when it is set up and the device is neither suspended nor before DRIVER_OK: then a
 * frame is served.  All calls of a driver between two runs (suspend, reset, new addresses, mapping
 * all of memory) are one standstill, timed by the device's clock, so that drivers that switch in
 * different ways can be compared.
 *
 *	queues	 INDEX running=0|1 stops=N stopped_ns=N silent_ns=N since_ns=N
 *
 *	stops		how often it stopped running
 *	stopped_ns	length of all standstills that are over
 *	silent_ns	the same until the first request that was completed afterwards
 *	since_ns	when it began to run, or stopped, the last time (CLOCK_MONOTONIC)
 *
 *	driver	 resets=N suspends=N resumes=N map_calls=N mapped=BYTES unmapped=BYTES
 *
 * A reset is counted if the device was not in its power-on state anyway.  Bytes are those by which an
 * address space grew or shrank in a call.  Nothing is ever set back.
 *
 * Cost: a comparison for each completed request.
 *
 * Limits: a driver that replaces maps by others of the same size in one batch (set_map) is seen to
 * make a call, and to map nothing.
 */
#include <linux/seq_file.h>
#include <linux/timekeeping.h>

#include "vdpa_sim_core.h"

/* The unit's lock is held: has the queue begun or ceased to run? */
void vdpa_sim_meter_queue(struct vdpa_sim_queue *vq)
{
	bool running = vq->active && READ_ONCE(vq->unit->sim->phase) == VDPA_SIM_PHASE_DRIVER_OK;
	struct vdpa_sim_meter *m = &vq->meter;
	u64 now;

	lockdep_assert_held(&vq->unit->lock);
	if (running == m->running)
		return;
	now = ktime_get_ns();
	if (running && m->stops) {
		m->stopped_ns += now - m->since_ns;
		m->silent_since_ns = m->silent ? m->silent_since_ns : m->since_ns;
		m->silent = true;
	} else if (!running) {
		m->stops++;
	}
	m->running = running;
	m->since_ns = now;
}

/* The phase has changed; sim->lock is held. */
void vdpa_sim_meter_device(struct vdpa_sim_device *sim)
{
	unsigned int i;

	for (i = 0; i < sim->nqueues; i++) {
		struct vdpa_sim_queue *vq = &sim->queues[i];

		mutex_lock(&vq->unit->lock);
		vdpa_sim_meter_queue(vq);
		mutex_unlock(&vq->unit->lock);
	}
}

/* The first request after a standstill was completed at @now; the unit's lock is held. */
void vdpa_sim_meter_first(struct vdpa_sim_queue *vq, u64 now)
{
	vq->meter.silent = false;
	vq->meter.silent_ns += now - vq->meter.silent_since_ns;
}

static int vdpa_sim_queues_show(struct seq_file *file, void *unused)
{
	struct vdpa_sim_device *sim = file->private;
	unsigned int i;

	for (i = 0; i < sim->nqueues; i++) {
		struct vdpa_sim_queue *vq = &sim->queues[i];
		struct vdpa_sim_meter m;

		mutex_lock(&vq->unit->lock);
		m = vq->meter;
		mutex_unlock(&vq->unit->lock);
		if (m.since_ns)
			seq_printf(
				file,
				"%u running=%d stops=%llu stopped_ns=%llu silent_ns=%llu since_ns=%llu\n",
				i, m.running, m.stops, m.stopped_ns, m.silent_ns, m.since_ns);
	}
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(vdpa_sim_queues);

static int vdpa_sim_driver_show(struct seq_file *file, void *unused)
{
	struct vdpa_sim_device *sim = file->private;
	const struct vdpa_sim_counters *c = &sim->counts;

	seq_printf(
		file,
		"resets=%llu suspends=%llu resumes=%llu map_calls=%llu mapped=%llu unmapped=%llu\n",
		(u64)atomic64_read(&c->events[VDPA_SIM_EVENT_RESET]),
		(u64)atomic64_read(&c->events[VDPA_SIM_EVENT_SUSPEND]),
		(u64)atomic64_read(&c->events[VDPA_SIM_EVENT_RESUME]),
		(u64)atomic64_read(&c->map_calls), (u64)atomic64_read(&c->mapped),
		(u64)atomic64_read(&c->unmapped));
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(vdpa_sim_driver);

/* An address space of @before bytes has @after now. */
void vdpa_sim_meter_map(struct vdpa_sim_device *sim, u64 before, u64 after)
{
	atomic64_inc(&sim->counts.map_calls);
	if (after > before)
		atomic64_add(after - before, &sim->counts.mapped);
	else
		atomic64_add(before - after, &sim->counts.unmapped);
}

void vdpa_sim_meter_debugfs(struct vdpa_sim_device *sim, struct dentry *dir)
{
	debugfs_create_file("queues", 0400, dir, sim, &vdpa_sim_queues_fops);
	debugfs_create_file("driver", 0400, dir, sim, &vdpa_sim_driver_fops);
}
