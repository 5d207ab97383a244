/* http.c - libcurl behind http.h.  The library is loaded by name, so that a program that never downloads never starts it up; its
 * functions stand in one table.  Never retries: the caller knows what is worth it. */
#include "io/http.h"
#include "base/mem.h"
#include "base/os.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef RUSTY_HAVE_CURL
ry_status http_open(http_client **out) {
    (void)out;
    RY_FAIL(RY_EUNSUPPORTED, "this build of Rusty cannot download: it was built without libcurl's header (Debian: libcurl4-openssl-dev; then build again)");
}
void http_close(http_client *c) { (void)c; }
ry_status http_run(http_client *c, http_reply *out, const http_get *q) {
    (void)c, (void)out, (void)q;
    RY_FAIL(RY_EUNSUPPORTED, "this build of Rusty cannot download");
}
#else
#define CURL_DISABLE_DEPRECATION /* CURLOPT_PROTOCOLS: its successor is younger than what is installed in places */
#include <curl/curl.h>
#undef curl_easy_setopt /* macros that check types where functions are called by name */
#undef curl_easy_getinfo

#define CURL_FUNCTIONS(X)                                                                   \
    X(easy_init, CURL *, (void))                                                            \
    X(easy_setopt, CURLcode, (CURL *, CURLoption, ...))                                     \
    X(easy_perform, CURLcode, (CURL *))                                                     \
    X(easy_getinfo, CURLcode, (CURL *, CURLINFO, ...))                                      \
    X(easy_reset, void, (CURL *))                                                           \
    X(easy_cleanup, void, (CURL *))                                                         \
    X(easy_strerror, const char *, (CURLcode))                                              \
    X(global_init, CURLcode, (long))

struct http_client {
    CURL *easy;
    void *lib;
#define X(name, type, args) type(*name) args;
    CURL_FUNCTIONS(X)
#undef X
    /* of the request that runs */
    const http_get *q;
    http_reply *reply;
    ry_status st; /* of the body function */
};

