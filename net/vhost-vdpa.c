/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * -netdev vhost-vdpa
 *
 * Theory of operation
 * -------------------
 * One device file is one VdpaNet. It has a network client for each queue pair,
 * and one for the control queue if there is one; each client has the struct
 * vhost_net through which vhost_net.c drives it. The work is done by the
 * VdpaDevice below (hw/virtio/vdpa/vdpa-device.h); VdpaNet decides
 *
 *   mode      data queues are passed through, and shadowed while a migration
 *             runs, or always (x-svq=on)
 *   control   QEMU stands in between if the device lets the control queue have
 *             an address space of its own, or if all queues are shadowed
 *             anyway; else the queue is passed through, and as QEMU then does
 *             not know what the device was told, migration is blocked
 *
 * Life cycle: all clients of a netdev are made together and go together; the
 * last to go closes the file. Clients start in order, the control client last;
 * a client that starts asks nothing of those after it.
 *
 * Thread model: the BQL. Migration notifiers come in the main thread, those of a
 * postcopy migration in the migration thread.
 *
 * Limits: queues= cannot make fewer queue pairs than the device has, as the
 * control queue comes after them all; virtio-net uses as many as its driver
 * wants.
 */
#include "qemu/osdep.h"
#include "clients.h"
#include "hw/virtio/vhost.h"
#include "hw/virtio/vhost-vdpa.h"
#include "hw/virtio/vdpa/core/vdpa-report.h"
#include "hw/virtio/vdpa/core/vdpa-shadow-ring.h"
#include "hw/virtio/virtio-net.h"
#include "migration/blocker.h"
#include "migration/misc.h"
#include "migration/postcopy-ram.h"
#include "monitor/monitor.h"
#include "net/vhost-vdpa.h"
#include "net/vhost-vdpa-nic.h"
#include "net/vhost_net.h"
#include "qapi/error.h"
#include "qemu/cutils.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "exec/address-spaces.h"
#include "system/iothread.h"
#include "vhost-vdpa-cvq.h"
#include "vhost-vdpa-incoming.h"
#include "vhost-vdpa-link.h"
#include "vhost-vdpa-probe.h"
#include "trace.h"

/* One device file. */
typedef struct VdpaNet {
    VhostVDPAShared shared;
    VdpaProbe probe;
    bool x_svq;
    bool x_svq_tx;
    IOThread *iothread;         /* of the user's; may be NULL */
    bool mac_seen;
    NotifierWithReturn migration;
    NotifierWithReturn postcopy;
    VdpaIncoming *incoming;
    QEMUBH *memory_there;
    Error *blocker;
    Error *features_blocker;    /* while the driver has accepted such features */
    uint64_t unshadowable;      /* these */
    QEMUBH *features_gone;
    char *name;
    NetClientState *first;      /* client; NULL once it is gone */
    VdpaLink *link;
    unsigned clients;
} VdpaNet;

/* One queue pair, or the control queue. */
typedef struct VdpaClient {
    NetClientState nc;
    VdpaNet *net;
    VhostVDPA vhost;
    VHostNetState *vhost_net;
    bool first;
} VdpaClient;

/*
 * What virtio-net asks the device for rather than QEMU. By topic; the last
 * entry ends the table.
 */
