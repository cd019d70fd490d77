/* The keeper: everything about the journal that may wait for the disk.
 *
 * A thread that makes rounds, each of the same steps: make the next segment ahead of need and tell
 * those who wait for it, sync what was appended, close and seal full segments, remove old ones,
 * free what readers have left. It is poked when a segment was taken into use, when an append was
 * refused and when a sync is wanted, and looks round by itself once a second at least.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <time.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "journal/internal.h"

#define ROUND_MS 1000u
#define ROUND_LEAST_MS 10u
#define LOOK_MS 1000u
#define DIRTY_MOST 64 /* segments in one sync; more wait for the next */

/* What one sync covers. */
struct sync_work {
	struct segment *segments[DIRTY_MOST];
	size_t n;
	uint64_t tail;
};

/* Takes the dirty segments; what is appended from here on is the next sync's. */
static void take_dirty(struct journal *j, struct sync_work *w)
{
	struct list *at;

	w->n = 0;
	pthread_mutex_lock(&j->lock);
	w->tail = atomic_load(&j->tail);
	for (at = j->segments.next; at != &j->segments; at = at->next) {
		struct segment *s = container_of(at, struct segment, link);

		if (!s->dirty)
			continue;
		if (w->n == DIRTY_MOST) {
			w->tail = s->base;
			break;
		}
		s->dirty = false;
		w->segments[w->n++] = s;
	}
	pthread_mutex_unlock(&j->lock);
}

static void sync_fails(struct journal *j)
{
	log_error("journal", "sync failed",
		"dir=%s error=\"%m\" note=\"what is on disk is unknown until a restart\"", j->dir);
	pthread_mutex_lock(&j->lock);
	j->sync_failed = j->figures.failed = true;
	pthread_mutex_unlock(&j->lock);
}

/* Packets before the index: an entry on disk has its packet there. */
static int sync_segment(const struct journal *j, const struct segment *s)
{
	return j->system->fdatasync(s->packets_fd) == 0 && j->system->fdatasync(s->index_fd) == 0
		       ? 0
		       : ERR_SYSTEM;
}

int keeper_sync(struct journal *j)
{
	struct sync_work w;
	uint64_t start = clock_mono_ns();

	/* A kernel reports a lost page once; a second sync would succeed without it. */
	if (j->sync_failed)
		return ERR_SYSTEM;
	take_dirty(j, &w);
	for (size_t i = 0; i < w.n; i++) {
		if (sync_segment(j, w.segments[i]) != 0) {
			sync_fails(j);
			return ERR_SYSTEM;
		}
	}
	atomic_store(&j->safe, w.tail);
	if (w.n == 0)
		return 0;
	pthread_mutex_lock(&j->lock);
	j->figures.syncs++;
	j->figures.sync_ns += clock_mono_ns() - start;
	pthread_mutex_unlock(&j->lock);
	return 0;
}

static void tell_progress(struct journal *j)
{
	void (*call)(void *context);
	void *context;

	pthread_mutex_lock(&j->lock);
	call = j->on_progress;
	context = j->on_progress_context;
	pthread_mutex_unlock(&j->lock);
	if (call)
		call(context);
}

static void sync_when_due(struct journal *j)
{
	uint64_t before = atomic_load(&j->safe);
	uint64_t now = mono_now(j);

	if (j->config.sync == JOURNAL_SYNC_NEVER)
		return;
	if (j->config.sync == JOURNAL_SYNC_INTERVAL && now - j->synced_ms < j->config.sync_ms)
		return;
	j->synced_ms = now;
	if (keeper_sync(j) == 0 && j->config.sync == JOURNAL_SYNC_ALWAYS &&
		atomic_load(&j->safe) != before)
		tell_progress(j);
}

int keeper_prepare(struct journal *j)
{
	struct segment *s;
	int err;

	pthread_mutex_lock(&j->lock);
	s = j->next ? NULL : segment_new(j->next_number);
	pthread_mutex_unlock(&j->lock);
	if (s == NULL)
		return 0;
	s->packets_size = j->config.segment_bytes;
	s->capacity = journal_batch_records(j);
	err = segment_create(s, j->dir_fd, j->system);
	if (err) {
		segment_free(s);
		return err;
	}
	pthread_mutex_lock(&j->lock);
	j->next = s;
	j->next_number++;
	pthread_mutex_unlock(&j->lock);
	return 0;
}

