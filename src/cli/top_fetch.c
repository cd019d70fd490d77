#include "cli/top_fetch.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "cli/cli.h"

#define HERE "http://127.0.0.1:8080"
#define CONNECT_S 5L
#define TOTAL_S 20L

struct top_fetch {
	CURL *easy;
	struct client_target target;
	char why[CURL_ERROR_SIZE + 64];
	char error[CURL_ERROR_SIZE];
	bool (*goes_on)(void *context);
	void *context;
	struct buf *page;
};

static size_t on_bytes(char *bytes, size_t one, size_t n, void *context)
{
	struct top_fetch *f = context;

	(void)one;
	if (buf_length(f->page) + n > TOP_PAGE_LARGEST)
		return 0;
	buf_append(f->page, bytes, n);
	return n;
}

static int on_progress(void *context, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
	struct top_fetch *f = context;

	(void)a, (void)b, (void)c, (void)d;
	return f->goes_on && !f->goes_on(f->context);
}

static void set_account(struct top_fetch *f)
{
	if (f->target.anonymous || f->target.url.password[0] == '\0')
		return;
	curl_easy_setopt(f->easy, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
	curl_easy_setopt(f->easy, CURLOPT_USERNAME, f->target.url.user);
	curl_easy_setopt(f->easy, CURLOPT_PASSWORD, f->target.url.password);
}

static void set_options(struct top_fetch *f, const struct client_options *where)
{
	CURL *easy = f->easy;

	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_PROXY, "");
	curl_easy_setopt(easy, CURLOPT_USERAGENT, "isobar-top");
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT, CONNECT_S);
	curl_easy_setopt(easy, CURLOPT_TIMEOUT, TOTAL_S);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, f->error);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_bytes);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, f);
	curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, on_progress);
	curl_easy_setopt(easy, CURLOPT_XFERINFODATA, f);
	curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 0L);
	if (where->ca)
		curl_easy_setopt(easy, CURLOPT_CAINFO, where->ca);
	if (where->insecure) {
		curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
		curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
	}
	set_account(f);
}

struct top_fetch *top_fetch_new(
	const struct client_options *where, bool (*goes_on)(void *context), void *context)
{
	struct top_fetch *f = mem_new(sizeof(*f));

	f->goes_on = goes_on;
	f->context = context;
	if (cli_client_target_page(&f->target, where, HERE) != CLI_DONE) {
		free(f);
		return NULL;
	}
	f->easy = curl_easy_init();
	if (f->easy == NULL) {
		fprintf(stderr, "isobar top: libcurl cannot start\n");
		free(f);
		return NULL;
	}
	set_options(f, where);
	return f;
}

void top_fetch_free(struct top_fetch *f)
{
	if (f == NULL)
		return;
	curl_easy_cleanup(f->easy);
	explicit_bzero(&f->target, sizeof(f->target));
	free(f);
}

const char *top_fetch_shown(const struct top_fetch *f)
{
	return f->target.shown;
}

bool top_fetch_page(struct top_fetch *f, const char *path, struct buf *out, const char **why)
{
	char *url = mem_printf("%s%s", f->target.shown, path);
	long status = 0;
	CURLcode code;

	buf_clear(out);
	f->page = out;
	f->error[0] = '\0';
	curl_easy_setopt(f->easy, CURLOPT_URL, url);
	code = curl_easy_perform(f->easy);
	curl_easy_getinfo(f->easy, CURLINFO_RESPONSE_CODE, &status);
	if (code != CURLE_OK)
		snprintf(f->why, sizeof(f->why), "%s: %s", path,
			f->error[0] ? f->error : curl_easy_strerror(code));
	else if (status == 401)
		snprintf(f->why, sizeof(f->why), "%s: asks for an account: give -u and -P", path);
	else
		snprintf(f->why, sizeof(f->why), "%s: answered with status %ld", path, status);
	*why = f->why;
	free(url);
	return code == CURLE_OK && status == 200;
}
