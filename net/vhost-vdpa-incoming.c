/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What a vhost-vdpa netdev has to say when a migration comes in. See
 * vhost-vdpa-incoming.h, also for the limits.
 */
#include "qemu/osdep.h"
#include "block/aio.h"
#include "exec/address-spaces.h"
#include "migration/migration.h"
#include "migration/postcopy-discard.h"
#include "migration/register.h"
#include "migration/vmstate.h"
#include "qapi/error.h"
#include "qemu/coroutine.h"
#include "qemu/main-loop.h"
#include "system/runstate.h"
#include "vhost-vdpa-incoming.h"
#include "trace.h"

#define LOOK_NS (10 * SCALE_MS)

struct VdpaIncoming {
    VdpaDevice *device;     /* NULL once it is gone */
    char *id;
    bool waiting;
    PostcopyHolder holder;
};

/* 0: mapped, or the device is gone. */
static int coroutine_fn await(VdpaIncoming *in, Error **errp)
{
    bool retry = true;
    int err;

    vdpa_map_begin(vdpa_device_map(in->device), &address_space_memory);
    while (in->device) {
        VdpaMap *map = vdpa_device_map(in->device);

        err = vdpa_map_outcome(map, retry ? NULL : errp);
        if (err == -EINPROGRESS) {
            qemu_co_sleep_ns(QEMU_CLOCK_REALTIME, LOOK_NS);
        } else if (err && retry) {
            retry = false;
            vdpa_map_drop(map);
            vdpa_map_begin(map, &address_space_memory);
        } else {
            return err;
        }
    }
    return 0;
}

static void forget(void *opaque)
{
    VdpaIncoming *in = opaque;

    unregister_savevm(NULL, in->id, in);
    postcopy_holder_remove(&in->holder);
    g_free(in->id);
    g_free(in);
}

/* query-migrate is to show the reason, rather than "invalid argument". */
static void show(const VdpaIncoming *in, const Error *err)
{
    Error *shown = error_copy(err);

    error_prepend(&shown, "%s: ", in->id);
    migrate_set_error(migrate_get_current(), shown);
    error_free(shown);
}

/* Until memory is mapped, the load takes nothing of the stream. */
static int coroutine_fn hold_stream(VdpaIncoming *in, Error **errp)
{
    Error *err = NULL;
    int ret;

    in->waiting = true;
    trace_vdpa_incoming(in->id, true, 0);
    ret = await(in, &err);
    trace_vdpa_incoming(in->id, false, ret);
    in->waiting = false;
    if (err) {
        show(in, err);
        error_propagate(errp, err);
    }
    if (!in->device) {
        /* The caller is iterating over the list and holds this entry. */
        aio_bh_schedule_oneshot(qemu_get_aio_context(), forget, in);
    }
    return ret;
}

static int load_setup(QEMUFile *f, void *opaque, Error **errp)
{
    if (!runstate_check(RUN_STATE_INMIGRATE) || !qemu_in_coroutine()) {
        return 0;       /* a snapshot: the guest is here already */
    }
    return hold_stream(opaque, errp);
}

/* An offer of postcopy has discarded what was mapped. */
static int coroutine_mixed_fn discarded(PostcopyHolder *holder, Error **errp)
{
    VdpaIncoming *in = container_of(holder, VdpaIncoming, holder);

    return in->device && qemu_in_coroutine() ? hold_stream(in, errp) : 0;
}

/* Postcopy begins, which discards pages again. */
static void discard_begins(PostcopyHolder *holder)
{
    VdpaIncoming *in = container_of(holder, VdpaIncoming, holder);

    if (in->device) {
        vdpa_map_let_go(vdpa_device_map(in->device));
    }
}

/* No source has anything to say to it. */
static int load_state(QEMUFile *f, void *opaque, int version_id)
{
    return -EINVAL;
}

static const SaveVMHandlers handlers = {
    .load_setup = load_setup,
    .load_state = load_state,
};

VdpaIncoming *vdpa_incoming_new(VdpaDevice *d, const char *name)
{
    VdpaIncoming *in = g_new0(VdpaIncoming, 1);

    in->device = d;
    in->id = g_strdup_printf("vhost-vdpa/%s", name);
    in->holder.discarded = discarded;
    in->holder.discard_begins = discard_begins;
    register_savevm_live(in->id, VMSTATE_INSTANCE_ID_ANY, 1, &handlers, in);
    postcopy_holder_add(&in->holder);
    return in;
}

void vdpa_incoming_free(VdpaIncoming *in)
{
    if (!in) {
        return;
    }
    in->device = NULL;
    if (!in->waiting) {
        forget(in);
    }
}