const int vdpa_feature_bits[] = {
    /* the ring and the transport */
    VIRTIO_F_VERSION_1, VIRTIO_F_IOMMU_PLATFORM, VIRTIO_F_RING_PACKED,
    VIRTIO_F_RING_RESET, VIRTIO_F_IN_ORDER, VIRTIO_F_NOTIFICATION_DATA,
    VIRTIO_F_NOTIFY_ON_EMPTY, VIRTIO_F_ANY_LAYOUT,
    VIRTIO_RING_F_INDIRECT_DESC, VIRTIO_RING_F_EVENT_IDX,
    /* what the guest sends */
    VIRTIO_NET_F_CSUM, VIRTIO_NET_F_GSO, VIRTIO_NET_F_HOST_TSO4,
    VIRTIO_NET_F_HOST_TSO6, VIRTIO_NET_F_HOST_ECN, VIRTIO_NET_F_HOST_UFO,
    VIRTIO_NET_F_HOST_USO,
    /* what it receives */
    VIRTIO_NET_F_GUEST_CSUM, VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_GUEST_TSO6,
    VIRTIO_NET_F_GUEST_ECN, VIRTIO_NET_F_GUEST_UFO, VIRTIO_NET_F_GUEST_USO4,
    VIRTIO_NET_F_GUEST_USO6, VIRTIO_NET_F_MRG_RXBUF, VIRTIO_NET_F_RSC_EXT,
    /* queues, and which of them gets what */
    VIRTIO_NET_F_MQ, VIRTIO_NET_F_RSS, VIRTIO_NET_F_HASH_REPORT,
    /* what the control queue is for */
    VIRTIO_NET_F_CTRL_VQ, VIRTIO_NET_F_CTRL_RX, VIRTIO_NET_F_CTRL_RX_EXTRA,
    VIRTIO_NET_F_CTRL_VLAN, VIRTIO_NET_F_CTRL_MAC_ADDR,
    VIRTIO_NET_F_CTRL_GUEST_OFFLOADS,
    /* configuration space */
    VIRTIO_NET_F_MTU, VIRTIO_NET_F_STATUS,

    VHOST_INVALID_FEATURE_BIT
};

static VdpaClient *client_of(NetClientState *nc)
{
    assert(nc->info->type == NET_CLIENT_DRIVER_VHOST_VDPA);
    return DO_UPCAST(VdpaClient, nc, nc);
}

VHostNetState *vhost_vdpa_get_vhost_net(NetClientState *nc)
{
    return client_of(nc)->vhost_net;
}

/* --- features that keep the guest from migrating ------------------------ */

/*
 * Features that a shadow queue does not support block migration from the moment
 * at which the guest's driver accepts them until the driver is reset; what the
 * device offers and no driver accepts blocks nothing. A driver that accepts them
 * while a migration runs makes that migration fail: the data queues are passed
 * through, and the device's writes are not logged.
 */
static int accepted(void *opaque, uint64_t features, Error **errp)
{
    VdpaNet *net = opaque;
    uint64_t unshadowable = vdpa_device_unshadowable(net->shared.device);
    g_autofree char *names = vdpa_shadow_ring_feature_names(unshadowable);
    int err;

    if (net->features_blocker && net->unshadowable == unshadowable) {
        return 0;
    }
    migrate_del_blocker(&net->features_blocker);
    net->unshadowable = unshadowable;
    if (!unshadowable) {
        return 0;
    }
    error_setg(&net->features_blocker, "vhost-vdpa %s: the guest's driver"
               " accepted %s, which shadow virtqueues do not support",
               net->name, names);
    if (migration_is_running()) {
        migration_file_set_error(-EBUSY, net->features_blocker);
        net->features_blocker = NULL;
        return 0;
    }
    err = migrate_add_blocker(&net->features_blocker, errp);
    return err;
}

/* A driver that was reset has accepted nothing; one of a stopped VM still has. */
static void features_gone(void *opaque)
{
    VdpaNet *net = opaque;
    NetClientState *nc = net->first;
    VirtIONet *n = nc && nc->peer ? qemu_get_nic_opaque(nc->peer) : NULL;

    if (!n || !(VIRTIO_DEVICE(n)->guest_features & net->unshadowable)) {
        migrate_del_blocker(&net->features_blocker);
    }
}

static void left(void *opaque)
{
    VdpaNet *net = opaque;

    qemu_bh_schedule(net->features_gone);
}

/* --- the mode ----------------------------------------------------------- */

