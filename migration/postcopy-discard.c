/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Tells those who hold guest memory what postcopy discards. See
 * postcopy-discard.h, also for the limits.
 */
#include "qemu/osdep.h"
#include "qemu/main-loop.h"
#include "migration/postcopy-discard.h"

static QTAILQ_HEAD(, PostcopyHolder) holders = QTAILQ_HEAD_INITIALIZER(holders);

void postcopy_holder_add(PostcopyHolder *holder)
{
    GLOBAL_STATE_CODE();
    QTAILQ_INSERT_TAIL(&holders, holder, next);
}

void postcopy_holder_remove(PostcopyHolder *holder)
{
    GLOBAL_STATE_CODE();
    QTAILQ_REMOVE(&holders, holder, next);
}

/* Others may go while one waits; the one that waits does not. */
int coroutine_mixed_fn postcopy_discarded(Error **errp)
{
    PostcopyHolder *holder;

    GLOBAL_STATE_CODE();
    QTAILQ_FOREACH(holder, &holders, next) {
        int err = holder->discarded(holder, errp);

        if (err) {
            return err;
        }
    }
    return 0;
}

void postcopy_discard_begins(void)
{
    PostcopyHolder *holder;

    GLOBAL_STATE_CODE();
    QTAILQ_FOREACH(holder, &holders, next) {
        holder->discard_begins(holder);
    }
}
