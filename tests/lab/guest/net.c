/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Numbered frames. Theory of operation and limits: net.h.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_vlan.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "net.h"

#define PROTOCOL        0x88b5      /* for local experiments */
#define FRAME_MIN       60
#define FRAME_MAX       9014        /* with an MTU of 9,000 */
#define HEAD            (ETH_HLEN + 12)
#define WINDOW          128
#define REPLY_TIMEOUT_NS 200000000ull
#define LINK_NS         10000000000ull
#define SEEN            (1u << 22)  /* numbers that are told apart */

#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif

static struct {
    char name[IFNAMSIZ];
    int index, socket;
    unsigned char mac[ETH_ALEN];
    uint32_t rate, size;
    uint32_t most;                  /* bytes of a frame, by the MTU */
    int running, stop, hold;        /* atomic */
    int away;                       /* frames are for another address */
    int fault;                      /* atomic: errno of the last failed send */
    uint64_t sent, received, duplicate, corrupt, failed, gap_ns, last_ns;
    uint64_t given_up;
    unsigned char seen[SEEN / 8];
} net = { .socket = -1 };

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static uint64_t get(const uint64_t *n)
{
    return __atomic_load_n(n, __ATOMIC_RELAXED);
}

static void count(uint64_t *n)
{
    __atomic_add_fetch(n, 1, __ATOMIC_RELAXED);
}

/* --- modules ------------------------------------------------------------ */

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_module(const struct dirent *entry)
{
    return strstr(entry->d_name, ".ko") != NULL;
}

void net_load_modules(void)
{
    struct dirent **list;
    int n = scandir("/modules", &list, is_module, by_name);

    for (int i = 0; i < n; i++) {
        char path[300];
        int fd;

        snprintf(path, sizeof(path), "/modules/%s", list[i]->d_name);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) &&
                       errno != EEXIST)) {
            fprintf(stderr, "payload: %s: %s\n", path, strerror(errno));
        }
        close(fd);
    }
}

/* --- the interface ------------------------------------------------------ */

static int request(unsigned long what, struct ifreq *r)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), done;

    if (fd < 0) {
        fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    }
    memcpy(r->ifr_name, net.name, IFNAMSIZ);
    done = ioctl(fd, what, r);
    close(fd);
    return done;
}

static int find_interface(void)
{
    struct if_nameindex *list = if_nameindex();

    net.name[0] = 0;
    for (struct if_nameindex *i = list; i && i->if_index; i++) {
        if (!strncmp(i->if_name, "eth", 3) && !net.name[0]) {
            snprintf(net.name, sizeof(net.name), "%s", i->if_name);
            net.index = i->if_index;
        }
    }
    if_freenameindex(list);
    return net.name[0] ? 0 : -1;
}

static int set_flag(int flag, int on)
{
    struct ifreq r = { 0 };

    if (request(SIOCGIFFLAGS, &r)) {
        return -1;
    }
    r.ifr_flags = on ? r.ifr_flags | flag : r.ifr_flags & ~flag;
    return request(SIOCSIFFLAGS, &r);
}

/* Of the interface. Its operstate is "up" once the link is. */
static int attribute(const char *what, char *state, size_t bytes)
{
    char path[100];
    int fd, got;

    snprintf(path, sizeof(path), "/sys/class/net/%s/%s", net.name, what);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && !mount("sysfs", "/sys", "sysfs", 0, NULL)) {
        fd = open(path, O_RDONLY | O_CLOEXEC);
    }
    if (fd < 0) {
        return -1;
    }
    got = read(fd, state, bytes - 1);
    close(fd);
    state[got > 0 ? got : 0] = 0;
    state[strcspn(state, "\n")] = 0;
    return 0;
}

/*
 * A driver learns of its link some time after it was loaded. The kernel drops
 * what is sent before that, and says that it was sent.
 */
static int await_link(const char *want)
{
    uint64_t since = now_ns();
    char state[20];

    for (;;) {
        if (attribute("operstate", state, sizeof(state))) {
            return -1;
        }
        if (!strcmp(state, want)) {
            /* the change is made under a lock, which this needs, too */
            return set_flag(IFF_UP, 1);
        }
        if (now_ns() - since > LINK_NS) {
            errno = ETIMEDOUT;
            return -1;
        }
        usleep(2000);
    }
}

