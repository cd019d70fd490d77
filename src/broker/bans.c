/* A change writes the whole file first, then takes the lock for the moment in which the list changes: who
 * connects never waits for the disk.
 *
 * **Invariant:** what is in memory is what is in the file.
 */
#include "broker/bans.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/error.h"
#include "base/file.h"
#include "base/mem.h"

#define FILE_LARGEST (BANS_MOST * 8u * BAN_TEXT_BYTES)

struct bans {
	char *path; /* NULL: in memory only */
	pthread_mutex_t lock;
	struct ban *list;
	uint32_t count;
	_Atomic uint32_t count_seen; /* for those who have no lock */
};

static const char *const kind_words[] = {[BAN_CLIENT_ID] = "client_id", [BAN_ADDRESS] = "address"};

/* --- one ban ---------------------------------------------------------- */

void ban_fini(struct ban *ban)
{
	free(ban->what);
	free(ban->by);
	free(ban->why);
	*ban = (struct ban){0};
}

void ban_write(const struct ban *ban, struct buf *out)
{
	buf_printf(out, "{\"%s\":", kind_words[ban->kind]);
	buf_json_string(out, view_of(ban->what));
	buf_printf(out, ",\"since_ms\":%llu,\"by\":", (unsigned long long)ban->since_ms);
	buf_json_string(out, view_of(ban->by));
	buf_text(out, ",\"why\":");
	buf_json_string(out, view_of(ban->why));
	buf_text(out, "}\n");
}

/* What jansson reads is UTF-8 without NUL; what comes from elsewhere is asked here. */
static bool is_sound(struct ban *ban)
{
	const char *const texts[] = {ban->what, ban->by, ban->why};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		json_t *text = texts[i] ? json_string(texts[i]) : NULL;

		if (text == NULL || json_string_length(text) > BAN_TEXT_BYTES) {
			json_decref(text);
			return false;
		}
		json_decref(text);
	}
	if (ban->what[0] == '\0')
		return false;
	return ban->kind != BAN_ADDRESS || address_block_parse(view_of(ban->what), &ban->block);
}

static struct ban copy_of(const struct ban *ban)
{
	struct ban copy = *ban;

	copy.what = mem_text(ban->what);
	copy.by = mem_text(ban->by);
	copy.why = mem_text(ban->why);
	return copy;
}

static bool read_document(json_t *document, struct ban *out)
{
	json_t *since = json_object_get(document, "since_ms");
	struct ban ban = {0};

	for (int kind = BAN_CLIENT_ID; kind <= BAN_ADDRESS && ban.what == NULL; kind++) {
		ban.kind = (enum ban_kind)kind;
		ban.what = (char *)(uintptr_t)json_string_value(
			json_object_get(document, kind_words[kind]));
	}
	ban.by = (char *)(uintptr_t)json_string_value(json_object_get(document, "by"));
	ban.why = (char *)(uintptr_t)json_string_value(json_object_get(document, "why"));
	if (!json_is_integer(since) || json_integer_value(since) < 0 || !is_sound(&ban))
		return false;
	ban.since_ms = (uint64_t)json_integer_value(since);
	*out = copy_of(&ban);
	return true;
}

bool ban_read(struct view line, struct ban *out)
{
	json_t *document = json_loadb(line.p, line.n, 0, NULL);
	bool good = document && read_document(document, out);

	json_decref(document);
	return good;
}

/* --- the list --------------------------------------------------------- */

/* Its place, or the count. */
static uint32_t find(const struct bans *b, enum ban_kind kind, const char *what)
{
	uint32_t i = 0;

	while (i < b->count && (b->list[i].kind != kind || strcmp(b->list[i].what, what) != 0))
		i++;
	return i;
}

/* What the file is to be: all but the one at `except`, then `more` (NULL: none). */
static int save(const struct bans *b, uint32_t except, const struct ban *more)
{
	struct buf text = {0};
	int err = 0;

	if (b->path == NULL)
		return 0;
	for (uint32_t i = 0; i < b->count; i++)
		if (i != except)
			ban_write(&b->list[i], &text);
	if (more)
		ban_write(more, &text);
	err = file_replace(b->path, buf_view(&text), 0640);
	buf_fini(&text);
	return err;
}

