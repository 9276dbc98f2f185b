/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Shared by the simulator's core (vdpa_sim) and its kinds of device (vdpa_sim_net, vdpa_sim_blk).
 *
 * A kind of device serves its queues and fills its configuration space; the core does all that is
 * common to vDPA devices.
 *
 *	kind                        core                            vDPA bus
 *	vdpa_sim_device_new() ---------> allocate, address spaces, units
 *	(sets itself up)
 *	vdpa_sim_device_register() ----> -----------------------------> _vdpa_register_device()
 *	kind->start, kind->serve <- DRIVER_OK, kicks        <------ config ops
 *	vdpa_sim_device_unregister() --> debugfs away ----------------> _vdpa_unregister_device()
 *	kind->destroy <------------ last reference gone    <------- config->free
 *
 * Queues are grouped into units.  A unit is served by one work item at a time and has one lock, so
 * that the code that serves a queue pair needs no other.  All queues of a unit are in one group,
 * hence in one address space.
 *
 * Lock order:
 *
 *	sim->lock -> unit->lock -> space->sem -> (the kind's own)
 *	unit->lock -> sim->config_lock
 *
 * Limits: no packed rings, no high memory.
 */
#ifndef QEMU_LIVE_VDPA_SIM_H
#define QEMU_LIVE_VDPA_SIM_H

#include <linux/debugfs.h>
#include <linux/mutex.h>
#include <linux/rwsem.h>
#include <linux/skbuff.h>
#include <linux/vdpa.h>
#include <linux/vdpa_ext.h>
#include <linux/vhost_iotlb.h>
#include <linux/vringh.h>
#include <linux/workqueue.h>

#define VDPA_SIM_MAX_GROUPS 2
#define VDPA_SIM_QUEUE_MAX  1024 /* entries */
#define VDPA_SIM_BATCH	    64	 /* requests that a unit serves before others get their turn */

#define VDPA_SIM_FEATURES                                                           \
	(BIT_ULL(VIRTIO_F_ANY_LAYOUT) | BIT_ULL(VIRTIO_F_VERSION_1) |               \
	 BIT_ULL(VIRTIO_F_ACCESS_PLATFORM) | BIT_ULL(VIRTIO_RING_F_INDIRECT_DESC) | \
	 BIT_ULL(VIRTIO_RING_F_EVENT_IDX))

struct vdpa_sim_device;
struct vdpa_sim_unit;

/* An address space of the emulated on-chip IOMMU. */
struct vdpa_sim_space {
	/*
	 * Held for reading while a unit uses translations, for writing while they change: when an
	 * unmap returns, no unit touches the memory any more.
	 */
	struct rw_semaphore sem;
	struct vhost_iotlb tlb; /* protected by sem */
	u64 bytes;		/* in it; protected by sem */
};

/* The translation used last; a unit serving a batch keeps space->sem, so it cannot go stale. */
struct vdpa_sim_map_cache {
	u64 start;
	u64 last;
	u64 addr;
	u32 perm; /* 0: nothing is in here */
};

/* How long a queue stood still; see vdpa_sim_meter.c.  Survives resets. */
struct vdpa_sim_meter {
	bool running;
	bool silent; /* runs again and has completed nothing yet */
	u64 stops;
	u64 stopped_ns;
	u64 silent_ns;
	u64 since_ns;	     /* of the last change; 0: never ran */
	u64 silent_since_ns; /* while silent: when the standstill began */
};

/* All fields are protected by unit->lock, except where a reader is named that does without. */
struct vdpa_sim_queue {
	struct vdpa_sim_unit *unit;
	u16 idx;
	bool ready;
	bool active;  /* ready, and vring is set up; kicks read it unlocked */
	bool broken;  /* the ring made no sense */
	bool quiet;   /* the driver was told that kicks are not needed */
	bool signal;  /* the batch ends with an interrupt */
	u16 position; /* next available entry, while not active */
	u32 num;
	u64 desc;
	u64 avail;
	u64 used;
	struct vdpa_callback cb;
	struct vringh vring;
	spinlock_t tlb_lock; /* required by vringh; space->sem protects */
	struct vdpa_sim_map_cache map_cache;
	struct vringh_kiov in;	/* buffers that the device reads */
	struct vringh_kiov out; /* buffers that the device writes */
	u16 head;
	struct {
		u64 requests;
		u64 bytes;
		u64 errors;
		u64 drops;
	} stats;
	struct vdpa_sim_meter meter;
};

struct vdpa_sim_unit {
	struct vdpa_sim_device *sim;
	unsigned int idx;
	struct mutex lock;
	struct work_struct work;
	struct vdpa_sim_queue *queues; /* the unit's first; never changes */
	unsigned int nqueues;
};

enum vdpa_sim_phase {
	VDPA_SIM_PHASE_INIT,
	VDPA_SIM_PHASE_DRIVER_OK,
	VDPA_SIM_PHASE_SUSPENDED,
	VDPA_SIM_NR_PHASES
};

enum vdpa_sim_event {
	VDPA_SIM_EVENT_DRIVER_OK,
	VDPA_SIM_EVENT_SUSPEND,
	VDPA_SIM_EVENT_RESUME,
	VDPA_SIM_EVENT_RESET,
	VDPA_SIM_NR_EVENTS
};

/* Where faults can be injected; names in vdpa_sim_fault.c. */
enum vdpa_sim_fault_point {
	VDPA_SIM_FAULT_MAP,
	VDPA_SIM_FAULT_UNMAP,
	VDPA_SIM_FAULT_SUSPEND,
	VDPA_SIM_FAULT_RESUME,
	VDPA_SIM_FAULT_RESET,
	VDPA_SIM_FAULT_GET_VQ_STATE,
	VDPA_SIM_FAULT_SET_VQ_STATE,
	VDPA_SIM_FAULT_CONFIG,
	VDPA_SIM_FAULT_DATA,
	VDPA_SIM_NR_FAULTS
};

struct vdpa_sim_fault {
	atomic_t times; /* this often; negative: always; 0: off */
	atomic_t hits;
	u32 skip;  /* let that many pass first */
	u32 error; /* errno, positive; 0: only the delay */
	u32 delay_ms;
};

/* Counts of the driver's calls; see vdpa_sim_meter.c. */
struct vdpa_sim_counters {
	atomic64_t events[VDPA_SIM_NR_EVENTS];
	atomic64_t map_calls;
	atomic64_t mapped;
	atomic64_t unmapped;
};

/**
 * struct vdpa_sim_kind - a kind of simulated device
 *
 * @serve:	serve up to VDPA_SIM_BATCH requests; true when there may be more.  In a worker, with the
 *		unit's lock and its address space held.
 * @group_of:	group of a queue; NULL when all are in group 0.  Any context that may sleep.
 * @start:	DRIVER_OK: features are final and no unit runs yet.
 * @reset:	back to power-on state; no unit runs.
 * @get_config:	compose the configuration space, config_size bytes, zeroed.
 * @set_config:	the driver writes; within bounds.  May be NULL: nothing is writable.
 * @put_stats:	add a queue's vendor statistics to a netlink message; unit's lock held.
 * @debugfs:	add own knobs to the device's directory.  May be NULL.
 * @destroy:	free the kind's own memory (the device itself is the core's).  May be NULL; is called
 *		even when the set-up of the device failed.
 */
struct vdpa_sim_kind {
	u32 device_id;
	size_t size; /* of the structure that begins with struct vdpa_sim_device */
	size_t config_size;
	unsigned int ngroups;
	unsigned int nspaces;
	unsigned int queues_per_unit;
	bool (*serve)(struct vdpa_sim_unit *unit);
	u32 (*group_of)(struct vdpa_sim_device *sim, u16 idx);
	void (*start)(struct vdpa_sim_device *sim);
	void (*reset)(struct vdpa_sim_device *sim);
	void (*get_config)(struct vdpa_sim_device *sim, void *config);
	void (*set_config)(struct vdpa_sim_device *sim, unsigned int offset, const void *buf,
			   unsigned int len);
	int (*put_stats)(struct vdpa_sim_queue *vq, struct sk_buff *msg);
	void (*debugfs)(struct vdpa_sim_device *sim, struct dentry *dir);
	void (*destroy)(struct vdpa_sim_device *sim);
};

struct vdpa_sim_device {
	struct vdpa_device vdpa; /* first: the bus allocates and frees us by it */
	const struct vdpa_sim_kind *kind;
	u64 offered;		   /* features; set before registration */
	struct mutex lock;	   /* life cycle: phase, status, features */
	enum vdpa_sim_phase phase; /* written under lock; workers and kicks read it unlocked */
	u8 status;		   /* written under lock */
	bool broken;		   /* some ring made no sense: DEVICE_NEEDS_RESET */
	bool kernel_owned;	   /* the driver on the bus maps by the kernel's DMA interface */
	u64 features;		   /* negotiated; written under lock */
	unsigned int nqueues;
	unsigned int nunits;
	struct vdpa_sim_queue *queues;
	struct vdpa_sim_unit *units;
	struct vdpa_sim_space *spaces;
	unsigned int group_space[VDPA_SIM_MAX_GROUPS]; /* see vdpa_sim_space_of() */
	struct mutex config_lock;		       /* config_cb and config_pending */
	struct vdpa_callback config_cb;
	bool config_pending; /* an interrupt is owed once the device goes on */
	atomic_t generation;
	struct dentry *debugfs;
	struct vdpa_sim_fault faults[VDPA_SIM_NR_FAULTS];
	struct vdpa_sim_counters counts;
};

/* A position in the buffers of a request. */
struct vdpa_sim_cursor {
	struct vdpa_sim_queue *vq;
	const struct kvec *iov;
	const struct kvec *end;
	size_t offset; /* within *iov */
	u32 perm;
};

static inline struct vdpa_sim_device *vdpa_sim_of(struct vdpa_device *vdpa)
{
	return container_of(vdpa, struct vdpa_sim_device, vdpa);
}

static inline bool vdpa_sim_has(const struct vdpa_sim_device *sim, unsigned int feature)
{
	return sim->features & BIT_ULL(feature);
}

/* vdpa_sim_core.c */
struct vdpa_sim_device *vdpa_sim_device_new(const struct vdpa_sim_kind *kind, struct device *parent,
					    const char *name, unsigned int nqueues);
int vdpa_sim_device_register(struct vdpa_sim_device *sim, struct vdpa_mgmt_dev *mgmt);
void vdpa_sim_device_unregister(struct vdpa_sim_device *sim);
void vdpa_sim_device_drop(struct vdpa_sim_device *sim);
void vdpa_sim_device_free(struct vdpa_device *vdpa);
int vdpa_sim_device_event(struct vdpa_sim_device *sim, enum vdpa_sim_event event);
void vdpa_sim_config_changed(struct vdpa_sim_device *sim);
void vdpa_sim_unit_schedule(struct vdpa_sim_unit *unit);
void vdpa_sim_kick_all(struct vdpa_sim_device *sim);
void vdpa_sim_wait_units(struct vdpa_sim_device *sim);

/* vdpa_sim_ops.c */
const struct vdpa_config_ops *vdpa_sim_config_ops(bool whole_tree);
#ifdef VDPA_NEEDS_EXT_OPS
extern const struct vdpa_ext_ops vdpa_sim_ext_ops;
#endif

/* vdpa_sim_iommu.c */
extern const struct vhost_iotlb *vdpa_sim_identity_tlb;
int vdpa_sim_iommu_init(void);
void vdpa_sim_iommu_exit(void);
int vdpa_sim_spaces_init(struct vdpa_sim_device *sim);
void vdpa_sim_spaces_free(struct vdpa_sim_device *sim);
void vdpa_sim_spaces_clear(struct vdpa_sim_device *sim);
struct vdpa_sim_space *vdpa_sim_space_of(struct vdpa_sim_unit *unit);
void vdpa_sim_dma_setup(struct vdpa_sim_device *sim);
int vdpa_sim_set_map(struct vdpa_device *vdpa, unsigned int asid, struct vhost_iotlb *iotlb);
int vdpa_sim_dma_map(struct vdpa_device *vdpa, unsigned int asid, u64 iova, u64 size, u64 pa,
		     u32 perm, void *opaque);
int vdpa_sim_dma_unmap(struct vdpa_device *vdpa, unsigned int asid, u64 iova, u64 size);
int vdpa_sim_reset_map(struct vdpa_device *vdpa, unsigned int asid);
int vdpa_sim_set_group_asid(struct vdpa_device *vdpa, unsigned int group, unsigned int asid);

/* vdpa_sim_queue.c */
void vdpa_sim_queue_init(struct vdpa_sim_queue *vq, struct vdpa_sim_unit *unit, u16 idx);
void vdpa_sim_queue_reset(struct vdpa_sim_queue *vq);
void vdpa_sim_queue_start(struct vdpa_sim_queue *vq);
void vdpa_sim_queue_stop(struct vdpa_sim_queue *vq);
u16 vdpa_sim_queue_base(const struct vdpa_sim_queue *vq);
void vdpa_sim_queue_set_base(struct vdpa_sim_queue *vq, u16 position);
void vdpa_sim_queue_bind(struct vdpa_sim_queue *vq, struct vdpa_sim_space *space);
void vdpa_sim_queue_fail(struct vdpa_sim_queue *vq);
int vdpa_sim_queue_fetch(struct vdpa_sim_queue *vq, struct vringh_kiov *in,
			 struct vringh_kiov *out);
void vdpa_sim_queue_abandon(struct vdpa_sim_queue *vq);
int vdpa_sim_queue_complete(struct vdpa_sim_queue *vq, u32 written);
void vdpa_sim_queue_disable_kicks(struct vdpa_sim_queue *vq);
bool vdpa_sim_queue_enable_kicks(struct vdpa_sim_queue *vq);
void vdpa_sim_queue_check_interrupt(struct vdpa_sim_queue *vq);
void vdpa_sim_queue_interrupt(struct vdpa_sim_queue *vq);
int vdpa_sim_put_stat(struct sk_buff *msg, const char *name, u64 value);

void vdpa_sim_cursor_init(struct vdpa_sim_cursor *cur, struct vdpa_sim_queue *vq,
			  const struct vringh_kiov *iov);
size_t vdpa_sim_iov_bytes(const struct vringh_kiov *iov);
int vdpa_sim_read(struct vdpa_sim_cursor *cur, void *to, size_t len);
int vdpa_sim_write(struct vdpa_sim_cursor *cur, const void *from, size_t len);
int vdpa_sim_zero(struct vdpa_sim_cursor *cur, size_t len);
int vdpa_sim_skip(struct vdpa_sim_cursor *cur, size_t len);
int vdpa_sim_copy(struct vdpa_sim_cursor *to, struct vdpa_sim_cursor *from, size_t len);

/* vdpa_sim_meter.c */
void vdpa_sim_meter_queue(struct vdpa_sim_queue *vq);
void vdpa_sim_meter_device(struct vdpa_sim_device *sim);
void vdpa_sim_meter_first(struct vdpa_sim_queue *vq, u64 now);
void vdpa_sim_meter_map(struct vdpa_sim_device *sim, u64 before, u64 after);
void vdpa_sim_meter_debugfs(struct vdpa_sim_device *sim, struct dentry *dir);

/* vdpa_sim_fault.c */
int vdpa_sim_fault(struct vdpa_sim_device *sim, enum vdpa_sim_fault_point point);
void vdpa_sim_debugfs_init(void);
void vdpa_sim_debugfs_exit(void);
void vdpa_sim_debugfs_add(struct vdpa_sim_device *sim);
void vdpa_sim_debugfs_remove(struct vdpa_sim_device *sim);

#endif
