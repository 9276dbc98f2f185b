/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The oracle and lost writes: pages that are as they were earlier, one of
 * them or several, at once or long ago. test_oracle.c has the criterion.
 *
 * Limits: as test_oracle.c.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "oracle-machine.h"

static void test_lost_data(void)
{
    Machine m;
    int found = 1, named = 1;

    machine_new(&m, PAGES);
    run(&m, 500);
    for (unsigned i = 0; i < 60; i++) {
        uint32_t page = rnd(PAGES);
        uint8_t *old = save(&m, 0), *now;
        unsigned writes = 1 + rnd(100);
        OracleSum s;

        while (writes--) {
            oracle_write(&m.o, rnd(WORKERS), page);
        }
        run(&m, rnd(10));
        now = save(&m, 1);
        lose(&m, old, page);
        s = verify(&m);
        found &= s.bad == 1;
        named &= s.reason == ORACLE_STALE && s.first == page &&
                 blames(&s, &m, page);
        load(&m, now);
    }
    check(found, "one lost data page is found");
    check(named, "and is called stale, by its name");
    machine_free(&m);
}

static void test_lost_table(void)
{
    Machine m;
    int found = 1, named = 1;

    machine_new(&m, PAGES);
    run(&m, 500);
    for (unsigned i = 0; i < 60; i++) {
        uint32_t page = rnd(PAGES);
        uint32_t table = i & 1 ? page_a(&m, page) : page_b(&m, page);
        uint8_t *old = save(&m, 0), *now;
        OracleSum s;

        oracle_write(&m.o, rnd(WORKERS), page);
        now = save(&m, 1);
        lose(&m, old, table);
        s = verify(&m);
        found &= s.bad >= 1;
        named &= s.reason == ORACLE_TABLE && s.first == page &&
                 blames(&s, &m, table);
        load(&m, now);
    }
    check(found, "one lost page of a table is found");
    check(named, "and is called table, by its name");
    machine_free(&m);
}

static void test_lost_total(void)
{
    Machine m;
    int found = 1, named = 1;

    machine_new(&m, PAGES);
    run(&m, 500);
    for (unsigned i = 0; i < 60; i++) {
        uint32_t worker = rnd(WORKERS);
        uint32_t total = i & 1 ? page_x(&m) : page_y(&m, worker);
        uint8_t *old = save(&m, 0), *now;
        OracleSum s;

        oracle_write(&m.o, worker, rnd(PAGES));
        now = save(&m, 1);
        lose(&m, old, total);
        s = verify(&m);
        found &= s.bad == 1;
        named &= s.reason == ORACLE_TOTAL && blames(&s, &m, total);
        load(&m, now);
    }
    check(found, "one lost page of the totals is found");
    check(named, "and is called total, by its name");
    machine_free(&m);
}

/*
 * Any subset of the five pages that one write touches, lost for that write:
 * all but the empty one are found; all five together are an older guest, and
 * then the number of writes has gone back.
 */
static void test_lost_together(void)
{
    Machine m;
    int fine = 1, back = 1;

    machine_new(&m, PAGES);
    run(&m, 500);
    for (unsigned i = 0; i < 32 * 4; i++) {
        uint32_t page = rnd(PAGES), worker = rnd(WORKERS);
        uint32_t five[] = { page, page_a(&m, page), page_b(&m, page),
                            page_x(&m), page_y(&m, worker) };
        uint8_t *old = save(&m, 0), *now;
        uint64_t writes;
        unsigned set = i & 31;

        oracle_write(&m.o, worker, page);
        writes = oracle_writes(&m.o);
        now = save(&m, 1);
        for (unsigned j = 0; j < 5; j++) {
            if (set >> j & 1) {
                lose(&m, old, five[j]);
            }
        }
        if (set == 31) {
            back &= oracle_writes(&m.o) < writes;
        } else {
            fine &= good(&m) == (set == 0);
        }
        load(&m, now);
    }
    check(fine, "data, tables, totals lost for the same write: all 30 sets");
    check(back, "everything lost: the number of writes went back");
    machine_free(&m);
}

