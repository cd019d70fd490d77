/* cli/config_value.c - judges of single values, one for each type in config_type.def
 *
 * Pure: the text as it came, the row's bounds and words, and out comes a number or a text. What a
 * judge does not say, its row of config_type.def says for it.
 */
#include "cli/config_keys.h"

#include <crypt.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "cli/quantity.h"
#include "mqtt/filter.h"

#define TEXT_LARGEST 1024u
#define CENTRE_LARGEST 128u

static bool refuse(struct config_value *v, const char *wrong, const char *right)
{
	v->wrong = wrong;
	v->right = right;
	return false;
}

typedef const char *format_bound(uint64_t value, char out[QUANTITY_TEXT_BYTES]);

static const char *format_number(uint64_t value, char out[QUANTITY_TEXT_BYTES])
{
	snprintf(out, QUANTITY_TEXT_BYTES, "%" PRIu64, value);
	return out;
}

/* most 0: no upper bound. */
static bool in_bounds(
	const struct config_key *k, struct config_value *v, uint64_t n, format_bound *format)
{
	bool above = k->most && n > k->most;

	v->number = n;
	if (n >= k->least && !above)
		return true;
	v->wrong = above ? "is more than" : "is less than";
	format(above ? k->most : k->least, v->bound);
	return false;
}

bool type_text(const struct config_key *k, struct config_value *v)
{
	(void)k;
	if (v->text.n == 0)
		return refuse(v, "is empty", NULL);
	if (v->text.n > TEXT_LARGEST)
		return refuse(v, "is too long", NULL);
	v->made = mem_text_of(v->text);
	return true;
}

bool type_path(const struct config_key *k, struct config_value *v)
{
	(void)k;
	if (v->text.n == 0 || v->text.n >= PATH_MAX - TEXT_LARGEST)
		return false;
	v->made = config_path(v->folder, v->text.p);
	return true;
}

/* The place of the text among words parted by |, or -1. */
static int word_at(struct view text, const char *words)
{
	struct view rest = view_of(words);

	for (int i = 0; rest.p; i++)
		if (view_equal(view_cut(&rest, '|'), text))
			return i;
	return -1;
}

bool type_bool(const struct config_key *k, struct config_value *v)
{
	static const char words[] = "no|off|false|yes|on|true";
	int at = word_at(v->text, words);

	(void)k;
	v->number = at >= 3;
	return at >= 0;
}

bool type_choice(const struct config_key *k, struct config_value *v)
{
	int at = word_at(v->text, k->words);

	v->number = at < 0 ? 0 : (uint64_t)at;
	return at >= 0;
}

bool type_number(const struct config_key *k, struct config_value *v)
{
	uint64_t n;

	return quantity_number(v->text, &n) && in_bounds(k, v, n, format_number);
}

bool type_duration(const struct config_key *k, struct config_value *v)
{
	uint64_t ms;

	if (!quantity_duration(v->text, &ms))
		return refuse(v, quantity_number(v->text, &ms) ? "has no unit" : NULL, NULL);
	return in_bounds(k, v, ms, quantity_format_duration);
}

bool type_seconds(const struct config_key *k, struct config_value *v)
{
	if (!type_duration(k, v) || v->number % 1000)
		return false;
	v->number /= 1000;
	return true;
}

bool type_size(const struct config_key *k, struct config_value *v)
{
	uint64_t bytes;

	return quantity_size(v->text, &bytes) && in_bounds(k, v, bytes, quantity_format_size);
}

/* Of the journal; a share is made bytes once the folder is known. */
bool type_disk_size(const struct config_key *k, struct config_value *v)
{
	struct config *config = v->owner;

	config->journal_size_percent = 0;
	return quantity_share(v->text, &config->journal_size_percent) || type_size(k, v);
}

bool type_workers(const struct config_key *k, struct config_value *v)
{
	v->number = 0;
	return view_equal(v->text, VIEW("auto")) || type_number(k, v);
}

bool type_sync(const struct config_key *k, struct config_value *v)
{
	struct config *config = v->owner;
	bool always = view_equal(v->text, VIEW("always"));
	bool never = view_equal(v->text, VIEW("never"));

	if (!always && !never) {
		if (!type_duration(k, v))
			return false;
		config->journal_sync_ms = (uint32_t)v->number;
	}
	v->number = always  ? JOURNAL_SYNC_ALWAYS
		    : never ? JOURNAL_SYNC_NEVER
			    : JOURNAL_SYNC_INTERVAL;
	return true;
}

/* It stands in keys and between slashes. */
bool config_is_node_name(struct view text)
{
	for (size_t i = 0; i < text.n; i++) {
		char c = text.p[i];

		if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
			c != '-' && c != '_' && c != '.')
			return false;
	}
	return text.n > 0 && text.n < 64;
}

/* WTH 1.6, Guide to WIS 2.6.1.2: a top-level domain, a dash, a name. */
static bool is_centre(struct view text)
{
	size_t i = 0;

	while (i < text.n && text.p[i] >= 'a' && text.p[i] <= 'z')
		i++;
	if (i < 2 || i > 63 || text.n > CENTRE_LARGEST || i + 1 >= text.n || text.p[i] != '-')
		return false;
	for (; i < text.n; i++) {
		char c = text.p[i];

		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-')
			return false;
	}
	return text.p[text.n - 1] != '-';
}

