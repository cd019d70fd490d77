#include "mqtt/inflight.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"

#define INFLIGHT_FIRST_SIZE 16u
#define PACKET_IDS 65535u /* 1..65535 */
#define RUN_LIMITS 4u     /* longest run, in limits and slots more */
#define RUN_MORE 64u

void inflight_fini(struct inflight *w)
{
	free(w->seqs);
	*w = (struct inflight){0};
}

void inflight_shrink(struct inflight *w)
{
	if (w->count)
		return;
	free(w->seqs);
	w->seqs = NULL;
	w->size = 0;
	w->start = 0;
}

static uint64_t *slot(const struct inflight *w, uint32_t i)
{
	return &w->seqs[(w->start + i) & (w->size - 1)];
}

static void grow(struct inflight *w)
{
	uint32_t size = w->size ? w->size * 2 : INFLIGHT_FIRST_SIZE;
	uint64_t *seqs = mem_new(size * sizeof(*seqs));

	for (uint32_t i = 0; i < w->count; i++)
		seqs[i] = *slot(w, i);
	free(w->seqs);
	w->seqs = seqs;
	w->size = size;
	w->start = 0;
}

uint32_t inflight_room(const struct inflight *w, uint32_t limit)
{
	uint32_t longest = limit * RUN_LIMITS + RUN_MORE;
	uint32_t open = w->count - w->acked;

	if (longest > PACKET_IDS)
		longest = PACKET_IDS;
	if (open >= limit || w->count >= longest || (w->resume_id && w->count))
		return 0;
	return limit - open < longest - w->count ? limit - open : longest - w->count;
}

uint16_t inflight_id(const struct inflight *w, uint16_t i)
{
	uint32_t first = w->first_id ? w->first_id : 1;

	return (uint16_t)((first - 1 + i) % PACKET_IDS + 1); /* [MQTT-2.2.1-4] */
}

uint64_t inflight_raw(const struct inflight *w, uint16_t i)
{
	return *slot(w, i);
}

uint64_t inflight_seq(const struct inflight *w, uint16_t i)
{
	uint64_t raw = *slot(w, i);

	return raw == INFLIGHT_ACKED ? raw : raw & ~INFLIGHT_FLAGS;
}

uint8_t inflight_qos(const struct inflight *w, uint16_t i)
{
	uint64_t raw = *slot(w, i);

	return raw != INFLIGHT_ACKED && raw & INFLIGHT_QOS_2 ? 2 : 1;
}

bool inflight_is_released(const struct inflight *w, uint16_t i)
{
	uint64_t raw = *slot(w, i);

	return raw != INFLIGHT_ACKED && raw & INFLIGHT_RELEASED;
}

bool inflight_is_retained(const struct inflight *w, uint16_t i)
{
	uint64_t raw = *slot(w, i);

	return raw != INFLIGHT_ACKED && raw & INFLIGHT_RETAIN;
}

uint16_t inflight_share(const struct inflight *w, uint16_t i)
{
	uint64_t raw = *slot(w, i);

	return raw == INFLIGHT_ACKED ? 0 : raw >> INFLIGHT_SHARE & 0x1fff;
}

uint32_t inflight_open(const struct inflight *w)
{
	uint32_t n = 0;

	for (uint16_t i = 0; i < w->sent; i++)
		n += *slot(w, i) != INFLIGHT_ACKED && !(*slot(w, i) & INFLIGHT_RELEASED);
	return n;
}

uint16_t inflight_next_id(const struct inflight *w)
{
	return w->resume_id ? w->resume_id : inflight_id(w, w->count);
}

static void resume(struct inflight *w)
{
	if (w->count || w->resume_id == 0)
		return;
	w->first_id = w->resume_id;
	w->resume_id = 0;
}

/* Gone with the end of the journal: QoS 2 ids that the client holds are released all the same. */
static uint64_t still_there(uint64_t raw, uint64_t tail)
{
	if (raw == INFLIGHT_ACKED || raw & INFLIGHT_RELEASED || (raw & ~INFLIGHT_FLAGS) < tail)
		return raw;
	return raw & INFLIGHT_QOS_2 ? raw | INFLIGHT_RELEASED : INFLIGHT_ACKED;
}

