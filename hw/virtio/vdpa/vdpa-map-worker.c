/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The thread that maps memory for a vDPA device. See vdpa-map-worker.h, also
 * for the limits.
 */
#include "qemu/osdep.h"
#include <sys/mman.h>
#include <sys/resource.h>
#include <linux/vhost.h>
#include "qemu/error-report.h"
#include "qemu/lockable.h"
#include "qemu/madvise.h"
#include "qemu/main-loop.h"
#include "qemu/thread.h"
#include "qemu/units.h"
#include "vdpa-map-worker.h"
#include "hw/virtio/vdpa/core/vdpa-report.h"
#include "hw/virtio/trace.h"

#define YIELD_US    100
#define LOOKS       8       /* in the time after which the kernel is late */

/* How much of guest memory at a time; see vdpa-map-worker.h. */
#define STEP        (128 * KiB)
#define RANGE_LEAST (2 * MiB)
#define RANGE_MOST  (256 * MiB)
#define RANGE_US    10000

typedef enum VdpaJobKind { JOB_OPEN, JOB_CLOSE, JOB_MAP, JOB_UNMAP } VdpaJobKind;

typedef struct VdpaJob {
    VdpaJobKind kind;
    unsigned asid;
    VdpaIovaMap map;
    MemoryRegion *mr;       /* a reference; NULL for QEMU's memory */
    bool host;              /* QEMU's memory */
    int *result;            /* of such: where a failure goes; NULL: nowhere */
    void *free;             /* of such: unmapped from QEMU, too, when done */
    bool abandoned;         /* atomic: skip what is left of it */
    QSIMPLEQ_ENTRY(VdpaJob) next;
} VdpaJob;

struct VdpaWorker {
    VdpaFd *fd;
    bool pins;
    uint64_t range_size;    /* the thread's */
    uint64_t room;          /* maps that the kernel keeps; 0: unknown */
    QemuThread thread;
    QemuMutex lock;
    QemuCond work, rest;
    QEMUBH *idle_bh;
    void (*idle)(void *opaque);
    void *opaque;

    /* protected by lock */
    QSIMPLEQ_HEAD(, VdpaJob) todo, done;
    VdpaJob *current;       /* NULL: none */
    bool busy, quit;
    bool late;              /* the kernel took longer than limit_ms */
    bool left;              /* the thread frees the worker */

    /* atomic */
    int error;
    uint64_t maps, unmaps;
    uint64_t steps;         /* that the thread has taken so far */

    /* written under the BQL, read by the thread: atomic */
    uint64_t asked;         /* bytes of guest memory; see account() */

    /* protected by the BQL */
    bool reported;
    unsigned limit_ms;
};

/* --- the thread --------------------------------------------------------- */

static void count_step(VdpaWorker *w)
{
    qatomic_set(&w->steps, w->steps + 1);
}

static int message(VdpaWorker *w, unsigned asid, int type,
                   const VdpaIovaMap *map)
{
    struct vhost_msg_v2 msg = {
        .type = VHOST_IOTLB_MSG_V2,
        .asid = vdpa_fd_has(w->fd, VHOST_BACKEND_F_IOTLB_ASID) ? asid : 0,
        .iotlb = {
            .iova = map->iova, .size = map->size, .uaddr = map->hva,
            .perm = map->perm, .type = type,
        },
    };
    int err = vdpa_fd_message(w->fd, &msg);

    count_step(w);
    trace_vdpa_message(type, asid, map->iova, map->size, err);
    return err;
}

static bool skipping(const VdpaWorker *w, const VdpaJob *job)
{
    return qatomic_read(&job->abandoned) || qatomic_read(&w->error);
}

/*
 * Memory that is not there yet is made so; pinning it takes no lock for long
 * then. What goes wrong here will with the pinning, too, and is said by that.
 */
static void populate(VdpaWorker *w, const VdpaJob *job, const VdpaIovaMap *map)
{
    uint64_t done = 0;
    bool wanted = w->pins && (map->perm & VDPA_IOVA_WRITE);

    while (wanted && done < map->size && !skipping(w, job)) {
        size_t size = MIN(STEP, map->size - done);
        void *at = (void *)(uintptr_t)(map->hva + done);

        wanted = !qemu_madvise(at, size, QEMU_MADV_POPULATE_WRITE);
        done += size;
        count_step(w);
    }
}

