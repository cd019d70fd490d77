/* cluster/follower.c - batches of all shards, merged
 *
 * Tails that have a batch ask for a merge at the end of the turn: one for all that came in it. Each
 * gives a piece of its batch; what is left, as the journal does not take it now or as it waits for a
 * record that is not known, is offered again.
 */
#include "cluster/follower.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "cluster/resume.h"

#define PIECE_BYTES (4u << 20) /* of all lines of a merge together */
#define PIECE_RECORDS 4096u
#define HELD_MS 100u /* between two attempts while the journal takes nothing */
#define HELD_TOLD_MS 1000u
#define SAVE_FIRST_MS 100u
#define SAVE_EVERY_MS 1000u
#define AGAIN_MS 10u /* while what is kept back may still be brought */

struct follower {
	struct cluster_core *core;
	struct tail tails[SHARDS_MOST];
	struct deferred merge;
	struct timer again;
	uint32_t count; /* lines of this merge */
	struct commit_line lines[SHARDS_MOST];
	struct tail *sources[SHARDS_MOST]; /* of the lines */
	bool is_held;                      /* and that was told */
	uint64_t held_since_ms;            /* 0: the journal takes everything */
	struct timer save;
	int bookmark_fd; /* -1: there is none */
	struct bookmark bookmark;
	struct follower_figures figures;
};

/* --- lines ------------------------------------------------------------------- */

static bool is_waiting(const struct tail *t)
{
	return t->is_ready && t->at < t->n;
}

/* Nobody is going to bring what this shard waits for. */
static bool is_overdue(const struct follower *f, const struct tail *t)
{
	uint64_t place = t->records[t->at].message.log_id;

	if (loop_now_ms(f->core->loop) - t->ready_ms < FOLLOWER_PATIENCE_MS)
		return false;
	for (uint32_t i = 0; i < f->core->shards; i++) {
		if (tail_may_bring(&f->tails[i], place))
			return false;
	}
	return true;
}

static size_t bytes_of(const struct commit_record *r)
{
	return r->message.topic.n + r->message.payload.n + r->message.properties.n;
}

/* At least one record, and no more than this merge's share. */
static struct commit_line piece_of(const struct follower *f, const struct tail *t, uint32_t lines)
{
	struct commit_line line = {.records = t->records + t->at, .n = 1};
	size_t bytes = bytes_of(line.records);

	while (line.n < t->n - t->at && line.n < PIECE_RECORDS / lines) {
		bytes += bytes_of(&line.records[line.n]);
		if (bytes > PIECE_BYTES / lines)
			break;
		line.n++;
	}
	line.overdue = is_overdue(f, t) ? line.n : 0;
	return line;
}

static void gather(struct follower *f)
{
	f->count = 0;
	for (uint32_t i = 0; i < f->core->shards; i++) {
		if (is_waiting(&f->tails[i]))
			f->sources[f->count++] = &f->tails[i];
	}
	for (uint32_t i = 0; i < f->count; i++)
		f->lines[i] = piece_of(f, f->sources[i], f->count);
}

/* --- merging ------------------------------------------------------------------- */

static void tell_held(struct follower *f, bool is_held)
{
	if (is_held == f->is_held)
		return;
	f->is_held = is_held;
	count_add(&f->figures.held, is_held);
	if (is_held)
		log_warn("cluster", "following_held",
			"the journal takes nothing now: the shared log is not followed");
	else
		log_info("cluster", "following_resumed", "the journal takes messages again");
	for (uint32_t i = 0; i < f->core->shards; i++)
		tail_hold(&f->tails[i], is_held);
}

/* A moment, until the next segment is there, is not worth a word. Gives when to come again. */
static uint64_t note_held(struct follower *f, bool is_held)
{
	uint64_t now = loop_now_ms(f->core->loop);

	if (!is_held)
		f->held_since_ms = 0;
	else if (f->held_since_ms == 0)
		f->held_since_ms = now;
	tell_held(f, is_held && now - f->held_since_ms >= HELD_TOLD_MS);
	return f->is_held ? HELD_MS : AGAIN_MS;
}

static void settle(struct follower *f, uint32_t from, uint32_t n, uint32_t *taken)
{
	for (uint32_t i = from; i < from + n; i++) {
		const struct commit_line *line = &f->lines[i];

		count_add(&f->figures.appended, line->taken - line->known);
		count_add(&f->figures.known, line->known);
		count_add(&f->figures.unordered, line->forced);
		*taken += line->taken;
		tail_took(f->sources[i], line->taken);
	}
}

/* All lines at once; one after the other where they are more than the journal takes at a time. */
static int write_lines(struct follower *f, uint32_t *taken)
{
	int err = commit_follow(f->core->commit, f->lines, f->count);

	if (err == 0)
		settle(f, 0, f->count, taken);
	if (err != ERR_TOO_LARGE)
		return err;
	for (uint32_t i = 0; i < f->count; i++) {
		err = commit_follow(f->core->commit, &f->lines[i], 1);
		if (err)
			return err;
		settle(f, i, 1, taken);
	}
	return 0;
}

static bool has_waiting(const struct follower *f)
{
	for (uint32_t i = 0; i < f->core->shards; i++) {
		if (is_waiting(&f->tails[i]))
			return true;
	}
	return false;
}

static void on_merge(struct deferred *d)
{
	struct follower *f = container_of(d, struct follower, merge);
	uint32_t taken = 0;
	uint64_t again_ms;
	int err;

	gather(f);
	if (f->count == 0)
		return;
	err = write_lines(f, &taken);
	again_ms = note_held(f, err != 0);
	if (!has_waiting(f))
		return;
	if (err == 0 && taken)
		loop_defer(f->core->loop, &f->merge);
	else
		timer_start(f->core->loop, &f->again, again_ms);
}

