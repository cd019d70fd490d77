/* cli/top_fetch.h - pages of a running broker over HTTP
 *
 * Bounded in size and time; redirects are not followed, as credentials would go along.
 *
 * Threads: one.
 */
#ifndef CLI_TOP_FETCH_H
#define CLI_TOP_FETCH_H

#include <stdbool.h>

#include "base/buf.h"
#include "cli/client.h"

#define TOP_PAGE_LARGEST (64u << 20)

struct top_fetch;

/* where: url (http or https, NULL: http://127.0.0.1:8080), user, password_file, ca, insecure. NULL after a
 * line on stderr. goes_on is asked about once a second while a page comes; false breaks it off. */
struct top_fetch *top_fetch_new(
	const struct client_options *where, bool (*goes_on)(void *context), void *context);
void top_fetch_free(struct top_fetch *f);

/* Without credentials. */
const char *top_fetch_shown(const struct top_fetch *f);

/* Replaces out with the page at this path. False: *why says what is wrong, valid until the next call. */
bool top_fetch_page(struct top_fetch *f, const char *path, struct buf *out, const char **why);

#endif
