/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The memory oracle. Theory of operation and limits: oracle.h.
 */
#include "oracle.h"

#define BUSY            0x80000000u
#define SLOT_BYTES      (ORACLE_PAGE / ORACLE_SLOTS)
#define SLOT_WORDS      (SLOT_BYTES / 4)
#define RING_SLOTS      (ORACLE_SLOTS - 2)  /* slots 1..62, taken in turn */
#define RING_STEP       23u                 /* coprime to RING_SLOTS */
#define LAST_SLOT       (ORACLE_SLOTS - 1)
#define FILL_STEP       0x9e3779b1u

/* tag of an OracleEntry */
#define TAG_SCAR_SHIFT      29
#define TAG_WRITER_SHIFT    23
#define TAG_WRITER_MASK     0x3fu
#define TAG_CHECK_MASK      0x7fffffu

/* A writer's name: 0 is oracle_fill(), workers follow. */
#define WRITER_FILL         0u
#define WRITER_OF(worker)   ((worker) + 1u)

/* Third argument of mix(), so that one use is no value of another. */
enum { MIX_ENTRY = 0x40000000, MIX_HASH_LOW = 0x50000000, MIX_HASH_HIGH };

_Static_assert(sizeof(OracleTotal) == 64, "records of X tile a page");
_Static_assert(WRITER_OF(ORACLE_WORKERS) <= TAG_WRITER_MASK, "writer fits");

static uint32_t mix(uint32_t p, uint32_t q, uint32_t r)
{
    uint32_t h = (p + 0x7f4a7c15u) * 0xcc9e2d57u;

    h = (h << 13 | h >> 19) + q;
    h *= 0x2545f491u;
    h = (h << 17 | h >> 15) ^ r;
    h *= 0x9e3779b1u;
    h ^= h >> 16;
    h *= 0x6c62272fu;
    return h ^ h >> 15;
}

/* What a page at @seq contributes to the hash; untouched pages nothing. */
static uint64_t state_hash(uint32_t page, uint32_t seq)
{
    if (!seq) {
        return 0;
    }
    return (uint64_t)mix(page, seq, MIX_HASH_HIGH) << 32 |
           mix(page, seq, MIX_HASH_LOW);
}

/* --- slots ------------------------------------------------------------- */

static uint32_t *slot_at(const Oracle *o, uint32_t page, uint32_t slot)
{
    return (uint32_t *)(o->area + (size_t)page * ORACLE_PAGE +
                        slot * SLOT_BYTES);
}

static uint32_t ring_slot(uint32_t seq)
{
    return 1 + seq % RING_SLOTS * RING_STEP % RING_SLOTS;
}

static uint32_t slot_name(uint32_t slot, uint32_t writer)
{
    return slot << 8 | writer;
}

static void slot_write(uint32_t *w, uint32_t page, uint32_t seq,
                       uint32_t name)
{
    uint32_t fill = mix(page, seq, name);

    w[0] = page;
    w[1] = seq;
    w[2] = name;
    for (unsigned i = 3; i < SLOT_WORDS; i++) {
        w[i] = fill;
        fill += FILL_STEP;
    }
}

/* Whole slot, every byte, as its own first three words claim it to be. */
static int slot_coherent(const uint32_t *w)
{
    uint32_t fill = mix(w[0], w[1], w[2]);
    uint32_t wrong = 0;

    for (unsigned i = 3; i < SLOT_WORDS; i++) {
        wrong |= w[i] ^ fill;
        fill += FILL_STEP;
    }
    return !wrong;
}

static int slot_is(const uint32_t *w, uint32_t page, uint32_t seq,
                   uint32_t slot)
{
    return w[0] == page && w[1] == seq && w[2] >> 8 == slot &&
           (w[2] & 0xff) <= WRITER_OF(ORACLE_WORKERS) && slot_coherent(w);
}

static int slot_is_by(const uint32_t *w, uint32_t page, uint32_t seq,
                      uint32_t slot, uint32_t writer)
{
    return w[2] == slot_name(slot, writer) && slot_is(w, page, seq, slot);
}

/* --- pages ------------------------------------------------------------- */

static void page_stamp(const Oracle *o, uint32_t page, uint32_t seq,
                       uint32_t writer)
{
    const uint32_t slots[] = { 0, ring_slot(seq), LAST_SLOT };

    for (unsigned i = 0; i < 3; i++) {
        slot_write(slot_at(o, page, slots[i]), page, seq,
                   slot_name(slots[i], writer));
    }
}

/*
 * The slots that the last two writes left: enough to see a lost write, and a
 * write that was lost under the feet of an operation that had looked already.
 */
