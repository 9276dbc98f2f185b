// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A mediated device for tests of VFIO's containers: it pins, unpins, reads and writes what it is told.
 *
 * A parent of its own, /sys/devices/vfio_test, makes devices of the one type "plain".  A device
 * remembers what it has pinned, and gives that back when the mapping or the device goes, unless it was
 * told to be slow or not to listen.  Its file takes commands (vfio_test_mdev.h).
 *
 * Locks: the device's, around commands; pins, around what is pinned.  Pins is not held while pages are
 * pinned or unpinned, as that can call back (dma_unmap).
 *
 * Limits: Linux 6.1; no interrupts, no regions that can be mapped.
 */

#include <linux/delay.h>
#include <linux/highmem.h>
#include <linux/mdev.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vfio.h>
#include <linux/xarray.h>

#include "vfio_test_mdev.h"

struct vfio_test {
	struct vfio_device vdev;
	struct mutex lock;
	struct vfio_test_command answer;
	struct page *pages[VFIO_TEST_PAGES];
	/* How often a page is pinned here, by page of the address. */
	struct xarray pins;
	struct mutex pins_lock;
	atomic_t ignore;
	unsigned int slow_ms;
	/* Pages that are pinned by turns; none if they are the same. */
	u64 turns[2];
};

static struct device *vfio_test_root;

static struct vfio_test *vfio_test_of(struct vfio_device *vdev)
{
	return container_of(vdev, struct vfio_test, vdev);
}

/* Pin pages, and remember them. */
static int vfio_test_pin_range(struct vfio_test *t, u64 iova, u32 count, int prot, struct page **pages)
{
	int got = vfio_pin_pages(&t->vdev, iova, count, prot, pages);
	unsigned long index = iova >> PAGE_SHIFT, i;

	mutex_lock(&t->pins_lock);
	for (i = index; got > 0 && i < index + got; i++)
		xa_store(&t->pins, i, xa_mk_value(xa_to_value(xa_load(&t->pins, i)) + 1), GFP_KERNEL);
	mutex_unlock(&t->pins_lock);
	return got;
}

static int vfio_test_pin(struct vfio_test *t, struct vfio_test_command *cmd)
{
	int prot = 0, got;

	prot |= cmd->prot & 1 ? IOMMU_READ : 0;
	prot |= cmd->prot & 2 ? IOMMU_WRITE : 0;
	if (!cmd->count || cmd->count > VFIO_TEST_PAGES)
		return -E2BIG;
	got = vfio_test_pin_range(t, cmd->iova, cmd->count, prot, t->pages);
	if (got < 0)
		return got;
	cmd->value = got;
	return 0;
}

/* One pin less of each page of [@first, @last], or none left. */
static unsigned long vfio_test_unpin(struct vfio_test *t, unsigned long first, unsigned long last,
				     bool all)
{
	unsigned long index = first, taken, n = 0;
	void *entry;

	mutex_lock(&t->pins_lock);
	for (entry = xa_find(&t->pins, &index, last, XA_PRESENT); entry;
	     entry = xa_find_after(&t->pins, &index, last, XA_PRESENT)) {
		taken = all ? xa_to_value(entry) : 1;
		if (xa_to_value(entry) == taken)
			xa_erase(&t->pins, index);
		else
			xa_store(&t->pins, index, xa_mk_value(xa_to_value(entry) - taken), GFP_KERNEL);
		mutex_unlock(&t->pins_lock);
		for (n += taken; taken; taken--)
			vfio_unpin_pages(&t->vdev, (dma_addr_t)index << PAGE_SHIFT, 1);
		mutex_lock(&t->pins_lock);
	}
	mutex_unlock(&t->pins_lock);
	return n;
}

static int vfio_test_rw(struct vfio_test *t, struct vfio_test_command *cmd)
{
	bool write = cmd->op == VFIO_TEST_WRITE;
	unsigned int i;
	u8 *bytes;
	int err;

	if (!cmd->count || cmd->count > VFIO_TEST_BYTES)
		return -E2BIG;
	bytes = kvzalloc(cmd->count, GFP_KERNEL);
	if (!bytes)
		return -ENOMEM;
	if (write)
		memset(bytes, cmd->value, cmd->count);
	err = vfio_dma_rw(&t->vdev, cmd->iova, bytes, cmd->count, write);
	if (!err && !write)
		for (i = 0, cmd->value = 0; i < cmd->count; i++)
			cmd->value += bytes[i];
	kvfree(bytes);
	return err;
}

