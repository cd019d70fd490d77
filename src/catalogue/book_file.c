/* catalogue/book_file.c - the book as a file: read with suspicion, replaced as a whole
 *
 * What does not end in the right checksum is not read at all, so a line that is not understood is a
 * fault of the program that wrote it, or of a newer one.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>

#include "base/error.h"
#include "base/mem.h"
#include "catalogue/book_pair.h"

#define HEAD "isobar-catalogue\t1"

/* --- reading ---------------------------------------------------------- */

static bool read_number(struct view text, unsigned base, uint64_t most, uint64_t *out)
{
	uint64_t value = 0;

	if (text.n == 0 || text.n > 20)
		return false;
	for (size_t i = 0; i < text.n; i++) {
		char c = text.p[i];
		unsigned digit = c >= 'a' ? (unsigned)(c - 'a') + 10u : (unsigned)(c - '0');

		if ((c < '0' || c > '9') && (c < 'a' || c > 'f'))
			return false;
		if (digit >= base || value > (most - digit) / base)
			return false;
		value = value * base + digit;
	}
	*out = value;
	return true;
}

static bool read_tag(struct view text, char out[BOOK_TAG_BYTES])
{
	if (text.n >= BOOK_TAG_BYTES)
		return false;
	memcpy(out, text.p, text.n);
	out[text.n] = '\0';
	return true;
}

static bool read_list(struct book *b, struct view rest)
{
	struct book_list list = {0};
	uint64_t place;
	bool sound = read_number(view_cut(&rest, '\t'), 10, BOOK_LISTS_MOST - 1, &place) &&
		     read_number(view_cut(&rest, '\t'), 10, INT64_MAX, &list.good_ms) &&
		     read_number(view_cut(&rest, '\t'), 10, INT64_MAX, &list.records) && rest.p;

	sound = sound && read_tag(view_cut(&rest, '\t'), list.etag) && rest.p;
	sound = sound && read_tag(view_cut(&rest, '\t'), list.last_modified);
	if (!sound || rest.n == 0 || b->lists[place].url)
		return false;
	list.url = mem_text_of(rest);
	b->lists[place] = list;
	return true;
}

static bool read_pair(struct book *b, struct view rest)
{
	uint64_t seen_ms, lists, gone;
	struct view id, tail;
	struct book_pair *p;

	if (!read_number(view_cut(&rest, '\t'), 10, INT64_MAX, &seen_ms) ||
		!read_number(view_cut(&rest, '\t'), 16, UINT16_MAX, &lists) ||
		!read_number(view_cut(&rest, '\t'), 10, 1, &gone))
		return false;
	id = view_cut(&rest, '\t');
	tail = rest;
	p = book_pair(b, id, tail);
	if (p == NULL)
		return false;
	p->seen_ms = seen_ms;
	p->lists = (uint16_t)lists;
	p->gone = gone;
	return true;
}

static bool read_line(struct book *b, struct view line)
{
	struct view word = view_cut(&line, '\t');

	if (view_equal(word, VIEW("list")))
		return read_list(b, line);
	return view_equal(word, VIEW("pair")) && read_pair(b, line);
}

/* Cuts the last line off; false when it is not the checksum of what is before. */
static bool check_end(struct view *text)
{
	const struct view word = VIEW("end\t");
	uint64_t sum;
	size_t n;

	if (text->n < word.n + 9 || text->p[text->n - 1] != '\n')
		return false;
	n = text->n - word.n - 9; /* eight digits and the end of the line */
	if (!view_starts_with(view_skip(*text, n), word) ||
		!read_number((struct view){text->p + n + word.n, 8}, 16, UINT32_MAX, &sum))
		return false;
	text->n = n;
	return crc32_z(0, (const Bytef *)text->p, n) == sum;
}

int book_read(struct book *b, struct view text, const char **why)
{
	struct book fresh = {0};
	bool sound = true;

	*why = "cut off, or damaged";
	if (!check_end(&text) || text.n == 0 || text.p[text.n - 1] != '\n')
		return ERR_CORRUPT;
	text.n--;
	*why = "of another version";
	if (!view_equal(view_cut(&text, '\n'), VIEW(HEAD)))
		return ERR_CORRUPT;
	*why = "a line that is not understood";
	while (text.p && sound)
		sound = read_line(&fresh, view_cut(&text, '\n'));
	if (!sound) {
		book_fini(&fresh);
		return ERR_CORRUPT;
	}
	book_fini(b);
	*b = fresh;
	*why = "";
	return 0;
}

/* --- writing ---------------------------------------------------------- */

/* A file under a checksum; the first error stays. */
struct output {
	FILE *file;
	uLong sum;
	bool failed;
};

static void put(struct output *o, struct buf *line)
{
	size_t n = buf_length(line);

	o->sum = crc32_z(o->sum, buf_bytes(line), n);
	o->failed |= fwrite(buf_bytes(line), 1, n, o->file) != n;
	buf_clear(line);
}

static void put_lists(struct output *o, const struct book *b, struct buf *line)
{
	for (unsigned i = 0; i < BOOK_LISTS_MOST; i++) {
		const struct book_list *l = &b->lists[i];

		if (l->url == NULL)
			continue;
		buf_printf(line, "list\t%u\t%" PRIu64 "\t%" PRIu64 "\t%s\t%s\t%s\n", i, l->good_ms,
			l->records, l->etag, l->last_modified, l->url);
		put(o, line);
	}
}

static void put_pairs(struct output *o, const struct book *b, struct buf *line)
{
	const struct book_pair *p;
	size_t at = 0;

	while ((p = map_next(&b->pairs, &at)) != NULL) {
		buf_printf(line, "pair\t%" PRIu64 "\t%x\t%d\t%.*s\n", p->seen_ms, p->lists, p->gone,
			(int)p->length, p->text);
		put(o, line);
	}
}

static int put_all(FILE *file, const struct book *b)
{
	struct output o = {.file = file};
	struct buf line = {0};

	buf_text(&line, HEAD "\n");
	put(&o, &line);
	put_lists(&o, b, &line);
	put_pairs(&o, b, &line);
	buf_printf(&line, "end\t%08lx\n", o.sum);
	put(&o, &line);
	buf_fini(&line);
	return o.failed || fflush(file) != 0 || fsync(fileno(file)) < 0 ? ERR_SYSTEM : 0;
}

int book_write(const struct book *b, const char *path)
{
	char *fresh = mem_printf("%s.new", path);
	int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
	FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
	int err = file ? put_all(file, b) : ERR_SYSTEM;
	int cause = errno;

	if (file && fclose(file) != 0 && err == 0) {
		err = ERR_SYSTEM;
		cause = errno;
	}
	if (err == 0 && rename(fresh, path) < 0) {
		err = ERR_SYSTEM;
		cause = errno;
	}
	if (err < 0)
		unlink(fresh);
	free(fresh);
	errno = cause;
	return err;
}