static int migration_begins(VdpaNet *net, Error **errp)
{
    ERRP_GUARD();
    VdpaDevice *d = net->shared.device;
    uint64_t unshadowable = vdpa_device_launched(d)
                            ? vdpa_device_unshadowable(d) : 0;
    int err = -EINVAL;

    if (unshadowable) {
        g_autofree char *names = vdpa_shadow_ring_feature_names(unshadowable);

        error_setg(errp, "the guest's driver accepted %s, which shadow"
                   " virtqueues do not support", names);
    } else if (migration_in_bg_snapshot()) {
        error_setg(errp, "a background snapshot cannot keep the device from "
                   "writing to memory that is not saved yet; stop the guest "
                   "and migrate to a file");
    } else {
        err = vdpa_device_switch(net->shared.device, VDPA_MODE_SHADOW,
                                 "migration", errp);
    }
    if (err) {
        error_prepend(errp, "vhost-vdpa %s: ", net->name);
    }
    return err;
}

static int on_migration(NotifierWithReturn *notifier, MigrationEvent *event,
                        Error **errp)
{
    VdpaNet *net = container_of(notifier, VdpaNet, migration);
    VdpaDevice *d = net->shared.device;
    Error *err = NULL;

    switch (event->type) {
    case MIG_EVENT_PRECOPY_SETUP:
        return migration_begins(net, errp);
    case MIG_EVENT_PRECOPY_DONE:
    case MIG_EVENT_PRECOPY_FAILED:
        if (vdpa_device_switch(d, VDPA_MODE_PASSTHROUGH, "no migration", &err)) {
            error_reportf_err(err, "vhost-vdpa %s: ", net->name);
        }
        vdpa_device_settle(d);
        break;
    default:
        break;
    }
    return 0;
}

/*
 * A migration that may become a postcopy one discards all of guest memory first,
 * right after ADVISE; it is mapped again before a page comes
 * (vhost-vdpa-incoming.c). If it does switch, what the source wrote since it was
 * sent is discarded again, and comes while the guest runs. Nothing is mapped from
 * then on, until the device is launched or all has come; which is said in another
 * thread.
 */
static int on_postcopy(NotifierWithReturn *notifier, void *opaque, Error **errp)
{
    VdpaNet *net = container_of(notifier, VdpaNet, postcopy);
    struct PostcopyNotifyData *event = opaque;

    switch (event->reason) {
    case POSTCOPY_NOTIFY_INBOUND_ADVISE:
        vdpa_map_drop(vdpa_device_map(net->shared.device));
        break;
    case POSTCOPY_NOTIFY_INBOUND_LISTEN:
        vdpa_device_hold(net->shared.device, true);
        break;
    case POSTCOPY_NOTIFY_INBOUND_END:
        qemu_bh_schedule(net->memory_there);
        break;
    default:
        break;
    }
    return 0;
}

static void memory_there(void *opaque)
{
    VdpaNet *net = opaque;

    vdpa_device_hold(net->shared.device, false);
}

/* As early as it can be, so that it is done when the device is launched. */
static void map_early(VdpaNet *net)
{
    if (migration_in_incoming_postcopy()) {
        vdpa_device_hold(net->shared.device, true);
    } else if (postcopy_state_get() != POSTCOPY_INCOMING_ADVISE) {
        vdpa_map_begin(vdpa_device_map(net->shared.device),
                       &address_space_memory);
    }
}

/* --- a client's life ---------------------------------------------------- */

static int restore(void *opaque, Error **errp)
{
    VdpaNet *net = opaque;

    return vdpa_cvq_restore(net->shared.device, errp);
}

static void failed(void *opaque)
{
    VdpaNet *net = opaque;

    vdpa_link_fail(net->link);
}

/* set_link knows a netdev by its name, and the device of the guest by its id. */
static bool set_down(const NetClientState *nc)
{
    return nc && (nc->link_down || (nc->peer && nc->peer->link_down));
}

/*
 * Until its driver runs, a guest has the MAC address that it is shown, which is
 * the device's and not the command line's. QEMU's model is to know it, as that
 * is what a device is told at launch, here and after a migration.
 */
