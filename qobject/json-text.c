/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Text of JSON that needs no thought. See json-text.h, also for the limits.
 */
#include <string.h>

#include "qobject/json-text.h"

#define DIGITS 20       /* of 2^64, and a sign */

static bool is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

bool json_text_plain(GString *to, const char *str)
{
    size_t length = 0, at = to->len;

    while (is_plain(str[length])) {
        length++;
    }
    if (str[length]) {
        return false;
    }
    g_string_set_size(to, at + length + 2);
    to->str[at] = '"';
    memcpy(to->str + at + 1, str, length);
    to->str[at + 1 + length] = '"';
    return true;
}

void json_text_number(GString *to, int64_t number)
{
    uint64_t left = number < 0 ? -(uint64_t)number : number;
    char digits[DIGITS];
    unsigned at = DIGITS;

    do {
        digits[--at] = '0' + left % 10;
        left /= 10;
    } while (left);
    if (number < 0) {
        digits[--at] = '-';
    }
    g_string_append_len(to, digits + at, DIGITS - at);
}