/* Everything of one write lost, with one more write since: found. */
static void test_lost_earlier(void)
{
    Machine m;
    int fine = 1;

    machine_new(&m, PAGES);
    run(&m, 500);
    for (unsigned i = 0; i < 100; i++) {
        uint32_t page = rnd(PAGES), other = (page + 1 + rnd(PAGES - 1)) % PAGES;
        uint32_t worker = rnd(WORKERS);
        uint32_t five[] = { page, page_a(&m, page), page_b(&m, page),
                            page_x(&m), page_y(&m, worker) };
        uint8_t *old = save(&m, 0), *now;

        oracle_write(&m.o, worker, page);
        oracle_write(&m.o, worker, other);
        now = save(&m, 1);
        for (unsigned j = 0; j < 5; j++) {
            lose(&m, old, five[j]);
        }
        fine &= !good(&m);
        load(&m, now);
    }
    check(fine, "all five pages lost, one write to another page since");
    machine_free(&m);
}

/*
 * Tables that lost one write and totals that lost another one add up in
 * number; the hash is what tells them apart.
 */
static void test_lost_crosswise(void)
{
    Machine m;
    int fine = 1;

    machine_new(&m, PAGES);
    run(&m, 500);
    for (unsigned i = 0; i < 60; i++) {
        uint32_t page = rnd(400), other = 1040 + rnd(100);
        uint32_t worker = rnd(WORKERS);
        uint8_t *first = save(&m, 0), *second, *now;

        oracle_write(&m.o, worker, page);
        second = save(&m, 1);
        oracle_write(&m.o, worker, other);
        now = save(&m, 2);
        lose(&m, first, page);
        lose(&m, first, page_a(&m, page));
        lose(&m, first, page_b(&m, page));
        lose(&m, second, page_x(&m));
        lose(&m, second, page_y(&m, worker));
        fine &= !good(&m);
        load(&m, now);
    }
    check(fine, "tables lost one write, totals another: the sums are the same");
    machine_free(&m);
}

/*
 * A write is lost when the next one has looked already: that one restores
 * three slots. The hole in the fourth is seen by the one after it, before it
 * is painted over.
 */
static void test_lost_under_foot(void)
{
    Machine m;
    int fine = 1;

    machine_new(&m, 64);
    run(&m, 64 * 80);
    for (unsigned i = 0; i < 100; i++) {
        uint32_t page = rnd(64);
        uint8_t *old = save(&m, 0), *mid, *now;

        oracle_write(&m.o, rnd(WORKERS), page);
        mid = save(&m, 1);
        oracle_write(&m.o, rnd(WORKERS), page);
        now = save(&m, 2);
        for (uint32_t at = page * ORACLE_PAGE; at < (page + 1) * ORACLE_PAGE;
             at += 64) {
            if (!memcmp(now + at, mid + at, 64)) {
                memcpy(m.ram + at, old + at, 64);
            }
        }
        for (unsigned n = 0; n < 200; n++) {
            oracle_write(&m.o, rnd(WORKERS), page);
        }
        fine &= !good(&m);
        load(&m, now);
    }
    check(fine, "a write lost under the feet of the next, 200 writes ago");
    machine_free(&m);
}

