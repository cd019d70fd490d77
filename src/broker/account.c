/* broker/account.c - who may connect, read and write
 *
 * Rights are topic filters. In `read` and `write` %u and %c stand for the user name and the client
 * identifier and are put in at use; `deny` has no placeholders. Both names are chosen outside, so a
 * name that could change the shape of a filter (one that is empty, holds + # / or NUL, or begins a
 * filter with $) is never put in: the right it would have given is not given.
 *
 * **Invariant:** no client identifier or user name gives a right that another one has not.
 */
#include "broker/account.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/mem.h"
#include "broker/throttle.h"
#include "mqtt/filter.h"

/* Where the numbers of accounts begin among publishers; sources are below. */
#define ACCOUNT_NUMBER_FIRST 0x8000u

#define HOUR_MS (3600u * 1000u)

void account_default(struct account *a)
{
	*a = (struct account){
		.max_qos = 2,
		.session_expiry_ms = UINT64_MAX,
		.replay_ms = 24u * HOUR_MS,
		.number = ACCOUNT_NUMBER_FIRST,
	};
	gate_settings_default(&a->policy.settings);
	a->policy.channels = GATE_ORIGIN | GATE_CACHE | GATE_MONITOR;
	a->policy.any_centre = true;
}

static void free_texts(char **texts, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		free(texts[i]);
	free(texts);
}

void account_fini(struct account *a)
{
	free(a->user);
	free(a->password);
	free(a->password_hash);
	free(a->certificate);
	free_texts(a->read, a->read_count);
	free_texts(a->write, a->write_count);
	free_texts(a->deny, a->deny_count);
	free_texts(a->pages, a->page_count);
	gate_policy_fini(&a->policy);
	free(a->throttle);
	*a = (struct account){0};
}

/* --- sets ------------------------------------------------------------- */

struct accounts *accounts_new(struct account *list, uint32_t count)
{
	struct accounts *set = mem_new(sizeof(*set));

	check(count <= ACCOUNTS_MOST);
	atomic_init(&set->refs, 1);
	set->list = list;
	set->count = count;
	for (uint32_t i = 0; i < count; i++) {
		list[i].number = (uint16_t)(ACCOUNT_NUMBER_FIRST + i);
		list[i].throttle =
			throttle_new(list[i].messages_per_second, list[i].bytes_per_second);
	}
	return set;
}

/* GB-25 to GB-28: everyone reads what is public, nobody writes. */
struct accounts *accounts_public(const struct gate_settings *checks)
{
	static const char *const filters[] = {
		"origin/a/wis2/#", "cache/a/wis2/#", "monitor/a/wis2/#"};
	const uint32_t n = sizeof(filters) / sizeof(filters[0]);
	struct account *a = mem_new(sizeof(*a));

	account_default(a);
	a->user = mem_text("everyone");
	a->password = mem_text("everyone");
	a->max_qos = 1;
	a->session_expiry_ms = HOUR_MS;
	a->read = mem_new(n * sizeof(*a->read));
	for (uint32_t i = 0; i < n; i++)
		a->read[i] = mem_text(filters[i]);
	a->read_count = n;
	a->policy.settings = *checks;
	gate_policy_compile(&a->policy);
	return accounts_new(a, 1);
}

struct accounts *accounts_ref(struct accounts *a)
{
	atomic_fetch_add_explicit(&a->refs, 1, memory_order_relaxed);
	return a;
}

void accounts_unref(struct accounts *a)
{
	if (a == NULL || atomic_fetch_sub_explicit(&a->refs, 1, memory_order_acq_rel) > 1)
		return;
	for (uint32_t i = 0; i < a->count; i++)
		account_fini(&a->list[i]);
	free(a->list);
	free(a);
}

const struct account *accounts_find(const struct accounts *a, bool has_user, struct view user)
{
	for (uint32_t i = 0; i < a->count; i++) {
		const struct account *at = &a->list[i];

		if (has_user ? at->user && view_equal(view_of(at->user), user) : at->user == NULL)
			return at;
	}
	return NULL;
}

