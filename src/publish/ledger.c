/* publish/ledger.c - see the header */
#include "publish/ledger.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "publish/internal.h"

#define SAVE_EVERY_S 1
#define FILE_LARGEST (1u << 20)
#define FAULT_LOG_MS 600000u

/* Records [from, to) of which a target wanted some. */
struct loss {
	struct list link;
	struct target *target;
	struct publish_setup filters; /* only the filters, copied */
	uint64_t from;
	uint64_t to;
	uint64_t wanted;
};

struct ledger {
	struct publisher *publisher;
	char *file;
	struct positions found; /* as an earlier run left them */
	bool is_whole;
	struct buf saved; /* what the file holds */
	struct log_limit fault_log;
	pthread_t thread;
	bool is_running;
	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t wake;
	pthread_cond_t idle;
	struct list losses;
	bool working; /* on one that is not in the list any more */
	bool stopping;
};

/* --- positions -------------------------------------------------------------- */

/* False: there is a file and it cannot be read. */
static bool read_all(const char *file, struct buf *out)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	struct stat st;
	ssize_t n = 0;

	if (fd < 0)
		return errno == ENOENT;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > FILE_LARGEST) {
		close(fd);
		return false;
	}
	while (buf_length(out) < (size_t)st.st_size) {
		n = read(fd, buf_reserve(out, FILE_LARGEST), FILE_LARGEST - buf_length(out));
		if (n <= 0)
			break;
		buf_grown(out, (size_t)n);
	}
	close(fd);
	return buf_length(out) == (size_t)st.st_size;
}

static void find_positions(struct ledger *l)
{
	bool was_read = read_all(l->file, &l->saved);
	bool is_new = was_read && buf_length(&l->saved) == 0;

	l->is_whole = is_new || (was_read && positions_parse(&l->found, buf_view(&l->saved)));
	if (!l->is_whole)
		log_error("publish", "positions-unreadable",
			"file=%s every target begins with the oldest message of the journal",
			l->file);
}

static void collect(struct publisher *p, struct positions *out)
{
	pthread_mutex_lock(&p->lock);
	for (uint32_t i = 0; i < p->count; i++)
		positions_add(out, p->list[i]->name, count_read(&p->list[i]->figures.position));
	pthread_mutex_unlock(&p->lock);
}

static void save(struct ledger *l)
{
	struct positions now = {0};
	struct buf text = {0};
	uint64_t skipped;

	collect(l->publisher, &now);
	positions_format(&now, &text);
	positions_fini(&now);
	if (view_equal(buf_view(&text), buf_view(&l->saved))) {
		buf_fini(&text);
		return;
	}
	if (file_replace(l->file, buf_view(&text), 0640) == 0) {
		buf_fini(&l->saved);
		l->saved = text;
		return;
	}
	if (log_allowed(&l->fault_log, clock_mono_ms(), FAULT_LOG_MS, &skipped))
		log_error("publish", "cannot-save-positions", "file=%s why=\"%s\"", l->file,
			strerror(errno));
	buf_fini(&text);
}

/* --- what was removed --------------------------------------------------------- */

static void on_topic(void *context, struct view topic, uint64_t n)
{
	struct loss *loss = context;

	if (publish_setup_wants(&loss->filters, topic))
		loss->wanted += n;
}

static void count_loss(struct ledger *l, struct loss *loss)
{
	uint64_t records = loss->to - loss->from;
	bool is_exact = false;

	journal_removed(l->publisher->journal, loss->from, on_topic, loss, &is_exact);
	is_exact = is_exact && journal_head(l->publisher->journal) == loss->to;
	if (loss->wanted > records) /* what else stood in the first segment had been sent */
		loss->wanted = records;
	count_add(&loss->target->figures.removed, loss->wanted);
	log_error("publish", "messages-removed",
		"target=%s records=%" PRIu64 " wanted=%" PRIu64
		" exact=%d why=\"the journal had to remove them before the target took them\"",
		loss->target->name, records, loss->wanted, is_exact);
}

