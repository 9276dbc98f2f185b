/*
 * A fake vhost-vdpa network device that a test configures, for one process.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * Preloaded into QEMU (LD_PRELOAD), this library answers vhost-vdpa's ioctls and
 * takes its messages; QEMU is given /dev/null as the device's file. The file that
 * $ODD_VDPA names has the device's configuration. It is read again at each ioctl,
 * so a test can change it at any time. If it cannot be opened, because QEMU
 * has no descriptors left, the last configuration stays. Each line is a word and
 * numbers as in C:
 *
 *   features N    backend N    pairs N    most N     what it offers
 *   base N                                           GET_VRING_BASE of all queues
 *   never N                                          status bits that it never sets
 *   fail R E [K]                                     request R (its number) fails
 *                                                    with errno E from the K-th on
 *   nth K E                                          the K-th ioctl fails with E
 *   message E                                        messages fail with E
 *   answer N                                         status of control commands
 *   mute 1                                           control commands are not answered
 *   mac N                                            last byte of its MAC address
 *   silent 1                                         GET_VRING_BASE fails
 *   take 1                                           its data queues take chains
 *   serve 1                                          ... and return them, in order
 *   hold 1                                           maps wait until this is gone
 *   store 1                                          as mlx5_vdpa: a running device
 *                                                    stores ring addresses and bases
 *                                                    until RESUME, and SUSPEND ends
 *                                                    the control queue's service
 *   ignore 1                                         a running device ignores them
 *
 * Each ioctl leaves a line in $ODD_VDPA.log, which stays open: "get" if the kernel
 * answers it with more than an errno, else "set"; request number; the first and
 * the second word of its argument; errno. Each message leaves "map" or "unmap",
 * address space, address, size; each control command "command" and its bytes; a
 * chain that is taken "take QUEUE INDEX"; a change of "serve" the line "serve N".
 *
 * A thread serves the queues. The control queue is in a group and an address space
 * of its own. Data queues are served only if the file says so. The ring base of a
 * data queue is the index of the next chain that the device would take, unless
 * the file has a "base". A driver that accepted packed rings is not served.
 *
 * Limits: buffers are never written; the configuration may contradict the
 * specification; fake-ioctl.h's.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/vhost.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../../linux-headers/linux/qemu-live-uapi.h"
#include "fake-ioctl.h"

#define MAPS        512
#define FAILURES    16
#define REQUESTS    256
#define QUEUES      64

static struct {
    unsigned long features, backend, pairs, most, base, never, message, answer;
    unsigned long mute, nth, nth_error, mac, take, serve, silent, hold;
    unsigned long store, ignore;
    bool has_base;
    struct {
        unsigned long request, error, from;
    } fail[FAILURES];
    unsigned failures;
} config = { .pairs = 1, .most = 1024, .mac = 0xaa };

/* A data queue. */
struct queue {
    unsigned num;
    bool enabled;
    uint16_t next;                  /* chain to take */
    struct vhost_vring_addr addr;
    int call;
    bool stored;                    /* until RESUME: */
    uint16_t stored_next;
    struct vhost_vring_addr stored_addr;
};

static struct {
    pthread_mutex_t lock;
    int fd;
    bool suspended;
    struct queue queue[QUEUES];
    uint8_t status;
    unsigned long ioctls, requests[REQUESTS];
    uint64_t features;              /* the driver's */
    unsigned spaces[2];             /* of the groups */
    struct vhost_vring_addr control;
    unsigned control_num;
    uint16_t control_next;
    bool serving;
    struct {
        struct vhost_iotlb_msg m;
        unsigned space;
    } map[MAPS];
    unsigned maps;
} device = { .lock = PTHREAD_MUTEX_INITIALIZER, .fd = -1 };

/* --- configuration ------------------------------------------------------ */

