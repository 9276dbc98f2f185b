/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * As much of QEMU as vdpa-map-worker.c calls. See worker-shim/worker-shim.h,
 * also for the limits.
 */
#include <stdarg.h>

#include "worker-shim.h"

struct QEMUBH {
    void (*run)(void *opaque);
    void *opaque;
    bool scheduled;     /* atomic */
};

struct Error {
    char *text;
};

#define BHS 4

static QEMUBH *bhs[BHS];
static int64_t now;                 /* atomic */
void (*shim_on_populate)(void *opaque);
void *shim_on_populate_opaque;
void (*shim_on_limit)(void *opaque);
void *shim_on_limit_opaque;
static unsigned reported;
static ShimPopulated populated;     /* the worker's, while it is not idle */
static __thread bool is_main;

static QEMUBH **bh_slot(const QEMUBH *bh)
{
    for (int i = 0; i < BHS; i++) {
        if (bhs[i] == bh) {
            return &bhs[i];
        }
    }
    g_assert_not_reached();
}

QEMUBH *qemu_bh_new(void (*run)(void *opaque), void *opaque)
{
    QEMUBH *bh = g_new0(QEMUBH, 1);

    is_main = true;
    bh->run = run;
    bh->opaque = opaque;
    *bh_slot(NULL) = bh;
    return bh;
}

void qemu_bh_schedule(QEMUBH *bh)
{
    __atomic_store_n(&bh->scheduled, true, __ATOMIC_RELEASE);
}

void qemu_bh_delete(QEMUBH *bh)
{
    *bh_slot(bh) = NULL;
    g_free(bh);
}

void shim_main_loop(void)
{
    for (int i = 0; i < BHS; i++) {
        if (bhs[i] && __atomic_exchange_n(&bhs[i]->scheduled, false,
                                          __ATOMIC_ACQ_REL)) {
            bhs[i]->run(bhs[i]->opaque);
        }
    }
}

bool qemu_cond_timedwait(QemuCond *cond, QemuMutex *lock, int ms)
{
    if (!shim_on_limit) {
        qemu_cond_wait(cond, lock);
        return true;
    }
    qemu_mutex_unlock(lock);
    shim_on_limit(shim_on_limit_opaque);
    qemu_mutex_lock(lock);
    return false;
}

int64_t shim_now(void)
{
    return __atomic_load_n(&now, __ATOMIC_RELAXED);
}

void shim_pass(int64_t us)
{
    __atomic_add_fetch(&now, us, __ATOMIC_RELAXED);
}

void memory_region_ref(MemoryRegion *mr)
{
    mr->refs++;
    mr->astray |= !is_main;
}

void memory_region_unref(MemoryRegion *mr)
{
    g_assert_cmpint(mr->refs, >, 0);
    mr->refs--;
    mr->astray |= !is_main;
}

int qemu_madvise(void *at, size_t size, int advice)
{
    g_assert_cmpint(advice, ==, QEMU_MADV_POPULATE_WRITE);
    populated.bytes += size;
    populated.largest = MAX(populated.largest, size);
    if (shim_on_populate) {
        shim_on_populate(shim_on_populate_opaque);
    }
    return 0;
}

ShimPopulated shim_populated(void)
{
    ShimPopulated found = populated;

    populated = (ShimPopulated) { 0 };
    return found;
}

static void set(Error **errp, const char *format, va_list arguments, int error)
{
    g_autofree char *text = NULL;

    if (!errp) {
        return;
    }
    g_assert_null(*errp);
    text = g_strdup_vprintf(format, arguments);
    *errp = g_new0(Error, 1);
    (*errp)->text = error ? g_strdup_printf("%s: %s", text, g_strerror(error))
                          : g_steal_pointer(&text);
}

void error_setg(Error **errp, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    set(errp, format, arguments, 0);
    va_end(arguments);
}

void error_setg_errno(Error **errp, int error, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    set(errp, format, arguments, error);
    va_end(arguments);
}

const char *error_get_pretty(const Error *err)
{
    return err->text;
}

void error_free(Error *err)
{
    if (err) {
        g_free(err->text);
        g_free(err);
    }
}

void error_reportf_err(Error *err, const char *prefix, ...)
{
    g_assert_nonnull(err);
    reported++;
    error_free(err);
}

void info_report(const char *format, ...)
{
}

unsigned shim_reported(void)
{
    return reported;
}
