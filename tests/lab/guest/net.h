/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The payload's network side: numbered frames that must come back.
 *
 * Theory of operation
 * -------------------
 * The guest's first Ethernet interface is expected to loop broadcast frames
 * back, as the vDPA simulator does. A sender numbers frames and fills them
 * with what follows from the number; a receiver ticks the numbers off:
 *
 *   lost        sent and not come back (as of now: some may be under way)
 *   duplicate   came back twice
 *   corrupt     came back different
 *
 * At most WINDOW frames are under way. When nothing comes back for PATIENCE,
 * those under way are given up (they stay lost unless they come after all),
 * and the sender goes on: a queue that is stuck for good shows as received
 * standing still. `gap` is the longest time between two frames received.
 *
 * With "away=1" frames go to another address and do not come back; what the
 * driver has counted (`tx`) says how many the device took.
 *
 * While it is told to hold, frames wait in the kernel, in the pages that the
 * device wrote; when the window is full, the sender waits, too.
 *
 * Thread model: the control thread calls; sender and receiver are threads of
 * their own; counters are atomic.
 *
 * A link counts as up when the kernel has also put the device's queues in
 * place of its own, which swallow frames without a word. "net up", "net rebind"
 * and "net link" wait for that, so all that is sent afterwards is the device's.
 *
 * Limits: one interface; modules are loaded from /modules of the initramfs, in
 * the order of their names.
 */
#ifndef TESTS_LAB_GUEST_NET_H
#define TESTS_LAB_GUEST_NET_H

#include "control.h"

/* Does what @rest says; the answer, or "error ...", goes to @t. */
void net_command(char *rest, Text *t);

/* Loads what is in /modules. */
void net_load_modules(void);

#endif
