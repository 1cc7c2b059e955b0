/* connectors/registry.c: the table of connectors, and those that are loaded at run time. */
#include "base/text.h"
#include "connectors/connectors.h"
#include "connectors/host.h"
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

enum { LOADED_MAX = 64 };

static const weir_connector *const built_in[] = {
#define CONNECTOR_ENTRY(NAME) &wr_connector_##NAME,
    WR_CONNECTORS(CONNECTOR_ENTRY)
#undef CONNECTOR_ENTRY
};
enum { BUILT_IN = sizeof built_in / sizeof built_in[0] };

const weir_type *const wr_endpoint_out[1] = {NULL};

/* Written by wr_connector_load, before there are other threads that look. */
static struct {
    const weir_connector *connector;
    const char           *path;
} loaded[LOADED_MAX];
static uint32_t loaded_count;

const weir_connector *wr_connector_at(uint32_t i)
{
    if (i < BUILT_IN) return built_in[i];
    return i - BUILT_IN < loaded_count ? loaded[i - BUILT_IN].connector : NULL;
}

const weir_connector *wr_connector_find(const char *scheme, size_t n, const char **did_you_mean)
{
    const char           *names[BUILT_IN + LOADED_MAX];
    const weir_connector *connector;
    char                  word[64];
    uint32_t              count = 0;
    for (; (connector = wr_connector_at(count)) != NULL; count++) {
        if (strlen(connector->scheme) == n && memcmp(connector->scheme, scheme, n) == 0) return connector;
        names[count] = connector->scheme;
    }
    snprintf(word, sizeof word, "%.*s", (int)(n < sizeof word ? n : sizeof word - 1), scheme);
    if (did_you_mean != NULL) *did_you_mean = wr_did_you_mean(word, names, count);
    return NULL;
}

const weir_connector *wr_connector_resolve(void *self, const char *scheme, size_t n, const char **did_you_mean)
{
    (void)self;
    return wr_connector_find(scheme, n, did_you_mean);
}

static bool is_built_in(const weir_connector *connector)
{
    for (uint32_t i = 0; i < BUILT_IN; i++) {
        if (built_in[i] == connector) return true;
    }
    return false;
}

wr_err wr_connector_inspect(void *self, const weir_endpoint *endpoint, bool sink, wr_errinfo *info)
{
    (void)self;
    wr_codec *codec = NULL;
    if (endpoint->connector == NULL || endpoint->type == NULL) return WR_OK;
    if (endpoint->connector == &wr_connector_file) WR_TRY(wr_file_check_options(endpoint, sink, info));
    if (endpoint->connector == &wr_connector_print) WR_TRY(wr_print_check_options(endpoint, info));
    if (endpoint->connector == &wr_connector_generator) WR_TRY(wr_generator_check_options(endpoint, info));
    if (endpoint->format == NULL) return WR_OK;
    if (endpoint->header && !is_built_in(endpoint->connector))
        return wr_fail(info, WR_OPTION,
                       "'%s:' reads and writes records one by one, by weir_decode and weir_encode, and knows no header "
                       "line; leave header out, and let its columns be the fields in their order",
                       endpoint->connector->scheme);
    bool own_format = wr_format_find(endpoint->format) == NULL && !is_built_in(endpoint->connector);
    if (own_format) return WR_OK; /* a third party's connector checks what it brings */
    wr_err err = wr_endpoint_codec(&codec, endpoint, info);
    wr_codec_free(codec);
    return err;
}

static wr_err check_op(const weir_connector *c, const weir_op *op, uint32_t kind, const char *place, wr_errinfo *info)
{
    const char *what = kind == WEIR_OP_SOURCE ? "source" : "sink";
    if (op == NULL) return WR_OK;
    if (op->abi_size < offsetof(weir_op, reserved) || op->abi_size > sizeof *op)
        return wr_fail(info, WR_WRONG_ABI,
                       "its %s descriptor has %u bytes, and this Weir knows %zu; connector %s: in %s; "
                       "build it with this version's headers",
                       what, op->abi_size, sizeof *op, c->scheme, place);
    if (op->kind != kind && !(kind == WEIR_OP_SINK && op->kind == WEIR_OP_TWO_PHASE_SINK))
        return wr_fail(info, WR_CONFIG, "its %s has operator kind %u; connector %s: in %s", what, op->kind, c->scheme,
                       place);
    if (op->on_left == NULL || (kind == WEIR_OP_SOURCE && (op->state == NULL || op->enumerate == NULL)))
        return wr_fail(info, WR_CONFIG, "its %s lacks %s; connector %s: in %s", what,
                       op->on_left == NULL ? "the loop on_left"
                       : op->state == NULL ? "a split type (state)"
                                           : "the loop enumerate",
                       c->scheme, place);
    return WR_OK;
}