static void learn_mac(NetClientState *nc, const uint8_t *mac)
{
    VirtIONet *n = nc && nc->peer ? qemu_get_nic_opaque(nc->peer) : NULL;

    if (n && !(VIRTIO_DEVICE(n)->status & VIRTIO_CONFIG_S_DRIVER_OK) &&
        !buffer_is_zero(mac, ETH_ALEN)) {
        memcpy(n->mac, mac, ETH_ALEN);
    }
}

/* The guest sees set_link, too, and not only the state of the device's link. */
static void adjust_config(void *opaque, uint8_t *config, size_t size)
{
    size_t at = offsetof(struct virtio_net_config, status);
    VdpaNet *net = opaque;

    if (size >= at + 2) {       /* it is the guest that asks for so much */
        learn_mac(net->first, config);
    }
    if (set_down(net->first) && size >= at + 2) {
        config[at] &= ~VIRTIO_NET_S_LINK_UP;
    }
}

/* A client whose netdev is gone stays with the NIC until that goes, too. */
static VdpaClient *live_client(NetClientState *nc)
{
    VdpaClient *c = nc && nc->info->type == NET_CLIENT_DRIVER_VHOST_VDPA
                    ? client_of(nc) : NULL;

    return c && c->vhost_net ? c : NULL;
}

static void link_status_changed(NetClientState *nc)
{
    VdpaClient *c = live_client(nc);

    if (c) {
        vdpa_link_set(c->net->link, nc);
    }
}

void vhost_vdpa_nic_reset(NetClientState *nic)
{
    VdpaClient *c = live_client(nic->peer);

    if (c) {
        vdpa_link_reset(c->net->link);
    }
}

bool vhost_vdpa_start_failed(NetClientState *nic, int error)
{
    VdpaClient *c = live_client(nic->peer);

    if (!c) {
        return false;
    }
    if (!vdpa_link_fails(c->net->link)) {       /* else it is reported */
        vdpa_device_start_failed(c->net->shared.device, NULL, error);
    }
    return true;
}

/* Transmit queues have odd indices; the control queue comes after all pairs. */
static bool only_read(void *opaque, unsigned index)
{
    const VdpaNet *net = opaque;

    return !net->x_svq_tx && index % 2 && index < 2 * net->probe.queue_pairs;
}

static const VdpaFrontendOps net_ops = {
    .accepted = accepted,
    .only_read = only_read,
    .left = left,
    .restore = restore,
    .failed = failed,
    .config = adjust_config,
};

static void net_unref(VdpaNet *net)
{
    if (--net->clients) {
        return;
    }
    if (net->migration.notify) {
        migration_remove_notifier(&net->migration);
    }
    if (net->postcopy.notify) {
        postcopy_remove_notifier(&net->postcopy);
    }
    vdpa_incoming_free(net->incoming);
    migrate_del_blocker(&net->blocker);
    migrate_del_blocker(&net->features_blocker);
    qemu_bh_delete(net->features_gone);
    qemu_bh_delete(net->memory_there);
    vdpa_link_free(net->link);
    g_free(net->name);
    qemu_close(net->shared.device_fd);
    g_free(net);
}

static void client_cleanup(NetClientState *nc)
{
    VdpaClient *c = client_of(nc);

    if (c->first) {
        c->net->first = NULL;
    }
    if (c->vhost_net) {
        vhost_net_cleanup(c->vhost_net);
        g_clear_pointer(&c->vhost_net, g_free);
    }
    net_unref(c->net);
}

/*
 * Does the launch tell the device the guest's address? The first client asks this
 * while it starts. The control client starts last, so its state (the device's
 * control, its queue) says nothing yet: what the probe found and what the driver
 * accepted decide.
 */
