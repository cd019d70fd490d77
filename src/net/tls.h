/* net/tls.h - TLS 1.2 and 1.3 by OpenSSL 3
 *
 * A context holds certificates and settings and may be shared by connections of one loop
 * each or of many (it is reference-counted and immutable after it was made). A session
 * (struct tls) belongs to one connection and is only touched by net/conn.c.
 */
#ifndef NET_TLS_H
#define NET_TLS_H

#include <stdbool.h>
#include <stdint.h>

struct tls_context;
struct tls_tickets; /* net/tls_tickets.h */

struct tls_server_settings {
	const char *certificate; /* PEM file, full chain */
	const char *key;         /* PEM file */
	const char *client_ca;   /* PEM file, NULL: client certificates are not asked for; with CRLs
	                          * in it, revoked ones are refused */
	bool client_certificate_required;
	const char *alpn; /* comma-separated, "mqtt" or "http/1.1"; NULL: none. Who offers names
	                   * and none of these is refused (RFC 7301, section 3.2) */
	struct tls_tickets *tickets; /* reffed; NULL: tickets are good for this context only */
};

struct tls_client_settings {
	bool verify;     /* certificate chain and host name */
	const char *ca;  /* PEM file; NULL: the system's */
	const char *max; /* "1.2": at most; NULL: newest */
	bool legacy;     /* old ciphers and renegotiation for old peers */
	const char *alpn;
};

/* 0, ERR_TLS or ERR_SYSTEM; *why is then a text to free() with file and cause. */
int tls_server_new(struct tls_context **out, const struct tls_server_settings *s, char **why);
int tls_client_new(struct tls_context **out, const struct tls_client_settings *s, char **why);
struct tls_context *tls_ref(struct tls_context *t);
void tls_unref(struct tls_context *t);

/* When the first certificate of the server's chain ends, Unix seconds; 0 for clients. */
int64_t tls_expires(const struct tls_context *t);

/* Does the server's certificate vouch for itself, so that clients can verify nothing by it? */
bool tls_is_self_signed(const struct tls_context *t);

#endif