wr_err wr_connector_check(const weir_connector *c, const char *place, wr_errinfo *info)
{
    if (c->magic != WEIR_CONNECTOR_MAGIC)
        return wr_fail(info, WR_NOT_A_PIPELINE,
                       "not a connector: weir_connector_v1 does not begin with its mark; %s; export a weir_connector",
                       place);
    if (c->abi != WEIR_ABI)
        return wr_fail(info, WR_WRONG_ABI,
                       "a connector of ABI %u, and this Weir has %u; %s; build it with this version's headers", c->abi,
                       WEIR_ABI, place);
    if (c->size < offsetof(weir_connector, reserved) || c->size > sizeof *c)
        return wr_fail(
            info, WR_WRONG_ABI,
            "a connector descriptor of %u bytes, and this Weir knows %zu; %s; build it with this version's headers",
            c->size, sizeof *c, place);
    size_t scheme = c->scheme != NULL ? strspn(c->scheme, "abcdefghijklmnopqrstuvwxyz0123456789+-.") : 0;
    if (scheme == 0 || c->scheme[scheme] != 0 || c->scheme[0] < 'a')
        return wr_fail(info, WR_CONFIG, "a connector without a proper scheme (a-z, then also 0-9 + - .); %s", place);
    if (c->source == NULL && c->sink == NULL)
        return wr_fail(info, WR_CONFIG, "connector %s: has neither source nor sink; %s", c->scheme, place);
    if (c->options > WR_OPTIONS_MAX || (c->options > 0 && c->option == NULL))
        return wr_fail(info, WR_CONFIG, "connector %s: says that it has %u options; at most %d are possible; %s",
                       c->scheme, c->options, WR_OPTIONS_MAX, place);
    for (uint32_t i = 0; i < c->options; i++) {
        if (c->option[i].name != NULL && c->option[i].kind >= WEIR_OPTION_STR &&
            c->option[i].kind <= WEIR_OPTION_DURATION)
            continue;
        return wr_fail(info, WR_CONFIG, "connector %s: option %u has no name or no kind; %s", c->scheme, i, place);
    }
    WR_TRY(check_op(c, c->source, WEIR_OP_SOURCE, place, info));
    return check_op(c, c->sink, WEIR_OP_SINK, place, info);
}

wr_err wr_connector_load(const char *path, wr_errinfo *info)
{
    wr_err err = WR_OK;
    if (loaded_count == LOADED_MAX)
        return wr_fail(info, WR_LIMIT, "more than %d connectors are loaded; at %s", LOADED_MAX, path);
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL)
        return wr_fail(info, WR_NOT_FOUND, "cannot load the connector: %s; check --connector %s", dlerror(), path);
    const weir_connector *c = dlsym(handle, "weir_connector_v1");
    if (c == NULL) {
        err = wr_fail(info, WR_NOT_A_PIPELINE, "not a connector: it exports no weir_connector_v1; %s", path);
        goto out;
    }
    WR_GOTO(wr_connector_check(c, path, info));
    for (uint32_t i = 0; wr_connector_at(i) != NULL; i++) {
        if (wr_connector_at(i) == c) return WR_OK; /* the same file again */
        if (strcmp(wr_connector_at(i)->scheme, c->scheme) != 0) continue;
        err = wr_fail(info, WR_CONFIG, "there is a connector %s: already; %s; load one of them only", c->scheme, path);
        goto out;
    }
    loaded[loaded_count].connector = c;
    loaded[loaded_count++].path = path;
out:
    if (err != WR_OK) dlclose(handle);
    return err;
}
