/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The Linux payload: /init of an initramfs, with nothing else in it.
 *
 * Theory of operation
 * -------------------
 *   control    the main thread: reads lines from /dev/ttyS1 (ttyS0 where the
 *              machine has no second port) and answers them
 *   workers    one per vCPU, pinned to it; asleep on their job's futex, or doing
 *              worker_step() after worker_step()
 *   ticker     wakes every millisecond and notes the longest gap
 *
 * Control and ticker are SCHED_FIFO, so that a load that takes every vCPU
 * delays neither. The load area and the oracle's tables are one anonymous
 * mapping each, locked; sized to nearly all of the memory that is free at
 * boot, or to load.mb= of the kernel command line (tables included).
 *
 * Says its answers on the control port only. The console gets one line for a
 * human, and why the payload gave up, should it.
 *
 * Limits: the heartbeat's clock is the guest's own, which stands still while
 * the machine is stopped (README.md). Frame numbers are those of the moment of
 * the answer; a locked page can be moved by the kernel, though nothing here
 * makes it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "control.h"
#include "hw.h"
#include "net.h"

#define NS_PER_S            1000000000ull
#define NS_PER_MS           1000000ull
#define BEAT_NS             NS_PER_MS
#define LEAVE_FREE          (12ull << 20)   /* and 1/64 of the rest */
#define READY_MS            500
#define WORKER_STACK        (64u << 10)

static Oracle oracle;
static Workers workers;
static Control control;
static int port = -1;
static int port_is_console;

static void __attribute__((noreturn)) power_off(void)
{
    sync();
    tcdrain(port);
    reboot(RB_POWER_OFF);
    reboot(RB_AUTOBOOT);
    for (;;) {
        pause();
    }
}

static void __attribute__((noreturn, format(printf, 1, 2)))
give_up(const char *format, ...)
{
    int error = errno;
    va_list args;

    fprintf(stderr, "payload: ");
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, ": %s\n", strerror(error));
    power_off();
}

/* --- what the kernel tells ---------------------------------------------- */

static void mount_all(void)
{
    mkdir("/dev", 0755);
    mkdir("/proc", 0755);
    if (mount("devtmpfs", "/dev", "devtmpfs", 0, NULL) && errno != EBUSY) {
        give_up("cannot mount /dev");
    }
    if (mount("proc", "/proc", "proc", 0, NULL) && errno != EBUSY) {
        give_up("cannot mount /proc");
    }
}

static uint64_t cmdline_number(const char *name)
{
    char line[4096] = "";
    int fd = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);
    char *at;

    if (fd >= 0 && read(fd, line, sizeof(line) - 1) < 0) {
        line[0] = 0;
    }
    close(fd);
    at = strstr(line, name);
    return at ? strtoull(at + strlen(name), NULL, 10) : 0;
}

static uint32_t count_vcpus(void)
{
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof(set), &set)) {
        give_up("cannot count vcpus");
    }
    return CPU_COUNT(&set) < (int)ORACLE_WORKERS ? CPU_COUNT(&set)
                                                 : (int)ORACLE_WORKERS;
}

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * NS_PER_S + t.tv_nsec;
}

/* --- memory ------------------------------------------------------------- */

static uint64_t bytes_to_use(void)
{
    uint64_t wanted = cmdline_number("load.mb=") << 20;
    struct sysinfo info;
    uint64_t free_bytes;

    if (sysinfo(&info)) {
        give_up("sysinfo");
    }
    free_bytes = (uint64_t)info.freeram * info.mem_unit;
    free_bytes = free_bytes > LEAVE_FREE ? free_bytes - LEAVE_FREE : 0;
    free_bytes -= free_bytes / 64;
    if (wanted > free_bytes) {
        fprintf(stderr, "payload: load.mb=%llu is more than the %llu MiB free\n",
                (unsigned long long)wanted >> 20,
                (unsigned long long)free_bytes >> 20);
    }
    return wanted && wanted < free_bytes ? wanted : free_bytes;
}

