/* The judgement of one notification.
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
#include "wis2/notification.h"

#include "base/utf8.h"
#include "wis2/findings.h"
#include "wis2/judge.h"

static const uint8_t table_modes[RULE_COUNT] = {
	[RULE_NONE] = MODE_OFF,
#define X(name, id, check, mode, text, source) [RULE_##name] = mode,
#include "wis2/rule.def"
#undef X
};

#define CORE_CONFORMANCE "http://wis.wmo.int/spec/wnm/1/conf/core"

static bool is_nil(const struct uuid *id)
{
	static const struct uuid nil;

	return memcmp(id, &nil, sizeof(nil)) == 0;
}

/* WNM-12 */
static void check_id(struct judge *g)
{
	const struct json_value *id = judge_member(g, MEMBER_ID, KIND_STRING);

	if (id == NULL)
		return;
	g->out->id_text = id->raw;
	g->out->has_id = uuid_parse(judge_text(g, id), &g->out->id);
	if (!g->out->has_id)
		judge_broken(g, RULE_WNM_12, id->offset, "not a UUID of 36 characters");
	else if (g->options->mode == MODE_STRICT && is_nil(&g->out->id))
		judge_broken(g, RULE_WNM_12, id->offset, "the UUID is all zeros");
}

/* WNM-14: one element is the core conformance class; the others may be anything. */
void judge_conforms_to(struct judge *g, const struct json_value *v)
{
	struct json_value element;
	bool found = false;

	json_open(&g->json);
	while (json_element(&g->json) && json_value(&g->json, &element)) {
		if (element.kind == KIND_STRING)
			found |= judge_text_is(g, &element, VIEW(CORE_CONFORMANCE));
		else
			json_pass(&g->json, &element);
	}
	if (!found)
		judge_broken(g, RULE_WNM_14, v->offset, "does not name " CORE_CONFORMANCE);
}

/* WNM-13, WNM-15 */
static void check_version(struct judge *g, uint32_t top)
{
	const struct json_value *version = judge_member(g, MEMBER_VERSION, KIND_STRING);
	bool has_version = g->members[MEMBER_VERSION].kind != KIND_NONE;
	bool has_conforms_to = g->members[MEMBER_CONFORMS_TO].kind != KIND_NONE;

	if (has_version && has_conforms_to)
		judge_broken(g, RULE_WNM_13, g->members[MEMBER_VERSION].offset,
			"version stands next to conformsTo");
	else if (!has_version && !has_conforms_to)
		judge_broken(g, RULE_WNM_13, top, "neither conformsTo nor version is present");
	if (version && !judge_text_is(g, version, VIEW("v04")))
		judge_broken(g, RULE_WNM_15, version->offset, "not v04");
}

/* WNM-44, WNM-47: the rules that depend on the topic. */
static void check_topic_rules(struct judge *g)
{
	const struct json_value *metadata_id = &g->members[MEMBER_METADATA_ID];
	const struct json_value *properties = judge_member(g, MEMBER_PROPERTIES, KIND_OBJECT);
	bool is_empty = metadata_id->kind == KIND_STRING && metadata_id->raw.n == 0;

	if (properties == NULL)
		return;
	if (g->options->metadata_topic && g->out->is_deletion &&
		(metadata_id->kind == KIND_NONE || is_empty))
		judge_broken(g, RULE_WNM_44, is_empty ? metadata_id->offset : properties->offset,
			"a deletion on a metadata topic without metadata_id");
	if (g->options->cache_topic && g->members[MEMBER_GLOBAL_CACHE].kind == KIND_NONE)
		judge_broken(g, RULE_WNM_47, properties->offset,
			"a message on a cache topic without global-cache");
}

static void check_top(struct judge *g, uint32_t top)
{
	const struct json_value *type = judge_member(g, MEMBER_TYPE, KIND_STRING);

	if (type && !judge_text_is(g, type, VIEW("Feature")))
		judge_broken(g, RULE_WNM_10, type->offset, "not Feature");
	check_id(g);
	check_version(g, top);
	check_topic_rules(g);
}

/* One reading of the text. */
static void judge_pass(struct judge *g)
{
	struct json_value top;

	g->found->count = 0;
	*g->out = (struct notification){0};
	if (!json_value(&g->json, &top))
		return;
	if (top.kind != KIND_OBJECT) {
		json_pass(&g->json, &top);
		judge_broken(g, RULE_WNM_04, top.offset, "the JSON text is not an object");
	} else if (judge_object(g, TOP, &top)) {
		check_top(g, top.offset);
	}
	json_finish(&g->json);
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
static void judge_again(struct judge *g, struct view payload)
{
	struct json second;

	json_init(&second, payload);
	json_keys_from(&second, &g->json);
	g->json = second;
	judge_pass(g);
}

static void fill_pointers(struct view payload, struct findings *found)
{
	for (uint32_t i = 0; i < found->count; i++)
		json_pointer(payload, found->at[i].offset, found->at[i].path, FINDING_PATH_BYTES);
}

static void judge_text_of(struct judge *g, struct view payload)
{
	json_init(&g->json, payload);
	judge_pass(g);
	if (g->json.repeated && g->json.fault == NULL)
		judge_again(g, payload);
	if (g->json.fault)
		judge_broken_text(g, payload);
	else
		judge_noted(g);
	if (g->found->count)
		fill_pointers(payload, g->found);
}

enum rule notification_judge(struct view payload, const struct notification_options *options,
	struct notification *out, struct findings *found)
{
	struct judge g;

	g.options = options;
	g.modes = options->rule_modes ? options->rule_modes : table_modes;
	g.out = out;
	g.found = found;
	if (payload.n >= 1 && payload.n <= NOTIFICATION_LARGEST) {
		judge_text_of(&g, payload);
	} else {
		*out = (struct notification){0};
		found->count = 0;
		judge_broken(&g, RULE_WNM_01, payload.n ? NOTIFICATION_LARGEST : 0,
			payload.n ? "more than 8192 bytes" : "an empty payload");
	}
	return found->count ? found->at[0].rule : RULE_NONE;
}
