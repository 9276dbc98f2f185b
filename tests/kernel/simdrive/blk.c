// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Requests to a simulated disk, from a process: a table of good and bad ones, random traffic against
 * a copy of the disk in memory with the device suspended now and then, and a rate.
 *
 *	simdrive-blk DEVICE cases
 *	simdrive-blk DEVICE random REQUESTS ROUNDS
 *	simdrive-blk DEVICE rate SECONDS
 *
 * Limits: one queue; one request at a time, except in `rate`.
 */
#include "drive.h"

#include <errno.h>
#include <linux/virtio_blk.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#define SECTOR 512
#define AREA 2048           /* sectors that random traffic keeps to */
#define MOST 64             /* sectors of one request */
#define BIT(name) (1ULL << VIRTIO_BLK_F_##name)

static struct drive drive;
static struct ring *ring;
static uint64_t sectors;
static struct virtio_blk_outhdr *head;
static uint8_t *data;
static uint8_t *status;

static void begin(const char *path)
{
    struct virtio_blk_config config;

    drive_open(&drive, path, 8 << 20);
    drive_negotiate(&drive, BIT(FLUSH) | BIT(DISCARD) | BIT(WRITE_ZEROES) | BIT(BLK_SIZE));
    drive_config(&drive, &config, sizeof(config));
    sectors = config.capacity;
    drive_map(&drive, 0);
    ring_set_up(&drive, 0, 256);
    ring = &drive.rings[0];
    head = drive_alloc(&drive, sizeof(*head), 64);
    data = drive_alloc(&drive, MOST * SECTOR, 4096);
    status = drive_alloc(&drive, 1, 64);
    drive_start(&drive);
}

/* The status that the device writes; 0xee if it wrote none. */
static uint8_t request(uint32_t type, uint64_t sector, uint32_t out, uint32_t in)
{
    struct segment segments[4];
    unsigned count = 0;
    uint16_t id;
    uint32_t len;

    *head = (struct virtio_blk_outhdr) { .type = type, .sector = sector };
    *status = 0xee;
    segments[count++] = (struct segment) { head, sizeof(*head), false };
    if (out > 7)            /* in two segments: boundaries mean nothing */
        segments[count++] = (struct segment) { data, 7, false };
    if (out)
        segments[count++] = (struct segment) { out > 7 ? data + 7 : data, out > 7 ? out - 7 : out, false };
    if (in)
        segments[count++] = (struct segment) { data, in, true };
    segments[count++] = (struct segment) { status, 1, true };
    ring_post(ring, 0, segments, count);
    ring_kick(ring);
    if (!ring_wait(ring, &id, &len, 20))
        fail("request %u: no answer in 20 s", type);
    return *status;
}

static uint8_t ranges(uint32_t type, uint64_t sector, uint32_t count, uint32_t flags, uint32_t out)
{
    struct virtio_blk_discard_write_zeroes range = { sector, count, flags };
    unsigned i;

    for (i = 0; i < MOST * SECTOR / sizeof(range); i++)
        memcpy(data + i * sizeof(range), &range, sizeof(range));
    return request(type, 0, out, 0);
}

#define OK VIRTIO_BLK_S_OK
#define IOERR VIRTIO_BLK_S_IOERR
#define UNSUPP VIRTIO_BLK_S_UNSUPP
#define END (1ULL << 63)    /* stands for the number of sectors */

