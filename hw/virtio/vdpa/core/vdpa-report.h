/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Messages that a guest can cause as often as it likes.
 *
 * Theory of operation
 * -------------------
 * A guest breaks its device and resets it, maps addresses through its vIOMMU and
 * unmaps them, moves a BAR over its rings: each is worth a line on stderr, and a
 * guest can do it thousands of times a second, which fills the host's disk with
 * QEMU's log. The rule: every message about a vDPA device that a guest can cause
 * more than once is reported by a macro of this file.
 *
 * Each place in the code says VDPA_REPORT_BURST messages in VDPA_REPORT_PERIOD_MS,
 * adds to the last of them that more are left out, and is silent until the period
 * is over. So one kind of message does not hide another. What a query answers
 * (VdpaDevice.last_error) is not limited.
 *
 * Thread model: the BQL.
 *
 * Limits: places are per process, so two devices that do the same share one.
 */
#ifndef HW_VIRTIO_VDPA_REPORT_H
#define HW_VIRTIO_VDPA_REPORT_H

#include <glib.h>
#include <stdint.h>

#define VDPA_REPORT_BURST       5
#define VDPA_REPORT_PERIOD_MS   60000

typedef struct VdpaReportPlace {
    int64_t began_ms;           /* the period; its first message */
    unsigned reported;          /* in it */
} VdpaReportPlace;

typedef enum VdpaReportVerdict {
    VDPA_REPORT_DROP,
    VDPA_REPORT_SAY,
    VDPA_REPORT_SAY_LAST,       /* and that more are left out */
} VdpaReportVerdict;

/* A message of @place at @now_ms, on a clock that does not go back. */
VdpaReportVerdict vdpa_report_take(VdpaReportPlace *place, int64_t now_ms);

#define VDPA_REPORT_LIMITED(say, drop)                                        \
    do {                                                                      \
        static VdpaReportPlace place_;                                        \
        VdpaReportVerdict verdict_ =                                          \
            vdpa_report_take(&place_, g_get_monotonic_time() / 1000);         \
                                                                              \
        if (verdict_ == VDPA_REPORT_DROP) {                                   \
            drop;                                                             \
        } else {                                                              \
            say;                                                              \
        }                                                                     \
        if (verdict_ == VDPA_REPORT_SAY_LAST) {                               \
            info_report("vhost-vdpa: more messages like this one are left"    \
                        " out for %d s", VDPA_REPORT_PERIOD_MS / 1000);       \
        }                                                                     \
    } while (0)

/* As their namesakes in qemu/error-report.h and qapi/error.h. */
#define vdpa_error_report(...) \
    VDPA_REPORT_LIMITED(error_report(__VA_ARGS__), (void)0)
#define vdpa_warn_report(...) \
    VDPA_REPORT_LIMITED(warn_report(__VA_ARGS__), (void)0)
#define vdpa_error_reportf_err(err, ...) \
    VDPA_REPORT_LIMITED(error_reportf_err(err, __VA_ARGS__), error_free(err))
#define vdpa_warn_reportf_err(err, ...) \
    VDPA_REPORT_LIMITED(warn_reportf_err(err, __VA_ARGS__), error_free(err))

#endif
