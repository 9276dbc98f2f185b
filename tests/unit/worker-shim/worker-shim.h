/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * As much of QEMU as vdpa-map-worker.c calls: threads, a main loop, memory
 * regions, errors. Every other header here includes this one.
 *
 * Theory of operation: a mutex is a mutex and a thread is a thread. The main
 * loop is the test: it runs what was scheduled when it calls shim_main_loop().
 * A memory region counts its references, and notes if one is dropped elsewhere
 * than in the main thread, where QEMU would have to hold the BQL.
 *
 * Limits: one bottom half a worker; error texts are kept, not their classes.
 */
#ifndef WORKER_SHIM_H
#define WORKER_SHIM_H

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/queue.h>
#include <glib.h>

#define KiB                     (UINT64_C(1) << 10)
#define MiB                     (UINT64_C(1) << 20)
#define DIV_ROUND_UP(n, d)      (((n) + (d) - 1) / (d))
#define QEMU_ALIGN_DOWN(n, m)   ((n) / (m) * (m))

#define qatomic_read(p)         __atomic_load_n(p, __ATOMIC_RELAXED)
#define qatomic_set(p, v)       __atomic_store_n(p, v, __ATOMIC_RELAXED)

#define QSIMPLEQ_HEAD           STAILQ_HEAD
#define QSIMPLEQ_ENTRY          STAILQ_ENTRY
#define QSIMPLEQ_INIT           STAILQ_INIT
#define QSIMPLEQ_EMPTY          STAILQ_EMPTY
#define QSIMPLEQ_FIRST          STAILQ_FIRST
#define QSIMPLEQ_REMOVE_HEAD    STAILQ_REMOVE_HEAD
#define QSIMPLEQ_INSERT_TAIL    STAILQ_INSERT_TAIL
#define QSIMPLEQ_NEXT           STAILQ_NEXT
#define QSIMPLEQ_FOREACH        STAILQ_FOREACH

/* --- threads ------------------------------------------------------------ */

typedef pthread_mutex_t QemuMutex;
typedef pthread_cond_t QemuCond;
typedef pthread_t QemuThread;

#define QEMU_THREAD_JOINABLE    0

#define qemu_mutex_init(m)      pthread_mutex_init(m, NULL)
#define qemu_mutex_destroy      pthread_mutex_destroy
#define qemu_mutex_lock         pthread_mutex_lock
#define qemu_mutex_unlock       pthread_mutex_unlock
#define qemu_cond_init(c)       pthread_cond_init(c, NULL)
#define qemu_cond_destroy       pthread_cond_destroy
#define qemu_cond_signal        pthread_cond_signal
#define qemu_cond_broadcast     pthread_cond_broadcast
#define qemu_cond_wait          pthread_cond_wait
#define qemu_thread_join(t)     pthread_join(*(t), NULL)
#define qemu_thread_create(t, name, run, opaque, how)   \
    pthread_create(t, NULL, run, opaque)

/*
 * A wait with a limit: it passes in each call of @shim_on_limit, which is made
 * without the lock. NULL: no limit passes.
 */
bool qemu_cond_timedwait(QemuCond *cond, QemuMutex *lock, int ms);

extern void (*shim_on_limit)(void *opaque);
extern void *shim_on_limit_opaque;

static inline QemuMutex *shim_locked(QemuMutex *m)
{
    pthread_mutex_lock(m);
    return m;
}

static inline void shim_unlock(QemuMutex **m)
{
    if (*m) {
        pthread_mutex_unlock(*m);
    }
}

#define QEMU_LOCK_GUARD(m)                              \
    __attribute__((cleanup(shim_unlock), unused))       \
    QemuMutex *shim_guard = shim_locked(m)

#define WITH_QEMU_LOCK_GUARD(m)                         \
    for (__attribute__((cleanup(shim_unlock)))          \
         QemuMutex *shim_guard = shim_locked(m);        \
         shim_guard;                                    \
         shim_unlock(&shim_guard), shim_guard = NULL)

/* --- the main loop ------------------------------------------------------ */

typedef struct QEMUBH QEMUBH;

QEMUBH *qemu_bh_new(void (*run)(void *opaque), void *opaque);
void qemu_bh_schedule(QEMUBH *bh);
void qemu_bh_delete(QEMUBH *bh);

/* Runs what was scheduled. */
void shim_main_loop(void);

/* --- memory regions ----------------------------------------------------- */

typedef struct MemoryRegion {
    int refs;           /* the test's */
    bool astray;        /* dropped by another thread than the main one */
} MemoryRegion;

void memory_region_ref(MemoryRegion *mr);
void memory_region_unref(MemoryRegion *mr);

/* --- memory that is not there yet --------------------------------------- */

#define QEMU_MADV_POPULATE_WRITE 23

/* Notes down what was asked for, of the test's made-up addresses. */
int qemu_madvise(void *at, size_t size, int advice);

typedef struct ShimPopulated {
    uint64_t bytes, largest;    /* since the last look */
} ShimPopulated;

ShimPopulated shim_populated(void);

/* Called by the worker's thread in each qemu_madvise(); NULL: nothing is. */
extern void (*shim_on_populate)(void *opaque);
extern void *shim_on_populate_opaque;

/* --- the clock ---------------------------------------------------------- */

/* Microseconds; only the test moves it. */
int64_t shim_now(void);
void shim_pass(int64_t us);

#define g_get_monotonic_time    shim_now

/* --- errors ------------------------------------------------------------- */

typedef struct Error Error;

void error_setg(Error **errp, const char *format, ...) G_GNUC_PRINTF(2, 3);
void error_setg_errno(Error **errp, int error, const char *format, ...)
    G_GNUC_PRINTF(3, 4);
const char *error_get_pretty(const Error *err);
void error_free(Error *err);

/* Counts instead of printing. */
void error_reportf_err(Error *err, const char *prefix, ...)
    G_GNUC_PRINTF(2, 3);
void info_report(const char *format, ...) G_GNUC_PRINTF(1, 2);
unsigned shim_reported(void);

#define trace_vdpa_message(...) ((void)0)

#endif
