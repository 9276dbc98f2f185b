/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Plain strings and numbers as JSON.
 *
 * Limits: strings that need escapes are only told apart.
 */
#include <glib.h>
#include <string.h>

#include "qobject/json-text.h"

static void check_number(int64_t number)
{
    g_autofree char *expected = g_strdup_printf("x%" G_GINT64_FORMAT, number);
    GString *text = g_string_new("x");

    json_text_number(text, number);
    g_assert_cmpstr(text->str, ==, expected);
    g_assert_cmpuint(text->len, ==, strlen(expected));
    g_string_free(text, TRUE);
}

static void test_numbers(void)
{
    const int64_t odd[] = {
        0, 1, -1, 9, 10, -9, -10, 99, 100, INT64_MAX, INT64_MIN, INT64_MIN + 1,
    };

    for (size_t i = 0; i < G_N_ELEMENTS(odd); i++) {
        check_number(odd[i]);
    }
    for (unsigned i = 0; i < 20000; i++) {
        uint64_t bits = (uint64_t)g_test_rand_int() << 32 | (uint32_t)g_test_rand_int();

        check_number((int64_t)bits >> g_test_rand_int_range(0, 64));
    }
}

static void check_string(const char *str, bool plain)
{
    g_autofree char *expected = plain ? g_strdup_printf("x\"%s\"", str)
                                      : g_strdup("x");
    GString *text = g_string_new("x");

    g_assert_cmpint(json_text_plain(text, str), ==, plain);
    g_assert_cmpstr(text->str, ==, expected);
    g_string_free(text, TRUE);
}

/* Every byte, at the begin, in the middle, at the end. */
static void test_strings(void)
{
    check_string("", true);
    check_string("0000:00:02.0/virtio-net", true);
    for (unsigned c = 1; c < 256; c++) {
        bool plain = g_ascii_isprint(c) && c != '"' && c != '\\';
        char str[4][4] = { { c }, { c, 'a', 'b' }, { 'a', c, 'b' }, { 'a', 'b', c } };

        for (int i = 0; i < 4; i++) {
            check_string(str[i], plain);
        }
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/json-text/numbers", test_numbers);
    g_test_add_func("/json-text/strings", test_strings);
    return g_test_run();
}