bool type_centre(const struct config_key *k, struct config_value *v)
{
	(void)k;
	if (!is_centre(v->text))
		return false;
	v->made = mem_text_of(v->text);
	return true;
}

bool type_node(const struct config_key *k, struct config_value *v)
{
	(void)k;
	if (!config_is_node_name(v->text))
		return false;
	v->made = mem_text_of(v->text);
	return true;
}

bool type_client_certificate(const struct config_key *k, struct config_value *v)
{
	struct config_listener *l = v->owner;

	if (!type_choice(k, v))
		return false;
	l->client_certificate_required = v->number == 2;
	v->number = v->number > 0;
	return true;
}

/* --- of sources and accounts ------------------------------------------ */

bool type_kind(const struct config_key *k, struct config_value *v)
{
	enum source_kind kind;

	(void)k;
	if (!source_kind_by_text(v->text, &kind))
		return false;
	v->number = (uint64_t)kind;
	return true;
}

bool type_ca(const struct config_key *k, struct config_value *v)
{
	return view_equal(v->text, VIEW("system")) || type_path(k, v);
}

bool type_hierarchy(const struct config_key *k, struct config_value *v)
{
	return view_equal(v->text, VIEW("built-in")) || type_path(k, v);
}

bool type_tls_max(const struct config_key *k, struct config_value *v)
{
	int at = word_at(v->text, k->words);

	v->made = at == 1 ? mem_text("1.2") : NULL;
	return at >= 0;
}

bool type_protocol(const struct config_key *k, struct config_value *v)
{
	int at = word_at(v->text, k->words);

	v->number = at == 1 ? 4 : 5; /* protocol level 4 is MQTT 3.1.1 */
	return at >= 0;
}

bool type_until(const struct config_key *k, struct config_value *v)
{
	(void)k;
	v->number = 0;
	return view_equal(v->text, VIEW("none")) || quantity_date(v->text, &v->number);
}

bool type_hash(const struct config_key *k, struct config_value *v)
{
	int salt;

	(void)k;
	if (v->text.n < 8 || v->text.n >= CRYPT_OUTPUT_SIZE || v->text.p[0] != '$')
		return false;
	salt = crypt_checksalt(v->text.p);
	if (salt == CRYPT_SALT_METHOD_LEGACY)
		return refuse(v, "is of a method no longer safe", NULL);
	v->made = mem_text_of(v->text);
	return salt == CRYPT_SALT_OK || salt == CRYPT_SALT_TOO_CHEAP;
}

/* --- addresses -------------------------------------------------------- */

static bool judge_url(struct config_value *v, unsigned schemes)
{
	struct url url;
	const char *why = NULL;

	if (v->text.n > TEXT_LARGEST || url_parse(v->text, &url, &why) < 0)
		return refuse(v, v->text.n > TEXT_LARGEST ? "is too long" : why, NULL);
	if ((schemes & 1u << url.scheme) == 0)
		return refuse(v, "is of another kind of address", NULL);
	return true;
}

bool type_mqtt_url(const struct config_key *k, struct config_value *v)
{
	(void)k;
	if (!judge_url(v, 1u << URL_MQTT | 1u << URL_MQTTS | 1u << URL_WS | 1u << URL_WSS))
		return false;
	v->made = mem_text_of(v->text);
	return true;
}

bool type_listener_url(const struct config_key *k, struct config_value *v)
{
	struct url url;
	struct address at;
	const char *why = NULL;

	(void)k;
	v->made = NULL;
	if (!judge_url(v, (1u << URL_REDIS) - 1) || url_parse(v->text, &url, &why) < 0)
		return false;
	if (url.user[0] || url.password[0])
		return refuse(v, "holds a user name or password", NULL);
	if (strcmp(url.host, "localhost") != 0 && !address_parse(view_of(url.host), url.port, &at))
		return refuse(v, "does not name an IP address", NULL);
	v->made = mem_text_of(v->text);
	return true;
}

bool type_item_web_url(const struct config_key *k, struct config_value *v)
{
	(void)k;
	return judge_url(v, 1u << URL_HTTP | 1u << URL_HTTPS);
}

bool type_item_redis_url(const struct config_key *k, struct config_value *v)
{
	(void)k;
	return judge_url(v, 1u << URL_REDIS | 1u << URL_REDISS);
}

bool type_item_address(const struct config_key *k, struct config_value *v)
{
	struct address at;

	(void)k;
	return address_parse(v->text, 0, &at);
}

bool type_item_network(const struct config_key *k, struct config_value *v)
{
	struct address_block block;

	(void)k;
	return address_block_parse(v->text, &block);
}

/* --- items of other lists --------------------------------------------- */

bool type_item_text(const struct config_key *k, struct config_value *v)
{
	(void)k;
	return v->text.n > 0 && v->text.n <= TEXT_LARGEST;
}

bool type_item_word(const struct config_key *k, struct config_value *v)
{
	return word_at(v->text, k->words) >= 0;
}

bool type_item_path(const struct config_key *k, struct config_value *v)
{
	return type_item_text(k, v) && v->text.p[0] == '/';
}

/* The same subscription may not stand behind $share: it would belong to a group. */
bool type_item_filter(const struct config_key *k, struct config_value *v)
{
	(void)k;
	return filter_is_valid(v->text) && !view_starts_with(v->text, VIEW("$share/"));
}

bool type_item_centre(const struct config_key *k, struct config_value *v)
{
	(void)k;
	return is_centre(v->text);
}