static bool sends_mac(const VdpaNet *net, VirtIODevice *vdev)
{
    return net->probe.control && vdpa_device_control(net->shared.device) &&
           virtio_vdev_has_feature(vdev, VIRTIO_NET_F_CTRL_VQ) &&
           virtio_vdev_has_feature(vdev, VIRTIO_NET_F_CTRL_MAC_ADDR);
}

/*
 * The device's address is what the world sees; -device's mac= is what the user
 * believes, and a guest that was migrated may have a third. To tell them apart
 * is worth a line.
 */
static void check_mac(VdpaClient *c)
{
    struct virtio_net_config config = { 0 };
    VirtIONet *n = VIRTIO_NET(c->vhost.dev->vdev);

    if (c->net->mac_seen ||
        vhost_net_get_config(c->vhost_net, (uint8_t *)&config,
                             offsetof(struct virtio_net_config, status))) {
        return;
    }
    c->net->mac_seen = true;
    if (buffer_is_zero(config.mac, ETH_ALEN)) {
        return;
    }
    if (memcmp(config.mac, n->nic_conf.macaddr.a, ETH_ALEN)) {
        warn_report("vhost-vdpa: the device has MAC address "
                    MAC_FMT ", the command line says " MAC_FMT
                    "; set both alike (vdpa dev add ... mac, -device ...,mac=)",
                    MAC_ARG(config.mac), MAC_ARG(n->nic_conf.macaddr.a));
    } else if (memcmp(config.mac, n->mac, ETH_ALEN) &&
               !sends_mac(c->net, VIRTIO_DEVICE(n))) {
        warn_report("vhost-vdpa: the device has MAC address " MAC_FMT
                    ", the guest uses " MAC_FMT ", and the device cannot be"
                    " told; make a device with the guest's (vdpa dev add ... mac)",
                    MAC_ARG(config.mac), MAC_ARG(n->mac));
    }
}

/* Where the control queue is depends on what the driver accepted. */
static int client_start(NetClientState *nc)
{
    VdpaClient *c = client_of(nc);
    VdpaDevice *d = c->net->shared.device;

    if (!nc->is_datapath) {
        vdpa_device_set_control_queue(d, c->vhost_net->dev.vq_index);
    } else if (c->first) {
        vdpa_device_set_control_queue(d, -1);
    }
    return 0;
}

static int client_load(NetClientState *nc)
{
    VdpaClient *c = client_of(nc);

    if (c->first) {
        check_mac(c);
    }
    return 0;
}

/* --- what virtio-net asks its peer -------------------------------------- */

/* Never called with a working device; says that the packet is dealt with. */
static ssize_t client_receive(NetClientState *nc, const uint8_t *buf,
                              size_t size)
{
    return size;
}

static bool client_has_vnet_hdr(NetClientState *nc)
{
    return true;
}

static bool client_has_ufo(NetClientState *nc)
{
    return virtio_has_feature(client_of(nc)->net->probe.features,
                              VIRTIO_NET_F_HOST_UFO);
}

/* vDPA devices are little-endian, as virtio 1 is. */
static int client_set_vnet_le(NetClientState *nc, bool enable)
{
    return 0;
}

static bool client_check_peer(NetClientState *nc, ObjectClass *oc, Error **errp)
{
    if (g_str_has_prefix(object_class_get_name(oc), "virtio-net-")) {
        return true;
    }
    error_setg(errp, "vhost-vdpa needs a virtio-net-* device, not %s",
               object_class_get_name(oc));
    return false;
}

/* RSS is the device's: no program is needed. */
static bool client_set_steering(NetClientState *nc, int program)
{
    return true;
}

static NetClientInfo client_info = {
    .type = NET_CLIENT_DRIVER_VHOST_VDPA,
    .size = sizeof(VdpaClient),
    .receive = client_receive,
    .start = client_start,
    .load = client_load,
    .cleanup = client_cleanup,
    .link_status_changed = link_status_changed,
    .has_vnet_hdr = client_has_vnet_hdr,
    .has_ufo = client_has_ufo,
    .set_vnet_le = client_set_vnet_le,
    .check_peer_type = client_check_peer,
    .set_steering_ebpf = client_set_steering,
};

