/* links (WNM-60 to WNM-70). */
#include "wis2/judge.h"

#include "wis2/number.h"

static bool equals_ignoring_case(struct view text, struct view lower)
{
	if (text.n < lower.n)
		return false;
	for (size_t i = 0; i < lower.n; i++) {
		char c = text.p[i];

		if (c >= 'A' && c <= 'Z')
			c = (char)(c | 0x20);
		if (c != lower.p[i])
			return false;
	}
	return true;
}

bool judge_is_address(struct view href)
{
	static const struct view schemes[] = {
		{"https://", 8},
		{"http://", 7},
		{"ftp://", 6},
		{"sftp://", 7},
	};

	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
		struct view rest = view_skip(href, schemes[i].n);

		if (equals_ignoring_case(href, schemes[i]))
			return rest.n && rest.p[0] != '/' && rest.p[0] != '?' && rest.p[0] != '#';
	}
	return false;
}

/* RFC 3986, section 2: the characters of an address. */
static bool is_address_text(struct view href)
{
	for (size_t i = 0; i < href.n; i++) {
		char c = href.p[i];

		if (c <= ' ' || c > '~' || strchr("<>\"{}|\\^`", c))
			return false;
	}
	return true;
}

static void check_href(struct judge *g)
{
	const struct json_value *v = judge_member(g, MEMBER_LINK_HREF, KIND_STRING);
	struct view href;

	if (v == NULL)
		return;
	href = judge_text(g, v);
	if (!judge_is_address(href))
		judge_broken(g, RULE_WNM_64, v->offset, "not an http, https, ftp or sftp address");
	if (judge_asks(g, RULE_WNM_70) && !is_address_text(href))
		judge_broken(g, RULE_WNM_70, v->offset, "characters that no address may have");
}

static void check_length(struct judge *g)
{
	const struct json_value *v = judge_member(g, MEMBER_LINK_LENGTH, KIND_NUMBER);
	int64_t length;

	if (v == NULL)
		return;
	if (!number_integer(v->raw, &length))
		judge_broken(g, RULE_WNM_67, v->offset, "not an integer");
	else if (length < 0)
		judge_broken(g, RULE_WNM_68, v->offset, "negative");
}

/* Is the link one that says where the data are (WNM-65)? */
static bool is_primary(struct judge *g)
{
	const struct json_value *v = judge_member(g, MEMBER_LINK_REL, KIND_STRING);
	struct view rel;

	if (v == NULL)
		return false;
	rel = judge_text(g, v);
	if (view_equal(rel, VIEW("deletion"))) {
		g->out->is_deletion = true;
		return true;
	}
	return view_equal(rel, VIEW("canonical")) || view_equal(rel, VIEW("update"));
}

/* One element of links; true when it is a primary link. */
static bool judge_link(struct judge *g, const struct json_value *v)
{
	if (v->kind != KIND_OBJECT) {
		judge_broken(g, RULE_WNM_61, v->offset, "a link is not an object");
		json_pass(&g->json, v);
		return false;
	}
	if (!judge_object(g, LINK, v))
		return false;
	check_href(g);
	check_length(g);
	return is_primary(g);
}

void judge_links(struct judge *g, const struct json_value *v)
{
	struct json_value link;
	uint32_t count = 0, primary = 0;

	json_open(&g->json);
	while (json_element(&g->json) && json_value(&g->json, &link)) {
		count++;
		if (!judge_link(g, &link))
			continue;
		primary++;
		if (primary == 2)
			judge_broken(g, RULE_WNM_66, link.offset, "a second primary link");
	}
	if (count == 0)
		judge_broken(g, RULE_WNM_60, v->offset, "links is empty");
	else if (primary == 0)
		judge_broken(g, RULE_WNM_65, v->offset, "no link is canonical, update or deletion");
}

/* A kind of security scheme (OpenAPI 3.0, Security Scheme Object): the members it must have and may
 * have besides type, description and x-... */
struct scheme {
	struct view type;
	uint32_t required;
	uint32_t optional;
};

#define BIT(name) (1u << (MEMBER_SCHEME_##name - MEMBER_SCHEME_REFERENCE))