/*
 * Frames go to the driver, past the kernel's queue: that drops some without
 * telling the sender. fq_codel, Debian's, does so when they wait too
 * long, as they do for a slow device if the driver limits what it holds (Linux
 * 6.11 on); and there is none while a link comes up. A driver that has no room
 * says so: ENOBUFS.
 */
static int open_socket(void)
{
    struct sockaddr_ll at = {
        .sll_family = AF_PACKET, .sll_protocol = htons(PROTOCOL),
        .sll_ifindex = net.index,
    };
    int one = 1, bytes = 4 << 20;

    net.socket = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    if (net.socket < 0) {
        return -1;
    }
    setsockopt(net.socket, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one,
               sizeof(one));
    setsockopt(net.socket, SOL_PACKET, PACKET_QDISC_BYPASS, &one,
               sizeof(one));
    setsockopt(net.socket, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes));
    return bind(net.socket, (void *)&at, sizeof(at));
}

/* What frames follow from. */
static int read_interface(void)
{
    struct ifreq r = { 0 };

    if (request(SIOCGIFMTU, &r)) {
        return -1;
    }
    net.most = ETH_HLEN + r.ifr_mtu;
    net.most = net.most > FRAME_MAX ? FRAME_MAX : net.most;
    if (request(SIOCGIFHWADDR, &r)) {
        return -1;
    }
    memcpy(net.mac, r.ifr_hwaddr.sa_data, ETH_ALEN);
    return 0;
}

/* --- frames ------------------------------------------------------------- */

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

static uint32_t frame_size(uint32_t number)
{
    uint32_t state = number;

    return net.size ? net.size
                    : FRAME_MIN + next_random(&state) % (net.most - FRAME_MIN);
}

static void frame_make(unsigned char *frame, uint32_t number, uint32_t bytes)
{
    uint32_t state = number * 2654435761u, size = bytes;

    memset(frame, 0xff, ETH_ALEN);
    memcpy(frame + ETH_ALEN, net.mac, ETH_ALEN);
    frame[12] = PROTOCOL >> 8;
    frame[13] = PROTOCOL & 0xff;
    memcpy(frame + ETH_HLEN, "seq=", 4);
    memcpy(frame + ETH_HLEN + 4, &number, 4);
    memcpy(frame + ETH_HLEN + 8, &size, 4);
    for (uint32_t i = HEAD; i < bytes; i++) {
        frame[i] = next_random(&state);
    }
}

/* Two threads change bits of one byte. */
static void forget_seen(uint32_t number)
{
    __atomic_fetch_and(&net.seen[number % SEEN / 8],
                       (unsigned char)~(1u << number % 8), __ATOMIC_RELAXED);
}

/* True if it was there already. */
static int note_seen(uint32_t number)
{
    unsigned char bit = 1u << number % 8;

    return __atomic_fetch_or(&net.seen[number % SEEN / 8], bit,
                             __ATOMIC_RELAXED) & bit;
}

static void frame_check(const unsigned char *frame, uint32_t bytes)
{
    unsigned char want[FRAME_MAX + 16];
    uint32_t number, size;

    if (bytes < HEAD || memcmp(frame + ETH_HLEN, "seq=", 4)) {
        count(&net.corrupt);
        return;
    }
    memcpy(&number, frame + ETH_HLEN + 4, 4);
    memcpy(&size, frame + ETH_HLEN + 8, 4);
    if (size != bytes || bytes > net.most || number >= get(&net.sent)) {
        count(&net.corrupt);
        return;
    }
    frame_make(want, number, size);
    if (memcmp(want + HEAD, frame + HEAD, bytes - HEAD)) {
        count(&net.corrupt);
        return;
    }
    count(note_seen(number) ? &net.duplicate : &net.received);
}

/* --- threads ------------------------------------------------------------ */

/* Frames stay in the memory that the device wrote them to. */
static int holding(void)
{
    return __atomic_load_n(&net.hold, __ATOMIC_RELAXED);
}

static void note_time(void)
{
    uint64_t now = now_ns(), last = get(&net.last_ns);

    if (last && now - last > get(&net.gap_ns)) {
        __atomic_store_n(&net.gap_ns, now - last, __ATOMIC_RELAXED);
    }
    __atomic_store_n(&net.last_ns, now, __ATOMIC_RELAXED);
}

