/* net/tls_session.h - one TLS session over a non-blocking socket; for net/conn.c only
 *
 * No function blocks. A result of 0 means that the socket has to become readable or
 * writable first; calling again after any edge is right, whichever it was.
 *
 * After a negative result tls_why() tells the cause, and every further call gives
 * the same result again.
 */
#ifndef NET_TLS_SESSION_H
#define NET_TLS_SESSION_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "net/tls.h"

/* What one TLS record holds at most (RFC 8446, section 5.1). */
#define TLS_RECORD_BYTES 16384

struct tls;

/* Borrows fd, refs the context. server_name: whom a client expects (SNI and verification), NULL for
 * a server. NULL: OpenSSL gave none. */
struct tls *tls_session_new(struct tls_context *context, int fd, const char *server_name);
void tls_session_free(struct tls *t);

/* A client's, before the handshake: the one protocol it offers by ALPN (RFC 7301), instead of the
 * context's. False: OpenSSL refused. */
bool tls_offer(struct tls *t, const char *protocol);

/* 1 done, 0 not yet, or negative. */
int tls_handshake(struct tls *t);

/* Up to n bytes: >0 how many, 0 nothing for now, ERR_CLOSED the peer has ended, or negative. */
ssize_t tls_read(struct tls *t, uint8_t *p, size_t n);

/* Sends at most one record of n > 0 bytes. >0 bytes taken; 0: the socket is full, and the very same
 * bytes, of which OpenSSL holds a record already, have to be given again before any others (more may
 * follow behind them); or negative. */
ssize_t tls_write(struct tls *t, const uint8_t *p, size_t n);

/* Tells the peer that nothing follows, if the socket takes it. */
void tls_goodbye(struct tls *t);

/* 0, or what failed: fewer bytes than asked for may have come before it. */
int tls_error(const struct tls *t);

/* Why the session failed; valid as long as the session. */
const char *tls_why(const struct tls *t);

/* Common name of the peer's verified certificate; false: none, or longer than size - 1. */
bool tls_peer_name(const struct tls *t, char *out, size_t size);
/* Its whole subject as RFC 2253 writes it, like `openssl x509 -subject -nameopt RFC2253`. */
bool tls_peer_subject(const struct tls *t, char *out, size_t size);

#endif
