/* Lines to values by the table of keys, values to YAML. What both families of keys say is asked under
 * one name: taken() looks at the one, then at the other. */
#include "cli/import_env.h"

#include <string.h>

enum key {
#define TAKEN(name, text) KEY_##name,
#define IGNORED(text, reason)
#include "cli/import_env.def"
#undef TAKEN
#undef IGNORED
	KEY_COUNT
};

static const char *const taken_names[KEY_COUNT] = {
#define TAKEN(name, text) [KEY_##name] = text,
#define IGNORED(text, reason)
#include "cli/import_env.def"
#undef TAKEN
#undef IGNORED
};

static const struct {
	const char *name;
	const char *reason;
} ignored[] = {
#define TAKEN(name, text)
#define IGNORED(text, reason) {text, reason},
#include "cli/import_env.def"
#undef TAKEN
#undef IGNORED
};

struct env {
	struct view values[KEY_COUNT]; /* {NULL, 0}: not given */
	struct buf *out;
	struct buf *notes;
};

/* --- reading ---------------------------------------------------------- */

static struct view trim(struct view text)
{
	while (text.n && strchr(" \t\r", text.p[0]))
		text = view_skip(text, 1);
	while (text.n && strchr(" \t\r", text.p[text.n - 1]))
		text.n--;
	return text;
}

/* A # begins a comment when a blank stands before it. */
static struct view without_comment(struct view value)
{
	for (size_t i = 1; i < value.n; i++) {
		if (value.p[i] == '#' && (value.p[i - 1] == ' ' || value.p[i - 1] == '\t'))
			return trim((struct view){value.p, i});
	}
	return value;
}

static struct view unquoted(struct view value)
{
	char quote = value.n ? value.p[0] : '\0';
	const char *end;

	if (quote != '"' && quote != '\'')
		return without_comment(value);
	end = memchr(value.p + 1, quote, value.n - 1);
	return end ? (struct view){value.p + 1, (size_t)(end - value.p - 1)} : value;
}

static void note(struct env *e, struct view key, const char *text)
{
	buf_printf(e->notes, "%.*s: %s\n", VIEW_ARG(key), text);
}

static bool is_named(struct view key, const char *pattern)
{
	struct view p = view_of(pattern);

	return p.p[p.n - 1] == '*' ? view_starts_with(key, (struct view){p.p, p.n - 1})
				   : view_equal(key, p);
}

static void take(struct env *e, struct view key, struct view value)
{
	for (size_t i = 0; i < KEY_COUNT; i++) {
		if (view_equal(key, view_of(taken_names[i]))) {
			e->values[i] = value;
			return;
		}
	}
	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++) {
		if (is_named(key, ignored[i].name)) {
			buf_printf(
				e->notes, "%.*s: ignored: %s\n", VIEW_ARG(key), ignored[i].reason);
			return;
		}
	}
	note(e, key, "ignored: not a key known");
}

static void read_lines(struct env *e, struct view text)
{
	if (view_starts_with(text, VIEW("\xef\xbb\xbf"))) /* an editor's mark of UTF-8 */
		text = view_skip(text, 3);
	while (text.p) {
		struct view line = trim(view_cut(&text, '\n'));
		struct view key;

		if (view_starts_with(line, VIEW("export "))) /* of a file that shells read, too */
			line = trim(view_skip(line, sizeof("export ") - 1));
		if (line.n == 0 || line.p[0] == '#')
			continue;
		if (memchr(line.p, '=', line.n) == NULL) {
			note(e, line, "ignored: not KEY=VALUE");
			continue;
		}
		key = trim(view_cut(&line, '='));
		take(e, key, unquoted(trim(line)));
	}
}

/* --- writing ---------------------------------------------------------- */

/* In quotes, with what Isobar would expand kept as it is. */
static void put_text(struct buf *out, struct view text)
{
	struct buf plain = {0};

	for (size_t i = 0; i < text.n; i++) {
		if (text.p[i] == '$' && i + 1 < text.n && text.p[i + 1] == '{')
			buf_text(&plain, "$");
		buf_append(&plain, &text.p[i], 1);
	}
	buf_json_string(out, buf_view(&plain));
	buf_fini(&plain);
}

static void put_line(struct env *e, const char *key, struct view value)
{
	buf_printf(e->out, "%s: ", key);
	put_text(e->out, value);
	buf_text(e->out, "\n");
}

static struct view either(const struct env *e, enum key a, enum key b)
{
	return e->values[a].n ? e->values[a] : e->values[b];
}

static bool is_true(struct view value)
{
	static const char *const words[] = {"true", "True", "TRUE", "yes", "1"};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (view_equal(value, view_of(words[i])))
			return true;
	}
	return false;
}

