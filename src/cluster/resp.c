/* cluster/resp.c - replies read by hiredis into bounded memory, commands written
 *
 * hiredis tells each value it has read by a call; the values of a reply are laid out in an arena:
 *
 *	[ array of 2 | items[0] items[1] | text of items[0] | ... ]
 *
 * An array's elements stand side by side, so a child is written where its parent has its place and
 * nothing is ever freed one by one. The arena is emptied at the next reply; its first block stays.
 *
 * **Invariant:** taken <= most, looked at before memory is had. hiredis answers a value that we
 * refuse (NULL) by an error of its own.
 */
#include "cluster/resp.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include <hiredis/hiredis.h>

#include "base/error.h"
#include "base/mem.h"

#define BLOCK_BYTES (64u * 1024u)
#define KEPT_BYTES (256u * 1024u) /* of hiredis' own buffer when all is read */

/* hiredis 1.0 widened the number of an array's elements. */
#if HIREDIS_MAJOR >= 1
typedef size_t element_count;
#else
typedef int element_count;
#endif

struct block {
	struct block *next;
	size_t used;
	size_t size;
	_Alignas(16) uint8_t bytes[];
};

struct resp_reader {
	redisReader *hiredis;
	struct block *blocks; /* newest first; the last one has BLOCK_BYTES and stays */
	size_t taken;
	size_t most;
	bool refused; /* a value was larger than what is left */
};

/* --- arena ------------------------------------------------------------- */

static struct block *block_new(size_t bytes, struct block *next)
{
	struct block *b = mem_new(sizeof(*b) + bytes);

	b->size = bytes;
	b->next = next;
	return b;
}

static void *take(struct resp_reader *r, size_t bytes)
{
	struct block *b = r->blocks;
	void *p;

	bytes = (bytes + 15) & ~(size_t)15;
	if (bytes > r->most - r->taken) {
		r->refused = true;
		return NULL;
	}
	r->taken += bytes;
	if (b->size - b->used < bytes)
		b = r->blocks = block_new(bytes > BLOCK_BYTES ? bytes : BLOCK_BYTES, b);
	p = b->bytes + b->used;
	b->used += bytes;
	return p;
}

static void empty(struct resp_reader *r)
{
	while (r->blocks->next) {
		struct block *next = r->blocks->next;

		free(r->blocks);
		r->blocks = next;
	}
	r->blocks->used = 0;
	r->taken = 0;
}

/* --- what hiredis calls ------------------------------------------------ */

/* Where the value goes: its place in the parent, or memory of its own. */
static struct resp *place(const redisReadTask *t, enum resp_type type)
{
	struct resp *v;

	if (t->parent)
		v = &((struct resp *)t->parent->obj)->items[t->idx];
	else
		v = take(t->privdata, sizeof(*v));
	if (v)
		*v = (struct resp){.type = type};
	return v;
}

static void *on_string(const redisReadTask *t, char *p, size_t n)
{
	enum resp_type type = t->type == REDIS_REPLY_ERROR    ? RESP_ERROR
			      : t->type == REDIS_REPLY_STATUS ? RESP_STATUS
							      : RESP_STRING;
	struct resp *v = place(t, type);
	char *copy = v ? take(t->privdata, n + 1) : NULL;

	if (copy == NULL)
		return NULL;
	memcpy(copy, p, n);
	copy[n] = '\0';
	v->text = (struct view){copy, n};
	return v;
}

static void *on_array(const redisReadTask *t, element_count n)
{
	struct resp *v = place(t, RESP_ARRAY);
	size_t bytes = (size_t)n * sizeof(*v); /* n <= INT_MAX is hiredis' promise */

	if (v && n > 0) {
		v->items = take(t->privdata, bytes);
		if (v->items == NULL)
			return NULL;
		memset(v->items, 0, bytes);
		v->count = (uint32_t)n;
	}
	return v;
}

static void *on_integer(const redisReadTask *t, long long integer)
{
	struct resp *v = place(t, RESP_INTEGER);

	if (v)
		v->integer = integer;
	return v;
}

static void *on_nil(const redisReadTask *t)
{
	return place(t, RESP_NIL);
}

static void on_free(void *v)
{
	(void)v; /* the arena is emptied as a whole */
}

static redisReplyObjectFunctions functions = {
	.createString = on_string,
	.createArray = on_array,
	.createInteger = on_integer,
	.createNil = on_nil,
	.freeObject = on_free,
};

/* --- reading ----------------------------------------------------------- */

struct resp_reader *resp_reader_new(size_t most)
{
	struct resp_reader *r = mem_new(sizeof(*r));

	r->most = most;
	r->blocks = block_new(BLOCK_BYTES, NULL);
	r->hiredis = redisReaderCreateWithFunctions(&functions);
	if (r->hiredis == NULL)
		abort();
	r->hiredis->privdata = r;
	r->hiredis->maxbuf = KEPT_BYTES;
	return r;
}

void resp_reader_free(struct resp_reader *r)
{
	if (r == NULL)
		return;
	redisReaderFree(r->hiredis);
	empty(r);
	free(r->blocks);
	free(r);
}

void resp_feed(struct resp_reader *r, const uint8_t *p, size_t n)
{
	redisReaderFeed(r->hiredis, (const char *)p, n);
}

int resp_next(struct resp_reader *r, const struct resp **out)
{
	void *reply = NULL;

	/* A reply begun keeps its values. */
	if (r->hiredis->ridx < 0)
		empty(r);
	if (redisReaderGetReply(r->hiredis, &reply) != REDIS_OK)
		return r->refused ? ERR_TOO_LARGE : ERR_MALFORMED;
	if (reply == NULL)
		return r->hiredis->len - r->hiredis->pos > r->most ? ERR_TOO_LARGE : 0;
	*out = reply;
	return 1;
}

const struct resp *resp_item(const struct resp *array, uint32_t i, enum resp_type type)
{
	if (array == NULL || array->type != RESP_ARRAY || i >= array->count)
		return NULL;
	return array->items[i].type == type ? &array->items[i] : NULL;
}

/* --- writing ----------------------------------------------------------- */

/* "<mark><number>\r\n" */
static void write_line(struct buf *b, char mark, uint64_t number)
{
	char line[24];
	size_t at = sizeof(line);

	line[--at] = '\n';
	line[--at] = '\r';
	do
		line[--at] = (char)('0' + number % 10);
	while (number /= 10);
	line[--at] = mark;
	buf_append(b, line + at, sizeof(line) - at);
}

void resp_begin(struct buf *b, uint32_t arguments)
{
	write_line(b, '*', arguments);
}

void resp_bytes(struct buf *b, struct view argument)
{
	write_line(b, '$', argument.n);
	buf_append(b, argument.p, argument.n);
	buf_append(b, "\r\n", 2);
}

void resp_number(struct buf *b, uint64_t argument)
{
	char text[24];
	int n = snprintf(text, sizeof(text), "%llu", (unsigned long long)argument);

	resp_bytes(b, (struct view){text, (size_t)n});
}

void resp_words(struct buf *b, const char *words)
{
	struct view rest = view_of(words);
	uint32_t n = 1;

	for (size_t i = 0; i < rest.n; i++)
		n += rest.p[i] == ' ';
	resp_begin(b, n);
	while (rest.p)
		resp_bytes(b, view_cut(&rest, ' '));
}
