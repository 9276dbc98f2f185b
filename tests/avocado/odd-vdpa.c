/*
 * A vhost-vdpa network device that does what a test tells it, for one process.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * Preloaded into QEMU (LD_PRELOAD), it answers vhost-vdpa's ioctls and takes its
 * messages; QEMU is given /dev/null as the device's file. What it is and how it
 * misbehaves stands in the file that $ODD_VDPA names, and is looked up again at
 * each ioctl, so a test may change its mind at any time. A file that cannot be
 * opened, as when QEMU has no descriptors left, changes nothing. One word and
 * numbers a line, numbers as in C:
 *
 *   features N    backend N    pairs N    most N     what it offers
 *   base N                                           where its queues stand
 *   never N                                          status bits it does not take
 *   fail R E [K]                                     request R (its number) fails
 *                                                    with errno E from the K-th on
 *   nth K E                                          the K-th ioctl fails with E
 *   message E                                        messages fail with E
 *   answer N                                         status of control commands
 *   mute 1                                           none are answered
 *   mac N                                            last byte of its MAC address
 *   silent 1                                         it does not tell where they stand
 *   take 1                                           its data queues take chains
 *   serve 1                                          ... and return them, in order
 *   hold 1                                           maps take until that is gone
 *   store 1                                          as mlx5_vdpa: a running device
 *                                                    stores ring addresses and bases
 *                                                    until RESUME, and SUSPEND ends
 *                                                    the control queue's service
 *   ignore 1                                         a running device ignores them
 *
 * Each ioctl leaves a line in $ODD_VDPA.log, which stays open: "get" if the kernel answers it with
 * more than an errno, else "set"; request number; the first and the second word
 * of its argument; errno. So does each message: "map" or "unmap", address space,
 * address, size. A thread serves the queues. The control queue is in a
 * group and an address space of its own; each command leaves a line in the log.
 * Data queues stand still unless the file says otherwise; a chain that is taken
 * leaves the line "take QUEUE POSITION", a change of "serve" the line "serve N". The ring base of a data queue is the
 * next chain that the device would take, unless the file has a "base". A driver
 * that accepted packed rings is not served: it has to have one.
 *
 * Limits: nothing is ever written into buffers; what it is told wins over the
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
#include "fake-ioctl.h"

#define RESUME      _IO(VHOST_VIRTIO, 0x7e)     /* older headers lack it */
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
} told = { .pairs = 1, .most = 1024, .mac = 0xaa };

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
} now = { .lock = PTHREAD_MUTEX_INITIALIZER, .fd = -1 };

/* --- what it is told ---------------------------------------------------- */

static void listen_to(const char *line)
{
    unsigned long a = 0, b = 0, c = 0;
    char word[32] = "";
    const struct {
        const char *word;
        unsigned long *to;
    } plain[] = {
        { "features", &told.features }, { "backend", &told.backend },
        { "pairs", &told.pairs }, { "most", &told.most },
        { "base", &told.base }, { "never", &told.never },
        { "message", &told.message }, { "answer", &told.answer },
        { "mute", &told.mute }, { "mac", &told.mac },
        { "take", &told.take }, { "serve", &told.serve },
        { "silent", &told.silent }, { "hold", &told.hold },
        { "store", &told.store }, { "ignore", &told.ignore },
    };

    if (sscanf(line, "%31s %li %li %li", word, &a, &b, &c) < 2) {
        return;
    }
    for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
        if (!strcmp(word, plain[i].word)) {
            *plain[i].to = a;
        }
    }
    told.has_base |= !strcmp(word, "base");
    if (!strcmp(word, "nth")) {
        told.nth = a;
        told.nth_error = b;
    }
    if (!strcmp(word, "fail") && told.failures < FAILURES) {
        told.fail[told.failures].request = a;
        told.fail[told.failures].error = b;
        told.fail[told.failures++].from = c;
    }
}

static void note(const char *text)
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

static void look_up(void)
{
    const char *path = getenv("ODD_VDPA");
    FILE *f = path ? fopen(path, "re") : NULL;
    unsigned long serve;
    char line[128];

    if (!f) {
        return;         /* out of file descriptors: what it was told holds */
    }
    serve = told.serve;
    memset(&told, 0, sizeof(told));
    told.pairs = 1;
    told.most = 1024;
    told.mac = 0xaa;
    while (fgets(line, sizeof(line), f)) {
        listen_to(line);
    }
    fclose(f);
    if (told.serve != serve) {
        note(told.serve ? "serve 1\n" : "serve 0\n");
    }
}

