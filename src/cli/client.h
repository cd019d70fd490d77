/* cli/client.h - a small MQTT client for the commands: connect, subscribe, publish, acknowledge
 *
 * One connection of one loop. It sends CONNECT when the stream is open, keeps it alive, answers
 * PUBLISH of QoS 1 and 2 by itself (a QoS 2 message is shown once), and hands what arrives to its
 * owner as decoded packets. Who counts millions of messages a second takes the bytes instead
 * (on_stream) and acknowledges by itself. Nothing is sent again: a connection lost is the end.
 *
 * Threads: the loop's.
 */
#ifndef CLI_CLIENT_H
#define CLI_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "mqtt/packet.h"
#include "net/conn.h"
#include "net/tls.h"

/* Where to connect and as whom. */
struct client_target {
	struct url url;
	struct address address;
	struct tls_context *tls; /* NULL: plain */
	bool anonymous;          /* no user name is sent */
	char shown[URL_TEXT_BYTES];
};

/* What a command's options say. */
struct client_options {
	const char *url;
	const char *user; /* NULL: of the URL, else "everyone"; "": anonymous */
	const char *
		password_file; /* NULL: of the URL, else "everyone"; first line of the file counts */
	const char *ca;        /* PEM file for mqtts and wss; NULL: the system's */
	bool insecure;         /* does not verify the server's certificate */
};

/* Looks the name up (this may block) and reads the password. 0 or an exit status (enum cli_status)
 * after printing what is wrong. */
int cli_client_target_open(struct client_target *t, const struct client_options *o);
void cli_client_target_close(struct client_target *t);
/* The same for pages over http or https, without looking up: only url, anonymous and shown are set.
 * otherwise: the URL when the options have none. No user name given: anonymous. */
int cli_client_target_page(
	struct client_target *t, const struct client_options *o, const char *otherwise);

struct cli_client;
struct client_handler {
	/* CONNACK with success. May be NULL. */
	void (*on_connected)(struct cli_client *c, const struct mqtt_packet *connack);
	/* Any other packet that concerns the owner (PUBLISH, PUBACK, PUBREC, PUBCOMP, SUBACK). */
	void (*on_packet)(struct cli_client *c, const struct mqtt_packet *p);
	/* NULL, or takes all bytes after CONNACK instead of on_packet; as conn_handler.on_bytes. */
	ssize_t (*on_stream)(struct cli_client *c, const uint8_t *p, size_t n);
	/* As conn_handler.on_writable. May be NULL. */
	void (*on_writable)(struct cli_client *c);
	/* Last call; err as in conn_handler.on_close. ERR_DENIED, ERR_CREDENTIALS ...: refused by
	 * CONNACK or DISCONNECT, why is then its reason. */
	void (*on_close)(struct cli_client *c, int err, const char *why);
};

struct client_settings {
	const struct client_target *target;
	const char *id;            /* NULL: a random one */
	uint8_t version;           /* enum mqtt_version */
	uint16_t keep_alive_s;     /* 0: off */
	uint16_t receive_maximum;  /* MQTT 5; 0: not sent */
	uint32_t session_expiry_s; /* MQTT 5; with 3.1.1 any value keeps the session */
	uint32_t receive_buffer_bytes;
};

struct cli_client {
	struct conn conn;
	const struct client_handler *handler;
	const struct client_settings *settings;
	struct timer ping;
	char *why;      /* owned: what CONNACK or DISCONNECT said */
	int err;        /* goes with why */
	uint8_t *shown; /* bit per packet id: QoS 2 messages shown, not yet released */
	uint16_t last_id;
	uint16_t server_receive_maximum;
	bool connected;
	bool quiet; /* nothing has come since the last PINGREQ */
};

/* Borrows settings, its target and handler for the client's life. c is overwritten. 0 or negative
 * (on_close is not called then). */
int cli_client_open(struct cli_client *c, struct loop *l, const struct client_settings *settings,
	const struct client_handler *handler);

/* Gives the packet id used; the answer comes by on_packet. ERR_TOO_LARGE: filters do not fit. */
int cli_client_subscribe(
	struct cli_client *c, const struct view *filters, uint32_t count, uint8_t qos);
/* Gives the packet id (0 at QoS 0); ERR_TOO_LARGE. */
int cli_client_publish(
	struct cli_client *c, struct view topic, struct view payload, uint8_t qos, bool retain);

/* DISCONNECT, then closed; on_close comes with err 0. */
void cli_client_close(struct cli_client *c);

/* "Not authorized (0x87)", with the MQTT 5 reason string behind it if there is one; the caller
 * frees. version 3.1.1: reason is a CONNACK return code. */
char *cli_client_reason(uint8_t version, const struct mqtt_packet *p, uint8_t reason);

/* Builds a CONNECT; for tests and for owners of other connections. */
int cli_client_connect_packet(const struct client_settings *s, struct buf *out);

#endif