/* --- creation ----------------------------------------------------------- */

static VdpaClient *client_new(VdpaNet *net, NetClientState *peer,
                              const char *name, bool control)
{
    NetClientState *nc = control
        ? qemu_new_net_control_client(&client_info, peer, TYPE_VHOST_VDPA, name)
        : qemu_new_net_client(&client_info, peer, TYPE_VHOST_VDPA, name);
    VdpaClient *c = client_of(nc);
    VhostNetOptions options = {
        .backend_type = VHOST_BACKEND_TYPE_VDPA,
        .net_backend = nc,
        .opaque = &c->vhost,
        .nvqs = control ? 1 : 2,
    };

    qemu_set_info_str(nc, TYPE_VHOST_VDPA);
    c->net = net;
    c->first = !net->clients++;
    net->first = c->first ? nc : net->first;
    c->vhost.shared = &net->shared;
    c->vhost_net = vhost_net_init(&options);
    return c;
}

/* How the control queue is served; what keeps the device from migrating. */
static int choose_control(VdpaNet *net, Error **errp)
{
    VdpaDevice *d = net->shared.device;
    bool alone = net->probe.control &&
                 vdpa_device_control_isolated(d, net->probe.features,
                                              net->probe.queue_pairs * 2);

    vdpa_device_set_frontend(d, &net_ops, net);
    if (net->x_svq) {
        vdpa_device_set_always_shadow(d, "x-svq=on");
    }
    if (alone || net->x_svq) {
        vdpa_device_set_control_kind(d, &vdpa_queue_control,
                                     alone ? VDPA_ASID_CONTROL
                                           : VDPA_ASID_GUEST);
    } else if (net->probe.control) {
        error_setg(&net->blocker, "vhost-vdpa: the device's control queue cannot have"
                   " an address space of its own, so QEMU cannot know what the"
                   " device was told; x-svq=on makes it migratable");
    }
    trace_vdpa_net(net->probe.queue_pairs, net->probe.control, alone,
                   net->x_svq);
    return net->blocker ? migrate_add_blocker(&net->blocker, errp) : 0;
}

/* The first client makes the device, and the device decides about the rest. */
static int clients_new(VdpaNet *net, NetClientState *peer, const char *name,
                       VdpaClient **first, Error **errp)
{
    for (unsigned i = 0; i < net->probe.queue_pairs + net->probe.control; i++) {
        VdpaClient *c = client_new(net, peer, name,
                                   i == net->probe.queue_pairs);

        *first = *first ?: c;
        if (!c->vhost_net) {
            error_setg(errp, "vhost-vdpa: cannot set up queue pair %u", i);
            return -1;
        }
        if (i == 0 && choose_control(net, errp)) {
            return -1;
        }
    }
    migration_add_notifier(&net->migration, on_migration);
    net->postcopy.notify = on_postcopy;
    postcopy_add_notifier(&net->postcopy);
    net->incoming = vdpa_incoming_new(net->shared.device, net->name);
    map_early(net);
    return 0;
}

/* A number may be given twice; closing one netdev would break the other. */
static bool fd_taken(int fd, Error **errp)
{
    if (!vdpa_device_uses_fd(fd)) {
        return false;
    }
    error_setg(errp, "vhost-vdpa: vhostfd=%d: another netdev or device has"
               " it already", fd);
    return true;
}