/* Says once that the disk is full or unusable, and once that it is not any more. */
static void tell_held(struct journal *j, int err)
{
	if (err && !j->told_held)
		log_error("journal", "no next segment", "dir=%s error=\"%m\"", j->dir);
	if (err == 0 && j->told_held)
		log_info("journal", "next segment made", "dir=%s", j->dir);
	j->told_held = err != 0;
}

/* The next segment, at the price of the oldest ones when the disk is full. Their space is free
 * only when the last reader has left their maps. */
static void prepare_or_make_space(struct journal *j)
{
	int err = keeper_prepare(j);

	while (err == ERR_HELD && !reclaim(j, false) && make_space(j)) {
		reclaim(j, false);
		err = keeper_prepare(j);
	}
	tell_held(j, err);
}

/* Who was refused for want of a segment or of space may try again. */
static void resume(struct journal *j)
{
	bool go;

	pthread_mutex_lock(&j->lock);
	go = j->held && j->next && mono_now(j) >= j->held_until_ms &&
	     !(j->sync_failed && j->config.sync == JOURNAL_SYNC_ALWAYS);
	if (go) {
		j->held = false;
		j->figures.held_ms += mono_now(j) - j->held_since_ms;
	}
	pthread_mutex_unlock(&j->lock);
	if (go)
		tell_progress(j);
}

static void look_at_disk(struct journal *j)
{
	struct statvfs disk;

	if (fstatvfs(j->dir_fd, &disk) != 0)
		disk = (struct statvfs){0};
	j->looked_ms = mono_now(j);
	pthread_mutex_lock(&j->lock);
	j->figures.disk_bytes = (uint64_t)disk.f_blocks * disk.f_frsize;
	j->figures.disk_free_bytes = (uint64_t)disk.f_bavail * disk.f_frsize;
	pthread_mutex_unlock(&j->lock);
}

void keeper_pass(struct journal *j)
{
	pthread_mutex_lock(&j->pass);
	/* First what appends wait for; it is there already in nearly every round. */
	prepare_or_make_space(j);
	resume(j);
	sync_when_due(j);
	seal_closed(j);
	retain(j);
	reclaim(j, false);
	if (mono_now(j) - j->looked_ms >= LOOK_MS)
		look_at_disk(j);
	pthread_mutex_unlock(&j->pass);
}

void keeper_poke(struct journal *j)
{
	if (atomic_exchange(&j->wanted, true))
		return;
	pthread_mutex_lock(&j->keeper_lock);
	pthread_cond_signal(&j->keeper_wake);
	pthread_mutex_unlock(&j->keeper_lock);
}

void journal_want_sync(struct journal *j)
{
	keeper_poke(j);
}

static uint32_t round_ms(const struct journal *j)
{
	uint32_t ms = j->config.sync == JOURNAL_SYNC_INTERVAL ? j->config.sync_ms : ROUND_MS;

	return ms > ROUND_MS ? ROUND_MS : ms < ROUND_LEAST_MS ? ROUND_LEAST_MS : ms;
}

/* Until poked, stopped, or the next round is due. True: stop. */
static bool wait_for_work(struct journal *j)
{
	uint32_t ms = round_ms(j);
	struct timespec until;
	int err = 0;
	bool stop;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += ms / 1000;
	until.tv_nsec += (long)(ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_mutex_lock(&j->keeper_lock);
	while (!j->stopping && !atomic_load(&j->wanted) && err != ETIMEDOUT)
		err = pthread_cond_timedwait(&j->keeper_wake, &j->keeper_lock, &until);
	atomic_store(&j->wanted, false);
	stop = j->stopping;
	pthread_mutex_unlock(&j->keeper_lock);
	return stop;
}

static void *keeper_main(void *argument)
{
	struct journal *j = argument;

	do
		keeper_pass(j);
	while (!wait_for_work(j));
	return NULL;
}

void keeper_init(struct journal *j)
{
	pthread_condattr_t attributes;

	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&j->keeper_wake, &attributes);
	pthread_condattr_destroy(&attributes);
}

void keeper_start(struct journal *j)
{
	look_at_disk(j);
	pthread_create(&j->keeper, NULL, keeper_main, j);
}

void keeper_stop(struct journal *j)
{
	pthread_mutex_lock(&j->keeper_lock);
	j->stopping = true;
	pthread_cond_signal(&j->keeper_wake);
	pthread_mutex_unlock(&j->keeper_lock);
	pthread_join(j->keeper, NULL);
}
