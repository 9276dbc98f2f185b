/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The life of a vDPA device, command by command, on a fake one.
 *
 * Every event is tried in every state against a table of its own, written from
 * the drawing in vdpa-status.h rather than from the code; then every command that
 * an event gives is made to fail.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <linux/virtio_config.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/qemu-live-uapi.h>

#include "fake-vhost-vdpa.h"
#include "hw/virtio/vdpa/core/vdpa-status.h"
#include "net/vhost-vdpa-probe.h"

#define NO  VDPA_STATE__MAX     /* illegal */

static const VdpaState drawing[VDPA_STATE__MAX][VDPA_EVENT__MAX] = {
    /*                        ack_driver set_features start suspend resume reset */
    [VDPA_STATE_RESET]     = { VDPA_STATE_DRIVER, NO, NO, NO, NO,
                               VDPA_STATE_RESET },
    [VDPA_STATE_DRIVER]     = { NO, VDPA_STATE_FEATURES_OK, NO, NO, NO,
                               VDPA_STATE_RESET },
    [VDPA_STATE_FEATURES_OK]    = { NO, NO, VDPA_STATE_DRIVER_OK, NO, NO,
                               VDPA_STATE_RESET },
    [VDPA_STATE_DRIVER_OK]   = { NO, NO, NO, VDPA_STATE_SUSPENDED, NO,
                               VDPA_STATE_RESET },
    [VDPA_STATE_SUSPENDED] = { NO, NO, NO, NO, VDPA_STATE_DRIVER_OK,
                               VDPA_STATE_RESET },
    [VDPA_STATE_NEEDS_RESET]    = { NO, NO, NO, NO, NO, VDPA_STATE_RESET },
    [VDPA_STATE_REMOVED]      = { NO, NO, NO, NO, NO, NO },
};

typedef struct Bench {
    FakeVdpa fake;
    VdpaFd fd;
    VdpaStatus status;
} Bench;

static void bench_init(Bench *b)
{
    fake_vdpa_init(&b->fake, &b->fd);
    vdpa_status_init(&b->status, &b->fd);
    g_assert_cmpint(vdpa_fd_agree(&b->fd, UINT64_MAX), ==, 0);
    b->status.features = b->fake.features;
}

/* Leads a fresh device to @state. */
static void bench_bring(Bench *b, VdpaState state)
{
    static const VdpaEvent way[] = {
        VDPA_EVENT_ACK_DRIVER, VDPA_EVENT_SET_FEATURES, VDPA_EVENT_START,
        VDPA_EVENT_SUSPEND,
    };

    bench_init(b);
    if (state == VDPA_STATE_NEEDS_RESET || state == VDPA_STATE_REMOVED) {
        b->fake.fail_request = VHOST_VDPA_SET_STATUS;
        b->fake.fail_errno = state == VDPA_STATE_REMOVED ? ENODEV : EIO;
        g_assert_cmpint(vdpa_status_event(&b->status, VDPA_EVENT_ACK_DRIVER), <, 0);
        b->fake.fail_request = 0;
    } else {
        for (unsigned i = 0; i < state; i++) {
            g_assert_cmpint(vdpa_status_event(&b->status, way[i]), ==, 0);
        }
    }
    g_assert_cmpint(b->status.state, ==, state);
}

static void test_drawing(void)
{
    for (int state = 0; state < VDPA_STATE__MAX; state++) {
        for (int event = 0; event < VDPA_EVENT__MAX; event++) {
            VdpaState next = drawing[state][event];
            unsigned before;
            Bench b;
            int err;

            bench_bring(&b, state);
            before = b.fake.logged;
            err = vdpa_status_event(&b.status, event);
            if (next == NO) {
                g_assert_cmpint(err, ==, state == VDPA_STATE_REMOVED ? -ENODEV
                                                                 : -EPERM);
                g_assert_cmpint(b.status.state, ==, state);
                g_assert_cmpuint(b.fake.logged, ==, before);
            } else {
                g_assert_cmpint(err, ==, 0);
                g_assert_cmpint(b.status.state, ==, next);
            }
            g_assert_cmpint(vdpa_status_may(&b.status, event), ==,
                            drawing[b.status.state][event] != NO);
        }
    }
}

static void test_status(void)
{
    static const uint8_t want[] = { 0, 3, 11, 15, 15 };
    Bench b;

    for (int state = 0; state <= VDPA_STATE_SUSPENDED; state++) {
        bench_bring(&b, state);
        g_assert_cmphex(b.fake.status, ==, want[state]);
        g_assert_cmpint(b.fake.suspended, ==, state == VDPA_STATE_SUSPENDED);
    }
    g_assert_cmphex(b.fake.driver_features, ==, b.fake.features);
}

