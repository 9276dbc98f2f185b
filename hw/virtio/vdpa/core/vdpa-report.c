/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Messages that a guest can cause as often as it likes: see vdpa-report.h, also
 * for the limits.
 */
#include "vdpa-report.h"

VdpaReportVerdict vdpa_report_take(VdpaReportPlace *place, int64_t now_ms)
{
    if (!place->reported ||
        now_ms - place->began_ms >= VDPA_REPORT_PERIOD_MS) {
        place->began_ms = now_ms;
        place->reported = 0;
    }
    if (place->reported == VDPA_REPORT_BURST) {
        return VDPA_REPORT_DROP;
    }
    place->reported++;
    return place->reported == VDPA_REPORT_BURST ? VDPA_REPORT_SAY_LAST
                                                : VDPA_REPORT_SAY;
}
