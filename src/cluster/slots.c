/* cluster/slots.c - keys to slots, slots to nodes */
#include "cluster/slots.h"

#include "base/error.h"

/* --- the slot of a key -------------------------------------------------- */

/* CRC16-CCITT (XMODEM): polynomial 1021h, begins with 0. Redis Cluster specification, appendix A. */
static uint16_t crc16(struct view v)
{
	uint32_t crc = 0;

	for (size_t i = 0; i < v.n; i++) {
		crc ^= (uint32_t)(uint8_t)v.p[i] << 8;
		for (int bit = 0; bit < 8; bit++)
			crc = crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1;
	}
	return (uint16_t)crc;
}

uint16_t slot_of(struct view key)
{
	const char *open = key.n ? memchr(key.p, '{', key.n) : NULL;
	size_t left = open ? key.n - (size_t)(open + 1 - key.p) : 0;
	const char *close = left ? memchr(open + 1, '}', left) : NULL;

	if (close && close > open + 1)
		key = (struct view){open + 1, (size_t)(close - open - 1)};
	return crc16(key) % SLOTS;
}

/* --- numbers and addresses ---------------------------------------------- */

/* All of the text as a number of at most `most`; false: it is not one. */
static bool read_number(struct view text, uint32_t most, uint32_t *out)
{
	uint32_t n = 0;

	if (text.n == 0 || text.n > 5)
		return false;
	for (size_t i = 0; i < text.n; i++) {
		if (text.p[i] < '0' || text.p[i] > '9')
			return false;
		n = n * 10 + (uint32_t)(text.p[i] - '0');
	}
	*out = n;
	return n <= most;
}

/* "host:port"; an IPv6 address is written without brackets, so the last colon counts. */
static bool read_address(struct view text, struct view *host, uint16_t *port)
{
	const char *colon = text.n ? memrchr(text.p, ':', text.n) : NULL;
	uint32_t number;

	if (colon == NULL)
		return false;
	*host = (struct view){text.p, (size_t)(colon - text.p)};
	if (!read_number(view_skip(text, host->n + 1), 65535, &number))
		return false;
	*port = (uint16_t)number;
	return host->n <= 253; /* RFC 1035, section 2.3.4 */
}

/* --- CLUSTER SLOTS ------------------------------------------------------ */

bool slot_range_of(const struct resp *reply, uint32_t i, struct slot_range *out)
{
	const struct resp *row = resp_item(reply, i, RESP_ARRAY);
	const struct resp *first = resp_item(row, 0, RESP_INTEGER);
	const struct resp *last = resp_item(row, 1, RESP_INTEGER);

	if (first == NULL || last == NULL || row->count < 3)
		return false;
	if (first->integer < 0 || first->integer > last->integer || last->integer >= SLOTS)
		return false;
	*out = (struct slot_range){
		(uint16_t)first->integer, (uint16_t)last->integer, row->count - 2, row};
	return true;
}

/* Among what else is known of the node; NULL: it is not. */
static const struct resp *address_of(const struct resp *node)
{
	const struct resp *more = resp_item(node, 3, RESP_ARRAY);

	for (uint32_t i = 0; more && i + 1 < more->count; i += 2) {
		const struct resp *name = resp_item(more, i, RESP_STRING);

		if (name && view_equal(name->text, VIEW("ip")))
			return resp_item(more, i + 1, RESP_STRING);
	}
	return NULL;
}

bool slot_range_node(const struct slot_range *range, uint32_t i, struct slot_node *out)
{
	const struct resp *node = resp_item(range->row, i + 2, RESP_ARRAY);
	const struct resp *host = resp_item(node, 0, RESP_STRING);
	const struct resp *port = resp_item(node, 1, RESP_INTEGER);

	/* A nil host is the preferred endpoint "unknown": the host of who was asked. */
	if (port == NULL || port->integer <= 0 || port->integer > 65535)
		return false;
	if (host == NULL && resp_item(node, 0, RESP_NIL) == NULL)
		return false;
	/* "?": host names are preferred, and it has none. */
	if (host && view_equal(host->text, VIEW("?")) && (host = address_of(node)) == NULL)
		return false;
	if (host && host->text.n > 253)
		return false;
	*out = (struct slot_node){host ? host->text : VIEW(""), (uint16_t)port->integer};
	return true;
}