/* A device that refuses a bit is broken, and a reset mends it. */
static void test_refusal(void)
{
    static const struct {
        uint8_t bit;
        VdpaState from;
        VdpaEvent event;
    } cases[] = {
        { VIRTIO_CONFIG_S_DRIVER, VDPA_STATE_RESET, VDPA_EVENT_ACK_DRIVER },
        { VIRTIO_CONFIG_S_FEATURES_OK, VDPA_STATE_DRIVER, VDPA_EVENT_SET_FEATURES },
        { VIRTIO_CONFIG_S_DRIVER_OK, VDPA_STATE_FEATURES_OK, VDPA_EVENT_START },
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        Bench b;

        bench_bring(&b, cases[i].from);
        b.fake.refused_status = cases[i].bit;
        g_assert_cmpint(vdpa_status_event(&b.status, cases[i].event), ==, -EPROTO);
        g_assert_cmpint(b.status.state, ==, VDPA_STATE_NEEDS_RESET);
        b.fake.refused_status = 0;
        g_assert_cmpint(vdpa_status_event(&b.status, VDPA_EVENT_RESET), ==, 0);
        g_assert_cmpint(b.status.state, ==, VDPA_STATE_RESET);
        g_assert_cmpuint(b.status.resets, ==, 1);
    }
}

/* A device that takes the bits and sets FAILED or NEEDS_RESET has broken. */
static void test_trouble(void)
{
    static const uint8_t bits[] = {
        VIRTIO_CONFIG_S_FAILED, VIRTIO_CONFIG_S_NEEDS_RESET,
    };
    static const VdpaEvent events[] = {
        VDPA_EVENT_ACK_DRIVER, VDPA_EVENT_SET_FEATURES, VDPA_EVENT_START,
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(bits) * G_N_ELEMENTS(events); i++) {
        VdpaEvent event = events[i / G_N_ELEMENTS(bits)];
        Bench b;

        bench_bring(&b, i / G_N_ELEMENTS(bits));
        b.fake.trouble = bits[i % G_N_ELEMENTS(bits)];
        g_assert_cmpint(vdpa_status_event(&b.status, event), ==, -EPROTO);
        g_assert_cmpint(b.status.state, ==, VDPA_STATE_NEEDS_RESET);
    }
}

/* The status is written and cannot be read back: nothing is known of it. */
static void test_read_back(void)
{
    Bench b;

    bench_bring(&b, VDPA_STATE_FEATURES_OK);
    b.fake.fail_request = VHOST_VDPA_GET_STATUS;
    b.fake.fail_errno = EIO;
    b.fake.fail_after = 1;
    g_assert_cmpint(vdpa_status_event(&b.status, VDPA_EVENT_START), ==, -EIO);
    g_assert_cmpint(b.status.state, ==, VDPA_STATE_NEEDS_RESET);
}

/* What a failed command leaves behind. */
static void test_failure(void)
{
    static const struct {
        unsigned long request;
        VdpaState from, after;
        VdpaEvent event;
    } cases[] = {
        { VHOST_VDPA_GET_STATUS, VDPA_STATE_RESET, VDPA_STATE_NEEDS_RESET,
          VDPA_EVENT_ACK_DRIVER },
        { VHOST_SET_FEATURES, VDPA_STATE_DRIVER, VDPA_STATE_NEEDS_RESET,
          VDPA_EVENT_SET_FEATURES },
        { VHOST_VDPA_SET_STATUS, VDPA_STATE_FEATURES_OK, VDPA_STATE_NEEDS_RESET,
          VDPA_EVENT_START },
        { VHOST_VDPA_SUSPEND, VDPA_STATE_DRIVER_OK, VDPA_STATE_DRIVER_OK,
          VDPA_EVENT_SUSPEND },
        { VHOST_VDPA_RESUME, VDPA_STATE_SUSPENDED, VDPA_STATE_NEEDS_RESET,
          VDPA_EVENT_RESUME },
        { VHOST_VDPA_SET_STATUS, VDPA_STATE_DRIVER_OK, VDPA_STATE_NEEDS_RESET,
          VDPA_EVENT_RESET },
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        Bench b;

        bench_bring(&b, cases[i].from);
        b.fake.fail_request = cases[i].request;
        b.fake.fail_errno = EIO;
        g_assert_cmpint(vdpa_status_event(&b.status, cases[i].event), ==, -EIO);
        g_assert_cmpint(b.status.state, ==, cases[i].after);
        b.fake.fail_errno = ENXIO;
        bench_bring(&b, cases[i].from);
        b.fake.fail_request = cases[i].request;
        b.fake.fail_errno = ENXIO;
        g_assert_cmpint(vdpa_status_event(&b.status, cases[i].event), ==, -ENODEV);
        g_assert_cmpint(b.status.state, ==, VDPA_STATE_REMOVED);
    }
}

