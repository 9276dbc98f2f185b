/*
 * Shadow ring: guest, device and shadow ring on threads of their own
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * Guest and device sleep unless they are notified, as in life: a notification
 * that is lost leaves one side waiting for ever, which is noticed in time.
 * Each buffer's content says whether it is the right one.
 *
 * Limits: how often the threads really meet is up to the machine.
 */
#include <errno.h>
#include <glib.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "shadow-bench.h"

#define CHAINS 10000
#define TIMEOUT_S 30

/* An eventfd's like; of POSIX locks, which ThreadSanitizer knows. */
typedef struct Event {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool set;                   /* protected by lock */
} Event;

static void event_init(Event *event)
{
    pthread_mutex_init(&event->lock, NULL);
    pthread_cond_init(&event->cond, NULL);
    event->set = false;
}

static void event_set(Event *event)
{
    pthread_mutex_lock(&event->lock);
    event->set = true;
    pthread_cond_signal(&event->cond);
    pthread_mutex_unlock(&event->lock);
}

static void event_wait(Event *event, const char *whose)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += TIMEOUT_S;
    pthread_mutex_lock(&event->lock);
    while (!event->set) {
        if (pthread_cond_timedwait(&event->cond, &event->lock, &until)) {
            g_error("%s waits for ever", whose);
        }
    }
    event->set = false;
    pthread_mutex_unlock(&event->lock);
}

typedef struct Race {
    Bench *b;
    Event guest, device, host;
    bool over;                  /* atomic */
} Race;

static void *device_thread(void *opaque)
{
    Race *race = opaque;
    FakeDevice *device = &race->b->device;
    g_autofree FakeSegment *segs = g_new(FakeSegment, FAKE_SEGMENTS_MAX);
    unsigned n;
    int head;

    while (!__atomic_load_n(&race->over, __ATOMIC_ACQUIRE)) {
        while ((head = fake_device_take(device, segs, &n)) >= 0) {
            uint8_t *ram = race->b->vdpa->ram;
            uint64_t from = fake_vdpa_gpa(race->b->vdpa, segs[0].addr, 8,
                                          false);
            uint64_t to = fake_vdpa_gpa(race->b->vdpa, segs[1].addr, 8,
                                        true);

            memcpy(ram + to, ram + from, 8);
            if (fake_device_return(device, head, 8)) {
                event_set(&race->host);
            }
        }
        if (!fake_device_enable(device)) {
            event_wait(&race->device, "the device");
        }
    }
    return NULL;
}

static void *host_thread(void *opaque)
{
    Race *race = opaque;

    while (!__atomic_load_n(&race->over, __ATOMIC_ACQUIRE)) {
        int flags = vdpa_shadow_ring_forward(race->b->ring, 5);

        g_assert_cmpint(flags, >=, 0);
        if (flags & VDPA_SHADOW_KICK) {
            event_set(&race->device);
        }
        int more = vdpa_shadow_ring_complete(race->b->ring, 5);

        g_assert_cmpint(more, >=, 0);
        if (more & VDPA_SHADOW_CALL) {
            event_set(&race->guest);
        }
        if (more & VDPA_SHADOW_KICK) {
            event_set(&race->device);
        }
        if (!((flags | more) & VDPA_SHADOW_MORE)) {
            event_wait(&race->host, "the shadow ring");
        }
    }
    return NULL;
}

static void guest_offers(Race *race, uint64_t serial, unsigned slot)
{
    FakeDriver *driver = &race->b->driver;
    uint64_t at = DATA + slot * 16;
    const VdpaGuestSegment segments[] = { { at, 8, false }, { at + 8, 8, true } };

    memcpy(race->b->vdpa->ram + at, &serial, 8);
    g_assert_cmpint(fake_driver_offer(driver, segments, 2, 0), ==, slot);
    if (fake_driver_publish(driver)) {
        event_set(&race->host);
    }
}

static void guest_takes_back(Race *race)
{
    uint32_t len;
    int head;

    while ((head = fake_driver_reap(&race->b->driver, &len)) >= 0) {
        uint8_t *at = race->b->vdpa->ram + DATA + head * 16;

        g_assert_cmpuint(len, ==, 8);
        g_assert_cmpmem(at, 8, at + 8, 8);
    }
}

/* With @depth chains under way at most: one alone goes to and fro, and all
 * sleep and wake all the time. */
static void run_race(bool event_idx, unsigned depth)
{
    VdpaGuestLayout how = bench_layout;
    Race race = {};
    pthread_t device, host;
    uint64_t serial = 0;
    int slot;

    how.event_idx = event_idx;
    race.b = bench_new(&how, NUM);
    race.b->vdpa->quiet = true;
    event_init(&race.guest);
    event_init(&race.device);
    event_init(&race.host);
    pthread_create(&device, NULL, device_thread, &race);
    pthread_create(&host, NULL, host_thread, &race);
    while (serial < CHAINS || race.b->driver.nfree < NUM) {
        while (serial < CHAINS && race.b->driver.nfree > NUM - 2 * depth &&
               (slot = fake_driver_next_head(&race.b->driver, 2)) >= 0) {
            guest_offers(&race, ++serial, slot);
        }
        guest_takes_back(&race);
        if (race.b->driver.nfree < NUM &&
            !fake_driver_enable(&race.b->driver)) {
            event_wait(&race.guest, "the guest");
        }
    }
    __atomic_store_n(&race.over, true, __ATOMIC_RELEASE);
    event_set(&race.host);
    event_set(&race.device);
    pthread_join(device, NULL);
    pthread_join(host, NULL);
    bench_free(race.b);
}

static void test_race_flags(void)
{
    run_race(false, NUM / 2);
    run_race(false, 1);
}

static void test_race_event_idx(void)
{
    run_race(true, NUM / 2);
    run_race(true, 1);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } tests[] = {
        { "flags", test_race_flags },
        { "event-idx", test_race_event_idx },
    };

    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(tests); i++) {
        g_autofree char *path = g_strconcat("/vdpa-shadow-race/",
                                            tests[i].name, NULL);

        g_test_add_func(path, tests[i].run);
    }
    return g_test_run();
}
