/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Unit test of the guests' memory oracle (tests/lab/guest/oracle.c).
 *
 * Theory of operation
 * -------------------
 * A "machine" is one block of pages: load area, A, B, X, Y. A migration is a
 * copy of it, page by page; a lost write is a page of the copy that is as it
 * was earlier. The criterion is the same everywhere: a machine whose bytes
 * differ from those of the machine that lost nothing must be reported bad,
 * and one whose bytes are the same must not be.
 *
 *   cc -O1 -g -fsanitize=address,undefined -I tests/lab/guest \
 *      tests/unit/{test_oracle,test_oracle_lost,oracle-machine}.c \
 *      tests/lab/guest/oracle.c -pthread
 *
 * Prints TAP; exits 0 if all is well. x86-64: the test that interrupts an
 * operation at every instruction uses the trap flag, and is skipped elsewhere.
 *
 * Limits: the machine's memory is coherent and migration is instantaneous;
 * timing of a real migration is what test_payload.py and the lab are for.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <ucontext.h>

#include "oracle-machine.h"

/* --- at rest ------------------------------------------------------------ */

static void test_clean(void)
{
    Machine m;
    int fine = 1;

    machine_new(&m, PAGES);
    check(good(&m), "a machine that wrote nothing is good");
    for (unsigned i = 0; i < 20; i++) {
        run(&m, rnd(3 * PAGES));
        fine &= good(&m);
    }
    for (unsigned i = 0; i < 200; i++) {
        oracle_write(&m.o, i % WORKERS, 7);
        fine &= good(&m);
    }
    check(fine, "writes alone never make it bad");
    check(verify(&m).writes == oracle_writes(&m.o), "stat and tables agree");
    machine_free(&m);
}

static void test_room(void)
{
    int fine = oracle_pages_in(0) == 0;

    for (uint32_t room = 1; room < 5000; room++) {
        uint32_t pages = oracle_pages_in(room);

        fine &= pages == 0 || room_for(pages) <= room;
        fine &= room < 40 || pages > room - 40 - room / 250;
    }
    check(fine, "oracle_pages_in: fits and wastes little");
}

typedef void Damage(Machine *m, uint32_t page);

static void damage_zero(Machine *m, uint32_t page)
{
    memset(page_of(m, page), 0, ORACLE_PAGE);
}

static void damage_foreign(Machine *m, uint32_t page)
{
    memcpy(page_of(m, page), page_of(m, (page + 1) % PAGES), ORACLE_PAGE);
}

static void damage_noise(Machine *m, uint32_t page)
{
    for (unsigned i = 0; i < ORACLE_PAGE; i++) {
        page_of(m, page)[i] = rnd(256);
    }
}

static void test_damage(Damage *damage, OracleReason reason, const char *what)
{
    Machine m;
    int fine = 1;

    machine_new(&m, PAGES);
    run(&m, 5 * PAGES);
    for (unsigned i = 0; i < 60; i++) {
        uint32_t page = rnd(PAGES);
        uint8_t *now = save(&m, 1);
        OracleSum s;

        damage(&m, page);
        s = verify(&m);
        fine &= s.bad == 1 && s.reason == reason && s.first == page &&
                blames(&s, &m, page);
        load(&m, now);
    }
    check(fine, what);
    machine_free(&m);
}

static void test_swapped(void)
{
    Machine m;
    uint8_t page[ORACLE_PAGE];
    OracleSum s;

    machine_new(&m, PAGES);
    run(&m, 5 * PAGES);
    memcpy(page, page_of(&m, 10), ORACLE_PAGE);
    memcpy(page_of(&m, 10), page_of(&m, 900), ORACLE_PAGE);
    memcpy(page_of(&m, 900), page, ORACLE_PAGE);
    s = verify(&m);
    check(s.bad == 2 && s.first == 10 && s.reason == ORACLE_FOREIGN,
          "two pages exchanged are both found, and called foreign");
    machine_free(&m);
}

