/*
 * Test functions in a table, each with its name below the program's
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_UNIT_NAMED_TESTS_H
#define TESTS_UNIT_NAMED_TESTS_H

#include <glib.h>

typedef struct NamedTest {
    const char *name;
    void (*run)(void);
} NamedTest;

/* Adds @n tests as /@program/NAME; between g_test_init() and g_test_run(). */
static inline void named_tests_add(const char *program, const NamedTest *tests,
                                   size_t n)
{
    for (size_t i = 0; i < n; i++) {
        g_autofree char *path = g_strdup_printf("/%s/%s", program,
                                                tests[i].name);

        g_test_add_func(path, tests[i].run);
    }
}

#endif
