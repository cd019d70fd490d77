/* cluster/spool.c - a journal whose records are records of the shared log
 *
 * Its entries have the id, the claim as JOURNAL_CLAIMED, the shard, and in the place of the shared
 * log's place the token; the payload is the record.
 */
#include "cluster/spool.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/file.h"
#include "base/mem.h"
#include "seen/seen.h"

#define TOPIC "s"
#define OVERHEAD (5u + 2u + 1u + 16u) /* of a record in the journal */
#define SEGMENT_BYTES (16u << 20)
#define READ_MOST 1024u
#define READ_BYTES (4u << 20)
#define KEEP_MS (UINT64_C(3650) * 86400 * 1000) /* only what is committed goes */
#define WINDOW_MS (UINT64_C(24) * 3600 * 1000)
#define POSITION_EVERY_MS 5000u
#define POSITION_BYTES 32

struct spool {
	struct spool_settings settings;
	char *position_file;
	struct journal *journal;
	struct journal_reader reader;
	struct seen *seen;   /* ids that are in it */
	uint64_t position;   /* everything below is committed */
	uint64_t read_to;    /* everything below was read */
	uint64_t bytes;      /* of records from the position on */
	uint64_t read_bytes; /* of those read and not committed */
	uint64_t written;    /* position in the file */
	uint64_t written_ms;
	struct journal_message *messages; /* of a put */
	const struct journal_message **pointers;
	uint32_t size;
};

/* --- opening ------------------------------------------------------------------ */

static char *folder_of(const char *dir)
{
	return mem_printf("%s/spool", dir);
}

bool spool_exists(const char *dir)
{
	char *folder = folder_of(dir);
	bool there = access(folder, F_OK) == 0;

	free(folder);
	return there;
}

static uint64_t read_position(const struct spool *s)
{
	FILE *f = fopen(s->position_file, "re");
	uint64_t position = 0;

	if (f == NULL)
		return 0;
	if (fscanf(f, "%" SCNu64, &position) != 1)
		position = 0;
	fclose(f);
	return position;
}

static void write_position(struct spool *s)
{
	char text[POSITION_BYTES];
	int n = snprintf(text, sizeof(text), "%" PRIu64 "\n", s->position);

	s->written_ms = clock_mono_ms();
	if (s->written == s->position)
		return;
	/* An older one costs only that some are committed again. */
	if (file_replace(s->position_file, (struct view){text, (size_t)n}, 0640) == 0)
		s->written = s->position;
}

static void on_index(void *context, uint64_t seq, const struct journal_entry *e)
{
	struct spool *s = context;

	(void)seq;
	seen_claim(s->seen, &e->id, SEEN_NO_PRINT, e->time_ms);
}

static int open_journal(struct spool *s, char **why)
{
	char *folder = folder_of(s->settings.dir);
	struct journal_config config = {
		.dir = folder,
		.keep_ms = KEEP_MS,
		.size_bytes = UINT64_MAX,
		.index_keep_ms = WINDOW_MS,
		.least_ms = KEEP_MS,
		.sync = s->settings.sync,
		.sync_ms = s->settings.sync_ms,
		.segment_bytes =
			s->settings.segment_bytes ? s->settings.segment_bytes : SEGMENT_BYTES,
		.on_index = on_index,
		.context = s,
	};
	int err;

	if (mkdir(s->settings.dir, 0750) != 0 && errno != EEXIST) {
		*why = mem_printf("%s: %s", s->settings.dir, strerror(errno));
		err = ERR_SYSTEM;
	} else {
		err = journal_open(&s->journal, &config, why);
	}
	free(folder);
	return err;
}

/* Bytes of records in [from, to), by the index. */
static uint64_t sum_bytes(struct spool *s, uint64_t from, uint64_t to)
{
	uint64_t bytes = 0;

	journal_reader_enter(&s->reader);
	while (from < to) {
		const struct journal_segment *at = journal_find(s->journal, from);

		if (at == NULL)
			break;
		for (; from < to && from < at->end; from++)
			bytes += at->entries[from - at->base].packet_bytes;
	}
	journal_reader_leave(&s->reader);
	return bytes;
}

static void find_position(struct spool *s)
{
	uint64_t head = journal_head(s->journal), tail = journal_tail(s->journal);

	s->position = read_position(s);
	if (s->position < head)
		s->position = head;
	if (s->position > tail)
		s->position = tail;
	s->read_to = s->written = s->position;
	s->bytes = sum_bytes(s, s->position, tail);
}

int spool_open(struct spool **out, const struct spool_settings *settings, char **why)
{
	struct spool *s = mem_new(sizeof(*s));
	int err;

	s->settings = *settings;
	s->settings.dir = mem_text(settings->dir);
	s->position_file = mem_printf("%s/spool.position", settings->dir);
	s->seen = seen_open(settings->ids, WINDOW_MS);
	if (s->seen == NULL) {
		*why = mem_text("no address space for the spool's identifiers");
		err = ERR_MEMORY;
	} else {
		err = open_journal(s, why);
	}
	if (err < 0) {
		spool_close(s);
		return err;
	}
	journal_reader_open(s->journal, &s->reader);
	find_position(s);
	*out = s;
	return 0;
}

void spool_close(struct spool *s)
{
	if (s == NULL)
		return;
	if (s->journal) {
		write_position(s);
		journal_reader_close(&s->reader);
		journal_close(s->journal);
	}
	seen_close(s->seen);
	free(s->messages);
	free(s->pointers);
	free(s->position_file);
	free((void *)s->settings.dir);
	free(s);
}

