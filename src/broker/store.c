/* **Invariant:** a position is committed no earlier than the rows that were put before its mark. */
#include "broker/store.h"

#include <errno.h>
#include <lmdb.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <time.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "broker/store_file.h"

#define SIZE_FIRST (64ull << 20)
#define SIZE_MOST (64ull << 30)
#define RETRY_S 1       /* after the disk refused */
#define ALIVE_MS 10000u /* the time is written at least so often while there are sessions */

#define CHUNK_FIRST 4096u
#define CHUNK_MOST (256u << 10)

/* The latest of a key, waiting to be written. */
struct pending {
	struct view key; /* behind the struct */
	struct view row; /* behind the key; {NULL, 0}: remove */
};

/* What waits lies in chunks that go together with their transaction: single pieces, made on one thread
 * and freed on another between the sessions that stay, would leave holes as large as these. */
struct chunk {
	struct chunk *next;
	size_t used;
	size_t size;
};

struct waiting {
	struct map rows; /* of struct pending in the chunks */
	struct chunk *chunks;
};

struct store {
	struct store_file file;
	struct store_past past;
	uint64_t size_most;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake; /* the thread has something to do */
	pthread_cond_t done; /* a round has ended */
	struct waiting waiting;
	struct store_job *jobs; /* newest first */
	uint64_t *marks;
	unsigned mark_count;
	uint64_t live; /* the least of them */
	uint64_t live_written;
	uint64_t wall_written_ms;
	uint64_t number; /* of the last entry in file.recent */
	uint64_t rounds_begun;
	uint64_t rounds_ended;
	uint64_t flush_until; /* a round with this number is wanted */
	struct store_figures figures;
	bool is_running;
	bool is_stopping;
	bool is_clean;
};

/* --- one transaction -------------------------------------------------- */

static int write_all(struct store_file *f, const struct map *pending, const struct store_meta *meta)
{
	const struct pending *p;
	MDB_txn *txn;
	int err = mdb_txn_begin(f->env, NULL, 0, &txn);

	if (err)
		return err;
	for (size_t at = 0; err == 0 && (p = map_next(pending, &at)) != NULL;)
		err = store_file_put(f, txn, p->key, p->row);
	if (err == 0)
		err = store_file_put_meta(f, txn, meta);
	if (err == 0)
		return mdb_txn_commit(txn);
	mdb_txn_abort(txn);
	return err;
}

/* The same with a file that may grow. */
static int commit(struct store *s, const struct map *pending, const struct store_meta *meta)
{
	int err = write_all(&s->file, pending, meta);

	while (err == MDB_MAP_FULL && s->file.size < s->size_most) {
		s->file.size *= 2;
		err = mdb_env_set_mapsize(s->file.env, s->file.size);
		if (err == 0)
			err = write_all(&s->file, pending, meta);
	}
	return err;
}

/* --- what waits ------------------------------------------------------- */

static void waiting_fini(struct waiting *w)
{
	struct chunk *next;

	for (struct chunk *c = w->chunks; c; c = next) {
		next = c->next;
		free(c);
	}
	map_fini(&w->rows);
	*w = (struct waiting){0};
}

static void *take_room(struct waiting *w, size_t bytes)
{
	struct chunk *c = w->chunks;
	void *room;

	bytes = (bytes + 15) & ~(size_t)15;
	if (c == NULL || c->size - c->used < bytes) {
		size_t size = c == NULL               ? CHUNK_FIRST
			      : c->size >= CHUNK_MOST ? CHUNK_MOST
						      : c->size * 2;

		if (size < bytes)
			size = bytes;
		c = mem_new(sizeof(*c) + size);
		c->size = size;
		c->next = w->chunks;
		w->chunks = c;
	}
	room = (char *)(c + 1) + c->used;
	c->used += bytes;
	return room;
}

/* Copies both; the row waits instead of an older one of the same key. */
static void wait_for(struct waiting *w, struct view key, struct view row)
{
	struct pending *p = take_room(w, sizeof(*p) + key.n + row.n);
	char *bytes = (char *)(p + 1);

	memcpy(bytes, key.p, key.n);
	*p = (struct pending){.key = {bytes, key.n}};
	if (row.p) {
		memcpy(bytes + key.n, row.p, row.n);
		p->row = (struct view){bytes + key.n, row.n};
	}
	map_remove(&w->rows, key); /* the map borrows its key from the value */
	map_put(&w->rows, p->key, p);
}

/* With the lock: rows that could not be written wait again, unless a newer one does. */
static void put_back(struct store *s, struct waiting *old)
{
	const struct pending *p;

	for (size_t at = 0; (p = map_next(&old->rows, &at)) != NULL;) {
		if (map_get(&s->waiting.rows, p->key) == NULL)
			wait_for(&s->waiting, p->key, p->row);
	}
	waiting_fini(old);
}