/* What comes first of @left, and is taken from it. */
static VdpaIovaMap take_range(const VdpaWorker *w, VdpaIovaMap *left)
{
    VdpaIovaMap head = *left;
    uint64_t border = QEMU_ALIGN_DOWN(head.iova, w->range_size) + w->range_size;

    head.size = MIN(left->size, border - head.iova);
    left->iova += head.size;
    left->hva += head.size;
    left->size -= head.size;
    return head;
}

/*
 * The least size of a range: all of the device's guest memory in ranges of it
 * fills half of the kernel's table. Commands then wait longer than RANGE_US
 * where the kernel is slow, but the guest starts.
 */
static uint64_t range_least(const VdpaWorker *w)
{
    uint64_t least = RANGE_LEAST, asked = qatomic_read(&w->asked);

    while (w->room && least < asked / MAX(w->room / 2, 1)) {
        least *= 2;
    }
    return least;
}

/* A range is to take about RANGE_US. */
static void adapt_range_size(VdpaWorker *w, uint64_t size, int64_t us)
{
    if (us > RANGE_US) {
        w->range_size /= 2;
    } else if (us < RANGE_US / 4 && size == w->range_size) {
        w->range_size = MAX(w->range_size, MIN(w->range_size * 2, RANGE_MOST));
    }
}

/* Commands go first. */
static int map_range(VdpaWorker *w, const VdpaJob *job,
                     const VdpaIovaMap *range)
{
    int64_t start;
    int err;

    populate(w, job, range);
    while (vdpa_fd_wanted(w->fd) && !skipping(w, job)) {
        g_usleep(YIELD_US);
    }
    if (skipping(w, job)) {
        return 0;
    }
    qatomic_set(&w->maps, w->maps + 1);
    start = g_get_monotonic_time();
    err = message(w, job->asid, VHOST_IOTLB_UPDATE, range);
    adapt_range_size(w, range->size, g_get_monotonic_time() - start);
    return err;
}

static int map_guest(VdpaWorker *w, const VdpaJob *job)
{
    VdpaIovaMap left = job->map;
    int err = 0;

    while (left.size && !err && !skipping(w, job)) {
        VdpaIovaMap range;

        w->range_size = MAX(w->range_size, range_least(w));
        range = take_range(w, &left);
        err = map_range(w, job, &range);
    }
    return err;
}

static int batch(VdpaWorker *w, const VdpaJob *job, int type)
{
    if (!vdpa_fd_has(w->fd, VHOST_BACKEND_F_IOTLB_BATCH)) {
        return 0;
    }
    return message(w, job->asid, type, &job->map);
}

static int unmap(VdpaWorker *w, const VdpaJob *job)
{
    int err;

    if (!job->host) {
        qatomic_set(&w->unmaps, w->unmaps + 1);
    }
    err = message(w, job->asid, VHOST_IOTLB_INVALIDATE, &job->map);
    if (job->free) {
        munmap(job->free, job->map.size);
    }
    return err;
}

static int do_job(VdpaWorker *w, VdpaJob *job)
{
    switch (job->kind) {
    case JOB_OPEN:
        return batch(w, job, VHOST_IOTLB_BATCH_BEGIN);
    case JOB_CLOSE:
        return batch(w, job, VHOST_IOTLB_BATCH_END);
    case JOB_UNMAP:
        return unmap(w, job);
    case JOB_MAP:
        return job->host
            ? message(w, job->asid, VHOST_IOTLB_UPDATE, &job->map)
            : map_guest(w, job);
    }
    g_assert_not_reached();
}

static void record_error_locked(VdpaWorker *w, VdpaJob *job, int err)
{
    if (err && job->result) {
        *job->result = err;
    } else if (err && !job->host && !job->abandoned && !w->error) {
        qatomic_set(&w->error, err);
    }
}