static void loss_free(struct loss *loss)
{
	for (uint32_t i = 0; i < loss->filters.filter_count; i++)
		free(loss->filters.filters[i]);
	free(loss->filters.filters);
	free(loss);
}

void ledger_lost(struct ledger *l, struct target *t, uint64_t from, uint64_t to)
{
	struct loss *loss = mem_new(sizeof(*loss));
	uint32_t n = t->setup->filter_count;

	loss->target = t;
	loss->from = from;
	loss->to = to;
	loss->filters.filter_count = n;
	loss->filters.filters = mem_new(n * sizeof(char *));
	for (uint32_t i = 0; i < n; i++)
		loss->filters.filters[i] = mem_text(t->setup->filters[i]);
	pthread_mutex_lock(&l->lock);
	list_append(&l->losses, &loss->link);
	pthread_cond_signal(&l->wake);
	pthread_mutex_unlock(&l->lock);
}

void ledger_await(struct ledger *l)
{
	pthread_mutex_lock(&l->lock);
	while (l->working || !list_is_empty(&l->losses))
		pthread_cond_wait(&l->idle, &l->lock);
	pthread_mutex_unlock(&l->lock);
}

/* --- the thread ------------------------------------------------------------------ */

/* With the lock, which is given away meanwhile. */
static void work_off(struct ledger *l)
{
	while (!list_is_empty(&l->losses)) {
		struct loss *loss = container_of(l->losses.next, struct loss, link);

		list_remove(&loss->link);
		l->working = true;
		pthread_mutex_unlock(&l->lock);
		count_loss(l, loss);
		loss_free(loss);
		pthread_mutex_lock(&l->lock);
		l->working = false;
	}
	pthread_cond_broadcast(&l->idle);
}

static void *run(void *context)
{
	struct ledger *l = context;
	bool stopping = false;

	while (!stopping) {
		struct timespec until;

		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec += SAVE_EVERY_S;
		pthread_mutex_lock(&l->lock);
		while (!l->stopping && list_is_empty(&l->losses) &&
			pthread_cond_timedwait(&l->wake, &l->lock, &until) == 0)
			;
		work_off(l);
		stopping = l->stopping;
		pthread_mutex_unlock(&l->lock);
		save(l);
	}
	return NULL;
}

struct ledger *ledger_new(struct publisher *p, const char *file)
{
	struct ledger *l = mem_new(sizeof(*l));
	pthread_condattr_t monotonic;

	l->publisher = p;
	l->file = mem_text(file);
	find_positions(l);
	list_init(&l->losses);
	pthread_mutex_init(&l->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&l->wake, &monotonic);
	pthread_condattr_destroy(&monotonic);
	pthread_cond_init(&l->idle, NULL);
	return l;
}

void ledger_start(struct ledger *l)
{
	if (l->is_running)
		return;
	l->is_running = true;
	pthread_create(&l->thread, NULL, run, l);
	pthread_setname_np(l->thread, "publish");
}

void ledger_free(struct ledger *l)
{
	if (l->is_running) {
		pthread_mutex_lock(&l->lock);
		l->stopping = true;
		pthread_cond_signal(&l->wake);
		pthread_mutex_unlock(&l->lock);
		pthread_join(l->thread, NULL);
	}
	positions_fini(&l->found);
	buf_fini(&l->saved);
	pthread_mutex_destroy(&l->lock);
	pthread_cond_destroy(&l->wake);
	pthread_cond_destroy(&l->idle);
	free(l->file);
	free(l);
}

bool ledger_take(struct ledger *l, const char *name, uint64_t *seq)
{
	return positions_take(&l->found, name, seq);
}

bool ledger_is_whole(const struct ledger *l)
{
	return l->is_whole;
}

bool ledger_has_found(const struct ledger *l)
{
	return buf_length(&l->saved) > 0;
}
