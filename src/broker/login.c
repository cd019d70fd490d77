#include "broker/login.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "broker/worker.h"

#define PASSWORD_LARGEST 512u /* crypt(3) takes no longer one */

struct login {
	struct broker_worker *worker;
	uint64_t address;
	struct timer timer;
	struct password_check *check;
	char *password; /* until it is hashed; NULL: wrong whatever it is */
	char *hash;
	bool has_waited;
	void (*on_answer)(void *context, bool is_right);
	void *context;
};

bool login_is_public(const struct account *a, struct view password)
{
	if (a == NULL || a->user == NULL)
		return a != NULL; /* the anonymous one */
	return a->password && view_equal(password, view_of(a->password));
}

static void forget_password(struct login *l)
{
	if (l->password)
		explicit_bzero(l->password, strlen(l->password));
	free(l->password);
	l->password = NULL;
}

static void login_free(struct login *l)
{
	timer_stop(l->worker->loop, &l->timer);
	forget_password(l);
	free(l->hash);
	free(l);
}

static void answer(struct login *l, bool is_right)
{
	l->on_answer(l->context, is_right);
	login_free(l);
}

static void on_told(struct timer *t)
{
	answer(container_of(t, struct login, timer), false);
}

/* Who has waited already hears of it at once. */
static void fail(struct login *l)
{
	uint32_t delay = addresses_failed(
		&l->worker->broker->addresses, l->address, loop_now_ms(l->worker->loop));

	l->timer.on_time = on_told;
	timer_start(l->worker->loop, &l->timer, l->has_waited ? 0 : delay);
}

static void on_hashed(void *context, bool matches)
{
	struct login *l = context;

	l->check = NULL;
	if (matches)
		answer(l, true);
	else
		fail(l);
}

static void look(struct login *l)
{
	if (l->password == NULL) {
		fail(l);
		return;
	}
	l->check = password_start(l->worker->broker->passwords, l->worker->loop,
		view_of(l->password), l->hash, on_hashed, l);
	forget_password(l);
}

static void on_waited(struct timer *t)
{
	struct login *l = container_of(t, struct login, timer);

	l->has_waited = true;
	look(l);
}

struct login *login_start(struct broker_worker *w, uint64_t address, const struct account *a,
	struct view password, void (*on_answer)(void *context, bool is_right), void *context)
{
	uint32_t delay = addresses_delay(&w->broker->addresses, address, loop_now_ms(w->loop));
	struct login *l = mem_new(sizeof(*l));

	l->worker = w;
	l->address = address;
	l->on_answer = on_answer;
	l->context = context;
	/* crypt(3) would not see what stands behind a NUL. */
	if (a && a->password_hash && password.n <= PASSWORD_LARGEST &&
		memchr(password.p, '\0', password.n) == NULL) {
		l->password = mem_text_of(password);
		l->hash = mem_text(a->password_hash);
	}
	if (delay == 0) {
		look(l);
		return l;
	}
	l->timer.on_time = on_waited;
	timer_start(w->loop, &l->timer, delay);
	return l;
}

void login_cancel(struct login *l)
{
	if (l->check)
		password_cancel(l->check);
	login_free(l);
}