/* --- commands ----------------------------------------------------------- */

static void test_agree(void)
{
    static const struct {
        uint64_t offered, wanted, agreed;
    } cases[] = {
        { 0x1fe, 0x1fe, 0x1fe },
        { 0x1fe, 0x06, 0x06 },
        { 0x20, 0x1fe, 0 },             /* RESUME without SUSPEND */
        { 0x08, 0x1fe, 0 },             /* ASID without messages of version 2 */
        { 0x82, 0x1fe, 0x02 },          /* DESC_ASID without ASID */
        { 0x0a, 0x1fe, 0x0a },
        { 0, 0x1fe, 0 },
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        FakeVdpa fake;
        VdpaFd d;

        fake_vdpa_init(&fake, &d);
        fake.backend = cases[i].offered;
        g_assert_cmpint(vdpa_fd_agree(&d, cases[i].wanted), ==, 0);
        g_assert_cmphex(d.backend, ==, cases[i].agreed);
        g_assert_cmphex(fake.agreed, ==, cases[i].agreed);
        fake.fail_request = VHOST_SET_BACKEND_FEATURES;
        fake.fail_errno = EIO;
        g_assert_cmpint(vdpa_fd_agree(&d, cases[i].wanted), ==, -EIO);
        g_assert_cmphex(d.backend, ==, 0);
    }
}

static void test_commands(void)
{
    unsigned number = 5;
    uint64_t features;
    FakeVdpa fake;
    VdpaFd d;

    fake_vdpa_init(&fake, &d);
    /* not agreed on: not even tried */
    g_assert_cmpint(vdpa_fd_command(&d, VDPA_SUSPEND, NULL), ==, -ENOTSUP);
    g_assert_cmpuint(fake.logged, ==, 0);
    /* unknown to the kernel */
    g_assert_cmpint(vdpa_fd_queue_get(&d, VDPA_GET_QUEUE_BASE, 0, &number), ==,
                    -ENOTSUP);
    g_assert_cmpuint(number, ==, 0);
    /* interrupted: tried again, counted once */
    fake.interrupted = 3;
    g_assert_cmpint(vdpa_fd_command(&d, VDPA_GET_FEATURES, &features), ==, 0);
    g_assert_cmpuint(d.commands[VDPA_GET_FEATURES], ==, 1);
    g_assert_false(vdpa_fd_wanted(&d));
    g_assert_false(d.gone);
    for (int i = 0; i < VDPA_COMMAND__MAX; i++) {
        g_assert_nonnull(vdpa_fd_name(i));
    }
}

static void test_messages(void)
{
    struct vhost_msg_v2 msg = { .type = VHOST_IOTLB_MSG_V2 };
    FakeVdpa fake;
    VdpaFd d;

    fake_vdpa_init(&fake, &d);
    fake.interrupted = 3;
    g_assert_cmpint(vdpa_fd_message(&d, &msg), ==, 0);
    g_assert_cmpuint(fake.messages, ==, 1);
    fake.fail_request = VHOST_IOTLB_MSG_V2;
    g_assert_cmpint(vdpa_fd_message(&d, &msg), ==, -EIO);   /* a short write */
    fake.fail_errno = EFAULT;
    g_assert_cmpint(vdpa_fd_message(&d, &msg), ==, -EFAULT);
    g_assert_false(d.gone);
    fake.fail_errno = ENODEV;
    g_assert_cmpint(vdpa_fd_message(&d, &msg), ==, -ENODEV);
    g_assert_true(d.gone);
}

/*
 * Where sysfs says that the device was made by vduse. /dev/null stands in for
 * the device: what counts is the number of the file.
 */
static void test_process(void)
{
    static const struct {
        const char *subsystem;
        bool process;
    } cases[] = {
        { "../../../../class/vduse", true },
        { "vduse", true },
        { "../../../../bus/pci", false },
        { "../../../../class/not-vduse", false },
        { NULL, false },
    };
    int fd = open("/dev/null", O_RDWR);

    g_assert_cmpint(fd, >=, 0);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *top = g_dir_make_tmp(NULL, NULL);
        g_autofree char *made = g_strdup_printf(
            "mkdir -p %s/devices/x/sim0/vhost-vdpa-0 %s/dev/char && "
            "ln -s ../../devices/x/sim0/vhost-vdpa-0 %s/dev/char/1:3 && "
            "ln -s %s %s/devices/x/%s", top, top, top,
            cases[i].subsystem ?: "nothing", top,
            cases[i].subsystem ? "subsystem" : "other");
        g_autofree char *gone = g_strdup_printf("rm -r %s", top);

        g_assert_cmpint(system(made), ==, 0);
        g_assert_cmpint(vdpa_fd_is_process(fd, top), ==, cases[i].process);
        g_assert_false(vdpa_fd_is_process(-1, top));
        g_assert_cmpint(system(gone), ==, 0);
    }
    g_assert_false(vdpa_fd_is_process(fd, "/nonexistent"));
    close(fd);
}

