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
