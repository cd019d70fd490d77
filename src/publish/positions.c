/* publish/positions.c - see the header */
#include "publish/positions.h"

#include <inttypes.h>
#include <stdlib.h>
#include <xxhash.h>

#include "base/mem.h"

#define HEAD "isobar-publish\t1"
#define MOST 4096u /* targets in a file */

void positions_fini(struct positions *p)
{
	for (uint32_t i = 0; i < p->count; i++)
		free(p->list[i].name);
	free(p->list);
	*p = (struct positions){0};
}

static void add(struct positions *p, char *name, uint64_t seq)
{
	p->list = mem_resize(p->list, (p->count + 1) * sizeof(*p->list));
	p->list[p->count++] = (struct position){name, seq};
}

void positions_add(struct positions *p, const char *name, uint64_t seq)
{
	add(p, mem_text(name), seq);
}

bool positions_take(struct positions *p, const char *name, uint64_t *seq)
{
	for (uint32_t i = 0; i < p->count; i++) {
		struct position *at = &p->list[i];

		if (strcmp(at->name, name) != 0)
			continue;
		*seq = at->seq;
		free(at->name);
		*at = p->list[--p->count];
		return true;
	}
	return false;
}

static uint64_t checksum(struct view text)
{
	return XXH3_64bits(text.p, text.n);
}

void positions_format(const struct positions *p, struct buf *out)
{
	buf_text(out, HEAD "\n");
	for (uint32_t i = 0; i < p->count; i++)
		buf_printf(out, "%" PRIu64 "\t%s\n", p->list[i].seq, p->list[i].name);
	buf_printf(out, "end\t%" PRIu64 "\n", checksum(buf_view(out)));
}

/* Digits alone, without sign or leading zero, so that there is one text for each number. */
static bool read_number(struct view text, uint64_t *out)
{
	uint64_t value = 0;

	if (text.n == 0 || (text.n > 1 && text.p[0] == '0'))
		return false;
	for (size_t i = 0; i < text.n; i++) {
		unsigned digit = (unsigned)(unsigned char)text.p[i] - '0';

		if (digit > 9 || value > (UINT64_MAX - digit) / 10)
			return false;
		value = value * 10 + digit;
	}
	*out = value;
	return true;
}

static bool read_line(struct positions *p, struct view line)
{
	struct view number = view_cut(&line, '\t');
	uint64_t seq;

	if (!read_number(number, &seq) || line.n == 0 || memchr(line.p, '\0', line.n) ||
		p->count == MOST)
		return false;
	add(p, mem_text_of(line), seq);
	return true;
}

/* The last line: its number is the checksum of what stands before it. */
static bool is_end(struct view line, struct view before)
{
	struct view word = view_cut(&line, '\t');
	uint64_t sum;

	return view_equal(word, VIEW("end")) && read_number(line, &sum) && sum == checksum(before);
}

static bool parse(struct positions *p, struct view text)
{
	struct view rest = text;

	if (!view_equal(view_cut(&rest, '\n'), VIEW(HEAD)))
		return false;
	while (rest.p) {
		struct view before = {text.p, (size_t)(rest.p - text.p)};
		struct view line = view_cut(&rest, '\n');

		if (view_starts_with(line, VIEW("end\t")))
			return is_end(line, before) && rest.p && rest.n == 0;
		if (!read_line(p, line))
			return false;
	}
	return false;
}

bool positions_parse(struct positions *p, struct view text)
{
	*p = (struct positions){0};
	if (parse(p, text))
		return true;
	positions_fini(p);
	return false;
}
