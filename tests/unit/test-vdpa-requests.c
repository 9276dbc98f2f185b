/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Requests through a ring, several at a time, against the fake device.
 *
 * Limits: the ring itself is tested in test-vdpa-shadow-*.c.
 */
#include <errno.h>
#include <glib.h>
#include <string.h>

#include "fake-vdpa.h"
#include "hw/virtio/vdpa/core/vdpa-requests.h"

#define NUM         16
#define LONGEST     64
#define REQUESTS    0x100000    /* where the device sees them */
#define ANSWERS     0x200000

typedef struct Setup {
    VdpaRingMemory memory;
    VdpaRingDevice *ring;
    FakeDevice device;
    uint8_t request[1024], answer[NUM];
    VdpaRequests *r;
} Setup;

static Setup *setup_new(size_t requests_size, size_t answers, uint16_t num)
{
    Setup *s = g_new0(Setup, 1);
    VdpaRequestMemory memory = {
        .requests = s->request, .requests_size = requests_size,
        .requests_iova = REQUESTS,
        .answers = s->answer, .answers_size = answers, .answers_iova = ANSWERS,
    };

    s->memory = (VdpaRingMemory) {
        .driver = fake_pages(vdpa_ring_driver_area_size(num)),
        .device = fake_pages(vdpa_ring_device_area_size(num)),
    };
    s->ring = vdpa_ring_device_new(num, &s->memory, false, NULL, NULL);
    fake_device_on_shadow(&s->device, &s->memory, num, false);
    s->r = vdpa_requests_new(s->ring, &memory, LONGEST);
    return s;
}

static void setup_free(Setup *s)
{
    vdpa_requests_free(s->r);
    vdpa_ring_device_free(s->ring);
    free(s->memory.driver);
    free(s->memory.device);
    g_free(s);
}

static int add(Setup *s, uint8_t name, size_t bytes)
{
    uint8_t request[LONGEST + 1];

    memset(request, name, sizeof(request));
    return vdpa_requests_add(s->r, request, bytes);
}

/* The device takes one, checks what it sees, and returns its head. */
static int take(Setup *s, uint8_t name, size_t bytes, uint64_t *answer)
{
    FakeSegment segment[FAKE_SEGMENTS_MAX];
    unsigned n = 0;
    int head = fake_device_take(&s->device, segment, &n);
    const uint8_t *at;

    if (head < 0) {
        return head;
    }
    g_assert_cmpuint(n, ==, 2);
    g_assert_false(segment[0].writes);
    g_assert_true(segment[1].writes);
    g_assert_cmpuint(segment[0].len, ==, bytes);
    g_assert_cmpuint(segment[1].len, ==, 1);
    g_assert_cmpuint(segment[0].addr, >=, REQUESTS);
    g_assert_cmpuint(segment[0].addr + bytes, <=, REQUESTS + sizeof(s->request));
    at = s->request + (segment[0].addr - REQUESTS);
    for (size_t i = 0; i < bytes; i++) {
        g_assert_cmpuint(at[i], ==, name);
    }
    *answer = segment[1].addr - ANSWERS;
    return head;
}

static void test_order(void)
{
    Setup *s = setup_new(sizeof(((Setup *)0)->request), NUM, NUM);
    uint64_t answer[NUM / 2];
    int head[NUM / 2];
    VdpaRequestDone done;

    for (int i = 0; i < NUM / 2; i++) {
        g_assert_cmpint(add(s, i, i + 1), ==, 0);
        g_assert_cmpuint(vdpa_requests_pending(s->r), ==, i + 1);
    }
    g_assert_cmpint(add(s, 99, 1), ==, -EAGAIN);
    g_assert_cmpint(fake_device_take(&s->device, NULL, NULL), <, 0);
    g_assert_true(vdpa_requests_publish(s->r));
    g_assert_cmpint(vdpa_requests_get(s->r, &done), ==, 0);
    for (int i = 0; i < NUM / 2; i++) {
        head[i] = take(s, i, i + 1, &answer[i]);
        g_assert_cmpint(head[i], >=, 0);
        for (int j = 0; j < i; j++) {
            g_assert_cmpuint(answer[i], !=, answer[j]);
        }
    }
    /* answered from the last to the first */
    for (int i = NUM / 2 - 1; i >= 0; i--) {
        s->answer[answer[i]] = 100 + i;
        fake_device_return(&s->device, head[i], 1);
        g_assert_cmpint(vdpa_requests_get(s->r, &done), ==, 1);
        g_assert_cmpuint(done.bytes, ==, i + 1);
        g_assert_cmpuint(done.request[0], ==, i);
        g_assert_cmpuint(done.request[i], ==, i);
        g_assert_cmpint(done.answer, ==, 100 + i);
        g_assert_cmpuint(vdpa_requests_pending(s->r), ==, i);
    }
    g_assert_cmpint(vdpa_requests_get(s->r, &done), ==, 0);
    setup_free(s);
}