/* --- what a device is --------------------------------------------------- */

static void expect(FakeVdpa *fake, VdpaFd *d, const char *text)
{
    VdpaProbe found;
    g_autofree char *why = vdpa_probe(d, &found);

    if (!text) {
        g_assert_cmpstr(why, ==, NULL);
    } else {
        g_assert_nonnull(why);
        if (!strstr(why, text)) {
            g_error("'%s' does not say '%s'", why, text);
        }
    }
}

static void test_probe(void)
{
    VdpaProbe found;
    FakeVdpa fake;
    VdpaFd d;

    fake_vdpa_init(&fake, &d);
    g_assert_cmpstr(vdpa_probe(&d, &found), ==, NULL);
    g_assert_cmpuint(found.queue_pairs, ==, 4);
    g_assert_true(found.control);
    g_assert_cmphex(found.last, ==, UINT64_MAX);
    g_assert_cmpuint(fake_vdpa_count(&fake, VHOST_VDPA_SET_STATUS), ==, 0);

    fake.id = 2;
    expect(&fake, &d, "no network device");
    fake_vdpa_init(&fake, &d);
    fake.fail_request = VHOST_VDPA_GET_DEVICE_ID;
    fake.fail_errno = ENOTTY;
    expect(&fake, &d, "no vhost-vdpa");
    fake_vdpa_init(&fake, &d);
    fake.features &= ~(1ull << VIRTIO_F_VERSION_1);
    expect(&fake, &d, "VIRTIO_F_VERSION_1");
    fake_vdpa_init(&fake, &d);
    fake.first = fake.last = 0;
    expect(&fake, &d, "range of addresses");
    fake_vdpa_init(&fake, &d);
    fake.pairs = 0;
    expect(&fake, &d, "0 queue pairs");
    fake_vdpa_init(&fake, &d);
    fake.fail_request = VHOST_VDPA_GET_CONFIG;
    fake.fail_errno = EIO;
    expect(&fake, &d, "configuration");
    fake_vdpa_init(&fake, &d);
    fake.features = 1ull << VIRTIO_F_VERSION_1;
    g_assert_cmpstr(vdpa_probe(&d, &found), ==, NULL);
    g_assert_cmpuint(found.queue_pairs, ==, 1);
    g_assert_false(found.control);
}

static void test_options(void)
{
    const char *set = "/dev/fdset/1", *device = "/dev/vhost-vdpa-0";

    g_assert_nonnull(vdpa_options_fault(NULL, NULL));
    g_assert_nonnull(vdpa_options_fault("/dev/x", "7"));
    g_assert_null(vdpa_options_fault("/dev/x", NULL));
    g_assert_null(vdpa_options_fault(NULL, "7"));
    g_assert_nonnull(strstr(vdpa_open_advice(device, EBUSY), "in use"));
    g_assert_nonnull(strstr(vdpa_open_advice(device, ENOENT), "vhost_vdpa"));
    g_assert_null(vdpa_open_advice(device, EIO));
    g_assert_nonnull(strstr(vdpa_open_advice(set, ENOENT), "no set"));
    g_assert_nonnull(strstr(vdpa_open_advice(set, EACCES), "writing"));
    g_assert_null(vdpa_open_advice(set, EBUSY));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/vdpa/life/drawing", test_drawing);
    g_test_add_func("/vdpa/life/status", test_status);
    g_test_add_func("/vdpa/life/refusal", test_refusal);
    g_test_add_func("/vdpa/life/trouble", test_trouble);
    g_test_add_func("/vdpa/life/read-back", test_read_back);
    g_test_add_func("/vdpa/life/failure", test_failure);
    g_test_add_func("/vdpa/fd/set_features", test_agree);
    g_test_add_func("/vdpa/fd/commands", test_commands);
    g_test_add_func("/vdpa/fd/messages", test_messages);
    g_test_add_func("/vdpa/fd/process", test_process);
    g_test_add_func("/vdpa/probe", test_probe);
    g_test_add_func("/vdpa/options", test_options);
    return g_test_run();
}