/* Where a page is, is known by pinning it once more. */
static int vfio_test_dma(struct vfio_test *t, struct vfio_test_command *cmd)
{
	unsigned long first = cmd->iova >> PAGE_SHIFT, index = first;
	bool write = cmd->op == VFIO_TEST_DMA;
	u64 result = 0, word = cmd->value;
	struct page *page;
	void *entry;

	mutex_lock(&t->pins_lock);
	for (entry = xa_find(&t->pins, &index, first + cmd->count - 1, XA_PRESENT); entry;
	     entry = xa_find_after(&t->pins, &index, first + cmd->count - 1, XA_PRESENT)) {
		if (vfio_pin_pages(&t->vdev, (dma_addr_t)index << PAGE_SHIFT, 1,
				   write ? IOMMU_WRITE : IOMMU_READ, &page) != 1)
			continue;
		if (write)
			memcpy_to_page(page, 0, (char *)&word, sizeof(word));
		else
			memcpy_from_page((char *)&word, page, 0, sizeof(word));
		vfio_unpin_pages(&t->vdev, (dma_addr_t)index << PAGE_SHIFT, 1);
		result += write ? 1 : word;
	}
	mutex_unlock(&t->pins_lock);
	cmd->value = result;
	return 0;
}

static int vfio_test_run(struct vfio_test *t, struct vfio_test_command *cmd)
{
	unsigned long first = cmd->iova >> PAGE_SHIFT;

	switch (cmd->op) {
	case VFIO_TEST_PIN:
		return vfio_test_pin(t, cmd);
	case VFIO_TEST_UNPIN:
		if (!cmd->count)
			return -EINVAL;
		cmd->value = vfio_test_unpin(t, first, first + cmd->count - 1, false);
		return 0;
	case VFIO_TEST_READ:
	case VFIO_TEST_WRITE:
		return vfio_test_rw(t, cmd);
	case VFIO_TEST_DMA:
	case VFIO_TEST_DMA_READ:
		return cmd->count ? vfio_test_dma(t, cmd) : -EINVAL;
	case VFIO_TEST_IGNORE:
		atomic_set(&t->ignore, cmd->value);
		return 0;
	case VFIO_TEST_SLOW:
		t->slow_ms = cmd->value;
		return 0;
	case VFIO_TEST_TURNS:
		t->turns[0] = cmd->iova;
		t->turns[1] = cmd->value;
		return 0;
	default:
		return -ENOTTY;
	}
}

static ssize_t vfio_test_write(struct vfio_device *vdev, const char __user *buf, size_t count,
			       loff_t *pos)
{
	struct vfio_test *t = vfio_test_of(vdev);
	struct vfio_test_command cmd;

	if (count != sizeof(cmd) || *pos)
		return -EINVAL;
	if (copy_from_user(&cmd, buf, sizeof(cmd)))
		return -EFAULT;
	mutex_lock(&t->lock);
	cmd.error = vfio_test_run(t, &cmd);
	t->answer = cmd;
	mutex_unlock(&t->lock);
	return count;
}

static ssize_t vfio_test_read(struct vfio_device *vdev, char __user *buf, size_t count, loff_t *pos)
{
	struct vfio_test *t = vfio_test_of(vdev);
	struct vfio_test_command cmd;

	if (count != sizeof(cmd) || *pos)
		return -EINVAL;
	mutex_lock(&t->lock);
	cmd = t->answer;
	mutex_unlock(&t->lock);
	return copy_to_user(buf, &cmd, sizeof(cmd)) ? -EFAULT : count;
}

