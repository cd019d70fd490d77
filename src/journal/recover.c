/* Opening: what is in the folder, how far is it sound, what does it hold?
 *
 * Sealed segments are trusted: they were wholly on disk before they were marked. From the first
 * one without the mark each record is checked, entry and bytes, and the journal ends before the
 * first that does not hold; later segments are renamed aside. Nothing is ever appended behind such
 * a cut in the same files: the segment is closed there, trimmed and sealed, and a new one begins.
 * So stale bytes behind the cut can never become records again.
 *
 * The sequence numbers of what was cut are given again. That is sound because a record is only cut
 * when the disk never had it whole: with `sync: always` nobody was told of it.
 *
 * A segment marked bad (a page could not be read, journal/guard.c) keeps its index but not its
 * packets; readers then find only what is newer, as they are promised a run without gaps.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "journal/guard.h"
#include "journal/internal.h"

#define CHUNK 1024u /* entries read at once */

/* The files of one number. */
struct found {
	uint32_t number;
	bool packets;
	bool index;
	bool topics;
	bool bad;
};

struct folder {
	struct found *at;
	size_t n;
};

static struct found *found_of(struct folder *f, uint32_t number)
{
	/* A folder is listed in nearly any order; looking from the end is short for sorted ones. */
	for (size_t i = f->n; i-- > 0;) {
		if (f->at[i].number == number)
			return &f->at[i];
	}
	f->at = mem_resize(f->at, (f->n + 1) * sizeof(*f->at));
	f->at[f->n] = (struct found){.number = number};
	return &f->at[f->n++];
}

static void note(void *context, uint32_t number, const char *kind)
{
	struct found *found = found_of(context, number);

	found->packets |= strcmp(kind, ".packets") == 0;
	found->index |= strcmp(kind, ".index") == 0;
	found->topics |= strcmp(kind, ".topics") == 0;
	found->bad |= strcmp(kind, ".bad") == 0;
}

static int by_number(const void *a, const void *b)
{
	const struct found *x = a;
	const struct found *y = b;

	return x->number < y->number ? -1 : x->number > y->number;
}

static int list_folder(const struct journal *j, struct folder *f)
{
	int err = segment_each_file(j->dir_fd, note, f);

	if (f->n)
		qsort(f->at, f->n, sizeof(*f->at), by_number);
	return err;
}

static void remove_kind(const struct journal *j, uint32_t number, const char *kind)
{
	char name[SEGMENT_NAME_BYTES];

	segment_name(name, number, kind);
	unlinkat(j->dir_fd, name, 0);
}

/* Renames a file so that it is left alone from now on; tells which. */
static void set_aside(const struct journal *j, uint32_t number, const char *kind, const char *why)
{
	char name[SEGMENT_NAME_BYTES];
	char to[SEGMENT_NAME_BYTES + 16];

	segment_name(name, number, kind);
	strcat(strcpy(to, name), ".dropped");
	if (renameat(j->dir_fd, name, j->dir_fd, to) == 0)
		log_warn("journal", "file set aside", "file=%s/%s reason=\"%s\"", j->dir, to, why);
}

static void drop_segment(const struct journal *j, struct segment *s, const char *why)
{
	set_aside(j, s->number, "packets", why);
	set_aside(j, s->number, "index", why);
	remove_kind(j, s->number, "topics");
	list_remove(&s->link);
	segment_free(s);
}

/* From now on only the index of this segment counts. */
static void leave_packets_out(struct journal *j, struct segment *s, const char *why)
{
	set_aside(j, s->number, "packets", why);
	s->has_packets = false;
	guard_unmap(s->packets, s->packets_map);
	s->packets = NULL;
	s->packets_map = 0;
	if (s->packets_fd >= 0)
		close(s->packets_fd);
	s->packets_fd = -1;
}

/* Reads entries without a map, whose pages might not be readable. Gives how many there are. */
static size_t read_entries(const struct segment *s, uint64_t at, struct journal_entry out[CHUNK])
{
	uint64_t left = s->end == SEGMENT_OPEN ? s->capacity - at : s->end - s->base - at;
	size_t want = left < CHUNK ? (size_t)left : CHUNK;
	ssize_t n = pread(s->index_fd, out, want * sizeof(*out),
		(off_t)(SEGMENT_HEAD_BYTES + at * sizeof(*out)));

	return n < 0 ? 0 : (size_t)n / sizeof(*out);
}

