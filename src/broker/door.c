/* Logins by another door than MQTT. */
#include "broker/addresses.h"
#include "broker/broker.h"
#include "broker/login.h"
#include "broker/worker.h"

struct broker_worker *broker_worker_of(struct broker *b, const struct loop *l)
{
	for (unsigned i = 0; i < b->worker_count; i++)
		if (b->workers[i].loop == l)
			return &b->workers[i];
	return NULL;
}

struct broker_rights broker_rights_of(const struct broker_worker *w, struct view user)
{
	const struct account *a = accounts_find(w->accounts, true, user);

	if (a == NULL)
		return (struct broker_rights){0};
	return (struct broker_rights){.is_right = true,
		.is_admin = a->admin,
		.may_replay = a->admin || a->replay_ms > 0,
		.pages = a->pages,
		.page_count = a->page_count};
}

struct login *broker_login(struct broker_worker *w, const struct address *peer, struct view user,
	struct view password, struct broker_rights *rights,
	void (*on_answer)(void *context, bool is_right), void *context)
{
	const struct account *a = accounts_find(w->accounts, true, user);

	if (login_is_public(a, password)) {
		*rights = broker_rights_of(w, user);
		return NULL;
	}
	return login_start(w, address_key(peer), a, password, on_answer, context);
}

void broker_login_cancel(struct login *l)
{
	login_cancel(l);
}
