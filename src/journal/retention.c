/* The end of a segment: closed, sealed, its packets removed, its index removed, its summary
 * removed.
 *
 *   open --roll--> closed --seal--> sealed --keep, size, full disk--> index only
 *        --index_keep_ms--> summary only --SUMMARY_KEEP_MS--> gone
 *
 * **Invariant:** a sealed segment is wholly on disk and has its summary, so recovery need not look
 * into it and what is lost with its packets can be counted. The newest two segments are never
 * wholly removed: they hold the sequence number, and the newest may not be on disk yet.
 */
#include <stdlib.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "journal/internal.h"

/* A quiet journal begins a new segment after this part of the time kept, so that ages hold. */
#define PARTS_OF_KEEP 16

static void remove_file(const struct journal *j, const struct segment *s, const char *kind)
{
	char name[SEGMENT_NAME_BYTES];

	segment_name(name, s->number, kind);
	unlinkat(j->dir_fd, name, 0);
}

/* The list changes at its end by appenders, at its front by the keeper alone. */
static struct segment *first_of(struct journal *j)
{
	struct list *first;

	pthread_mutex_lock(&j->lock);
	first = j->segments.next;
	pthread_mutex_unlock(&j->lock);
	return first == &j->segments ? NULL : container_of(first, struct segment, link);
}

static struct segment *next_of(struct journal *j, struct segment *s)
{
	struct list *next;

	pthread_mutex_lock(&j->lock);
	next = s->link.next;
	pthread_mutex_unlock(&j->lock);
	return next == &j->segments ? NULL : container_of(next, struct segment, link);
}

int seal(struct journal *j, struct segment *s)
{
	int err = segment_trim(s, j->system);

	if (err == 0 && s->packets)
		err = summary_write(j, s);
	if (err == 0 && fsync(j->dir_fd) != 0)
		err = ERR_SYSTEM;
	if (err == 0)
		err = segment_write_seal(s, j->system);
	if (err)
		return err;
	pthread_mutex_lock(&j->lock);
	s->sealed = true;
	s->dirty = false;
	s->has_summary = s->packets != NULL;
	pthread_mutex_unlock(&j->lock);
	segment_close_files(s);
	return 0;
}

static bool is_closed(struct journal *j, const struct segment *s)
{
	bool closed;

	pthread_mutex_lock(&j->lock);
	closed = s->end != SEGMENT_OPEN && !s->sealed && s->index_fd >= 0;
	pthread_mutex_unlock(&j->lock);
	return closed;
}

/* An open segment that has grown too old for its packets or index to be removed in time. */
static void close_old(struct journal *j)
{
	uint64_t keep = j->config.keep_ms < j->config.index_keep_ms ? j->config.keep_ms
								    : j->config.index_keep_ms;
	struct segment *s;

	pthread_mutex_lock(&j->lock);
	s = j->current;
	if (s && j->next && s->packets_bytes && age_ms(j, s->first_ms) > keep / PARTS_OF_KEEP)
		roll(j);
	pthread_mutex_unlock(&j->lock);
}

void seal_closed(struct journal *j)
{
	close_old(j);
	/* After a failed sync nobody knows what the disk has: the next start must look. */
	if (j->sync_failed)
		return;
	for (struct segment *s = first_of(j); s; s = next_of(j, s)) {
		int err = is_closed(j, s) ? seal(j, s) : 0;

		if (err && err != ERR_HELD) {
			log_error("journal", "seal failed", "segment=%u error=\"%m\"", s->number);
			pthread_mutex_lock(&j->lock);
			j->sync_failed = j->figures.failed = true;
			pthread_mutex_unlock(&j->lock);
		}
		if (err)
			return;
	}
}

static void remove_packets(struct journal *j, struct segment *s, const char *why)
{
	log_info("journal", "segment removed", "segment=%u records=%llu reason=%s", s->number,
		(unsigned long long)(s->end - s->base), why);
	pthread_mutex_lock(&j->lock);
	s->has_packets = false;
	publish(j);
	retire_maps(j, s);
	pthread_mutex_unlock(&j->lock);
	remove_file(j, s, "packets");
}

/* The oldest segment whose packets may be removed, or NULL. */
static struct segment *oldest_with_packets(struct journal *j)
{
	struct segment *s = first_of(j);

	while (s && !s->has_packets)
		s = next_of(j, s);
	return s && s->sealed && next_of(j, s) ? s : NULL;
}

bool make_space(struct journal *j)
{
	struct segment *s = oldest_with_packets(j);

	if (s == NULL || age_ms(j, s->last_ms) < j->config.least_ms)
		return false;
	remove_packets(j, s, "disk-full");
	return true;
}

/* Bytes of packets files on disk; sealed ones are trimmed. */
static uint64_t bytes_used(struct journal *j)
{
	uint64_t bytes = 0;
	struct list *at;

	pthread_mutex_lock(&j->lock);
	bytes += j->next ? j->next->packets_size : 0;
	for (at = j->segments.next; at != &j->segments; at = at->next) {
		const struct segment *s = container_of(at, struct segment, link);

		if (s->has_packets)
			bytes += s->sealed ? s->packets_bytes : s->packets_size;
	}
	pthread_mutex_unlock(&j->lock);
	return bytes;
}

static void remove_old_packets(struct journal *j)
{
	struct segment *s;

	while ((s = oldest_with_packets(j)) != NULL) {
		if (s->end <= atomic_load(&j->released))
			remove_packets(j, s, "released");
		else if (age_ms(j, s->last_ms) > j->config.keep_ms)
			remove_packets(j, s, "age");
		else if (bytes_used(j) > j->config.size_bytes)
			remove_packets(j, s, "size");
		else
			return;
	}
}

/* Index and summary of segments whose packets are gone. */
static void remove_old_rest(struct journal *j)
{
	struct segment *next;

	for (struct segment *s = first_of(j); s; s = next) {
		uint64_t age;

		next = next_of(j, s);
		if (s->has_packets || next == NULL || next_of(j, next) == NULL)
			return;
		age = age_ms(j, s->last_ms);
		if (s->has_index && age > j->config.index_keep_ms) {
			remove_file(j, s, "index");
			pthread_mutex_lock(&j->lock);
			s->has_index = false;
			pthread_mutex_unlock(&j->lock);
		}
		if (s->has_index ||
			(s->has_summary && age <= j->config.index_keep_ms + SUMMARY_KEEP_MS))
			continue;
		remove_file(j, s, "topics");
		pthread_mutex_lock(&j->lock);
		list_remove(&s->link);
		pthread_mutex_unlock(&j->lock);
		segment_free(s);
	}
}

void retain(struct journal *j)
{
	remove_old_packets(j);
	remove_old_rest(j);
}

void journal_release(struct journal *j, uint64_t seq)
{
	atomic_store(&j->released, seq);
}