/* How many entries hang together, when there are no packets to check them by. */
static uint64_t count_entries(struct segment *s)
{
	struct journal_entry *chunk = mem_new(CHUNK * sizeof(*chunk));
	uint64_t count = 0;
	uint64_t offset = 0;
	bool sound = true;
	size_t n;

	while (sound && (n = read_entries(s, count, chunk)) > 0) {
		for (size_t i = 0; i < n && sound; i++) {
			sound = chunk[i].packet_bytes != 0 && chunk[i].offset == offset &&
				chunk[i].time_ms >= s->last_ms;
			if (!sound)
				break;
			offset += (uint64_t)chunk[i].packet_bytes + chunk[i].property_bytes;
			s->last_ms = chunk[i].time_ms;
			count++;
		}
	}
	free(chunk);
	s->packets_bytes = offset < s->packets_size ? offset : s->packets_size;
	return count;
}

/* An index whose packets are not to be used: closed where it stops making sense. */
static void close_index_only(struct journal *j, struct segment *s)
{
	if (s->sealed)
		return;
	s->end = s->base + count_entries(s);
	if (segment_write_seal(s, j->system) != 0)
		log_warn("journal", "seal failed", "segment=%u error=\"%m\"", s->number);
	s->sealed = true;
}

/* Are the files as long as the closing mark says? */
static bool is_whole(const struct segment *s)
{
	uint64_t index_bytes =
		SEGMENT_HEAD_BYTES + (s->end - s->base) * sizeof(struct journal_entry);

	return s->index_map >= index_bytes && s->packets_map >= s->packets_bytes;
}

/* Takes a segment with a valid head into the list. */
static void take_segment(struct journal *j, struct segment *s, bool bad)
{
	if (bad)
		leave_packets_out(j, s, "a page could not be read");
	else if (s->sealed && s->has_packets && !is_whole(s))
		leave_packets_out(j, s, "shorter than when it was sealed");
	if (!s->has_packets)
		close_index_only(j, s);
	if (bad)
		remove_kind(j, s->number, "bad");
	list_append(&j->segments, &s->link);
}

static void drop_headless(struct journal *j, struct segment *s, enum segment_state state)
{
	if (state == SEGMENT_UNUSED) {
		remove_kind(j, s->number, "packets");
		remove_kind(j, s->number, "index");
	} else {
		set_aside(j, s->number, "packets", "no valid head");
		set_aside(j, s->number, "index", "no valid head");
	}
	remove_kind(j, s->number, "topics");
	remove_kind(j, s->number, "bad");
	segment_free(s);
}

/* Without an index: a summary, or leftovers. */
static void load_rest(struct journal *j, struct segment *s, const struct found *f)
{
	if (f->packets)
		set_aside(j, s->number, "packets", "no index");
	s->has_packets = false;
	s->sealed = true;
	if (f->bad)
		remove_kind(j, s->number, "bad");
	if (f->topics && summary_read_head(j, s)) {
		list_append(&j->segments, &s->link);
		return;
	}
	remove_kind(j, s->number, "topics");
	segment_free(s);
}

static int load(struct journal *j, const struct found *f, char **why)
{
	struct segment *s = segment_new(f->number);
	enum segment_state state;

	s->has_packets = f->packets;
	s->has_index = f->index;
	s->has_summary = f->topics;
	if (!f->index) {
		load_rest(j, s, f);
		return 0;
	}
	if (segment_open(s, j->dir_fd) != 0) {
		*why = mem_printf("%s: cannot open segment %u: %m", j->dir, f->number);
		segment_free(s);
		return ERR_SYSTEM;
	}
	state = segment_read_head(s);
	if (state == SEGMENT_NEWER) {
		*why = mem_printf("%s: segment %u is of a newer format than %d", j->dir, f->number,
			JOURNAL_FORMAT);
		segment_free(s);
		return ERR_CORRUPT;
	}
	if (state == SEGMENT_SEALED || state == SEGMENT_UNSEALED)
		take_segment(j, s, f->bad);
	else
		drop_headless(j, s, state);
	return 0;
}

/* What the records before have said. */
struct run {
	uint64_t offset;
	uint64_t time_ms;
	uint32_t topics;
};

/* Does the packet say of itself what the entry says of it? */
static bool packet_agrees(const struct journal_entry *e, const uint8_t *packet)
{
	uint32_t remaining = 0;
	uint32_t at = 1;

	if (e->header_bytes < 2 || e->header_bytes > 5 || e->packet_bytes < e->header_bytes + 3u)
		return false;
	do
		remaining |= (uint32_t)(packet[at] & 127) << (7 * (at - 1));
	while ((packet[at++] & 128) && at < e->header_bytes);
	return packet[0] == 0x30 && at == e->header_bytes && remaining == e->packet_bytes - at &&
	       (uint32_t)(packet[at] << 8 | packet[at + 1]) + 2 <= remaining;
}

