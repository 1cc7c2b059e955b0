#include "net/greeting.h"
#include "base/check.h"
#include "base/text.h"
#include "net/mac.h"
#include <string.h>

enum { STEP_CHALLENGE, STEP_HELLO, STEP_WELCOME, STEP_OVER }; /* what it waits for */

void wr_greeter_init(wr_greeter *g, bool listener, const char *token, uint32_t role, uint64_t leader,
                     const uint8_t *random)
{
    *g = (wr_greeter){.token = token, .listener = listener, .leader = leader};
    g->step = listener ? STEP_HELLO : STEP_CHALLENGE;
    g->here = (wr_greeting){.protocol = WR_PROTOCOL, .protocol_min = WR_PROTOCOL_MIN, .weir = WR_VERSION};
    g->here.role = listener ? 0 : role;
    g->role = g->here.role;
    memcpy(g->here.nonce, random, WR_NONCE_BYTES);
}

static void encode(const wr_message *m, char **bytes, size_t *n)
{
    check(wr_message_encode(m, bytes, n, NULL) == WR_OK); /* ours are always within the bounds */
}

void wr_greeter_begin(wr_greeter *g, char **bytes, size_t *n)
{
    check(g->listener);
    wr_message m = {.kind = WR_MSG_CHALLENGE, .leader = g->leader, .greeting = g->here};
    encode(&m, bytes, n);
}

static void put(uint8_t **at, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++) *(*at)++ = (uint8_t)(value >> 8 * i);
}

static void prove(const wr_greeter *g, bool listener, uint8_t mac[WR_MAC_BYTES])
{
    const wr_greeting *l = g->listener ? &g->here : &g->there, *d = g->listener ? &g->there : &g->here;
    uint8_t            said[16 + 2 * WR_NONCE_BYTES + 28], *at = said;
    memcpy(at, listener ? "weir listener  1" : "weir dialer    1", 16);
    at += 16;
    memcpy(at, l->nonce, WR_NONCE_BYTES);
    memcpy(at + WR_NONCE_BYTES, d->nonce, WR_NONCE_BYTES);
    at += 2 * WR_NONCE_BYTES;
    put(&at, l->protocol, 4);
    put(&at, l->protocol_min, 4);
    put(&at, d->protocol, 4);
    put(&at, d->protocol_min, 4);
    put(&at, d->role, 4);
    put(&at, g->leader, 8);
    check(at == said + sizeof said);
    wr_mac((const uint8_t *)g->token, strlen(g->token), said, sizeof said, mac);
}

static enum wr_greet_result refuse(wr_greeter *g, enum wr_greet_result result, const wr_errinfo *info, char **reply,
                                   size_t *reply_n)
{
    wr_message m = {.kind = WR_MSG_REFUSED, .leader = g->leader, .refused = *info};
    encode(&m, reply, reply_n);
    g->step = STEP_OVER;
    return result;
}

static bool versions_meet(wr_greeter *g, wr_errinfo *info)
{
    const wr_greeting *o = &g->there;
    if (o->protocol_min > WR_PROTOCOL) {
        wr_fail(info, WR_NEWER,
                "the %s is Weir %s and speaks protocol %u and later, this is Weir %s and speaks up to %u; "
                "update the older one",
                g->listener ? "caller" : "JobManager", o->weir, o->protocol_min, WR_VERSION, WR_PROTOCOL);
        return false;
    }
    if (o->protocol < WR_PROTOCOL_MIN) {
        wr_fail(info, WR_WRONG_ABI,
                "the %s is Weir %s and speaks protocols up to %u, this is Weir %s and needs %u; update the older one",
                g->listener ? "caller" : "JobManager", o->weir, o->protocol, WR_VERSION, WR_PROTOCOL_MIN);
        return false;
    }
    g->protocol = o->protocol < WR_PROTOCOL ? o->protocol : WR_PROTOCOL;
    return true;
}

/* What strangers call themselves is printed: plain characters only, and not many. */
static void keep_greeting(wr_greeter *g, const wr_message *m, char name[32])
{
    size_t n = 0;
    for (const char *c = m->greeting.weir; c != NULL && *c != 0 && n < 31; c++) {
        if (*c > ' ' && *c < 0x7f) name[n++] = *c;
    }
    name[n] = 0;
    g->there = m->greeting;
    g->there.weir = name;
}

