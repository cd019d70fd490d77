/* A promise goes when its receipt has come, with or without its client. */
#include "broker/promise.h"

#include <stdlib.h>

#include "base/mem.h"
#include "broker/client.h"
#include "commit/roaming.h"

struct promise {
	struct list link;      /* in client->promises */
	struct client *client; /* NULL: gone meanwhile */
	struct broker_worker *worker;
	struct task task;
	struct receipt receipt;
	struct mqtt_packet packet;
	struct buf codes;
	struct errand errand;
};

static void promise_free(struct promise *p)
{
	errand_end(&p->errand);
	buf_fini(&p->receipt.key);
	buf_fini(&p->codes);
	free(p);
}

static void drop(struct errand *e)
{
	promise_free(container_of(e, struct promise, errand));
}

static void on_home(struct task *task)
{
	struct promise *p = container_of(task, struct promise, task);
	struct client *c = p->client;

	list_remove(&p->link);
	if (c) {
		c->promise_count--;
		client_send(c, &p->packet);
		client_read_on(c);
	}
	promise_free(p);
}

static void on_receipt(struct receipt *r)
{
	struct promise *p = container_of(r, struct promise, receipt);

	loop_post(p->worker->loop, &p->task);
}

void promise_send(struct client *c, const struct mqtt_packet *packet)
{
	const struct roaming *roaming = &c->worker->broker->roaming;
	struct session *s = c->session;
	struct promise *p;

	if (roaming->confirm == NULL || s->owner == 0 || s->expiry_ms == 0) {
		client_send(c, packet);
		return;
	}
	p = mem_new(sizeof(*p));
	p->client = c;
	p->worker = c->worker;
	p->task.run = on_home;
	p->packet = *packet;
	buf_append(&p->codes, packet->list.items.p, packet->list.items.n);
	p->packet.list.items = buf_view(&p->codes);
	p->receipt.on_done = on_receipt;
	buf_append(&p->receipt.key, s->key, s->key_bytes);
	list_init(&p->link);
	list_append(&c->promises, &p->link);
	c->promise_count++;
	errand_begin(&c->worker->broker->errands, &p->errand, drop);
	roaming->confirm(roaming->context, &p->receipt);
}

void promise_forget_all(struct client *c)
{
	while (!list_is_empty(&c->promises)) {
		struct promise *p = container_of(c->promises.next, struct promise, link);

		list_remove(&p->link);
		p->client = NULL;
	}
}
