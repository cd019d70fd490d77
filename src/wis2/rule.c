#include "wis2/rule.h"

struct row {
	const char *id;
	const char *text;
	const char *source;
	enum rule_check check;
	enum rule_mode mode;
};

static const struct row rows[RULE_COUNT] = {
	[RULE_NONE] = {"", "", "", CHECK_MESSAGE, MODE_OFF},
#define X(name, id, check, mode, text, source) [RULE_##name] = {id, text, source, check, mode},
#include "wis2/rule.def"
#undef X
};

static const uint8_t modes[RULE_COUNT] = {
	[RULE_NONE] = MODE_OFF,
#define X(name, id, check, mode, text, source) [RULE_##name] = mode,
#include "wis2/rule.def"
#undef X
};

/* Anything that is no rule is described as RULE_NONE. */
static const struct row *row(enum rule r)
{
	return &rows[(unsigned)r < RULE_COUNT ? r : RULE_NONE];
}

const char *rule_id(enum rule r)
{
	return row(r)->id;
}

const char *rule_text(enum rule r)
{
	return row(r)->text;
}

const char *rule_source(enum rule r)
{
	return row(r)->source;
}

enum rule_check rule_check(enum rule r)
{
	return row(r)->check;
}

enum rule_mode rule_mode(enum rule r)
{
	return row(r)->mode;
}

const uint8_t *rule_table_modes(void)
{
	return modes;
}

enum rule rule_by_id(struct view id)
{
	for (unsigned r = RULE_NONE + 1; r < RULE_COUNT; r++) {
		if (view_equal(id, view_of(rows[r].id)))
			return (enum rule)r;
	}
	return RULE_NONE;
}
