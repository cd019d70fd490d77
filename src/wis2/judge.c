/* How a payload is judged.
 *
 *   size -> one pass: read the top object by the table, nested ones on the way, each judged at its
 *   closing bracket -> rules across objects -> what the reader noted (WNM-02 to 07) -> verdict
 *
 * A text that is not JSON has no members to speak of: its only findings are WNM-02 or WNM-03. When
 * a name is repeated in an object, the last one counts wherever that is not an error (WNM-05), so
 * the pass is made once more without the members that a later one supersedes.
 *
 * Only rules in force are noted, and unless all are wanted only the lowest-numbered is kept; where
 * it lies in the text (the JSON pointer) is worked out at the end, for what was kept.
 */
#include "wis2/judge.h"

#include <string.h>

#include "base/utf8.h"
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
	[EVENT] = MEMBER_EVENT_DATA,
	[EVENT_DATA] = MEMBER_DATA_CHANNEL,
	[EVENT_CONTENT] = MEMBER_CONTENT_CHANNEL,
	[EVENT_TIME] = MEMBER_TIME_INTERVAL,
	[EVENT_LINK] = MEMBER_EVENT_HREF,
	[OBJECT_COUNT] = MEMBER_COUNT,
};

bool judge_asks(const struct judge *g, enum rule rule)
{
	return rule != RULE_NONE && g->modes[rule] <= g->options->mode;
}

void judge_broken(struct judge *g, enum rule rule, uint32_t offset, const char *reason)
{
	if (g->text_rule != RULE_NONE && rule >= RULE_WNM_01 && rule <= RULE_WNM_07)
		rule = g->text_rule;
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

bool judge_has_element(struct judge *g, struct view text)
{
	struct json_value element;
	bool found = false;

	json_open(&g->json);
	while (json_element(&g->json) && json_value(&g->json, &element)) {
		if (element.kind == KIND_STRING)
			found |= judge_text_is(g, &element, text);
		else
			json_pass(&g->json, &element);
	}
	return found;
}

/* --- the text --------------------------------------------------------- */

/* One reading of the text. */
static void read_text(struct judge *g)
{
	struct json_value top;

	g->found->count = 0;
	*g->out = (struct notification){0};
	if (!json_value(&g->json, &top))
		return;
	if (top.kind == KIND_OBJECT) {
		g->top(g, &top);
	} else {
		json_pass(&g->json, &top);
		judge_broken(g, RULE_WNM_04, top.offset, "the JSON text is not an object");
	}
	json_finish(&g->json);
}

/* UTF-16 and UTF-32 show in the first bytes: each JSON text begins with an ASCII character. */
static bool is_wide(struct view text)
{
	static const unsigned patterns = 1u << 0x5 | 1u << 0xa | 1u << 0x7 | 1u << 0xe;
	unsigned nuls = 0;

	if (text.n < 4)
		return false;
	for (unsigned i = 0; i < 4; i++)
		nuls |= (unsigned)(text.p[i] == '\0') << i;
	return patterns >> nuls & 1;
}

/* WNM-02, WNM-03: nothing else can be said of such a text. */
static void judge_broken_text(struct judge *g, struct view payload)
{
	size_t valid = utf8_valid_prefix(payload.p, payload.n);

	g->found->count = 0;
	if (valid < payload.n)
		judge_broken(g, RULE_WNM_02, (uint32_t)valid, "not well-formed UTF-8");
	else if (view_starts_with(payload, VIEW("\xef\xbb\xbf")))
		judge_broken(g, RULE_WNM_02, 0, "begins with a byte-order mark");
	else if (is_wide(payload))
		judge_broken(g, RULE_WNM_02, 0, "UTF-16 or UTF-32, not UTF-8");
	else
		judge_broken(g, RULE_WNM_03, (uint32_t)(g->json.at - payload.p), g->json.fault);
}

/* WNM-05 to WNM-07: what the reader noted while reading on. */
static void judge_noted(struct judge *g)
{
	const struct json *j = &g->json;

	if (j->repeated)
		judge_broken(g, RULE_WNM_05, (uint32_t)(j->repeated - j->start),
			"a second member of this name in the same object");
	if (j->too_deep)
		judge_broken(g, RULE_WNM_06, (uint32_t)(j->too_deep - j->start), "nested too deep");
	if (j->lone_surrogate)
		judge_broken(g, RULE_WNM_07, (uint32_t)(j->lone_surrogate - j->start),
			"an escaped surrogate without its other half");
}

/* Reads once more, leaving out the members that a later one of the same name supersedes. */
static void read_again(struct judge *g, struct view payload)
{
	struct json second;

	json_init(&second, payload);
	json_keys_from(&second, &g->json);
	g->json = second;
	read_text(g);
}

static void judge_text_of(struct judge *g, struct view payload)
{
	json_init(&g->json, payload);
	read_text(g);
	if (g->json.repeated && g->json.fault == NULL)
		read_again(g, payload);
	if (g->json.fault)
		judge_broken_text(g, payload);
	else
		judge_noted(g);
	for (uint32_t i = 0; i < g->found->count; i++)
		json_pointer(
			payload, g->found->at[i].offset, g->found->at[i].path, FINDING_PATH_BYTES);
}

enum rule judge_payload(struct judge *g, struct view payload)
{
	if (payload.n >= 1 && payload.n <= NOTIFICATION_LARGEST) {
		judge_text_of(g, payload);
	} else {
		*g->out = (struct notification){0};
		g->found->count = 0;
		judge_broken(g, RULE_WNM_01, payload.n ? NOTIFICATION_LARGEST : 0,
			payload.n ? "more than 8192 bytes" : "an empty payload");
	}
	return g->found->count ? g->found->at[0].rule : RULE_NONE;
}
