/* Opening, closing and figures; the parts are in the other files of this room:
 *
 *   append.c      reserve, append            segment.c   files, head, maps
 *   read.c        find without a lock        topics.c    numbers of topics
 *   epoch.c       when a map may go          summary.c   counts of what was removed
 *   keeper.c      the thread that waits      recover.c   what a start finds
 *   retention.c   seal, remove               guard.c     SIGBUS
 *   prefetch.c    cold pages                 system.c    calls that may fail
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "journal/internal.h"

#define SEGMENT_PARTS 64
#define SEGMENT_LEAST (8u << 20)
#define SEGMENT_MOST (256u << 20)
#define SEGMENT_LARGEST (1u << 30)
#define SEGMENT_SMALLEST 4096u

static uint32_t segment_bytes(const struct journal_config *c)
{
	uint64_t bytes = c->segment_bytes;

	if (bytes == 0) {
		bytes = c->size_bytes / SEGMENT_PARTS;
		bytes = bytes < SEGMENT_LEAST ? SEGMENT_LEAST : bytes;
		bytes = bytes > SEGMENT_MOST ? SEGMENT_MOST : bytes;
	}
	bytes = bytes > SEGMENT_LARGEST ? SEGMENT_LARGEST : bytes;
	bytes = bytes < SEGMENT_SMALLEST ? SEGMENT_SMALLEST : bytes;
	return (uint32_t)bytes & ~4095u;
}

static struct journal *new_journal(const struct journal_config *config)
{
	struct journal *j = mem_new(sizeof(*j));

	j->config = *config;
	j->config.segment_bytes = segment_bytes(config);
	j->system = config->system ? config->system : system_real();
	j->dir = mem_text(config->dir);
	j->config.dir = j->dir;
	j->dir_fd = j->lock_fd = -1;
	atomic_init(&j->epoch, 1);
	list_init(&j->segments);
	list_init(&j->retired);
	list_init(&j->readers);
	list_init(&j->questions);
	pthread_mutex_init(&j->lock, NULL);
	pthread_mutex_init(&j->readers_lock, NULL);
	pthread_mutex_init(&j->pass, NULL);
	pthread_mutex_init(&j->keeper_lock, NULL);
	pthread_mutex_init(&j->prefetch_lock, NULL);
	pthread_cond_init(&j->prefetch_wake, NULL);
	keeper_init(j);
	return j;
}

static void free_journal(struct journal *j)
{
	reclaim(j, true);
	while (!list_is_empty(&j->segments)) {
		struct segment *s = container_of(j->segments.next, struct segment, link);

		list_remove(&s->link);
		segment_free(s);
	}
	topics_fini(&j->topics);
	free(atomic_load(&j->set));
	free(j->scratch);
	free(j->entries);
	if (j->lock_fd >= 0)
		close(j->lock_fd);
	if (j->dir_fd >= 0)
		close(j->dir_fd);
	pthread_cond_destroy(&j->prefetch_wake);
	pthread_cond_destroy(&j->keeper_wake);
	pthread_mutex_destroy(&j->prefetch_lock);
	pthread_mutex_destroy(&j->keeper_lock);
	pthread_mutex_destroy(&j->pass);
	pthread_mutex_destroy(&j->readers_lock);
	pthread_mutex_destroy(&j->lock);
	free(j->dir);
	free(j);
}

/* Whose it is, for commands that tell the broker to reload. Without the number they cannot. */
static void note_owner(int fd)
{
	if (ftruncate(fd, 0) == 0)
		(void)dprintf(fd, "%ld\n", (long)getpid());
}