static bool record_holds(const struct segment *s, uint64_t i, const struct run *run)
{
	const struct journal_entry *e = &segment_entries(s)[i];
	uint64_t bytes = (uint64_t)e->packet_bytes + e->property_bytes;

	if (e->packet_bytes == 0 || e->offset != run->offset || bytes > JOURNAL_PACKET_LARGEST ||
		run->offset + bytes > s->packets_map || run->offset + bytes > s->packets_size)
		return false;
	if (e->topic > run->topics || e->time_ms < run->time_ms)
		return false;
	return e->checksum == segment_checksum(s->seed, s->base + i, e, s->packets + e->offset) &&
	       packet_agrees(e, s->packets + e->offset);
}

/* Was anything ever written here? */
static bool entry_is_blank(const struct journal_entry *e)
{
	static const struct journal_entry blank;

	return memcmp(e, &blank, sizeof(blank)) == 0;
}

/* Closes an unsealed segment behind its last sound record. */
static void verify(struct segment *s)
{
	uint64_t room = (s->index_map - SEGMENT_HEAD_BYTES) / sizeof(struct journal_entry);
	struct run run = {.time_ms = 0};
	uint64_t i;

	room = room < s->capacity ? room : s->capacity;
	for (i = 0; i < room && record_holds(s, i, &run); i++) {
		const struct journal_entry *e = &segment_entries(s)[i];

		if (i == 0)
			s->first_ms = e->time_ms;
		s->last_ms = run.time_ms = e->time_ms;
		run.offset += (uint64_t)e->packet_bytes + e->property_bytes;
		run.topics += e->topic == run.topics;
	}
	s->end = s->base + i;
	s->packets_bytes = run.offset;
	if (i < room && !entry_is_blank(&segment_entries(s)[i]))
		log_warn("journal", "cut at a damaged record", "segment=%u seq=%llu", s->number,
			(unsigned long long)s->end);
}

/* Walks the segments in order, closes the unsealed, drops what does not follow. */
static void join_segments(struct journal *j)
{
	struct list *next;
	uint64_t end = 0;
	bool cut = false;

	for (struct list *at = j->segments.next; at != &j->segments; at = next) {
		struct segment *s = container_of(at, struct segment, link);

		next = at->next;
		if (cut || s->base < end) {
			drop_segment(
				j, s, cut ? "behind a damaged record" : "overlaps the one before");
			continue;
		}
		if (!s->sealed) {
			verify(s);
			/* The next one began where this one was full. */
			cut = next != &j->segments &&
			      container_of(next, struct segment, link)->base != s->end;
		}
		end = s->end;
	}
	atomic_store(&j->tail, end);
	atomic_store(&j->safe, end);
}

/* The later of wall clock and newest record is now: a clock set back makes nothing younger, and
 * from here on time runs with the monotonic clock. */
static void anchor_clock(struct journal *j)
{
	uint64_t now = j->system->wall_ms();

	for (struct list *at = j->segments.next; at != &j->segments; at = at->next) {
		const struct segment *s = container_of(at, struct segment, link);

		now = s->last_ms > now ? s->last_ms : now;
	}
	j->clock_offset = now - j->system->mono_ms();
	j->last_ms = now;
}

static void tell_index(struct journal *j, const struct segment *s)
{
	struct journal_entry *chunk = mem_new(CHUNK * sizeof(*chunk));
	uint64_t at = 0;
	size_t n;

	while ((n = read_entries(s, at, chunk)) > 0) {
		for (size_t i = 0; i < n; i++) {
			if (age_ms(j, chunk[i].time_ms) <= j->config.index_keep_ms)
				j->config.on_index(j->config.context, s->base + at + i, &chunk[i]);
		}
		at += n;
	}
	if (at < s->end - s->base)
		log_warn("journal", "index not readable", "segment=%u seq=%llu error=\"%m\"",
			s->number, (unsigned long long)(s->base + at));
	free(chunk);
}

/* Files of sealed segments are not needed beyond this; those without packets need no map. */
static void settle(struct journal *j)
{
	for (struct list *at = j->segments.next; at != &j->segments; at = at->next) {
		struct segment *s = container_of(at, struct segment, link);

		if (s->index_fd >= 0 && j->config.on_index)
			tell_index(j, s);
		if (s->sealed)
			segment_close_files(s);
		if (!s->has_packets) {
			guard_unmap(s->index, s->index_map);
			s->index = NULL;
			s->index_map = 0;
		}
	}
}

int recover(struct journal *j, char **why)
{
	struct folder f = {0};
	int err = list_folder(j, &f);

	if (err)
		*why = mem_printf("%s: cannot list: %m", j->dir);
	for (size_t i = 0; i < f.n && err == 0; i++) {
		j->next_number = f.at[i].number + 1;
		err = load(j, &f.at[i], why);
	}
	free(f.at);
	if (err)
		return err;
	join_segments(j);
	anchor_clock(j);
	settle(j);
	return 0;
}
