/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Tells who holds guest memory that postcopy is about to discard it. See
 * postcopy-discard.h.
 *
 * Limits: none.
 */
#include "qemu/osdep.h"
#include "qemu/main-loop.h"
#include "migration/postcopy-discard.h"

static NotifierList notifiers = NOTIFIER_LIST_INITIALIZER(notifiers);

void postcopy_add_discard_notifier(Notifier *notifier)
{
    GLOBAL_STATE_CODE();
    notifier_list_add(&notifiers, notifier);
}

void postcopy_discard_begins(void)
{
    GLOBAL_STATE_CODE();
    notifier_list_notify(&notifiers, NULL);
}
