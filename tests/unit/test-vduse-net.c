/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The lab's network device in user space (tests/lab/vduse), without a kernel.
 *
 * The test is the driver. Memory is given to the device in segments of a page, so whatever is longer
 * lies across maps. What a driver can get wrong is a table: each entry spoils one thing of a sound
 * ring and names the words of the fault.
 *
 * Limits: one thread; what the kernel's messages do is for the lab (scenario vduse).
 */
#include <glib.h>
#include <linux/virtio_ring.h>
#include <string.h>

#include "net.h"

#define PAGE    4096
#define PAGES   64
#define BASE    0x7fff00000000ull
#define NUM     8

/* Pages: three for each ring, then indirect tables, then a buffer each. */
#define RING_PAGES  (3 * NET_QUEUES)
#define TABLE_PAGE  RING_PAGES
#define FIRST_BUFFER (TABLE_PAGE + 1)

typedef struct Bench {
    uint8_t *page[PAGES];           /* each an allocation of its own */
    bool readonly[PAGES];
    struct ring_memory memory;
    struct net net;
    struct ring_layout layout[NET_QUEUES];
    uint16_t avail[NET_QUEUES], used[NET_QUEUES];
} Bench;

static void *at(void *opaque, uint64_t iova, uint64_t *len, bool write)
{
    Bench *b = opaque;
    uint64_t offset = iova - BASE, number = offset / PAGE;

    if (iova < BASE || number >= PAGES || !b->page[number] || (write && b->readonly[number])) {
        return NULL;
    }
    *len = MIN(*len, PAGE - offset % PAGE);
    return b->page[number] + offset % PAGE;
}

static uint64_t iova_of(unsigned page)
{
    return BASE + (uint64_t)page * PAGE;
}

static struct vring_desc *descriptors(Bench *b, int queue)
{
    return (struct vring_desc *)b->page[3 * queue];
}

static uint16_t *avail_words(Bench *b, int queue)
{
    return (uint16_t *)b->page[3 * queue + 1];
}

static uint16_t *used_words(Bench *b, int queue)
{
    return (uint16_t *)b->page[3 * queue + 2];
}

static Bench *bench_new(uint16_t from, bool event_idx, bool indirect)
{
    Bench *b = g_new0(Bench, 1);

    b->memory = (struct ring_memory) { at, b };
    for (int i = 0; i < PAGES; i++) {
        b->page[i] = g_malloc0(PAGE);
    }
    memcpy(b->net.mac, "\x52\x54\0\0\0\x01", 6);
    for (int q = 0; q < NET_QUEUES; q++) {
        b->layout[q] = (struct ring_layout) {
            iova_of(3 * q), iova_of(3 * q + 1), iova_of(3 * q + 2), NUM, event_idx, indirect,
        };
        b->avail[q] = b->used[q] = from;
        avail_words(b, q)[1] = used_words(b, q)[1] = from;
        g_assert_cmpint(ring_start(&b->net.ring[q], &b->memory, &b->layout[q], from), ==, 0);
    }
    return b;
}

static void bench_free(Bench *b)
{
    for (int i = 0; i < PAGES; i++) {
        g_free(b->page[i]);
    }
    g_free(b);
}

static void offer(Bench *b, int queue, uint16_t head)
{
    uint16_t *words = avail_words(b, queue);

    words[2 + b->avail[queue] % NUM] = head;
    words[1] = ++b->avail[queue];
}

/* A chain of one segment. */
static void offer_segment(Bench *b, int queue, uint16_t head, uint64_t iova, uint32_t len)
{
    descriptors(b, queue)[head] = (struct vring_desc) {
        iova, len, queue == NET_RX ? VRING_DESC_F_WRITE : 0, 0,
    };
    offer(b, queue, head);
}

static unsigned fill(Bench *b, unsigned page, unsigned len, uint8_t mark)
{
    for (unsigned i = 0; i < len; i++) {
        b->page[page + i / PAGE][i % PAGE] = i < NET_HEADER ? 0xee : mark + i;
    }
    memset(b->page[page] + NET_HEADER, 0xff, 6);
    return len;
}