/* A guest that goes on writing does not paint over what was lost. */
static void test_painted_over(void)
{
    Machine m;
    int data = 1, table = 1, total = 1;

    machine_new(&m, PAGES);
    for (unsigned i = 0; i < 30; i++) {
        uint32_t page = rnd(PAGES);
        uint32_t victims[] = { page, page_a(&m, page), page_b(&m, page),
                               page_x(&m) };
        int *verdicts[] = { &data, &table, &table, &total };
        uint8_t *old = save(&m, 0), *now;

        oracle_write(&m.o, rnd(WORKERS), page);
        run(&m, 20);
        now = save(&m, 1);
        for (unsigned j = 0; j < 4; j++) {
            lose(&m, old, victims[j]);
            for (unsigned n = 0; n < 200; n++) {
                oracle_write(&m.o, rnd(WORKERS), page);
            }
            run(&m, 5 * PAGES);
            *verdicts[j] &= !good(&m);
            if (j == 0) {
                OracleSum found = verify(&m);

                data &= found.first == page && found.reason == ORACLE_STALE &&
                        found.bad == 1;
            }
            load(&m, now);
        }
    }
    check(data, "a lost data page is still found, and named, 200 writes later");
    check(table, "so is a lost table page");
    check(total, "so is a lost page of totals");
    machine_free(&m);
}

/*
 * A precopy: pages are sent in random order while workers write; pages written
 * since are sent again; one dirty bit is dropped in most runs.
 */
static void precopy(Machine *src, uint8_t *dst, int drop)
{
    uint8_t *sent = malloc(src->room);
    uint32_t victim = UINT32_MAX;

    memset(sent, 0, src->room);
    for (unsigned i = 0; i < 3 * src->room; i++) {
        uint32_t page = rnd(src->room);

        run(src, rnd(3));
        memcpy(dst + (size_t)page * ORACLE_PAGE, page_of(src, page),
               ORACLE_PAGE);
        sent[page] = 1;
        if (drop && i > 2 * src->room) {
            victim = page;
            drop = 0;
        }
    }
    for (uint32_t page = 0; page < src->room; page++) {
        if (page != victim) {
            memcpy(dst + (size_t)page * ORACLE_PAGE, page_of(src, page),
                   ORACLE_PAGE);
        }
    }
    free(sent);
}

static void test_precopy(void)
{
    Machine m;
    int clean = 1, found = 1, later = 1;
    unsigned lost = 0;

    machine_new(&m, 300);
    for (unsigned i = 0; i < 250; i++) {
        uint8_t *dst = save(&m, 0), *src;
        int differ;

        precopy(&m, dst, i & 3);
        differ = !same(&m, dst);
        src = save(&m, 1);
        load(&m, dst);
        if (differ) {
            lost++;
            found &= !good(&m);
            run(&m, rnd(3000));
            later &= !good(&m);
        } else {
            run(&m, 1000);
            clean &= good(&m);
        }
        load(&m, src);
    }
    check(clean, "precopy that loses nothing is good, then and later");
    check(found && lost > 50, "precopy that loses a page's last write is bad");
    check(later, "and remains so while the guest writes on");
    printf("# %u runs with a page lost\n", lost);
    machine_free(&m);
}

/*
 * The scar is lost: everything but the totals is as if the page had never
 * been damaged, and only the totals remember that a worker caught it.
 */
static void test_scar_lost(void)
{
    Machine m;
    uint8_t *damaged, *clean;

    machine_new(&m, 64);
    run(&m, 500);
    save(&m, 0);
    oracle_write(&m.o, 0, 9);
    clean = save(&m, 1);
    load(&m, m.copies[0]);
    page_of(&m, 9)[0] ^= 1;
    oracle_write(&m.o, 0, 9);
    damaged = save(&m, 2);
    load(&m, clean);
    check(good(&m), "a machine that was never damaged");
    lose(&m, damaged, page_x(&m));
    lose(&m, damaged, page_y(&m, 0));
    check(!good(&m), "a scar that was lost itself is missed by the totals");
    machine_free(&m);
}

void test_lost(void)
{
    test_lost_data();
    test_lost_table();
    test_lost_total();
    test_lost_together();
    test_lost_earlier();
    test_lost_crosswise();
    test_lost_under_foot();
    test_painted_over();
    test_scar_lost();
    test_precopy();
}