static const struct {
    const char *what;
    uint32_t type;
    uint64_t sector;
    uint32_t out;
    uint32_t in;
    uint8_t status;
} plain[] = {
    { "write", VIRTIO_BLK_T_OUT, 0, 4 * SECTOR, 0, OK },
    { "read", VIRTIO_BLK_T_IN, 0, 0, 4 * SECTOR, OK },
    { "write the last sector", VIRTIO_BLK_T_OUT, END - 1, SECTOR, 0, OK },
    { "write past the end", VIRTIO_BLK_T_OUT, END - 1, 2 * SECTOR, 0, IOERR },
    { "write at the end", VIRTIO_BLK_T_OUT, END, SECTOR, 0, IOERR },
    { "read past the end", VIRTIO_BLK_T_IN, END - 1, 0, 2 * SECTOR, IOERR },
    { "read far out", VIRTIO_BLK_T_IN, END / 2, 0, SECTOR, IOERR },
    { "read where the offset overflows", VIRTIO_BLK_T_IN, (1ULL << 55) + 1, 0, SECTOR, IOERR },
    { "write half a sector", VIRTIO_BLK_T_OUT, 0, SECTOR / 2, 0, IOERR },
    { "read a sector and a bit", VIRTIO_BLK_T_IN, 0, 0, SECTOR + 1, IOERR },
    { "read nothing", VIRTIO_BLK_T_IN, 0, 0, 0, OK },
    { "read nothing past the end", VIRTIO_BLK_T_IN, END / 2, 0, 0, IOERR },
    { "flush", VIRTIO_BLK_T_FLUSH, 0, 0, 0, OK },
    { "id", VIRTIO_BLK_T_GET_ID, 0, 0, 20, OK },
    { "half an id", VIRTIO_BLK_T_GET_ID, 0, 0, 10, OK },
    { "no such type", 77, 0, 0, SECTOR, UNSUPP },
    { "secure erase", VIRTIO_BLK_T_SECURE_ERASE, 0, 16, 0, UNSUPP },
    { "discard nothing", VIRTIO_BLK_T_DISCARD, 0, 0, 0, IOERR },
    { "discard half a range", VIRTIO_BLK_T_DISCARD, 0, 8, 0, IOERR },
    { "too many ranges", VIRTIO_BLK_T_DISCARD, 0, 17 * 16, 0, IOERR },
};

static const struct {
    const char *what;
    uint32_t type;
    uint64_t sector;
    uint32_t count;
    uint32_t flags;
    uint8_t status;
} ranged[] = {
    { "discard", VIRTIO_BLK_T_DISCARD, 8, 8, 0, OK },
    { "discard past the end", VIRTIO_BLK_T_DISCARD, END - 1, 2, 0, IOERR },
    { "discard all the world", VIRTIO_BLK_T_DISCARD, ~0ULL, ~0U, 0, IOERR },
    { "discard more than the limit", VIRTIO_BLK_T_DISCARD, 0, 65537, 0, IOERR },
    { "discard with a flag", VIRTIO_BLK_T_DISCARD, 8, 8, 1, IOERR },
    { "zero", VIRTIO_BLK_T_WRITE_ZEROES, 8, 8, 0, OK },
    { "zero and unmap", VIRTIO_BLK_T_WRITE_ZEROES, 8, 8, 1, OK },
    { "zero with an unknown flag", VIRTIO_BLK_T_WRITE_ZEROES, 8, 8, 2, IOERR },
    { "zero past the end", VIRTIO_BLK_T_WRITE_ZEROES, END, 1, 0, IOERR },
};

static uint64_t real_sector(uint64_t sector)
{
    return sector == END || sector == END - 1 ? sector - END + sectors : sector;
}

static void expect(const char *what, uint8_t got, uint8_t want)
{
    if (got != want)
        fail("%s: status %u, should be %u", what, got, want);
}

/* Requests whose chain is wrong, which the table cannot say. */
static void odd_chains(void)
{
    struct segment no_status[] = { { head, sizeof(*head), false } };
    struct segment short_head[] = { { head, 5, false }, { status, 1, true } };
    uint16_t id;
    uint32_t len;

    *head = (struct virtio_blk_outhdr) { .type = VIRTIO_BLK_T_FLUSH };
    ring_post(ring, 0, no_status, 1);
    ring_kick(ring);
    if (!ring_wait(ring, &id, &len, 20) || len)
        fail("a request without status");
    *status = 0xee;
    ring_post(ring, 0, short_head, 2);
    ring_kick(ring);
    if (!ring_wait(ring, &id, &len, 20))
        fail("a short head: no answer");
    expect("a short head", *status, IOERR);
}

