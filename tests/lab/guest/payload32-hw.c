/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Serial ports, PIT, CMOS, fw_cfg, local APIC, power: as little of each as
 * the firmware-less payload needs. Interface and limits: payload32.h.
 */
#include "payload32.h"

#include "workers.h"

static inline void out8(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline void out16(uint16_t port, uint16_t value)
{
    __asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port));
}

static inline void out32(uint16_t port, uint32_t value)
{
    __asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port));
}

static inline uint8_t in8(uint16_t port)
{
    uint8_t value;

    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static inline uint32_t in32(uint16_t port)
{
    uint32_t value;

    __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

/* --- 16550 --------------------------------------------------------------- */

enum {
    UART_DATA = 0, UART_INTERRUPTS = 1, UART_FIFO = 2, UART_LINE = 3,
    UART_MODEM = 4, UART_STATUS = 5, UART_SCRATCH = 7,
};

#define LINE_8N1            0x03
#define LINE_DIVISOR        0x80
#define FIFO_ON_AND_EMPTY   0x07
#define MODEM_DTR_RTS       0x03
#define STATUS_RECEIVED     0x01
#define STATUS_CAN_SEND     0x20

int serial_init(uint16_t base)
{
    out8(base + UART_SCRATCH, 0x5a);
    if (in8(base + UART_SCRATCH) != 0x5a) {
        return 0;
    }
    out8(base + UART_INTERRUPTS, 0);
    out8(base + UART_LINE, LINE_DIVISOR | LINE_8N1);
    out8(base + UART_DATA, 1);
    out8(base + UART_INTERRUPTS, 0);
    out8(base + UART_LINE, LINE_8N1);
    out8(base + UART_FIFO, FIFO_ON_AND_EMPTY);
    out8(base + UART_MODEM, MODEM_DTR_RTS);
    return 1;
}

void serial_write(uint16_t base, const char *s)
{
    for (; *s; s++) {
        while (!(in8(base + UART_STATUS) & STATUS_CAN_SEND)) {
            relax();
        }
        out8(base + UART_DATA, *s);
    }
}

int serial_read(uint16_t base)
{
    if (!(in8(base + UART_STATUS) & STATUS_RECEIVED)) {
        return -1;
    }
    return in8(base + UART_DATA);
}

/* --- time ---------------------------------------------------------------- */

#define PIT_HZ              1193182u
#define PIT_COUNTER_2       0x42
#define PIT_COMMAND         0x43
#define PIT_2_ONE_SHOT      0xb0    /* counter 2, both bytes, mode 0 */
#define PORT_B              0x61
#define PORT_B_GATE_2       0x01
#define PORT_B_SPEAKER      0x02
#define PORT_B_OUT_2        0x20
#define MEASURES_PER_S      100u

uint64_t tsc_measure(void)
{
    uint32_t count = PIT_HZ / MEASURES_PER_S;
    uint64_t begin;

    out8(PORT_B, (in8(PORT_B) & ~PORT_B_SPEAKER) | PORT_B_GATE_2);
    out8(PIT_COMMAND, PIT_2_ONE_SHOT);
    out8(PIT_COUNTER_2, count & 0xff);
    out8(PIT_COUNTER_2, count >> 8);
    begin = tsc_read();
    while (!(in8(PORT_B) & PORT_B_OUT_2)) {
        relax();
    }
    return (tsc_read() - begin) * MEASURES_PER_S;
}

/* --- CMOS ---------------------------------------------------------------- */

#define CMOS_INDEX          0x70
#define CMOS_DATA           0x71
#define CMOS_NMI_OFF        0x80
#define CMOS_KIB_ABOVE_1M   0x30
#define CMOS_64K_ABOVE_16M  0x34

static uint32_t cmos16(uint8_t index)
{
    uint32_t low;

    out8(CMOS_INDEX, CMOS_NMI_OFF | index);
    low = in8(CMOS_DATA);
    out8(CMOS_INDEX, CMOS_NMI_OFF | (index + 1));
    return low | (uint32_t)in8(CMOS_DATA) << 8;
}

uint32_t ram_end(void)
{
    uint32_t above_16m = cmos16(CMOS_64K_ABOVE_16M);

    if (above_16m) {
        return (16u << 20) + (above_16m << 16);
    }
    return (1u << 20) + (cmos16(CMOS_KIB_ABOVE_1M) << 10);
}

/* --- fw_cfg -------------------------------------------------------------- */

#define FW_CFG_SELECT       0x510
#define FW_CFG_DATA         0x511
#define FW_CFG_CPUS         0x05
#define FW_CFG_DIRECTORY    0x19
#define FW_CFG_NAME_BYTES   56

static uint32_t fw_cfg_big_endian(unsigned bytes)
{
    uint32_t value = 0;

    while (bytes--) {
        value = value << 8 | in8(FW_CFG_DATA);
    }
    return value;
}

/* Reads the whole name, so that the next file follows. */
static int fw_cfg_name_is(const char *name)
{
    int is = 1, ended = 0;

    for (unsigned i = 0; i < FW_CFG_NAME_BYTES; i++) {
        char c = in8(FW_CFG_DATA);

        is &= ended || c == *name;
        ended |= !c;
        name += *name != 0;
    }
    return is;
}

static uint32_t fw_cfg_decimal(uint32_t bytes)
{
    uint32_t value = 0;

    while (bytes--) {
        uint8_t c = in8(FW_CFG_DATA);

        if (c < '0' || c > '9') {
            break;
        }
        value = value * 10 + (c - '0');
    }
    return value;
}

uint32_t fw_cfg_number(const char *name)
{
    uint32_t files;

    out16(FW_CFG_SELECT, FW_CFG_DIRECTORY);
    files = fw_cfg_big_endian(4);
    while (files--) {
        uint32_t size = fw_cfg_big_endian(4);
        uint16_t select = fw_cfg_big_endian(2);

        fw_cfg_big_endian(2);
        if (fw_cfg_name_is(name)) {
            out16(FW_CFG_SELECT, select);
            return fw_cfg_decimal(size);
        }
    }
    return 0;
}

uint32_t fw_cfg_cpus(void)
{
    uint32_t low;

    out16(FW_CFG_SELECT, FW_CFG_CPUS);
    low = in8(FW_CFG_DATA);
    return low | (uint32_t)in8(FW_CFG_DATA) << 8;
}

/* --- local APIC ---------------------------------------------------------- */

#define APIC_SPURIOUS       0xfee000f0
#define APIC_COMMAND        0xfee00300
#define APIC_ENABLE         0x1ff
#define APIC_OTHERS_INIT    0x000c4500
#define APIC_OTHERS_SIPI    0x000c4600
#define INIT_TICKS          10000000    /* some milliseconds */

static void apic_write(uintptr_t reg, uint32_t value)
{
    *(volatile uint32_t *)reg = value;
}

static void wait_ticks(uint64_t ticks)
{
    uint64_t begin = tsc_read();

    while (tsc_read() - begin < ticks) {
        relax();
    }
}

void apic_init_others(void)
{
    apic_write(APIC_SPURIOUS, APIC_ENABLE);
    apic_write(APIC_COMMAND, APIC_OTHERS_INIT);
    wait_ticks(INIT_TICKS);
}

void apic_start_others(uint32_t page)
{
    apic_write(APIC_COMMAND, APIC_OTHERS_SIPI | page >> 12);
}

/* --- power --------------------------------------------------------------- */

#define PCI_ADDRESS         0xcf8
#define PCI_DATA            0xcfc
#define PCI_ENABLE          0x80000000u
#define PCI_DEVFN(d, f)     ((d) << 11 | (f) << 8)
#define PIIX4_PM            PCI_DEVFN(1, 3)
#define PIIX4_PM_ID         0x71138086u
#define ICH9_LPC            PCI_DEVFN(31, 0)
#define ICH9_LPC_ID         0x29188086u
#define PM_BASE             0xb000
#define PM_CONTROL          4
#define PM_SLEEP_S5         0x2000
#define KEYBOARD_COMMAND    0x64
#define KEYBOARD_RESET      0xfe

static uint32_t pci_read(uint32_t function, uint32_t reg)
{
    out32(PCI_ADDRESS, PCI_ENABLE | function | reg);
    return in32(PCI_DATA);
}

static void pci_write(uint32_t function, uint32_t reg, uint32_t value)
{
    out32(PCI_ADDRESS, PCI_ENABLE | function | reg);
    out32(PCI_DATA, value);
}

/* No firmware has told the chipset where its power registers are: do so. */
void machine_off(void)
{
    if (pci_read(PIIX4_PM, 0) == PIIX4_PM_ID) {
        pci_write(PIIX4_PM, 0x40, PM_BASE | 1);
        pci_write(PIIX4_PM, 0x80, pci_read(PIIX4_PM, 0x80) | 1);
    } else if (pci_read(ICH9_LPC, 0) == ICH9_LPC_ID) {
        pci_write(ICH9_LPC, 0x40, PM_BASE | 1);
        pci_write(ICH9_LPC, 0x44, pci_read(ICH9_LPC, 0x44) | 0x80);
    }
    out16(PM_BASE + PM_CONTROL, PM_SLEEP_S5);
    out8(KEYBOARD_COMMAND, KEYBOARD_RESET);
    for (;;) {
        __asm__ volatile("hlt");
    }
}