static int open_device(const NetdevVhostVDPAOptions *options, Error **errp)
{
    const char *fault = vdpa_options_fault(options->vhostdev,
                                           options->vhostfd);
    Error *ignored = NULL;
    int fd;

    if (fault) {
        error_setg(errp, "vhost-vdpa: %s", fault);
        return -1;
    }
    if (options->vhostfd) {
        fd = monitor_fd_param(monitor_cur(), options->vhostfd, errp);
        if (fd < 0) {
            error_prepend(errp, "vhost-vdpa: vhostfd=%s: ", options->vhostfd);
        }
        return fd >= 0 && fd_taken(fd, errp) ? -1 : fd;
    }
    fd = qemu_open(options->vhostdev, O_RDWR, &ignored);
    if (fd < 0) {
        int error = errno;
        const char *advice = vdpa_open_advice(options->vhostdev, error);

        error_free(ignored);
        error_setg(errp, "vhost-vdpa: cannot open %s: %s%s%s",
                   options->vhostdev, strerror(error), advice ? "; " : "",
                   advice ?: "");
    }
    return fd;
}

/* Fills @net; the caller closes the descriptors in it. */
static int probe_device(VdpaNet *net, const NetdevVhostVDPAOptions *options,
                        Error **errp)
{
    g_autofree char *reason = NULL;
    VdpaFd fd;

    vdpa_fd_init(&fd, net->shared.device_fd);
    reason = vdpa_probe(&fd, &net->probe);
    if (reason) {
        error_setg(errp, "vhost-vdpa: %s: %s",
                   options->vhostdev ?: options->vhostfd, reason);
        return -1;
    }
    if (net->probe.queue_pairs > VIRTIO_QUEUE_MAX / 2 - 1) {
        error_setg(errp, "vhost-vdpa: %s: %u queue pairs are too many",
                   options->vhostdev ?: options->vhostfd,
                   net->probe.queue_pairs);
        return -1;
    }
    net->shared.iova_range.first = net->probe.first;
    net->shared.iova_range.last = net->probe.last;
    net->x_svq = options->x_svq;
    net->x_svq_tx = options->x_svq_tx;
    net->shared.always_shadow = net->x_svq;
    if (options->iothread) {
        net->iothread = iothread_by_id(options->iothread);
        if (!net->iothread) {
            error_setg(errp, "vhost-vdpa: there is no IOThread '%s'",
                       options->iothread);
            return -1;
        }
    }
    if (options->has_queues && options->queues > (int)net->probe.queue_pairs) {
        warn_report("vhost-vdpa: queues=%" PRId64 ", but the device has %u "
                    "queue pairs", (int64_t)options->queues,
                    net->probe.queue_pairs);
    }
    return 0;
}

/* Features that a shadow queue does not support are not offered then. */
static int check_shadow(const VdpaNet *net, Error **errp)
{
    uint64_t refused = vdpa_shadow_ring_refused(net->probe.features);

    if (net->x_svq && refused & ~net->probe.features) {
        error_setg(errp, "vhost-vdpa: x-svq=on: the device does not offer"
                   " VERSION_1, which shadow virtqueues need");
        return -1;
    }
    return 0;
}

int net_init_vhost_vdpa(const Netdev *netdev, const char *name,
                        NetClientState *peer, Error **errp)
{
    const NetdevVhostVDPAOptions *options = &netdev->u.vhost_vdpa;
    VdpaClient *first = NULL;
    VdpaNet *net;
    int fd;

    ERRP_GUARD();
    fd = open_device(options, errp);
    if (fd < 0) {
        return -1;
    }
    net = g_new0(VdpaNet, 1);
    net->shared.device_fd = fd;
    net->name = g_strdup(name);
    net->link = vdpa_link_new(name);
    net->memory_there = qemu_bh_new(memory_there, net);
    net->features_gone = qemu_bh_new(features_gone, net);
    if (!probe_device(net, options, errp) && !check_shadow(net, errp) &&
        !clients_new(net, peer, name, &first, errp)) {
        vdpa_device_set_path(net->shared.device, options->vhostdev);
        if (net->iothread) {
            vdpa_device_set_iothread(net->shared.device, net->iothread);
        }
        return 0;
    }
    if (first) {
        qemu_del_net_client(&first->nc);    /* and those of its name */
    } else {
        net->clients = 1;
        net_unref(net);
    }
    return -1;
}
