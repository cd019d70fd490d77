/* What a removed segment leaves behind: its topics, each with the number of its records.
 *
 * Written when the segment is sealed, while its pages are warm and before anything can have been
 * removed; a full disk later cannot keep the counts from being there.
 *
 *   struct summary_head, then per topic: count (8 bytes), length (2 bytes), topic
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/mem.h"
#include "journal/internal.h"

#define SUMMARY_MAGIC UINT64_C(0x434950544a425349)
#define SUMMARY_LARGEST (1u << 30)
#define ROW_BYTES 10
#define ENTRIES_AT_ONCE 1024u

struct summary_head {
	uint64_t magic;
	uint64_t base;
	uint64_t end;
	uint64_t last_ms;
	uint64_t rows_checksum;
	uint64_t checksum;
};

/* A topic of the segment: how often, and the packet it stands in. */
struct tally {
	uint64_t count;
	const struct journal_entry *first;
};

/* Counts by topic number; *topics is their number. The caller frees. */
static struct tally *count_topics(const struct segment *s, uint32_t *topics)
{
	const struct journal_entry *entries = segment_entries(s);
	uint64_t n = s->end - s->base;
	struct tally *tallies;

	*topics = 0;
	for (uint64_t i = 0; i < n; i++) {
		if (entries[i].topic >= *topics)
			*topics = entries[i].topic + 1;
	}
	tallies = mem_new(*topics * sizeof(*tallies));
	for (uint64_t i = 0; i < n; i++) {
		struct tally *t = &tallies[entries[i].topic];

		if (entries[i].flags & JOURNAL_HIDDEN)
			continue;
		if (t->count++ == 0)
			t->first = &entries[i];
	}
	return tallies;
}

static void put_row(struct buf *b, const struct segment *s, const struct tally *t)
{
	const uint8_t *topic = s->packets + t->first->offset + t->first->header_bytes;
	uint16_t length = (uint16_t)(topic[0] << 8 | topic[1]);

	buf_append(b, &t->count, sizeof(t->count));
	buf_append(b, &length, sizeof(length));
	buf_append(b, topic + 2, length);
}

