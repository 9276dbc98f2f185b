/*
 * Making an outgoing migration fail, from outside of migration/
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The migration thread ends a migration whose stream has an error.  The stream
 * is protected by qemu_file_lock; it is gone once the migration has ended.
 *
 * Limits: a migration that has no stream yet keeps the message only.
 */
#include "qemu/osdep.h"
#include "qemu/lockable.h"
#include "qemu/main-loop.h"
#include "qapi/error.h"
#include "migration/fail.h"
#include "migration/misc.h"
#include "migration.h"
#include "qemu-file.h"

void migration_fail_outgoing(const Error *err)
{
    MigrationState *ms = migrate_get_current();

    GLOBAL_STATE_CODE();
    if (!migration_is_running()) {
        return;
    }
    migrate_set_error(ms, err);
    WITH_QEMU_LOCK_GUARD(&ms->qemu_file_lock) {
        if (ms->to_dst_file) {
            qemu_file_set_error(ms->to_dst_file, -EIO);
        }
    }
}
