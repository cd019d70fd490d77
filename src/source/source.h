/* source/source.h - MQTT client connections to WIS2 centres
 *
 * Each source is one centre's broker: connected with a persistent session, a fixed client id and
 * QoS 1; what it delivers is judged by the gate and committed, and only then acknowledged, in the
 * order of its PUBLISH packets (architecture.md, "Sources"; GB-40 to GB-49).
 *
 *   idle -> resolving -> connecting -> connack -> subscribing -> connected -> waiting (backoff) -+
 *             ^----------------------------------------------------------------------------------+
 *
 * Threads: a source lives on one worker's loop; sources_apply() and the walks may be called from
 * any one thread (they post to the loops); figures are read from any thread.
 */
#ifndef SOURCE_SOURCE_H
#define SOURCE_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/count.h"
#include "commit/commit.h"
#include "commit/gate.h"
#include "source/firsts.h"
#include "uplink/uplink.h"

enum source_kind {
#define X(name, text, channels, any_centre, topics) SOURCE_##name,
#include "source/kind.def"
#undef X
	SOURCE_KIND_COUNT
};

/* As in sources.d/NAME.yaml; strings are owned by the struct. */
struct source_config {
	char *name; /* file name without .yaml; unique */
	char *centre_id;
	enum source_kind kind;
	struct uplink_endpoint *endpoints;
	uint32_t endpoint_count; /* at least 1 */
	char *username;          /* default "everyone" */
	char *password;
	char **topics; /* count 0: default by kind */
	uint32_t topic_count;
	char **centres; /* further centre-ids it may speak for */
	uint32_t centre_count;
	bool tls_verify;
	char *tls_ca;  /* NULL: the system's */
	char *tls_max; /* "1.2" or NULL */
	bool tls_legacy;
	uint8_t protocol; /* 5 or 4; 5 falls back to 3.1.1 */
	uint8_t qos;
	uint16_t receive_maximum;
	uint32_t rate; /* notifications a second, 0: no limit */
	bool strip_content;
	char **bind; /* local addresses; count 0: the global ones */
	uint32_t bind_count;
	uint64_t until_ms;           /* wall clock; 0: no end */
	struct gate_settings checks; /* global ones with this source's overrides */
	bool enabled;
};
void source_config_default(struct source_config *c); /* defaults of interface.md; no strings set */
void source_config_fini(struct source_config *c);

/* What it subscribes to: its topics, or those of its kind. */
struct source_filters {
	char **texts;
	uint32_t count;
};
void source_filters_for(struct source_filters *f, const struct source_config *c);
void source_filters_fini(struct source_filters *f);

/* Figures of one source; written by its worker. Counters keep over reloads. */
struct source_figures {
	/* In a cluster these are counted by the voice of a source alone, but for `published`, which is
	 * counted where the message was first. */
	count received;  /* every PUBLISH, before any check (MON-03) */
	count published; /* ... published for the first time */
	count duplicates;
	count conflicts;            /* of these, another message than was published under the id */
	count rejected[RULE_COUNT]; /* messages whose verdict named it, discarded or not */
	count checks[CHECK_COUNT];  /* the same by check (monitoring.md, section 1) */
	count by_centre;            /* let through by their centre's record, metadata_id unknown */
	count ahead;                /* of `published`, while another holder was the voice */
	count standby_received;     /* while another holder was the voice */
	count standby_duplicates;
	count standby_rejected;
	count oversized;           /* packets read past, counted, acknowledged */
	count lost_by_clean_start; /* times a poisoned session was dropped */
	count connects;
	count bytes;
	count last_message_ms; /* wall clock; 0: none yet */
	count waiting;         /* messages it has not been acknowledged yet, of this connection */
	count is_paused;       /* 1 while nothing is read from it, see enum source_pause */
	count connected;       /* 1 while connected and subscribed */
	count connected_since_ms;
	count state;  /* enum uplink_state */
	count holder; /* 1 + the holder's slot; 0: other machines hold it */
	count is_voice;
	struct histogram delay; /* pubtime to receive */
};

struct sources;
struct reports;

struct sources_settings {
	const char *centre_id;       /* this broker's: part of the client id */
	struct hierarchy *hierarchy; /* reffed */
	struct shelf *shelf;         /* borrowed for life; NULL: no metadata check */
	char **bind;                 /* local addresses for outgoing connections */
	uint32_t bind_count;
	uint32_t packet_size;    /* largest PUBLISH taken from a source, bytes */
	struct reports *reports; /* told of messages that break a rule; NULL: nobody */
	bool is_shared; /* with other machines: none is connected before sources_hold() says so */
};

/* Borrows ports and resolver for its life. Before the loops run. */
struct sources *sources_new(struct commit_port *const *ports, unsigned port_count,
	struct resolver *resolver, const struct sources_settings *settings);
/* Disconnects all (DISCONNECT sent, sessions kept by the peers); loops still run. Waits until done,
 * so not to be called on a loop's thread. */
void sources_stop(struct sources *s);
void sources_free(struct sources *s);

/* Refs h: topics are judged by it from the next sources_apply() on. */
void sources_set_hierarchy(struct sources *s, struct hierarchy *h);

/* The set of sources from now on: new ones start, absent ones stop (their figures go), changed ones
 * reconnect, unchanged ones go on undisturbed. Copies the configurations. */
void sources_apply(struct sources *s, const struct source_config *configs, uint32_t n);

/* In a cluster: this machine holds the source with this slot, which is the end of its client id at the
 * peer, or does not (SOURCE_NOT_HELD). The voice counts and reports for it. Any thread; nothing when
 * there is none of this name. */
#define SOURCE_NOT_HELD UINT32_MAX
void sources_hold(struct sources *s, struct view name, uint32_t slot, bool is_voice);

/* One source as shown to people; pointers are valid during the call. */
struct source_view {
	const char *name;
	const char *centre_id;
	const char *kind;
	const char *url; /* of the endpoint in use, without credentials */
	const char *state;
	const char *last_error; /* "" when none since the last connect */
	bool enabled;
	uint8_t protocol; /* in use: 5 or 4 */
	const struct source_figures *figures;
	const struct firsts *firsts; /* published first, by centre of the message */
};
/* Any thread; in order of name. */
void sources_each(struct sources *s, void (*on_source)(void *context, const struct source_view *v),
	void *context);

const char *source_kind_text(enum source_kind k);
/* False when there is none of this name. */
bool source_kind_by_text(struct view text, enum source_kind *out);

#endif