static void cases(void)
{
    size_t i;

    for (i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
        expect(plain[i].what, request(plain[i].type, real_sector(plain[i].sector), plain[i].out,
                                      plain[i].in), plain[i].status);
    for (i = 0; i < sizeof(ranged) / sizeof(ranged[0]); i++)
        expect(ranged[i].what, ranges(ranged[i].type, real_sector(ranged[i].sector),
                                      ranged[i].count, ranged[i].flags, 16), ranged[i].status);
    odd_chains();
    memset(data, 0, 20);
    expect("id", request(VIRTIO_BLK_T_GET_ID, 0, 0, 20), OK);
    if (!data[0])
        fail("the id is empty");
}

static void random_one(uint8_t *copy)
{
    uint32_t count = 1 + rand() % MOST, sector = rand() % (AREA - count + 1);
    uint8_t *here = copy + sector * SECTOR;
    uint32_t i;

    switch (rand() % 4) {
    case 0:
        for (i = 0; i < count * SECTOR; i++)
            data[i] = here[i] = rand();
        expect("write", request(VIRTIO_BLK_T_OUT, sector, count * SECTOR, 0), OK);
        break;
    case 1:
        memset(here, 0, count * SECTOR);
        expect("zero", ranges(rand() % 2 ? VIRTIO_BLK_T_DISCARD : VIRTIO_BLK_T_WRITE_ZEROES,
                              sector, count, 0, 16), OK);
        break;
    default:
        memset(data, 0xaa, count * SECTOR);
        expect("read", request(VIRTIO_BLK_T_IN, sector, 0, count * SECTOR), OK);
        if (memcmp(data, here, count * SECTOR))
            fail("%u sectors from %u on differ", count, sector);
    }
}

static void random_traffic(unsigned requests, unsigned rounds)
{
    uint8_t *copy = calloc(AREA, SECTOR);
    unsigned i;

    expect("zero", ranges(VIRTIO_BLK_T_WRITE_ZEROES, 0, AREA, 0, 16), OK);
    for (i = 1; i <= requests; i++) {
        random_one(copy);
        if (i % (requests / rounds))
            continue;
        if (drive_suspend(&drive))
            fail("suspend");
        if (ring_base(ring) != ring->used->idx)
            fail("position %u, used index %u", ring_base(ring), ring->used->idx);
        if (drive_resume(&drive))
            fail("resume");
    }
    printf("requests %u\n", requests);
}

static void rate(double limit)
{
    double start = seconds(), now = start;
    unsigned posted = 0, done = 0;
    uint16_t id;
    uint32_t len;

    *head = (struct virtio_blk_outhdr) { .type = VIRTIO_BLK_T_IN };
    while (now < start + limit) {
        while (posted - done < 64) {
            ring_post(ring, posted % 64 * 3,
                      (struct segment[]) { { head, sizeof(*head), false },
                                         { data, 8 * SECTOR, true }, { status, 1, true } }, 3);
            posted++;
        }
        ring_kick(ring);
        while (ring_reap(ring, &id, &len))
            done++;
        now = seconds();
    }
    printf("rate %.0f\n", done / (now - start));
}

int main(int argc, char **argv)
{
    if (argc < 3)
        fail("usage: simdrive-blk DEVICE cases|random|rate ...");
    begin(argv[1]);
    if (!strcmp(argv[2], "cases"))
        cases();
    else if (!strcmp(argv[2], "random") && argc > 4)
        random_traffic(atoi(argv[3]), atoi(argv[4]));
    else if (!strcmp(argv[2], "rate") && argc > 3)
        rate(atof(argv[3]));
    else
        fail("usage");
    puts("OK");
    return 0;
}