static enum wr_greet_result take_refusal(wr_greeter *g, const wr_message *m, wr_errinfo *info)
{
    wr_errinfo said = m->refused;
    said.text[sizeof said.text - 1] = 0;
    wr_text_printable(said.text);
    bool known = said.code == WR_PERMISSION || said.code == WR_NEWER || said.code == WR_WRONG_ABI;
    g->step = STEP_OVER;
    wr_fail(info, known ? said.code : WR_UNREACHABLE, "%s", said.text[0] != 0 ? said.text : "refused without a reason");
    return WR_GREET_REFUSED;
}

static enum wr_greet_result take_greeting(wr_greeter *g, const wr_message *m, char **reply, size_t *reply_n,
                                          wr_errinfo *info)
{
    wr_errinfo why;
    uint8_t    mac[WR_MAC_BYTES], theirs[WR_MAC_BYTES];
    char       name[32];
    wr_errinfo_init(&why);
    memcpy(theirs, m->greeting.mac, sizeof theirs);
    if (g->step == STEP_WELCOME) {
        prove(g, true, mac);
        g->step = STEP_OVER;
        if (wr_mac_equal(mac, theirs)) return WR_GREET_OVER;
        wr_fail(info, WR_PERMISSION, "the JobManager does not know the cluster's token; is this the right one?");
        return WR_GREET_WRONG_TOKEN;
    }
    keep_greeting(g, m, name);
    bool meet = versions_meet(g, &why);
    g->there.weir = NULL;
    if (!meet) {
        if (info != NULL && info->code == WR_OK) *info = why;
        return refuse(g, WR_GREET_WRONG_VERSION, &why, reply, reply_n);
    }
    if (g->step == STEP_CHALLENGE) {
        g->leader = m->leader;
        wr_message hello = {.kind = WR_MSG_HELLO, .greeting = g->here};
        prove(g, false, hello.greeting.mac);
        encode(&hello, reply, reply_n);
        g->step = STEP_WELCOME;
        return WR_GREET_MORE;
    }
    g->role = m->greeting.role;
    prove(g, false, mac);
    if (!wr_mac_equal(mac, theirs)) {
        wr_fail(&why, WR_PERMISSION,
                "the token is not that of this cluster; copy the JobManager's token file and give it with --token");
        if (info != NULL && info->code == WR_OK) *info = why;
        return refuse(g, WR_GREET_WRONG_TOKEN, &why, reply, reply_n);
    }
    wr_message welcome = {.kind = WR_MSG_WELCOME, .leader = g->leader, .greeting = g->here};
    prove(g, true, welcome.greeting.mac);
    encode(&welcome, reply, reply_n);
    g->step = STEP_OVER;
    return WR_GREET_OVER;
}

enum wr_greet_result wr_greeter_take(wr_greeter *g, const char *bytes, size_t n, char **reply, size_t *reply_n,
                                     wr_errinfo *info)
{
    static const uint32_t WANTED[] = {
        [STEP_CHALLENGE] = WR_MSG_CHALLENGE, [STEP_HELLO] = WR_MSG_HELLO, [STEP_WELCOME] = WR_MSG_WELCOME};
    wr_message m;
    *reply = NULL;
    *reply_n = 0;
    if (g->step == STEP_OVER || n > WR_GREETING_BYTES_MAX || wr_message_decode(&m, bytes, n, NULL) != WR_OK) {
        wr_fail(info, WR_UNREACHABLE, "what came is no greeting of Weir; is this the port of a JobManager?");
        return WR_GREET_GARBAGE;
    }
    enum wr_greet_result result = WR_GREET_GARBAGE;
    bool                 known_role = m.greeting.role == WR_ROLE_CLIENT || m.greeting.role == WR_ROLE_TASKMANAGER;
    if (m.kind == WR_MSG_REFUSED)
        result = take_refusal(g, &m, info);
    else if (m.kind == WANTED[g->step] && (m.kind != WR_MSG_HELLO || known_role))
        result = take_greeting(g, &m, reply, reply_n, info);
    else
        wr_fail(info, WR_UNREACHABLE, "a message came where a greeting is due; is this the port of a JobManager?");
    wr_message_free(&m);
    return result;
}