void spool_on_progress(struct spool *s, void (*call)(void *context), void *context)
{
	journal_on_progress(s->journal, call, context);
}

/* --- writing -------------------------------------------------------------------- */

static void make_room(struct spool *s, uint32_t n)
{
	if (n <= s->size)
		return;
	s->messages = mem_resize(s->messages, n * sizeof(*s->messages));
	s->pointers = mem_resize(s->pointers, n * sizeof(*s->pointers));
	s->size = n;
}

/* Those that are not in it yet; gives how many. */
static uint32_t choose(struct spool *s, struct entry *const *entries, uint32_t n, uint64_t *bytes)
{
	uint64_t now = journal_now(s->journal);
	uint32_t chosen = 0;

	make_room(s, n);
	*bytes = 0;
	for (uint32_t i = 0; i < n; i++) {
		const struct entry *e = entries[i];

		if (seen_claim(s->seen, &e->id, SEEN_NO_PRINT, now) != SEEN_FIRST)
			continue;
		*bytes += e->bytes + OVERHEAD;
		s->messages[chosen] = (struct journal_message){
			.topic = VIEW(TOPIC),
			.payload = entry_record(e),
			.id = e->id,
			.log_id = e->token,
			.shard = (uint8_t)e->shard,
			.flags = e->claim ? JOURNAL_CLAIMED : 0,
		};
		s->pointers[chosen] = &s->messages[chosen];
		chosen++;
	}
	return chosen;
}

/* With the journal's lock. */
static int append(struct spool *s, uint64_t bytes, uint32_t chosen)
{
	int err = journal_reserve(s->journal, bytes, chosen);

	return err ? err : journal_append(s->journal, s->pointers, chosen);
}

int spool_put(struct spool *s, struct entry *const *entries, uint32_t n, uint64_t *upto)
{
	uint64_t bytes;
	uint32_t chosen;
	int err = 0;

	if (s->bytes >= s->settings.bytes_most)
		return ERR_HELD;
	chosen = choose(s, entries, n, &bytes);
	journal_lock(s->journal);
	if (chosen)
		err = append(s, bytes, chosen);
	journal_unlock(s->journal);
	if (err < 0) {
		seen_forget_newest(s->seen, chosen);
		return ERR_HELD;
	}
	s->bytes += bytes;
	*upto = journal_tail(s->journal);
	return 0;
}

uint64_t spool_safe(struct spool *s)
{
	uint64_t safe = journal_safe(s->journal);

	if (safe < journal_tail(s->journal))
		journal_want_sync(s->journal);
	return safe;
}

/* --- reading -------------------------------------------------------------------- */

static struct view record_of(const struct journal_segment *at, const struct journal_entry *e)
{
	uint32_t skip = e->header_bytes + 2u + (uint32_t)strlen(TOPIC);
	const char *packet = (const char *)at->packets + e->offset;

	return (struct view){packet + skip, e->packet_bytes - skip};
}

static void fill(struct entry *out, const struct journal_segment *at, const struct journal_entry *e)
{
	struct view record = record_of(at, e);

	out->id = e->id;
	out->token = (uint32_t)e->log_id;
	out->claim = (e->flags & JOURNAL_CLAIMED) != 0;
	out->shard = e->shard;
	out->at = (uint32_t)buf_length(&out->parcel->records);
	out->bytes = (uint32_t)record.n;
	buf_append(&out->parcel->records, record.p, record.n);
}

/* As many as one segment gives of the next READ_MOST. */
static struct parcel *read_segment(const struct journal_segment *at, uint64_t from, uint64_t tail)
{
	uint64_t end = at->end < tail ? at->end : tail;
	const struct journal_entry *first = &at->entries[from - at->base];
	struct parcel *p;
	uint64_t bytes = 0;
	uint32_t n = 0;

	while (from + n < end && n < READ_MOST && bytes < READ_BYTES)
		bytes += first[n++].packet_bytes;
	p = intake_parcel(n);
	buf_reserve(&p->records, bytes);
	for (uint32_t i = 0; i < n; i++)
		fill(&p->entries[i], at, &first[i]);
	return p;
}

struct parcel *spool_read(struct spool *s)
{
	uint64_t tail = journal_tail(s->journal);
	const struct journal_segment *at;
	struct parcel *p = NULL;

	if (s->read_to == tail)
		return NULL;
	journal_reader_enter(&s->reader);
	at = journal_find(s->journal, s->read_to);
	if (at)
		p = read_segment(at, s->read_to, tail);
	journal_reader_leave(&s->reader);
	if (p) {
		s->read_bytes = buf_length(&p->records) + p->count * (uint64_t)OVERHEAD;
		s->read_to += p->count;
	}
	return p;
}

void spool_done(struct spool *s)
{
	uint64_t tail = journal_tail(s->journal);

	s->position = s->read_to;
	s->bytes = s->position == tail || s->bytes < s->read_bytes ? 0 : s->bytes - s->read_bytes;
	s->read_bytes = 0;
	journal_release(s->journal, s->position);
	if (s->position == tail || clock_mono_ms() - s->written_ms >= POSITION_EVERY_MS)
		write_position(s);
}

uint64_t spool_count(const struct spool *s)
{
	return journal_tail(s->journal) - s->position;
}

uint64_t spool_bytes(const struct spool *s)
{
	return s->bytes;
}
