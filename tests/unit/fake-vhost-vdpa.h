/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A vhost-vdpa device for tests, behind VdpaKernel's two functions.
 *
 * Theory of operation: it keeps the status as a device does, refuses what a
 * kernel refuses (features after FEATURES_OK, suspension of what does not run),
 * notes down each command, and fails the one that a test chose, once or for
 * ever.
 *
 * Limits: no rings; one thread.
 */
#ifndef TESTS_UNIT_FAKE_VHOST_VDPA_H
#define TESTS_UNIT_FAKE_VHOST_VDPA_H

#include "hw/virtio/vdpa/core/vdpa-fd.h"

#define FAKE_LOG 64

typedef struct FakeVdpa {
    /* what it is; a test may change any of it */
    uint32_t id;
    uint64_t features;
    uint64_t backend;           /* offered */
    uint64_t first, last;
    uint16_t pairs;
    uint8_t refused_status;     /* bits it does not take */
    uint8_t trouble;            /* bits it sets by itself with the next status */

    /* what became of it */
    uint8_t status;
    bool suspended;
    uint64_t driver_features, agreed;
    unsigned long log[FAKE_LOG];
    unsigned logged;
    unsigned messages;

    /* what fails, and how */
    unsigned long fail_request; /* 0: nothing */
    int fail_errno;
    unsigned fail_after;        /* times that it works before */
    unsigned interrupted;       /* commands and messages that are interrupted first */
} FakeVdpa;

/* A working network device, and @d on it. */
void fake_vdpa_init(FakeVdpa *fake, VdpaFd *d);

/* How often a request was made. */
unsigned fake_vdpa_count(const FakeVdpa *fake, unsigned long request);

#endif
