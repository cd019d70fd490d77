/* The YAML reader says at which line and column each entry begins; what is changed are whole lines.
 *
 *     # comment of the one before      entry: from its "-" to the next one's, without the comments
 *     - user: a            <- line     and empty lines in front of that
 *       password_hash: x
 */
#include "cli/account_text.h"

#include <string.h>

#include "cli/config_keys.h"
#include "cli/yaml.h"

/* The bytes of an entry, and the column of its keys (from 0). */
struct entry {
	size_t from;
	size_t to;
	size_t column;
};

static size_t offset_of_line(struct view text, uint32_t number)
{
	struct view rest = text;

	for (uint32_t line = 1; line < number && rest.p; line++)
		view_cut(&rest, '\n');
	return rest.p ? (size_t)(rest.p - text.p) : text.n;
}

static struct view without_blanks(struct view line)
{
	while (line.n && (line.p[0] == ' ' || line.p[0] == '\r'))
		line = view_skip(line, 1);
	return line;
}

/* Where the lines between `from` and `to` end that are more than comments. */
static size_t end_of_entry(struct view text, size_t from, size_t to)
{
	struct view rest = {text.p + from, to - from};
	size_t end = from;

	while (rest.p) {
		struct view line = without_blanks(view_cut(&rest, '\n'));

		if (line.n && line.p[0] != '#')
			end = rest.p ? (size_t)(rest.p - text.p) : to;
	}
	return end;
}

static const char *user_of(const struct yaml *item)
{
	const struct yaml *user = item->kind == YAML_MAP ? config_find(item, "user") : NULL;

	return user && user->kind == YAML_SCALAR ? user->text : NULL;
}

static bool is_in_lines(struct view text, const struct yaml *item)
{
	size_t at = offset_of_line(text, item->line);

	return item->kind == YAML_MAP && at < text.n && text.p[at] == '-' && item->column > 1;
}

static enum account_change find(
	struct view text, const struct yaml *root, const char *user, struct entry *out)
{
	for (uint32_t i = 0; i < root->count; i++) {
		const struct yaml *item = root->items[i];
		const char *name = user_of(item);
		size_t next = i + 1 < root->count ? offset_of_line(text, root->items[i + 1]->line)
						  : text.n;

		if (name == NULL || strcmp(name, user) != 0)
			continue;
		if (!is_in_lines(text, item))
			return ACCOUNT_UNWRITTEN;
		out->from = offset_of_line(text, item->line);
		out->to = end_of_entry(text, out->from, next);
		out->column = item->column - 1;
		return ACCOUNT_CHANGED;
	}
	return ACCOUNT_ABSENT;
}

/* The entry of this user in a list that may be changed. */
static enum account_change find_in(struct view text, const char *user, struct entry *out)
{
	struct buf lines = {0};
	struct faults faults = {&lines, 0};
	struct yaml *root = yaml_read(text, "", &faults);
	enum account_change found = ACCOUNT_UNWRITTEN;

	if (root && root->kind == YAML_LIST && root->count)
		found = is_in_lines(text, root->items[0]) ? find(text, root, user, out)
							  : ACCOUNT_UNWRITTEN;
	yaml_free(root);
	buf_fini(&lines);
	return found;
}

/* --- changes ---------------------------------------------------------- */

static void put_list(struct buf *out, const char *key, const char *const *list, uint32_t n)
{
	if (n == 0)
		return;
	buf_printf(out, "  %s: [", key);
	for (uint32_t i = 0; i < n; i++) {
		buf_text(out, i ? ", " : "");
		buf_json_string(out, view_of(list[i]));
	}
	buf_text(out, "]\n");
}

static void put_entry(struct buf *out, const struct account_draft *d)
{
	buf_text(out, "- user: ");
	buf_json_string(out, view_of(d->user));
	buf_text(out, "\n  password_hash: ");
	buf_json_string(out, view_of(d->password_hash));
	buf_text(out, "\n");
	put_list(out, "read", d->read, d->read_count);
	put_list(out, "write", d->write, d->write_count);
	put_list(out, "pages", d->pages, d->page_count);
	if (d->admin)
		buf_text(out, "  admin: true\n");
}

enum account_change account_text_add(
	struct view text, const struct account_draft *draft, struct buf *out)
{
	struct entry e;
	enum account_change found = text.n ? find_in(text, draft->user, &e) : ACCOUNT_ABSENT;

	if (found != ACCOUNT_ABSENT)
		return found == ACCOUNT_CHANGED ? ACCOUNT_PRESENT : found;
	if (text.n == 0) /* GB-25 to GB-28 */
		buf_text(out, "- user: everyone\n  password: everyone\n"
			      "  read: [origin/a/wis2/#, cache/a/wis2/#, monitor/a/wis2/#]\n"
			      "  max_qos: 1\n  session_expiry: 1h\n");
	buf_append(out, text.p, text.n);
	if (text.n && text.p[text.n - 1] != '\n')
		buf_text(out, "\n");
	put_entry(out, draft);
	return ACCOUNT_CHANGED;
}

enum account_change account_text_remove(struct view text, const char *user, struct buf *out)
{
	struct entry e;
	enum account_change found = find_in(text, user, &e);

	if (found != ACCOUNT_CHANGED)
		return found;
	buf_append(out, text.p, e.from);
	buf_append(out, text.p + e.to, text.n - e.to);
	return ACCOUNT_CHANGED;
}

/* Is it a line of the entry itself, with this key? */
static bool is_key(struct view line, size_t column, struct view key)
{
	struct view front = {line.p, line.n < column ? line.n : column};

	if (line.n < column || (front.n && front.p[0] == '-'))
		front = view_skip(front, 1);
	return without_blanks(front).n == 0 && view_starts_with(view_skip(line, column), key);
}

static void put_hash(struct buf *out, const struct entry *e, struct view front, const char *hash)
{
	buf_append(out, front.p, front.n < e->column ? front.n : e->column);
	buf_text(out, "password_hash: ");
	buf_json_string(out, view_of(hash));
	buf_text(out, "\n");
}

enum account_change account_text_set_hash(
	struct view text, const char *user, const char *password_hash, struct buf *out)
{
	struct entry e;
	enum account_change found = find_in(text, user, &e);
	struct view rest;
	bool is_put = false;

	if (found != ACCOUNT_CHANGED)
		return found;
	buf_append(out, text.p, e.from);
	rest = (struct view){text.p + e.from, e.to - e.from};
	while (rest.n) {
		struct view line = view_cut(&rest, '\n');

		if (is_key(line, e.column, VIEW("password:")) ||
			is_key(line, e.column, VIEW("password_hash:"))) {
			put_hash(out, &e, line, password_hash);
			is_put = true;
			continue;
		}
		buf_append(out, line.p, line.n);
		buf_text(out, "\n");
	}
	if (!is_put) {
		static const char blanks[] = "                                ";

		put_hash(out, &e, (struct view){blanks, sizeof(blanks) - 1}, password_hash);
	}
	buf_append(out, text.p + e.to, text.n - e.to);
	return ACCOUNT_CHANGED;
}