static void leave(struct store *s, struct view key, struct view row, bool is_urgent)
{
	pthread_mutex_lock(&s->lock);
	if (!s->is_stopping) {
		wait_for(&s->waiting, key, row);
		if (is_urgent)
			recent_add(&s->file.recent, ++s->number, key, row);
		pthread_cond_signal(&s->wake);
	}
	pthread_mutex_unlock(&s->lock);
}

void store_put(struct store *s, struct view key, struct view row, bool is_urgent)
{
	leave(s, key, row, is_urgent);
}

void store_remove(struct store *s, struct view key)
{
	leave(s, key, (struct view){NULL, 0}, true);
}

static uint64_t least(const uint64_t *marks, unsigned n)
{
	uint64_t least = UINT64_MAX;

	for (unsigned i = 0; i < n; i++) {
		if (marks[i] < least)
			least = marks[i];
	}
	return least;
}

void store_mark(struct store *s, unsigned mark, uint64_t position)
{
	pthread_mutex_lock(&s->lock);
	check(mark < s->mark_count && position >= s->marks[mark]);
	s->marks[mark] = position;
	s->live = least(s->marks, s->mark_count);
	if (s->live != s->live_written)
		pthread_cond_signal(&s->wake);
	pthread_mutex_unlock(&s->lock);
}

/* --- the thread ------------------------------------------------------- */

/* With the lock. Without rows on disk nobody asks for the position or the time. */
static bool has_work(const struct store *s)
{
	if (s->jobs || s->waiting.rows.count || s->is_stopping || s->flush_until > s->rounds_begun)
		return true;
	if (s->figures.rows == 0)
		return false;
	return s->live != s->live_written || clock_wall_ms() - s->wall_written_ms > ALIVE_MS;
}

static void wait_s(struct store *s, pthread_cond_t *cond, time_t seconds)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += seconds;
	pthread_cond_timedwait(cond, &s->lock, &until);
}

/* With the lock, which it lets go while it writes. Stopping: no second attempt. */
static void do_round(struct store *s)
{
	struct waiting waiting = s->waiting;
	struct store_meta meta = {.live = s->live, .wall_ms = clock_wall_ms(), .number = s->number};
	uint64_t rows = 0;
	int err;

	meta.is_clean = s->is_stopping && s->is_clean;
	s->waiting = (struct waiting){0};
	recent_turn(&s->file.recent);
	s->rounds_begun++;
	pthread_mutex_unlock(&s->lock);
	err = commit(s, &waiting.rows, &meta);
	if (err)
		log_error("broker", "store-failed", "store=%s rows=%zu why=\"%s\": tried again",
			s->file.kind->name, waiting.rows.count, mdb_strerror(err));
	else
		rows = store_file_rows(&s->file);
	pthread_mutex_lock(&s->lock);
	s->rounds_ended = s->rounds_begun;
	pthread_cond_broadcast(&s->done);
	if (err) {
		s->figures.failed++;
		put_back(s, &waiting);
		return;
	}
	recent_done(&s->file.recent);
	s->figures.written += waiting.rows.count;
	s->figures.rows = rows;
	s->live_written = meta.live;
	s->wall_written_ms = meta.wall_ms;
	waiting_fini(&waiting);
}

/* With the lock, which it lets go. */
static void run_jobs(struct store *s)
{
	struct store_job *jobs = s->jobs;

	s->jobs = NULL;
	pthread_mutex_unlock(&s->lock);
	while (jobs) {
		struct store_job *next = jobs->next;

		jobs->run(jobs);
		jobs = next;
	}
	pthread_mutex_lock(&s->lock);
}

void store_run(struct store *s, struct store_job *job)
{
	bool is_taken;

	pthread_mutex_lock(&s->lock);
	is_taken = s->is_running && !s->is_stopping;
	if (is_taken) {
		job->next = s->jobs;
		s->jobs = job;
		pthread_cond_signal(&s->wake);
	}
	pthread_mutex_unlock(&s->lock);
	if (!is_taken)
		job->run(job);
}

