// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Results in the Test Anything Protocol: a line a check, the plan at the end.
 *
 * Limits: one process reports; children hand their findings to it.
 */

#define _GNU_SOURCE
#include "exerciser.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned int checks, failures;

static void result(bool good, const char *directive, const char *format, va_list args)
{
	checks++;
	failures += !good;
	printf("%sok %u - ", good ? "" : "not ", checks);
	vprintf(format, args);
	printf("%s%s\n", directive ? " # SKIP " : "", directive ? directive : "");
	fflush(stdout);
}

void ok(bool good, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	result(good, NULL, format, args);
	va_end(args);
}

void skipped(const char *why, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	result(true, why, format, args);
	va_end(args);
}

void note(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	printf("# ");
	vprintf(format, args);
	printf("\n");
	va_end(args);
	fflush(stdout);
}

/* The exerciser itself cannot go on: nothing after this would mean anything. */
void die(const char *format, ...)
{
	int err = errno;
	va_list args;

	va_start(args, format);
	printf("Bail out! ");
	vprintf(format, args);
	printf(" (%s)\n", strerror(err));
	va_end(args);
	fflush(stdout);
	exit(2);
}

int tap_end(void)
{
	printf("1..%u\n", checks);
	fflush(stdout);
	return failures || !checks;
}

/* "0" for success: the tables read better that way. */
const char *errno_name(int err)
{
	if (!err)
		return "0";
	if (err == 524)		/* the kernel's ENOTSUPP, which is no errno at all */
		return "524";
	return strerrorname_np(err) ?: "?";
}
