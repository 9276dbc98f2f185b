/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * In place of the base's map of IOVA to host memory, so that it is not built.
 *
 * Theory of operation: nothing. Such maps are vdpa-iova.c; the base's list of
 * files to build names this one.
 *
 * Limits: the base's header is still there. A file that includes it and calls
 * something does not link.
 */
#include "qemu/osdep.h"