static VdpaJob *next_job(VdpaWorker *w)
{
    while (QSIMPLEQ_EMPTY(&w->todo) && !w->quit) {
        if (w->busy) {
            w->busy = w->late = false;
            qemu_cond_broadcast(&w->rest);
            qemu_bh_schedule(w->idle_bh);
        }
        qemu_cond_wait(&w->work, &w->lock);
    }
    return w->left ? NULL : QSIMPLEQ_FIRST(&w->todo);
}

static void worker_destroy(VdpaWorker *w)
{
    qemu_cond_destroy(&w->work);
    qemu_cond_destroy(&w->rest);
    qemu_mutex_destroy(&w->lock);
    g_free(w);
}

static void free_jobs(VdpaJob *job)
{
    while (job) {
        VdpaJob *next = QSIMPLEQ_NEXT(job, next);

        g_free(job);
        job = next;
    }
}

/* References to memory regions stay: they are dropped under the BQL only. */
static void destroy_left(VdpaWorker *w)
{
    free_jobs(QSIMPLEQ_FIRST(&w->todo));
    free_jobs(QSIMPLEQ_FIRST(&w->done));
    worker_destroy(w);
    pthread_detach(pthread_self());
}

static void *worker_main(void *opaque)
{
    VdpaWorker *w = opaque;
    VdpaJob *job;
    bool left;

    qemu_mutex_lock(&w->lock);
    while ((job = next_job(w))) {
        int err;

        QSIMPLEQ_REMOVE_HEAD(&w->todo, next);
        w->current = job;
        qemu_mutex_unlock(&w->lock);
        err = do_job(w, job);
        qemu_mutex_lock(&w->lock);
        w->current = NULL;
        record_error_locked(w, job, err);
        QSIMPLEQ_INSERT_TAIL(&w->done, job, next);
    }
    left = w->left;
    qemu_mutex_unlock(&w->lock);
    if (left) {
        destroy_left(w);
    }
    return NULL;
}

/* --- the others' side --------------------------------------------------- */

/*
 * Bytes that are asked for by the devices of this process that pin: the kernel
 * counts them together. Protected by the BQL.
 */
static uint64_t pinned_asked;

static void account(VdpaWorker *w, int64_t bytes)
{
    qatomic_set(&w->asked, w->asked + bytes);
    if (w->pins) {
        pinned_asked += bytes;
    }
}

/* References to memory regions are dropped under the BQL. */
static void free_done_locked(VdpaWorker *w)
{
    VdpaJob *job;

    while ((job = QSIMPLEQ_FIRST(&w->done))) {
        QSIMPLEQ_REMOVE_HEAD(&w->done, next);
        if (job->mr) {
            memory_region_unref(job->mr);
        }
        g_free(job);
    }
}

static void idle_bh(void *opaque)
{
    VdpaWorker *w = opaque;

    WITH_QEMU_LOCK_GUARD(&w->lock) {
        free_done_locked(w);
        if (w->busy) {
            return;     /* it has got more to do */
        }
    }
    w->idle(w->opaque);
}

static void enqueue(VdpaWorker *w, VdpaJob job)
{
    VdpaJob *copy = g_memdup2(&job, sizeof(job));

    if (copy->mr) {
        memory_region_ref(copy->mr);
    }
    QEMU_LOCK_GUARD(&w->lock);
    w->busy = true;
    QSIMPLEQ_INSERT_TAIL(&w->todo, copy, next);
    qemu_cond_signal(&w->work);
}

/*
 * How many ranges of memory the kernel keeps for a device, where it says so
 * (Linux 6.12.117 does); 0 if it does not.
 */
static uint64_t kernel_table_size(void)
{
    g_autofree char *text = NULL;

    if (!g_file_get_contents("/sys/module/vhost_vdpa/parameters/"
                             "max_iotlb_entries", &text, NULL, NULL)) {
        return 0;
    }
    return g_ascii_strtoull(text, NULL, 10);
}

