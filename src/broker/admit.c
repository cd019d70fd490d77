/* Limits on connections, of all together and of one address, before a client has said who it is.
 *
 * Somebody over a limit is told so in CONNACK, because a client that knows why behaves better; but that
 * takes a connection, so it is offered to a few only: for one address see addresses.h, for all together
 * an eighth of the limit more. Those beyond are closed at once.
 */
#include "base/error.h"
#include "base/log.h"
#include "broker/client.h"

static uint64_t connections_now(const struct broker *b)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < b->worker_count; i++)
		n += count_read(&b->workers[i].counts.connections);
	return n;
}

static enum admission admit(struct broker_worker *w, const struct address *peer)
{
	uint64_t most = w->limits.connections;

	if (connections_now(w->broker) >= most + most / 8 + 8)
		return ADMISSION_NOT_TAKEN;
	return addresses_enter(
		&w->broker->addresses, address_key(peer), &w->limits, loop_now_ms(w->loop));
}

static const struct {
	const char *word;
	int error;
} refusals[REFUSAL_COUNT] = {
#define X(symbol, word, error) [REFUSAL_##symbol] = {word, error},
#include "broker/refusal.def"
#undef X
};

const char *broker_refusal_word(enum broker_refusal r)
{
	return refusals[r].word;
}

void client_count_refused(struct broker_worker *w, int err)
{
	unsigned r = 0;

	while (r < REFUSAL_OTHER && refusals[r].error != err)
		r++;
	count_add(&w->counts.connects_refused[r], 1);
}

enum admission client_admit(struct broker_worker *w, const struct address *peer)
{
	enum admission as = admit(w, peer);
	char address[ADDRESS_TEXT_BYTES];
	uint64_t skipped;

	if (as != ADMISSION_NOT_TAKEN)
		return as;
	client_count_refused(w, ERR_FULL);
	if (!log_allowed(&w->refusals, loop_now_ms(w->loop), 1000, &skipped))
		return as;
	address_format(peer, address);
	log_warn("broker", "connections-not-taken", "peer=%s others=%llu", address,
		(unsigned long long)skipped);
	return as;
}

void client_admit_end(struct client *c)
{
	addresses_leave(&c->worker->broker->addresses, address_key(&c->conn.peer), c->admission,
		loop_now_ms(c->worker->loop));
}

int client_check_admission(const struct client *c, const char **why)
{
	struct broker_worker *w = c->worker;

	if (c->admission == ADMISSION_FAST) {
		*why = "connections of this address come too fast";
		return ERR_CONNECT_RATE;
	}
	if (c->admission == ADMISSION_MANY) {
		*why = "the limit on connections of one address is reached";
		return ERR_QUOTA;
	}
	if (connections_now(w->broker) > w->limits.connections) {
		*why = "the limit on connections is reached";
		return ERR_QUOTA;
	}
	return 0;
}
