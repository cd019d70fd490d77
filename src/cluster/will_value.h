/* cluster/will_value.h - a will as it stands in Redis
 *
 *     id 16 | delay 8, ms | what the broker needs
 *
 * It begins with the identifier, by which unwill.lua knows it.
 *
 * Pure.
 */
#ifndef CLUSTER_WILL_VALUE_H
#define CLUSTER_WILL_VALUE_H

#include "commit/roaming.h"

#define WILL_ID_BYTES 16u

/* Appends it. */
void will_value_put(struct buf *b, const struct roaming_will *will);

/* 0, *out borrows from value; or ERR_MALFORMED. */
int will_value_parse(struct view value, struct roaming_will *out);

#endif
