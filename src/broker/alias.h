/* broker/alias.h - topic aliases of one MQTT 5 connection, one table a direction (MQTT 5, 3.3.2.3.4)
 *
 * Inbound: what the client has named by 1 to ALIAS_NAMES. Outbound: what it was told. An alias going
 * out belongs to the place a topic's hash gives it; a topic that falls on a taken place replaces the
 * one there, and is sent in full again then. Both tables end with the connection [MQTT-3.3.2-7] and
 * are bounded in bytes.
 *
 * Threads: the connection's.
 */
#ifndef BROKER_ALIAS_H
#define BROKER_ALIAS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/view.h"

#define ALIAS_NAMES 16u                /* Topic Alias Maximum of this server */
#define ALIAS_NAME_BYTES (16u * 1024u) /* of all topics named by one client */
#define ALIAS_SENT_MOST 64u            /* topics named to one client */
#define ALIAS_TOPIC_BYTES 252u         /* a longer one goes out in full */

/* --- inbound ---------------------------------------------------------- */

struct alias_names;

/* What alias (1 to ALIAS_NAMES) stands for, until it is named again; {NULL, 0}: nothing yet. a may be
 * NULL. */
struct view alias_topic(const struct alias_names *a, uint32_t alias);

/* From now on alias (1 to ALIAS_NAMES) stands for topic; *a is made when NULL. 0, or ERR_QUOTA when
 * the topics together get too long. */
int alias_name(struct alias_names **a, uint32_t alias, struct view topic);

void alias_names_free(struct alias_names *a);

/* --- outbound --------------------------------------------------------- */

struct alias_sent;

/* For a client with this Topic Alias Maximum, not 0. */
struct alias_sent *alias_sent_new(uint16_t maximum);
void alias_sent_free(struct alias_sent *a);

/* The alias for this topic (at most the client's maximum); 0: goes without. *known: the client has
 * been told, so that an empty topic will do. Marks nothing. */
uint16_t alias_find(const struct alias_sent *a, struct view topic, bool *known);

/* Packet number `record` of the batch under construction names the topic by alias_find()'s answer. */
void alias_tell(struct alias_sent *a, uint16_t alias, struct view topic, uint32_t record);

/* Of the batch, packets [0, sent) have left: what later ones would have told is forgotten. */
void alias_settle(struct alias_sent *a, uint32_t sent);

#endif