/* --- memory ------------------------------------------------------------- */

static void *at(unsigned space, uint64_t iova, uint64_t bytes)
{
    for (unsigned i = 0; i < now.maps; i++) {
        const struct vhost_iotlb_msg *m = &now.map[i].m;

        if (now.map[i].space == space && iova >= m->iova &&
            iova - m->iova < m->size && bytes <= m->size - (iova - m->iova)) {
            return (void *)(uintptr_t)(m->uaddr + (iova - m->iova));
        }
    }
    return NULL;
}

/* The first map of the message's address space that its range meets; -1: none. */
static int met(const struct vhost_msg_v2 *msg)
{
    uint64_t last = msg->iotlb.iova + (msg->iotlb.size - 1);

    for (unsigned i = 0; i < now.maps; i++) {
        const struct vhost_iotlb_msg *m = &now.map[i].m;

        if (now.map[i].space == msg->asid && m->iova <= last &&
            msg->iotlb.iova <= m->iova + (m->size - 1)) {
            return i;
        }
    }
    return -1;
}

/* As the kernel does: a range has bytes, and a map meets no other. */
static int remember(const struct vhost_msg_v2 *msg)
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
    note(line);
    if (!msg->iotlb.size) {
        return EINVAL;
    }
    while (!update && (i = met(msg)) >= 0) {
        now.map[i] = now.map[--now.maps];
    }
    if (!update) {
        return 0;
    }
    if (met(msg) >= 0) {
        return EEXIST;
    }
    if (now.maps == MAPS) {
        return ENOSPC;
    }
    now.map[now.maps].m = msg->iotlb;
    now.map[now.maps++].space = msg->asid;
    return 0;
}

/* What stands behind a map in its thread waits with it; ioctls do not. */
static void hold_locked(const struct vhost_msg_v2 *msg)
{
    look_up();
    while (told.hold && msg->iotlb.type == VHOST_IOTLB_UPDATE) {
        pthread_mutex_unlock(&now.lock);
        usleep(500);
        pthread_mutex_lock(&now.lock);
        look_up();
    }
}

ssize_t write(int fd, const void *data, size_t bytes)
{
    int error;

    if (fd < 0 || fd != now.fd || bytes != sizeof(struct vhost_msg_v2)) {
        return syscall(SYS_write, fd, data, bytes);
    }
    pthread_mutex_lock(&now.lock);
    hold_locked(data);
    error = told.message;
    if (!error) {
        error = remember(data);
    }
    pthread_mutex_unlock(&now.lock);
    if (error) {
        errno = error;
        return -1;
    }
    return bytes;
}

/* --- the control queue -------------------------------------------------- */

