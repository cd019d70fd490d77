/* mqtt/pointers.h - a set of pointers
 *
 * Open addressing. Zero-initialised is empty and valid. Of the room alone: the values at one
 * filter of the tree, where one filter may have as many values as there are subscribers.
 */
#ifndef MQTT_POINTERS_H
#define MQTT_POINTERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pointers {
	void **slots;  /* NULL: free; one always is */
	uint32_t size; /* power of two, or 0 */
	uint32_t count;
};

void pointers_fini(struct pointers *set);

/* True when it was not there before. p is not NULL. */
bool pointers_add(struct pointers *set, void *p);

/* True when it was there. */
bool pointers_remove(struct pointers *set, void *p);

#endif
