/*
 * What the fuzz targets share: libFuzzer's entry point, and its input eaten in numbers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_FUZZ_FUZZ_INPUT_H
#define TESTS_FUZZ_FUZZ_INPUT_H

#include <stddef.h>
#include <stdint.h>

typedef struct Input {
    const uint8_t *data;
    size_t left;
} Input;

/* The next number of so many bytes; fewer at the end of the input. */
static inline uint64_t eat(Input *in, unsigned bytes)
{
    uint64_t value = 0;

    for (; bytes && in->left; bytes--) {
        value = value << 8 | *in->data++;
        in->left--;
    }
    return value;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
