/*
 * Making an outgoing migration fail, from outside of migration/
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef MIGRATION_FAIL_H
#define MIGRATION_FAIL_H

/*
 * Makes the outgoing migration fail with @err, which stays the caller's; does
 * nothing if none is running.  The guest runs on at the source.  Needs the BQL.
 */
void migration_fail_outgoing(const Error *err);

#endif
