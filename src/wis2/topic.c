/* A topic's verdict, level by level.
 *
 *   origin/a/wis2/ca-eccc-msc/data/core/weather/surface-based-observations/synop
 *   1      2 3    4           5    6    7       8 ...
 *
 * First the bytes (WTH-01), then the levels as such (WTH-02, 03), then what each must be. A rule on
 * a level that is not there is not broken; that the topic ends too early is a rule of its own.
 */
#include "wis2/topic.h"

#include "base/utf8.h"
#include "wis2/findings.h"
#include "wis2/hierarchy.h"
#include "wis2/nearest.h"

#define MQTT_TOPIC_LARGEST 65535u /* MQTT 5, 1.5.4 */
#define LEVELS_BEFORE_PATH 6u     /* level 7 is the first in the tables */

/* What a byte of a topic can be. */
enum byte_class {
	BYTE_SLASH = 1,   /* between levels */
	BYTE_ILLEGAL = 2, /* WTH-01: NUL, + and # */
	BYTE_ODD = 4,     /* WTH-03: not printable ASCII, upper case, dot */
	BYTE_HIGH = 8,    /* begins or continues a character beyond ASCII; odd as well */
};

#define SIXTEEN(x) x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x
#define HIGH (BYTE_ODD | BYTE_HIGH)

static const uint8_t classes[256] = {
	/* 00 */ BYTE_ILLEGAL,
	BYTE_ODD,
	BYTE_ODD,
	BYTE_ODD,
	BYTE_ODD,
	BYTE_ODD,
	BYTE_ODD,
	BYTE_ODD,
	/* 08 */ BYTE_ODD,
	BYTE_ODD,
	BYTE_ODD,
	BYTE_ODD,
	BYTE_ODD,
	BYTE_ODD,
	BYTE_ODD,
	BYTE_ODD,
	/* 10 */ SIXTEEN(BYTE_ODD),
	/* 20 */ BYTE_ODD,
	0,
	0,
	BYTE_ILLEGAL,
	0,
	0,
	0,
	0,
	0,
	0,
	0,
	BYTE_ILLEGAL,
	0,
	0,
	BYTE_ODD,
	/* 2f */ BYTE_SLASH,
	SIXTEEN(0),
	/* 40 */ 0,
	BYTE_ODD,
	BYTE_ODD,
	BYTE_ODD,
	BYTE_ODD,
	BYTE_ODD,
	BYTE_ODD,
	BYTE_ODD,
	/* 48 */ BYTE_ODD,
	BYTE_ODD,
	BYTE_ODD,
	BYTE_ODD,
	BYTE_ODD,
	BYTE_ODD,
	BYTE_ODD,
	BYTE_ODD,
	/* 50 */ BYTE_ODD,
	BYTE_ODD,
	BYTE_ODD,
	BYTE_ODD,
	BYTE_ODD,
	BYTE_ODD,
	BYTE_ODD,
	BYTE_ODD,
	/* 58 */ BYTE_ODD,
	BYTE_ODD,
	BYTE_ODD,
	0,
	0,
	0,
	0,
	0,
	SIXTEEN(0),
	/* 70 */ 0,
	0,
	0,
	0,
	0,
	0,
	0,
	0,
	0,
	0,
	0,
	0,
	0,
	0,
	0,
	BYTE_ODD,
	/* 80 */ SIXTEEN(HIGH),
	SIXTEEN(HIGH),
	SIXTEEN(HIGH),
	SIXTEEN(HIGH),
	/* c0 */ SIXTEEN(HIGH),
	SIXTEEN(HIGH),
	SIXTEEN(HIGH),
	SIXTEEN(HIGH),
};

static inline uint8_t class_of(char byte)
{
	return classes[(unsigned char)byte];
}

struct judgement {
	const struct hierarchy *h;
	const struct topic_options *options;
	const uint8_t *modes;
	struct topic_parts *parts;
	struct findings *found;
	struct view topic;
	uint32_t count;  /* levels, also beyond what `levels` holds */
	uint8_t classes; /* enum byte_class of all bytes, or-ed */
	bool has_empty_level;
	struct view levels[TOPIC_LEVELS_MOST];
};

/* Level `number` (from 1), or {NULL, 0}. */
static struct view level_of(const struct judgement *t, unsigned number)
{
	return number <= t->count && number <= TOPIC_LEVELS_MOST ? t->levels[number - 1]
								 : (struct view){NULL, 0};
}