bool account_is_subject(const char *certificate)
{
	return strchr(certificate, '=') != NULL;
}

struct view accounts_name(const struct accounts *a, uint16_t number)
{
	uint32_t at = (uint32_t)number - ACCOUNT_NUMBER_FIRST;

	return at < a->count ? view_of(a->list[at].user) : VIEW("");
}

const struct account *accounts_find_certificate(
	const struct accounts *a, struct view subject, struct view common_name)
{
	for (uint32_t i = 0; i < a->count; i++) {
		const char *named = a->list[i].certificate;

		if (named && view_equal(view_of(named),
				     account_is_subject(named) ? subject : common_name))
			return &a->list[i];
	}
	return NULL;
}

/* --- rights ----------------------------------------------------------- */

static bool is_literal(struct view name, bool first)
{
	if (name.n == 0 || (first && name.p[0] == '$'))
		return false;
	for (size_t i = 0; i < name.n; i++)
		if (name.p[i] == '+' || name.p[i] == '#' || name.p[i] == '/' || name.p[i] == '\0')
			return false;
	return true;
}

/* The filter with its names put in. False: one of them may not stand in a filter. */
static bool put_names(struct buf *out, struct view filter, struct view user, struct view client_id)
{
	for (size_t i = 0; i < filter.n; i++) {
		char next = filter.p[i] == '%' && i + 1 < filter.n ? filter.p[i + 1] : '\0';
		struct view name = next == 'u' ? user : client_id;

		if (next != 'u' && next != 'c') {
			buf_append(out, filter.p + i, 1);
			continue;
		}
		if (!is_literal(name, buf_length(out) == 0))
			return false;
		buf_append(out, name.p, name.n);
		i++;
	}
	return filter_is_valid(buf_view(out));
}

typedef bool right_test(struct view right, struct view asked);

/* Does one of the filters, names put in, pass the test? */
static bool any_right(char *const *filters, uint32_t n, struct view user, struct view client_id,
	right_test *test, struct view asked)
{
	struct buf put = {0};
	bool found = false;

	for (uint32_t i = 0; i < n && !found; i++) {
		struct view filter = view_of(filters[i]);

		if (memchr(filter.p, '%', filter.n) == NULL) {
			found = test(filter, asked);
			continue;
		}
		buf_clear(&put);
		found = put_names(&put, filter, user, client_id) && test(buf_view(&put), asked);
	}
	buf_fini(&put);
	return found;
}

/* A right to "#" is one to everything but $SYS, which has to be named: topics that begin with $ are
 * each broker's own to give, and no filter "#" matches them (MQTT 5, 4.7.2). */
static bool is_everything(struct view right, struct view asked)
{
	return view_equal(right, VIEW("#")) && !view_equal(asked, VIEW("$SYS")) &&
	       !view_starts_with(asked, VIEW("$SYS/"));
}

static bool covers(struct view right, struct view filter)
{
	return is_everything(right, filter) || filter_covers(right, filter);
}

static bool matches(struct view right, struct view topic)
{
	return is_everything(right, topic) || filter_match(right, topic);
}

static bool is_denied(const struct account *a, struct view asked, right_test *test)
{
	for (uint32_t i = 0; i < a->deny_count; i++)
		if (test(view_of(a->deny[i]), asked))
			return true;
	return false;
}

bool account_may_read(const struct account *a, struct view client_id, struct view filter)
{
	bool may = a->admin ||
		   any_right(a->read, a->read_count, view_of(a->user), client_id, covers, filter);

	return may && !is_denied(a, filter, covers);
}

bool account_may_write(const struct account *a, struct view client_id, struct view topic)
{
	/* Whatever stands in `write`: $SYS is the broker's own (MQTT 5, 4.7.2). */
	return !view_starts_with(topic, VIEW("$SYS/")) &&
	       any_right(a->write, a->write_count, view_of(a->user), client_id, matches, topic) &&
	       !account_is_denied(a, topic);
}

bool account_is_denied(const struct account *a, struct view topic)
{
	return is_denied(a, topic, matches);
}
