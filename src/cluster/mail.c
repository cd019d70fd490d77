/* cluster/mail.c - XADD to another's stream, XREAD of one's own */
#include "cluster/mail.h"

#include <assert.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/mem.h"
#include "cluster/slots.h"

#define KEY "isobar:mail:"
#define LETTERS_KEPT 4096u
#define LETTERS_A_READ 256u
#define BLOCK_MS 1000u
#define AGAIN_MS 200u
#define SEND_MS 5000u

struct mail {
	struct cluster_core *core;
	struct redis_lane *lane;
	struct redis_request read;
	struct timer again;
	bool is_refused; /* the last reply was an error */
	struct log_place after;
	struct list sent; /* under way */
	struct listener {
		const char *kind;
		void (*on_letter)(void *context, const struct letter *letter);
		void *context;
	} listeners[MAIL_KINDS];
	size_t listener_count;
};

struct sending {
	struct redis_request q;
	struct list link;
};

static void put_key(struct buf *key, struct view node)
{
	buf_text(key, KEY);
	buf_append(key, node.p, node.n);
}

/* --- sending ---------------------------------------------------------------- */

static void on_sent(struct redis_request *q, int err)
{
	struct sending *s = container_of(q, struct sending, q);

	(void)err;
	list_remove(&s->link);
	buf_fini(&s->q.command);
	free(s);
}

void mail_send(struct mail *m, struct view node, const struct letter *letter)
{
	struct sending *s = mem_new(sizeof(*s));
	struct buf *b = &s->q.command;
	struct buf key = {0};

	put_key(&key, node);
	resp_begin(b, 16);
	resp_bytes(b, VIEW("XADD"));
	resp_bytes(b, buf_view(&key));
	resp_bytes(b, VIEW("MAXLEN"));
	resp_bytes(b, VIEW("~"));
	resp_number(b, LETTERS_KEPT);
	resp_bytes(b, VIEW("*"));
	resp_bytes(b, VIEW("kind"));
	resp_bytes(b, letter->kind);
	resp_bytes(b, VIEW("key"));
	resp_bytes(b, letter->key);
	resp_bytes(b, VIEW("number"));
	resp_number(b, letter->number);
	resp_bytes(b, VIEW("from"));
	resp_bytes(b, view_of(m->core->settings->node));
	resp_bytes(b, VIEW("clean"));
	resp_number(b, letter->is_clean);
	s->q.limit_ms = SEND_MS;
	s->q.repeatable = true;
	s->q.on_done = on_sent;
	list_init(&s->link);
	list_append(&m->sent, &s->link);
	if (redis_submit(m->core->redis, slot_of(buf_view(&key)), &s->q) != 0)
		on_sent(&s->q, ERR_FULL);
	buf_fini(&key);
}

/* --- reading ----------------------------------------------------------------- */

static void ask(struct mail *m)
{
	struct buf *b = &m->read.command;
	struct buf key = {0};
	char place[LOG_PLACE_BYTES];

	put_key(&key, view_of(m->core->settings->node));
	log_place_format(m->after, place);
	buf_clear(b);
	resp_begin(b, 8);
	resp_bytes(b, VIEW("XREAD"));
	resp_bytes(b, VIEW("COUNT"));
	resp_number(b, LETTERS_A_READ);
	resp_bytes(b, VIEW("BLOCK"));
	resp_number(b, BLOCK_MS);
	resp_bytes(b, VIEW("STREAMS"));
	resp_bytes(b, buf_view(&key));
	resp_bytes(b, view_of(place));
	buf_fini(&key);
	if (redis_lane_submit(m->lane, &m->read) != 0)
		timer_start(m->core->loop, &m->again, AGAIN_MS);
}

static bool parse_number(const struct resp *text, uint64_t *out)
{
	*out = 0;
	for (size_t i = 0; text && i < text->text.n && i < 19; i++) {
		if (text->text.p[i] < '0' || text->text.p[i] > '9')
			return false;
		*out = *out * 10 + (uint64_t)(text->text.p[i] - '0');
	}
	return text && text->text.n > 0;
}

static void hand_out(const struct mail *m, const struct letter *letter)
{
	for (size_t i = 0; i < m->listener_count; i++) {
		const struct listener *l = &m->listeners[i];

		if (view_equal(letter->kind, view_of(l->kind)))
			l->on_letter(l->context, letter);
	}
}

/* [place, ["kind", ., "key", ., "number", ., "from", .,
 * "clean", .]] */
static void take_letter(struct mail *m, const struct resp *entry)
{
	const struct resp *place = resp_item(entry, 0, RESP_STRING);
	const struct resp *fields = resp_item(entry, 1, RESP_ARRAY);
	const struct resp *kind = resp_item(fields, 1, RESP_STRING);
	const struct resp *key = resp_item(fields, 3, RESP_STRING);
	const struct resp *from = resp_item(fields, 7, RESP_STRING);
	const struct resp *clean = resp_item(fields, 9, RESP_STRING);
	struct letter letter;

	if (place)
		log_place_parse(place->text, &m->after);
	if (kind == NULL || key == NULL || from == NULL ||
		!parse_number(resp_item(fields, 5, RESP_STRING), &letter.number))
		return;
	letter.kind = kind->text;
	letter.key = key->text;
	letter.from = from->text;
	letter.is_clean = clean && view_equal(clean->text, VIEW("1"));
	hand_out(m, &letter);
}

static void on_read(struct redis_request *q, const struct resp *reply)
{
	struct mail *m = container_of(q, struct mail, read);
	const struct resp *entries = resp_item(resp_item(reply, 0, RESP_ARRAY), 1, RESP_ARRAY);

	m->is_refused = reply->type == RESP_ERROR;
	for (uint32_t i = 0; entries && i < entries->count; i++)
		take_letter(m, resp_item(entries, i, RESP_ARRAY));
}

static void on_read_done(struct redis_request *q, int err)
{
	struct mail *m = container_of(q, struct mail, read);

	if (err == ERR_SHUTDOWN)
		return;
	if (err || m->is_refused)
		timer_start(m->core->loop, &m->again, AGAIN_MS);
	else
		ask(m);
}

static void on_again(struct timer *t)
{
	ask(container_of(t, struct mail, again));
}

/* --- life --------------------------------------------------------------------- */

struct mail *mail_new(struct cluster_core *core)
{
	struct mail *m = mem_new(sizeof(*m));

	m->core = core;
	m->read.block_ms = BLOCK_MS;
	m->read.repeatable = true;
	m->read.on_reply = on_read;
	m->read.on_done = on_read_done;
	m->again.on_time = on_again;
	list_init(&m->sent);
	return m;
}

void mail_listen(struct mail *m, const char *kind,
	void (*on_letter)(void *context, const struct letter *letter), void *context)
{
	assert(m->listener_count < MAIL_KINDS);
	m->listeners[m->listener_count++] = (struct listener){kind, on_letter, context};
}

void mail_begin(struct mail *m)
{
	struct buf key = {0};

	put_key(&key, view_of(m->core->settings->node));
	m->lane = redis_lane_open(m->core->redis, slot_of(buf_view(&key)), REDIS_MASTER);
	buf_fini(&key);
	ask(m);
}

void mail_free(struct mail *m)
{
	if (m == NULL)
		return;
	buf_fini(&m->read.command);
	free(m);
}