static void vfio_test_dma_unmap(struct vfio_device *vdev, u64 iova, u64 length)
{
	struct vfio_test *t = vfio_test_of(vdev);
	struct page *page;
	unsigned int i;

	if (t->slow_ms)
		msleep(t->slow_ms);
	if (atomic_add_unless(&t->ignore, -1, 0))
		return;
	vfio_test_unpin(t, iova >> PAGE_SHIFT, (iova + (length - 1)) >> PAGE_SHIFT, true);
	for (i = 0; t->turns[0] != t->turns[1] && i < 2; i++)
		if (t->turns[i] >= iova && t->turns[i] - iova < length)
			vfio_test_pin_range(t, t->turns[!i], 1, IOMMU_READ, &page);
}

static int vfio_test_open(struct vfio_device *vdev)
{
	return 0;
}

static void vfio_test_close(struct vfio_device *vdev)
{
	struct vfio_test *t = vfio_test_of(vdev);

	vfio_test_unpin(t, 0, ULONG_MAX, true);
	atomic_set(&t->ignore, 0);
	t->slow_ms = 0;
	t->turns[0] = t->turns[1];
}

static long vfio_test_ioctl(struct vfio_device *vdev, unsigned int cmd, unsigned long arg)
{
	return -ENOTTY;
}

static int vfio_test_init(struct vfio_device *vdev)
{
	struct vfio_test *t = vfio_test_of(vdev);

	mutex_init(&t->lock);
	mutex_init(&t->pins_lock);
	xa_init(&t->pins);
	return 0;
}

static void vfio_test_release(struct vfio_device *vdev)
{
	xa_destroy(&vfio_test_of(vdev)->pins);
	vfio_free_device(vdev);
}

static const struct vfio_device_ops vfio_test_ops = {
	.name = "vfio-test",
	.init = vfio_test_init,
	.release = vfio_test_release,
	.open_device = vfio_test_open,
	.close_device = vfio_test_close,
	.read = vfio_test_read,
	.write = vfio_test_write,
	.ioctl = vfio_test_ioctl,
	.dma_unmap = vfio_test_dma_unmap,
};

static int vfio_test_probe(struct mdev_device *mdev)
{
	struct vfio_test *t = vfio_alloc_device(vfio_test, vdev, &mdev->dev, &vfio_test_ops);
	int err;

	if (IS_ERR(t))
		return PTR_ERR(t);
	err = vfio_register_emulated_iommu_dev(&t->vdev);
	if (err) {
		vfio_put_device(&t->vdev);
		return err;
	}
	dev_set_drvdata(&mdev->dev, t);
	return 0;
}

static void vfio_test_remove(struct mdev_device *mdev)
{
	struct vfio_test *t = dev_get_drvdata(&mdev->dev);

	vfio_unregister_group_dev(&t->vdev);
	vfio_put_device(&t->vdev);
}

static struct mdev_type vfio_test_type = { .sysfs_name = "plain", .pretty_name = "plain" };
static struct mdev_type *vfio_test_types[] = { &vfio_test_type };
static struct mdev_parent vfio_test_parent;
static struct mdev_driver vfio_test_driver = {
	.device_api = "vfio-test",
	.max_instances = 16,
	.probe = vfio_test_probe,
	.remove = vfio_test_remove,
	.driver = { .name = "vfio_test_mdev", .owner = THIS_MODULE, .mod_name = KBUILD_MODNAME },
};

static int __init vfio_test_module_init(void)
{
	int err;

	vfio_test_root = root_device_register("vfio_test");
	if (IS_ERR(vfio_test_root))
		return PTR_ERR(vfio_test_root);
	err = mdev_register_driver(&vfio_test_driver);
	if (err)
		goto no_driver;
	err = mdev_register_parent(&vfio_test_parent, vfio_test_root, &vfio_test_driver,
				   vfio_test_types, ARRAY_SIZE(vfio_test_types));
	if (!err)
		return 0;
	mdev_unregister_driver(&vfio_test_driver);
no_driver:
	root_device_unregister(vfio_test_root);
	return err;
}

static void __exit vfio_test_module_exit(void)
{
	mdev_unregister_parent(&vfio_test_parent);
	mdev_unregister_driver(&vfio_test_driver);
	root_device_unregister(vfio_test_root);
}

module_init(vfio_test_module_init);
module_exit(vfio_test_module_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("qemu-live");
MODULE_DESCRIPTION("Mediated device for tests of VFIO containers");
