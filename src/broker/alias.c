#include "broker/alias.h"

#include <stdlib.h>

#include "base/error.h"
#include "base/map.h"
#include "base/mem.h"

/* --- inbound ---------------------------------------------------------- */

struct alias_names {
	char *topics[ALIAS_NAMES];
	uint32_t lengths[ALIAS_NAMES];
	uint32_t bytes;
};

struct view alias_topic(const struct alias_names *a, uint32_t alias)
{
	if (a == NULL || a->topics[alias - 1] == NULL)
		return (struct view){NULL, 0};
	return (struct view){a->topics[alias - 1], a->lengths[alias - 1]};
}

int alias_name(struct alias_names **names, uint32_t alias, struct view topic)
{
	struct alias_names *a = *names;
	uint32_t i = alias - 1;

	if (a == NULL)
		a = *names = mem_new(sizeof(*a));
	if (a->bytes - a->lengths[i] + topic.n > ALIAS_NAME_BYTES)
		return ERR_QUOTA;
	a->bytes += (uint32_t)topic.n - a->lengths[i];
	free(a->topics[i]);
	a->topics[i] = mem_text_of(topic);
	a->lengths[i] = (uint32_t)topic.n;
	return 0;
}

void alias_names_free(struct alias_names *a)
{
	if (a == NULL)
		return;
	for (uint32_t i = 0; i < ALIAS_NAMES; i++)
		free(a->topics[i]);
	free(a);
}

/* --- outbound --------------------------------------------------------- */

struct told {
	uint16_t record; /* 1 + packet of the batch that tells it; 0: it has left */
	uint16_t length; /* of the topic; 0: the place is free */
	char topic[ALIAS_TOPIC_BYTES];
};

struct alias_sent {
	uint32_t size; /* aliases 1 to size */
	bool is_open;  /* some are told by the batch under construction */
	struct told told[];
};

struct alias_sent *alias_sent_new(uint16_t maximum)
{
	/* [MQTT-3.1.2-26], [MQTT-3.3.2-11] */
	uint32_t size = maximum < ALIAS_SENT_MOST ? maximum : ALIAS_SENT_MOST;
	struct alias_sent *a = mem_new(sizeof(*a) + size * sizeof(a->told[0]));

	a->size = size;
	return a;
}

void alias_sent_free(struct alias_sent *a)
{
	free(a);
}

uint16_t alias_find(const struct alias_sent *a, struct view topic, bool *known)
{
	const struct told *t;
	uint32_t place;

	*known = false;
	if (topic.n == 0 || topic.n > ALIAS_TOPIC_BYTES)
		return 0;
	place = (uint32_t)(map_hash(topic.p, topic.n, 0) % a->size);
	t = &a->told[place];
	*known = view_equal((struct view){t->topic, t->length}, topic);
	return (uint16_t)(place + 1);
}

void alias_tell(struct alias_sent *a, uint16_t alias, struct view topic, uint32_t record)
{
	struct told *t = &a->told[alias - 1];

	memcpy(t->topic, topic.p, topic.n);
	t->length = (uint16_t)topic.n;
	t->record = (uint16_t)(record + 1);
	a->is_open = true;
}

void alias_settle(struct alias_sent *a, uint32_t sent)
{
	if (!a->is_open)
		return;
	for (uint32_t i = 0; i < a->size; i++) {
		if (a->told[i].record > sent)
			a->told[i].length = 0;
		a->told[i].record = 0;
	}
	a->is_open = false;
}
