/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Numbers in a migration's stream: whole, and not byte by byte.
 *
 * Most of a device's state is numbers of 32 bits, thousands of them for a virtio
 * device: virtio-pci has 1,024 queues. The guest stands still while they are
 * written and read. A byte has the price of a call, of a look at the stream's
 * errors, and of an entry in its vector; so has a buffer.
 *
 * At the end of a stream that is too short, missing bytes are 0, and the stream has
 * an error, as for single bytes.
 *
 * Thread model: of the QEMUFile.
 *
 * Limits: none.
 */
#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu-file.h"

void qemu_put_be16(QEMUFile *f, unsigned int v)
{
    uint8_t bytes[sizeof(uint16_t)];

    stw_be_p(bytes, v);
    qemu_put_buffer(f, bytes, sizeof(bytes));
}

void qemu_put_be32(QEMUFile *f, unsigned int v)
{
    uint8_t bytes[sizeof(uint32_t)];

    stl_be_p(bytes, v);
    qemu_put_buffer(f, bytes, sizeof(bytes));
}

void qemu_put_be64(QEMUFile *f, uint64_t v)
{
    uint8_t bytes[sizeof(uint64_t)];

    stq_be_p(bytes, v);
    qemu_put_buffer(f, bytes, sizeof(bytes));
}

/* @n bytes of the stream: in its buffer, or, where it ends before, in @spare. */
static const uint8_t *next_bytes(QEMUFile *f, uint8_t *spare, size_t n)
{
    uint8_t *at;

    if (qemu_peek_buffer(f, &at, n, 0) == n) {
        qemu_file_skip(f, n);
        return at;
    }
    qemu_get_buffer(f, spare, n);
    return spare;
}

unsigned int qemu_get_be16(QEMUFile *f)
{
    uint8_t spare[sizeof(uint16_t)] = { 0 };

    return lduw_be_p(next_bytes(f, spare, sizeof(spare)));
}

unsigned int qemu_get_be32(QEMUFile *f)
{
    uint8_t spare[sizeof(uint32_t)] = { 0 };

    return (uint32_t)ldl_be_p(next_bytes(f, spare, sizeof(spare)));
}

uint64_t qemu_get_be64(QEMUFile *f)
{
    uint8_t spare[sizeof(uint64_t)] = { 0 };

    return ldq_be_p(next_bytes(f, spare, sizeof(spare)));
}
