// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A driver that lies, on a simulated NIC: rings that are not mapped, rings full of rubbish, chains that
 * go in circles, lengths beyond all bounds.
 *
 *	simdrive-hostile DEVICE ROUNDS SEED
 *
 * The device may report DEVICE_NEEDS_RESET, and after a reset it has to work.  That the kernel has
 * nothing to say about it is for the lab to see.
 *
 * Limits: lies are those of one thread; the memory does not change while the device reads it.
 */
#include "net.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct drive drive;

/* Bits that make sense now and then, so that not all ends at the first look. */
static uint64_t rubbish(void)
{
    uint64_t any = (uint64_t)rand() << 32 ^ (uint64_t)rand() << 11 ^ rand();

    switch (rand() % 6) {
    case 0:
        return any;
    case 1:
        return any % 8;
    case 2:
        return ARENA_IOVA + any % drive.arena_size;
    case 3:
        return ARENA_IOVA + drive.arena_size - any % 64;
    case 4:
        return ~0ULL - any % 64;
    default:
        return 0;
    }
}

static void spoil(struct ring *r)
{
    unsigned i;

    for (i = 0; i < r->num; i++) {
        r->desc[i].addr = rubbish();
        r->desc[i].len = rand() % 2 ? 1ULL + rand() % 4096 : rubbish();
        r->desc[i].flags = rand() % 8;
        r->desc[i].next = rand() % 4 ? (i + 1) % r->num : rubbish();
        r->avail->ring[i] = rand() % 8 ? i : rubbish();
    }
    r->next_avail = rand() % 2 ? r->next_avail + rand() % 64ULL : rubbish();
}

static void set_up(bool spoiled)
{
    unsigned i;

    drive_reset(&drive);
    drive_negotiate(&drive, NET_BIT(CTRL_VQ));
    for (i = 0; i < 3; i++) {
        struct ring *r = &drive.rings[i];

        if (!r->drive)
            ring_set_up(&drive, i, 64);
        memset(r->used, 0, sizeof(*r->used));
        r->next_avail = 0;
        r->avail->idx = 0;
        if (spoiled)
            spoil(r);
        ring_again(r, 0);
    }
    drive_start(&drive);
    for (i = 0; i < 3; i++)
        ring_kick(&drive.rings[i]);
}

static bool needs_reset(double limit)
{
    double end = seconds() + limit;

    while (seconds() < end) {
        if (drive_status(&drive) & 0x40)
            return true;
        usleep(1000);
    }
    return false;
}

/* A frame to everybody through the reset device. */
static void prove_it_works(void)
{
    struct ring *rx = &drive.rings[0], *tx = &drive.rings[1];
    uint8_t *out = drive.arena + drive.arena_size / 2, *in = out + 4096;
    uint16_t head;
    uint32_t len;

    set_up(false);
    rx->next_used = tx->next_used = 0;
    memset(out, 0, 100);
    memset(out + 12, 0xff, 6);
    memset(out + 30, 0x5a, 70);
    memset(in, 0, 200);
    ring_post(rx, 0, &(struct segment) { in, 200, true }, 1);
    ring_kick(rx);
    ring_post(tx, 0, &(struct segment) { out, 100, false }, 1);
    ring_kick(tx);
    if (!ring_wait(rx, &head, &len, 20) || len != 100 || memcmp(in + 12, out + 12, 88))
        fail("the device does not work after a reset");
}

int main(int argc, char **argv)
{
    unsigned rounds, broken = 0, i;

    if (argc < 4)
        fail("usage: simdrive-hostile DEVICE ROUNDS SEED");
    rounds = atoi(argv[2]);
    srand(atoi(argv[3]));
    drive_open(&drive, argv[1], 2 << 20);
    set_up(false);               /* nothing is mapped: no ring can be read */
    if (!needs_reset(20))
        fail("rings that are not mapped are no error");
    drive_map(&drive, 0);
    for (i = 0; i < rounds; i++) {
        set_up(true);
        broken += needs_reset(0.02);
    }
    prove_it_works();
    printf("rounds %u\nbroken %u\n", rounds, broken);
    puts("OK");
    return 0;
}
