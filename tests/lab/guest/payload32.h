/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the firmware-less payload asks of the PC that it runs on.
 *
 * Limits: the PC is QEMU's pc or q35: nothing is probed for that is always
 * there, and CPU 0 alone calls all of this, but for tsc_read() and relax().
 */
#ifndef TESTS_LAB_GUEST_PAYLOAD32_H
#define TESTS_LAB_GUEST_PAYLOAD32_H

#include <stddef.h>
#include <stdint.h>

#define COM1    0x3f8
#define COM2    0x2f8

static inline uint64_t tsc_read(void)
{
    uint32_t low, high;

    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}

static inline void relax(void)
{
    __asm__ volatile("pause" : : : "memory");
}

/* TSC ticks a second, held against the PIT for 1/100 s. */
uint64_t tsc_measure(void);

/* Whether there is a UART; if so it is ready to use, 8n1, polled. */
int serial_init(uint16_t base);
void serial_write(uint16_t base, const char *s);
/* The next byte, or -1. */
int serial_read(uint16_t base);

/* The end of RAM below 4 GiB. */
uint32_t ram_end(void);
/* The decimal number in an fw_cfg file; 0 if there is none. */
uint32_t fw_cfg_number(const char *name);
uint32_t fw_cfg_cpus(void);

/*
 * INIT for all other CPUs, then SIPI: they start at @page, below 1 MiB. A CPU
 * that runs already ignores a SIPI.
 */
void apic_init_others(void);
void apic_start_others(uint32_t page);

void __attribute__((noreturn)) machine_off(void);

#endif
