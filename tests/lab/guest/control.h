/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The control protocol of the guest payloads: lines in, one line out each.
 *
 * Theory of operation
 * -------------------
 * README.md has the protocol. control_input() collects bytes into lines and
 * answers each line through ops->say(). The actions are behind ops too, so that the Linux and the firmware-less
 * payload share every word they say.
 *
 * A line that looks like one of our own answers is ignored: a serial line
 * that echoes (a tty, a loop-back character device) would otherwise have us
 * answer our answers for ever.
 *
 * Threads: one, the payload's control thread or its CPU 0.
 *
 * Limits: lines up to 120 characters, longer ones are an error as a whole;
 * freestanding as the oracle is.
 */
#ifndef TESTS_LAB_GUEST_CONTROL_H
#define TESTS_LAB_GUEST_CONTROL_H

#include "workers.h"

#define CONTROL_LINE    120u

/* A line under construction; silently cut at its end. */
typedef struct Text {
    uint32_t used;
    char at[256];
} Text;

void text_add(Text *t, const char *s);
void text_number(Text *t, uint64_t n);
void text_hex(Text *t, uint64_t n);

typedef struct ControlOps {
    /* Sends a line (without its end) to the host. */
    void (*say)(const char *line);
    uint64_t (*now)(void);
    /* The workers were given something to do: wake it. */
    void (*wake)(void);
    /* Returns when workers_busy() is 0. */
    void (*wait)(void);
    /* Guest frame of an address of the guest's; UINT64_MAX if unknown. */
    uint64_t (*gfn)(const void *address);
    /* Beats so far, and the longest gap since the last call, microseconds. */
    void (*beats)(uint64_t *beats, uint64_t *max_gap_us);
    /* Network commands: the answer goes to @t. NULL: there is no network. */
    void (*net)(char *rest, Text *t);
    /* The same for SMIs and the frame buffer. */
    void (*hw)(char *rest, Text *t);
    /* Does not return. */
    void (*poweroff)(void);
} ControlOps;

typedef struct Control {
    const ControlOps *ops;
    Workers *workers;
    uint32_t used;
    uint32_t overlong;
    int heard;          /* the host has said something */
    char line[CONTROL_LINE + 1];
} Control;

void control_init(Control *c, const ControlOps *ops, Workers *workers);

/*
 * Says that the payload is up, when the workers have filled the area. To be called
 * every half second until the host was heard: what it writes while nothing is
 * connected to a QEMU's serial port is gone.
 */
void control_ready(Control *c);

void control_input(Control *c, char byte);

#endif
