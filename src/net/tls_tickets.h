/* net/tls_tickets.h - the keys of session tickets, one set for all server contexts of a process
 *
 * A ticket is the state of a session, encrypted for ourselves and kept by the client: who brings it
 * back is spared most of the handshake, on any worker and listener that asks for client certificates
 * in the same way, and after a certificate was replaced as well. A key makes tickets for
 * TLS_TICKET_KEY_MS and is then good for so long to read them; what is older is no fault, only a
 * full handshake. Keys are random and never leave the memory of the process.
 *
 * Threads: any; reference-counted.
 */
#ifndef NET_TLS_TICKETS_H
#define NET_TLS_TICKETS_H

#include <stdint.h>

#define TLS_TICKET_KEY_MS (12ull * 3600u * 1000u)

struct tls_tickets;

/* Its first key is of now_ms, a monotonic clock. NULL: OpenSSL gave no random numbers. */
struct tls_tickets *tls_tickets_new(uint64_t now_ms);
struct tls_tickets *tls_tickets_ref(struct tls_tickets *t);
void tls_tickets_unref(struct tls_tickets *t); /* NULL is harmless */

/* Changes the key when its time is over. To be called now and then. */
void tls_tickets_turn(struct tls_tickets *t, uint64_t now_ms);

#endif
