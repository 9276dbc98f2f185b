/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The payload's hand on two kinds of memory that only devices and firmware see.
 *
 * Theory of operation
 * -------------------
 * smi    a thread raises system management interrupts through the APM control
 *        port. With each, the CPU saves its registers to SMRAM, which is written
 *        through the second address space of the CPU; the thread counts in a
 *        register, so that no two of these writes leave the same bytes. The
 *        firmware's handler has nothing to do with the number written to the
 *        port and returns.
 * vga    the standard VGA's frame buffer, in a mode of eight bits a pixel with a
 *        palette of greys. In such a mode QEMU converts what is shown line by
 *        line, and only the lines that dirty logging has named: a page lost
 *        there shows on the screen.
 *
 * Thread model: the control thread calls; the SMI thread is one of its own and
 * shares an atomic rate and an atomic count with it.
 *
 * Limits: a PC; SMI needs SeaBIOS or another firmware that has set SMM up.
 * I/O privilege of the calling thread is raised and stays so.
 */
#ifndef TESTS_LAB_GUEST_HW_H
#define TESTS_LAB_GUEST_HW_H

#include "control.h"

/* Does what @rest says; the answer, or "error ...", goes to @t. */
void hw_command(char *rest, Text *t);

#endif
