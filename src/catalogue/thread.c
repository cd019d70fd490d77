/* catalogue/thread.c - the librarian's thread, and what others see of it
 *
 * It looks once a second: at the schedule, at what workers have raised on the shelf, at the age of
 * what is in force. So workers raise a flag and make no system call.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "catalogue/internal.h"

/* --- figures ---------------------------------------------------------- */

static void show_list(const struct librarian *k, const struct librarian_source *s, uint64_t wall_ms,
	struct librarian_list_figures *out)
{
	const struct book_list *l = &k->book.lists[s->place];

	snprintf(out->url, sizeof(out->url), "%s", s->shown);
	snprintf(out->last_error, sizeof(out->last_error), "%s", s->why);
	out->records = l->records;
	out->refused = s->refused;
	out->has_list = l->good_ms != 0;
	out->age_ms = out->has_list && wall_ms > l->good_ms ? wall_ms - l->good_ms : 0;
	out->fetches = s->fetches;
	out->failures = s->failures;
}

void librarian_show(struct librarian *k, uint64_t mono_ms, uint64_t wall_ms)
{
	uint64_t newest = book_newest_ms(&k->book), due_ms = k->schedule.due_ms;
	struct librarian_figures f = {
		.state = k->state,
		.has_age = newest != 0,
		.age_ms = newest && wall_ms > newest ? wall_ms - newest : 0,
		.next_ms = k->source_count && due_ms > mono_ms ? due_ms - mono_ms : 0,
		.pairs = k->pairs,
		.bytes = k->list_bytes + book_bytes(&k->book),
		.list_count = k->source_count,
	};

	for (uint32_t i = 0; i < k->source_count; i++)
		show_list(k, &k->sources[i], wall_ms, &f.lists[i]);
	pthread_mutex_lock(&k->lock);
	k->figures = f;
	pthread_mutex_unlock(&k->lock);
}

void librarian_figures(struct librarian *k, struct librarian_figures *out)
{
	pthread_mutex_lock(&k->lock);
	*out = k->figures;
	pthread_mutex_unlock(&k->lock);
}

/* --- settings from outside --------------------------------------------- */

static void free_rules(struct librarian_rules *r)
{
	if (r == NULL)
		return;
	for (uint32_t i = 0; i < r->url_count; i++)
		free(r->urls[i]);
	free((void *)r->urls);
	free(r);
}

static struct librarian_rules *copy_rules(const struct librarian_rules *r)
{
	struct librarian_rules *copy = mem_new(sizeof(*copy));
	char **urls = mem_new((r->url_count + 1) * sizeof(char *));

	for (uint32_t i = 0; i < r->url_count; i++)
		urls[i] = mem_text(r->urls[i]);
	*copy = *r;
	copy->urls = urls;
	return copy;
}

void librarian_apply(struct librarian *k, const struct librarian_rules *rules)
{
	struct librarian_rules *fresh = copy_rules(rules);

	pthread_mutex_lock(&k->lock);
	free_rules(k->pending);
	k->pending = fresh;
	pthread_cond_signal(&k->wake);
	pthread_mutex_unlock(&k->lock);
}

static void take_pending(struct librarian *k)
{
	struct librarian_rules *fresh;

	pthread_mutex_lock(&k->lock);
	fresh = k->pending;
	k->pending = NULL;
	pthread_mutex_unlock(&k->lock);
	if (fresh)
		librarian_take_rules(k, fresh, clock_mono_ms());
	free_rules(fresh);
}

/* --- the thread ------------------------------------------------------- */

static void wait_a_second(struct librarian *k)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec++;
	pthread_mutex_lock(&k->lock);
	if (k->pending == NULL && !atomic_load(&k->stopping))
		pthread_cond_timedwait(&k->wake, &k->lock, &until);
	pthread_mutex_unlock(&k->lock);
}

static void *run(void *argument)
{
	struct librarian *k = argument;

	while (!atomic_load(&k->stopping)) {
		take_pending(k);
		librarian_turn(k, clock_mono_ms(), clock_wall_ms());
		wait_a_second(k);
	}
	return NULL;
}

/* --- life ------------------------------------------------------------- */

struct librarian *librarian_new(const struct librarian_settings *settings)
{
	struct librarian *k = mem_new(sizeof(*k));
	pthread_condattr_t monotonic;

	k->settings = *settings;
	k->settings.dir = mem_text(settings->dir);
	k->file = mem_printf("%s/records", settings->dir);
	k->fetcher = fetcher_new(settings->limits);
	k->fetch = fetch_records;
	k->round_failed = true;
	pthread_mutex_init(&k->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&k->wake, &monotonic);
	pthread_condattr_destroy(&monotonic);
	book_init(&k->book);
	librarian_load(k);
	librarian_take_rules(k, &settings->rules, clock_mono_ms());
	k->settings.rules = (struct librarian_rules){0};
	librarian_judge(k, clock_wall_ms());
	librarian_show(k, clock_mono_ms(), clock_wall_ms());
	return k;
}

int librarian_start(struct librarian *k)
{
	int err = pthread_create(&k->thread, NULL, run, k);

	if (err) {
		log_error("catalogue", "cannot-start-thread", "why=\"%s\"", strerror(err));
		return ERR_SYSTEM;
	}
	k->is_running = true;
	pthread_setname_np(k->thread, "catalogues");
	return 0;
}

void librarian_stop(struct librarian *k)
{
	if (!k->is_running)
		return;
	atomic_store(&k->stopping, true);
	fetcher_stop(k->fetcher);
	pthread_mutex_lock(&k->lock);
	pthread_cond_signal(&k->wake);
	pthread_mutex_unlock(&k->lock);
	pthread_join(k->thread, NULL);
	k->is_running = false;
}

void librarian_free(struct librarian *k)
{
	if (k == NULL)
		return;
	for (uint32_t i = 0; i < k->source_count; i++) {
		free(k->sources[i].url);
		free(k->sources[i].shown);
	}
	book_fini(&k->book);
	fetcher_free(k->fetcher);
	free_rules(k->pending);
	pthread_cond_destroy(&k->wake);
	pthread_mutex_destroy(&k->lock);
	free((void *)k->settings.dir);
	free(k->file);
	free(k);
}