/* In memory as save() did in the file; takes *more. */
static void change(struct bans *b, uint32_t except, struct ban *more)
{
	struct ban *list = mem_new((b->count + 1) * sizeof(*list)), *before = b->list;
	uint32_t n = 0;

	for (uint32_t i = 0; i < b->count; i++)
		if (i != except)
			list[n++] = before[i];
	if (except < b->count)
		ban_fini(&before[except]);
	if (more)
		list[n++] = *more;
	b->list = list;
	b->count = n;
	b->count_seen = n;
	free(before);
}

int bans_add(struct bans *b, const struct ban *ban)
{
	struct ban fresh = *ban;
	uint32_t before = ban->what ? find(b, ban->kind, ban->what) : 0;
	int err;

	if (!is_sound(&fresh))
		return ERR_CONFIG;
	if (before == b->count && b->count >= BANS_MOST)
		return ERR_FULL;
	err = save(b, before, &fresh);
	if (err)
		return err;
	fresh = copy_of(&fresh);
	pthread_mutex_lock(&b->lock);
	change(b, before, &fresh);
	pthread_mutex_unlock(&b->lock);
	return 0;
}

int bans_remove(struct bans *b, enum ban_kind kind, const char *what)
{
	uint32_t at = find(b, kind, what);
	int err = at < b->count ? save(b, at, NULL) : ERR_NOT_FOUND;

	if (err)
		return err;
	pthread_mutex_lock(&b->lock);
	change(b, at, NULL);
	pthread_mutex_unlock(&b->lock);
	return 0;
}

void bans_each(struct bans *b, void (*each)(void *context, const struct ban *ban), void *context)
{
	for (uint32_t i = 0; i < b->count; i++)
		each(context, &b->list[i]);
}

static bool is_meant(const struct ban *ban, const struct address *peer, struct view client_id)
{
	if (ban->kind == BAN_ADDRESS)
		return address_is_in(peer, &ban->block);
	return client_id.p && view_equal(view_of(ban->what), client_id);
}

bool bans_has(struct bans *b, const struct address *peer, struct view client_id)
{
	bool has = false;

	if (b->count_seen == 0)
		return false;
	pthread_mutex_lock(&b->lock);
	for (uint32_t i = 0; i < b->count && !has; i++)
		has = is_meant(&b->list[i], peer, client_id);
	pthread_mutex_unlock(&b->lock);
	return has;
}

/* --- life ------------------------------------------------------------- */

/* 0 with an empty text when there is no file. */
static int read_file(const char *path, struct buf *out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat s;
	ssize_t n = 0;

	if (fd < 0)
		return errno == ENOENT ? 0 : ERR_SYSTEM;
	if (fstat(fd, &s) < 0 || s.st_size > FILE_LARGEST) {
		errno = EFBIG;
		n = -1;
	} else {
		n = read(fd, buf_reserve(out, (size_t)s.st_size + 1), (size_t)s.st_size);
	}
	if (n > 0)
		buf_grown(out, (size_t)n);
	close(fd);
	return n < 0 ? ERR_SYSTEM : 0;
}

/* 0, or the number of the line that is none. */
static uint32_t take_lines(struct bans *b, struct view text)
{
	uint32_t number = 0;

	while (text.p) {
		struct view line = view_cut(&text, '\n');
		struct ban ban;

		number++;
		if (line.n == 0)
			continue;
		if (b->count >= BANS_MOST || !ban_read(line, &ban))
			return number;
		change(b, find(b, ban.kind, ban.what), &ban);
	}
	return 0;
}

struct bans *bans_open(const char *path, char **why)
{
	struct bans *b = mem_new(sizeof(*b));
	struct buf text = {0};
	uint32_t line;

	pthread_mutex_init(&b->lock, NULL);
	b->path = mem_text(path);
	if (path && read_file(path, &text) < 0)
		*why = mem_printf("%s: %s", path, strerror(errno));
	else if ((line = take_lines(b, buf_view(&text))) > 0)
		*why = mem_printf("%s:%u: not a ban; correct or remove the line", path, line);
	buf_fini(&text);
	if (*why == NULL)
		return b;
	bans_free(b);
	return NULL;
}

void bans_free(struct bans *b)
{
	for (uint32_t i = 0; i < b->count; i++)
		ban_fini(&b->list[i]);
	pthread_mutex_destroy(&b->lock);
	free(b->list);
	free(b->path);
	free(b);
}
