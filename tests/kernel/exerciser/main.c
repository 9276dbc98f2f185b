// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * exerciser: every ioctl of /dev/vhost-vdpa-N, in every state, with good and bad arguments.
 *
 *	exerciser --mgmt vdpasim_net [--incremental] [--reference] [--seed N] [--messages N]
 *	exerciser --mgmt vdpa_test --kind files|platform
 *	exerciser --markdown
 *
 * Prints TAP; exit status 0 when all is as the tables say.  --reference says that the driver under
 * test is the kernel's own, which differs in a few places that the tables name.  --incremental says
 * that the simulator was loaded with batch_mapping=0.  --kind is for tests/kernel/device.  --markdown prints the tables for docs/.
 *
 * Needs root, iproute2's vdpa, debugfs, and the management device for itself.
 *
 * Limits: see exerciser.h.
 */

#define _GNU_SOURCE
#include "exerciser.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static const struct option options[] = {
	{ "mgmt", required_argument, NULL, 'm' },
	{ "incremental", no_argument, NULL, 'i' },
	{ "reference", no_argument, NULL, 'r' },
	{ "seed", required_argument, NULL, 's' },
	{ "messages", required_argument, NULL, 'n' },
	{ "kind", required_argument, NULL, 'k' },
	{ "markdown", no_argument, NULL, 'd' },
	{ NULL }
};

static void walk_simulated(struct subject *subject, uint64_t seed, unsigned int messages)
{
	subject_learn(subject);
	note("%u queues of %u entries, %u groups, %u spaces", subject->vqs, subject->entries,
	     subject->groups, subject->spaces);
	walk_ioctls(subject);
	walk_bad_arguments(subject);
	walk_messages(subject);
	walk_removed(subject);
	walk_life(subject);
	fuzz(subject, seed, messages);
}

int main(int argc, char *argv[])
{
	struct subject subject = { .name = "exercised", .whole_tree = true };
	struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
	unsigned int messages = 4000;
	const char *kind = "simulated";
	uint64_t seed = 1;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'm':
			subject.mgmt = optarg;
			break;
		case 'i':
			subject.whole_tree = false;
			break;
		case 'r':
			subject.reference = true;
			break;
		case 's':
			seed = strtoull(optarg, NULL, 0);
			break;
		case 'n':
			messages = strtoul(optarg, NULL, 0);
			break;
		case 'k':
			kind = optarg;
			break;
		case 'd':
			print_markdown();
			return 0;
		default:
			return 2;
		}
	}
	if (!subject.mgmt) {
		fprintf(stderr, "exerciser: --mgmt is wanted\n");
		return 2;
	}
	if (setrlimit(RLIMIT_MEMLOCK, &unlimited))
		die("setrlimit");
	subject_add(&subject);
	if (!strcmp(kind, "files"))
		walk_files(&subject);
	else if (!strcmp(kind, "platform"))
		walk_platform(&subject);
	else
		walk_simulated(&subject, seed, messages);
	subject_remove(&subject);
	return tap_end();
}