/* One command: all but its last descriptor are read, which gets the answer. */
static uint32_t obey(struct vring_desc *desc, uint16_t head)
{
    char line[256] = "command";
    size_t end = strlen(line);
    unsigned space = now.spaces[1];

    for (;; head = desc[head].next) {
        struct vring_desc *d = &desc[head];
        uint8_t *data = at(space, d->addr, d->len);

        if (!data) {
            return 0;
        }
        if (d->flags & VRING_DESC_F_WRITE) {
            *data = told.answer;
            snprintf(line + end, sizeof(line) - end, "\n");
            note(line);
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

/* Returns what was taken, in order. */
static void give_back(struct queue *q, const struct vring_avail *avail,
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

static void work_on(unsigned index)
{
    struct queue *q = &now.queue[index];
    struct vring_avail *avail = at(now.spaces[0], q->addr.avail_user_addr,
                                   4 + 2 * q->num);
    struct vring_used *used = at(now.spaces[0], q->addr.used_user_addr,
                                 4 + 8 * q->num);
    char line[64];

    if (!q->enabled || !q->num || !avail || !used) {
        return;
    }
    while (told.take &&
           __atomic_load_n(&avail->idx, __ATOMIC_ACQUIRE) != q->next) {
        snprintf(line, sizeof(line), "take %u %u\n", index, q->next++);
        note(line);
    }
    if (told.serve && used->idx != q->next) {
        give_back(q, avail, used);
    }
}

static void work_locked(void)
{
    if (now.status & VIRTIO_CONFIG_S_DRIVER_OK && !now.suspended &&
        !(now.features >> VIRTIO_F_RING_PACKED & 1)) {
        for (unsigned i = 0; i < QUEUES; i++) {
            work_on(i);
        }
    }
}

/* --- the thread --------------------------------------------------------- */

static void serve_locked(void)
{
    unsigned num = now.control_num, space = now.spaces[1];
    struct vring_desc *desc;
    struct vring_avail *avail;
    struct vring_used *used;

    if (!(now.status & VIRTIO_CONFIG_S_DRIVER_OK) || !now.serving || !num ||
        told.mute || now.features >> VIRTIO_F_RING_PACKED & 1) {
        return;
    }
    desc = at(space, now.control.desc_user_addr, num * sizeof(*desc));
    avail = at(space, now.control.avail_user_addr, 4 + 2 * num);
    used = at(space, now.control.used_user_addr, 4 + 8 * num);
    while (desc && avail && used &&
           __atomic_load_n(&avail->idx, __ATOMIC_ACQUIRE) != now.control_next) {
        uint16_t head = avail->ring[now.control_next++ % num];
        struct vring_used_elem *e = &used->ring[used->idx % num];

        e->id = head;
        e->len = obey(desc, head);
        __atomic_store_n(&used->idx, used->idx + 1, __ATOMIC_RELEASE);
    }
}

static void *serve(void *unused)
{
    for (unsigned round = 0; ; round++) {
        pthread_mutex_lock(&now.lock);
        if (told.take && round % 64 == 0) {
            look_up();
        }
        serve_locked();
        work_locked();
        pthread_mutex_unlock(&now.lock);
        usleep(100);
    }
    return NULL;
}

/* --- ioctls ------------------------------------------------------------- */

static int refuse(int error)
{
    errno = error;
    return -1;
}

static bool has_control(void)
{
    return told.features >> VIRTIO_NET_F_CTRL_VQ & 1;
}

static unsigned data_queues(uint64_t features)
{
    return features >> VIRTIO_NET_F_MQ & 1 ? 2 * told.pairs : 2;
}

/* Behind the data queues that the driver knows of. */
static bool is_control(unsigned index)
{
    return has_control() &&
        index == data_queues(now.features ? now.features : told.features);
}

static int get_config(struct vhost_vdpa_config *window)
{
    struct virtio_net_config space = {
        .mac = { 0x52, 0x54, 0x00, 0x00, 0x00, told.mac },
        .status = VIRTIO_NET_S_LINK_UP,
        .max_virtqueue_pairs = told.pairs,
    };

    if (window->off > sizeof(space) ||
        window->len > sizeof(space) - window->off) {
        return refuse(EINVAL);
    }
    memcpy(window->buf, (const char *)&space + window->off, window->len);
    return 0;
}

static int set_status(uint8_t status)
{
    static bool started;
    pthread_t thread;

    now.status = status & ~told.never;
    if (!status) {
        now.features = 0;
        now.control_next = 0;
        now.control_num = 0;
        now.serving = false;
        now.spaces[0] = now.spaces[1] = 0;
        now.suspended = false;
        memset(now.queue, 0, sizeof(now.queue));
    }
    if (status & VIRTIO_CONFIG_S_DRIVER_OK && !started) {
        started = !pthread_create(&thread, NULL, serve, NULL);
    }
    return 0;
}

/* What a request without an argument, or about another queue, changes is lost. */
static struct queue *data_queue(const struct vhost_vring_state *state)
{
    static struct queue none;

    return state && state->index < QUEUES && !is_control(state->index)
           ? &now.queue[state->index] : &none;
}

static void set_ring(struct queue *q, const struct vhost_vring_addr *addr,
                     uint16_t next)
{
    if (!(now.status & VIRTIO_CONFIG_S_DRIVER_OK) ||
        (!told.store && !told.ignore)) {
        q->addr = *addr;
        q->next = next;
    } else if (told.store) {
        q->stored = true;
        q->stored_addr = *addr;
        q->stored_next = next;
    }
}

static void set_suspended(bool suspended)
{
    now.suspended = suspended;
    if (told.store && suspended) {
        now.serving = false;
    }
    for (unsigned i = 0; i < QUEUES && !suspended; i++) {
        struct queue *q = &now.queue[i];

        if (q->stored) {
            q->addr = q->stored_addr;
            q->next = q->stored_next;
            q->stored = false;
        }
    }
}

static int about_queue(unsigned long request, void *arg)
{
    struct vhost_vring_state *state = arg;
    struct queue *q = data_queue(state);

    switch (request) {
    case VHOST_VDPA_GET_VRING_GROUP:
        state->num = is_control(state->index);
        return 0;
    case VHOST_VDPA_SET_GROUP_ASID:
        if (state->index > 1 || state->num > 1) {
            return refuse(EINVAL);
        }
        now.spaces[state->index] = state->num;
        return 0;
    case VHOST_GET_VRING_BASE:
        state->num = told.has_base ? told.base : q->next;
        return told.silent ? refuse(EIO) : 0;
    case VHOST_SET_VRING_BASE:
        set_ring(q, q->stored ? &q->stored_addr : &q->addr, state->num);
        return 0;
    case VHOST_SET_VRING_CALL:
        q->call = ((struct vhost_vring_file *)arg)->fd;
        return 0;
    case VHOST_SET_VRING_NUM:
        if (!state->num || state->num > told.most ||
            state->num & (state->num - 1)) {
            return refuse(EINVAL);
        }
        now.control_num = is_control(state->index) ? state->num
                                                   : now.control_num;
        q->num = state->num;
        return 0;
    case VHOST_SET_VRING_ADDR:
        if (is_control(state->index)) {
            now.control = *(struct vhost_vring_addr *)arg;
        }
        set_ring(q, arg, q->stored ? q->stored_next : q->next);
        return 0;
    case VHOST_VDPA_SET_VRING_ENABLE:
        now.serving |= is_control(state->index) && state->num;
        q->enabled = state->num;
        return 0;
    default:
        return 0;
    }
}

static int answer(unsigned long request, void *arg)
{
    switch (request) {
    case VHOST_GET_FEATURES:
        *(uint64_t *)arg = told.features;
        return 0;
    case VHOST_GET_BACKEND_FEATURES:
        *(uint64_t *)arg = told.backend;
        return 0;
    case VHOST_VDPA_GET_DEVICE_ID:
        *(uint32_t *)arg = VIRTIO_ID_NET;
        return 0;
    case VHOST_VDPA_GET_STATUS:
        *(uint8_t *)arg = now.status;
        return 0;
    case VHOST_VDPA_SET_STATUS:
        return set_status(*(uint8_t *)arg);
    case VHOST_VDPA_GET_CONFIG:
        return get_config(arg);
    case VHOST_VDPA_GET_CONFIG_SIZE:
        *(uint32_t *)arg = sizeof(struct virtio_net_config);
        return 0;
    case VHOST_VDPA_GET_VQS_COUNT:
        *(uint32_t *)arg = data_queues(told.features) + has_control();
        return 0;
    case VHOST_VDPA_GET_VRING_NUM:
        *(uint16_t *)arg = told.most;
        return 0;
    case VHOST_VDPA_GET_AS_NUM:
        *(unsigned *)arg = 2;
        return 0;
    case VHOST_VDPA_GET_IOVA_RANGE:
        *(struct vhost_vdpa_iova_range *)arg =
            (struct vhost_vdpa_iova_range) { 0, UINT64_MAX };
        return 0;
    case VHOST_SET_OWNER:       /* a new session: the kernel has forgotten the last one's */
        now.maps = 0;
        return 0;
    case VHOST_SET_FEATURES:
        now.features = *(uint64_t *)arg;
        return 0;
    case VHOST_VDPA_SUSPEND:
    case RESUME:
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
        return about_queue(request, arg);
    default:
        return refuse(ENOTTY);
    }
}

/* What a test wants to fail, if this is it. */
static int failure(unsigned nr)
{
    now.requests[nr]++;
    if (++now.ioctls == told.nth) {
        return told.nth_error;
    }
    for (unsigned i = 0; i < told.failures; i++) {
        if (told.fail[i].request == nr &&
            now.requests[nr] >= told.fail[i].from) {
            return told.fail[i].error;
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
    pthread_mutex_lock(&now.lock);
    now.fd = fd;
    look_up();
    error = failure(_IOC_NR(request));
    done = error ? refuse(error) : answer(request, argument);
    error = done ? errno : 0;
    snprintf(line, sizeof(line), "%s %#x %#x %#x %d\n",
             _IOC_DIR(request) & _IOC_READ ? "get" : "set", (unsigned)_IOC_NR(request), words[0], words[1], error);
    note(line);
    pthread_mutex_unlock(&now.lock);
    errno = error;
    return done;
}