/* Locked when touched, not at once: the workers touch it all, together. */
static void *map_bytes(size_t bytes)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (at == MAP_FAILED || mlock2(at, bytes, MLOCK_ONFAULT)) {
        give_up("cannot map %zu bytes", bytes);
    }
    return at;
}

static void oracle_map(void)
{
    uint32_t pages = oracle_pages_in(bytes_to_use() / ORACLE_PAGE);

    if (!pages) {
        errno = ENOMEM;
        give_up("no memory to load");
    }
    oracle_init(&oracle, pages, map_bytes((size_t)pages * ORACLE_PAGE),
                map_bytes(oracle_bytes_a(pages)),
                map_bytes(oracle_bytes_b(pages)),
                map_bytes(oracle_bytes_x()), map_bytes(oracle_bytes_y()));
}

static uint64_t gfn_of(const void *address)
{
    uint64_t entry = 0, page = (uintptr_t)address / ORACLE_PAGE;
    int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    ssize_t got = pread(fd, &entry, sizeof(entry), page * sizeof(entry));

    close(fd);
    if (got != sizeof(entry) || !(entry >> 63 & 1)) {
        return UINT64_MAX;
    }
    entry &= (1ull << 55) - 1;
    return entry ? entry : UINT64_MAX;
}

/* --- workers ------------------------------------------------------------ */

static void futex(uint32_t *word, int operation, uint32_t value)
{
    syscall(SYS_futex, word, operation | FUTEX_PRIVATE_FLAG, value, NULL);
}

static void sleep_ns(uint64_t ns)
{
    struct timespec t = { ns / NS_PER_S, ns % NS_PER_S };

    clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL);
}

static void *worker_main(void *opaque)
{
    uint32_t i = (uintptr_t)opaque;

    for (;;) {
        uint64_t wait = worker_step(&workers, i, workers.plan.rate ? now_ns() : 0);

        if (wait == WORKER_IDLE) {
            futex(&workers.worker[i].job, FUTEX_WAIT, JOB_IDLE);
        } else if (wait) {
            sleep_ns(wait < NS_PER_S / 10 ? wait : NS_PER_S / 10);
        }
    }
    return NULL;
}

static void workers_wake(void)
{
    for (uint32_t i = 0; i < workers.size; i++) {
        futex(&workers.worker[i].job, FUTEX_WAKE, 1);
    }
}

static void workers_wait(void)
{
    while (workers_busy(&workers)) {
        sleep_ns(NS_PER_MS / 2);
    }
}

static void thread_start(void *(*run)(void *), void *opaque, int vcpu,
                         int fifo)
{
    struct sched_param priority = { .sched_priority = fifo };
    pthread_attr_t attr;
    pthread_t thread;
    cpu_set_t set;

    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, WORKER_STACK);
    if (vcpu >= 0) {
        CPU_ZERO(&set);
        CPU_SET(vcpu, &set);
        pthread_attr_setaffinity_np(&attr, sizeof(set), &set);
    }
    pthread_attr_setinheritsched(&attr, PTHREAD_EXPLICIT_SCHED);
    if (fifo) {
        pthread_attr_setschedpolicy(&attr, SCHED_FIFO);
        pthread_attr_setschedparam(&attr, &priority);
    }
    errno = pthread_create(&thread, &attr, run, opaque);
    if (errno) {
        give_up("cannot start a thread");
    }
}

static void workers_start(void)
{
    cpu_set_t set;
    uint32_t i = 0;

    sched_getaffinity(0, sizeof(set), &set);
    for (int vcpu = 0; vcpu < CPU_SETSIZE && i < workers.size; vcpu++) {
        if (CPU_ISSET(vcpu, &set)) {
            thread_start(worker_main, (void *)(uintptr_t)i++, vcpu, 0);
        }
    }
}

/* --- heartbeat ---------------------------------------------------------- */

static struct {
    uint64_t beats;
    uint64_t max_gap;   /* ns; both atomic: ticker writes, control takes */
} heart;

