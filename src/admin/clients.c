/* /api/v1/clients: who is connected. The walk along the workers (broker/roster.h) takes a few turns of each,
 * so the request is held, and asked again when the page is there:
 *
 *     request --> held, walk --worker to worker--> on_end --post--> this loop: release --> request again
 *
 * A page that nobody comes back for is forgotten after a while.
 */
#include <stdlib.h>

#include "admin/internal.h"
#include "base/mem.h"
#include "broker/roster.h"

#define PAGES_MOST 4u /* of one loop, under way or not fetched */
#define LISTED 100u
#define LISTED_MOST 1000u
#define FORGET_MS 10000u

struct clients_page {
	struct list link; /* in server->pages */
	struct task task;
	struct admin_server *server;
	struct http_hold *hold; /* NULL: released */
	struct address peer;    /* whose request it answers */
	struct buf target;
	struct buf body;
	uint64_t done_ms; /* 0: under way */
	uint32_t count;
};

/* --- the walk --------------------------------------------------------- */

static void on_client(void *context, const struct roster_client *c)
{
	struct clients_page *p = context;

	buf_text(&p->body, p->count++ ? ",\n" : "\n");
	roster_write(c, &p->body);
}

/* On the page's own loop. */
static void on_arrival(struct task *t)
{
	struct clients_page *p = container_of(t, struct clients_page, task);

	p->done_ms = loop_now_ms(p->server->loop);
	http_server_release(p->hold);
	p->hold = NULL;
}

static void on_end(void *context, uint64_t n, uint64_t next)
{
	struct clients_page *p = context;

	(void)n;
	if (next)
		buf_printf(&p->body, "],\"next\":%llu}\n", (unsigned long long)next);
	else
		buf_text(&p->body, "],\"next\":null}\n");
	p->task.run = on_arrival;
	loop_post(p->server->loop, &p->task);
}

/* --- pages ------------------------------------------------------------ */

static void page_free(struct clients_page *p)
{
	if (p->hold)
		http_server_release(p->hold);
	list_remove(&p->link);
	buf_fini(&p->target);
	buf_fini(&p->body);
	free(p);
}

void clients_fini(struct admin_server *s)
{
	while (!list_is_empty(&s->pages))
		page_free(container_of(s->pages.next, struct clients_page, link));
}

static bool is_of(const struct clients_page *p, const struct http_request *r)
{
	return p->done_ms && address_same_host(&p->peer, r->peer) &&
	       address_port(&p->peer) == address_port(r->peer) &&
	       view_equal(buf_view(&p->target), r->target);
}

/* The page of this request, if it has come; forgets old ones. *n: how many there are besides. */
static struct clients_page *find(struct admin_server *s, const struct http_request *r, unsigned *n)
{
	uint64_t now = loop_now_ms(s->loop);
	struct clients_page *found = NULL;
	struct list *next;

	*n = 0;
	for (struct list *link = s->pages.next; link != &s->pages; link = next) {
		struct clients_page *p = container_of(link, struct clients_page, link);

		next = link->next;
		if (found == NULL && is_of(p, r))
			found = p;
		else if (p->done_ms && now - p->done_ms >= FORGET_MS)
			page_free(p);
		else
			(*n)++;
	}
	return found;
}

static void begin(
	struct admin_server *s, const struct http_request *r, const struct roster_query *query)
{
	struct clients_page *p = mem_new(sizeof(*p));

	p->server = s;
	p->peer = *r->peer;
	p->hold = http_server_hold(r);
	buf_append(&p->target, r->target.p, r->target.n);
	buf_text(&p->body, "{\"clients\":[");
	list_append(&s->pages, &p->link);
	roster_walk(
		s->admin->settings.broker, query, &(struct roster_walker){on_client, on_end, p});
}

/* --- the request ------------------------------------------------------ */

struct parameters {
	char user[1024];
	char client_id[1100];
	char address[80];
	struct address_block block;
};

/* NULL, or what is wrong. */
static const char *read_query(
	const struct http_request *r, struct parameters *room, struct roster_query *query)
{
	uint64_t limit;

	*query = (struct roster_query){0};
	if (!request_number(r, "limit", LISTED, &limit) || limit < 1 || limit > LISTED_MOST)
		return "limit is a number from 1 to 1000";
	query->limit = (uint32_t)limit;
	if (!request_number(r, "after", 0, &query->after))
		return "after is what `next` of the page before says";
	if (http_parameter(r, VIEW("user"), room->user, sizeof(room->user)))
		query->user = room->user;
	if (http_parameter(r, VIEW("client_id"), room->client_id, sizeof(room->client_id)))
		query->client_id = room->client_id;
	if (!http_parameter(r, VIEW("address"), room->address, sizeof(room->address)))
		return NULL;
	query->from = &room->block;
	return address_block_parse(view_of(room->address), &room->block)
		       ? NULL
		       : "address is an address or a block, for instance 192.0.2.0/24";
}

const char *clients_answer(
	struct admin_server *s, const struct http_request *r, struct http_answer *answer)
{
	struct parameters room;
	struct roster_query query;
	unsigned others;
	struct clients_page *p = find(s, r, &others);
	const char *why = p ? NULL : read_query(r, &room, &query);

	if (p) {
		buf_append(&answer->body, buf_bytes(&p->body), buf_length(&p->body));
		page_free(p);
	} else if (why == NULL && others >= PAGES_MOST) {
		answer->status = 503;
		buf_text(&answer->body, "{\"error\":\"too many at once; try again\"}\n");
	} else if (why == NULL) {
		begin(s, r, &query);
	}
	return why;
}
