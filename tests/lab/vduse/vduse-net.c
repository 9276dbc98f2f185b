/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * vduse-net: a vDPA network device in user space.
 *
 *   vduse-net NAME MAC MTU FEATURES [QUEUE-SIZE]
 *
 * Theory of operation
 * -------------------
 * The kernel module vduse makes a vDPA device of a process that speaks its protocol
 * (<linux/vduse.h>). This one makes a network device that is alone on its network (net.h), says
 * "ready", and serves it: the kernel's messages come from the device file, the driver's kicks from
 * an eventfd a queue. One thread does all, so a message is never handled in the middle of a frame.
 *
 * A message is answered before what it asks for is begun, because the kernel takes an interrupt
 * only once it has our answer; one that it does not take yet is tried again.
 *
 * Queues are looked at when the driver sets DRIVER_OK. Some drivers enable them only then; the kernel
 * does not tell, so one that is not enabled is looked at again every RETRY_MS, and "enabled late" is
 * printed. Nothing is served before all are. A fault of a ring stops both until the next reset, and is
 * printed, as are counters at each reset and at the end; the lab reads them there. SIGTERM
 * ends it; the vDPA device has to be deleted before (`vdpa dev del NAME`), or the VDUSE device stays.
 *
 * Limits: one queue pair and no control queue: Linux up to 6.12 refuses a network device with one
 * (EINVAL), and without one no driver uses more pairs. Only reset takes effect while a device runs: the
 * protocol has no suspension.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/vduse.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "iotlb.h"
#include "net.h"

#define CONTROL     "/dev/vduse/control"
#define QUEUE_SIZE  1024
#define BUDGET      64
#define RETRY_MS    1

static struct iotlb iotlb;
static const struct ring_memory memory = { iotlb_at, &iotlb };
static struct net net;
static int control, device, kick[NET_QUEUES] = { -1, -1 };
static uint8_t status;
static uint64_t features;           /* the driver's */
static bool running, awaited;       /* served; DRIVER_OK, but not all queues are enabled */
static int net_flags;               /* of net_move(), not yet done */

static void __attribute__((noreturn, format(printf, 1, 2))) die(const char *format, ...)
{
    int error = errno;
    va_list args;

    va_start(args, format);
    fprintf(stderr, "vduse-net: ");
    vfprintf(stderr, format, args);
    fprintf(stderr, ": %s\n", strerror(error));
    va_end(args);
    exit(1);
}

/* The file of mapped memory was truncated. */
static void on_bus_error(int number)
{
    static const char text[] = "vduse-net: memory of the driver's is gone\n";

    (void)number;
    if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0) {
        _exit(2);
    }
    _exit(1);
}

static void print_counters(void)
{
    printf("looped %llu dropped %llu gone %llu\n", (unsigned long long)net.looped,
           (unsigned long long)net.dropped, (unsigned long long)net.gone);
}

/* --- running ------------------------------------------------------------ */

static void stop(void)
{
    for (int i = 0; i < NET_QUEUES; i++) {
        ring_stop(&net.ring[i]);
        if (kick[i] >= 0) {
            close(kick[i]);
        }
        kick[i] = -1;
    }
    running = awaited = false;
    net_flags = 0;
}

static void stop_for_fault(void)
{
    for (int i = 0; i < NET_QUEUES; i++) {
        if (net.ring[i].fault[0]) {
            printf("fault: queue %d: %s\n", i, net.ring[i].fault);
        }
    }
    stop();
}

/* The kernel refuses as long as it has not taken note of DRIVER_OK. */
static void interrupt(void)
{
    for (uint32_t i = 0; i < NET_QUEUES; i++) {
        if (net_flags & NET_CALL << i &&
            (!ioctl(device, VDUSE_VQ_INJECT_IRQ, &i) || errno != EINVAL)) {
            net_flags &= ~(NET_CALL << i);
        }
    }
}

