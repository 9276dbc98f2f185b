/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Text of JSON that needs no thought: plain strings, whole numbers.
 *
 * A migration's stream ends with a description of all device state, in JSON. The
 * guest stands still while it is written, and most of it is names and sizes.
 *
 * Thread model: any; no state of its own.
 *
 * Limits: strings that need escapes are the caller's.
 */
#ifndef QOBJECT_JSON_TEXT_H
#define QOBJECT_JSON_TEXT_H

#include <stdbool.h>
#include <stdint.h>
#include <glib.h>

/*
 * Appends @str in quotes if it is printable ASCII without quotes and backslashes.
 * Otherwise appends nothing and returns false.
 */
bool json_text_plain(GString *to, const char *str);

/* Appends @number in decimal. */
void json_text_number(GString *to, int64_t number);

#endif
