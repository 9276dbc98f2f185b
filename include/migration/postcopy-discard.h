/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The moment at which an incoming migration becomes a postcopy one.
 *
 * Theory of operation
 * -------------------
 * If the source offers postcopy, the destination discards all guest memory before
 * it takes the first page (POSTCOPY_NOTIFY_INBOUND_ADVISE). From then on memory is
 * like that of any migration, until the source does switch to postcopy: then it
 * names the pages that have to come again, and the destination discards these
 * (here), before it listens for page faults (POSTCOPY_NOTIFY_INBOUND_LISTEN). Who
 * has pinned memory, or pins it, must have stopped before that: a page that comes
 * back by pinning would count as having arrived.
 *
 * Thread model: the BQL.
 *
 * Limits: none.
 */
#ifndef MIGRATION_POSTCOPY_DISCARD_H
#define MIGRATION_POSTCOPY_DISCARD_H

#include "qemu/notify.h"

/* Called once per migration, without data; notifier_remove() ends it. */
void postcopy_add_discard_notifier(Notifier *notifier);

/* Called by postcopy-ram.c, before the first page goes. */
void postcopy_discard_begins(void);

#endif
