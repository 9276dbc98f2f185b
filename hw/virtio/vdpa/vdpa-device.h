/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A vDPA device that a virtio device of the guest uses: launch, switch, stop.
 *
 * Theory of operation
 * -------------------
 * The guest's driver sets queues up one by one. A table keeps what it set, and
 * the device hears nothing of it until the driver has set everything. Then the
 * device is launched, in one place and in one order:
 *
 *   features, address spaces, for each queue {attach, program}, DRIVER_OK,
 *   control state, enable, for each queue {run}
 *
 * Each queue has a kind, a table of operations:
 *
 *   passthrough  the device works on the guest's ring;
 *                vdpa-queue-passthrough.c
 *   shadow       the device works on a ring of QEMU, which forwards buffers;
 *                vdpa-queue-shadow.c
 *   control      the device works on a ring of QEMU, which forwards commands;
 *                net/vhost-vdpa-cvq.c
 *
 * While the device runs, its data queues can be switched between passthrough and
 * shadow:
 *
 *   suspend, for each queue {read base, detach, attach as the other kind,
 *   program}, resume, for each queue {run}
 *
 * A switch changes no map, of guest memory or of rings, and does not reset the
 * device: the rings to shadow with are mapped after launch (vdpa-rings.h). The
 * device is reset and launched anew instead, and told again what it was told
 * through the control queue, if
 *
 *   it cannot suspend and resume;
 *   its queues cannot be moved while it is suspended (vdpa-quirks.h);
 *   it has chains in flight (below);
 *   it fails to suspend or to report a ring base.
 *
 * A switch that fails after a queue was exchanged ends in the old mode, by a
 * reset as well.
 *
 * Where a queue goes on. A device reports one number, its ring base: the chain
 * that it would take next. That is the guest's used index only if the device has
 * returned all that it took. Going on at the base otherwise would lose the chains
 * in flight, and the used index would jump over entries that were never written.
 * So, while the device is suspended, the base of each queue is compared with the
 * used index in memory, of the guest's ring or of ours, whichever the device
 * serves. If they are equal for all queues, nothing is in flight and the bases
 * hold. If one is not, or the device does not report a base, the device is reset,
 * so that it does not touch those chains any more, and each queue goes on at its
 * used index: the device takes these chains again. A packed ring's base has both
 * positions in it; it goes on at the used one.
 *
 * If guest memory is not mapped yet, the launch waits for it (vdpa-map.h). The
 * guest's driver believes that the device runs, and the driver's notifications
 * stay in their eventfds. The launch also waits for memory that a postcopy
 * migration still has to bring, since missing pages cannot be pinned. Meanwhile,
 * QEMU's model of the device answers the control queue (vdpa-model.h).
 *
 * When the guest breaks the rules of its queues, that is a fault
 * (vdpa_device_fault()): the device is broken, as in virtio_error(), until the
 * guest resets it. A bottom half interrupts the guest for it, with nothing of the
 * device on the stack: the guest may direct the interrupt message to
 * device_status of this device, which halts the device and frees its queues.
 *
 * Life cycle: new -> (launch -> switch* -> halt)* -> unref
 *
 * Thread model: the BQL.
 *
 * Limits: split rings only, where QEMU is in between.
 */
#ifndef HW_VIRTIO_VDPA_DEVICE_H
#define HW_VIRTIO_VDPA_DEVICE_H

#include "hw/virtio/virtio.h"
#include "hw/virtio/vdpa/core/vdpa-status.h"
#include "vdpa-map.h"
#include "hw/virtio/vdpa/core/vdpa-shadow-ring.h"

typedef struct VdpaDevice VdpaDevice;
typedef struct VdpaQueue VdpaQueue;

/* What the device is told about a queue. */
typedef struct VdpaQueueSetup {
    unsigned num;
    unsigned base;
    uint64_t desc, avail, used;     /* IOVAs */
    int kick, call;                 /* eventfds, -1: none */
} VdpaQueueSetup;

