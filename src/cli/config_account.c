/* cli/config_account.c - the accounts file: a list of who may do what */
#include "cli/config_keys.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static bool has_placeholder(const char *filter)
{
	return strstr(filter, "%u") || strstr(filter, "%c");
}

/* What stands in several keys of one entry together. */
static void judge_entry(
	struct config_reader *r, const struct yaml *y, const struct account_entry *e)
{
	const struct account *a = &e->account;

	if (e->anonymous && (a->user || a->password || a->password_hash))
		config_fault(r, y, "anonymous",
			"has a user or password; an anonymous entry has neither");
	if (!e->anonymous && a->user == NULL)
		config_fault(r, y, "user", "is missing; a name, or anonymous: true, is right");
	if (!e->anonymous && a->user && !a->password && !a->password_hash)
		config_fault(r, y, "password_hash",
			"is missing; a hash as of mkpasswd, or a public password, is right");
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
			if (same_user(&list[j], &e.account))
				config_fault(r, root->items[i], e.anonymous ? "anonymous" : "user",
					"the entry of line %u again; each account stands once",
					root->items[j]->line);
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
