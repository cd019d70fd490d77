/* catalogue/librarian.c - a round: fetch each catalogue, take over what is whole, renew the shelf
 *
 *     fetch ---> staged text ---> is it whole, and not suspiciously small? ---> book
 *                                      no: counted, told, the old list counts on
 *     after all: sweep the book ---> list for the shelf; file
 *
 * **Invariant:** the book changes only by whole lists; what is on the shelf was swept from it.
 */
#include "catalogue/librarian.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "catalogue/internal.h"

#define STAGED_MOST (256u << 20)
#define SHRUNK_FROM 100u /* shorter lists may lose half their records */
#define SHRUNK_MS (24ull * 3600 * 1000)

/* --- states ----------------------------------------------------------- */

static const struct {
	const char *text;
	bool in_force;
	const char *why;
} states[] = {
#define X(name, text, in_force, why) [LIBRARIAN_##name] = {text, in_force, why},
#include "catalogue/state.def"
#undef X
};

const char *librarian_state_text(enum librarian_state s)
{
	return states[s].text;
}

bool librarian_state_in_force(enum librarian_state s)
{
	return states[s].in_force;
}

const char *librarian_state_why(enum librarian_state s)
{
	return states[s].why;
}

static uint64_t age_of(uint64_t good_ms, uint64_t wall_ms)
{
	return wall_ms > good_ms ? wall_ms - good_ms : 0;
}

static enum librarian_state state_of(const struct librarian *k, uint64_t wall_ms)
{
	uint64_t newest = book_newest_ms(&k->book);

	if (k->source_count == 0)
		return LIBRARIAN_OFF;
	if (newest == 0)
		return LIBRARIAN_NONE;
	if (age_of(newest, wall_ms) > BOOK_SERVES_MS)
		return LIBRARIAN_EXPIRED;
	return k->round_failed ? LIBRARIAN_OLD : LIBRARIAN_CURRENT;
}

static void enter(struct librarian *k, enum librarian_state now, uint64_t wall_ms)
{
	enum log_level level = now == LIBRARIAN_EXPIRED                        ? LOG_ERROR
			       : now == LIBRARIAN_NONE || now == LIBRARIAN_OLD ? LOG_WARN
									       : LOG_INFO;
	uint64_t newest = book_newest_ms(&k->book);

	if (now == k->state)
		return;
	k->state = now;
	if (states[now].in_force)
		log_event(level, "catalogue", "state", "state=%s age_seconds=%llu pairs=%zu",
			states[now].text, (unsigned long long)age_of(newest, wall_ms) / 1000,
			k->book.pairs.count);
	else
		log_event(level, "catalogue", "state",
			"state=%s why=\"%s\" effect=\"the metadata check passes everything\"",
			states[now].text, states[now].why);
}

/* --- the shelf -------------------------------------------------------- */

static void replace(struct librarian *k, struct catalogue *list)
{
	struct catalogue *old = shelf_put(k->settings.shelf, list);

	k->on_shelf = list != NULL;
	if (old == NULL)
		return;
	k->settings.settle(k->settings.context);
	catalogue_free(old);
}

void librarian_publish(struct librarian *k, uint64_t wall_ms)
{
	struct catalogue *list = book_sweep(&k->book, wall_ms, k->grace_ms);
	struct catalogue_size size = catalogue_size(list);

	k->pairs = size.pairs;
	k->list_bytes = size.bytes;
	replace(k, list);
}

void librarian_judge(struct librarian *k, uint64_t wall_ms)
{
	enum librarian_state now = state_of(k, wall_ms);

	enter(k, now, wall_ms);
	if (states[now].in_force && !k->on_shelf) {
		librarian_publish(k, wall_ms);
	} else if (!states[now].in_force && k->on_shelf) {
		k->pairs = k->list_bytes = 0;
		replace(k, NULL);
	}
}

/* --- one list --------------------------------------------------------- */

/* What a fetch has brought so far: lines of id, tab, tail. */
struct staged {
	struct buf lines;
	uint32_t pairs;
	bool is_full;
};

static void stage(void *context, struct view id, struct view tail)
{
	struct staged *s = context;

	s->is_full |= s->pairs >= CATALOGUE_PAIRS_MOST || buf_length(&s->lines) > STAGED_MOST;
	if (s->is_full)
		return;
	buf_append(&s->lines, id.p, id.n);
	buf_append(&s->lines, "\t", 1);
	buf_append(&s->lines, tail.p, tail.n);
	buf_append(&s->lines, "\n", 1);
	s->pairs++;
}

/* A catalogue that lost half its records overnight has a fault; one that stays so for a day has not
 * (metadata.md, section 4). */
static bool is_shrunken(const struct book_list *l, uint64_t records, uint64_t wall_ms)
{
	return l->records >= SHRUNK_FROM && records < l->records / 2 &&
	       age_of(l->good_ms, wall_ms) < SHRUNK_MS;
}