static int page_recent(const Oracle *o, uint32_t page, uint32_t seq,
                       uint32_t writer)
{
    uint32_t ring = ring_slot(seq);

    if (!slot_is_by(slot_at(o, page, 0), page, seq, 0, writer) ||
        !slot_is_by(slot_at(o, page, LAST_SLOT), page, seq, LAST_SLOT,
                    writer) ||
        !slot_is_by(slot_at(o, page, ring), page, seq, ring, writer)) {
        return 0;
    }
    ring = ring_slot(seq + RING_SLOTS - 1);
    return slot_is(slot_at(o, page, ring), page, seq ? seq - 1 : 0, ring);
}

/* All 4096 bytes as @seq writes to page @name, the last by @writer, left it. */
static int page_whole(const Oracle *o, uint32_t page, uint32_t name,
                      uint32_t seq, uint32_t writer)
{
    uint32_t ring = ring_slot(seq);

    if (!slot_is_by(slot_at(o, page, 0), name, seq, 0, writer) ||
        !slot_is_by(slot_at(o, page, LAST_SLOT), name, seq, LAST_SLOT,
                    writer) ||
        !slot_is_by(slot_at(o, page, ring), name, seq, ring, writer)) {
        return 0;
    }
    for (uint32_t age = 1; age < RING_SLOTS; age++) {
        ring = ring > RING_STEP ? ring - RING_STEP
                                : ring + RING_SLOTS - RING_STEP;
        if (!slot_is(slot_at(o, page, ring), name,
                     age < seq ? seq - age : 0, ring)) {
            return 0;
        }
    }
    return 1;
}

static int page_zero(const Oracle *o, uint32_t page)
{
    const uint32_t *w = slot_at(o, page, 0);
    uint32_t any = 0;

    for (unsigned i = 0; i < ORACLE_PAGE / 4; i++) {
        any |= w[i];
    }
    return !any;
}

/* --- tables ------------------------------------------------------------ */

static OracleEntry *entry_at(const Oracle *o, uint32_t page)
{
    return &o->b[o->pages - 1 - page];
}

static uint32_t tag_make(uint32_t page, uint32_t seq, uint32_t writer,
                         OracleReason scar)
{
    uint32_t top = (uint32_t)scar << TAG_SCAR_SHIFT |
                   writer << TAG_WRITER_SHIFT;

    return top | ((mix(page, seq, MIX_ENTRY) ^ top >> TAG_WRITER_SHIFT) &
                  TAG_CHECK_MASK);
}

static void entry_write(OracleEntry *e, uint32_t page, uint32_t seq,
                        uint32_t writer, OracleReason scar)
{
    e->inverse = ~seq;
    e->tag = tag_make(page, seq, writer, scar);
}

static uint32_t tag_writer(uint32_t tag)
{
    return tag >> TAG_WRITER_SHIFT & TAG_WRITER_MASK;
}

static OracleReason tag_scar(uint32_t tag)
{
    return (OracleReason)(tag >> TAG_SCAR_SHIFT);
}

static int entry_valid(const OracleEntry *e, uint32_t page)
{
    return tag_scar(e->tag) <= ORACLE_TOTAL &&
           e->tag == tag_make(page, ~e->inverse, tag_writer(e->tag),
                              tag_scar(e->tag));
}

/* --- judgement --------------------------------------------------------- */

typedef struct Verdict {
    OracleReason reason;
    const void *culprit;
} Verdict;

/* The sequence that the page itself claims, if all of it agrees. */
static int page_claims(const Oracle *o, uint32_t page, uint32_t *name,
                       uint32_t *seq)
{
    const uint32_t *w = slot_at(o, page, 0);

    *name = w[0];
    *seq = w[1];
    return page_whole(o, page, w[0], w[1], w[2] & 0xff);
}

static Verdict judge_content(const Oracle *o, uint32_t page, uint32_t seq)
{
    Verdict v = { ORACLE_TORN, slot_at(o, page, 0) };
    uint32_t name, claim;

    if (page_zero(o, page)) {
        v.reason = ORACLE_ZERO;
    } else if (page_claims(o, page, &name, &claim)) {
        if (name != page) {
            v.reason = ORACLE_FOREIGN;
        } else if (claim > seq) {
            v = (Verdict) { ORACLE_TABLE, &o->a[page] };
        } else if (claim < seq) {
            v.reason = ORACLE_STALE;
        }
    }
    return v;
}

/* The tables disagree; the page says which of them to blame. */
static Verdict judge_tables(const Oracle *o, uint32_t page, uint32_t a)
{
    const OracleEntry *e = entry_at(o, page);
    uint32_t name, claim;

    if (page_claims(o, page, &name, &claim) && name == page && claim == a) {
        return (Verdict) { ORACLE_TABLE, e };
    }
    if (!entry_valid(e, page)) {
        return (Verdict) { ORACLE_TABLE, e };
    }
    return (Verdict) { ORACLE_TABLE, &o->a[page] };
}

