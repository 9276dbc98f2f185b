/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * SMIs and the frame buffer. Theory of operation and limits: hw.h.
 */
#define _GNU_SOURCE
#include "hw.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/io.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define APM_CONTROL     0xb2    /* of PIIX4 and ICH9; a write raises an SMI */
#define APM_NOTHING     0x10    /* a number that means nothing to SeaBIOS */

#define DISPI_INDEX     0x1ce   /* Bochs VBE extensions */
#define DISPI_DATA      0x1cf
#define DAC_INDEX       0x3c8
#define DAC_DATA        0x3c9
#define ATTRIBUTE       0x3c0
#define STATUS_COLOUR   0x3da
#define ATTRIBUTE_ON    0x20

enum {
    DISPI_XRES = 1, DISPI_YRES = 2, DISPI_BPP = 3, DISPI_ENABLE = 4,
};
#define DISPI_ENABLED   0x01
#define DISPI_LINEAR    0x40

#define PCI_SLOTS       "/sys/bus/pci/devices"
#define CLASS_VGA       0x030000u

static atomic_uint smi_rate;
static atomic_uint smi_count;
static int smi_thread_runs;

static unsigned char *screen;
static unsigned width, height;

/* --- SMI ---------------------------------------------------------------- */

static void smi_raise(unsigned number)
{
    __asm__ volatile("outb %%al, %1"
                     : : "a"(APM_NOTHING), "N"(APM_CONTROL), "b"(number)
                     : "memory");
}

static void *smi_main(void *opaque)
{
    struct timespec pause = { 0 };
    unsigned rate;

    (void)opaque;
    for (;;) {
        rate = atomic_load(&smi_rate);
        pause.tv_nsec = rate ? 1000000000 / rate - 1 : 10000000;
        nanosleep(&pause, NULL);
        if (atomic_load(&smi_rate)) {
            smi_raise(atomic_load(&smi_count) + 1);
            atomic_fetch_add(&smi_count, 1);
        }
    }
    return NULL;
}

static const char *smi(unsigned rate)
{
    pthread_t thread;

    if (iopl(3)) {
        return "no I/O privilege";
    }
    if (!smi_thread_runs && pthread_create(&thread, NULL, smi_main, NULL)) {
        return "cannot start a thread";
    }
    smi_thread_runs = 1;
    atomic_store(&smi_rate, rate);
    return NULL;
}

/* --- the screen --------------------------------------------------------- */

static void dispi(unsigned short index, unsigned short value)
{
    outw(index, DISPI_INDEX);
    outw(value, DISPI_DATA);
}

/* Sixty-four greys, in order. */
static void palette(void)
{
    outb(0, DAC_INDEX);
    for (unsigned i = 0; i < 256; i++) {
        for (unsigned colour = 0; colour < 3; colour++) {
            outb(i & 63, DAC_DATA);
        }
    }
    inb(STATUS_COLOUR);         /* next is an index */
    outb(ATTRIBUTE_ON, ATTRIBUTE);
}

static int is_vga(const char *slot)
{
    char path[300], text[16] = "";
    unsigned class = 0;
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s/class", PCI_SLOTS, slot);
    file = fopen(path, "r");
    if (file) {
        if (fgets(text, sizeof(text), file)) {
            sscanf(text, "%x", &class);
        }
        fclose(file);
    }
    return class == CLASS_VGA;
}

/* The first VGA's frame buffer, opened; -1: there is none. */
static int open_frame_buffer(void)
{
    struct dirent *slot;
    char path[300];
    int fd = -1;
    DIR *slots;

    mkdir("/sys", 0755);
    mount("sysfs", "/sys", "sysfs", 0, NULL);
    slots = opendir(PCI_SLOTS);
    while (slots && fd < 0 && (slot = readdir(slots))) {
        if (is_vga(slot->d_name)) {
            snprintf(path, sizeof(path), "%s/%s/enable", PCI_SLOTS, slot->d_name);
            fd = open(path, O_WRONLY);
            if (fd >= 0 && write(fd, "1", 1) != 1) {
                fprintf(stderr, "payload: %s: %s\n", path, strerror(errno));
            }
            close(fd);
            snprintf(path, sizeof(path), "%s/%s/resource0", PCI_SLOTS, slot->d_name);
            fd = open(path, O_RDWR);
        }
    }
    if (slots) {
        closedir(slots);
    }
    return fd;
}

static const char *vga(unsigned columns, unsigned rows)
{
    unsigned char *map;
    int fd;

    if (screen) {
        return "the screen is up";
    }
    if (iopl(3)) {
        return "no I/O privilege";
    }
    fd = open_frame_buffer();
    if (fd < 0) {
        return "no VGA";
    }
    map = mmap(NULL, columns * rows, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (map == MAP_FAILED) {
        return "cannot map the frame buffer";
    }
    dispi(DISPI_ENABLE, 0);
    dispi(DISPI_XRES, columns);
    dispi(DISPI_YRES, rows);
    dispi(DISPI_BPP, 8);
    dispi(DISPI_ENABLE, DISPI_ENABLED | DISPI_LINEAR);
    palette();
    memset(map, 0, columns * rows);
    screen = map;
    width = columns;
    height = rows;
    return NULL;
}

static const char *fill(unsigned first, unsigned count, unsigned value)
{
    if (!screen) {
        return "no screen yet";
    }
    if (first >= height || count > height - first || value > 63) {
        return "rows of the screen, and a grey below 64";
    }
    memset(screen + first * width, value, count * width);
    return NULL;
}

/* --- commands ----------------------------------------------------------- */

void hw_command(char *rest, Text *t)
{
    const char *wrong = "hw knows smi, vga, fill";
    unsigned a, b, c;

    if (sscanf(rest, "smi %u", &a) == 1) {
        wrong = a <= 1000 ? smi(a) : "at most 1000 a second";
    } else if (sscanf(rest, "vga %u %u", &a, &b) == 2) {
        wrong = a && b && a <= 2048 && b <= 2048 && a % 8 == 0
            ? vga(a, b) : "a size below 2048, of whole eights";
    } else if (sscanf(rest, "fill %u %u %u", &a, &b, &c) == 3) {
        wrong = fill(a, b, c);
    }
    if (wrong) {
        text_add(t, "error ");
        text_add(t, wrong);
        return;
    }
    text_add(t, "hw smis=");
    text_number(t, atomic_load(&smi_count));
}
