/* net/http_server.h - answers HTTP requests on connections of one loop
 *
 * Each request is handed over whole and answered in the same call. Connections are
 * kept alive; pipelined requests are answered in order, the next one only after most
 * of the answer before it has left, so that a peer cannot pile answers up in memory.
 *
 * An answer of status 101 with `take` set hands the connection on: when the turn ends, take() is
 * called and moves it away (conn_move()); bytes behind the request go with it. Who does not move it
 * has refused it, and it is closed.
 *
 * Whoever is slow is closed: in the TLS handshake, in a request's head or body,
 * without a request, and when nothing of an answer could be sent for a while.
 *
 * Threads: the loop's.
 */
#ifndef NET_HTTP_SERVER_H
#define NET_HTTP_SERVER_H

#include "net/arrival.h"
#include "net/http.h"
#include "net/loop.h"

struct http_server;

/* Fills *answer, which is zeroed; its body and fields are the server's afterwards, its texts are borrowed until
 * the call returns to the server. A status left 0 is answered as 500. HEAD is handed over like GET
 * (r->method tells) and its body is not sent. All arguments are borrowed during the call. */
typedef void http_on_request(
	void *context, const struct http_request *r, struct view body, struct http_answer *answer);

/* Inside on_request: no answer yet. What is filled in is left alone, the connection reads nothing more,
 * and after http_server_release() (within the time limit of an answer) the same request is handed over
 * again. The ticket is to be released in any case, also when the client has gone meanwhile. */
struct http_hold;
struct http_hold *http_server_hold(const struct http_request *r);
/* Not from inside on_request. Frees the ticket. The server still exists. */
void http_server_release(struct http_hold *hold);
/* Instead of it: *answer, as on_request would have filled it, is what the request gets. Body and fields are
 * taken; the texts are borrowed until the client has its answer or is gone. */
void http_server_answer(struct http_hold *hold, struct http_answer *answer);

struct http_server_settings {
	uint32_t connections_most; /* further ones are closed at once; 0: 1000 */
	uint32_t head_ms;          /* TLS handshake, and a head from its first byte; 0: 10 s */
	uint32_t body_ms;          /* a body; 0: 30 s */
	uint32_t idle_ms;          /* no request, or nothing of an answer taken; 0: 30 s */
};

/* settings: copied, NULL: all defaults. */
struct http_server *http_server_new(struct loop *l, const struct http_server_settings *settings,
	http_on_request *on_request, void *context);

/* connections_most from now on; those there are stay. */
void http_server_set_most(struct http_server *s, uint32_t connections_most);

/* Closes all connections at once. Not from inside on_request. */
void http_server_free(struct http_server *s);

/* Takes a->fd. */
void http_server_accept(struct http_server *s, const struct arrival *a);

uint32_t http_server_connections(const struct http_server *s);

/* What is under way: bytes of answers not sent yet, and how many connections of this peer's host have a
 * request held or such an answer. */
struct http_server_load {
	uint64_t unsent_bytes;
	uint32_t of_peer;
};
struct http_server_load http_server_load(const struct http_server *s, const struct address *peer);

#endif