static void want_merge(struct follower *f)
{
	if (f->held_since_ms == 0)
		loop_defer(f->core->loop, &f->merge);
}

static void on_batch(struct tail *t)
{
	want_merge(t->context);
}

static void on_again(struct timer *t)
{
	struct follower *f = container_of(t, struct follower, again);

	loop_defer(f->core->loop, &f->merge);
}

/* --- bookmark ---------------------------------------------------------------------- */

static void fill_row(const struct tail *t, struct bookmark_row *row)
{
	*row = (struct bookmark_row){.place = t->done.place,
		.ordinal = t->done.is_counted ? t->done.ordinal : BOOKMARK_UNCOUNTED};
	/* What is read a second time on a new process has to be read to its end. */
	if (t->after >= t->done.place && !t->is_changed)
		memcpy(row->run_id, t->run_id, sizeof(row->run_id));
}

static void save(struct follower *f)
{
	struct bookmark *m = &f->bookmark;
	uint64_t seq = journal_tail(commit_journal(f->core->commit));
	bool is_new = seq != m->seq || m->count != f->core->shards;

	m->seq = seq;
	m->count = f->core->shards;
	for (uint32_t i = 0; i < m->count; i++) {
		struct bookmark_row row;

		fill_row(&f->tails[i], &row);
		is_new |= memcmp(&row, &m->rows[i], sizeof(row)) != 0;
		m->rows[i] = row;
	}
	if (!is_new || f->bookmark_fd < 0)
		return;
	if (bookmark_write(f->bookmark_fd, m) < 0)
		log_warn("cluster", "bookmark_not_written", "dir=%s error=\"%m\"",
			f->core->settings->dir);
}

static void on_save(struct timer *t)
{
	struct follower *f = container_of(t, struct follower, save);

	save(f);
	timer_start(f->core->loop, t, SAVE_EVERY_MS);
}

/* --- public ----------------------------------------------------------------------- */

struct follower *follower_new(struct cluster_core *core)
{
	struct follower *f = mem_new(sizeof(*f));

	f->core = core;
	f->merge.run = on_merge;
	list_init(&f->merge.link);
	f->again.on_time = on_again;
	f->save.on_time = on_save;
	f->bookmark_fd = -1;
	return f;
}

void follower_begin(struct follower *f)
{
	struct resume from[SHARDS_MOST];
	bool is_known = bookmark_open(f->core->settings->dir, &f->bookmark_fd, &f->bookmark);

	if (f->bookmark_fd < 0)
		log_warn("cluster", "no_bookmark", "dir=%s error=\"%m\"", f->core->settings->dir);
	resume_find(f->core->commit, is_known ? &f->bookmark : NULL, f->core->shards, from);
	for (uint32_t i = 0; i < f->core->shards; i++) {
		struct tail *t = &f->tails[i];

		tail_init(t, f->core, i, from[i].mark, from[i].run_id);
		t->on_batch = on_batch;
		t->context = f;
		tail_begin(t);
	}
	timer_start(f->core->loop, &f->save, SAVE_FIRST_MS);
}

void follower_compare(struct follower *f)
{
	for (uint32_t i = 0; i < f->core->shards; i++)
		tail_compare(&f->tails[i]);
}

void follower_free(struct follower *f)
{
	if (f == NULL)
		return;
	if (f->save.place)
		save(f);
	for (uint32_t i = 0; i < SHARDS_MOST; i++) {
		if (f->tails[i].core)
			tail_fini(&f->tails[i]);
	}
	timer_stop(f->core->loop, &f->again);
	timer_stop(f->core->loop, &f->save);
	list_remove(&f->merge.link);
	if (f->bookmark_fd >= 0)
		close(f->bookmark_fd);
	free(f);
}

/* --- figures ------------------------------------------------------------------------ */

const struct follower_figures *follower_figures(const struct follower *f)
{
	return &f->figures;
}

const struct tail_figures *follower_tail(const struct follower *f, uint32_t shard)
{
	return &f->tails[shard].figures;
}

void follower_sum(const struct follower *f, struct follower_sum *out)
{
	*out = (struct follower_sum){0};
	for (uint32_t i = 0; i < f->core->shards; i++) {
		const struct tail_figures *t = &f->tails[i].figures;
		uint64_t lag_ms = count_read(&t->lag_ms);

		out->shards[count_read(&t->state)]++;
		out->lag_entries += count_read(&t->lag_entries);
		out->lag_ms = lag_ms > out->lag_ms ? lag_ms : out->lag_ms;
		out->entries += count_read(&t->entries);
		out->missed += count_read(&t->missed);
		out->malformed += count_read(&t->malformed);
		out->unsafe += count_read(&t->unsafe);
	}
}

const char *follower_degraded(const struct follower *f)
{
	static const char *const whys[FOLLOW_STATES] = {
		[FOLLOW_NEWER] = "messages of a newer version are in the cluster: this node has to "
				 "be upgraded to read on",
		[FOLLOW_HELD] = "the journal takes nothing: what others publish is not followed",
	};
	struct follower_sum sum;

	follower_sum(f, &sum);
	for (unsigned i = 0; i < FOLLOW_STATES; i++) {
		if (whys[i] && sum.shards[i])
			return whys[i];
	}
	for (uint32_t i = 0; i < f->core->shards; i++) {
		if (!f->tails[i].is_compared)
			return "what is retained has not been read from Redis yet";
	}
	return NULL;
}