static void test_misplaced(void)
{
    Machine m;
    uint8_t slot[64];
    uint8_t *first, *at;

    machine_new(&m, 64);
    first = save(&m, 0);    /* nothing written: all slots are of one sequence */
    at = page_of(&m, 9) + 5 * 64;
    memcpy(slot, at, 64);
    memcpy(at, at + 64, 64);
    memcpy(at + 64, slot, 64);
    check(verify(&m).reason == ORACLE_TORN, "two slots of a page exchanged");

    load(&m, first);
    oracle_write(&m.o, 0, 9);
    first = save(&m, 1);
    load(&m, m.copies[0]);
    oracle_write(&m.o, 1, 9);
    lose(&m, first, 9);
    check(verify(&m).reason == ORACLE_TORN,
          "the same write, had another worker made it");
    machine_free(&m);
}

/* Every way to cut a page between two of its contents. */
static void test_torn(void)
{
    Machine m;
    int found = 1, named = 1;
    unsigned cuts = 0;

    machine_new(&m, 64);
    run(&m, 5 * 64);
    for (unsigned i = 0; i < 64; i++) {
        uint32_t page = rnd(64);
        uint8_t *old = save(&m, 0), *now;

        oracle_write(&m.o, rnd(WORKERS), page);
        now = save(&m, 1);
        for (unsigned cut = 4; cut < ORACLE_PAGE; cut += 4) {
            OracleSum s;

            memcpy(page_of(&m, page), old + page * ORACLE_PAGE, cut);
            if (!same(&m, now)) {
                s = verify(&m);
                found &= s.bad == 1;
                if (cut < ORACLE_PAGE - 64) {
                    named &= s.reason == ORACLE_TORN;
                }
                cuts++;
            }
            load(&m, now);
            cut += i < 2 ? 0 : 4 * rnd(64);
        }
    }
    check(found && cuts > 1000, "a torn page is found wherever it is torn");
    check(named, "and is called torn");
    machine_free(&m);
}

static int flips_found(Machine *m, uint8_t *from, size_t bytes)
{
    int found = 1;

    for (size_t i = 0; i < bytes; i++) {
        uint8_t bit = 1 << rnd(8);

        from[i] ^= bit;
        found &= !good(m);
        from[i] ^= bit;
    }
    return found;
}

static void test_every_byte(void)
{
    Machine m;
    size_t used = offsetof(OracleTotal, pad);

    machine_new(&m, 64);
    run(&m, 64 * 100);
    check(flips_found(&m, page_of(&m, 5), ORACLE_PAGE),
          "a flipped bit in any byte of a page is found");
    check(flips_found(&m, (uint8_t *)m.o.a, 64 * sizeof(*m.o.a)) &&
          flips_found(&m, (uint8_t *)m.o.b, 64 * sizeof(*m.o.b)),
          "in any byte of the tables");
    check(flips_found(&m, (uint8_t *)&m.o.x[1], used) &&
          flips_found(&m, m.o.y + ORACLE_PAGE, used),
          "in any byte of the totals");
    check(good(&m), "and nothing remains of the flips");
    machine_free(&m);
}

/* --- threads ----------------------------------------------------------- */

typedef struct Worker {
    pthread_t thread;
    Machine *m;
    uint32_t number;
} Worker;

static void *worker_main(void *opaque)
{
    Worker *w = opaque;
    uint32_t state = w->number + 1;

    for (unsigned i = 0; i < 100000; i++) {
        state = state * 1664525u + 1013904223u;
        oracle_write(&w->m->o, w->number,
                     (uint64_t)state * w->m->o.pages >> 32);
    }
    return NULL;
}

static void test_threads(void)
{
    Worker w[4];
    Machine m;
    uint64_t seen = 0;
    int grows = 1;

    machine_new(&m, 16);    /* few pages: workers meet all the time */
    for (unsigned i = 0; i < 4; i++) {
        w[i] = (Worker) { .m = &m, .number = i };
        pthread_create(&w[i].thread, NULL, worker_main, &w[i]);
    }
#ifndef NO_STAT_RACE        /* reading while they write is a race by design */
    for (unsigned i = 0; i < 1000; i++) {
        uint64_t now = oracle_writes(&m.o);

        grows &= now >= seen;
        seen = now;
    }
#endif
    for (unsigned i = 0; i < 4; i++) {
        pthread_join(w[i].thread, NULL);
    }
    check(good(&m), "four threads on 16 pages: good");
    check(grows && oracle_writes(&m.o) >= seen && seen <= 400000,
          "the number of writes only grows");
    machine_free(&m);
}