/* The number of slots is the least of what three things allow. */
static void test_slots(void)
{
    static const struct {
        size_t requests, answers;
        uint16_t num;
        unsigned slots;
    } cases[] = {
        { 1024, NUM, NUM, 8 },
        { 3 * LONGEST, NUM, NUM, 3 },
        { 4 * LONGEST - 1, NUM, NUM, 3 },
        { 1024, 5, NUM, 5 },
        { 1024, NUM, 2, 1 },
        { 1024, NUM, 1, 0 },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        Setup *s = setup_new(cases[i].requests, cases[i].answers, cases[i].num);
        unsigned slots = 0;

        while (!add(s, slots, LONGEST)) {
            slots++;
        }
        g_assert_cmpuint(slots, ==, cases[i].slots);
        setup_free(s);
    }
}

static void test_again(void)
{
    Setup *s = setup_new(2 * LONGEST, 2, NUM);
    VdpaRequestDone done;

    for (int round = 0; round < 100; round++) {
        uint64_t answer;
        int head;

        while (!add(s, round, 1 + round % LONGEST)) {
        }
        vdpa_requests_publish(s->r);
        while (vdpa_requests_pending(s->r)) {
            head = take(s, round, 1 + round % LONGEST, &answer);
            s->answer[answer] = round;
            fake_device_return(&s->device, head, 1);
            g_assert_cmpint(vdpa_requests_get(s->r, &done), ==, 1);
            g_assert_cmpint(done.answer, ==, round);
        }
    }
    setup_free(s);
}

static void test_odd(void)
{
    Setup *s = setup_new(1024, NUM, NUM);
    VdpaRequestDone done;
    uint64_t answer;
    int head;

    g_assert_cmpint(add(s, 1, 0), ==, -EINVAL);
    g_assert_cmpint(add(s, 1, LONGEST + 1), ==, -EINVAL);
    g_assert_cmpint(add(s, 1, LONGEST), ==, 0);
    g_assert_cmpuint(vdpa_requests_pending(s->r), ==, 1);

    /* no answer was written, whatever stands there */
    vdpa_requests_publish(s->r);
    head = take(s, 1, LONGEST, &answer);
    s->answer[answer] = 7;
    fake_device_return(&s->device, head, 0);
    g_assert_cmpint(vdpa_requests_get(s->r, &done), ==, 1);
    g_assert_cmpint(done.answer, ==, -1);
    g_assert_cmpuint(vdpa_requests_pending(s->r), ==, 0);

    /* it returns what it does not have: the ring is broken, for good */
    g_assert_cmpint(add(s, 2, 1), ==, 0);
    vdpa_requests_publish(s->r);
    fake_device_return(&s->device, NUM - 1, 1);
    g_assert_cmpint(vdpa_requests_get(s->r, &done), ==, -EPROTO);
    g_assert_cmpint(vdpa_requests_get(s->r, &done), ==, -EPROTO);
    g_assert_cmpint(add(s, 2, 1), ==, -EPROTO);
    g_assert_cmpuint(vdpa_requests_pending(s->r), ==, 1);
    setup_free(s);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/requests/order", test_order);
    g_test_add_func("/requests/slots", test_slots);
    g_test_add_func("/requests/again", test_again);
    g_test_add_func("/requests/odd", test_odd);
    return g_test_run();
}