/*
 * @a is A's entry, without its busy bit if that is the caller's own; anybody
 * else's is a table that does not agree with B.
 */
static Verdict judge(const Oracle *o, uint32_t page, uint32_t a)
{
    const OracleEntry *e = entry_at(o, page);

    if (!entry_valid(e, page) || e->inverse != ~a) {
        return judge_tables(o, page, a);
    }
    if (!page_whole(o, page, page, a, tag_writer(e->tag))) {
        return judge_content(o, page, a);
    }
    return (Verdict) { ORACLE_GOOD, NULL };
}

/* --- totals ------------------------------------------------------------ */

static OracleTotal *total_y(const Oracle *o, uint32_t worker)
{
    return (OracleTotal *)(o->y + (size_t)worker * ORACLE_PAGE);
}

static int total_agrees(const OracleTotal *x, const OracleTotal *y)
{
    return x->writes == ~y->writes && x->hash == ~y->hash &&
           x->damaged == ~y->damaged && x->caught == ~y->caught;
}

static void total_store(OracleTotal *x, OracleTotal *y, const OracleTotal *t)
{
    y->writes = ~t->writes;
    y->hash = ~t->hash;
    y->damaged = ~t->damaged;
    y->caught = ~t->caught;
    x->writes = t->writes;
    x->hash = t->hash;
    x->damaged = t->damaged;
    x->caught = t->caught;
}

static void total_add(const Oracle *o, uint32_t worker, uint32_t page,
                      uint32_t seq, int news)
{
    OracleTotal *x = &o->x[worker];
    OracleTotal *y = total_y(o, worker);
    OracleTotal t = *x;

    if (!total_agrees(x, y)) {
        t.damaged = 1;
    }
    t.writes++;
    t.hash += state_hash(page, seq) - state_hash(page, seq - 1);
    t.caught += news;
    total_store(x, y, &t);
}

/* --- interface --------------------------------------------------------- */

static size_t round_page(size_t bytes)
{
    return (bytes + ORACLE_PAGE - 1) & ~(size_t)(ORACLE_PAGE - 1);
}

size_t oracle_bytes_a(uint32_t pages)
{
    return round_page((size_t)pages * sizeof(uint32_t));
}

size_t oracle_bytes_b(uint32_t pages)
{
    return round_page((size_t)pages * sizeof(OracleEntry));
}

size_t oracle_bytes_x(void)
{
    return round_page(ORACLE_WORKERS * sizeof(OracleTotal));
}

size_t oracle_bytes_y(void)
{
    return ORACLE_WORKERS * (size_t)ORACLE_PAGE;
}

uint32_t oracle_pages_in(uint32_t room)
{
    uint32_t fixed = (oracle_bytes_x() + oracle_bytes_y()) / ORACLE_PAGE;
    uint32_t tables;

    if (room <= fixed) {
        return 0;
    }
    room -= fixed;
    tables = (oracle_bytes_a(room) + oracle_bytes_b(room)) / ORACLE_PAGE;
    return room > tables ? room - tables : 0;
}

void oracle_init(Oracle *o, uint32_t pages, void *area, void *a, void *b,
                 void *x, void *y)
{
    static const OracleTotal none;

    o->pages = pages;
    o->area = area;
    o->a = a;
    o->b = b;
    o->x = x;
    o->y = y;
    for (uint32_t i = 0; i < ORACLE_WORKERS; i++) {
        total_store(&o->x[i], total_y(o, i), &none);
    }
}

void oracle_fill(const Oracle *o, uint32_t from, uint32_t to)
{
    for (uint32_t page = from; page < to; page++) {
        for (uint32_t slot = 0; slot < ORACLE_SLOTS; slot++) {
            slot_write(slot_at(o, page, slot), page, 0,
                       slot_name(slot, WRITER_FILL));
        }
        o->a[page] = 0;
        entry_write(entry_at(o, page), page, 0, WRITER_FILL, ORACLE_GOOD);
    }
}

/* What write @seq should have left behind is there; else what is wrong. */
static OracleReason look(const Oracle *o, uint32_t page, uint32_t seq,
                         const OracleEntry *e)
{
    if (entry_valid(e, page) && e->inverse == ~seq &&
        page_recent(o, page, seq, tag_writer(e->tag))) {
        return ORACLE_GOOD;
    }
    return judge(o, page, seq).reason;
}