VdpaWorker *vdpa_worker_new(VdpaFd *fd, bool pins, void (*idle)(void *opaque),
                            void *opaque)
{
    VdpaWorker *w = g_new0(VdpaWorker, 1);

    w->fd = fd;
    w->pins = pins;
    w->range_size = RANGE_LEAST;
    w->room = kernel_table_size();
    w->limit_ms = VDPA_WORKER_LIMIT_MS;
    w->idle = idle;
    w->opaque = opaque;
    w->idle_bh = qemu_bh_new(idle_bh, w);
    qemu_mutex_init(&w->lock);
    qemu_cond_init(&w->work);
    qemu_cond_init(&w->rest);
    QSIMPLEQ_INIT(&w->todo);
    QSIMPLEQ_INIT(&w->done);
    qemu_thread_create(&w->thread, "vdpa-map", worker_main, w,
                       QEMU_THREAD_JOINABLE);
    return w;
}

void vdpa_worker_set_room(VdpaWorker *w, uint64_t maps)
{
    w->room = maps;
}

void vdpa_worker_set_limit(VdpaWorker *w, unsigned ms)
{
    w->limit_ms = ms;
}

/* The thread ends after the message under way, without the jobs behind it. */
static void leave_thread(VdpaWorker *w)
{
    QEMU_LOCK_GUARD(&w->lock);
    w->quit = w->left = true;
    if (w->current) {
        qatomic_set(&w->current->abandoned, true);
    }
    qemu_cond_signal(&w->work);
}

static void join_thread(VdpaWorker *w)
{
    WITH_QEMU_LOCK_GUARD(&w->lock) {
        w->quit = true;
        qemu_cond_signal(&w->work);
    }
    qemu_thread_join(&w->thread);
    worker_destroy(w);
}

bool vdpa_worker_free(VdpaWorker *w)
{
    QEMUBH *bh = w->idle_bh;
    bool idle = vdpa_worker_drain(w);

    account(w, -(int64_t)w->asked);
    if (idle) {
        join_thread(w);
    } else {
        leave_thread(w);
    }
    qemu_bh_delete(bh);
    return idle;
}

void vdpa_worker_batch(VdpaWorker *w, bool open)
{
    enqueue(w, (VdpaJob) { .kind = open ? JOB_OPEN : JOB_CLOSE });
}

void vdpa_worker_map(VdpaWorker *w, unsigned asid, const VdpaIovaMap *map,
                     MemoryRegion *mr)
{
    account(w, map->size);
    enqueue(w, (VdpaJob) { JOB_MAP, asid, *map, mr });
}

void vdpa_worker_unmap(VdpaWorker *w, unsigned asid, uint64_t iova,
                       uint64_t size)
{
    account(w, -(int64_t)size);
    enqueue(w, (VdpaJob) { .kind = JOB_UNMAP, .asid = asid,
                           .map = { .iova = iova, .size = size } });
}

void vdpa_worker_host_batch(VdpaWorker *w, unsigned asid, bool open,
                           int *result)
{
    enqueue(w, (VdpaJob) { .kind = open ? JOB_OPEN : JOB_CLOSE, .asid = asid,
                           .host = true, .result = result });
}

void vdpa_worker_host_map(VdpaWorker *w, unsigned asid, const VdpaIovaMap *map,
                         int *result)
{
    enqueue(w, (VdpaJob) { .kind = JOB_MAP, .asid = asid, .map = *map,
                           .host = true, .result = result });
}

void vdpa_worker_host_unmap(VdpaWorker *w, unsigned asid, uint64_t iova,
                            void *at, uint64_t size)
{
    enqueue(w, (VdpaJob) { .kind = JOB_UNMAP, .asid = asid, .host = true,
                           .free = at, .map = { .iova = iova, .size = size } });
}

static void forget_result(VdpaJob *job, const int *result)
{
    if (job->result == result) {
        job->result = NULL;
    }
}

void vdpa_worker_forget(VdpaWorker *w, const int *result)
{
    VdpaJob *job;

    QEMU_LOCK_GUARD(&w->lock);
    QSIMPLEQ_FOREACH(job, &w->todo, next) {
        forget_result(job, result);
    }
    if (w->current) {
        forget_result(w->current, result);
    }
}

/* The limit is for a step: many of them may take long. */
bool vdpa_worker_drain(VdpaWorker *w)
{
    uint64_t steps = qatomic_read(&w->steps);
    unsigned looks = 0;

    QEMU_LOCK_GUARD(&w->lock);
    while (w->busy && !w->late) {
        if (!qemu_cond_timedwait(&w->rest, &w->lock, w->limit_ms / LOOKS)) {
            looks = steps == qatomic_read(&w->steps) ? looks + 1 : 0;
            steps = qatomic_read(&w->steps);
            w->late = w->busy && looks == LOOKS;
        }
    }
    free_done_locked(w);
    return !w->busy;
}

