/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a test tells its mediated device: one command, written to the device's file at offset 0; read
 * from there, it has the answer.
 *
 * Limits: at most VFIO_TEST_PAGES pages or VFIO_TEST_BYTES bytes a command.
 */
#ifndef VFIO_TEST_MDEV_H
#define VFIO_TEST_MDEV_H

#include <linux/types.h>

#define VFIO_TEST_PAGES 512
#define VFIO_TEST_BYTES 65536

enum vfio_test_op {
	/* Pin pages; the device may write to them until they are unpinned. */
	VFIO_TEST_PIN = 1,
	/* One pin less for each page of the range that this device has pinned.  value: how many. */
	VFIO_TEST_UNPIN,
	/* The CPU reads or writes for the device; value: every byte, or the sum of the bytes. */
	VFIO_TEST_READ,
	VFIO_TEST_WRITE,
	/* The device writes value to the first word of each pinned page of the range. */
	VFIO_TEST_DMA,
	/* value: the sum of the first words of those pages, as the device reads them. */
	VFIO_TEST_DMA_READ,
	/* value: how many times the device ignores that a mapping goes, from now on. */
	VFIO_TEST_IGNORE,
	/* value: how many milliseconds the device takes when a mapping goes. */
	VFIO_TEST_SLOW,
	/* When the mapping of one of the pages at iova and value goes, pin the other one. */
	VFIO_TEST_TURNS,
};

struct vfio_test_command {
	__u32 op;
	__u32 count;	/* pages of PIN, UNPIN, DMA; bytes of READ, WRITE */
	__u64 iova;
	__u64 value;
	__s32 error;	/* 0 or -errno */
	__u32 prot;	/* of PIN: 1 read, 2 write */
};

#endif