/* The folder, for this process alone. */
static int take_folder(struct journal *j, char **why)
{
	if (mkdir(j->dir, 0750) != 0 && errno != EEXIST) {
		*why = mem_printf("%s: cannot make the folder: %m", j->dir);
		return ERR_SYSTEM;
	}
	j->dir_fd = open(j->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (j->dir_fd >= 0)
		j->lock_fd = openat(j->dir_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0640);
	if (j->lock_fd < 0) {
		*why = mem_printf("%s: cannot open: %m", j->dir);
		return ERR_SYSTEM;
	}
	if (flock(j->lock_fd, LOCK_EX | LOCK_NB) != 0) {
		*why = mem_printf("%s: in use by another process", j->dir);
		return errno == EWOULDBLOCK ? ERR_IN_USE : ERR_SYSTEM;
	}
	note_owner(j->lock_fd);
	return 0;
}

static void remove_segment_files(const struct journal *j, const struct segment *s)
{
	static const char *const kinds[] = {"packets", "index", "topics"};
	char name[SEGMENT_NAME_BYTES];

	for (size_t i = 0; i < 3; i++) {
		segment_name(name, s->number, kinds[i]);
		unlinkat(j->dir_fd, name, 0);
	}
}

/* Segments that ended as empty as they began are not worth keeping, once the new one's head is on
 * disk and holds the sequence number. */
static void remove_empty(struct journal *j)
{
	struct list *next;

	for (struct list *at = j->segments.next; at != &j->segments; at = next) {
		struct segment *s = container_of(at, struct segment, link);

		next = at->next;
		if (s->end != s->base)
			continue;
		remove_segment_files(j, s);
		list_remove(at);
		segment_free(s);
	}
}

/* A new segment to append to. On a full disk appends are held until the keeper finds space. */
static void begin(struct journal *j)
{
	for (size_t i = 0; i < WARM_MARKS; i++)
		j->warm_marks[i] = atomic_load(&j->tail);
	atomic_store(&j->warm_from, atomic_load(&j->tail));
	publish(j);
	if (keeper_prepare(j) != 0 || roll(j) != 0) {
		log_error("journal", "held", "dir=%s error=\"%m\"", j->dir);
		hold(j, 0);
		return;
	}
	if (j->system->fdatasync(j->current->index_fd) == 0) {
		remove_empty(j);
		publish(j);
	}
}

int journal_open(struct journal **out, const struct journal_config *config, char **why)
{
	struct journal *j = new_journal(config);
	int err = take_folder(j, why);

	if (err == 0)
		err = recover(j, why);
	if (err) {
		free_journal(j);
		return err;
	}
	begin(j);
	log_info("journal", "opened", "dir=%s head=%llu tail=%llu", j->dir,
		(unsigned long long)journal_head(j), (unsigned long long)journal_tail(j));
	keeper_start(j);
	prefetch_start(j);
	*out = j;
	return 0;
}

/* The open segment is complete: the next start need not check it. */
static void finish(struct journal *j)
{
	struct segment *s = j->current;

	keeper_sync(j);
	if (s && s->end == SEGMENT_OPEN && s->packets_bytes)
		s->end = atomic_load(&j->tail);
	j->current = NULL;
	seal_closed(j);
	if (j->next) {
		remove_segment_files(j, j->next);
		segment_free(j->next);
		j->next = NULL;
	}
}

void journal_close(struct journal *j)
{
	if (j == NULL)
		return;
	prefetch_stop(j);
	keeper_stop(j);
	finish(j);
	free_journal(j);
}

uint64_t journal_now(const struct journal *j)
{
	return j->system->mono_ms() + j->clock_offset;
}

void journal_lock(struct journal *j)
{
	pthread_mutex_lock(&j->lock);
}

void journal_unlock(struct journal *j)
{
	pthread_mutex_unlock(&j->lock);
}

void journal_on_progress(struct journal *j, void (*call)(void *context), void *context)
{
	pthread_mutex_lock(&j->lock);
	j->on_progress = call;
	j->on_progress_context = context;
	pthread_mutex_unlock(&j->lock);
}

static void add_segment(
	const struct journal *j, const struct segment *s, struct journal_figures *out)
{
	bool open = s->end == SEGMENT_OPEN;
	uint64_t count = (open ? atomic_load(&j->tail) : s->end) - s->base;

	if (s->has_packets)
		out->bytes += s->sealed ? s->packets_bytes : s->packets_size;
	if (s->has_index)
		out->index_bytes += SEGMENT_HEAD_BYTES + (s->sealed ? count : s->capacity) *
								 sizeof(struct journal_entry);
	out->segments += s->has_packets;
	if (count == 0)
		return;
	out->newest_ms = age_ms(j, s->last_ms);
	if (s->has_packets && s->base <= atomic_load(&j->head))
		out->oldest_ms = age_ms(j, s->first_ms);
}

void journal_figures(const struct journal *j, struct journal_figures *out)
{
	struct journal *locked = (struct journal *)j; /* the lock is no part of the state */

	pthread_mutex_lock(&locked->lock);
	*out = j->figures;
	out->newest_ms = UINT64_MAX;
	out->held = j->held;
	if (j->held)
		out->held_ms += mono_now(j) - j->held_since_ms;
	out->bytes = j->next ? j->next->packets_size : 0;
	for (struct list *at = j->segments.next; at != &j->segments; at = at->next)
		add_segment(j, container_of(at, struct segment, link), out);
	pthread_mutex_unlock(&locked->lock);
}
