#include "cli/lone_client.h"

#include <stdio.h>

#include "base/error.h"
#include "cli/cli.h"

static int run(struct lone_client *c, const char *command, const struct client_handler *handler)
{
	c->loop = loop_new();
	if (c->loop == NULL || signals_open(&c->signals, c->loop) < 0) {
		perror(command);
		return CLI_ENVIRONMENT;
	}
	if (cli_client_open(&c->client, c->loop, &c->settings, handler) == 0) {
		loop_run(c->loop);
	} else {
		perror(command);
		c->status = CLI_ENVIRONMENT;
	}
	signals_close(&c->signals);
	loop_free(c->loop);
	return c->status;
}

int lone_client_run(struct lone_client *c, const char *command,
	const struct client_handler *handler, void (*on_signal)(struct signals *s, int number))
{
	int status = cli_client_target_open(&c->target, &c->where);

	c->settings.target = &c->target;
	c->settings.id = c->id;
	c->settings.version = c->version;
	c->settings.keep_alive_s = 60;
	c->signals.on_signal = on_signal;
	if (status == CLI_DONE)
		status = run(c, command, handler);
	cli_client_target_close(&c->target);
	return status;
}

void lone_client_end(struct lone_client *c)
{
	c->ended = true;
	cli_client_close(&c->client);
}

void lone_client_closed(
	struct lone_client *c, const char *command, int err, const char *why, int lost)
{
	bool was_refused = err == ERR_DENIED || err == ERR_CREDENTIALS;

	if (!c->ended) {
		fprintf(stderr, "%s: %s: %s\n", command, c->target.shown, why);
		c->status = was_refused ? CLI_NO : lost;
	}
	loop_stop(c->loop);
}