/* NULL, or why the list is not taken over (in why). */
static const char *judge_list(const struct staged *s, const struct book_list *l,
	const struct fetch_result *result, uint64_t wall_ms, char why[FETCH_WHY_BYTES])
{
	if (s->is_full)
		snprintf(why, FETCH_WHY_BYTES, "more than %u pairs of record and topic",
			CATALOGUE_PAIRS_MOST);
	else if (s->pairs == 0)
		snprintf(why, FETCH_WHY_BYTES, "no record in it names a topic");
	else if (is_shrunken(l, result->figures.records, wall_ms))
		snprintf(why, FETCH_WHY_BYTES, "only %llu records where there were %llu",
			(unsigned long long)result->figures.records,
			(unsigned long long)l->records);
	else
		return NULL;
	return why;
}

static void take_over(struct librarian *k, struct librarian_source *s, const struct staged *staged,
	const struct fetch_result *result, uint64_t wall_ms)
{
	struct book_list *l = &k->book.lists[s->place];
	struct view rest = buf_view(&staged->lines);
	uint32_t left_out = 0;

	book_begin(&k->book, s->place);
	while (rest.n) {
		struct view line = view_cut(&rest, '\n');
		struct view id = view_cut(&line, '\t');

		left_out += !book_see(&k->book, s->place, id, line, wall_ms);
	}
	l->good_ms = wall_ms;
	l->records = result->figures.records;
	memcpy(l->etag, result->etag, sizeof(l->etag));
	memcpy(l->last_modified, result->last_modified, sizeof(l->last_modified));
	if (left_out)
		log_error("catalogue", "full", "url=%s left_out=%u most=%u", s->shown, left_out,
			CATALOGUE_PAIRS_MOST);
}

static void note_failure(struct librarian_source *s, const char *why)
{
	char quoted[LOG_QUOTE_BYTES];

	s->failures++;
	snprintf(s->why, sizeof(s->why), "%s", why);
	log_warn("catalogue", "fetch-failed", "url=%s failures=%llu why=%s", s->shown,
		(unsigned long long)s->failures, log_quote(why, strlen(why), quoted));
}

static void note_success(struct librarian_source *s, const struct fetch_result *r, uint32_t pairs)
{
	s->refused = r->figures.refused;
	s->why[0] = '\0';
	log_info("catalogue", "fetched",
		"url=%s records=%llu pairs=%u refused=%llu pages=%u bytes=%llu", s->shown,
		(unsigned long long)r->figures.records, pairs,
		(unsigned long long)r->figures.refused, r->pages, (unsigned long long)r->bytes);
}

/* True: its list is good now. */
static bool fetch_source(struct librarian *k, struct librarian_source *s, uint64_t wall_ms)
{
	struct book_list *known = &k->book.lists[s->place];
	struct staged staged = {0};
	struct fetch_request request = {
		.url = s->url, .known = known, .on_pair = stage, .context = &staged};
	struct fetch_result result;
	char why[FETCH_WHY_BYTES];
	enum fetch_outcome outcome = k->fetch(k->fetcher, &request, &result);
	bool good = false;

	s->fetches += outcome != FETCH_STOPPED;
	if (outcome == FETCH_FAILED) {
		note_failure(s, result.why);
	} else if (outcome == FETCH_UNCHANGED) {
		book_renew(&k->book, s->place, wall_ms);
		known->good_ms = wall_ms;
		s->why[0] = '\0';
		log_info("catalogue", "unchanged", "url=%s records=%llu", s->shown,
			(unsigned long long)known->records);
		good = true;
	} else if (outcome == FETCH_LIST && judge_list(&staged, known, &result, wall_ms, why)) {
		note_failure(s, why);
	} else if (outcome == FETCH_LIST) {
		take_over(k, s, &staged, &result, wall_ms);
		note_success(s, &result, staged.pairs);
		good = true;
	}
	buf_fini(&staged.lines);
	return good;
}

/* --- a round ---------------------------------------------------------- */

/* Deletions that passed since the last round. */
static void take_deletions(struct librarian *k)
{
	for (unsigned i = 0; i < SHELF_GONE; i++) {
		uint64_t hash = atomic_exchange(&k->settings.shelf->gone[i], 0);

		if (hash)
			book_delete(&k->book, k->settings.shelf, hash);
	}
}

static void save(struct librarian *k)
{
	if (book_write(&k->book, k->file) < 0)
		log_error(
			"catalogue", "cannot-save", "file=%s why=\"%s\"", k->file, strerror(errno));
}

static void make_round(struct librarian *k, uint64_t mono_ms, uint64_t wall_ms)
{
	uint64_t begun_ms = clock_mono_ms();
	bool good = false;

	schedule_begin(&k->schedule, mono_ms);
	for (uint32_t i = 0; i < k->source_count && !atomic_load(&k->stopping); i++)
		good |= fetch_source(k, &k->sources[i], wall_ms);
	if (atomic_load(&k->stopping))
		return;
	schedule_end(&k->schedule, mono_ms + (clock_mono_ms() - begun_ms), good, map_seed());
	k->round_failed = !good;
	take_deletions(k);
	if (good)
		save(k);
	if (states[state_of(k, wall_ms)].in_force)
		librarian_publish(k, wall_ms);
}

