#include "net/nng_tls.h"
#include <stdlib.h>
#include <string.h>

enum { PEM_BYTES_MAX = WR_MIB(1) };

/* The file's text, for nng: with a zero behind it. */
static wr_err read_pem(char **take, const wr_env *env, const char *path, const char *what, wr_errinfo *info)
{
    int file = env->open(env->self, path, WR_OPEN_READ);
    if (file < 0) return wr_fail_errno(info, -file, "cannot open the %s %s", what, path);
    char   *text = malloc(PEM_BYTES_MAX + 1);
    size_t  n = 0;
    int64_t more = text == NULL ? -1 : 1;
    while (more > 0 && n < PEM_BYTES_MAX) {
        more = env->read(env->self, file, text + n, PEM_BYTES_MAX - n);
        if (more > 0) n += (size_t)more;
    }
    env->close(env->self, file);
    if (more != 0 || n == 0 || memchr(text, 0, n) != NULL) {
        free(text);
        return wr_fail(info, WR_CONFIG, "the %s %s is no PEM file", what, path);
    }
    text[n] = 0;
    *take = text;
    return WR_OK;
}

static wr_err add_own(nng_tls_config *tls, const wr_peers_nng_config *c, wr_errinfo *info)
{
    char *cert = NULL, *key = NULL;
    if (c->cert == NULL || c->key == NULL)
        return wr_fail(info, WR_CONFIG, "TLS needs a certificate and its key; one of the two is missing");
    wr_err err = read_pem(&cert, c->env, c->cert, "certificate", info);
    if (err == WR_OK) err = read_pem(&key, c->env, c->key, "private key", info);
    if (err == WR_OK && nng_tls_config_own_cert(tls, cert, key, NULL) != 0)
        err = wr_fail(info, WR_CONFIG,
                      "the certificate %s with the private key %s cannot be used; are both PEM files, do "
                      "they belong together, and is the key without a password?",
                      c->cert, c->key);
    free(cert);
    if (key != NULL) explicit_bzero(key, strlen(key));
    free(key);
    return err;
}

static wr_err add_ca(nng_tls_config *tls, const wr_peers_nng_config *c, wr_errinfo *info)
{
    char *ca;
    WR_TRY(read_pem(&ca, c->env, c->ca, "file of authorities", info));
    wr_err err = WR_OK;
    if (nng_tls_config_ca_chain(tls, ca, NULL) != 0)
        err = wr_fail(info, WR_CONFIG, "the file of authorities %s holds no certificate in PEM", c->ca);
    free(ca);
    return err;
}

wr_err wr_nng_tls_listener(nng_tls_config **take, const wr_peers_nng_config *config, wr_errinfo *info)
{
    nng_tls_config *tls;
    if (nng_tls_config_alloc(&tls, NNG_TLS_MODE_SERVER) != 0) return wr_fail(info, WR_MEMORY, "no memory for TLS");
    wr_err err = add_own(tls, config, info);
    if (err == WR_OK && config->ca != NULL) err = add_ca(tls, config, info);
    if (err == WR_OK && config->ca != NULL) nng_tls_config_auth_mode(tls, NNG_TLS_AUTH_MODE_REQUIRED);
    if (err == WR_OK)
        *take = tls;
    else
        nng_tls_config_free(tls);
    return err;
}

wr_err wr_nng_tls_dialer(nng_tls_config **take, const wr_peers_nng_config *config, const char *host, wr_errinfo *info)
{
    nng_tls_config *tls;
    if (config->ca == NULL)
        return wr_fail(info, WR_CONFIG, "TLS needs a file of authorities to check the other side's certificate with");
    if (nng_tls_config_alloc(&tls, NNG_TLS_MODE_CLIENT) != 0) return wr_fail(info, WR_MEMORY, "no memory for TLS");
    wr_err err = add_ca(tls, config, info);
    if (err == WR_OK && config->cert != NULL) err = add_own(tls, config, info);
    if (err == WR_OK) {
        nng_tls_config_auth_mode(tls, NNG_TLS_AUTH_MODE_REQUIRED);
        nng_tls_config_server_name(tls, host);
        *take = tls;
    } else {
        nng_tls_config_free(tls);
    }
    return err;
}