static void serve(void)
{
    int more = running ? net_move(&net, BUDGET) : 0;

    if (more < 0) {
        stop_for_fault();
        return;
    }
    net_flags = (net_flags & ~NET_MORE) | more;
    interrupt();
}

static struct vduse_vq_info ask(unsigned index)
{
    struct vduse_vq_info info = { .index = index };

    if (ioctl(device, VDUSE_VQ_GET_INFO, &info)) {
        die("queue %u", index);
    }
    return info;
}

static int start_queue(const struct vduse_vq_info *info)
{
    struct vduse_vq_eventfd notify = { .index = info->index };
    struct ring_layout layout = {
        .desc = info->desc_addr, .avail = info->driver_addr, .used = info->device_addr,
        .num = info->num,
        .event_idx = features >> VIRTIO_RING_F_EVENT_IDX & 1,
        .indirect = features >> VIRTIO_RING_F_INDIRECT_DESC & 1,
    };

    printf("queue %u: size %u, from %u\n", info->index, info->num, info->split.avail_index);
    kick[info->index] = notify.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (notify.fd < 0 || ioctl(device, VDUSE_VQ_SETUP_KICKFD, &notify)) {
        die("kicks of queue %u", info->index);
    }
    return ring_start(&net.ring[info->index], &memory, &layout, info->split.avail_index);
}

/* Starts all queues, or none if one is not enabled yet. */
static void start(void)
{
    struct vduse_vq_info info[NET_QUEUES];
    bool late = awaited;

    awaited = false;
    for (unsigned i = 0; i < NET_QUEUES; i++) {
        info[i] = ask(i);
        awaited |= !info[i].ready;
    }
    if (awaited) {
        return;
    }
    printf("driver: features 0x%llx%s\n", (unsigned long long)features,
           late ? ", enabled late" : "");
    for (unsigned i = 0; i < NET_QUEUES; i++) {
        if (start_queue(&info[i])) {
            stop_for_fault();
            return;
        }
    }
    running = true;
    net_flags = NET_MORE;
}

static void on_driver_ok(void)
{
    if (ioctl(device, VDUSE_DEV_GET_FEATURES, &features)) {
        die("features");
    }
    start();
}

/* --- the kernel's messages ---------------------------------------------- */

static void prepare(const struct vduse_dev_request *request, struct vduse_dev_response *response)
{
    switch (request->type) {
    case VDUSE_GET_VQ_STATE:
        if (request->vq_state.index < NET_QUEUES) {
            response->vq_state.index = request->vq_state.index;
            response->vq_state.split.avail_index = net.ring[request->vq_state.index].next_avail;
            return;
        }
        break;
    case VDUSE_SET_STATUS:
        if (!request->s.status) {
            stop();
        }
        return;
    case VDUSE_UPDATE_IOTLB:
        iotlb_forget(&iotlb, request->iova.start, request->iova.last);
        return;
    }
    response->result = VDUSE_REQ_RESULT_FAILED;
}

static void set_status(uint8_t wanted)
{
    uint8_t old = status;

    status = wanted;
    if (!wanted) {
        print_counters();
    } else if (wanted & ~old & VIRTIO_CONFIG_S_DRIVER_OK) {
        on_driver_ok();
    }
}

static void on_message(void)
{
    struct vduse_dev_request request;
    struct vduse_dev_response response = { 0 };

    if (read(device, &request, sizeof(request)) != sizeof(request)) {
        if (errno == EAGAIN || errno == EINTR) {
            return;
        }
        die("reading a message");
    }
    response.request_id = request.request_id;
    prepare(&request, &response);
    if (write(device, &response, sizeof(response)) != sizeof(response)) {
        die("answering message %u", request.type);
    }
    if (request.type == VDUSE_SET_STATUS) {
        set_status(request.s.status);
    }
}

/* --- the device --------------------------------------------------------- */

static int parse_mac(const char *text)
{
    unsigned b[6];
    char end;

    if (sscanf(text, "%x:%x:%x:%x:%x:%x%c", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5], &end) != 6) {
        return -1;
    }
    for (int i = 0; i < 6; i++) {
        net.mac[i] = b[i];
    }
    return 0;
}

