/* catalogue/fetch.c - the addresses of a list's pages, and the transfer of each
 *
 *     configured ---> asked for as JSON when it ends in /items ---> page ---> its link "next" ---> ...
 *                                                                    |
 *                                              record_list_feed() <--+ as bytes arrive
 *
 * The multi interface carries the one transfer, because only that can be woken from outside.
 */
#include "catalogue/fetch.h"

#include <curl/curl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "base/clock.h"
#include "base/mem.h"

#define CLOCKS_APART_MS 10u
#define SLOW_BYTES 100L /* a second */
#define PAGE_RECORDS "10000"
#define POLL_MS 1000

const struct fetch_limits fetch_limits_default = {
	.bytes = 1024u << 20,
	.pages = 5000,
	.redirects = 5,
	.connect_ms = 15000,
	.silence_s = 20,
	.total_ms = 5 * 60 * 1000,
};

struct fetcher {
	struct fetch_limits limits;
	CURLM *multi;
	atomic_bool stopping;
};

/* One list being fetched. */
struct fetch {
	struct fetcher *fetcher;
	const struct fetch_request *request;
	struct fetch_result *result;
	CURL *easy;
	CURLU *at;  /* the page's address, without credentials */
	char *user; /* by libcurl, or NULL */
	char *password;
	bool is_https;
	uint64_t end_ms;          /* of all */
	struct record_list *list; /* of this page */
	char error[CURL_ERROR_SIZE];
};

/* --- addresses -------------------------------------------------------- */

static bool ends_in_items(const char *path)
{
	return view_ends_with(view_of(path), VIEW("/items"));
}

static void add_query(CURLU *at, const char *name, const char *whole)
{
	char *query = NULL;
	bool has = curl_url_get(at, CURLUPART_QUERY, &query, 0) == CURLUE_OK &&
		   strstr(query, name) != NULL;

	if (!has)
		curl_url_set(at, CURLUPART_QUERY, whole, CURLU_APPENDQUERY);
	curl_free(query);
}

/* OGC API - Records answers in HTML unless asked otherwise. */
static void ask_for_json(CURLU *at)
{
	char *path = NULL;

	if (curl_url_get(at, CURLUPART_PATH, &path, 0) == CURLUE_OK && ends_in_items(path)) {
		add_query(at, "f=", "f=json");
		add_query(at, "limit=", "limit=" PAGE_RECORDS);
	}
	curl_free(path);
}

static CURLU *parse(const char *url)
{
	CURLU *at = curl_url();

	if (at && curl_url_set(at, CURLUPART_URL, url, 0) == CURLUE_OK)
		return at;
	curl_url_cleanup(at);
	return NULL;
}

static char *part_of(CURLU *at, CURLUPart part)
{
	char *text = NULL;

	return curl_url_get(at, part, &text, CURLU_DEFAULT_PORT) == CURLUE_OK ? text : NULL;
}

static void drop_credentials(CURLU *at)
{
	curl_url_set(at, CURLUPART_USER, NULL, 0);
	curl_url_set(at, CURLUPART_PASSWORD, NULL, 0);
}

char *fetch_shown(const char *url)
{
	CURLU *at = parse(url);
	char *text, *copy;

	if (at == NULL)
		return NULL;
	drop_credentials(at);
	curl_url_set(at, CURLUPART_FRAGMENT, NULL, 0);
	text = NULL;
	curl_url_get(at, CURLUPART_URL, &text, 0);
	copy = mem_text(text);
	curl_free(text);
	curl_url_cleanup(at);
	return copy;
}

static bool same_part(CURLU *a, CURLU *b, CURLUPart part)
{
	char *one = part_of(a, part), *other = part_of(b, part);
	bool same = one && other && strcasecmp(one, other) == 0;

	curl_free(one);
	curl_free(other);
	return same;
}

static bool same_place(CURLU *a, CURLU *b)
{
	return same_part(a, b, CURLUPART_SCHEME) && same_part(a, b, CURLUPART_HOST) &&
	       same_part(a, b, CURLUPART_PORT);
}

/* --- failures --------------------------------------------------------- */

