/* admin/access.h - who may see a page
 *
 * What `http_public` names is anybody's. For the rest HTTP Basic (RFC 7617) with an account of the
 * broker: `messages` for one that may replay, everything else for an admin or one whose `pages` name
 * it, as those of a Global Monitor name `metrics` (MON-06). A login by a secret is
 * answered later (net/http_server.h, http_server_hold) and then remembered for a minute, as whoever
 * looks at a page asks for it again and again; the hash of what was sent is kept, not the password.
 *
 * Threads: one per loop, on that loop.
 */
#ifndef ADMIN_ACCESS_H
#define ADMIN_ACCESS_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/broker.h"
#include "net/http.h"

enum page {
	PAGE_FREE, /* for anybody, always: health */
#define X(symbol, word) PAGE_##symbol,
#include "admin/page.def"
#undef X
};

/* The set of pages these words name. */
uint32_t access_pages(char *const *words, uint32_t n);

struct access;

struct access *access_new(struct broker_worker *w, struct loop *l);
/* The loop no longer runs; before its HTTP server and the broker go. */
void access_free(struct access *a);

/* May the request have this page, of which those in `public` are anybody's? False: *answer is filled
 * with 401 or 403, or the request is held. generation: another one than before makes all forgotten.
 * *user: the account that has logged in, borrowed for the request; {NULL,0} for anybody. Who sends
 * credentials for `messages` is asked for the right ones even where that page is anybody's. */
bool access_allows(struct access *a, enum page page, uint32_t public, uint32_t generation,
	const struct http_request *r, struct http_answer *answer, struct view *user);

#endif
