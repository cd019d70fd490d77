/* cluster/ordinal.c - counting, and comparing with what Redis counted */
#include "cluster/ordinal.h"

/* At this place Redis counts so many. */
static uint64_t settle(struct ordinal *o)
{
	uint64_t missed = 0;

	if (o->at.is_counted && o->newest.added > o->at.ordinal)
		missed = o->newest.added - o->at.ordinal;
	o->at.ordinal = o->newest.added;
	o->at.is_counted = true;
	o->is_checking = false;
	return missed;
}

uint64_t ordinal_read(struct ordinal *o, uint64_t place)
{
	uint64_t missed = 0;

	if (place <= o->at.place)
		return 0;
	/* The newest of then was trimmed itself. */
	if (o->is_checking && place > o->newest.last)
		missed = settle(o);
	o->at.place = place;
	o->at.ordinal++;
	if (o->is_checking && place == o->newest.last)
		missed = settle(o);
	return missed;
}

uint64_t ordinal_look(struct ordinal *o, const struct stream_state *newest)
{
	o->newest = *newest;
	o->is_checking = newest->last > o->at.place;
	if (o->is_checking)
		return 0;
	if (newest->last == o->at.place)
		return settle(o);
	/* The stream fell back: it is counted from what is left. */
	o->at = (struct mark){newest->last, newest->added, true};
	return 0;
}

uint64_t ordinal_nothing(struct ordinal *o)
{
	if (!o->is_checking)
		return 0;
	o->at.place = o->newest.last;
	return settle(o);
}
