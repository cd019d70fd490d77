/* cli/config_account.c - the accounts file: a list of who may do what */
#include "cli/config_keys.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static bool has_placeholder(const char *filter)
{
	return strstr(filter, "%u") || strstr(filter, "%c");
}

/* A subject that no certificate can have would shut its account without a word. */
static void judge_certificate(struct config_reader *r, const struct yaml *y, const char *name)
{
	if (account_is_subject(name) && (*name == '/' || strstr(name, ", ") || strstr(name, " =")))
		config_fault(r, y, "certificate",
			"\"%s\" is no subject as of RFC 2253; what `openssl x509 -noout -subject "
			"-nameopt RFC2253` prints behind subject= is right, such as "
			"CN=gc.example.org,O=Example",
			name);
}

/* What stands in several keys of one entry together. */
static void judge_entry(
	struct config_reader *r, const struct yaml *y, const struct account_entry *e)
{
	const struct account *a = &e->account;

	if (e->anonymous && (a->user || a->password || a->password_hash || a->certificate))
		config_fault(r, y, "anonymous",
			"has a user, password or certificate; an anonymous entry has none");
	if (e->anonymous && a->page_count)
		config_fault(r, y, "pages",
			"an anonymous entry does not log in; http_public of the configuration "
			"names what is anybody's");
	if (!e->anonymous && a->user == NULL)
		config_fault(r, y, "user", "is missing; a name, or anonymous: true, is right");
	if (!e->anonymous && a->user && !a->password && !a->password_hash && !a->certificate)
		config_fault(r, y, "password_hash",
			"is missing; a hash as of mkpasswd, a public password, or a certificate is "
			"right");
	if (a->certificate)
		judge_certificate(r, y, a->certificate);
	if (a->password && a->password_hash)
		config_fault(
			r, y, "password", "password and password_hash are both given; keep one");
	for (uint32_t i = 0; i < a->deny_count; i++)
		if (has_placeholder(a->deny[i]))
			config_fault(r, y, "deny",
				"%%u and %%c are not used here; write the filter out");
}

static bool same_user(const struct account *a, const struct account *b)
{
	return a->user && b->user ? strcmp(a->user, b->user) == 0 : a->user == b->user;
}

static bool same_certificate(const struct account *a, const struct account *b)
{
	return a->certificate && b->certificate && strcmp(a->certificate, b->certificate) == 0;
}

/* Against an entry before it. */
static void judge_pair(struct config_reader *r, const struct yaml *y, const struct account_entry *e,
	const struct account *other, unsigned line)
{
	if (same_user(other, &e->account))
		config_fault(r, y, e->anonymous ? "anonymous" : "user",
			"the entry of line %u again; each account stands once", line);
	else if (same_certificate(other, &e->account))
		config_fault(r, y, "certificate",
			"that of the entry of line %u; a certificate stands for one account", line);
}

static void read_entry(struct config_reader *r, const struct yaml *y,
	const struct gate_settings *checks, struct account_entry *e)
{
	uint32_t faults = r->faults->count;

	account_default(&e->account);
	config_defaults(SECTION_ACCOUNT, e);
	if (y->kind == YAML_MAP)
		config_read_map(r, SECTION_ACCOUNT, "", y, e);
	else
		config_fault(
			r, y, "", "an account is not a mapping; such as - user: name is right");
	if (r->faults->count == faults)
		judge_entry(r, y, e);
	e->account.policy.settings = *checks;
	gate_policy_compile(&e->account.policy);
}

static void read_entries(struct config_reader *r, const struct yaml *root,
	const struct gate_settings *checks, struct account *list, uint32_t *n)
{
	for (uint32_t i = 0; i < root->count; i++) {
		struct account_entry e = {0};
		uint32_t faults = r->faults->count;

		read_entry(r, root->items[i], checks, &e);
		for (uint32_t j = 0; j < i && r->faults->count == faults; j++)
			judge_pair(r, root->items[i], &e, &list[j], root->items[j]->line);
		list[(*n)++] = e.account;
	}
}

/* No account at all is a list nobody can log in with: surely not meant. */
static bool is_account_list(struct config_reader *r, const struct yaml *root)
{
	if (root && root->kind == YAML_LIST && root->count > 0 && root->count <= ACCOUNTS_MOST)
		return true;
	if (root && root->kind == YAML_LIST && root->count)
		config_fault(r, root, "", "%u accounts; at most %u are taken", root->count,
			ACCOUNTS_MOST);
	else
		config_fault(
			r, root, "", "holds no list of accounts; such as - user: name is right");
	return false;
}

struct accounts *config_read_accounts(
	struct config_reader *r, struct view text, const struct gate_settings *checks)
{
	uint32_t faults = r->faults->count;
	struct yaml *root = yaml_read(text, r->file, r->faults);
	struct accounts *set = NULL;
	struct account *list;
	uint32_t n = 0;

	if (r->faults->count == faults && is_account_list(r, root)) {
		list = mem_new(root->count * sizeof(*list));
		read_entries(r, root, checks, list, &n);
		set = accounts_new(list, n);
	}
	yaml_free(root);
	if (set && r->faults->count > faults) {
		accounts_unref(set);
		set = NULL;
	}
	return set;
}
