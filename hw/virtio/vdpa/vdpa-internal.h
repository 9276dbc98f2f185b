/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the files of this folder share: VdpaDevice and its parts.
 *
 * Files outside this folder use vdpa-device.h.
 *
 * Thread model: the BQL protects every field and is held in every function. Of
 * what it does not protect, vdpa-queue-shadow.c has the list.
 */
#ifndef HW_VIRTIO_VDPA_INTERNAL_H
#define HW_VIRTIO_VDPA_INTERNAL_H

#include "hw/virtio/vdpa/core/vdpa-shadow-ring.h"
#include "hw/virtio/vdpa/core/vdpa-status.h"
#include "system/iothread.h"
#include "vdpa-device.h"
#include "vdpa-map.h"

/* Has the guest's driver started the device? See vdpa-lifecycle.c. */
typedef enum VdpaPhase {
    VDPA_HALTED,                /* no queue is attached */
    VDPA_WAITING,               /* started; the launch waits for memory */
    VDPA_LAUNCHED,
} VdpaPhase;

/* A switch in progress. It ends when the device runs again. */
typedef struct VdpaSwitch {
    bool pending;
    int64_t start;              /* ns, QEMU_CLOCK_REALTIME */
    uint64_t messages, resets;  /* counters at the start */
} VdpaSwitch;

/* Does a suspended device accept another address and base for a queue? */
typedef enum VdpaCanRebase {
    VDPA_REBASE_UNKNOWN, VDPA_REBASE_YES, VDPA_REBASE_NO,
} VdpaCanRebase;

/* Parts of a launch and of a halt, in their order. */
typedef enum VdpaStep {
    VDPA_STEP_FEATURES, VDPA_STEP_QUEUES, VDPA_STEP_START, VDPA_STEP_CONTROL,
    VDPA_STEP_ENABLE,
    VDPA_STEP_SUSPEND, VDPA_STEP_POSITIONS, VDPA_STEP_DETACH,
    VDPA_STEPS,
} VdpaStep;

typedef struct VdpaDeviceStats {
    uint64_t switches, switches_failed;
    uint64_t switch_ns, switch_worst_ns;    /* the last switch, the longest */
    uint64_t launches;
    uint64_t switch_messages;   /* about guest memory, during switches */
    uint64_t switch_resets;
    uint64_t step_ns[VDPA_STEPS];   /* of the last launch, the last halt */
    int64_t step_at;                /* end of the step before */
    bool halted;                    /* ever */
} VdpaDeviceStats;

struct VdpaDevice {
    VdpaFd fd;
    VdpaStatus status;
    VdpaMap *map;
    VdpaPhase phase;
    VirtIODevice *vdev;         /* from launch to leave */
    uint64_t features;          /* accepted by the driver */
    VdpaQueue queue[VIRTIO_QUEUE_MAX];
    unsigned nqueues;           /* highest index ever used, plus 1 */
    int control;                /* index of the control queue, or -1 */
    const VdpaQueueKind *control_kind;  /* NULL: passthrough */
    unsigned control_asid;      /* of the control queue, if it can have one */
    bool shared_asid;           /* launched with all queues in one space */
    VdpaCanRebase can_rebase;
    bool held;                  /* memory must not be mapped: launch waits */
    int config_call;            /* eventfd, -1: none */
    VdpaMode mode;              /* requested; while launched, in force */
    const char *reason;         /* of the mode; a static string */
    bool always_shadow;
    const VdpaFrontendOps *frontend;    /* may be NULL */
    void *frontend_opaque;
    VdpaDeviceStats stats;
    VdpaSwitch switching;
    char *last_error;           /* for queries; NULL: none */
    IOThread *iothread;         /* serves shadow queues; NULL: the main loop */
    bool foreign_iothread;      /* an object of the user's */
    QEMUBH *fault_bh;           /* shows a fault to the guest */
    VirtIODevice *faulty;       /* of that fault; a reference */
    char *path;                 /* for queries, may be NULL */
    QTAILQ_ENTRY(VdpaDevice) next;
};

/* The first of all devices; QTAILQ_NEXT() gives the others. */
VdpaDevice *vdpa_device_first(void);

/* --- vdpa-lifecycle.c --------------------------------------------------- */

/* Take a step of the device's status; -errno with @errp. */
int vdpa_device_advance(VdpaDevice *d, VdpaEvent event, Error **errp);

/* @step ends now; it began when the one before it ended, or at steps_begin(). */
void vdpa_steps_begin(VdpaDevice *d);
void vdpa_step_ends(VdpaDevice *d, VdpaStep step);

/*
 * Are the data queues shadowed, by their mode or for another reason? Queues that
 * cannot be shadowed are passed through in any mode.
 */
bool vdpa_device_shadows(const VdpaDevice *d);

/* A VdpaMapChanged of the device's map; @opaque: the device. */
void vdpa_device_memory_changed(void *opaque, uint64_t first, uint64_t last);

/* --- vdpa-queue.c ------------------------------------------------------- */

