/* http.h - one GET at a time through libcurl, which is loaded when it is first needed.  Knows no site and no file. */
#ifndef RY_IO_HTTP_H
#define RY_IO_HTTP_H
#include "base/status.h"

enum { HTTP_TAG = 160 };
typedef struct http_reply {
    long code;           /* 200, 206, 404, ...; of the last answer where the server sent us elsewhere */
    int64_t length;      /* Content-Length of the body; -1: not said */
    int64_t from;        /* 206: where the body begins, by Content-Range; -1: not said */
    char etag[HTTP_TAG]; /* without quotes and "W/"; "" if none. X-Linked-ETag before ETag, from the first answer that has it */
    int64_t linked_size; /* X-Linked-Size; -1 */
} http_reply;

typedef struct http_get {
    const char *url, *token;      /* token: sent as a bearer to the url's own host only; NULL: none */
    int64_t from;                 /* asks for the bytes from here on */
    double patience;              /* seconds without a byte until it is given up */
    /* Bytes of a body with code 200 or 206, in order; the reply's head is complete. Another status than OK ends the transfer with it. */
    ry_status (*body)(void *ud, const http_reply *r, const void *data, size_t n);
    void *ud;
    const volatile int *stop;     /* non-zero: ESTOPPED */
} http_get;

typedef struct http_client http_client; /* keeps connections between requests */
ry_status http_open(http_client **out); /* EUNSUPPORTED with what to install where libcurl is missing */
void http_close(http_client *c);
/* OK for any answer that came whole; EIO where none came, or broke off: the message says why, and trying again may help. */
ry_status http_run(http_client *c, http_reply *out, const http_get *q);
#endif
