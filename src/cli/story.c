/* cli/story.c - draws valid, repeated and broken messages and keeps the books
 *
 * Repeats are drawn from the last few valid messages, so that one comes soon after its first, as
 * it does when several brokers pass the same message on. Broken kinds take turns.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/story.h"

void story_init(struct story *s, uint64_t seed)
{
	*s = (struct story){.random = {seed}, .size_bytes = 1200};
}

void story_fini(struct story *s)
{
	for (uint32_t i = 0; i < STORY_KEPT; i++) {
		buf_fini(&s->kept[i].topic);
		buf_fini(&s->kept[i].payload);
	}
	free(s->centres);
	*s = (struct story){.centres = NULL};
}

/* Two letters or more, a dash, then letters, digits and dashes (topics.md, section 3). */
static bool is_centre(struct view name)
{
	size_t letters = 0;

	while (letters < name.n && name.p[letters] >= 'a' && name.p[letters] <= 'z')
		letters++;
	if (letters < 2 || letters == name.n || name.p[letters] != '-')
		return false;
	for (size_t i = letters; i < name.n; i++) {
		char c = name.p[i];
		bool is_end = i + 1 == name.n || name.p[i + 1] == '-';

		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && (c != '-' || is_end))
			return false;
	}
	return true;
}

bool story_add_centre(struct story *s, struct view name)
{
	struct story_centre *c;

	if (name.n >= sizeof(c->name) || !is_centre(name))
		return false;
	s->centres = mem_resize(s->centres, (s->centre_count + 1) * sizeof(*s->centres));
	c = &s->centres[s->centre_count++];
	*c = (struct story_centre){.valid = 0};
	memcpy(c->name, name.p, name.n);
	return true;
}

static void copy_message(struct story_message *to, const struct story_message *from)
{
	buf_clear(&to->topic);
	buf_clear(&to->payload);
	buf_append(&to->topic, buf_bytes(&from->topic), buf_length(&from->topic));
	buf_append(&to->payload, buf_bytes(&from->payload), buf_length(&from->payload));
	to->id = from->id;
	to->centre = from->centre;
}

static void repeat(struct story *s, struct story_message *m)
{
	uint64_t there = s->kept_count < STORY_KEPT ? s->kept_count : STORY_KEPT;

	copy_message(m, &s->kept[random_below(&s->random, there)]);
	s->centres[m->centre].duplicates++;
}

static void make(struct story *s, enum broken broken, uint64_t wall_ms, struct story_message *m)
{
	char id[UUID_TEXT_BYTES + 1];
	struct generate_request q = {
		.wall_ms = wall_ms, .size_bytes = s->size_bytes, .broken = broken};

	m->centre = (uint32_t)random_below(&s->random, s->centre_count);
	random_uuid(&s->random, &m->id);
	uuid_format(&m->id, id);
	q.id = view_of(id);
	q.centre = view_of(s->centres[m->centre].name);
	q.dataset = (uint32_t)random_below(&s->random, generate_dataset_count());
	q.serial = s->centres[m->centre].serial++;
	buf_clear(&m->topic);
	buf_clear(&m->payload);
	generate_topic(&q, &m->topic);
	generate_payload(&s->random, &q, &m->payload);
}

static void make_valid(struct story *s, uint64_t wall_ms, struct story_message *m)
{
	make(s, BROKEN_NOT, wall_ms, m);
	s->centres[m->centre].valid++;
	copy_message(&s->kept[s->kept_count++ % STORY_KEPT], m);
}

static void make_broken(struct story *s, uint64_t wall_ms, struct story_message *m)
{
	unsigned kinds = BROKEN_COUNT - 1 - !s->foreign; /* FOREIGN is the last */
	uint64_t before = 0;
	enum broken kind;

	for (unsigned i = 0; i < BROKEN_COUNT; i++)
		before += s->broken[i];
	kind = (enum broken)(before % kinds + 1);
	make(s, kind, wall_ms, m);
	s->centres[m->centre].invalid++;
	s->broken[kind]++;
}

void story_next(struct story *s, uint64_t wall_ms, struct story_message *m)
{
	double draw = random_share(&s->random);

	s->sent++;
	if (draw < s->invalid)
		make_broken(s, wall_ms, m);
	else if (draw < s->invalid + s->duplicates && s->kept_count)
		repeat(s, m);
	else
		make_valid(s, wall_ms, m);
}

static void put_rules(const struct story *s, struct buf *out)
{
	const char *comma = "";

	buf_text(out, "\"rules\":{");
	for (enum broken b = BROKEN_NOT + 1; b < BROKEN_COUNT; b++) {
		if (s->broken[b] == 0)
			continue;
		buf_printf(out, "%s\"%s\":%llu", comma, broken_rule(b),
			(unsigned long long)s->broken[b]);
		comma = ",";
	}
	buf_text(out, "}");
}

static void put_figures(struct buf *out, uint64_t valid, uint64_t duplicates, uint64_t invalid)
{
	buf_printf(out, "\"valid\":%llu,\"duplicates\":%llu,\"invalid\":%llu",
		(unsigned long long)valid, (unsigned long long)duplicates,
		(unsigned long long)invalid);
}

void story_report(const struct story *s, struct buf *out)
{
	uint64_t valid = 0, duplicates = 0, invalid = 0;

	for (uint32_t i = 0; i < s->centre_count; i++) {
		valid += s->centres[i].valid;
		duplicates += s->centres[i].duplicates;
		invalid += s->centres[i].invalid;
	}
	buf_printf(out, "\"sent\":%llu,", (unsigned long long)s->sent);
	put_figures(out, valid, duplicates, invalid);
	buf_text(out, ",");
	put_rules(s, out);
	buf_text(out, ",\"centres\":{");
	for (uint32_t i = 0; i < s->centre_count; i++) {
		const struct story_centre *c = &s->centres[i];

		buf_printf(out, "%s\"%s\":{", i ? "," : "", c->name);
		put_figures(out, c->valid, c->duplicates, c->invalid);
		buf_text(out, "}");
	}
	buf_text(out, "}");
}
