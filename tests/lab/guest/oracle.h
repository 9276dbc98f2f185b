/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The memory oracle: finds any page whose last write a migration lost.
 *
 * Theory of operation
 * -------------------
 * The oracle owns a load area of `pages` guest pages and the metadata about
 * them, which is ordinary guest memory too and migrates with everything else:
 *
 *   area   pages x 4096 bytes, written by the workers
 *   A      u32 a page: the sequence number of the page's last write, and a
 *          busy bit while a write is under way
 *   B      8 bytes per page, in reverse order: the same sequence complemented,
 *          last writer, scar, and a check value over them
 *   X, Y   a record a worker: how many writes it made, and a running hash of
 *          what the tables must say; Y is X complemented. All records of X
 *          share pages, each record of Y has a page to itself.
 *
 * One write to page p with sequence s (the operation, oracle_write()):
 *
 *   A[p]: s-1 -> busy      intent, and mutual exclusion between workers
 *   look at what is there  anything not left by write s-1 becomes a scar
 *   stamp the page         slot 0, slot 63 and the slot that s chooses
 *   B[p] := s, worker
 *   Y, X += (p, s)         count and hash
 *   A[p]: busy -> s        commit
 *
 * A page is 64 slots of 64 bytes. A slot is determined by page, sequence,
 * writer and slot number down to its last byte. Slots 1..62 are taken in
 * turn, so the last 62 writes remain readable and the content of all 4096
 * bytes follows from (page, sequence) but for the writers' names, which a
 * slot states itself.
 *
 * A lost write means: some page is, at the destination, as it was earlier.
 * Whichever pages these are:
 *
 *   a page of the area     A and B know a later sequence         -> stale
 *   a page of A or B       the other table and the page differ   -> table
 *   a page of A, one of B, and the page itself, for the same write
 *                          the tables no longer add up to X, Y   -> total
 *   a page of X or Y       X and Y differ                        -> total
 *   X and Y and ...        they no longer add up to the tables   -> total
 *
 * Sequences and counts only grow, so an old table has a smaller sum and an
 * old total is smaller; that both are old by the same amount is left to a
 * 64-bit hash. What remains is the loss of *everything* since one instant,
 * which is an old guest: the host sees that, as the number of writes that
 * `stat` reported before the migration is larger than the one after it.
 *
 * A guest that goes on writing would paint over the evidence. So the
 * operation looks before it writes: at both tables, at both totals, and at
 * four slots of the page (0, 63 and those of the last two writes). What it
 * finds is kept as a scar in B, and as a flag in X and Y, for ever.
 *
 * Interrupting a worker between any two instructions and resuming it on
 * another machine is no event for any of this. Only oracle_verify_*() wants
 * every worker to be between two operations.
 *
 * Threads: any number of workers (at most ORACLE_WORKERS) call oracle_write()
 * at once, each with its own number. fill and verify may be split by range
 * between threads; they exclude writes, which is the caller's business.
 *
 * Freestanding: needs stdint.h, stddef.h and 32-bit atomics; no libc, no
 * 64-bit division, no floating point.
 *
 * Limits: a sequence has 31 bits (at 1,000 writes a second to one page, 24
 * days). A page damaged in a slot older than its last two writes is found
 * only by verify, and only until the slot is written again. Memory outside
 * area, A, B, X, Y is not looked at: that is the byte compare's business.
 */
#ifndef TESTS_LAB_GUEST_ORACLE_H
#define TESTS_LAB_GUEST_ORACLE_H

#include <stddef.h>
#include <stdint.h>

#define ORACLE_PAGE     4096u
#define ORACLE_SLOTS    64u
#define ORACLE_WORKERS  32u

typedef enum OracleReason {
    ORACLE_GOOD,
    ORACLE_STALE,       /* an earlier content of this page */
    ORACLE_TORN,        /* parts of different writes, or bytes that no worker wrote */
    ORACLE_ZERO,        /* all bytes zero */
    ORACLE_FOREIGN,     /* a content of another page */
    ORACLE_TABLE,       /* A and B disagree, or both are behind the page */
    ORACLE_TOTAL,       /* tables and totals do not add up */
} OracleReason;

typedef struct OracleEntry {
    uint32_t inverse;   /* ~sequence */
    uint32_t tag;       /* scar:3 writer:6 check:23 */
} OracleEntry;

/* X holds it as it is, Y complemented. Protected by: one worker owns it. */
typedef struct OracleTotal {
    uint64_t writes;
    uint64_t hash;
    uint32_t damaged;   /* X and Y were seen to differ */
    uint32_t caught;    /* scars made by this worker */
    uint8_t pad[40];
} OracleTotal;

/* Constant after oracle_init(). */
typedef struct Oracle {
    uint32_t pages;
    uint8_t *area;
    uint32_t *a;
    OracleEntry *b;
    OracleTotal *x;
    uint8_t *y;
} Oracle;

/* What a verify found; sums of ranges are merged. */
typedef struct OracleSum {
    uint32_t bad;           /* pages, plus one if the totals are wrong */
    uint32_t first;         /* lowest bad page; UINT32_MAX: none */
    OracleReason reason;    /* of the first */
    const void *culprit;    /* an address in the guest page to blame, or NULL */
    uint32_t scars;         /* pages that a worker caught */
    uint64_t writes;        /* according to the tables */
    uint64_t hash;
} OracleSum;

/* Bytes that each part needs, a multiple of ORACLE_PAGE. */
size_t oracle_bytes_a(uint32_t pages);
size_t oracle_bytes_b(uint32_t pages);
size_t oracle_bytes_x(void);
size_t oracle_bytes_y(void);

/*
 * How many pages of load fit into `room` pages together with the metadata;
 * 0 if none.
 */
uint32_t oracle_pages_in(uint32_t room);

/*
 * Adopts memory of the sizes above, page aligned, that stays the caller's.
 * Writes X and Y; the rest needs oracle_fill() over [0, pages).
 */
void oracle_init(Oracle *o, uint32_t pages, void *area, void *a, void *b,
                 void *x, void *y);
void oracle_fill(const Oracle *o, uint32_t from, uint32_t to);

/*
 * One write to @page by @worker. Returns 1, or 0 if another worker was
 * writing to it: nothing was done then, choose another page.
 */
int oracle_write(const Oracle *o, uint32_t worker, uint32_t page);

/* Writes so far; usable while workers run, and never goes back. */
uint64_t oracle_writes(const Oracle *o);

void oracle_sum_init(OracleSum *sum);
void oracle_verify_range(const Oracle *o, uint32_t from, uint32_t to,
                         OracleSum *sum);
void oracle_sum_merge(OracleSum *into, const OracleSum *from);
/* Once, after all ranges are in @sum: holds them against the totals. */
void oracle_verify_totals(const Oracle *o, OracleSum *sum);

const char *oracle_reason_name(OracleReason reason);

#endif