static void parse_line(const char *line)
{
    unsigned long a = 0, b = 0, c = 0;
    char word[32] = "";
    const struct {
        const char *word;
        unsigned long *to;
    } plain[] = {
        { "features", &config.features }, { "backend", &config.backend },
        { "pairs", &config.pairs }, { "most", &config.most },
        { "base", &config.base }, { "never", &config.never },
        { "message", &config.message }, { "answer", &config.answer },
        { "mute", &config.mute }, { "mac", &config.mac },
        { "take", &config.take }, { "serve", &config.serve },
        { "silent", &config.silent }, { "hold", &config.hold },
        { "store", &config.store }, { "ignore", &config.ignore },
    };

    if (sscanf(line, "%31s %li %li %li", word, &a, &b, &c) < 2) {
        return;
    }
    for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
        if (!strcmp(word, plain[i].word)) {
            *plain[i].to = a;
        }
    }
    config.has_base |= !strcmp(word, "base");
    if (!strcmp(word, "nth")) {
        config.nth = a;
        config.nth_error = b;
    }
    if (!strcmp(word, "fail") && config.failures < FAILURES) {
        config.fail[config.failures].request = a;
        config.fail[config.failures].error = b;
        config.fail[config.failures++].from = c;
    }
}

static void log_line(const char *text)
{
    static int fd = -1;
    char path[4096];

    if (fd < 0) {
        snprintf(path, sizeof(path), "%s.log", getenv("ODD_VDPA") ?: "/dev/null");
        fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    }
    if (fd >= 0) {
        syscall(SYS_write, fd, text, strlen(text));
    }
}

static void read_config(void)
{
    const char *path = getenv("ODD_VDPA");
    FILE *f = path ? fopen(path, "re") : NULL;
    unsigned long serve;
    char line[128];

    if (!f) {
        return;         /* out of file descriptors: keep the last configuration */
    }
    serve = config.serve;
    memset(&config, 0, sizeof(config));
    config.pairs = 1;
    config.most = 1024;
    config.mac = 0xaa;
    while (fgets(line, sizeof(line), f)) {
        parse_line(line);
    }
    fclose(f);
    if (config.serve != serve) {
        log_line(config.serve ? "serve 1\n" : "serve 0\n");
    }
}

/* --- memory ------------------------------------------------------------- */

static void *translate(unsigned space, uint64_t iova, uint64_t bytes)
{
    for (unsigned i = 0; i < device.maps; i++) {
        const struct vhost_iotlb_msg *m = &device.map[i].m;

        if (device.map[i].space == space && iova >= m->iova &&
            iova - m->iova < m->size && bytes <= m->size - (iova - m->iova)) {
            return (void *)(uintptr_t)(m->uaddr + (iova - m->iova));
        }
    }
    return NULL;
}

/* Index of the first map that overlaps the message's range; -1: none. */
static int overlapping_map(const struct vhost_msg_v2 *msg)
{
    uint64_t last = msg->iotlb.iova + (msg->iotlb.size - 1);

    for (unsigned i = 0; i < device.maps; i++) {
        const struct vhost_iotlb_msg *m = &device.map[i].m;

        if (device.map[i].space == msg->asid && m->iova <= last &&
            msg->iotlb.iova <= m->iova + (m->size - 1)) {
            return i;
        }
    }
    return -1;
}

/* Like the kernel, refuse empty ranges and overlapping maps. Returns an errno. */
static int apply_message(const struct vhost_msg_v2 *msg)
{
    bool update = msg->iotlb.type == VHOST_IOTLB_UPDATE;
    char line[96];
    int i;

    if (!update && msg->iotlb.type != VHOST_IOTLB_INVALIDATE) {
        return 0;
    }
    snprintf(line, sizeof(line), "%s %u %#llx %#llx\n", update ? "map" : "unmap",
             (unsigned)msg->asid, (unsigned long long)msg->iotlb.iova,
             (unsigned long long)msg->iotlb.size);
    log_line(line);
    if (!msg->iotlb.size) {
        return EINVAL;
    }
    while (!update && (i = overlapping_map(msg)) >= 0) {
        device.map[i] = device.map[--device.maps];
    }
    if (!update) {
        return 0;
    }
    if (overlapping_map(msg) >= 0) {
        return EEXIST;
    }
    if (device.maps == MAPS) {
        return ENOSPC;
    }
    device.map[device.maps].m = msg->iotlb;
    device.map[device.maps++].space = msg->asid;
    return 0;
}

/* Wait while maps are held. Later messages of this thread wait too; ioctls do not. */
static void hold_locked(const struct vhost_msg_v2 *msg)
{
    read_config();
    while (config.hold && msg->iotlb.type == VHOST_IOTLB_UPDATE) {
        pthread_mutex_unlock(&device.lock);
        usleep(500);
        pthread_mutex_lock(&device.lock);
        read_config();
    }
}