ry_status http_open(http_client **out) {
    static const char *const names[] = {"libcurl.so.4", "libcurl-gnutls.so.4", "libcurl.4.dylib", "libcurl.dylib", "libcurl-4.dll", "libcurl-x64.dll", "libcurl.dll"};
    http_client *c = ry_mem_zalloc(sizeof *c);
    if (!c) return RY_ENOMEM;
    for (size_t i = 0; i < sizeof names / sizeof *names && !c->lib; i++) c->lib = os_dl_open(names[i]);
    ry_status st = c->lib ? RY_OK : ry_fail(RY_EUNSUPPORTED, "downloading needs libcurl, which was not found (Debian: libcurl4; Fedora: libcurl; brew: curl)");
    if (st == RY_OK) {
        void *sym = NULL;
#define X(name, type, args)                                                                                                  \
    if (st == RY_OK && !(sym = os_dl_sym(c->lib, "curl_" #name))) st = ry_fail(RY_EUNSUPPORTED, "libcurl has no curl_" #name); \
    memcpy(&c->name, &sym, sizeof sym);
        CURL_FUNCTIONS(X)
#undef X
    }
    if (st == RY_OK && c->global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) st = ry_fail(RY_EUNSUPPORTED, "libcurl did not start");
    if (st == RY_OK && !(c->easy = c->easy_init())) st = ry_fail(RY_ENOMEM, "libcurl gave no handle");
    if (st != RY_OK) http_close(c);
    else *out = c;
    return st;
}

/* The library itself stays loaded: TLS libraries register things that outlive it. */
void http_close(http_client *c) {
    if (!c) return;
    if (c->easy) c->easy_cleanup(c->easy);
    ry_mem_free(c);
}

/* ---- what curl calls ---- */

static bool is_header(const char *line, size_t n, const char *name, const char **value, size_t *n_value) {
    size_t k = strlen(name);
    if (n <= k || line[k] != ':') return false;
    for (size_t i = 0; i < k; i++)
        if ((line[i] | ('A' <= line[i] && line[i] <= 'Z' ? 32 : 0)) != name[i]) return false;
    for (line += k + 1, n -= k + 1; n && (*line == ' ' || *line == '\t'); line++) n--;
    while (n && (line[n - 1] == '\r' || line[n - 1] == '\n' || line[n - 1] == ' ')) n--;
    *value = line;
    *n_value = n;
    return true;
}

static int64_t number(const char *s, size_t n) {
    int64_t v = 0;
    if (!n || n > 18) return -1;
    for (size_t i = 0; i < n; i++) {
        if (s[i] < '0' || s[i] > '9') return -1;
        v = v * 10 + (s[i] - '0');
    }
    return v;
}

static void tag(char out[HTTP_TAG], const char *s, size_t n) {
    if (n > 2 && !memcmp(s, "W/", 2)) s += 2, n -= 2;
    if (n >= 2 && s[0] == '"' && s[n - 1] == '"') s++, n -= 2;
    if (n < HTTP_TAG) memcpy(out, s, n), out[n] = 0;
}

static size_t on_header(char *line, size_t one, size_t n, void *ud) {
    http_client *c = ud;
    http_reply *r = c->reply;
    const char *v;
    size_t k;
    n *= one;
    if (n > 5 && !memcmp(line, "HTTP/", 5)) r->length = r->from = -1; /* another answer begins: only linked_* and the first tag stay */
    if (is_header(line, n, "content-length", &v, &k)) r->length = number(v, k);
    else if (is_header(line, n, "content-range", &v, &k)) {
        size_t digits = 0;
        if (k > 6 && !memcmp(v, "bytes ", 6)) {
            while (6 + digits < k && v[6 + digits] >= '0' && v[6 + digits] <= '9') digits++;
            r->from = number(v + 6, digits);
        }
    } else if (is_header(line, n, "x-linked-size", &v, &k)) r->linked_size = number(v, k);
    else if (is_header(line, n, "x-linked-etag", &v, &k) || (!*r->etag && is_header(line, n, "etag", &v, &k))) tag(r->etag, v, k);
    return n;
}

static size_t on_body(char *data, size_t one, size_t n, void *ud) {
    http_client *c = ud;
    n *= one;
    c->easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &c->reply->code);
    if (c->reply->code != 200 && c->reply->code != 206) return n; /* an error's page */
    c->st = c->q->body ? c->q->body(c->q->ud, c->reply, data, n) : RY_OK;
    return c->st == RY_OK ? n : 0;
}

static int on_progress(void *ud, curl_off_t total, curl_off_t now, curl_off_t up_total, curl_off_t up) {
    const http_client *c = ud;
    (void)total, (void)now, (void)up_total, (void)up;
    return c->q->stop && *c->q->stop;
}

ry_status http_run(http_client *c, http_reply *out, const http_get *q) {
    char why[CURL_ERROR_SIZE] = "", agent[48], range[32];
    *out = (http_reply){.length = -1, .from = -1, .linked_size = -1};
    c->q = q;
    c->reply = out;
    c->st = RY_OK;
    c->easy_reset(c->easy);
    snprintf(agent, sizeof agent, "rusty/%s", ry_version());
    snprintf(range, sizeof range, "%lld-", (long long)q->from);
    CURLcode bad = CURLE_OK;
#define SET(option, value) \
    if (bad == CURLE_OK) bad = c->easy_setopt(c->easy, option, value)
    SET(CURLOPT_URL, q->url);
    SET(CURLOPT_ERRORBUFFER, why);
    SET(CURLOPT_USERAGENT, agent);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_FOLLOWLOCATION, 1L);
    SET(CURLOPT_MAXREDIRS, 8L);
    SET(CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS)); /* a server that sends us to file:// is not followed */
    SET(CURLOPT_REDIR_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)(q->patience * 1000));
    SET(CURLOPT_LOW_SPEED_LIMIT, 1L);
    SET(CURLOPT_LOW_SPEED_TIME, (long)(q->patience < 1 ? 1 : q->patience));
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, c);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, c);
    SET(CURLOPT_NOPROGRESS, 0L);
    SET(CURLOPT_XFERINFOFUNCTION, on_progress);
    SET(CURLOPT_XFERINFODATA, c);
    if (q->from > 0) SET(CURLOPT_RANGE, range);
    if (q->token) {
        SET(CURLOPT_HTTPAUTH, (long)CURLAUTH_BEARER); /* curl keeps it from other hosts */
        SET(CURLOPT_XOAUTH2_BEARER, q->token);
    }
#undef SET
    if (bad == CURLE_OK) bad = c->easy_perform(c->easy);
    c->easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &out->code);
    if (c->st != RY_OK) return c->st;
    if (q->stop && *q->stop) return ry_fail(RY_ESTOPPED, "stopped on request");
    if (bad == CURLE_OK) return RY_OK;
    return ry_fail(RY_EIO, "%s: %s", q->url, *why ? why : c->easy_strerror(bad));
}
#endif
