#include "broker/outgoing.h"

#include "broker/client.h"
#include "broker/throttle.h"
#include "broker/worker.h"

uint32_t outgoing_grant(const struct broker_worker *w, const struct session *s, uint32_t room)
{
	struct throttle *throttle = s->client->account->throttle;

	if (throttle == NULL)
		return room;
	if (s->state == SESSION_LIVE && throttle->starving)
		return 0;
	return throttle_grant(throttle, w->batch, room, loop_now_ms(w->loop));
}

void outgoing_count_sent(
	struct broker_worker *w, const struct session *s, const struct batch *b, int sent)
{
	struct throttle *throttle = s->client->account->throttle;

	if (sent <= 0)
		return;
	if (throttle)
		throttle_spend(throttle, (uint64_t)sent, b->records[sent - 1].end);
	count_add(&w->counts.delivered, (uint64_t)sent);
	count_add(&w->counts.delivered_bytes, b->records[sent - 1].end);
}

int outgoing_send(struct broker_worker *w, struct session *s, bool *is_throttled)
{
	struct batch *b = w->batch;
	uint32_t room = batch_within(b, inflight_room(&s->window, client_window(s->client)));
	uint32_t most = outgoing_grant(w, s, room);
	int sent = batch_send(b, most, &s->client->conn, &s->window);

	if (s->client->aliases)
		alias_settle(s->client->aliases, sent > 0 ? (uint32_t)sent : 0);
	outgoing_count_sent(w, s, b, sent);
	*is_throttled = most < room && sent == (int)most;
	return sent;
}
