/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The thread that maps memory for a vDPA device.
 *
 * Theory of operation: vdpa-map.h. Jobs are done in the order they were given.
 * A failed map of guest memory makes those behind it be skipped, until the
 * failure is cleared. Unmaps are never skipped: unmapping a range that was
 * never mapped is no error.
 *
 * While the kernel pins memory it holds two locks that others wait for, also a
 * vCPU's thread that has the BQL, so that all threads wait:
 *
 *   of the process's address space, which a malloc() takes that needs more.
 *     Pages that are not there yet take the longest, so these are asked for
 *     before, in small steps. Not for a device that is a process: it pins
 *     nothing, so all memory would be allocated for nothing;
 *   of the device, which each command takes. So a message maps only as much as
 *     takes some milliseconds here, to be found out by trying (2 to 256 MiB),
 *     and a region is one message if it takes no longer. Some kernels have room
 *     for few maps (vhost_vdpa's max_iotlb_entries) and each message takes one
 *     at least: ranges are then so large that all of the device's memory fills
 *     half of the table, though commands wait longer.
 *
 * An unmap takes all messages of a map back.
 *
 * Thread model: all functions under the BQL. The thread itself takes the
 * worker's lock and calls the kernel without it; @idle comes from the main
 * loop.
 *
 * Waiting. The BQL's holder waits for the thread when the device has to see a
 * change before the guest goes on, and when QEMU's own memory is mapped. A kernel
 * that does not return from a message (a driver that waits for a device or, with
 * vduse, for a process; memory on a file system that has stalled) must not stop
 * the VM for good. So each message has a limit of 40 s, which is more than vduse's
 * own of 30 s. After it the caller fails, and nothing waits any more until the
 * kernel has returned and all jobs are done. Jobs stay in order, so the thread
 * unmaps a map that its caller gave up, and frees QEMU's memory after its unmap.
 *
 * Limits: who waits for the thread waits for the message that is under way. A
 * command (ioctl) has no limit. The memory of a device that is freed while the
 * kernel is late is leaked. Kernels before 5.14 cannot populate; the messages do
 * it all there.
 */
#ifndef HW_VIRTIO_VDPA_MAP_WORKER_H
#define HW_VIRTIO_VDPA_MAP_WORKER_H

#include "exec/memory.h"
#include "qapi/error.h"
#include "hw/virtio/vdpa/core/vdpa-fd.h"
#include "hw/virtio/vdpa/core/vdpa-iova.h"

typedef struct VdpaWorker VdpaWorker;

/* @pins: the kernel pins mapped pages. */
VdpaWorker *vdpa_worker_new(VdpaFd *fd, bool pins, void (*idle)(void *opaque),
                            void *opaque);

/*
 * False: the kernel is late (see drain()). The thread ends when the kernel returns,
 * and uses the VdpaFd until then, so the caller must never free that.
 */
bool vdpa_worker_free(VdpaWorker *w);

/*
 * The kernel keeps at most so many maps for the device; 0: unknown. It is asked
 * when the worker is made; this is for tests, before the first job.
 */
void vdpa_worker_set_room(VdpaWorker *w, uint64_t maps);

/* How long drain() waits for one message; for tests. */
#define VDPA_WORKER_LIMIT_MS    40000
void vdpa_worker_set_limit(VdpaWorker *w, unsigned ms);

/* Jobs. @mr is kept until its map is done. */
void vdpa_worker_batch(VdpaWorker *w, bool open);
void vdpa_worker_map(VdpaWorker *w, unsigned asid, const VdpaIovaMap *map,
                     MemoryRegion *mr);
void vdpa_worker_unmap(VdpaWorker *w, unsigned asid, uint64_t iova,
                       uint64_t size);

/*
 * The same for QEMU's memory, with one batch of its own for each address space.
 * A failure is stored in *@result, which has to stay until a drain or forget(),
 * and fails no other job; success leaves it alone.
 */
void vdpa_worker_host_batch(VdpaWorker *w, unsigned asid, bool open,
                           int *result);
void vdpa_worker_host_map(VdpaWorker *w, unsigned asid, const VdpaIovaMap *map,
                         int *result);
void vdpa_worker_forget(VdpaWorker *w, const int *result);

/* Unmap @size bytes at @iova, then munmap() them at @at. */
void vdpa_worker_host_unmap(VdpaWorker *w, unsigned asid, uint64_t iova,
                            void *at, uint64_t size);

/*
 * Wait until all jobs are done. False if the kernel is late: it took longer than
 * the limit for one message. Then nothing waits any more until all jobs are done.
 */
bool vdpa_worker_drain(VdpaWorker *w);
bool vdpa_worker_late(VdpaWorker *w);
void vdpa_worker_late_error(const VdpaWorker *w, Error **errp);
bool vdpa_worker_busy(const VdpaWorker *w);

/* Skip the maps of guest memory that are not done yet. */
void vdpa_worker_abandon(VdpaWorker *w);

/* Forget a failure and how much memory was asked for. All jobs are abandoned. */
void vdpa_worker_reset(VdpaWorker *w);

/* Forgets a failure, while the worker rests: what comes next is tried. */
void vdpa_worker_clear_error(VdpaWorker *w);

/* The first failure: 0 or -errno with @errp. */
int vdpa_worker_error(const VdpaWorker *w, Error **errp);

/* Says a failure on stderr, unless that was done. */
void vdpa_worker_report(VdpaWorker *w);

/* Messages about guest memory so far. */
void vdpa_worker_messages(const VdpaWorker *w, uint64_t *maps,
                          uint64_t *unmaps);

#endif
