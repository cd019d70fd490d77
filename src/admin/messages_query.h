/* admin/messages_query.h - the parameters of /api/v1/messages, read and written
 *
 * Pure. What is not known, twice there, or means nothing is refused with a text for people.
 */
#ifndef ADMIN_MESSAGES_QUERY_H
#define ADMIN_MESSAGES_QUERY_H

#include <stdint.h>

#include "admin/collection.h"
#include "base/buf.h"
#include "broker/history.h"

#define MESSAGES_LIMIT 100u
#define MESSAGES_LIMIT_MOST 1000u

struct messages_query {
	struct buf topic;  /* a valid filter; empty: none given */
	uint64_t since_ms; /* 0: none given */
	uint64_t until_ms; /* UINT64_MAX: none given */
	uint64_t after;    /* position to go on from; HISTORY_START: none given */
	uint32_t limit;
	enum collection_form form;
};

/* query: as it stands behind the `?`. 0; ERR_MALFORMED and *why (static): nothing to free. */
int messages_query_read(
	struct view query, uint64_t now_ms, struct messages_query *out, const char **why);
void messages_query_fini(struct messages_query *q);

/* Appends the address of what follows from position `after` on; times are absolute in it. */
void messages_query_write(const struct messages_query *q, uint64_t after, struct buf *out);

#endif