/* --- a migration at every instruction ---------------------------------- */

#ifdef __x86_64__
#define TRAP_FLAG   0x100

static struct {
    unsigned countdown;
    Machine *m;
    const uint8_t *old;
    uint32_t victim;
    int done;
} step;

static void on_trap(int sig, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;

    (void)sig;
    (void)info;
    if (--step.countdown) {
        return;
    }
    uc->uc_mcontext.gregs[REG_EFL] &= ~TRAP_FLAG;
    if (step.victim != UINT32_MAX) {
        lose(step.m, step.old, step.victim);
    }
    step.done = 1;
}

static void trap_on(void)
{
    __asm__ volatile("pushfq; orl %0, (%%rsp); popfq"
                     : : "i"(TRAP_FLAG) : "memory", "cc");
}

static void trap_off(void)
{
    __asm__ volatile("pushfq; andl %0, (%%rsp); popfq"
                     : : "i"(~TRAP_FLAG) : "memory", "cc");
}

/* Loses @victim after @after instructions of a write; 0: it took fewer. */
static int write_interrupted(Machine *m, uint32_t page, const uint8_t *old,
                             uint32_t victim, unsigned after)
{
    step.countdown = after;
    step.m = m;
    step.old = old;
    step.victim = victim;
    step.done = 0;
    trap_on();
    oracle_write(&m->o, 0, page);
    trap_off();
    return step.done;
}

static unsigned write_length(Machine *m, uint32_t page)
{
    write_interrupted(m, page, NULL, UINT32_MAX, 1u << 30);
    return (1u << 30) - step.countdown;
}

static void test_every_instruction(unsigned stops)
{
    struct sigaction act = { .sa_sigaction = on_trap, .sa_flags = SA_SIGINFO };
    Machine m;
    const uint32_t page = 9;
    int exact = 1;
    unsigned points = 0, lost = 0;

    sigaction(SIGTRAP, &act, NULL);
    machine_new(&m, 20);
    run(&m, 3000);
    uint32_t victims[] = { UINT32_MAX, page, page_a(&m, page),
                           page_b(&m, page), page_x(&m), page_y(&m, 0) };
    uint8_t *old = save(&m, 0);
    oracle_write(&m.o, 0, page);
    oracle_write(&m.o, 1, 10);
    uint8_t *before = save(&m, 1);
    oracle_write(&m.o, 0, page);
    uint8_t *right = save(&m, 2);

    for (unsigned v = 0; v < 6; v++) {
        unsigned length = write_length(&m, page);

        for (unsigned i = 0; i < stops; i++) {
            unsigned n = stops < length ? 1 + rnd(length) : 1 + i;

            load(&m, before);
            if (!write_interrupted(&m, page, old, victims[v], n)) {
                continue;
            }
            points++;
            lost += !same(&m, right);
            exact &= good(&m) == same(&m, right);
        }
    }
    check(exact && points >= 3 * stops && lost >= stops,
          "a page lost at any instruction of a write: bad if and only if "
          "memory is not as it should be");
    printf("# %u points, %u with memory lost\n", points, lost);
    machine_free(&m);
}
#else
static void test_every_instruction(unsigned stops)
{
    (void)stops;
    skip("a page lost at any instruction", "not x86-64");
}
#endif

/*
 * --threads: that test only (for ThreadSanitizer, which makes the rest slow);
 * --stops=N: how many instructions to stop at, per victim (10000 is all).
 */
int main(int argc, char **argv)
{
    unsigned stops = 40;

    setvbuf(stdout, NULL, _IOLBF, 0);
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--threads")) {
            test_threads();
            return check_end();
        }
        sscanf(argv[i], "--stops=%u", &stops);
    }
    test_clean();
    test_room();
    test_damage(damage_zero, ORACLE_ZERO, "a zeroed page is called zero");
    test_damage(damage_foreign, ORACLE_FOREIGN, "another page's copy: foreign");
    test_damage(damage_noise, ORACLE_TORN, "bytes that no worker wrote: torn");
    test_swapped();
    test_misplaced();
    test_torn();
    test_every_byte();
    test_lost();
    test_threads();
    test_every_instruction(stops);
    return check_end();
}
