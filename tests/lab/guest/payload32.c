/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The firmware-less 32-bit payload: the oracle on an unpaged PC.
 *
 * Theory of operation
 * -------------------
 * `-bios payload32.rom` is all that a machine needs. payload32-head.S gets to
 * payload_main() on CPU 0, in flat, unpaged, 32-bit protected mode, and the
 * others to payload_ap_main(). Memory:
 *
 *   0x8000     where the other CPUs start, one page
 *   1 MiB      the payload: code, data, stacks
 *   2 MiB      X | A | load area | B | Y     to the end of RAM below 4 GiB, or
 *              as much as the fw_cfg file opt/load.mb says (tables included)
 *
 * Every CPU is a worker and spins on worker_step(). CPU 0 is control as well:
 * between two steps, once a millisecond, it looks whether COM2 (COM1 where
 * there is no other) has received something. That is also the heartbeat.
 *
 * Time is the TSC, its rate measured once against the PIT.
 *
 * Limits: RAM below 4 GiB only. The TSC must run at the same rate on both
 * sides of a migration, or a rate limit is off by that much. The heartbeat
 * includes the time of a step of CPU 0's own load.
 */
#include "control.h"
#include "payload32.h"

#define LOAD_BEGIN      0x200000u
#define AP_PAGE         0x8000u
#define BEATS_PER_S     1000u
#define READY_PER_S     2u
#define ARRIVAL_S       10u

extern const uint8_t ap_start[], ap_end[];

void payload_main(void);
void payload_ap_main(uint32_t number);

static Oracle oracle;
static Workers workers;
static Control control;
static uint16_t port;
static uint64_t ticks_per_beat;
static uint32_t arrived = 1;    /* CPUs; atomic */
static uint32_t workers_ready;     /* atomic; the workers may be stepped */

static struct {
    uint32_t beats;
    uint64_t max_gap, last;
} heart;

static void say(const char *line)
{
    serial_write(port, line);
    serial_write(port, "\n");
}

static void beat(uint64_t now)
{
    uint64_t gap = now - heart.last;

    heart.beats++;
    heart.last = now;
    if (gap > heart.max_gap) {
        heart.max_gap = gap;
    }
}

static void beats(uint64_t *n, uint64_t *max_gap_us)
{
    *n = heart.beats;
    *max_gap_us = divide_u64(heart.max_gap * (1000000 / BEATS_PER_S),
                              ticks_per_beat, NULL);
    heart.max_gap = 0;
}

static uint64_t gfn_of(const void *address)
{
    return (uintptr_t)address / ORACLE_PAGE;
}

/* Workers spin: there is no sleeper to wake. */
static void wake(void)
{
}

/* Until the workers are idle, CPU 0 does its own share. */
static void wait(void)
{
    while (workers_busy(&workers)) {
        if (worker_step(&workers, 0, tsc_read())) {
            relax();
        }
    }
}

static void off(void)
{
    machine_off();
}

static const ControlOps payload32_ops = {
    .say = say,
    .now = tsc_read,
    .wake = wake,
    .wait = wait,
    .gfn = gfn_of,
    .beats = beats,
    .poweroff = off,
};

void payload_ap_main(uint32_t number)
{
    __atomic_add_fetch(&arrived, 1, __ATOMIC_RELAXED);
    /* Pairs with the release in payload_main(): the workers are complete. */
    while (!__atomic_load_n(&workers_ready, __ATOMIC_ACQUIRE)) {
        relax();
    }
    while (number < workers.size) {
        if (worker_step(&workers, number, tsc_read())) {
            relax();
        }
    }
}

/* Where the other CPUs start. Volatile: only assembly reads it. */
static void ap_page_write(void)
{
    volatile uint8_t *to = (volatile uint8_t *)AP_PAGE;

    for (const uint8_t *from = ap_start; from < ap_end; from++) {
        *to++ = *from;
    }
}

/*
 * Starts the other CPUs and waits for them, but not for ever: `stat` says how
 * many came. A CPU that is late by a SIPI gets another one.
 */
static uint32_t cpus_start(uint64_t ticks_per_s)
{
    uint32_t cpus = fw_cfg_cpus(), here = 1;
    uint64_t begin = tsc_read(), next = begin;

    cpus = cpus < ORACLE_WORKERS ? cpus : ORACLE_WORKERS;
    if (cpus > 1) {
        ap_page_write();
        apic_init_others();
    }
    while (here < cpus && tsc_read() - begin < ARRIVAL_S * ticks_per_s) {
        if (tsc_read() >= next) {
            apic_start_others(AP_PAGE);
            next = tsc_read() + ticks_per_s;
        }
        relax();
        here = __atomic_load_n(&arrived, __ATOMIC_RELAXED);
    }
    return here;
}

static void oracle_place(void)
{
    uint32_t room = ram_end() - LOAD_BEGIN;
    uint32_t wanted = fw_cfg_number("opt/load.mb");
    uint32_t pages;
    uint8_t *x = (uint8_t *)LOAD_BEGIN, *a, *area, *b, *y;

    if (wanted && wanted < room >> 20) {
        room = wanted << 20;
    }
    pages = oracle_pages_in(room / ORACLE_PAGE);
    a = x + oracle_bytes_x();
    area = a + oracle_bytes_a(pages);
    b = area + (size_t)pages * ORACLE_PAGE;
    y = b + oracle_bytes_b(pages);
    oracle_init(&oracle, pages, area, a, b, x, y);
}

static void say_ready(uint64_t ticks_per_s)
{
    Text t = { 0 };

    text_add(&t, "payload: ");
    text_number(&t, oracle.pages);
    text_add(&t, " pages, ");
    text_number(&t, workers.size);
    text_add(&t, " vcpus, ");
    text_number(&t, divide_u64(ticks_per_s, 1000000, NULL));
    text_add(&t, " MHz\r\n");
    serial_write(COM1, t.at);
}

static void poll(void)
{
    int byte;

    while ((byte = serial_read(port)) >= 0) {
        control_input(&control, byte);
    }
}

static void __attribute__((noreturn)) control_loop(void)
{
    heart.last = tsc_read();
    control_ready(&control);
    for (;;) {
        uint64_t now = tsc_read();

        if (now - heart.last >= ticks_per_beat) {
            beat(now);
            poll();
            if (!control.heard &&
                heart.beats % (BEATS_PER_S / READY_PER_S) == 0) {
                control_ready(&control);
            }
        }
        if (worker_step(&workers, 0, now)) {
            relax();
        }
    }
}

void payload_main(void)
{
    uint64_t ticks_per_s;

    serial_init(COM1);
    port = serial_init(COM2) ? COM2 : COM1;
    ticks_per_s = tsc_measure();
    ticks_per_beat = divide_u64(ticks_per_s, BEATS_PER_S, NULL);
    oracle_place();
    workers_init(&workers, &oracle, cpus_start(ticks_per_s), ticks_per_s);
    __atomic_store_n(&workers_ready, 1, __ATOMIC_RELEASE);
    control_init(&control, &payload32_ops, &workers);
    workers_start_job(&workers, JOB_FILL);
    wait();
    say_ready(ticks_per_s);
    control_loop();
}