static void *ticker_main(void *opaque)
{
    uint64_t last = now_ns();

    for (;;) {
        uint64_t now, gap;

        sleep_ns(BEAT_NS);
        now = now_ns();
        gap = now - last;
        last = now;
        __atomic_add_fetch(&heart.beats, 1, __ATOMIC_RELAXED);
        if (gap > __atomic_load_n(&heart.max_gap, __ATOMIC_RELAXED)) {
            __atomic_store_n(&heart.max_gap, gap, __ATOMIC_RELAXED);
        }
    }
    return opaque;
}

static void beats(uint64_t *n, uint64_t *max_gap_us)
{
    *n = __atomic_load_n(&heart.beats, __ATOMIC_RELAXED);
    *max_gap_us = __atomic_exchange_n(&heart.max_gap, 0, __ATOMIC_RELAXED)
                  / 1000;
}

/* --- the control port --------------------------------------------------- */

/* A port that the machine lacks can be opened, but has no settings. */
static int port_open(const char *path)
{
    int fd = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
    struct termios t;

    if (fd < 0) {
        return -1;
    }
    if (tcgetattr(fd, &t)) {
        close(fd);
        return -1;
    }
    cfmakeraw(&t);
    cfsetspeed(&t, B115200);
    t.c_cflag |= CLOCAL | CREAD;
    t.c_cflag &= ~CRTSCTS;
    t.c_cc[VMIN] = 1;
    t.c_cc[VTIME] = 0;
    tcsetattr(fd, TCSANOW, &t);
    return fd;
}

static void port_write(const char *s, size_t bytes)
{
    while (bytes) {
        ssize_t done = write(port, s, bytes);

        if (done < 0 && errno != EINTR) {
            return;
        }
        if (done > 0) {
            s += done;
            bytes -= done;
        }
    }
}

static void say(const char *line)
{
    char whole[300];
    int bytes = snprintf(whole, sizeof(whole), "%s%s\n",
                         port_is_console ? "\n" : "", line);

    port_write(whole, bytes);
}

/* Until the host is heard, the payload says that it is there. */
static void port_wait(void)
{
    struct pollfd in = { .fd = port, .events = POLLIN };

    if (!control.heard && poll(&in, 1, READY_MS) == 0) {
        control_ready(&control);
    }
}

static void control_loop(void)
{
    char some[64];

    for (;;) {
        ssize_t got;

        port_wait();
        got = read(port, some, sizeof(some));

        for (ssize_t i = 0; i < got; i++) {
            control_input(&control, some[i]);
        }
        if (got <= 0) {
            sleep_ns(NS_PER_MS);    /* a hang-up is no reason to spin */
        }
    }
}

static const ControlOps linux_ops = {
    .say = say,
    .now = now_ns,
    .wake = workers_wake,
    .wait = workers_wait,
    .gfn = gfn_of,
    .beats = beats,
    .net = net_command,
    .hw = hw_command,
    .poweroff = power_off,
};

static void standard_streams(void)
{
    int fd = open("/dev/console", O_RDWR | O_NOCTTY);

    for (int i = 0; i < 3 && fd >= 0; i++) {
        if (fd != i) {
            dup2(fd, i);
        }
    }
    if (fd > 2) {
        close(fd);
    }
}

int main(void)
{
    struct sched_param fifo = { .sched_priority = 10 };

    mount_all();
    standard_streams();
    port = port_open("/dev/ttyS1");
    if (port < 0) {
        port_is_console = 1;
        port = port_open("/dev/ttyS0");
    }
    if (port < 0) {
        give_up("no serial port");
    }
    net_load_modules();
    oracle_map();
    workers_init(&workers, &oracle, count_vcpus(), NS_PER_S);
    control_init(&control, &linux_ops, &workers);
    workers_start();
    workers_start_job(&workers, JOB_FILL);
    workers_wake();
    workers_wait();
    thread_start(ticker_main, NULL, -1, 20);
    sched_setscheduler(0, SCHED_FIFO, &fifo);
    printf("payload: %u pages, %u vcpus, up after %llu ms\n", oracle.pages,
           workers.size, (unsigned long long)(now_ns() / NS_PER_MS));
    fflush(stdout);
    control_ready(&control);
    control_loop();
}
