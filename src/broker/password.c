#include "broker/password.h"

#include <crypt.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/list.h"
#include "base/mem.h"

struct password_check {
	struct list link;
	struct task task;
	struct loop *loop;
	char *password;
	char *hash;
	bool matches;
	_Atomic bool is_cancelled;
	void (*on_answer)(void *context, bool matches);
	void *context;
};

struct passwords {
	pthread_mutex_t lock;
	pthread_cond_t more;
	pthread_t thread;
	struct list queue;
	bool is_running;
	bool is_ending;
};

static void check_free(struct password_check *c)
{
	explicit_bzero(c->password, strlen(c->password));
	free(c->password);
	free(c->hash);
	free(c);
}

static void answer(struct task *task)
{
	struct password_check *c = container_of(task, struct password_check, task);

	if (!c->is_cancelled)
		c->on_answer(c->context, c->matches);
	check_free(c);
}

/* Equal in a time that does not depend on where they differ. */
static bool same_text(const char *a, const char *b)
{
	size_t n = strlen(a);
	unsigned char difference = 0;

	if (n != strlen(b))
		return false;
	for (size_t i = 0; i < n; i++)
		difference |= (unsigned char)(a[i] ^ b[i]);
	return difference == 0;
}

static void do_check(struct password_check *c)
{
	struct crypt_data *data = mem_new(sizeof(*data));
	const char *made = crypt_r(c->password, c->hash, data);

	c->matches = made && made[0] != '*' && same_text(made, c->hash);
	explicit_bzero(data, sizeof(*data));
	free(data);
}

static void *work(void *context)
{
	struct passwords *p = context;

	pthread_mutex_lock(&p->lock);
	while (!p->is_ending) {
		struct password_check *c;

		if (list_is_empty(&p->queue)) {
			pthread_cond_wait(&p->more, &p->lock);
			continue;
		}
		c = container_of(p->queue.next, struct password_check, link);
		list_remove(&c->link);
		pthread_mutex_unlock(&p->lock);
		if (!c->is_cancelled) /* who left has no thread's time any more */
			do_check(c);
		loop_post(c->loop, &c->task);
		pthread_mutex_lock(&p->lock);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

struct passwords *passwords_new(void)
{
	struct passwords *p = mem_new(sizeof(*p));

	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->more, NULL);
	list_init(&p->queue);
	return p;
}

void passwords_free(struct passwords *p)
{
	pthread_mutex_lock(&p->lock);
	p->is_ending = true;
	pthread_cond_signal(&p->more);
	pthread_mutex_unlock(&p->lock);
	if (p->is_running)
		pthread_join(p->thread, NULL);
	while (!list_is_empty(&p->queue)) {
		struct password_check *c = container_of(p->queue.next, struct password_check, link);

		list_remove(&c->link);
		check_free(c);
	}
	pthread_cond_destroy(&p->more);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

struct password_check *password_start(struct passwords *p, struct loop *l, struct view password,
	const char *hash, void (*on_answer)(void *context, bool matches), void *context)
{
	struct password_check *c = mem_new(sizeof(*c));

	c->task.run = answer;
	c->loop = l;
	c->password = mem_text_of(password);
	c->hash = mem_text(hash);
	c->on_answer = on_answer;
	c->context = context;
	pthread_mutex_lock(&p->lock);
	if (!p->is_running) {
		check(pthread_create(&p->thread, NULL, work, p) == 0);
		p->is_running = true;
	}
	list_append(&p->queue, &c->link);
	pthread_cond_signal(&p->more);
	pthread_mutex_unlock(&p->lock);
	return c;
}

void password_cancel(struct password_check *c)
{
	c->is_cancelled = true;
}