bool slot_redirect_of(struct view error, struct slot_redirect *out)
{
	struct slot_redirect r = {0};
	struct view word = view_cut(&error, ' ');
	uint32_t slot;

	r.ask = view_equal(word, VIEW("ASK"));
	if (!r.ask && !view_equal(word, VIEW("MOVED")))
		return false;
	if (!read_number(view_cut(&error, ' '), SLOTS - 1, &slot))
		return false;
	if (!read_address(error, &r.to.host, &r.to.port) || r.to.port == 0)
		return false;
	r.slot = (uint16_t)slot;
	*out = r;
	return true;
}

/* --- CLUSTER NODES ------------------------------------------------------ */

static const struct {
	struct view name;
	unsigned flag;
} flag_names[] = {
	{VIEW("myself"), NODE_MYSELF},
	{VIEW("master"), NODE_MASTER},
	{VIEW("slave"), NODE_REPLICA},
	{VIEW("fail?"), NODE_SUSPECTED},
	{VIEW("fail"), NODE_FAILED},
	{VIEW("handshake"), NODE_HANDSHAKE},
	{VIEW("noaddr"), NODE_NO_ADDRESS},
};

static unsigned read_flags(struct view list)
{
	unsigned flags = 0;

	while (list.p) {
		struct view name = view_cut(&list, ',');

		for (size_t i = 0; i < sizeof(flag_names) / sizeof(flag_names[0]); i++)
			if (view_equal(name, flag_names[i].name))
				flags |= flag_names[i].flag;
	}
	return flags;
}

/* "127.0.0.1:7000@17000,name": what stands before "@" is where clients go. */
static bool read_endpoint(struct view text, struct node_line *n)
{
	return read_address(view_cut(&text, '@'), &n->host, &n->port);
}

int node_line_next(struct view *rest, struct node_line *out)
{
	struct node_line n = {0};
	struct view line = {0}, flags;
	bool known;

	while (rest->p && line.n == 0)
		line = view_cut(rest, '\n');
	if (line.n == 0)
		return 0;
	n.id = view_cut(&line, ' ');
	known = read_endpoint(view_cut(&line, ' '), &n);
	flags = view_cut(&line, ' ');
	n.flags = read_flags(flags);
	n.master = view_cut(&line, ' ');
	for (int i = 0; i < 3; i++) /* ping sent, pong received, epoch */
		view_cut(&line, ' ');
	n.linked = view_equal(view_cut(&line, ' '), VIEW("connected"));
	n.slots = line;
	if (n.id.n == 0 || !known || n.master.n == 0)
		return ERR_MALFORMED;
	*out = n;
	return 1;
}

/* Is the slot in "0-100 200 [300->-id]"? What is in brackets is on its way and still held. */
static bool holds(struct view slots, uint16_t slot)
{
	while (slots.p) {
		struct view last = view_cut(&slots, ' ');
		struct view first = view_cut(&last, '-');
		uint32_t from, to;

		if (!read_number(first, SLOTS - 1, &from))
			continue;
		to = from;
		if (last.p && !read_number(last, SLOTS - 1, &to))
			continue;
		if (slot >= from && slot <= to)
			return true;
	}
	return false;
}

static void count_replica(const struct node_line *n, struct replica_census *c)
{
	if (n->flags & NODE_FAILED)
		c->failed++;
	else if (n->flags & (NODE_SUSPECTED | NODE_HANDSHAKE | NODE_NO_ADDRESS))
		c->suspected++;
	else
		c->healthy++;
}

int replica_census_of(struct view nodes, uint16_t slot, struct replica_census *out)
{
	struct replica_census c = {0};
	struct view rest = nodes, master = {0};
	struct node_line n;
	int err;

	while ((err = node_line_next(&rest, &n)) > 0) {
		if (!(n.flags & NODE_MASTER) || !holds(n.slots, slot))
			continue;
		master = n.id;
		c.has_master = true;
		c.master_failed = (n.flags & NODE_FAILED) != 0;
		c.of_itself = (n.flags & NODE_MYSELF) != 0;
	}
	if (err < 0)
		return err;
	for (rest = nodes; node_line_next(&rest, &n) > 0;)
		if (c.has_master && (n.flags & NODE_REPLICA) && view_equal(n.master, master))
			count_replica(&n, &c);
	*out = c;
	return 0;
}

uint8_t replicas_needed(const struct replica_census *c, uint8_t acknowledge)
{
	bool knows = c->has_master && c->of_itself && !c->master_failed && c->suspected == 0;

	return knows && c->healthy < acknowledge ? (uint8_t)c->healthy : acknowledge;
}
