/* Reading objects by the table, and noting what is broken. */
#include "wis2/judge.h"

#include <string.h>

#include "wis2/findings.h"

#define IS(kind) (1u << KIND_##kind)
#define ANY 0xffu

struct member_row {
	enum rule absent;
	enum rule other;
	uint8_t kinds;
	const char *absent_text;
	void (*walk)(struct judge *g, const struct json_value *v);
};

static const struct member_row rows[MEMBER_COUNT] = {
#define X(name, object, text, kinds, absent, other, walk) \
	[MEMBER_##name] = {absent, other, kinds, "the member " text " is missing", walk},
#include "wis2/member.def"
#undef X
};

/* Names apart from the rest, and their lengths apart from them: the search reads little. */
static const char names[MEMBER_COUNT][20] = {
#define X(name, object, text, kinds, absent, other, walk) [MEMBER_##name] = text,
#include "wis2/member.def"
#undef X
};

static const uint8_t lengths[MEMBER_COUNT] = {
#define X(name, object, text, kinds, absent, other, walk) [MEMBER_##name] = sizeof(text) - 1,
#include "wis2/member.def"
#undef X
};

/* The first member of each object, and behind the last. */
static const uint8_t first_member[OBJECT_COUNT + 1] = {
	[TOP] = MEMBER_CONFORMS_TO,
	[GEOMETRY] = MEMBER_GEOMETRY_COORDINATES,
	[PROPERTIES] = MEMBER_CACHE,
	[INTEGRITY] = MEMBER_INTEGRITY_METHOD,
	[CONTENT] = MEMBER_CONTENT_ENCODING,
	[LINK] = MEMBER_LINK_HREF,
	[SCHEME] = MEMBER_SCHEME_REFERENCE,
	[OBJECT_COUNT] = MEMBER_COUNT,
};

bool judge_asks(const struct judge *g, enum rule rule)
{
	return rule != RULE_NONE && g->modes[rule] <= g->options->mode;
}

void judge_broken(struct judge *g, enum rule rule, uint32_t offset, const char *reason)
{
	if (judge_asks(g, rule))
		findings_add(g->found, g->options->all ? FINDINGS_ALL : FINDINGS_FIRST, rule,
			offset, reason);
}

struct view judge_text(struct judge *g, const struct json_value *v)
{
	if (!v->escaped)
		return v->raw;
	return (struct view){g->scratch, json_decode(v->raw, g->scratch)};
}

bool judge_text_is(struct judge *g, const struct json_value *v, struct view text)
{
	return view_equal(judge_text(g, v), text);
}

const struct json_value *judge_member(const struct judge *g, enum member m, enum json_kind kind)
{
	return g->members[m].kind == kind ? &g->members[m] : NULL;
}

/* MEMBER_COUNT when the table does not list the name: WNM-71. */
static unsigned find_member(
	struct judge *g, enum member_object object, const struct json_value *name)
{
	struct view text = judge_text(g, name);

	for (unsigned m = first_member[object]; m < first_member[object + 1]; m++) {
		if (lengths[m] == text.n && memcmp(names[m], text.p, text.n) == 0)
			return m;
	}
	if (!view_starts_with(text, VIEW("x-")))
		g->unknown++;
	return MEMBER_COUNT;
}

/* Reads the value of a member the table lists. */
static void read_member(struct judge *g, unsigned m, const struct json_value *name)
{
	struct json_value *v = &g->members[m];

	if (!json_value(&g->json, v))
		return;
	if (v->kind >= KIND_ARRAY) {
		if (rows[m].walk && (rows[m].kinds >> v->kind & 1))
			rows[m].walk(g, v);
		else
			json_pass(&g->json, v);
	}
	if (m == MEMBER_CONTENT) {
		const char *begin = name->raw.p - 1;

		g->out->content = (struct view){begin, (size_t)(g->json.at - begin)};
	}
}

static void pass_member(struct judge *g)
{
	struct json_value v;

	if (json_value(&g->json, &v))
		json_pass(&g->json, &v);
}

/* What to say of a member of another kind than the table allows. */
static const char *kinds_text(uint8_t kinds)
{
	static const char *const texts[] = {
		[KIND_NUMBER] = "not a number",
		[KIND_STRING] = "not a string",
		[KIND_ARRAY] = "not an array",
		[KIND_OBJECT] = "not an object",
	};

	if (kinds == (IS(TRUE) | IS(FALSE)))
		return "neither true nor false";
	if (kinds & IS(NULL))
		return kinds & IS(STRING) ? "neither a string nor null"
					  : "neither an object nor null";
	return texts[__builtin_ctz(kinds)];
}

static void check_kinds(
	struct judge *g, enum member_object object, const struct json_value *bracket)
{
	for (unsigned m = first_member[object]; m < first_member[object + 1]; m++) {
		const struct json_value *v = &g->members[m];

		if (v->kind == KIND_NONE)
			judge_broken(g, rows[m].absent, bracket->offset, rows[m].absent_text);
		else if (!(rows[m].kinds >> v->kind & 1))
			judge_broken(g, rows[m].other, v->offset, kinds_text(rows[m].kinds));
	}
}

/* Calls itself through the table's walks, at most four deep: the table decides, not the input. */
bool judge_object(struct judge *g, enum member_object object, const struct json_value *bracket)
{
	struct json_value name;

	for (unsigned m = first_member[object]; m < first_member[object + 1]; m++)
		g->members[m].kind = KIND_NONE;
	json_open(&g->json);
	g->unknown = 0;
	while (json_member(&g->json, &name)) {
		unsigned m =
			json_is_superseded(&g->json) ? MEMBER_COUNT : find_member(g, object, &name);

		if (m == MEMBER_COUNT)
			pass_member(g);
		else
			read_member(g, m, &name);
	}
	if (g->json.fault)
		return false;
	check_kinds(g, object, bracket);
	return true;
}
