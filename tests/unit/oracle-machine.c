/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Machines for the oracle's unit test. Interface and limits: oracle-machine.h.
 */
#include "oracle-machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned tests, failures;

void check(int good, const char *what)
{
    tests++;
    failures += !good;
    printf("%sok %u - %s\n", good ? "" : "not ", tests, what);
}

void skip(const char *what, const char *why)
{
    tests++;
    printf("ok %u - %s # SKIP %s\n", tests, what, why);
}

int check_end(void)
{
    printf("1..%u\n", tests);
    return failures != 0;
}

static uint32_t seed = 1;

uint32_t rnd(uint32_t below)
{
    seed = seed * 1664525u + 1013904223u;
    return (uint64_t)seed * below >> 32;
}

uint32_t pages_of(size_t bytes)
{
    return bytes / ORACLE_PAGE;
}

uint32_t room_for(uint32_t pages)
{
    return pages + pages_of(oracle_bytes_a(pages) + oracle_bytes_b(pages) +
                            oracle_bytes_x() + oracle_bytes_y());
}

void machine_new(Machine *m, uint32_t pages)
{
    uint8_t *p;

    m->room = room_for(pages);
    m->ram = aligned_alloc(ORACLE_PAGE, (size_t)m->room * ORACLE_PAGE);
    p = m->ram;
    uint8_t *area = p;
    uint8_t *a = area + (size_t)pages * ORACLE_PAGE;
    uint8_t *b = a + oracle_bytes_a(pages);
    uint8_t *x = b + oracle_bytes_b(pages);
    uint8_t *y = x + oracle_bytes_x();

    memset(p, 0, (size_t)m->room * ORACLE_PAGE);
    oracle_init(&m->o, pages, area, a, b, x, y);
    oracle_fill(&m->o, 0, pages);
    for (unsigned i = 0; i < COPIES; i++) {
        m->copies[i] = malloc((size_t)m->room * ORACLE_PAGE);
    }
}

void machine_free(Machine *m)
{
    free(m->ram);
    for (unsigned i = 0; i < COPIES; i++) {
        free(m->copies[i]);
    }
}

uint8_t *page_of(Machine *m, uint32_t n)
{
    return m->ram + (size_t)n * ORACLE_PAGE;
}

uint8_t *save(const Machine *m, unsigned copy)
{
    return memcpy(m->copies[copy], m->ram, (size_t)m->room * ORACLE_PAGE);
}

void load(Machine *m, const uint8_t *copy)
{
    memcpy(m->ram, copy, (size_t)m->room * ORACLE_PAGE);
}

void lose(Machine *m, const uint8_t *old, uint32_t page)
{
    memcpy(page_of(m, page), old + (size_t)page * ORACLE_PAGE, ORACLE_PAGE);
}

int same(const Machine *m, const uint8_t *copy)
{
    return !memcmp(m->ram, copy, (size_t)m->room * ORACLE_PAGE);
}

void run(Machine *m, unsigned writes)
{
    while (writes--) {
        oracle_write(&m->o, rnd(WORKERS), rnd(m->o.pages));
    }
}

/* In three ranges, as threads would. */
OracleSum verify(const Machine *m)
{
    uint32_t cut[] = { 0, m->o.pages / 3, m->o.pages / 2, m->o.pages };
    OracleSum all;

    oracle_sum_init(&all);
    for (unsigned i = 3; i-- > 0; ) {
        OracleSum part;

        oracle_sum_init(&part);
        oracle_verify_range(&m->o, cut[i], cut[i + 1], &part);
        oracle_sum_merge(&all, &part);
    }
    oracle_verify_totals(&m->o, &all);
    return all;
}

int good(const Machine *m)
{
    OracleSum s = verify(m);

    return s.bad == 0 && s.reason == ORACLE_GOOD && !s.culprit &&
           s.first == UINT32_MAX;
}

int blames(const OracleSum *s, Machine *m, uint32_t page)
{
    const uint8_t *c = s->culprit;

    return c >= page_of(m, page) && c < page_of(m, page + 1);
}

uint32_t page_a(const Machine *m, uint32_t page)
{
    return pages_of((uint8_t *)&m->o.a[page] - m->ram);
}

uint32_t page_b(const Machine *m, uint32_t page)
{
    return pages_of((uint8_t *)&m->o.b[m->o.pages - 1 - page] - m->ram);
}

uint32_t page_x(const Machine *m)
{
    return pages_of((uint8_t *)m->o.x - m->ram);
}

uint32_t page_y(const Machine *m, uint32_t worker)
{
    return pages_of(m->o.y - m->ram) + worker;
}
