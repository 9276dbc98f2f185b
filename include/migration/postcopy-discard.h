/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What an incoming postcopy migration discards, for those who hold guest memory.
 *
 * Theory of operation
 * -------------------
 * If the source offers postcopy, the destination discards all guest memory before
 * it takes the first page (POSTCOPY_NOTIFY_INBOUND_ADVISE). From then on memory is
 * like that of any migration, until the source does switch to postcopy: then it
 * names the pages that have to come again, and the destination discards these,
 * before it listens for page faults (POSTCOPY_NOTIFY_INBOUND_LISTEN). A device
 * that pins guest memory does so between the two; it must have stopped before the
 * second: a page that comes back by pinning would count as having arrived.
 *
 *   ADVISE -> all is discarded -> discarded() -> pages come
 *          -> discard_begins() -> some are discarded -> LISTEN
 *
 * Thread model: the BQL.
 *
 * Limits: none.
 */
#ifndef MIGRATION_POSTCOPY_DISCARD_H
#define MIGRATION_POSTCOPY_DISCARD_H

#include "qemu/coroutine.h"
#include "qemu/queue.h"

typedef struct PostcopyHolder PostcopyHolder;
typedef int coroutine_mixed_fn PostcopyDiscarded(PostcopyHolder *holder,
                                                 Error **errp);

struct PostcopyHolder {
    /*
     * All memory was discarded, and no page has come yet. In a coroutine it may
     * wait; it stays in the list until it returns. -errno with @errp: the
     * migration fails.
     */
    PostcopyDiscarded *discarded;
    /* Pages are about to be discarded: none may be pinned from now on. */
    void (*discard_begins)(PostcopyHolder *holder);
    QTAILQ_ENTRY(PostcopyHolder) next;
};

void postcopy_holder_add(PostcopyHolder *holder);
void postcopy_holder_remove(PostcopyHolder *holder);

/* Called by the load of a migration. */
int coroutine_mixed_fn postcopy_discarded(Error **errp);
void postcopy_discard_begins(void);

#endif