static void check(Bench *b, unsigned page, unsigned len, uint8_t mark)
{
    for (unsigned i = NET_HEADER + 6; i < len; i++) {
        g_assert_cmpuint(b->page[page + i / PAGE][i % PAGE], ==, (uint8_t)(mark + i));
    }
    g_assert_cmpuint(b->page[page][NET_HEADER - 2], ==, 1);
    g_assert_cmpuint(b->page[page][0], ==, 0);
}

/* The next used entry; its length. */
static uint32_t take(Bench *b, int queue, uint32_t head)
{
    uint32_t *entry = (uint32_t *)(used_words(b, queue) + 2) + 2 * (b->used[queue] % NUM);

    g_assert_cmpuint(used_words(b, queue)[1], !=, b->used[queue]);
    g_assert_cmpuint(entry[0], ==, head);
    b->used[queue]++;
    return entry[1];
}

static void test_loop(void)
{
    for (int how = 0; how < 4; how++) {
        Bench *b = bench_new(65530, how & 1, how & 2);

        for (unsigned i = 0; i < 40; i++) {
            unsigned head = i % NUM, len = 100 + 97 * i;

            if (how & 2) {      /* the table ends beyond its page */
                uint64_t table = iova_of(TABLE_PAGE + 1) - 16;
                struct vring_desc first = { iova_of(20), NET_HEADER, VRING_DESC_F_NEXT, 1 };
                struct vring_desc second = { iova_of(20) + NET_HEADER, len - NET_HEADER, 0, 0 };

                memcpy(b->page[TABLE_PAGE] + PAGE - 16, &first, 16);
                memcpy(b->page[TABLE_PAGE + 1], &second, 16);
                descriptors(b, NET_TX)[head] = (struct vring_desc) {
                    table, 32, VRING_DESC_F_INDIRECT, 0,
                };
                offer(b, NET_TX, head);
            } else {
                offer_segment(b, NET_TX, head, iova_of(20), len);
            }
            fill(b, 20, len, i);
            offer_segment(b, NET_RX, head, iova_of(40), 9000);
            avail_words(b, NET_RX)[2 + NUM] = b->used[NET_RX];      /* used_event */
            avail_words(b, NET_TX)[2 + NUM] = b->used[NET_TX] + 1;
            g_assert_cmpint(net_move(&b->net, 10), ==,
                            how & 1 ? NET_CALL << NET_RX
                                    : NET_CALL << NET_RX | NET_CALL << NET_TX);
            g_assert_cmpuint(take(b, NET_RX, head), ==, len);
            g_assert_cmpuint(take(b, NET_TX, head), ==, 0);
            check(b, 40, len, i);
            if (how & 1) {      /* asked for a kick at the next one */
                g_assert_cmpuint(used_words(b, NET_TX)[2 + 4 * NUM], ==, b->avail[NET_TX]);
            }
        }
        g_assert_cmpuint(b->net.looped, ==, 40);
        bench_free(b);
    }
}

static void test_dropped(void)
{
    Bench *b = bench_new(0, false, false);

    offer_segment(b, NET_TX, 0, iova_of(20), fill(b, 20, 200, 0));
    g_assert_cmpint(net_move(&b->net, 10), ==, NET_CALL << NET_TX);
    g_assert_cmpuint(b->net.dropped, ==, 1);
    offer_segment(b, NET_RX, 0, iova_of(40), 199);
    offer_segment(b, NET_TX, 0, iova_of(20), 200);
    g_assert_cmpint(net_move(&b->net, 10), ==, NET_CALL << NET_TX);
    g_assert_cmpuint(b->net.dropped, ==, 2);
    offer_segment(b, NET_TX, 0, iova_of(20), 199);        /* the buffer is still there */
    g_assert_cmpint(net_move(&b->net, 10), >, 0);
    g_assert_cmpuint(take(b, NET_RX, 0), ==, 199);
    b->page[20][NET_HEADER] = 0x52;                     /* another NIC's */
    offer_segment(b, NET_RX, 1, iova_of(40), 4096);
    offer_segment(b, NET_TX, 0, iova_of(20), 199);
    offer_segment(b, NET_TX, 1, iova_of(20), 17);         /* no address in it */
    g_assert_cmpint(net_move(&b->net, 10), >, 0);
    g_assert_cmpuint(b->net.gone, ==, 2);
    g_assert_cmpuint(b->net.dropped, ==, 2);
    bench_free(b);
}