static void *receiver(void *opaque)
{
    unsigned char frame[FRAME_MAX + 16];

    for (;;) {
        ssize_t got = 0;

        if (!holding()) {
            got = recv(net.socket, frame, sizeof(frame), 0);
        }
        if (got > 0) {
            note_time();
            frame_check(frame, got);
        } else {
            usleep(1000);
        }
    }
    return opaque;
}

/* Waits until there is room for one more frame under way. */
static void await_room(void)
{
    uint64_t since = now_ns(), before = get(&net.received);

    for (;;) {
        uint64_t received = get(&net.received);
        uint64_t away = get(&net.sent) - received - net.given_up;

        /* what was given up and came after all */
        if (received + net.given_up > get(&net.sent)) {
            net.given_up = get(&net.sent) - received;
        }
        if (away < WINDOW || __atomic_load_n(&net.stop, __ATOMIC_RELAXED)) {
            return;
        }
        if (received != before || holding()) {
            before = received;
            since = now_ns();
        }
        if (now_ns() - since > REPLY_TIMEOUT_NS) {
            net.given_up += away;
            return;
        }
        usleep(200);
    }
}

/* Frames that do not come back, as fast as the device takes them. */
static void send_away(void)
{
    static const unsigned char other[ETH_ALEN] = { 2, 0, 0, 0, 0, 1 };
    unsigned char frame[FRAME_MAX + 16];
    uint32_t bytes = frame_size(0);

    frame_make(frame, 0, bytes);
    memcpy(frame, other, ETH_ALEN);
    while (!__atomic_load_n(&net.stop, __ATOMIC_RELAXED)) {
        if (send(net.socket, frame, bytes, 0) < 0) {
            __atomic_store_n(&net.fault, errno, __ATOMIC_RELAXED);
            count(&net.failed);
            usleep(1000);
        }
    }
}

static void *sender(void *opaque)
{
    unsigned char frame[FRAME_MAX + 16];
    uint64_t due = now_ns();

    if (net.away) {
        send_away();
    }
    while (!__atomic_load_n(&net.stop, __ATOMIC_RELAXED)) {
        uint32_t number = get(&net.sent), bytes = frame_size(number);

        await_room();
        frame_make(frame, number, bytes);
        forget_seen(number);
        count(&net.sent);           /* before it can come back */
        while (send(net.socket, frame, bytes, 0) < 0 &&
               !__atomic_load_n(&net.stop, __ATOMIC_RELAXED)) {
            __atomic_store_n(&net.fault, errno, __ATOMIC_RELAXED);
            count(&net.failed);
            usleep(1000);
        }
        if (net.rate) {
            uint64_t now = now_ns();

            due += 1000000000ull / net.rate;
            due = now > due + 100000000ull ? now : due;
            while (now_ns() < due) {
                usleep(200);
            }
        }
    }
    __atomic_store_n(&net.running, 0, __ATOMIC_RELEASE);
    return opaque;
}

static void thread(void *(*run)(void *))
{
    pthread_attr_t attr;
    pthread_t id;

    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 128 << 10);
    pthread_attr_setinheritsched(&attr, PTHREAD_EXPLICIT_SCHED);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_create(&id, &attr, run, NULL);
}

/* --- commands ----------------------------------------------------------- */