/* How a queue is served. @priv is what attach() made, and detach() ends. */
typedef struct VdpaQueueKind {
    const char *name;
    /* Fills @setup, which holds what the guest's driver set up. */
    int (*attach)(VdpaQueue *q, VdpaQueueSetup *setup, Error **errp);
    /* The device runs: serve the queue. */
    void (*run)(VdpaQueue *q);
    /* The device is about to stand still: stop serving. */
    void (*pause)(VdpaQueue *q);
    /*
     * The device stands still, and was at @base, or at an unknown place
     * (negative); a packed ring's place has 32 bits. Returns where the guest's
     * ring is to be continued, or negative if that is unknown.
     */
    int64_t (*detach)(VdpaQueue *q, int64_t base);
    /*
     * The used index, in memory, of the split ring that the device serves;
     * negative if it cannot be read. NULL: detach() needs no base.
     */
    int64_t (*used)(const VdpaQueue *q);
    /*
     * Guest memory from @first to @last has changed, while the queue runs: the
     * memory map is in the middle of that change. May be NULL.
     */
    void (*remap)(VdpaQueue *q, uint64_t first, uint64_t last);
    /* Serves the queue, without the device, while a launch waits. May be NULL. */
    const struct VdpaQueueKind *while_waiting;
    /* The guest's interrupt goes to the device itself. */
    bool interrupts;
} VdpaQueueKind;

struct VdpaQueue {
    VdpaDevice *device;
    unsigned index;
    VdpaQueueSetup guest;       /* what the guest's driver set up */
    bool ready;                 /* ... it did */
    const VdpaQueueKind *kind;  /* of now; NULL: not attached */
    void *priv;                 /* the kind's */
    bool programmed;            /* the device has been told all of it */
    int64_t position;           /* with nothing in flight; or unknown (< 0) */
    int64_t stopped_at;         /* after halt: guest.base, or unknown (< 0) */
    struct VdpaRings *rings;    /* for shadowing it, may be mapped already */
};

/* What the network device has to do with a launch. */
typedef struct VdpaFrontendOps {
    /*
     * The driver has accepted @features, and the device is about to be
     * launched. -errno with @errp: the launch fails. May be NULL.
     */
    int (*accepted)(void *opaque, uint64_t features, Error **errp);
    /* The virtio device let go of the device, or is about to be reset. */
    void (*left)(void *opaque);
    /* DRIVER_OK is set, of the queues only control is enabled. */
    int (*restore)(void *opaque, Error **errp);
    /*
     * The device failed, which was reported; make the guest see it. Called
     * from within launch() and others, so anything that stops or starts the
     * device has to wait.
     */
    void (*failed)(void *opaque);
    /* The device's configuration, on its way to the guest. */
    void (*config)(void *opaque, uint8_t *config, size_t size);
} VdpaFrontendOps;

/* A switch that is under way: it ends when the device runs again. */
typedef struct VdpaSwitch {
    bool pending;
    int64_t start;              /* ns */
    uint64_t messages, resets;  /* so many before */
} VdpaSwitch;

typedef enum VdpaMode { VDPA_MODE_PASSTHROUGH, VDPA_MODE_SHADOW } VdpaMode;

/* Whether a queue can be put elsewhere while the device is suspended. */
typedef enum VdpaCanRebase {
    VDPA_REBASE_UNKNOWN, VDPA_REBASE_YES, VDPA_REBASE_NO,
} VdpaCanRebase;

typedef struct VdpaDeviceStats {
    uint64_t switches, switches_failed;
    uint64_t switch_ns, switch_worst_ns;    /* the last, the slowest */
    uint64_t launches;
    uint64_t switch_messages;   /* about guest memory, in switches */
    uint64_t switch_resets;
} VdpaDeviceStats;

struct VdpaDevice {
    VdpaFd fd;
    VdpaStatus status;
    VdpaMap *map;
    VirtIODevice *vdev;         /* while launched */
    uint64_t features;          /* what the driver accepted */
    VdpaQueue queue[VIRTIO_QUEUE_MAX];
    unsigned nqueues;           /* highest index that was ever used, plus 1 */
    int control;                /* index of the control queue, or -1 */
    const VdpaQueueKind *control_kind;
    unsigned control_asid;      /* 0 or 1: what the device is capable of */
    bool shared_asid;              /* launched with all queues in one space */
    VdpaCanRebase can_rebase;
    bool launched;              /* or waiting for memory */
    bool waiting;
    bool held;                  /* memory must not be mapped: launch waits */
    int config_call;            /* eventfd, -1: none */
    VdpaMode mode;              /* wanted; and, while launched, in force */
    const char *reason;            /* ... a static string */
    bool always_shadow;
    const VdpaFrontendOps *frontend;
    void *frontend_opaque;
    VdpaDeviceStats stats;
    VdpaSwitch switching;
    char *last_error;              /* the last failure, for queries */
    QEMUBH *fault_bh;           /* tells the guest of a fault */
    VirtIODevice *faulty;       /* ... this one; a reference */
    char *path;                 /* for queries, may be NULL */
    unsigned users;
    QTAILQ_ENTRY(VdpaDevice) next;
};

