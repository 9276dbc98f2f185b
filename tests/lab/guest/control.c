/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The control protocol. Theory of operation and limits: control.h.
 */
#include "control.h"

#define DEFAULT_STRIDE  16u

/* --- text -------------------------------------------------------------- */

static void text_char(Text *t, char c)
{
    if (t->used + 1 < sizeof(t->at)) {
        t->at[t->used++] = c;
        t->at[t->used] = 0;
    }
}

void text_add(Text *t, const char *s)
{
    while (*s) {
        text_char(t, *s++);
    }
}

static void text_base(Text *t, uint64_t n, uint32_t base)
{
    char digits[24];
    unsigned count = 0;

    do {
        uint32_t digit;

        n = divide_u64(n, base, &digit);
        digits[count++] = "0123456789abcdef"[digit];
    } while (n);
    while (count) {
        text_char(t, digits[--count]);
    }
}

void text_number(Text *t, uint64_t n)
{
    text_base(t, n, 10);
}

void text_hex(Text *t, uint64_t n)
{
    text_add(t, "0x");
    text_base(t, n, 16);
}

static int same(const char *a, const char *b)
{
    while (*a && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

/* What follows @prefix in @s, or NULL. */
static const char *after(const char *s, const char *prefix)
{
    while (*prefix) {
        if (*s++ != *prefix++) {
            return NULL;
        }
    }
    return s;
}

static int number(const char *s, uint32_t *n)
{
    uint64_t value = 0;

    if (!*s) {
        return 0;
    }
    for (; *s; s++) {
        if (*s < '0' || *s > '9') {
            return 0;
        }
        value = value * 10 + (*s - '0');
        if (value > UINT32_MAX) {
            return 0;
        }
    }
    *n = value;
    return 1;
}

/* The next word of *@line, cut off and terminated in place; NULL: none. */
static char *word(char **line)
{
    char *w = *line, *end;

    while (*w == ' ') {
        w++;
    }
    if (!*w) {
        return NULL;
    }
    for (end = w; *end && *end != ' '; end++) {
        ;
    }
    *line = *end ? end + 1 : end;
    *end = 0;
    return w;
}

/* --- answers ----------------------------------------------------------- */

static void say_error(Control *c, const char *why)
{
    Text t = { 0 };

    text_add(&t, "error ");
    text_add(&t, why);
    c->ops->say(t.at);
}

static void say_count(Text *t, const char *name, uint64_t n)
{
    text_add(t, name);
    text_number(t, n);
}

/* --- commands ---------------------------------------------------------- */

static const char *parse_mode(LoadPlan *plan, const char *s)
{
    static const char *const names[] = { "random", "seq", "stride", "zipf" };

    for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++) {
        if (same(s, names[i])) {
            plan->mode = (LoadMode)i;
            return NULL;
        }
    }
    return "mode is random, seq, stride or zipf";
}

static const char *parse_option(LoadPlan *plan, const char *w)
{
    const char *s;

    if ((s = after(w, "mode="))) {
        return parse_mode(plan, s);
    }
    if ((s = after(w, "rate="))) {
        return number(s, &plan->rate) ? NULL : "rate is a number";
    }
    if ((s = after(w, "stride="))) {
        return number(s, &plan->stride) && plan->stride ? NULL
                                                        : "stride is 1 or more";
    }
    if ((s = after(w, "workers="))) {
        return number(s, &plan->workers) ? NULL : "workers is a number";
    }
    return "start knows mode, rate, stride, workers";
}

static void do_start(Control *c, char *rest)
{
    LoadPlan plan = { .stride = DEFAULT_STRIDE, .workers = c->workers->size };
    const char *wrong = NULL;
    char *w;

    while (!wrong && (w = word(&rest))) {
        wrong = parse_option(&plan, w);
    }
    if (!wrong && (!plan.workers || plan.workers > c->workers->size)) {
        wrong = "workers: from 1 to the number of vcpus";
    }
    if (!wrong && workers_busy(c->workers)) {
        wrong = "running";
    }
    if (wrong) {
        say_error(c, wrong);
        return;
    }
    workers_start_load(c->workers, &plan, c->ops->now());
    c->ops->wake();
    c->ops->say("ok");
}

static void do_stop(Control *c, char *rest)
{
    (void)rest;
    workers_stop(c->workers);
    c->ops->wait();
    c->ops->say("ok");
}

static void do_stat(Control *c, char *rest)
{
    Text t = { 0 };

    (void)rest;
    say_count(&t, "stat pages=", c->workers->oracle->pages);
    say_count(&t, " writes=", oracle_writes(c->workers->oracle));
    say_count(&t, " vcpus=", c->workers->size);
    say_count(&t, " running=", workers_busy(c->workers));
    c->ops->say(t.at);
}

static void say_culprit(Control *c, Text *t, const OracleSum *found)
{
    uint64_t gfn = found->culprit ? c->ops->gfn(found->culprit) : UINT64_MAX;

    text_add(t, " first=");
    if (gfn == UINT64_MAX) {
        text_add(t, "-");
    } else {
        text_hex(t, gfn);
    }
    text_add(t, " reason=");
    text_add(t, oracle_reason_name(found->reason));
}

static void do_verify(Control *c, char *rest)
{
    Text t = { 0 };
    OracleSum found;

    (void)rest;
    if (workers_busy(c->workers)) {
        say_error(c, "running");
        return;
    }
    workers_start_job(c->workers, JOB_VERIFY);
    c->ops->wake();
    c->ops->wait();
    found = workers_result(c->workers);
    say_count(&t, "verify pages=", c->workers->oracle->pages);
    say_count(&t, " bad=", found.bad);
    say_culprit(c, &t, &found);
    c->ops->say(t.at);
}

static void do_heartbeat(Control *c, char *rest)
{
    uint64_t beats, gap;
    Text t = { 0 };

    (void)rest;
    c->ops->beats(&beats, &gap);
    say_count(&t, "beat ", beats);
    say_count(&t, " max_gap_us=", gap);
    c->ops->say(t.at);
}

static void do_ping(Control *c, char *rest)
{
    (void)rest;
    c->ops->say("pong");
}

/* A command that one of the payloads has. */
static void pass_on(Control *c, void (*run)(char *rest, Text *t), char *rest)
{
    Text t = { 0 };

    if (!run) {
        say_error(c, "not in this payload");
        return;
    }
    run(rest, &t);
    c->ops->say(t.at);
}

static void do_net(Control *c, char *rest)
{
    pass_on(c, c->ops->net, rest);
}

static void do_hw(Control *c, char *rest)
{
    pass_on(c, c->ops->hw, rest);
}

static void do_poweroff(Control *c, char *rest)
{
    (void)rest;
    c->ops->say("ok");
    c->ops->poweroff();
}

static const struct {
    const char *name;
    void (*run)(Control *c, char *rest);
    int options;
} commands[] = {
    { "ping", do_ping, 0 },
    { "start", do_start, 1 },
    { "stop", do_stop, 0 },
    { "stat", do_stat, 0 },
    { "verify", do_verify, 0 },
    { "heartbeat", do_heartbeat, 0 },
    { "net", do_net, 1 },
    { "hw", do_hw, 1 },
    { "poweroff", do_poweroff, 0 },
};

/* One of the payload's own answers came back. */
static int is_echo(const char *line)
{
    static const char *const whole[] = { "pong", "ok" };
    static const char *const begin[] = {
        "ready pages=", "stat pages=", "verify pages=", "beat ", "error ",
    };

    for (unsigned i = 0; i < sizeof(whole) / sizeof(whole[0]); i++) {
        if (same(line, whole[i])) {
            return 1;
        }
    }
    for (unsigned i = 0; i < sizeof(begin) / sizeof(begin[0]); i++) {
        if (after(line, begin[i])) {
            return 1;
        }
    }
    return 0;
}

static void run(Control *c, char *line)
{
    char *rest = line, *name;

    if (is_echo(line)) {
        return;
    }
    name = word(&rest);
    for (unsigned i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (name && same(name, commands[i].name)) {
            if (*rest && !commands[i].options) {
                say_error(c, "that command takes no options");
            } else {
                commands[i].run(c, rest);
            }
            return;
        }
    }
    if (name) {
        say_error(c, "unknown command");
    }
}

void control_init(Control *c, const ControlOps *ops, Workers *workers)
{
    c->ops = ops;
    c->workers = workers;
    c->used = 0;
    c->overlong = 0;
    c->heard = 0;
}

void control_ready(Control *c)
{
    Text t = { 0 };

    say_count(&t, "ready pages=", c->workers->oracle->pages);
    c->ops->say(t.at);
}

void control_input(Control *c, char byte)
{
    c->heard = 1;
    if (byte != '\n' && byte != '\r') {
        if (c->used < CONTROL_LINE) {
            c->line[c->used++] = byte;
        } else {
            c->overlong = 1;
        }
        return;
    }
    c->line[c->used] = 0;
    if (c->overlong) {
        say_error(c, "line too long");
    } else {
        run(c, c->line);
    }
    c->used = 0;
    c->overlong = 0;
}
