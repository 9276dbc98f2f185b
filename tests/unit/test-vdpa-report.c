/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * How many messages of one place are reported (hw/virtio/vdpa/core/vdpa-report.h).
 */
#include "hw/virtio/vdpa/core/vdpa-report.h"
#include "named-tests.h"

#define START   123456

static unsigned reported(VdpaReportPlace *place, int64_t now_ms, unsigned n)
{
    unsigned said = 0;

    while (n--) {
        said += vdpa_report_take(place, now_ms) != VDPA_REPORT_DROP;
    }
    return said;
}

static void test_burst(void)
{
    VdpaReportPlace place = { 0 };

    for (unsigned i = 1; i < VDPA_REPORT_BURST; i++) {
        g_assert_cmpint(vdpa_report_take(&place, START), ==, VDPA_REPORT_SAY);
    }
    g_assert_cmpint(vdpa_report_take(&place, START), ==, VDPA_REPORT_SAY_LAST);
    g_assert_cmpuint(reported(&place, START, 1000), ==, 0);
}

static void test_period(void)
{
    VdpaReportPlace place = { 0 };
    int64_t end = START + VDPA_REPORT_PERIOD_MS;

    g_assert_cmpuint(reported(&place, START, 3), ==, 3);
    g_assert_cmpuint(reported(&place, end - 1, 10), ==, VDPA_REPORT_BURST - 3);
    g_assert_cmpuint(reported(&place, end, 10), ==, VDPA_REPORT_BURST);
    g_assert_cmpuint(reported(&place, end + VDPA_REPORT_PERIOD_MS - 1, 10), ==, 0);
}

/* The clock begins at 0: the first message begins the period, not the clock. */
static void test_first_message(void)
{
    VdpaReportPlace place = { 0 };

    g_assert_cmpuint(reported(&place, 1000, 3), ==, 3);
    g_assert_cmpuint(reported(&place, VDPA_REPORT_PERIOD_MS + 500, 10), ==,
                     VDPA_REPORT_BURST - 3);
}

static void test_places(void)
{
    VdpaReportPlace one = { 0 }, other = { 0 };

    g_assert_cmpuint(reported(&one, 0, 100), ==, VDPA_REPORT_BURST);
    g_assert_cmpuint(reported(&other, 0, 100), ==, VDPA_REPORT_BURST);
}

static const NamedTest tests[] = {
    { "burst", test_burst },
    { "period", test_period },
    { "first-message", test_first_message },
    { "places", test_places },
};

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    named_tests_add("vdpa-report", tests, G_N_ELEMENTS(tests));
    return g_test_run();
}