ssize_t write(int fd, const void *data, size_t bytes)
{
    int error;

    if (fd < 0 || fd != device.fd || bytes != sizeof(struct vhost_msg_v2)) {
        return syscall(SYS_write, fd, data, bytes);
    }
    pthread_mutex_lock(&device.lock);
    hold_locked(data);
    error = config.message;
    if (!error) {
        error = apply_message(data);
    }
    pthread_mutex_unlock(&device.lock);
    if (error) {
        errno = error;
        return -1;
    }
    return bytes;
}

/* --- the control queue -------------------------------------------------- */

/* Log one command and write the status into its last descriptor. Returns the
 * bytes written. */
static uint32_t run_command(struct vring_desc *desc, uint16_t head)
{
    char line[256] = "command";
    size_t end = strlen(line);
    unsigned space = device.spaces[1];

    for (;; head = desc[head].next) {
        struct vring_desc *d = &desc[head];
        uint8_t *data = translate(space, d->addr, d->len);

        if (!data) {
            return 0;
        }
        if (d->flags & VRING_DESC_F_WRITE) {
            *data = config.answer;
            snprintf(line + end, sizeof(line) - end, "\n");
            log_line(line);
            return 1;
        }
        for (uint32_t i = 0; i < d->len && end < sizeof(line) - 8; i++) {
            end += snprintf(line + end, sizeof(line) - end, " %02x", data[i]);
        }
        if (!(d->flags & VRING_DESC_F_NEXT)) {
            return 0;
        }
    }
}

/* --- data queues -------------------------------------------------------- */

/* Return all chains that were taken, in order. */
static void return_used(struct queue *q, const struct vring_avail *avail,
                      struct vring_used *used)
{
    uint64_t one = 1;

    while (used->idx != q->next) {
        struct vring_used_elem *e = &used->ring[used->idx % q->num];

        e->id = avail->ring[used->idx % q->num];
        e->len = 0;
        __atomic_store_n(&used->idx, used->idx + 1, __ATOMIC_RELEASE);
    }
    if (q->call >= 0) {
        syscall(SYS_write, q->call, &one, sizeof(one));
    }
}

static void serve_data_queue(unsigned index)
{
    struct queue *q = &device.queue[index];
    struct vring_avail *avail = translate(device.spaces[0], q->addr.avail_user_addr,
                                   4 + 2 * q->num);
    struct vring_used *used = translate(device.spaces[0], q->addr.used_user_addr,
                                 4 + 8 * q->num);
    char line[64];

    if (!q->enabled || !q->num || !avail || !used) {
        return;
    }
    while (config.take &&
           __atomic_load_n(&avail->idx, __ATOMIC_ACQUIRE) != q->next) {
        snprintf(line, sizeof(line), "take %u %u\n", index, q->next++);
        log_line(line);
    }
    if (config.serve && used->idx != q->next) {
        return_used(q, avail, used);
    }
}

static void serve_data_queues_locked(void)
{
    if (device.status & VIRTIO_CONFIG_S_DRIVER_OK && !device.suspended &&
        !(device.features >> VIRTIO_F_RING_PACKED & 1)) {
        for (unsigned i = 0; i < QUEUES; i++) {
            serve_data_queue(i);
        }
    }
}

/* --- the thread --------------------------------------------------------- */

static void serve_control_locked(void)
{
    unsigned num = device.control_num, space = device.spaces[1];
    struct vring_desc *desc;
    struct vring_avail *avail;
    struct vring_used *used;

    if (!(device.status & VIRTIO_CONFIG_S_DRIVER_OK) || !device.serving || !num ||
        config.mute || device.features >> VIRTIO_F_RING_PACKED & 1) {
        return;
    }
    desc = translate(space, device.control.desc_user_addr, num * sizeof(*desc));
    avail = translate(space, device.control.avail_user_addr, 4 + 2 * num);
    used = translate(space, device.control.used_user_addr, 4 + 8 * num);
    while (desc && avail && used &&
           __atomic_load_n(&avail->idx, __ATOMIC_ACQUIRE) != device.control_next) {
        uint16_t head = avail->ring[device.control_next++ % num];
        struct vring_used_elem *e = &used->ring[used->idx % num];

        e->id = head;
        e->len = run_command(desc, head);
        __atomic_store_n(&used->idx, used->idx + 1, __ATOMIC_RELEASE);
    }
}