static void test_budget(void)
{
    Bench *b = bench_new(0, true, false);

    for (int i = 0; i < 5; i++) {
        offer_segment(b, NET_RX, i, iova_of(40 + i), 4096);
        offer_segment(b, NET_TX, i, iova_of(20), fill(b, 20, 100, 0));
    }
    g_assert_cmpint(net_move(&b->net, 3) & NET_MORE, ==, NET_MORE);
    g_assert_cmpuint(b->net.looped, ==, 3);
    g_assert_cmpint(net_move(&b->net, 3) & NET_MORE, ==, 0);
    g_assert_cmpuint(b->net.looped, ==, 5);
    bench_free(b);
}

/* --- malformed rings --------------------------------------------------- */

static void spoil_index(Bench *b)
{
    avail_words(b, NET_TX)[1] = NUM + 1;
}

static void spoil_head(Bench *b)
{
    offer(b, NET_TX, NUM);
}

static void spoil_loop(Bench *b)
{
    offer_segment(b, NET_TX, 0, iova_of(20), 100);
    descriptors(b, NET_TX)[0].flags = VRING_DESC_F_NEXT;
}

static void spoil_next(Bench *b)
{
    offer_segment(b, NET_TX, 0, iova_of(20), 100);
    descriptors(b, NET_TX)[0].flags = VRING_DESC_F_NEXT;
    descriptors(b, NET_TX)[0].next = 0xffff;
}

static void spoil_address(Bench *b)
{
    offer_segment(b, NET_TX, 0, iova_of(PAGES) - 10, 100);
}

static void spoil_length(Bench *b)
{
    offer_segment(b, NET_TX, 0, iova_of(PAGES - 1), UINT32_MAX);
}

static void spoil_wrap(Bench *b)
{
    offer_segment(b, NET_TX, 0, UINT64_MAX - 5, 100);
}

static void spoil_order(Bench *b)
{
    offer_segment(b, NET_TX, 0, iova_of(20), 100);
    descriptors(b, NET_TX)[0].flags = VRING_DESC_F_NEXT | VRING_DESC_F_WRITE;
    descriptors(b, NET_TX)[0].next = 1;
    descriptors(b, NET_TX)[1] = (struct vring_desc) { iova_of(21), 100, 0, 0 };
}

static void spoil_indirect(Bench *b)
{
    offer_segment(b, NET_TX, 0, iova_of(20), 24);
    descriptors(b, NET_TX)[0].flags = VRING_DESC_F_INDIRECT;
}

static void spoil_nested(Bench *b)
{
    spoil_indirect(b);
    descriptors(b, NET_TX)[0].len = 16;
    *(struct vring_desc *)b->page[20] = (struct vring_desc) {
        iova_of(20), 16, VRING_DESC_F_INDIRECT, 0,
    };
}

static void spoil_segments(Bench *b)
{
    struct vring_desc *table = (struct vring_desc *)b->page[21];

    for (int i = 0; i < 256; i++) {
        table[i] = (struct vring_desc) { iova_of(20), 5 * PAGE, VRING_DESC_F_NEXT, i + 1 };
    }
    offer_segment(b, NET_TX, 0, iova_of(21), PAGE);
    descriptors(b, NET_TX)[0].flags = VRING_DESC_F_INDIRECT;
}

