/* catalogue/fetch.h - one catalogue's whole list over HTTPS, page after page
 *
 * libcurl gets the pages; each is read while it arrives (wis2/record_list.h). Everything a catalogue
 * could do without end has a bound: bytes after unpacking, pages, redirects, silence, time in all.
 *
 * From https nothing leads to http, and the next page lies at the same scheme, host and port as the
 * one that names it. Certificates are judged by the system's authorities, or those that SSL_CERT_FILE
 * and SSL_CERT_DIR name. A proxy is taken from the environment, as libcurl does.
 *
 * Threads: one fetch at a time; fetcher_stop() from any.
 */
#ifndef CATALOGUE_FETCH_H
#define CATALOGUE_FETCH_H

#include <stdbool.h>
#include <stdint.h>

#include "catalogue/book.h"
#include "wis2/record_list.h"

#define FETCH_WHY_BYTES 240u

struct fetch_limits {
	uint64_t bytes; /* of all pages, unpacked */
	uint32_t pages;
	uint32_t redirects; /* of one page */
	uint32_t connect_ms;
	uint32_t silence_s; /* with less than 100 bytes a second */
	uint32_t total_ms;
};
extern const struct fetch_limits fetch_limits_default;

enum fetch_outcome {
	FETCH_LIST,      /* a whole list was read */
	FETCH_UNCHANGED, /* the catalogue says that it is as before */
	FETCH_FAILED,
	FETCH_STOPPED, /* fetcher_stop() */
};

struct fetch_request {
	const char *url;
	const struct book_list *known; /* its etag and last_modified are sent */
	record_on_pair *on_pair;       /* what came before a failure counts for nothing */
	void *context;
};

struct fetch_result {
	struct record_list_figures figures;
	uint64_t bytes;
	uint32_t pages;
	char etag[BOOK_TAG_BYTES]; /* for the next time; "" for lists of several pages */
	char last_modified[BOOK_TAG_BYTES];
	char why[FETCH_WHY_BYTES]; /* of a failure */
};

struct fetcher;

struct fetcher *fetcher_new(const struct fetch_limits *limits);
void fetcher_free(struct fetcher *f);
/* The fetch under way, and any later one, ends at once. */
void fetcher_stop(struct fetcher *f);

/* Waits until it is done. *result is overwritten. */
enum fetch_outcome fetch_records(
	struct fetcher *f, const struct fetch_request *request, struct fetch_result *result);

/* The address without user name and password, as shown to people; the caller frees. NULL: libcurl
 * does not take it for an address. */
char *fetch_shown(const char *url);

#endif