static const struct scheme schemes[] = {
	{{"apiKey", 6}, BIT(NAME) | BIT(IN), 0},
	{{"http", 4}, BIT(SCHEME), BIT(BEARER_FORMAT)},
	{{"oauth2", 6}, BIT(FLOWS), 0},
	{{"openIdConnect", 13}, BIT(OPENID_URL), 0},
};

static uint32_t scheme_members(const struct judge *g)
{
	uint32_t present = 0;

	for (unsigned m = MEMBER_SCHEME_REFERENCE; m <= MEMBER_SCHEME_TYPE; m++) {
		if (g->members[m].kind != KIND_NONE)
			present |= 1u << (m - MEMBER_SCHEME_REFERENCE);
	}
	return present;
}

/* Every member is of its kind: flows an object, all others strings. */
static bool has_sound_members(const struct judge *g)
{
	for (unsigned m = MEMBER_SCHEME_REFERENCE; m <= MEMBER_SCHEME_TYPE; m++) {
		uint8_t kind = g->members[m].kind;
		uint8_t want = m == MEMBER_SCHEME_FLOWS ? KIND_OBJECT : KIND_STRING;

		if (kind != KIND_NONE && kind != want)
			return false;
	}
	return true;
}

static bool is_one_of(struct judge *g, enum member m, const char *const *words)
{
	for (; *words; words++) {
		if (judge_text_is(g, &g->members[m], view_of(*words)))
			return true;
	}
	return false;
}

/* What presence and kinds do not say. */
static bool has_sound_values(struct judge *g, uint32_t present)
{
	static const char *const places[] = {"header", "query", "cookie", NULL};
	static const char *const bearer[] = {"bearer", NULL};

	if ((present & BIT(IN)) && !is_one_of(g, MEMBER_SCHEME_IN, places))
		return false;
	return !(present & BIT(BEARER_FORMAT)) || is_one_of(g, MEMBER_SCHEME_SCHEME, bearer);
}

static bool is_security_scheme(struct judge *g)
{
	uint32_t present = scheme_members(g);
	uint32_t own = present & ~(BIT(TYPE) | BIT(DESCRIPTION));

	/* A reference may stand with anything, as the schema of WNM has it. */
	if (g->members[MEMBER_SCHEME_REFERENCE].kind == KIND_STRING)
		return true;
	if (!(present & BIT(TYPE)) || g->unknown || !has_sound_members(g))
		return false;
	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
		const struct scheme *s = &schemes[i];

		if (judge_text_is(g, &g->members[MEMBER_SCHEME_TYPE], s->type))
			return (own & s->required) == s->required &&
			       (own & ~(s->required | s->optional)) == 0 &&
			       has_sound_values(g, present);
	}
	return false;
}

/* Names outside this form are not looked at. */
static bool is_scheme_name(struct view name)
{
	for (size_t i = 0; i < name.n; i++) {
		char c = name.p[i];
		bool letter = (c | 0x20) >= 'a' && (c | 0x20) <= 'z';

		if (!letter && !(c >= '0' && c <= '9') && c != '.' && c != '-' && c != '_')
			return false;
	}
	return name.n > 0;
}

static void judge_scheme(struct judge *g, const struct json_value *v)
{
	if (v->kind != KIND_OBJECT) {
		judge_broken(g, RULE_WNM_69, v->offset, "a security scheme is not an object");
		json_pass(&g->json, v);
		return;
	}
	if (judge_object(g, SCHEME, v) && !is_security_scheme(g))
		judge_broken(g, RULE_WNM_69, v->offset, "not a security scheme of OpenAPI 3.0");
}

void judge_security(struct judge *g, const struct json_value *v)
{
	struct json_value name, value;

	(void)v;
	json_open(&g->json);
	while (json_member(&g->json, &name)) {
		bool judged = !json_is_superseded(&g->json) && is_scheme_name(judge_text(g, &name));

		if (!json_value(&g->json, &value))
			return;
		if (judged)
			judge_scheme(g, &value);
		else
			json_pass(&g->json, &value);
	}
}