static int write_file(const struct journal *j, uint32_t number, const struct buf *b)
{
	char name[SEGMENT_NAME_BYTES];
	int err;
	int fd;

	segment_name(name, number, "topics");
	fd = openat(j->dir_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
	if (fd < 0)
		return system_error();
	err = system_write(j->system, fd, b->data, b->end, 0);
	if (err == 0 && j->system->fdatasync(fd) != 0)
		err = ERR_SYSTEM;
	close(fd);
	return err;
}

int summary_write(struct journal *j, const struct segment *s)
{
	struct summary_head head = {
		.magic = SUMMARY_MAGIC,
		.base = s->base,
		.end = s->end,
		.last_ms = s->last_ms,
	};
	struct buf b = {0};
	uint32_t topics;
	struct tally *tallies = count_topics(s, &topics);
	int err;

	buf_append(&b, &head, sizeof(head));
	for (uint32_t i = 0; i < topics; i++) {
		if (tallies[i].count)
			put_row(&b, s, &tallies[i]);
	}
	head.rows_checksum = XXH3_64bits(b.data + sizeof(head), b.end - sizeof(head));
	head.checksum = XXH3_64bits(&head, offsetof(struct summary_head, checksum));
	memcpy(b.data, &head, sizeof(head));
	err = write_file(j, s->number, &b);
	buf_fini(&b);
	free(tallies);
	return err;
}

static bool head_is_valid(const struct summary_head *head)
{
	return head->magic == SUMMARY_MAGIC && head->base <= head->end &&
	       head->checksum == XXH3_64bits(head, offsetof(struct summary_head, checksum));
}

static int open_summary(const struct journal *j, uint32_t number)
{
	char name[SEGMENT_NAME_BYTES];

	segment_name(name, number, "topics");
	return openat(j->dir_fd, name, O_RDONLY | O_CLOEXEC);
}

bool summary_read_head(struct journal *j, struct segment *s)
{
	struct summary_head head;
	int fd = open_summary(j, s->number);
	bool valid;

	if (fd < 0)
		return false;
	valid = pread(fd, &head, sizeof(head), 0) == (ssize_t)sizeof(head) && head_is_valid(&head);
	close(fd);
	if (valid) {
		s->base = head.base;
		s->end = head.end;
		s->first_ms = s->last_ms = head.last_ms;
	}
	return valid;
}

/* The whole file into *b. False: not readable. */
static bool read_file(int fd, struct buf *b)
{
	struct stat st;

	if (fstat(fd, &st) != 0 || st.st_size < (off_t)sizeof(struct summary_head) ||
		st.st_size > SUMMARY_LARGEST)
		return false;
	buf_reserve(b, (size_t)st.st_size);
	while (b->end < (uint64_t)st.st_size) {
		ssize_t n = pread(fd, b->data + b->end, (size_t)st.st_size - b->end, b->end);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		buf_grown(b, (size_t)n);
	}
	return true;
}

static bool read_summary(const struct journal *j, uint32_t number, struct buf *b)
{
	struct summary_head head;
	int fd = open_summary(j, number);
	bool valid;

	if (fd < 0)
		return false;
	valid = read_file(fd, b);
	close(fd);
	if (!valid)
		return false;
	memcpy(&head, b->data, sizeof(head));
	return head_is_valid(&head) &&
	       head.rows_checksum == XXH3_64bits(b->data + sizeof(head), b->end - sizeof(head));
}

/* less: what to take off each row's count, in their order; NULL: nothing. */
static void tell_rows(const struct buf *b, const uint64_t *less,
	void (*on_topic)(void *, struct view, uint64_t), void *context)
{
	const uint8_t *at = b->data + sizeof(struct summary_head);
	const uint8_t *end = b->data + b->end;

	while (end - at >= ROW_BYTES) {
		uint64_t count;
		uint16_t length;

		memcpy(&count, at, sizeof(count));
		memcpy(&length, at + sizeof(count), sizeof(length));
		at += ROW_BYTES;
		if (end - at < length)
			return;
		if (less)
			count -= *less < count ? *less : count;
		if (count)
			on_topic(context, (struct view){(const char *)at, length}, count);
		less += less != NULL;
		at += length;
	}
}

/* A segment with something of [from, head) in it. */
struct lost {
	uint32_t number;
	uint64_t base;
	uint64_t end;
};

/* Lists them, oldest first; the caller frees. */
static struct lost *list_lost(struct journal *j, uint64_t from, uint64_t head, size_t *n)
{
	struct lost *lost = NULL;
	struct list *at;

	*n = 0;
	pthread_mutex_lock(&j->lock);
	for (at = j->segments.next; at != &j->segments; at = at->next) {
		const struct segment *s = container_of(at, struct segment, link);

		if (s->base >= head || s->end <= from || s->end == SEGMENT_OPEN)
			continue;
		lost = mem_resize(lost, (*n + 1) * sizeof(*lost));
		lost[(*n)++] = (struct lost){s->number, s->base, s->end};
	}
	pthread_mutex_unlock(&j->lock);
	return lost;
}

/* Of one topic number of an index: its records in all, and those before some place. */
struct part {
	uint64_t all;
	uint64_t before;
};

struct parts {
	struct part *list; /* by topic number */
	uint32_t count;
};

/* False: numbers of an index that was not written here. */
static bool add_entries(struct parts *parts, const struct journal_entry *entries, uint64_t n,
	uint64_t before, uint64_t most)
{
	for (uint64_t i = 0; i < n; i++) {
		uint32_t topic = entries[i].topic;

		if (topic >= most)
			return false;
		if (topic >= parts->count) {
			uint32_t grown = topic + 1;

			parts->list = mem_resize(parts->list, grown * sizeof(*parts->list));
			memset(&parts->list[parts->count], 0,
				(grown - parts->count) * sizeof(*parts->list));
			parts->count = grown;
		}
		if (entries[i].flags & JOURNAL_HIDDEN)
			continue;
		parts->list[topic].all++;
		parts->list[topic].before += i < before;
	}
	return true;
}

/* The index file of a segment whose packets are gone, counted. False: it is gone as well. */
static bool read_parts(
	const struct journal *j, const struct lost *l, uint64_t from, struct parts *parts)
{
	struct journal_entry *chunk = mem_new(ENTRIES_AT_ONCE * sizeof(*chunk));
	uint64_t n = l->end - l->base, done = 0;
	char name[SEGMENT_NAME_BYTES];
	bool good;
	int fd;

	segment_name(name, l->number, "index");
	fd = openat(j->dir_fd, name, O_RDONLY | O_CLOEXEC);
	good = fd >= 0;
	while (good && done < n) {
		uint64_t some = n - done < ENTRIES_AT_ONCE ? n - done : ENTRIES_AT_ONCE;
		size_t bytes = some * sizeof(*chunk);
		uint64_t before = from - l->base > done ? from - l->base - done : 0;

		good = pread(fd, chunk, bytes,
			       (off_t)(SEGMENT_HEAD_BYTES + done * sizeof(*chunk))) ==
			       (ssize_t)bytes &&
		       add_entries(parts, chunk, some, before, n);
		done += some;
	}
	if (fd >= 0)
		close(fd);
	free(chunk);
	return good;
}

/* How many records of each row of l's summary stand before `from`, told by the index, which outlives the
 * packets: rows are the topic numbers in order, without those that have only hidden records. NULL: that
 * cannot be told any more. The caller frees. */
static uint64_t *count_before(const struct journal *j, const struct lost *l, uint64_t from)
{
	struct parts parts = {0};
	uint64_t *less = NULL;

	if (read_parts(j, l, from, &parts)) {
		uint32_t row = 0;

		less = mem_new((parts.count + 1) * sizeof(*less));
		for (uint32_t i = 0; i < parts.count; i++) {
			if (parts.list[i].all)
				less[row++] = parts.list[i].before;
		}
	}
	free(parts.list);
	return less;
}

void journal_removed(struct journal *j, uint64_t from,
	void (*on_topic)(void *context, struct view topic, uint64_t count), void *context,
	bool *exact)
{
	uint64_t head = atomic_load(&j->head);
	uint64_t at = from; /* all of [from, at) is counted exactly */
	bool whole = true;
	struct lost *lost;
	size_t n;

	lost = list_lost(j, from, head, &n);
	for (size_t i = 0; i < n; i++) {
		uint64_t *less = lost[i].base < from ? count_before(j, &lost[i], from) : NULL;
		struct buf b = {0};

		whole = whole && (lost[i].base == at || less);
		at = lost[i].end;
		if (read_summary(j, lost[i].number, &b))
			tell_rows(&b, less, on_topic, context);
		else
			whole = false;
		buf_fini(&b);
		free(less);
	}
	free(lost);
	*exact = from >= head || (whole && at == head);
}