bool vdpa_worker_busy(const VdpaWorker *w)
{
    VdpaWorker *worker = (VdpaWorker *)w;

    QEMU_LOCK_GUARD(&worker->lock);
    return worker->busy;
}

bool vdpa_worker_late(VdpaWorker *w)
{
    QEMU_LOCK_GUARD(&w->lock);
    return w->late;
}

void vdpa_worker_late_error(const VdpaWorker *w, Error **errp)
{
    error_setg(errp, "the kernel has been mapping memory for the device for more"
               " than %u s", w->limit_ms / 1000);
}

void vdpa_worker_abandon(VdpaWorker *w)
{
    VdpaJob *job;

    QEMU_LOCK_GUARD(&w->lock);
    QSIMPLEQ_FOREACH(job, &w->todo, next) {
        qatomic_set(&job->abandoned, !job->host);
    }
    if (w->current) {
        qatomic_set(&w->current->abandoned, !w->current->host);
    }
}

void vdpa_worker_reset(VdpaWorker *w)
{
    account(w, -(int64_t)w->asked);
    vdpa_worker_clear_error(w);
}

void vdpa_worker_clear_error(VdpaWorker *w)
{
    qatomic_set(&w->error, 0);
    w->reported = false;
}

/*
 * The kernel answers EFAULT to any message that fails. Huge
 * pages help against a full table as long as ranges are larger than a page,
 * which range_least() sees to; what always helps is room for each page.
 */
static void explain(const VdpaWorker *w, Error **errp, int err, uint64_t mib)
{
    uint64_t room = err == -EFAULT ? w->room : 0;

    if (!room) {
        error_setg_errno(errp, -err, "cannot map %" PRIu64
                         " MiB of guest memory", mib);
        return;
    }
    error_setg(errp, "cannot map %" PRIu64 " MiB of guest memory. It may be in "
               "too many ranges of the host's memory: vhost_vdpa's"
               " max_iotlb_entries is %" PRIu64 ", and each range takes one;"
               " raise it (/etc/modprobe.d, %" PRIu64 " are enough for"
               " pages of 4 KiB)%s", mib, room, mib * (MiB / (4 * KiB)),
               room >= mib / 2 ? ", or use huge pages"
                               : ", or use huge pages of 1 GiB");
}

int vdpa_worker_error(const VdpaWorker *w, Error **errp)
{
    int err = qatomic_read(&w->error);
    struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };
    uint64_t mib = DIV_ROUND_UP(w->asked, MiB);

    if (!err) {
        return 0;
    }
    getrlimit(RLIMIT_MEMLOCK, &limit);
    if (err != -ENODEV && w->pins && limit.rlim_cur != RLIM_INFINITY &&
        limit.rlim_cur < pinned_asked) {
        uint64_t all = DIV_ROUND_UP(pinned_asked, MiB);
        g_autofree char *others = all == mib ? g_strdup("") : g_strdup_printf(
            ", and all vDPA devices of this process together pin %" PRIu64
            " MiB", all);

        error_setg(errp, "cannot pin %" PRIu64 " MiB of guest memory: "
                   "RLIMIT_MEMLOCK is %" PRIu64 " MiB%s; raise it (ulimit -l, "
                   "libvirt <hard_limit>)", mib,
                   (uint64_t)limit.rlim_cur / MiB, others);
    } else {
        explain(w, errp, err, mib);
    }
    return err;
}

void vdpa_worker_report(VdpaWorker *w)
{
    Error *err = NULL;

    if (!w->reported && vdpa_worker_error(w, &err)) {
        w->reported = true;
        vdpa_error_reportf_err(err, "vhost-vdpa: ");
    }
}

void vdpa_worker_messages(const VdpaWorker *w, uint64_t *maps,
                          uint64_t *unmaps)
{
    *maps = qatomic_read(&w->maps);
    *unmaps = qatomic_read(&w->unmaps);
}