static enum fetch_outcome fail(struct fetch *f, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
static enum fetch_outcome fail(struct fetch *f, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(f->result->why, sizeof(f->result->why), format, args);
	va_end(args);
	return FETCH_FAILED;
}

static enum fetch_outcome fail_transfer(struct fetch *f, CURLcode code)
{
	if (record_list_fault(f->list)[0])
		return fail(f, "%s", record_list_fault(f->list));
	if (f->result->bytes > f->fetcher->limits.bytes)
		return fail(f, "more than %llu MiB",
			(unsigned long long)f->fetcher->limits.bytes >> 20);
	/* curl's milliseconds begin at other moments than ours. */
	if (code == CURLE_OPERATION_TIMEDOUT && clock_mono_ms() + CLOCKS_APART_MS >= f->end_ms)
		return fail(f, "not done after %u s", f->fetcher->limits.total_ms / 1000);
	return fail(f, "%s%s%s", curl_easy_strerror(code), f->error[0] ? ": " : "", f->error);
}

/* --- one page --------------------------------------------------------- */

static size_t on_bytes(char *bytes, size_t one, size_t n, void *context)
{
	struct fetch *f = context;

	(void)one;
	f->result->bytes += n;
	if (f->result->bytes > f->fetcher->limits.bytes || record_list_feed(f->list, bytes, n) < 0)
		return 0;
	return n;
}

static void set_tls(CURL *easy)
{
	const char *file = getenv("SSL_CERT_FILE"), *folder = getenv("SSL_CERT_DIR");

	if (file && file[0])
		curl_easy_setopt(easy, CURLOPT_CAINFO, file);
	if (folder && folder[0])
		curl_easy_setopt(easy, CURLOPT_CAPATH, folder);
}

static void set_bounds(struct fetch *f)
{
	const struct fetch_limits *l = &f->fetcher->limits;
	const char *schemes = f->is_https ? "https" : "http,https";
	uint64_t now = clock_mono_ms();

	curl_easy_setopt(f->easy, CURLOPT_PROTOCOLS_STR, schemes);
	curl_easy_setopt(f->easy, CURLOPT_REDIR_PROTOCOLS_STR, schemes);
	curl_easy_setopt(f->easy, CURLOPT_FOLLOWLOCATION, 1L);
	curl_easy_setopt(f->easy, CURLOPT_MAXREDIRS, (long)l->redirects);
	curl_easy_setopt(f->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)l->connect_ms);
	curl_easy_setopt(f->easy, CURLOPT_LOW_SPEED_LIMIT, SLOW_BYTES);
	curl_easy_setopt(f->easy, CURLOPT_LOW_SPEED_TIME, (long)l->silence_s);
	curl_easy_setopt(
		f->easy, CURLOPT_TIMEOUT_MS, now < f->end_ms ? (long)(f->end_ms - now) : 1L);
	curl_easy_setopt(f->easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(f->easy, CURLOPT_QUICK_EXIT, 1L);
}

static struct curl_slist *headers_of(const struct fetch *f)
{
	const struct book_list *known = f->result->pages == 0 ? f->request->known : NULL;
	struct curl_slist *headers = curl_slist_append(NULL,
		"Accept: application/geo+json, application/json, application/zip;q=0.9, "
		"text/csv;q=0.8, text/plain;q=0.8, */*;q=0.1");
	char line[BOOK_TAG_BYTES + 32];

	if (known && known->etag[0]) {
		snprintf(line, sizeof(line), "If-None-Match: %s", known->etag);
		headers = curl_slist_append(headers, line);
	}
	if (known && known->last_modified[0]) {
		snprintf(line, sizeof(line), "If-Modified-Since: %s", known->last_modified);
		headers = curl_slist_append(headers, line);
	}
	return headers;
}

static void set_request(struct fetch *f, struct curl_slist *headers)
{
	curl_easy_reset(f->easy);
	set_bounds(f);
	set_tls(f->easy);
	f->error[0] = '\0';
	curl_easy_setopt(f->easy, CURLOPT_CURLU, f->at);
	curl_easy_setopt(f->easy, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(f->easy, CURLOPT_USERAGENT, "isobar/" ISOBAR_VERSION);
	curl_easy_setopt(f->easy, CURLOPT_USERNAME, f->user);
	curl_easy_setopt(f->easy, CURLOPT_PASSWORD, f->password);
	curl_easy_setopt(f->easy, CURLOPT_ACCEPT_ENCODING, "gzip");
	curl_easy_setopt(f->easy, CURLOPT_FAILONERROR, 1L);
	curl_easy_setopt(f->easy, CURLOPT_ERRORBUFFER, f->error);
	curl_easy_setopt(f->easy, CURLOPT_WRITEFUNCTION, on_bytes);
	curl_easy_setopt(f->easy, CURLOPT_WRITEDATA, f);
}

/* -1: stopped; else a CURLcode. */
static int transfer(struct fetch *f)
{
	struct fetcher *fetcher = f->fetcher;
	int running = 1, code = -1, left;
	CURLMsg *message;

	curl_multi_add_handle(fetcher->multi, f->easy);
	while (running && !atomic_load(&fetcher->stopping)) {
		if (curl_multi_perform(fetcher->multi, &running) != CURLM_OK)
			break;
		if (running)
			curl_multi_poll(fetcher->multi, NULL, 0, POLL_MS, NULL);
	}
	message = curl_multi_info_read(fetcher->multi, &left);
	if (message && message->msg == CURLMSG_DONE)
		code = (int)message->data.result;
	curl_multi_remove_handle(fetcher->multi, f->easy);
	return code;
}

/* A tag that does not fit, or could not be sent back, is none. */
static void keep_tag(CURL *easy, const char *name, char out[BOOK_TAG_BYTES])
{
	struct curl_header *header;

	out[0] = '\0';
	if (curl_easy_header(easy, name, 0, CURLH_HEADER, -1, &header) != CURLHE_OK ||
		strlen(header->value) >= BOOK_TAG_BYTES)
		return;
	for (const char *p = header->value; *p; p++) {
		if (*p < ' ' || *p > '~')
			return;
	}
	memcpy(out, header->value, strlen(header->value) + 1);
}

static void add_figures(struct fetch *f)
{
	struct record_list_figures page = record_list_figures(f->list);

	f->result->figures.records += page.records;
	f->result->figures.refused += page.refused;
}

static enum fetch_outcome fetch_page(struct fetch *f)
{
	struct curl_slist *headers = headers_of(f);
	long status = 0;
	int code;

	set_request(f, headers);
	code = transfer(f);
	curl_slist_free_all(headers);
	if (code < 0)
		return FETCH_STOPPED;
	if (code != CURLE_OK)
		return fail_transfer(f, (CURLcode)code);
	curl_easy_getinfo(f->easy, CURLINFO_RESPONSE_CODE, &status);
	if (status == 304 && f->result->pages == 0)
		return FETCH_UNCHANGED;
	if (status != 200)
		return fail(f, "status %ld instead of 200", status);
	if (record_list_finish(f->list) < 0)
		return fail(f, "%s", record_list_fault(f->list));
	if (f->result->pages++ == 0) {
		keep_tag(f->easy, "ETag", f->result->etag);
		keep_tag(f->easy, "Last-Modified", f->result->last_modified);
	}
	add_figures(f);
	return FETCH_LIST;
}

/* --- from page to page ------------------------------------------------ */

/* The page's own address, where redirects led. */
static CURLU *place_of_page(struct fetch *f)
{
	const char *url = NULL;

	curl_easy_getinfo(f->easy, CURLINFO_EFFECTIVE_URL, &url);
	return url ? parse(url) : NULL;
}

static enum fetch_outcome follow(struct fetch *f, const char *next)
{
	CURLU *from = place_of_page(f), *to = from ? curl_url_dup(from) : NULL;
	enum fetch_outcome outcome = FETCH_LIST;

	if (to == NULL || curl_url_set(to, CURLUPART_URL, next, 0) != CURLUE_OK)
		outcome = fail(f, "the link to the next page is no address: %.100s", next);
	else if (!same_place(from, to))
		outcome = fail(f, "the next page is at another place: %.100s", next);
	else if (f->result->pages >= f->fetcher->limits.pages)
		outcome = fail(f, "more than %u pages", f->fetcher->limits.pages);
	curl_url_cleanup(from);
	if (outcome != FETCH_LIST) {
		curl_url_cleanup(to);
		return outcome;
	}
	drop_credentials(to);
	curl_url_cleanup(f->at);
	f->at = to;
	/* A tag speaks for one page only. */
	f->result->etag[0] = f->result->last_modified[0] = '\0';
	return FETCH_LIST;
}

static enum fetch_outcome fetch_pages(struct fetch *f)
{
	enum fetch_outcome outcome;
	char *next;

	do {
		f->list = record_list_new(f->request->on_pair, f->request->context);
		outcome = fetch_page(f);
		next = outcome == FETCH_LIST && record_list_next(f->list).p
			       ? mem_text_of(record_list_next(f->list))
			       : NULL;
		record_list_free(f->list);
		if (next)
			outcome = follow(f, next);
		free(next);
	} while (outcome == FETCH_LIST && next);
	return outcome;
}

enum fetch_outcome fetch_records(
	struct fetcher *fetcher, const struct fetch_request *request, struct fetch_result *result)
{
	struct fetch f = {.fetcher = fetcher, .request = request, .result = result};
	enum fetch_outcome outcome;
	char *scheme;

	*result = (struct fetch_result){0};
	f.at = parse(request->url);
	if (f.at == NULL)
		return fail(&f, "not an address");
	f.end_ms = clock_mono_ms() + fetcher->limits.total_ms;
	curl_url_get(f.at, CURLUPART_USER, &f.user, CURLU_URLDECODE);
	curl_url_get(f.at, CURLUPART_PASSWORD, &f.password, CURLU_URLDECODE);
	drop_credentials(f.at);
	scheme = part_of(f.at, CURLUPART_SCHEME);
	f.is_https = scheme && strcmp(scheme, "https") == 0;
	curl_free(scheme);
	ask_for_json(f.at);
	f.easy = curl_easy_init();
	outcome = f.easy ? fetch_pages(&f) : fail(&f, "libcurl cannot begin");
	curl_easy_cleanup(f.easy);
	curl_url_cleanup(f.at);
	curl_free(f.user);
	curl_free(f.password);
	return outcome;
}

/* --- life ------------------------------------------------------------- */

struct fetcher *fetcher_new(const struct fetch_limits *limits)
{
	struct fetcher *f = mem_new(sizeof(*f));

	f->limits = *limits;
	curl_global_init(CURL_GLOBAL_DEFAULT);
	f->multi = curl_multi_init();
	return f;
}

void fetcher_free(struct fetcher *f)
{
	if (f == NULL)
		return;
	curl_multi_cleanup(f->multi);
	curl_global_cleanup();
	free(f);
}

void fetcher_stop(struct fetcher *f)
{
	atomic_store(&f->stopping, true);
	curl_multi_wakeup(f->multi);
}