/* What workers have raised on the shelf. */
static void hear(struct librarian *k, uint64_t mono_ms)
{
	uint64_t due_ms = k->schedule.due_ms;

	if (atomic_exchange(&k->settings.shelf->noticed, false))
		schedule_notice(&k->schedule, mono_ms);
	if (atomic_exchange(&k->settings.shelf->missed, false))
		schedule_miss(&k->schedule, mono_ms);
	if (k->schedule.due_ms < due_ms && k->source_count)
		log_info("catalogue", "called", "in_seconds=%llu",
			(unsigned long long)(k->schedule.due_ms - mono_ms) / 1000);
}

void librarian_turn(struct librarian *k, uint64_t mono_ms, uint64_t wall_ms)
{
	hear(k, mono_ms);
	if (k->source_count && schedule_is_due(&k->schedule, mono_ms)) {
		librarian_show(k, mono_ms, wall_ms);
		make_round(k, mono_ms, wall_ms);
	}
	librarian_judge(k, wall_ms);
	librarian_show(k, mono_ms, wall_ms);
}

/* --- settings --------------------------------------------------------- */

static void free_source(struct librarian_source *s)
{
	free(s->url);
	free(s->shown);
}

static struct librarian_source *find_source(
	struct librarian_source *sources, uint32_t n, const char *url)
{
	for (uint32_t i = 0; i < n; i++) {
		if (sources[i].url && strcmp(sources[i].url, url) == 0)
			return &sources[i];
	}
	return NULL;
}

/* Lists of catalogues that are not asked any more. */
static void drop_places(struct librarian *k)
{
	for (unsigned i = 0; i < BOOK_LISTS_MOST; i++) {
		bool used = false;

		for (uint32_t n = 0; n < k->source_count; n++)
			used |= k->book.lists[i].url &&
				strcmp(k->sources[n].shown, k->book.lists[i].url) == 0;
		if (!used && k->book.lists[i].url)
			book_drop(&k->book, i);
	}
}

/* Those there before keep their figures. True: one is new. */
static bool take_sources(struct librarian *k, const struct librarian_rules *rules)
{
	struct librarian_source old[BOOK_LISTS_MOST];
	uint32_t old_count = k->source_count;
	bool any_new = false;

	memcpy(old, k->sources, sizeof(old));
	k->source_count = 0;
	for (uint32_t i = 0; i < rules->url_count && i < BOOK_LISTS_MOST; i++) {
		struct librarian_source *before = find_source(old, old_count, rules->urls[i]);
		struct librarian_source *s = &k->sources[k->source_count++];

		if (before) {
			*s = *before;
			*before = (struct librarian_source){0};
			continue;
		}
		*s = (struct librarian_source){
			.url = mem_text(rules->urls[i]), .shown = fetch_shown(rules->urls[i])};
		if (s->shown == NULL)
			s->shown = mem_printf("catalogue-%u", i + 1);
		any_new = true;
	}
	for (uint32_t i = 0; i < old_count; i++)
		free_source(&old[i]);
	return any_new;
}

void librarian_take_rules(
	struct librarian *k, const struct librarian_rules *rules, uint64_t mono_ms)
{
	bool any_new = take_sources(k, rules);

	drop_places(k);
	for (uint32_t i = 0; i < k->source_count; i++)
		k->sources[i].place = (unsigned)book_place(&k->book, view_of(k->sources[i].shown));
	k->grace_ms = rules->grace_ms;
	if (any_new)
		schedule_init(&k->schedule, mono_ms, rules->refresh_ms);
	else
		schedule_change(&k->schedule, mono_ms, rules->refresh_ms);
}

/* --- the file --------------------------------------------------------- */

static int read_file(const char *path, struct buf *out)
{
	FILE *file = fopen(path, "re");
	size_t got = 1;

	if (file == NULL)
		return ERR_SYSTEM;
	while (got && buf_length(out) <= BOOK_FILE_MOST) {
		uint8_t *room = buf_reserve(out, 1u << 20);

		got = fread(room, 1, 1u << 20, file);
		buf_grown(out, got);
	}
	got = (size_t)ferror(file);
	fclose(file);
	return got ? ERR_SYSTEM : 0;
}

/* Renamed, so that somebody can look at it. */
static void set_aside(struct librarian *k, const char *why)
{
	char *aside = mem_printf("%s.bad", k->file);

	log_error("catalogue", "file-damaged", "file=%s why=\"%s\" set_aside_as=%s", k->file, why,
		rename(k->file, aside) == 0 ? aside : "-");
	free(aside);
}

void librarian_load(struct librarian *k)
{
	struct buf text = {0};
	const char *why;

	if (mkdir(k->settings.dir, 0750) < 0 && errno != EEXIST)
		log_error("catalogue", "cannot-make-folder", "dir=%s why=\"%s\"", k->settings.dir,
			strerror(errno));
	if (read_file(k->file, &text) < 0) {
		if (errno != ENOENT)
			log_error("catalogue", "cannot-read", "file=%s why=\"%s\"", k->file,
				strerror(errno));
	} else if (book_read(&k->book, buf_view(&text), &why) < 0) {
		set_aside(k, why);
	}
	buf_fini(&text);
}
