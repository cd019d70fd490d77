/* net/tls_context.h - what a TLS context holds; for net/tls.c and net/tls_session.c only */
#ifndef NET_TLS_CONTEXT_H
#define NET_TLS_CONTEXT_H

#include <openssl/ssl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct tls_tickets;

struct tls_context {
	atomic_uint refs;
	bool server;
	bool verify;     /* client: chain and host name */
	int64_t expires; /* Unix seconds; 0 for clients */
	SSL_CTX *ctx;
	BIO_METHOD *socket_method; /* net/tls_session.c */
	uint8_t *alpn;             /* the wire's form (RFC 7301, section 3.1), or NULL */
	unsigned alpn_bytes;
	struct tls_tickets *tickets; /* a reference; NULL: OpenSSL's own for this context */
};

/* Tickets of this server context are under t's keys (net/tls_tickets.c). */
void tls_tickets_use(struct tls_context *context, struct tls_tickets *t);

/* The socket as OpenSSL sees it; NULL: out of memory. */
BIO_METHOD *tls_socket_method(void);

#endif
