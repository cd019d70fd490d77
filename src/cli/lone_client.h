/* cli/lone_client.h - a command that is one MQTT client: `isobar sub`, `isobar pub`
 *
 * What both are told by options, and the run from the look-up of the name to the end of the connection.
 * Embedded in the command's own struct. One thread.
 */
#ifndef CLI_LONE_CLIENT_H
#define CLI_LONE_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/arguments.h"
#include "cli/client.h"
#include "cli/signals.h"

struct lone_client {
	/* the options */
	struct client_options where;
	const char *id; /* NULL: a random one */
	uint64_t qos;
	uint8_t version;
	/* the run */
	struct loop *loop;
	struct signals signals;
	struct cli_client client;
	struct client_target target;
	struct client_settings settings; /* session_expiry_s is the command's to set */
	int status;                      /* enum cli_status: how it ends */
	bool ended;                      /* by the command itself: a close is no fault */
};

/* clang-format off */
/* What holds without options. */
#define LONE_CLIENT_DEFAULT \
	{.where = {.url = "mqtt://127.0.0.1:1883"}, .qos = 1, .version = MQTT_5}

/* Rows of a command's options; AT(member) is where a member of its lone_client lies. */
#define LONE_CLIENT_ROW_BROKER(AT) \
	{'b', "broker", ARGUMENT_TEXT, AT(where.url), 0, 0, "URL", \
		"where to connect (mqtt://everyone:everyone@127.0.0.1:1883)"}
#define LONE_CLIENT_ROWS_SESSION(AT) \
	{'q', "qos", ARGUMENT_NUMBER, AT(qos), 0, 2, "QOS", "0, 1 (default) or 2"}, \
	{'u', "username", ARGUMENT_TEXT, AT(where.user), 0, 0, "USER", \
		"instead of the URL's; empty: none"}, \
	{'P', "password-file", ARGUMENT_TEXT, AT(where.password_file), 0, 0, "FILE", \
		"its first line is the password"}, \
	{'i', "id", ARGUMENT_TEXT, AT(id), 0, 0, "ID", "client identifier (a random one)"}
#define LONE_CLIENT_ROWS_WIRE(AT) \
	{0, "protocol", ARGUMENT_PROTOCOL, AT(version), 0, 0, "VERSION", "5 (default) or 3.1.1"}, \
	{0, "ca", ARGUMENT_TEXT, AT(where.ca), 0, 0, "FILE", \
		"certificates to trust with mqtts:// and wss:// (the system's)"}, \
	{0, "insecure", ARGUMENT_FLAG, AT(where.insecure), 0, 0, NULL, \
		"do not verify the server's certificate"}
/* clang-format on */

/* Connects and runs until lone_client_closed(). Gives c->status, or what kept it from beginning after
 * saying so. on_signal: of c->signals; it ends the run. */
int lone_client_run(struct lone_client *c, const char *command,
	const struct client_handler *handler, void (*on_signal)(struct signals *s, int number));

/* Takes leave; on_close follows. */
void lone_client_end(struct lone_client *c);

/* The handler's on_close() calls it: ends the run, and says why where nobody wanted the end. Then status is
 * CLI_NO where the broker refused, else `lost`. */
void lone_client_closed(
	struct lone_client *c, const char *command, int err, const char *why, int lost);

#endif