void inflight_restore(struct inflight *w, uint16_t first_id, const void *slots, uint16_t n,
	uint16_t next_id, uint64_t tail)
{
	const uint8_t *at = slots;
	uint64_t raw;

	check(w->count == 0);
	w->first_id = first_id;
	for (uint16_t i = 0; i < n && i < PACKET_IDS; i++) {
		memcpy(&raw, at + i * sizeof(raw), sizeof(raw));
		inflight_add(w, still_there(raw, tail));
	}
	w->resume_id = next_id == inflight_id(w, w->count) ? 0 : next_id;
	resume(w);
	inflight_set_sent(w, 0);
}

uint16_t inflight_add(struct inflight *w, uint64_t seq)
{
	check(w->count < PACKET_IDS);
	if (w->count == w->size)
		grow(w);
	*slot(w, w->count) = seq; /* [MQTT-4.3.2-3], [MQTT-4.3.3-3] */
	w->count++;
	w->acked = (uint16_t)(w->acked + (seq == INFLIGHT_ACKED));
	w->sent++;
	return inflight_id(w, (uint16_t)(w->count - 1)); /* [MQTT-4.3.2-1], [MQTT-4.3.3-1] */
}

void inflight_take_back(struct inflight *w, uint16_t n)
{
	check(n <= w->count && n <= w->sent);
	w->count = (uint16_t)(w->count - n);
	w->sent = (uint16_t)(w->sent - n);
}

static void drop_front(struct inflight *w)
{
	w->first_id = inflight_id(w, 1);
	w->start = (uint16_t)((w->start + 1u) & (w->size - 1));
	w->count--;
	w->acked--;
	w->sent--;
	resume(w);
}

static void mark_done(struct inflight *w, uint64_t *at)
{
	w->acked = (uint16_t)(w->acked + (*at != INFLIGHT_ACKED));
	*at = INFLIGHT_ACKED;
}

static void trim(struct inflight *w)
{
	while (w->sent && *slot(w, 0) == INFLIGHT_ACKED)
		drop_front(w);
}

void inflight_forget(struct inflight *w, uint16_t i)
{
	check(i < w->count);
	mark_done(w, slot(w, i));
}

void inflight_set_sent(struct inflight *w, uint16_t n)
{
	check(n <= w->count);
	w->sent = n;
	trim(w);
}

void inflight_give_up(struct inflight *w, uint16_t i)
{
	check(i < w->count && inflight_qos(w, i) == 2);
	*slot(w, i) |= INFLIGHT_RELEASED;
}

/* The open slot of this id among the first n; NULL: there is none. */
static uint64_t *open_slot(const struct inflight *w, uint16_t packet_id, uint16_t n)
{
	uint32_t first = w->first_id ? w->first_id : 1;
	uint32_t i = (packet_id + PACKET_IDS - first) % PACKET_IDS;

	if (packet_id == 0 || i >= n || *slot(w, i) == INFLIGHT_ACKED)
		return NULL;
	return slot(w, i);
}

static enum inflight_answer finish(struct inflight *w, uint64_t *at)
{
	mark_done(w, at);
	trim(w);
	return INFLIGHT_TAKEN;
}

enum inflight_answer inflight_ack(struct inflight *w, uint16_t packet_id)
{
	uint64_t *at = open_slot(w, packet_id, w->sent);

	if (at == NULL)
		return INFLIGHT_UNKNOWN;
	return *at & INFLIGHT_QOS_2 ? INFLIGHT_OUT_OF_ORDER : finish(w, at);
}

enum inflight_answer inflight_release(struct inflight *w, uint16_t packet_id)
{
	uint64_t *at = open_slot(w, packet_id, w->count);

	if (at == NULL)
		return INFLIGHT_UNKNOWN;
	if (!(*at & INFLIGHT_QOS_2))
		return INFLIGHT_OUT_OF_ORDER;
	*at |= INFLIGHT_RELEASED; /* [MQTT-4.3.3-5] */
	return INFLIGHT_TAKEN;
}

enum inflight_answer inflight_reject(struct inflight *w, uint16_t packet_id)
{
	uint64_t *at = open_slot(w, packet_id, w->count);

	if (at == NULL)
		return INFLIGHT_UNKNOWN;
	return *at & INFLIGHT_QOS_2 ? finish(w, at) : INFLIGHT_OUT_OF_ORDER;
}

enum inflight_answer inflight_complete(struct inflight *w, uint16_t packet_id)
{
	uint64_t *at = open_slot(w, packet_id, w->count);

	if (at == NULL)
		return INFLIGHT_UNKNOWN;
	return *at & INFLIGHT_RELEASED ? finish(w, at) : INFLIGHT_OUT_OF_ORDER;
}