static bool level_is(const struct judgement *t, unsigned number, struct view name)
{
	return view_equal(level_of(t, number), name);
}

/* NULL when the rule is not in force or the finding is not kept. A level behind the last stands for
 * the end of the topic. */
static struct finding *broken(
	struct judgement *t, enum rule rule, unsigned level, const char *reason)
{
	struct view at = level_of(t, level);
	struct finding *finding;

	if (t->modes[rule] > MODE_STANDARD)
		return NULL;
	finding = findings_add(t->found, t->options->all ? FINDINGS_ALL : FINDINGS_FIRST, rule,
		(uint32_t)(at.p ? (size_t)(at.p - t->topic.p) : t->topic.n), reason);
	if (finding)
		finding->level = (uint8_t)(level < UINT8_MAX ? level : UINT8_MAX);
	return finding;
}

/* WTH-01. NULL: legal. */
static const char *illegal(struct view topic, uint8_t all)
{
	if (topic.n == 0)
		return "an empty topic";
	if (topic.n > MQTT_TOPIC_LARGEST)
		return "longer than 65535 bytes";
	if (topic.p[0] == '$')
		return "begins with $";
	if (all & BYTE_ILLEGAL)
		return "a wildcard or NUL";
	if ((all & BYTE_HIGH) && utf8_valid_prefix(topic.p, topic.n) != topic.n)
		return "not well-formed UTF-8";
	return NULL;
}

/* Where the fault is that illegal() names: the first byte, or a byte within. */
static size_t illegal_at(struct view topic)
{
	size_t valid = utf8_valid_prefix(topic.p, topic.n);

	if (topic.n > MQTT_TOPIC_LARGEST || topic.n == 0 || topic.p[0] == '$')
		return 0;
	for (size_t i = 0; i < topic.n; i++) {
		if (class_of(topic.p[i]) & BYTE_ILLEGAL)
			return i;
	}
	return valid < topic.n ? valid : 0;
}

/* Ends the level that began at `begin`. */
static inline void add_level(struct judgement *t, const char *begin, const char *end)
{
	if (t->count < TOPIC_LEVELS_MOST)
		t->levels[t->count] = (struct view){begin, (size_t)(end - begin)};
	t->count++;
	t->has_empty_level |= begin == end;
}

/* Cuts the topic into levels and classifies its bytes. */
static void read_levels(struct judgement *t)
{
	const char *end = t->topic.p + t->topic.n;
	const char *begin = t->topic.p;
	uint8_t all = 0;

	t->count = 0;
	t->has_empty_level = false;
	for (const char *p = begin; p < end; p++) {
		uint8_t class = class_of(*p);

		all |= class;
		if (class == BYTE_SLASH) {
			add_level(t, begin, p);
			begin = p + 1;
		}
	}
	add_level(t, begin, end);
	t->classes = all;
}

/* The level that has the byte at `offset`. */
static unsigned level_at(const struct judgement *t, size_t offset)
{
	unsigned level = 1;

	for (size_t i = 0; i < offset; i++)
		level += t->topic.p[i] == '/';
	return level;
}

/* WTH-02 */
static void check_no_empty_level(struct judgement *t)
{
	size_t offset = 0;
	unsigned level;
	struct finding *finding;

	if (!t->has_empty_level)
		return;
	while (t->topic.p[offset] != '/' ||
		!(offset == 0 || offset + 1 == t->topic.n || t->topic.p[offset + 1] == '/'))
		offset++;
	offset += offset > 0;
	level = level_at(t, offset);
	finding = broken(t, RULE_WTH_02, level, "an empty level");
	if (finding)
		finding->offset = (uint32_t)offset;
}

/* The nearest valid name at a level of a fixed choice. */
static struct view nearest_of(struct view name, const struct view *choice, size_t n)
{
	struct nearest nearest;

	if (n == 1)
		return choice[0];
	nearest_init(&nearest, name);
	for (size_t i = 0; i < n; i++)
		nearest_try(&nearest, choice[i]);
	return nearest.best;
}

/* Levels of a fixed choice. */
static const struct level_row {
	unsigned level;
	enum rule rule;
	unsigned count;
	struct view names[3];
	const char *reason;
} level_rows[] = {
	{1, RULE_WTH_04, 3, {{"origin", 6}, {"cache", 5}, {"monitor", 7}},
		"level 1 is not origin, cache or monitor"},
	{2, RULE_WTH_05, 1, {{"a", 1}}, "level 2 is not a"},
	{3, RULE_WTH_06, 1, {{"wis2", 4}}, "level 3 is not wis2"},
	{5, RULE_WTH_08, 2, {{"data", 4}, {"metadata", 8}}, "level 5 is neither data nor metadata"},
	{6, RULE_WTH_10, 2, {{"core", 4}, {"recommended", 11}},
		"level 6 is neither core nor recommended"},
};

