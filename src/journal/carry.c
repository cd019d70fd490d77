#include "journal/carry.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/mem.h"
#include "journal/segment.h"

#define CHUNK 1024u /* entries read at once */

struct carry {
	const struct carry_rules *rules;
	int dir;
	uint32_t *numbers;
	size_t count;
	struct carry_figures figures;
};

/* --- the folder ------------------------------------------------------- */

static void note(void *context, uint32_t number, const char *kind)
{
	struct carry *c = context;

	(void)kind;
	for (size_t i = c->count; i-- > 0;) {
		if (c->numbers[i] == number)
			return;
	}
	c->numbers = mem_resize(c->numbers, (c->count + 1) * sizeof(*c->numbers));
	c->numbers[c->count++] = number;
}

static int by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a;
	uint32_t y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static int list_numbers(struct carry *c)
{
	int err = segment_each_file(c->dir, note, c);

	if (c->count)
		qsort(c->numbers, c->count, sizeof(*c->numbers), by_number);
	return err;
}

/* -1: it is not there. */
static int open_kind(const struct carry *c, uint32_t number, const char *kind)
{
	char name[SEGMENT_NAME_BYTES];

	segment_name(name, number, kind);
	return openat(c->dir, name, O_RDONLY | O_CLOEXEC);
}

static int give(const struct carry *c, uint32_t number, const char *kind, int fd, uint64_t bytes)
{
	char name[SEGMENT_NAME_BYTES];

	segment_name(name, number, kind);
	return c->rules->on_file(c->rules->context, name, fd, bytes);
}

/* --- one segment ------------------------------------------------------ */

/* An open segment ends behind the entries that hang together; a start checks each of them. */
static void find_end(struct segment *s)
{
	struct journal_entry *chunk = mem_new(CHUNK * sizeof(*chunk));
	uint64_t count = 0, offset = 0;
	bool goes_on = true;

	while (goes_on && count < s->capacity) {
		ssize_t n = pread(s->index_fd, chunk, CHUNK * sizeof(*chunk),
			(off_t)(SEGMENT_HEAD_BYTES + count * sizeof(*chunk)));
		size_t got = n < 0 ? 0 : (size_t)n / sizeof(*chunk);

		goes_on = got > 0;
		for (size_t i = 0; i < got && goes_on && count < s->capacity; i++) {
			const struct journal_entry *e = &chunk[i];

			goes_on = e->packet_bytes != 0 && e->offset == offset;
			if (!goes_on)
				break;
			offset += (uint64_t)e->packet_bytes + e->property_bytes;
			count++;
		}
	}
	free(chunk);
	s->end = s->base + count;
	s->packets_bytes = offset;
}

static bool wants_packets(const struct carry *c, const struct segment *s, bool is_sealed)
{
	int bad = open_kind(c, s->number, "bad");

	if (bad >= 0) { /* a page of it could not be read */
		close(bad);
		return false;
	}
	return !is_sealed || s->last_ms >= c->rules->since_ms;
}

static int give_summary(const struct carry *c, uint32_t number)
{
	int fd = open_kind(c, number, "topics");
	off_t size = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
	int err = size > 0 ? give(c, number, "topics", fd, (uint64_t)size) : 0;

	if (fd >= 0)
		close(fd);
	return err;
}

static int give_packets(struct carry *c, struct segment *s)
{
	int err;

	s->packets_fd = open_kind(c, s->number, "packets");
	if (s->packets_fd < 0)
		return errno == ENOENT ? 0 : ERR_SYSTEM;
	err = give(c, s->number, "packets", s->packets_fd, s->packets_bytes);
	if (err == 0 && c->figures.head == UINT64_MAX)
		c->figures.head = s->base;
	return err;
}

/* Entries first: see the header. Their length is found once, so what is appended meanwhile is not in. */
static int give_segment(struct carry *c, struct segment *s, bool is_sealed)
{
	uint64_t count;
	int err;

	if (!is_sealed)
		find_end(s);
	count = s->end - s->base;
	err = give(c, s->number, "index", s->index_fd,
		SEGMENT_HEAD_BYTES + count * sizeof(struct journal_entry));
	if (err == 0 && wants_packets(c, s, is_sealed))
		err = give_packets(c, s);
	if (err == 0 && is_sealed)
		err = give_summary(c, s->number);
	c->figures.segments++;
	c->figures.identities += count;
	c->figures.tail = s->end;
	return err;
}

static int carry_one(struct carry *c, uint32_t number)
{
	struct segment *s = segment_new(number);
	enum segment_state state;
	int err = 0;

	s->index_fd = open_kind(c, number, "index");
	if (s->index_fd < 0) {
		err = errno == ENOENT ? give_summary(c, number) : ERR_SYSTEM;
		segment_free(s);
		return err;
	}
	state = segment_read_head(s);
	if (state == SEGMENT_NEWER)
		err = ERR_VERSION;
	else if (state == SEGMENT_DAMAGED)
		c->figures.damaged++;
	else if (state != SEGMENT_UNUSED)
		err = give_segment(c, s, state == SEGMENT_SEALED);
	segment_free(s);
	return err;
}

int journal_carry(const char *dir, const struct carry_rules *rules, struct carry_figures *out)
{
	struct carry c = {.rules = rules, .figures = {.head = UINT64_MAX}};
	int err;

	c.dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (c.dir < 0)
		return ERR_SYSTEM;
	err = list_numbers(&c);
	for (size_t i = 0; i < c.count && err == 0; i++)
		err = carry_one(&c, c.numbers[i]);
	if (c.figures.head == UINT64_MAX)
		c.figures.head = c.figures.tail;
	*out = c.figures;
	free(c.numbers);
	close(c.dir);
	return err;
}
