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

static QEMUBH *the_bh;
static unsigned reported;
static ShimPopulated populated;     /* the worker's, while it is not idle */
static __thread bool is_main;

QEMUBH *qemu_bh_new(void (*run)(void *opaque), void *opaque)
{
    g_assert_null(the_bh);
    is_main = true;
    the_bh = g_new0(QEMUBH, 1);
    the_bh->run = run;
    the_bh->opaque = opaque;
    return the_bh;
}

void qemu_bh_schedule(QEMUBH *bh)
{
    __atomic_store_n(&bh->scheduled, true, __ATOMIC_RELEASE);
}

void qemu_bh_delete(QEMUBH *bh)
{
    g_assert_true(bh == the_bh);
    g_free(g_steal_pointer(&the_bh));
}

void shim_main_loop(void)
{
    if (the_bh && __atomic_exchange_n(&the_bh->scheduled, false,
                                      __ATOMIC_ACQ_REL)) {
        the_bh->run(the_bh->opaque);
    }
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

unsigned shim_reported(void)
{
    return reported;
}