enum { ROW_CHANNEL, ROW_VERSION, ROW_SYSTEM, ROW_TYPE, ROW_POLICY };

/* True when the level is there and one of its choice. */
static bool check_level(struct judgement *t, unsigned number)
{
	const struct level_row *row = &level_rows[number];
	struct view name = level_of(t, row->level);
	struct finding *finding;

	if (name.p == NULL)
		return false;
	for (unsigned i = 0; i < row->count; i++) {
		if (view_equal(name, row->names[i]))
			return true;
	}
	finding = broken(t, row->rule, row->level, row->reason);
	if (finding)
		finding->nearest = nearest_of(name, row->names, row->count);
	return false;
}

/* ^[a-z]{2,63}(-[a-z0-9]+)+$ and ending in -test (WTH section 3). */
static bool is_test_centre(struct view name)
{
	struct view rest = name;
	struct view domain = view_cut(&rest, '-');

	if (!view_ends_with(name, VIEW("-test")) || domain.n < 2 || domain.n > 63)
		return false;
	for (size_t i = 0; i < domain.n; i++) {
		if (domain.p[i] < 'a' || domain.p[i] > 'z')
			return false;
	}
	while (rest.p) {
		struct view part = view_cut(&rest, '-');

		for (size_t i = 0; i < part.n; i++) {
			char c = part.p[i];

			if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9'))
				return false;
		}
		if (part.n == 0)
			return false;
	}
	return true;
}

/* WTH-07 */
static void check_centre(struct judgement *t)
{
	struct view centre = level_of(t, 4);
	struct finding *finding;

	if (centre.p == NULL || hierarchy_knows_centre(t->h, centre) ||
		(t->options->test_centres && is_test_centre(centre)))
		return;
	finding = broken(t, RULE_WTH_07, 4, "level 4 is not a known centre identifier");
	if (finding)
		finding->nearest = hierarchy_nearest_centre(t->h, centre);
}

/* The first level from `number` on that is called experimental, or 0. */
static unsigned find_experimental(const struct judgement *t, unsigned number)
{
	for (; number <= t->count && number <= TOPIC_LEVELS_MOST; number++) {
		if (level_is(t, number, VIEW("experimental")))
			return number;
	}
	return 0;
}

/* The level below `node` that the tables lack. A misplaced `experimental` explains it best. */
static void check_unlisted(struct judgement *t, unsigned node, unsigned number)
{
	unsigned experimental = find_experimental(t, number);
	struct finding *finding;

	if (experimental) {
		broken(t, RULE_WTH_14, experimental, "experimental is allowed at level 8 only");
	} else if (hierarchy_is_leaf(t->h, node)) {
		broken(t, RULE_WTH_16, number, "a level behind a leaf");
	} else {
		finding =
			broken(t, RULE_WTH_13, number, "not in the tables below the level before");
		if (finding)
			finding->nearest = hierarchy_nearest_child(t->h, node, level_of(t, number));
	}
}

/* WTH-13 to WTH-16: level 8 and on, below the discipline. */
static void check_path(struct judgement *t, unsigned node)
{
	for (unsigned number = 8; number <= t->count && number <= TOPIC_LEVELS_MOST; number++) {
		struct view name = level_of(t, number);
		unsigned child;

		if (number == 8 && view_equal(name, VIEW("experimental"))) {
			t->parts->is_leaf = true; /* WTH-14: free below */
			return;
		}
		child = hierarchy_child(t->h, node, name);
		if (child == HIERARCHY_NONE) {
			check_unlisted(t, node, number);
			return;
		}
		node = child;
	}
	t->parts->is_leaf = t->count >= 8 && hierarchy_is_leaf(t->h, node);
	if (t->count >= 8 && !t->parts->is_leaf && t->options->leaf_only)
		broken(t, RULE_WTH_15, t->count, "not a leaf");
}