static void create(const char *name, unsigned mtu, uint64_t offered)
{
    struct virtio_net_config config = {
        .status = VIRTIO_NET_S_LINK_UP, .max_virtqueue_pairs = 1, .mtu = mtu,
    };
    struct {
        struct vduse_dev_config head;
        struct virtio_net_config net;
    } made = {
        .head = {
            .device_id = VIRTIO_ID_NET, .features = offered, .vq_num = NET_QUEUES,
            .vq_align = 4096, .config_size = sizeof(config),
        },
    };
    uint64_t version = VDUSE_API_VERSION;

    memcpy(config.mac, net.mac, sizeof(net.mac));
    memcpy(made.head.config, &config, sizeof(config));
    snprintf(made.head.name, sizeof(made.head.name), "%s", name);
    control = open(CONTROL, O_RDWR | O_CLOEXEC);
    if (control < 0 || ioctl(control, VDUSE_SET_API_VERSION, &version)) {
        die(CONTROL);
    }
    if (ioctl(control, VDUSE_CREATE_DEV, &made.head)) {
        die("cannot make a device with features 0x%llx", (unsigned long long)offered);
    }
}

static void open_device(const char *name, unsigned size)
{
    char path[300];

    snprintf(path, sizeof(path), "/dev/vduse/%s", name);
    iotlb.fd = device = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (device < 0) {
        die("%s", path);
    }
    for (uint32_t i = 0; i < NET_QUEUES; i++) {
        struct vduse_vq_config queue = { .index = i, .max_size = size };

        if (ioctl(device, VDUSE_VQ_SETUP, &queue)) {
            die("%s: queue %u", path, i);
        }
    }
}

static int ending(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGBUS, on_bus_error);
    return signalfd(-1, &set, SFD_CLOEXEC);
}

static int poll_timeout_ms(void)
{
    return net_flags & NET_MORE ? 0 : net_flags || awaited ? RETRY_MS : -1;
}

static void drain(int fd)
{
    uint64_t count;

    if (fd >= 0 && read(fd, &count, sizeof(count)) < 0 && errno != EAGAIN) {
        die("kicks");
    }
}

static void loop(int signals)
{
    for (;;) {
        struct pollfd waiting[] = {
            { device, POLLIN, 0 }, { signals, POLLIN, 0 },
            { kick[NET_RX], POLLIN, 0 }, { kick[NET_TX], POLLIN, 0 },
        };

        if (poll(waiting, 4, poll_timeout_ms()) < 0 && errno != EINTR) {
            die("poll");
        }
        if (waiting[1].revents) {
            return;
        }
        if (waiting[0].revents & POLLERR) {
            errno = EIO;
            die("the kernel gave the device up");
        }
        if (waiting[0].revents) {
            on_message();
            continue;               /* what was polled may be closed */
        }
        drain(waiting[2].revents ? kick[NET_RX] : -1);
        drain(waiting[3].revents ? kick[NET_TX] : -1);
        if (awaited) {
            start();
        }
        serve();
    }
}

int main(int argc, char **argv)
{
    char name[VDUSE_NAME_MAX] = "";
    int signals = ending();

    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc < 5 || argc > 6 || parse_mac(argv[2])) {
        fprintf(stderr, "usage: vduse-net NAME MAC MTU FEATURES [QUEUE-SIZE]\n");
        return 2;
    }
    snprintf(name, sizeof(name), "%s", argv[1]);
    create(name, strtoul(argv[3], NULL, 0), strtoull(argv[4], NULL, 0));
    open_device(name, argc > 5 ? strtoul(argv[5], NULL, 0) : QUEUE_SIZE);
    printf("ready\n");
    loop(signals);
    stop();
    print_counters();
    close(device);
    if (ioctl(control, VDUSE_DESTROY_DEV, name)) {
        die("%s stays", name);
    }
    return 0;
}