/* The parts of a guest's ring, as the specification numbers them. */
enum { VDPA_RING_DESC, VDPA_RING_DRIVER, VDPA_RING_DEVICE, VDPA_RING_AREAS };

/* Where part @area of the guest's ring begins, and how long it is. */
uint64_t vdpa_queue_area(const VdpaQueue *q, int area, uint64_t *addr);

extern const VdpaQueueKind vdpa_queue_passthrough;
extern const VdpaQueueKind vdpa_queue_shadow;

/* The queue may be shadowed later: maps its rings, without waiting. */
void vdpa_queue_shadow_ahead(VdpaQueue *q);

/* The rings to shadow it with, mapped ahead or now: 0, or -errno with @errp. */
int vdpa_queue_shadow_rings(VdpaQueue *q, Error **errp);

/* About a queue of kind vdpa_queue_shadow. */
const VdpaShadowStats *vdpa_queue_shadow_stats(const VdpaQueue *q);
unsigned vdpa_queue_shadow_inflight(const VdpaQueue *q);

/* Opens up a device whose file descriptor is @fd, which stays the caller's. */
VdpaDevice *vdpa_device_new(int fd, uint64_t first, uint64_t last,
                            Error **errp);
VdpaDevice *vdpa_device_ref(VdpaDevice *d);
void vdpa_device_unref(VdpaDevice *d);

/*
 * The features that the driver accepted and a shadow queue does not support;
 * 0: the data queues can be shadowed. A ring of a driver without VERSION_1 is a
 * split one.
 */
uint64_t vdpa_device_unshadowable(const VdpaDevice *d);

/*
 * Whether data queues are shadowed, by their mode or for another reason. Queues
 * that cannot be are passed through in any mode.
 */
bool vdpa_device_shadows(const VdpaDevice *d);

/* Who is in between on the control queue; NULL: nobody, the guest's is used. */
const VdpaQueueKind *vdpa_device_control(const VdpaDevice *d);

/* The table's entry; the device learns that it has that queue. */
VdpaQueue *vdpa_device_queue(VdpaDevice *d, unsigned index);

/*
 * Starts it for @vdev. 0 also if that has to wait for memory; -errno with
 * @errp.
 */
int vdpa_device_launch(VdpaDevice *d, VirtIODevice *vdev, Error **errp);

/*
 * While guest memory is thrown away and comes back page by page, nothing of it
 * may be pinned: the device would keep pages that the guest has no more, and
 * pinning one that is missing fails. Hold a device before it is launched.
 */
void vdpa_device_hold(VdpaDevice *d, bool hold);

/* Stands still; every queue's stopped_at is set. */
void vdpa_device_halt(VdpaDevice *d);

/* The same; without @suspend the device is not asked to suspend, but reset. */
void vdpa_device_stop(VdpaDevice *d, bool suspend);

/* A step of the device's life; -errno with @errp. */
int vdpa_device_advance(VdpaDevice *d, VdpaEvent event, Error **errp);

/* Back to the beginning: status 0. */
void vdpa_device_reset(VdpaDevice *d);

/*
 * The virtio device may go: nothing of it is used any more. Memory that is not
 * the machine's but the device's own view of it is not kept mapped.
 */
void vdpa_device_leave(VdpaDevice *d);

/*
 * Changes the mode, at once if launched. @why: a static string. If that fails
 * the device goes on in the old mode, launched anew if it has to be.
 */
int vdpa_device_switch(VdpaDevice *d, VdpaMode mode, const char *why,
                       Error **errp);

/*
 * The guest's driver broke the rules: one line for the user, kept for queries,
 * DEVICE_NEEDS_RESET for the guest. Anything may be on the stack: nothing is
 * stopped, and nothing freed, before the main loop is reached.
 */
void vdpa_device_fault(VdpaDevice *d, const char *format, ...)
    G_GNUC_PRINTF(2, 3);

/*
 * A failure is reported, kept for queries, and shown to the guest: by the
 * user, or, if there is none, as virtio's DEVICE_NEEDS_RESET. Frees @err.
 */
void vdpa_device_report(VdpaDevice *d, VirtIODevice *vdev, Error *err);

/*
 * vhost_dev_start() returned @error, a negative errno: reported like that, unless
 * the launch has reported it.
 */
void vdpa_device_start_failed(VdpaDevice *d, VirtIODevice *vdev, int error);

/* The same for a device that runs: it is stopped. */
void vdpa_device_fail(VdpaDevice *d, Error *err);

/* A queue that runs has a new interrupt. */
int vdpa_device_call(VdpaDevice *d, unsigned index, int fd);

/* All devices there are. */
VdpaDevice *vdpa_device_first(void);

#endif