/* WTH-10 to WTH-16: level 6 and on of a data topic. */
static void check_data(struct judgement *t)
{
	struct view discipline = level_of(t, LEVELS_BEFORE_PATH + 1);
	struct finding *finding;
	unsigned node;

	check_level(t, ROW_POLICY);
	if (t->count < 8)
		broken(t, RULE_WTH_12, t->count + 1, "a data topic ends before level 8");
	if (discipline.p == NULL)
		return;
	node = hierarchy_child(t->h, HIERARCHY_ROOT, discipline);
	if (node != HIERARCHY_NONE) {
		check_path(t, node);
		return;
	}
	finding = broken(t, RULE_WTH_11, LEVELS_BEFORE_PATH + 1, "level 7 is not a discipline");
	if (finding)
		finding->nearest = hierarchy_nearest_child(t->h, HIERARCHY_ROOT, discipline);
}

static void check_kind(struct judgement *t)
{
	if (level_is(t, 1, VIEW("monitor"))) {
		t->parts->kind = TOPIC_MONITOR;
		if (t->count != 4)
			broken(t, RULE_WTH_20, t->count < 4 ? t->count + 1 : 5,
				"a monitor topic has four levels");
		return;
	}
	if (t->count < 5)
		broken(t, RULE_WTH_12, t->count + 1, "the topic ends early");
	if (!check_level(t, ROW_TYPE))
		return;
	t->parts->kind = level_is(t, 5, VIEW("data")) ? TOPIC_DATA : TOPIC_METADATA;
	if (t->parts->kind == TOPIC_DATA) {
		check_data(t);
	} else if (t->count > 5) {
		if (t->options->metadata_subtopics)
			check_data(t);
		else
			broken(t, RULE_WTH_09, 6, "a metadata topic has five levels");
	}
	if (t->parts->is_cache && level_is(t, 6, VIEW("recommended")))
		broken(t, RULE_ISO_01, 6, "recommended data on the cache channel");
}

static void name_parts(struct judgement *t)
{
	struct view tail = level_of(t, 5);

	t->parts->channel = level_of(t, 1);
	t->parts->centre = level_of(t, 4);
	t->parts->is_cache = level_is(t, 1, VIEW("cache"));
	if (tail.p)
		t->parts->tail = view_skip(t->topic, (size_t)(tail.p - t->topic.p));
}

/* WTH-03, with the nearest name where the level has a choice. */
static void check_plain(struct judgement *t)
{
	struct finding *finding;
	size_t offset = 0;
	unsigned level;

	while (!(class_of(t->topic.p[offset]) & BYTE_ODD))
		offset++;
	level = level_at(t, offset);
	finding = broken(t, RULE_WTH_03, level,
		"upper case, a dot, or a character that is not printable ASCII");
	if (finding == NULL)
		return;
	finding->offset = (uint32_t)offset;
	for (size_t i = 0; i < sizeof(level_rows) / sizeof(level_rows[0]); i++) {
		if (level_rows[i].level == level)
			finding->nearest = nearest_of(
				level_of(t, level), level_rows[i].names, level_rows[i].count);
	}
	if (level == 4)
		finding->nearest = hierarchy_nearest_centre(t->h, level_of(t, level));
}

/* What the topic as a whole must be; false when its levels mean nothing. */
static bool check_whole(struct judgement *t)
{
	const char *reason = illegal(t->topic, t->classes);
	struct finding *finding;
	size_t offset;

	if (reason) {
		offset = illegal_at(t->topic);
		finding = broken(t, RULE_WTH_01, level_at(t, offset), reason);
		if (finding)
			finding->offset = (uint32_t)offset;
		return false;
	}
	check_no_empty_level(t);
	if (t->classes & BYTE_ODD)
		check_plain(t);
	if (t->topic.n > TOPIC_LARGEST || t->count > TOPIC_LEVELS_MOST)
		broken(t, RULE_WTH_18, 1, "more than 8192 bytes or 128 levels");
	return true;
}

enum rule topic_judge(const struct hierarchy *h, struct view topic,
	const struct topic_options *options, struct topic_parts *parts, struct findings *found)
{
	struct judgement t;

	t.h = h;
	t.options = options;
	t.modes = options->rule_modes ? options->rule_modes : rule_table_modes();
	t.parts = parts;
	t.found = found;
	t.topic = topic;
	*parts = (struct topic_parts){0};
	found->count = 0;
	read_levels(&t);
	if (check_whole(&t)) {
		name_parts(&t);
		check_level(&t, ROW_CHANNEL);
		check_level(&t, ROW_VERSION);
		check_level(&t, ROW_SYSTEM);
		check_centre(&t);
		check_kind(&t);
	}
	return found->count ? found->at[0].rule : RULE_NONE;
}