static void *serve(void *unused)
{
    for (unsigned round = 0; ; round++) {
        pthread_mutex_lock(&device.lock);
        if (config.take && round % 64 == 0) {
            read_config();
        }
        serve_control_locked();
        serve_data_queues_locked();
        pthread_mutex_unlock(&device.lock);
        usleep(100);
    }
    return NULL;
}

/* --- ioctls ------------------------------------------------------------- */

static int fail_with(int error)
{
    errno = error;
    return -1;
}

static bool has_control(void)
{
    return config.features >> VIRTIO_NET_F_CTRL_VQ & 1;
}

static unsigned data_queues(uint64_t features)
{
    return features >> VIRTIO_NET_F_MQ & 1 ? 2 * config.pairs : 2;
}

/* The control queue follows the data queues that the driver has negotiated. */
static bool is_control(unsigned index)
{
    return has_control() &&
        index == data_queues(device.features ? device.features : config.features);
}

static int get_config(struct vhost_vdpa_config *window)
{
    struct virtio_net_config space = {
        .mac = { 0x52, 0x54, 0x00, 0x00, 0x00, config.mac },
        .status = VIRTIO_NET_S_LINK_UP,
        .max_virtqueue_pairs = config.pairs,
    };

    if (window->off > sizeof(space) ||
        window->len > sizeof(space) - window->off) {
        return fail_with(EINVAL);
    }
    memcpy(window->buf, (const char *)&space + window->off, window->len);
    return 0;
}

static int set_status(uint8_t status)
{
    static bool started;
    pthread_t thread;

    device.status = status & ~config.never;
    if (!status) {
        device.features = 0;
        device.control_next = 0;
        device.control_num = 0;
        device.serving = false;
        device.spaces[0] = device.spaces[1] = 0;
        device.suspended = false;
        memset(device.queue, 0, sizeof(device.queue));
    }
    if (status & VIRTIO_CONFIG_S_DRIVER_OK && !started) {
        started = !pthread_create(&thread, NULL, serve, NULL);
    }
    return 0;
}

/* A request without an argument, or for another queue, gets a queue whose changes
 * are discarded. */
static struct queue *data_queue(const struct vhost_vring_state *state)
{
    static struct queue none;

    return state && state->index < QUEUES && !is_control(state->index)
           ? &device.queue[state->index] : &none;
}

static void set_ring(struct queue *q, const struct vhost_vring_addr *addr,
                     uint16_t next)
{
    if (!(device.status & VIRTIO_CONFIG_S_DRIVER_OK) ||
        (!config.store && !config.ignore)) {
        q->addr = *addr;
        q->next = next;
    } else if (config.store) {
        q->stored = true;
        q->stored_addr = *addr;
        q->stored_next = next;
    }
}

static void set_suspended(bool suspended)
{
    device.suspended = suspended;
    if (config.store && suspended) {
        device.serving = false;
    }
    for (unsigned i = 0; i < QUEUES && !suspended; i++) {
        struct queue *q = &device.queue[i];

        if (q->stored) {
            q->addr = q->stored_addr;
            q->next = q->stored_next;
            q->stored = false;
        }
    }
}

static int queue_ioctl(unsigned long request, void *arg)
{
    struct vhost_vring_state *state = arg;
    struct queue *q = data_queue(state);

    switch (request) {
    case VHOST_VDPA_GET_VRING_GROUP:
        state->num = is_control(state->index);
        return 0;
    case VHOST_VDPA_SET_GROUP_ASID:
        if (state->index > 1 || state->num > 1) {
            return fail_with(EINVAL);
        }
        device.spaces[state->index] = state->num;
        return 0;
    case VHOST_GET_VRING_BASE:
        state->num = config.has_base ? config.base : q->next;
        return config.silent ? fail_with(EIO) : 0;
    case VHOST_SET_VRING_BASE:
        set_ring(q, q->stored ? &q->stored_addr : &q->addr, state->num);
        return 0;
    case VHOST_SET_VRING_CALL:
        q->call = ((struct vhost_vring_file *)arg)->fd;
        return 0;
    case VHOST_SET_VRING_NUM:
        if (!state->num || state->num > config.most ||
            state->num & (state->num - 1)) {
            return fail_with(EINVAL);
        }
        device.control_num = is_control(state->index) ? state->num
                                                   : device.control_num;
        q->num = state->num;
        return 0;
    case VHOST_SET_VRING_ADDR:
        if (is_control(state->index)) {
            device.control = *(struct vhost_vring_addr *)arg;
        }
        set_ring(q, arg, q->stored ? q->stored_next : q->next);
        return 0;
    case VHOST_VDPA_SET_VRING_ENABLE:
        device.serving |= is_control(state->index) && state->num;
        q->enabled = state->num;
        return 0;
    default:
        return 0;
    }
}

