/* One entry for each thing somebody sent as credentials lately:
 *
 *     asked --right--> known for a minute
 *           --wrong--> known for a second, so that who waits for it is told, once
 *
 * At most ENTRIES; while all of them are asked, one more is told to come later.
 */
#include "admin/access.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/list.h"
#include "base/mem.h"
#include "net/http_server.h"

#define ENTRIES 64
#define HASH_BYTES 32
#define RIGHT_MS 60000u
#define WRONG_MS 1000u
#define CREDENTIALS_LARGEST 1024u /* in base64 */

enum state { FREE, ASKED, RIGHT, WRONG };

struct waiter {
	struct list link;
	struct http_hold *hold;
};

struct entry {
	struct access *access;
	enum state state;
	uint8_t hash[HASH_BYTES];
	char *user;
	uint64_t until_ms;
	struct login *login;
	struct list waiters;
};

struct access {
	struct broker_worker *worker;
	struct loop *loop;
	uint32_t generation;
	struct entry entries[ENTRIES];
};

static const char *const words[] = {
	[PAGE_FREE] = "",
#define X(symbol, word) [PAGE_##symbol] = word,
#include "admin/page.def"
#undef X
};

uint32_t access_pages(char *const *named, uint32_t n)
{
	uint32_t pages = 1u << PAGE_FREE;

	for (uint32_t i = 0; i < n; i++)
		for (uint32_t page = 1; page < sizeof(words) / sizeof(words[0]); page++)
			if (strcmp(named[i], words[page]) == 0)
				pages |= 1u << page;
	return pages;
}

/* --- entries ---------------------------------------------------------- */

static void clear(struct entry *e)
{
	free(e->user);
	e->user = NULL;
	e->state = FREE;
}

static struct entry *find(struct access *a, const uint8_t *hash)
{
	uint64_t now = loop_now_ms(a->loop);

	for (int i = 0; i < ENTRIES; i++) {
		struct entry *e = &a->entries[i];

		if (e->state > ASKED && now >= e->until_ms)
			clear(e);
		if (e->state != FREE && memcmp(e->hash, hash, HASH_BYTES) == 0)
			return e;
	}
	return NULL;
}

/* A free one, else the one that would be forgotten first; NULL: all are asked. */
static struct entry *make_room(struct access *a)
{
	struct entry *oldest = NULL;

	for (int i = 0; i < ENTRIES; i++) {
		struct entry *e = &a->entries[i];

		if (e->state == FREE)
			return e;
		if (e->state != ASKED && (oldest == NULL || e->until_ms < oldest->until_ms))
			oldest = e;
	}
	if (oldest)
		clear(oldest);
	return oldest;
}

static void forget_all(struct access *a)
{
	for (int i = 0; i < ENTRIES; i++)
		if (a->entries[i].state > ASKED)
			clear(&a->entries[i]);
}

static void release(struct entry *e)
{
	while (!list_is_empty(&e->waiters)) {
		struct waiter *w = container_of(e->waiters.next, struct waiter, link);

		list_remove(&w->link);
		http_server_release(w->hold);
		free(w);
	}
}

static void know(struct entry *e, bool is_right)
{
	e->login = NULL;
	e->state = is_right ? RIGHT : WRONG;
	e->until_ms = loop_now_ms(e->access->loop) + (is_right ? RIGHT_MS : WRONG_MS);
}

static void on_answer(void *context, bool is_right)
{
	struct entry *e = context;

	know(e, is_right);
	release(e);
}

/* --- credentials ------------------------------------------------------ */

/* The text behind "Basic ", NUL-terminated; NULL: there is none that could be right. */
static char *decode(struct view value, size_t *n)
{
	struct view basic = VIEW("Basic ");
	unsigned char *text;
	int length;

	if (value.n < basic.n || strncasecmp(value.p, basic.p, basic.n) != 0)
		return NULL;
	value = view_skip(value, basic.n);
	if (value.n == 0 || value.n > CREDENTIALS_LARGEST || value.n % 4)
		return NULL;
	text = mem_new(value.n);
	length = EVP_DecodeBlock(text, (const unsigned char *)value.p, (int)value.n);
	for (size_t i = value.n; length > 0 && i > value.n - 2 && value.p[i - 1] == '='; i--)
		length--;
	if (length <= 0) {
		free(text);
		return NULL;
	}
	text[length] = '\0';
	*n = (size_t)length;
	return (char *)text;
}