/* By the convention of names (topics.md, section 3): the operator may change it. */
static const char *kind_of(struct view centre)
{
	static const struct {
		struct view suffix;
		const char *kind;
	} rows[] = {
		{VIEW("-global-cache"), "cache"},
		{VIEW("-global-broker"), "broker"},
		{VIEW("-global-discovery-catalogue"), "catalogue"},
		{VIEW("-global-monitor"), "monitor"},
		{VIEW("-gts-to-wis2"), "gateway"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (view_ends_with(centre, rows[i].suffix))
			return rows[i].kind;
	}
	return "node";
}

/* Certificates are verified unless the file says that they are not. */
static bool is_verified(struct view word)
{
	return word.n == 0 || is_true(word);
}

static void put_tls_keys(struct env *e, bool verify, bool old)
{
	buf_printf(e->out, "tls: {verify: %s%s}\n", verify ? "yes" : "no",
		old ? ", max: 1.2, legacy: yes" : "");
}

static void put_backup_tls(struct env *e)
{
	struct view verify = e->values[KEY_BACKUP_VERIFY], old = e->values[KEY_BACKUP_TLS12];

	if (verify.n == 0 && old.n == 0)
		return;
	buf_text(e->out, "    ");
	put_tls_keys(e, is_verified(verify.n ? verify : e->values[KEY_VERIFY]), is_true(old));
}

static void put_backup(struct env *e, struct view url)
{
	struct view user = e->values[KEY_BACKUP_USER];
	struct view password = e->values[KEY_BACKUP_PASSWORD];

	buf_text(e->out, "urls:\n  - ");
	put_text(e->out, url);
	buf_text(e->out, "\n  - url: ");
	put_text(e->out, e->values[KEY_BACKUP_URL]);
	if (user.n) {
		buf_text(e->out, "\n    username: ");
		put_text(e->out, user);
	}
	if (password.n) {
		buf_text(e->out, "\n    password: ");
		put_text(e->out, password);
	}
	buf_text(e->out, "\n");
	put_backup_tls(e);
}

static void put_addresses(struct env *e, struct view url)
{
	if (e->values[KEY_BACKUP_URL].n)
		put_backup(e, url);
	else
		put_line(e, "url", url);
	if (e->values[KEY_USER].n)
		put_line(e, "username", e->values[KEY_USER]);
	if (e->values[KEY_PASSWORD].n)
		put_line(e, "password", e->values[KEY_PASSWORD]);
}

static void put_topics(struct env *e)
{
	struct view rest = either(e, KEY_TOPICS, KEY_PY_TOPICS);
	char separator = e->values[KEY_TOPICS].n ? ',' : ' ';

	if (rest.n)
		buf_text(e->out, "topics:\n");
	while (rest.n) {
		struct view topic = trim(view_cut(&rest, separator));

		if (topic.n == 0)
			continue;
		buf_text(e->out, "  - ");
		put_text(e->out, topic);
		buf_text(e->out, "\n");
	}
}

static void put_tls(struct env *e)
{
	struct view verify = e->values[KEY_VERIFY];
	bool old = is_true(e->values[KEY_TLS12]);

	if (verify.p == NULL && e->values[KEY_URL].p)
		note(e, view_of(taken_names[KEY_VERIFY]),
			"not given: certificates were not verified there and are here; "
			"tls: {verify: no} turns it off");
	if (old || !is_verified(verify))
		put_tls_keys(e, is_verified(verify), old);
}

static void put_protocol(struct env *e)
{
	struct view qos = e->values[KEY_QOS];

	if (view_equal(e->values[KEY_VERSION], VIEW("4")))
		buf_text(e->out, "protocol: 3.1.1\n");
	if (view_equal(qos, VIEW("2")))
		buf_text(e->out, "qos: 2\n");
	else if (view_equal(qos, VIEW("0")))
		note(e, view_of(taken_names[KEY_QOS]),
			"1 instead of 0: the Guide to WIS asks for it, and nothing is lost in a "
			"break");
}

/* discard and verify mean the same here; any other word means that the check is not made there. */
static const char *option_mode(struct view option)
{
	if (view_equal(option, VIEW("discard")))
		return "discard";
	return view_equal(option, VIEW("verify")) ? "verify" : "off";
}

/* A word with a slip in it turned the check off there without a sound. */
static void note_odd_word(struct env *e, enum key key)
{
	static const char *const words[] = {"discard", "verify", "no", "ignore", "off"};
	struct view option = e->values[key];

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (option.n == 0 || view_equal(option, view_of(words[i])))
			return;
	}
	note(e, view_of(taken_names[key]),
		"neither discard nor verify: the check was not made there, and is off here");
}

static void put_checks(struct env *e)
{
	static const struct {
		const char *check;
		enum key option; /* KEY_COUNT: there is none */
		enum key boolean;
	} rows[] = {
		{"topic", KEY_CHECK_TOPIC, KEY_PY_TOPIC},
		{"centre", KEY_COUNT, KEY_PY_CHECK_CENTRE},
		{"message", KEY_CHECK_MESSAGE, KEY_PY_MESSAGE},
		{"metadata", KEY_CHECK_METADATA, KEY_PY_METADATA},
	};
	const char *separator = "checks: {";

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct view option =
			rows[i].option < KEY_COUNT ? e->values[rows[i].option] : (struct view){0};
		struct view boolean = e->values[rows[i].boolean];
		const char *mode = option.p           ? option_mode(option)
				   : is_true(boolean) ? "discard"
						      : "off";

		if (option.p == NULL && boolean.p == NULL)
			continue;
		if (option.p)
			note_odd_word(e, rows[i].option);
		buf_printf(e->out, "%s%s: %s", separator, rows[i].check, mode);
		separator = ", ";
	}
	if (separator[0] == ',')
		buf_text(e->out, "}\n");
}

bool import_env(
	struct view text, struct view name, struct buf *out, struct buf *notes, struct view *centre)
{
	struct env e = {.out = out, .notes = notes};
	struct view url;

	read_lines(&e, text);
	url = either(&e, KEY_URL, KEY_PY_URL);
	*centre = either(&e, KEY_CENTRE, KEY_PY_CENTRE);
	if (centre->n == 0)
		*centre = name;
	if (url.n == 0)
		return false;
	put_line(&e, "centre_id", *centre);
	buf_printf(out, "kind: %s\n", kind_of(*centre));
	put_addresses(&e, url);
	put_topics(&e);
	put_tls(&e);
	put_protocol(&e);
	put_checks(&e);
	if (view_equal(e.values[KEY_STRIP], VIEW("discard")))
		buf_text(out, "strip_content: yes\n");
	return true;
}