int oracle_write(const Oracle *o, uint32_t worker, uint32_t page)
{
    uint32_t *a = &o->a[page];
    OracleEntry *e = entry_at(o, page);
    uint32_t old = __atomic_load_n(a, __ATOMIC_RELAXED);
    uint32_t seq = (old + 1) & ~BUSY;
    OracleReason scar;
    int news = 0;

    /* Pairs with the release below: what the last writer left is seen. */
    if (old & BUSY ||
        !__atomic_compare_exchange_n(a, &old, old | BUSY, 0,
                                     __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
        return 0;
    }
    scar = entry_valid(e, page) ? tag_scar(e->tag) : ORACLE_GOOD;
    if (scar == ORACLE_GOOD) {
        scar = look(o, page, old, e);
        news = scar != ORACLE_GOOD;
    }
    page_stamp(o, page, seq, WRITER_OF(worker));
    entry_write(e, page, seq, WRITER_OF(worker), scar);
    total_add(o, worker, page, seq, news);
    __atomic_store_n(a, seq, __ATOMIC_RELEASE);
    return 1;
}

/*
 * A worker updates Y, then X, in words that a 32-bit guest writes one by one:
 * take a pair that differs by the one write that may be under way.
 */
static uint64_t total_writes(const volatile OracleTotal *x,
                             const volatile OracleTotal *y)
{
    uint64_t writes = 0;

    for (unsigned tries = 0; tries < 1000; tries++) {
        writes = x->writes;
        if (~y->writes - writes <= 1) {
            break;
        }
    }
    return writes;
}

uint64_t oracle_writes(const Oracle *o)
{
    uint64_t writes = 0;

    for (uint32_t i = 0; i < ORACLE_WORKERS; i++) {
        writes += total_writes(&o->x[i], total_y(o, i));
    }
    return writes;
}

void oracle_sum_init(OracleSum *sum)
{
    *sum = (OracleSum) { .first = UINT32_MAX };
}

static void sum_bad(OracleSum *sum, uint32_t page, Verdict v)
{
    sum->bad++;
    if (sum->reason == ORACLE_GOOD) {
        sum->first = page;
        sum->reason = v.reason;
        sum->culprit = v.culprit;
    }
}

void oracle_verify_range(const Oracle *o, uint32_t from, uint32_t to,
                         OracleSum *sum)
{
    for (uint32_t page = from; page < to; page++) {
        const OracleEntry *e = entry_at(o, page);
        Verdict v = judge(o, page, o->a[page]);

        if (entry_valid(e, page) && tag_scar(e->tag) != ORACLE_GOOD) {
            sum->scars++;
            if (v.reason == ORACLE_GOOD) {
                v = (Verdict) { tag_scar(e->tag), slot_at(o, page, 0) };
            }
        }
        if (v.reason != ORACLE_GOOD) {
            sum_bad(sum, page, v);
        }
        sum->writes += o->a[page];
        sum->hash += state_hash(page, o->a[page]);
    }
}

void oracle_sum_merge(OracleSum *into, const OracleSum *from)
{
    into->bad += from->bad;
    into->scars += from->scars;
    into->writes += from->writes;
    into->hash += from->hash;
    if (from->first < into->first) {
        into->first = from->first;
        into->reason = from->reason;
        into->culprit = from->culprit;
    }
}

/* X and Y differ: the one that adds up to the tables is not to blame. */
static const void *total_culprit(const Oracle *o, uint32_t worker,
                                 const OracleSum *sum)
{
    uint64_t writes = 0;

    for (uint32_t i = 0; i < ORACLE_WORKERS; i++) {
        writes += o->x[i].writes;
    }
    if (writes == sum->writes) {
        return total_y(o, worker);
    }
    return &o->x[worker];
}

void oracle_verify_totals(const Oracle *o, OracleSum *sum)
{
    Verdict v = { ORACLE_GOOD, NULL };
    uint64_t writes = 0, hash = 0;
    uint32_t caught = 0, damaged = 0;

    for (uint32_t i = 0; i < ORACLE_WORKERS; i++) {
        const OracleTotal *x = &o->x[i];

        writes += x->writes;
        hash += x->hash;
        caught += x->caught;
        damaged |= x->damaged;
        if (!v.culprit && !total_agrees(x, total_y(o, i))) {
            v.culprit = total_culprit(o, i, sum);
        }
    }
    if (v.culprit || damaged || writes != sum->writes || hash != sum->hash ||
        caught != sum->scars) {
        v.reason = ORACLE_TOTAL;
        sum_bad(sum, UINT32_MAX, v);
    }
}

const char *oracle_reason_name(OracleReason reason)
{
    static const char *const names[] = {
        [ORACLE_GOOD] = "-",
        [ORACLE_STALE] = "stale",
        [ORACLE_TORN] = "torn",
        [ORACLE_ZERO] = "zero",
        [ORACLE_FOREIGN] = "foreign",
        [ORACLE_TABLE] = "table",
        [ORACLE_TOTAL] = "total",
    };

    return names[reason];
}
