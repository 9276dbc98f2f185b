// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * lab_faults: one fault of each kind that the lab's debug kernel has to report.
 *
 * Theory of operation
 * -------------------
 * The parameter `fault` says which; it is committed when the module is loaded.  Only the scenario
 * debug-kernel loads this, in L1, to see that each fault fails a scenario.
 *
 *	freed	reads an object that was freed			KASAN
 *	beyond	reads the byte after an object			KASAN
 *	order	takes two mutexes in both orders		lockdep
 *	twice	takes two mutexes of one class			lockdep
 *	sleep	allocates as one who may sleep, with a spinlock held	DEBUG_ATOMIC_SLEEP
 *	lost	forgets an object				kmemleak
 *	none	none
 */
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/string.h>

static char *fault = "none";
module_param(fault, charp, 0444);
MODULE_PARM_DESC(fault, "freed, beyond, order, twice, sleep, lost or none");

static DEFINE_MUTEX(first);
static DEFINE_MUTEX(second);
static DEFINE_SPINLOCK(spin);

enum { SIZE = 40 };

/* Where an object is, out of the compiler's sight. */
static char *make_object(void)
{
	char *object = kzalloc(SIZE, GFP_KERNEL);

	OPTIMIZER_HIDE_VAR(object);
	return object;
}

static noinline void read_byte(const char *object, size_t at)
{
	pr_info("byte %zu is %d\n", at, READ_ONCE(object[at]));
}

static void read_freed(void)
{
	char *object = make_object();
	char *kept = object;

	OPTIMIZER_HIDE_VAR(kept);
	kfree(object);
	read_byte(kept, 8);
}

static void read_beyond(void)
{
	char *object = make_object();

	if (object)
		read_byte(object, SIZE);
	kfree(object);
}

static void take(struct mutex *outer, struct mutex *inner)
{
	mutex_lock(outer);
	mutex_lock(inner);
	mutex_unlock(inner);
	mutex_unlock(outer);
}

static void take_in_both_orders(void)
{
	take(&first, &second);
	take(&second, &first);
}

static void take_one_class_twice(void)
{
	struct mutex of_a_class[2];
	int i;

	for (i = 0; i < 2; i++)
		mutex_init(&of_a_class[i]);
	take(&of_a_class[0], &of_a_class[1]);
}

static void sleep_with_spinlock(void)
{
	spin_lock(&spin);
	kfree(make_object());
	spin_unlock(&spin);
}

static void lose_object(void)
{
	make_object();
}

static const struct {
	const char *name;
	void (*commit)(void);
} faults[] = {
	{ "freed", read_freed },
	{ "beyond", read_beyond },
	{ "order", take_in_both_orders },
	{ "twice", take_one_class_twice },
	{ "sleep", sleep_with_spinlock },
	{ "lost", lose_object },
};

static int __init lab_faults_init(void)
{
	size_t i;

	if (!strcmp(fault, "none"))
		return 0;
	for (i = 0; i < ARRAY_SIZE(faults); i++) {
		if (!strcmp(fault, faults[i].name)) {
			faults[i].commit();
			return 0;
		}
	}
	return -EINVAL;
}

static void __exit lab_faults_exit(void)
{
}

module_init(lab_faults_init);
module_exit(lab_faults_exit);
MODULE_DESCRIPTION("Faults that the lab's debug kernel has to report");
MODULE_LICENSE("GPL");