/* The queue after @q (NULL: the first) that the guest's driver has set up. */
VdpaQueue *vdpa_queue_next(VdpaDevice *d, VdpaQueue *q);

#define FOR_EACH_QUEUE(d, q)                                \
    for (VdpaQueue *q = vdpa_queue_next(d, NULL); q; q = vdpa_queue_next(d, q))

bool vdpa_queue_is_control(const VdpaQueue *q);

/* The areas of a guest's ring (VIRTIO 1.2, section 2.6). */
enum { VDPA_RING_DESC, VDPA_RING_DRIVER, VDPA_RING_DEVICE, VDPA_RING_AREAS };

/* The length of @area of the guest's ring in bytes; its address in *@addr. */
uint64_t vdpa_queue_area(const VdpaQueue *q, int area, uint64_t *addr);

/*
 * Choose the queue's kind and program the device with the queue. @sized: the
 * device knows the size, because it was not reset since. -errno with @errp.
 */
int vdpa_queue_attach(VdpaQueue *q, bool sized, Error **errp);

/*
 * Program the device with all of @s for a queue that has a kind. @sized: as
 * above. -errno with @errp.
 */
int vdpa_queue_program(VdpaQueue *q, const VdpaQueueSetup *s, bool sized,
                       Error **errp);

/* Is the queue served as it is to be already, in the present mode? */
bool vdpa_queue_stays(const VdpaQueue *q);

/*
 * Read the base of each queue of a suspended device, or only of those that do not
 * stay, into its position. True if the device is suspended and has returned all
 * buffers that it took from them; otherwise the caller resets it before it
 * detaches a queue.
 */
bool vdpa_queues_idle(VdpaDevice *d, bool all);

/* The device no longer serves the queue. Sets stopped_at. */
void vdpa_queue_detach(VdpaQueue *q);
void vdpa_queues_detach(VdpaDevice *d);

int vdpa_queue_enable(VdpaQueue *q, bool on, Error **errp);

/* Enable the control queue, or all others. */
int vdpa_queues_enable(VdpaDevice *d, bool control, Error **errp);

/* Data queues; with @control_too all. */
void vdpa_queues_run(VdpaDevice *d, bool control_too);
void vdpa_queues_pause(VdpaDevice *d, bool control_too);

/* --- vdpa-queue-passthrough.c, vdpa-queue-shadow.c ----------------------- */

extern const VdpaQueueKind vdpa_queue_passthrough;
extern const VdpaQueueKind vdpa_queue_shadow;

/* Of a queue of kind vdpa_queue_shadow. *@in_flight: chains. */
VdpaShadowStats vdpa_queue_shadow_stats(const VdpaQueue *q,
                                        unsigned *in_flight);

/* Memory of a shadow queue's rings, mapped for the device. */
typedef struct VdpaRings VdpaRings;

/* Map the rings of @q now, unless they are mapped. 0, or -errno with @errp. */
int vdpa_queue_shadow_rings(VdpaQueue *q, Error **errp);

/* NULL is allowed. */
void vdpa_rings_free(VdpaRings *rings);

/* The addresses at which the device finds the rings; base 0, no eventfds. */
VdpaQueueSetup vdpa_rings_setup(const VdpaRings *rings);

/*
 * Make them a ring in which all chains before index @idx are returned and none
 * is available. The device is suspended.
 */
void vdpa_rings_park(VdpaRings *rings, uint16_t idx);

/* Do a device's rings stay mapped while they are not in use? */
bool vdpa_rings_kept(const VdpaDevice *d);

/* Free those of all queues. No queue is attached. */
void vdpa_rings_drop(VdpaDevice *d);

/* Begin to map those of all data queues, if they are kept. Does not wait. */
void vdpa_rings_ahead(VdpaDevice *d);

/* --- vdpa-model.c ------------------------------------------------------- */

/*
 * While a launch waits for memory, QEMU's model of the device serves the control
 * queue: begin when the launch starts to wait; end before it attaches queues, and
 * when it is abandoned. Each may be called again.
 *
 * begin() does nothing if there is no control queue, if its kind has no
 * while_waiting, or if the guest's ring cannot be served: the launch checks the
 * ring, too, and reports it. After end() the queue continues at guest.base.
 */
void vdpa_model_begin(VdpaDevice *d);
void vdpa_model_end(VdpaDevice *d);

/* --- vdpa-quirks.c ------------------------------------------------------ */

/* After FEATURES_OK, before the first queue: sets shared_asid. 0, or -errno. */
int vdpa_quirks_asid(VdpaDevice *d, Error **errp);

/*
 * Can queues of @d, which is suspended before and after, be put elsewhere? 0
 * with *@can, or -errno with @errp. The first call may leave a queue in a ring of
 * QEMU, not programmed: the caller exchanges it or resets the device.
 */
int vdpa_quirks_can_rebase(VdpaDevice *d, bool *can, Error **errp);

/* --- vdpa-fault.c ------------------------------------------------------- */

/* With the VdpaDevice. */
void vdpa_fault_init(VdpaDevice *d);
void vdpa_fault_destroy(VdpaDevice *d);

#endif