static int device_ioctl(unsigned long request, void *arg)
{
    switch (request) {
    case VHOST_GET_FEATURES:
        *(uint64_t *)arg = config.features;
        return 0;
    case VHOST_GET_BACKEND_FEATURES:
        *(uint64_t *)arg = config.backend;
        return 0;
    case VHOST_VDPA_GET_DEVICE_ID:
        *(uint32_t *)arg = VIRTIO_ID_NET;
        return 0;
    case VHOST_VDPA_GET_STATUS:
        *(uint8_t *)arg = device.status;
        return 0;
    case VHOST_VDPA_SET_STATUS:
        return set_status(*(uint8_t *)arg);
    case VHOST_VDPA_GET_CONFIG:
        return get_config(arg);
    case VHOST_VDPA_GET_CONFIG_SIZE:
        *(uint32_t *)arg = sizeof(struct virtio_net_config);
        return 0;
    case VHOST_VDPA_GET_VQS_COUNT:
        *(uint32_t *)arg = data_queues(config.features) + has_control();
        return 0;
    case VHOST_VDPA_GET_VRING_NUM:
        *(uint16_t *)arg = config.most;
        return 0;
    case VHOST_VDPA_GET_AS_NUM:
        *(unsigned *)arg = 2;
        return 0;
    case VHOST_VDPA_GET_IOVA_RANGE:
        *(struct vhost_vdpa_iova_range *)arg =
            (struct vhost_vdpa_iova_range) { 0, UINT64_MAX };
        return 0;
    case VHOST_SET_OWNER:       /* a new session has no maps */
        device.maps = 0;
        return 0;
    case VHOST_SET_FEATURES:
        device.features = *(uint64_t *)arg;
        return 0;
    case VHOST_VDPA_SUSPEND:
    case VHOST_VDPA_RESUME:
        set_suspended(request == VHOST_VDPA_SUSPEND);
        return 0;
    case VHOST_SET_BACKEND_FEATURES:
    case VHOST_VDPA_SET_CONFIG:
    case VHOST_VDPA_SET_CONFIG_CALL:
    case VHOST_SET_VRING_BASE:
    case VHOST_SET_VRING_KICK:
    case VHOST_SET_VRING_CALL:
    case VHOST_VDPA_GET_VRING_GROUP:
    case VHOST_VDPA_SET_GROUP_ASID:
    case VHOST_GET_VRING_BASE:
    case VHOST_SET_VRING_NUM:
    case VHOST_SET_VRING_ADDR:
    case VHOST_VDPA_SET_VRING_ENABLE:
        return queue_ioctl(request, arg);
    default:
        return fail_with(ENOTTY);
    }
}

/* The errno that the configuration asks for at this ioctl; 0: none. */
static int injected_errno(unsigned nr)
{
    device.requests[nr]++;
    if (++device.ioctls == config.nth) {
        return config.nth_error;
    }
    for (unsigned i = 0; i < config.failures; i++) {
        if (config.fail[i].request == nr &&
            device.requests[nr] >= config.fail[i].from) {
            return config.fail[i].error;
        }
    }
    return 0;
}

static int fake_ioctl(int fd, unsigned long request, void *argument)
{
    static const uint32_t none[2];
    const uint32_t *words = _IOC_SIZE(request) >= 8 ? argument : none;
    char line[128];
    int done, error;

    if (_IOC_TYPE(request) != VHOST_VIRTIO) {
        return kernel_ioctl(fd, request, argument);
    }
    pthread_mutex_lock(&device.lock);
    device.fd = fd;
    read_config();
    error = injected_errno(_IOC_NR(request));
    done = error ? fail_with(error) : device_ioctl(request, argument);
    error = done ? errno : 0;
    snprintf(line, sizeof(line), "%s %#x %#x %#x %d\n",
             _IOC_DIR(request) & _IOC_READ ? "get" : "set", (unsigned)_IOC_NR(request), words[0], words[1], error);
    log_line(line);
    pthread_mutex_unlock(&device.lock);
    errno = error;
    return done;
}