static void spoil_readonly(Bench *b)
{
    fill(b, 20, 100, 0);
    offer_segment(b, NET_TX, 0, iova_of(20), 100);
    offer_segment(b, NET_RX, 0, iova_of(40), 100);
    b->readonly[40] = true;
}

static void spoil_ring(Bench *b)
{
    fill(b, 20, 100, 0);
    offer_segment(b, NET_TX, 0, iova_of(20), 100);
    b->readonly[3 * NET_TX + 2] = true;
}

static void test_malformed(void)
{
    static const struct {
        void (*spoil)(Bench *b);
        const char *words;
    } cases[] = {
        { spoil_index, "available index 9 after 0" },
        { spoil_head, "descriptor 8 of 8" },
        { spoil_loop, "loop" },
        { spoil_next, "descriptor 65535 of 8" },
        { spoil_address, "not mapped for the device to read" },
        { spoil_length, "not mapped for the device to read" },
        { spoil_wrap, "not mapped for the device to read" },
        { spoil_order, "to read after one to write" },
        { spoil_indirect, "indirect table of 24 bytes" },
        { spoil_nested, "indirect table of 16 bytes" },
        { spoil_segments, "more than 1024 segments" },
        { spoil_readonly, "not mapped for the device to write" },
        { spoil_ring, "not mapped for the device to write" },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        Bench *b = bench_new(0, false, true);
        const char *fault;

        cases[i].spoil(b);
        g_assert_cmpint(net_move(&b->net, 10), ==, -1);
        fault = b->net.ring[NET_TX].fault[0] ? b->net.ring[NET_TX].fault
                                             : b->net.ring[NET_RX].fault;
        if (!strstr(fault, cases[i].words)) {
            g_error("case %zu: '%s' does not say '%s'", i, fault, cases[i].words);
        }
        g_assert_cmpint(net_move(&b->net, 10), ==, -1);     /* and stays so */
        bench_free(b);
    }
}

static void test_start(void)
{
    Bench *b = bench_new(5, false, false);
    struct ring *r = &b->net.ring[NET_TX];
    struct ring_layout odd = b->layout[NET_TX];

    g_assert_cmpint(ring_start(r, &b->memory, &b->layout[NET_TX], 6), ==, -1);
    g_assert_nonnull(strstr(r->fault, "says 6, the used index is 5"));
    odd.num = 6;
    g_assert_cmpint(ring_start(r, &b->memory, &odd, 5), ==, -1);
    odd = b->layout[NET_TX];
    odd.used += 2;
    g_assert_cmpint(ring_start(r, &b->memory, &odd, 5), ==, -1);
    odd.used = iova_of(PAGES);
    g_assert_cmpint(ring_start(r, &b->memory, &odd, 5), ==, -1);
    g_assert_nonnull(strstr(r->fault, "not mapped"));
    g_assert_cmpint(ring_start(r, &b->memory, &b->layout[NET_TX], 5), ==, 0);
    ring_stop(r);
    g_assert_cmpint(ring_wait(r), ==, -1);
    bench_free(b);
}

/* What is made available between the last look and the wish for a kick is seen. */
static void test_wait(void)
{
    for (int event_idx = 0; event_idx < 2; event_idx++) {
        Bench *b = bench_new(0, event_idx, false);

        g_assert_cmpint(ring_wait(&b->net.ring[NET_TX]), ==, 0);
        offer_segment(b, NET_TX, 0, iova_of(20), 100);
        g_assert_cmpint(ring_wait(&b->net.ring[NET_TX]), ==, 1);
        bench_free(b);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/vduse/loop", test_loop);
    g_test_add_func("/vduse/dropped", test_dropped);
    g_test_add_func("/vduse/budget", test_budget);
    g_test_add_func("/vduse/malformed", test_malformed);
    g_test_add_func("/vduse/start", test_start);
    g_test_add_func("/vduse/wait", test_wait);
    return g_test_run();
}