static void ask(struct entry *e, const struct http_request *r, const char *text, size_t n)
{
	struct view password = {text, n};
	struct view user = view_cut(&password, ':');
	struct broker_rights rights;

	e->user = mem_text_of(user);
	e->state = ASKED;
	list_init(&e->waiters);
	if (password.p == NULL)
		password = VIEW("");
	e->login = broker_login(e->access->worker, r->peer, user, password, &rights, on_answer, e);
	if (e->login == NULL)
		know(e, true);
}

static void hold(struct entry *e, const struct http_request *r)
{
	struct waiter *w = mem_new(sizeof(*w));

	w->hold = http_server_hold(r);
	list_append(&e->waiters, &w->link);
}

/* --- pages ------------------------------------------------------------ */

static bool refuse(struct http_answer *answer, int status, const char *text)
{
	answer->status = status;
	answer->type = "application/json";
	if (status == 401)
		answer->extra = "WWW-Authenticate: Basic realm=\"isobar\", charset=\"UTF-8\"\r\n";
	buf_text(&answer->body, "{\"error\":");
	buf_json_string(&answer->body, view_of(text));
	buf_text(&answer->body, "}\n");
	return false;
}

static bool judge(
	const struct access *a, const struct entry *e, enum page page, struct http_answer *answer)
{
	struct broker_rights rights = broker_rights_of(a->worker, view_of(e->user));

	if (e->state == WRONG || !rights.is_right)
		return refuse(answer, 401, "bad user name or password");
	if (rights.is_admin || (page == PAGE_MESSAGES && rights.may_replay))
		return true;
	if (access_pages(rights.pages, rights.page_count) & 1u << page)
		return true;
	return refuse(answer, 403,
		page == PAGE_MESSAGES ? "this account may not replay"
				      : "only for an admin, or an account whose pages name it");
}

static bool judge_credentials(struct access *a, enum page page, const struct http_request *r,
	struct view value, struct http_answer *answer, struct view *user)
{
	uint8_t hash[HASH_BYTES];
	struct entry *e;
	size_t n = 0;
	char *text = decode(value, &n);

	if (text == NULL)
		return refuse(answer, 401, "HTTP Basic with a user name and a password is right");
	EVP_Digest(text, n, hash, NULL, EVP_sha256(), NULL);
	e = find(a, hash);
	if (e == NULL && (e = make_room(a)) != NULL) {
		memcpy(e->hash, hash, HASH_BYTES);
		ask(e, r, text, n);
	}
	explicit_bzero(text, n);
	free(text);
	if (e == NULL)
		return refuse(answer, 503, "too many logins at once; try again");
	if (e->state == ASKED) {
		hold(e, r);
		return false;
	}
	*user = view_of(e->user);
	return judge(a, e, page, answer);
}

bool access_allows(struct access *a, enum page page, uint32_t public, uint32_t generation,
	const struct http_request *r, struct http_answer *answer, struct view *user)
{
	struct view value = http_header(&r->fields, VIEW("authorization"));

	*user = (struct view){NULL, 0};
	/* What messages one may see is by account. */
	if (public & 1u << page && (page != PAGE_MESSAGES || value.n == 0))
		return true;
	if (generation != a->generation)
		forget_all(a);
	a->generation = generation;
	if (value.n == 0)
		return refuse(answer, 401, "a user name and a password are needed");
	return judge_credentials(a, page, r, value, answer, user);
}

/* --- life ------------------------------------------------------------- */

struct access *access_new(struct broker_worker *w, struct loop *l)
{
	struct access *a = mem_new(sizeof(*a));

	a->worker = w;
	a->loop = l;
	for (int i = 0; i < ENTRIES; i++) {
		a->entries[i].access = a;
		list_init(&a->entries[i].waiters);
	}
	return a;
}

void access_free(struct access *a)
{
	for (int i = 0; i < ENTRIES; i++) {
		struct entry *e = &a->entries[i];

		if (e->login)
			broker_login_cancel(e->login);
		release(e);
		clear(e);
	}
	free(a);
}