static void *run(void *argument)
{
	struct store *s = argument;
	bool is_last = false;

	pthread_mutex_lock(&s->lock);
	while (!is_last) {
		uint64_t failed = s->figures.failed;

		while (!has_work(s))
			wait_s(s, &s->wake, ALIVE_MS / 1000);
		if (s->jobs) {
			run_jobs(s);
			continue;
		}
		is_last = s->is_stopping;
		do_round(s);
		if (s->figures.failed != failed && !is_last && !s->is_stopping)
			wait_s(s, &s->wake, RETRY_S);
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

bool store_get(struct store *s, struct view key, struct buf *out)
{
	const struct pending *p;

	pthread_mutex_lock(&s->lock);
	p = map_get(&s->waiting.rows, key);
	if (p)
		buf_append(out, p->row.p, p->row.n);
	pthread_mutex_unlock(&s->lock);
	return p ? p->row.p != NULL : store_file_get(&s->file, key, out);
}

void store_flush(struct store *s)
{
	uint64_t round;

	pthread_mutex_lock(&s->lock);
	round = s->rounds_begun + 1;
	if (s->flush_until < round)
		s->flush_until = round;
	pthread_cond_signal(&s->wake);
	while (s->is_running && s->rounds_ended < round)
		pthread_cond_wait(&s->done, &s->lock);
	pthread_mutex_unlock(&s->lock);
}

/* --- a copy ----------------------------------------------------------- */

struct copying {
	struct store_job job;
	struct store *store;
	const char *dir;
	sem_t done;
	int err; /* errno's */
};

/* No transaction is under way on this thread, and no other thread writes. */
static void run_copy(struct store_job *job)
{
	struct copying *c = container_of(job, struct copying, job);

	c->err = store_file_copy(&c->store->file, c->dir);
	sem_post(&c->done);
}

static void await_copy(struct copying *c, void (*alive)(void *context), void *context)
{
	struct timespec until;

	for (;;) {
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_sec++;
		if (sem_timedwait(&c->done, &until) == 0)
			return;
		if (errno == ETIMEDOUT)
			alive(context);
	}
}

int store_copy(struct store *s, const char *dir, void (*alive)(void *context), void *context)
{
	struct copying c = {.job.run = run_copy, .store = s, .dir = dir};

	sem_init(&c.done, 0, 0);
	store_flush(s);
	store_run(s, &c.job);
	await_copy(&c, alive, context);
	sem_destroy(&c.done);
	errno = c.err;
	return c.err ? ERR_SYSTEM : 0;
}

void store_figures(struct store *s, struct store_figures *out)
{
	pthread_mutex_lock(&s->lock);
	*out = s->figures;
	pthread_mutex_unlock(&s->lock);
}

/* --- life ------------------------------------------------------------- */

int store_open(struct store **out, const struct store_config *config, char **why)
{
	struct store *s = mem_new(sizeof(*s));
	struct store_meta meta = {0};
	int err;

	s->size_most = config->size_bytes ? config->size_bytes : SIZE_MOST;
	s->file.kind = config->kind;
	s->file.size = s->size_most < SIZE_FIRST ? s->size_most : SIZE_FIRST;
	err = store_file_open(&s->file, config->dir, &meta, why);
	if (err < 0) {
		free(s);
		return err;
	}
	s->past = (struct store_past){meta.live, meta.wall_ms, meta.is_clean};
	s->live = s->live_written = meta.live;
	s->number = meta.number;
	s->figures.rows = store_file_rows(&s->file);
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->wake, NULL);
	pthread_cond_init(&s->done, NULL);
	*out = s;
	return 0;
}

const struct store_past *store_past(const struct store *s)
{
	return &s->past;
}

void store_walk(struct store *s, bool (*on_row)(void *, struct view), void *context)
{
	store_file_walk(&s->file, on_row, context);
}

void store_begin(struct store *s, unsigned marks, uint64_t live)
{
	int err;

	s->marks = mem_new(marks * sizeof(*s->marks));
	s->mark_count = marks;
	for (unsigned i = 0; i < marks; i++)
		s->marks[i] = live;
	s->live = live;
	s->live_written = UINT64_MAX;
	s->flush_until = 1; /* the first round says: running */
	err = pthread_create(&s->thread, NULL, run, s);
	check(err == 0);
	pthread_setname_np(s->thread, s->file.kind->name);
	s->is_running = true;
	store_flush(s);
	store_file_opened(&s->file);
}

void store_stop(struct store *s, bool is_clean)
{
	if (!s->is_running)
		return;
	pthread_mutex_lock(&s->lock);
	s->is_stopping = true;
	s->is_clean = is_clean;
	pthread_cond_signal(&s->wake);
	pthread_mutex_unlock(&s->lock);
	pthread_join(s->thread, NULL);
	pthread_mutex_lock(&s->lock);
	s->is_running = false;
	pthread_mutex_unlock(&s->lock);
}

void store_close(struct store *s)
{
	store_stop(s, false);
	waiting_fini(&s->waiting);
	store_file_opened(&s->file); /* whoever comes here has not died of it */
	store_file_close(&s->file);
	pthread_cond_destroy(&s->done);
	pthread_cond_destroy(&s->wake);
	pthread_mutex_destroy(&s->lock);
	free(s->marks);
	free(s);
}