static void answer(Text *t, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void answer(Text *t, const char *format, ...)
{
    char line[240];
    va_list args;

    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    text_add(t, line);
}

static void answer_mac(Text *t)
{
    answer(t, "net mac=%02x:%02x:%02x:%02x:%02x:%02x", net.mac[0], net.mac[1],
           net.mac[2], net.mac[3], net.mac[4], net.mac[5]);
}

static int do_up(char *rest, Text *t)
{
    static int received;

    (void)rest;
    if (find_interface()) {
        answer(t, "error no interface eth*");
        return 1;
    }
    if (set_flag(IFF_UP, 1) || await_link("up") || read_interface() ||
        (net.socket < 0 && open_socket())) {
        return 0;
    }
    if (!received++) {
        thread(receiver);
    }
    answer_mac(t);
    return 1;
}

static int do_down(char *rest, Text *t)
{
    (void)rest;
    if (set_flag(IFF_UP, 0)) {
        return 0;
    }
    answer(t, "net ok");
    return 1;
}

static int do_link(char *rest, Text *t)
{
    if (await_link(rest)) {
        return 0;
    }
    answer(t, "net ok");
    return 1;
}

static int do_start(char *rest, Text *t)
{
    char *at;

    if (net.socket < 0 || __atomic_load_n(&net.running, __ATOMIC_ACQUIRE)) {
        answer(t, "error %s", net.socket < 0 ? "net is not up" : "running");
        return 1;
    }
    at = strstr(rest, "rate=");
    net.rate = at ? strtoul(at + 5, NULL, 10) : 0;
    at = strstr(rest, "size=");
    net.size = at ? strtoul(at + 5, NULL, 10) : 0;
    if (net.size && (net.size < FRAME_MIN || net.size > net.most)) {
        answer(t, "error size is from %u to %u", FRAME_MIN, net.most);
        return 1;
    }
    net.away = strstr(rest, "away=1") != NULL;
    net.last_ns = net.gap_ns = 0;
    net.stop = 0;
    net.running = 1;
    thread(sender);
    answer(t, "net ok");
    return 1;
}

static int do_hold(char *rest, Text *t)
{
    __atomic_store_n(&net.hold, atoi(rest), __ATOMIC_RELAXED);
    answer(t, "net ok");
    return 1;
}

static int do_stop(char *rest, Text *t)
{
    (void)rest;
    __atomic_store_n(&net.stop, 1, __ATOMIC_RELAXED);
    while (__atomic_load_n(&net.running, __ATOMIC_ACQUIRE)) {
        usleep(500);
    }
    answer(t, "net ok");
    return 1;
}

/* Frames of any kind that the driver has sent (@tx) and received (@rx). */
static void by_driver(unsigned long long *tx, unsigned long long *rx)
{
    FILE *f = fopen("/proc/net/dev", "re");
    char line[300];

    *tx = *rx = 0;
    while (f && fgets(line, sizeof(line), f)) {
        char *name = line + strspn(line, " "), *colon = strchr(name, ':');

        if (colon && (size_t)(colon - name) == strlen(net.name) &&
            !strncmp(name, net.name, colon - name)) {
            sscanf(colon + 1, "%*u %llu %*u %*u %*u %*u %*u %*u %*u %llu", rx,
                   tx);
        }
    }
    if (f) {
        fclose(f);
    }
}

/* The first of @sent frames that has not come back; @sent if all have. */
static uint64_t first_missing(uint64_t sent)
{
    static uint64_t n;              /* it never goes back */

    while (n < sent && n < SEEN && net.seen[n / 8] >> n % 8 & 1) {
        n++;
    }
    return n;
}

static int do_stat(char *rest, Text *t)
{
    uint64_t sent = get(&net.sent), received = get(&net.received);
    unsigned long long tx, rx;
    char changes[20] = "";

    (void)rest;
    by_driver(&tx, &rx);
    attribute("carrier_changes", changes, sizeof(changes));
    answer(t, "net sent=%llu received=%llu lost=%llu duplicate=%llu "
           "corrupt=%llu failed=%llu gap_us=%llu errno=%d tx=%llu rx=%llu first=%llu "
           "link_changes=%u",
           (unsigned long long)sent, (unsigned long long)received,
           (unsigned long long)(sent - received),
           (unsigned long long)get(&net.duplicate),
           (unsigned long long)get(&net.corrupt),
           (unsigned long long)get(&net.failed),
           (unsigned long long)__atomic_exchange_n(&net.gap_ns, 0,
                                                   __ATOMIC_RELAXED) / 1000,
           __atomic_load_n(&net.fault, __ATOMIC_RELAXED), tx, rx,
           (unsigned long long)first_missing(sent),
           (unsigned)atoi(changes));
    return 1;
}

static int do_mac(char *rest, Text *t)
{
    struct ifreq r = { .ifr_hwaddr.sa_family = ARPHRD_ETHER };
    unsigned b[ETH_ALEN];

    if (sscanf(rest, "%x:%x:%x:%x:%x:%x", b, b + 1, b + 2, b + 3, b + 4,
               b + 5) == ETH_ALEN) {
        for (int i = 0; i < ETH_ALEN; i++) {
            r.ifr_hwaddr.sa_data[i] = b[i];
        }
        if (request(SIOCSIFHWADDR, &r)) {
            return 0;
        }
    }
    if (read_interface()) {
        return 0;
    }
    answer_mac(t);
    return 1;
}

static int do_promisc(char *rest, Text *t)
{
    if (set_flag(IFF_PROMISC, atoi(rest))) {
        return 0;
    }
    answer(t, "net ok");
    return 1;
}

static int do_queues(char *rest, Text *t)
{
    struct ethtool_channels channels = { .cmd = ETHTOOL_GCHANNELS };
    struct ifreq r = { .ifr_data = (void *)&channels };
    int n = atoi(rest);

    if (request(SIOCETHTOOL, &r)) {
        return 0;
    }
    if (n) {
        channels.cmd = ETHTOOL_SCHANNELS;
        channels.combined_count = n;
        if (request(SIOCETHTOOL, &r)) {
            return 0;
        }
    }
    answer(t, "net queues=%u max=%u", channels.combined_count,
           channels.max_combined);
    return 1;
}

/* Unicast addresses besides its own; they stay until the payload ends. */
static int do_filters(char *rest, Text *t)
{
    struct packet_mreq request = {
        .mr_ifindex = net.index, .mr_type = PACKET_MR_UNICAST,
        .mr_alen = ETH_ALEN, .mr_address = { 2, 0, 0, 0, 1 },
    };

    for (int i = 0, n = atoi(rest); i < n; i++) {
        request.mr_address[5] = i;
        if (setsockopt(net.socket, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &request,
                       sizeof(request))) {
            return 0;
        }
    }
    answer(t, "net ok");
    return 1;
}

/* VLANs from 1 on; needs the kernel's 8021q. */
static int do_vlans(char *rest, Text *t)
{
    struct vlan_ioctl_args vlan = { .cmd = ADD_VLAN_CMD };

    snprintf(vlan.device1, sizeof(vlan.device1), "%s", net.name);
    for (int i = 1, n = atoi(rest); i <= n; i++) {
        vlan.u.VID = i;
        if (ioctl(net.socket, SIOCSIFVLAN, &vlan)) {
            return 0;
        }
    }
    answer(t, "net ok");
    return 1;
}

static int do_load(char *rest, Text *t)
{
    (void)rest;
    net_load_modules();
    answer(t, "net ok");
    return 1;
}

static int do_unload(char *rest, Text *t)
{
    if (net.socket >= 0) {
        do_stop(rest, &(Text) { 0 });
        set_flag(IFF_UP, 0);
    }
    if (syscall(SYS_delete_module, "virtio_net", O_NONBLOCK)) {
        return 0;
    }
    answer(t, "net ok");
    return 1;
}

/* A socket is bound to an interface that is gone after a reload. */
static int do_rebind(char *rest, Text *t)
{
    struct sockaddr_ll at = {
        .sll_family = AF_PACKET, .sll_protocol = htons(PROTOCOL),
    };

    (void)rest;
    if (find_interface() || set_flag(IFF_UP, 1) || await_link("up") ||
        read_interface()) {
        return 0;
    }
    at.sll_ifindex = net.index;
    if (bind(net.socket, (void *)&at, sizeof(at))) {
        return 0;
    }
    answer_mac(t);
    return 1;
}

static const struct {
    const char *name;
    int (*run)(char *rest, Text *t);    /* 0: errno says what is wrong */
} commands[] = {
    { "up", do_up }, { "down", do_down }, { "link", do_link },
    { "start", do_start }, { "hold", do_hold }, { "stop", do_stop },
    { "stat", do_stat }, { "mac", do_mac }, { "promisc", do_promisc }, { "queues", do_queues }, { "load", do_load },
    { "unload", do_unload }, { "rebind", do_rebind },
    { "filters", do_filters }, { "vlans", do_vlans },
};

void net_command(char *rest, Text *t)
{
    size_t bytes = strcspn(rest, " ");

    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strlen(commands[i].name) == bytes &&
            !strncmp(rest, commands[i].name, bytes)) {
            rest += bytes + strspn(rest + bytes, " ");
            if (!commands[i].run(rest, t)) {
                answer(t, "error net: %s", strerror(errno));
            }
            return;
        }
    }
    answer(t, "error net knows no such command");
}
