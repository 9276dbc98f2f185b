/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the parts of the oracle's unit test share: machines and results.
 *
 * A machine is one block of pages: load area, A, B, X, Y. Copies of it are
 * kept by number, so that a test can go back, or take one page back.
 *
 * Limits: one thread; a failed allocation ends the test by a signal.
 */
#ifndef TESTS_UNIT_ORACLE_MACHINE_H
#define TESTS_UNIT_ORACLE_MACHINE_H

#include "oracle.h"

#define PAGES       1152u   /* two pages of A, three of B */
#define WORKERS     3u
#define COPIES      3u      /* of a machine, kept by the test */

typedef struct Machine {
    uint32_t room;          /* pages in all */
    uint8_t *ram;
    uint8_t *copies[COPIES];
    Oracle o;
} Machine;

/* One TAP line. */
void check(int good, const char *what);
/* The last TAP line; what main() returns. */
int check_end(void);
void skip(const char *what, const char *why);

/* The same numbers in every run. */
uint32_t rnd(uint32_t below);

uint32_t pages_of(size_t bytes);
/* How many pages a machine with @pages of load area has. */
uint32_t room_for(uint32_t pages);

void machine_new(Machine *m, uint32_t pages);
void machine_free(Machine *m);
uint8_t *page_of(Machine *m, uint32_t n);

uint8_t *save(const Machine *m, unsigned copy);
void load(Machine *m, const uint8_t *copy);
int same(const Machine *m, const uint8_t *copy);
/* Gives page @page (of all of the machine's) its content in @old. */
void lose(Machine *m, const uint8_t *old, uint32_t page);

/* Random writes of random workers. */
void run(Machine *m, unsigned writes);
OracleSum verify(const Machine *m);
int good(const Machine *m);
int blames(const OracleSum *s, Machine *m, uint32_t page);

/* Numbers, in the machine, of the pages that hold what belongs to @page. */
uint32_t page_a(const Machine *m, uint32_t page);
uint32_t page_b(const Machine *m, uint32_t page);
uint32_t page_x(const Machine *m);
uint32_t page_y(const Machine *m, uint32_t worker);

/* test_oracle_lost.c */
void test_lost(void);

#endif
