/* cluster/mark.c - a key for each slot, written to so that WAIT has something to wait for */
#include "cluster/mark.h"

#include <stdio.h>

#include "cluster/resp.h"

uint32_t mark_of(struct marks *m, uint16_t slot)
{
	char text[16];

	while (m->next[slot] == 0) {
		int n = snprintf(text, sizeof(text), "%u", m->tried++);
		uint32_t *found = &m->next[slot_of((struct view){text, (size_t)n})];

		if (*found == 0)
			*found = m->tried;
	}
	return m->next[slot] - 1;
}

uint8_t mark_push(struct marks *m, struct buf *b, uint16_t slot, bool asking)
{
	char text[64];

	if (asking)
		resp_words(b, "ASKING");
	/* Gone an hour after its slot was written to last. */
	snprintf(text, sizeof(text), "SET {%u}:mark 1 EX 3600", mark_of(m, slot));
	resp_words(b, text);
	return asking ? 2 : 1;
}
