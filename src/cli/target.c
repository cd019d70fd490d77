/* cli/target.c - from a URL and options to an address and credentials
 *
 * A command asks once, before its loop runs, so that the look-up may block.
 */
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "cli/cli.h"
#include "cli/client.h"

static int complain(const char *what, const char *why)
{
	fprintf(stderr, "isobar: %s: %s\n", what, why);
	return CLI_USAGE;
}

/* The first line of the file, without its end. */
static int read_password(const char *file, char *out, size_t size)
{
	FILE *f = fopen(file, "re");
	bool ok;

	if (f == NULL)
		return complain(file, strerror(errno));
	ok = fgets(out, (int)size, f) != NULL;
	fclose(f);
	if (!ok)
		return complain(file, "holds no password");
	out[strcspn(out, "\r\n")] = '\0';
	return CLI_DONE;
}

/* The user name and password of every WIS2 broker unless others are given. */
static int choose_account(struct client_target *t, const struct client_options *o)
{
	struct url *u = &t->url;
	bool in_url = u->user[0] != '\0';

	if (o->user)
		snprintf(u->user, sizeof(u->user), "%s", o->user);
	else if (!in_url)
		snprintf(u->user, sizeof(u->user), "everyone");
	t->anonymous = u->user[0] == '\0';
	if (o->password_file)
		return read_password(o->password_file, u->password, sizeof(u->password));
	if (!in_url && strcmp(u->user, "everyone") == 0)
		snprintf(u->password, sizeof(u->password), "everyone");
	return CLI_DONE;
}

static int look_up(struct client_target *t)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
	char port[8];
	int err;

	if (address_parse(view_of(t->url.host), t->url.port, &t->address))
		return CLI_DONE;
	snprintf(port, sizeof(port), "%u", t->url.port);
	err = getaddrinfo(t->url.host, port, &hints, &found);
	if (err) {
		fprintf(stderr, "isobar: %s: %s\n", t->url.host, gai_strerror(err));
		return CLI_ENVIRONMENT;
	}
	memcpy(&t->address, found->ai_addr, found->ai_addrlen);
	freeaddrinfo(found);
	return CLI_DONE;
}

static int make_tls(struct client_target *t, const struct client_options *o)
{
	struct tls_client_settings s = {.verify = !o->insecure, .ca = o->ca};
	char *why = NULL;

	if (tls_client_new(&t->tls, &s, &why) == 0)
		return CLI_DONE;
	fprintf(stderr, "isobar: %s\n", why ? why : "TLS cannot be set up");
	free(why);
	return CLI_ENVIRONMENT;
}

int cli_client_target_open(struct client_target *t, const struct client_options *o)
{
	const char *why = NULL;
	int status;

	*t = (struct client_target){.tls = NULL};
	if (url_parse(view_of(o->url), &t->url, &why) < 0)
		return complain(o->url, why);
	if (t->url.scheme > URL_WSS)
		return complain(o->url, "only mqtt://, mqtts://, ws:// and wss:// are spoken here");
	url_format(&t->url, t->shown);
	status = choose_account(t, o);
	if (status == CLI_DONE)
		status = look_up(t);
	if (status == CLI_DONE && t->url.tls)
		status = make_tls(t, o);
	return status;
}

int cli_client_target_page(
	struct client_target *t, const struct client_options *o, const char *otherwise)
{
	const char *url = o->url ? o->url : otherwise;
	const char *why = NULL;

	*t = (struct client_target){.anonymous = true};
	if (url_parse(view_of(url), &t->url, &why) < 0)
		return complain(url, why);
	if (t->url.scheme != URL_HTTP && t->url.scheme != URL_HTTPS)
		return complain(url, "only http:// and https:// are spoken here");
	url_format(&t->url, t->shown);
	return o->user || t->url.user[0] ? choose_account(t, o) : CLI_DONE;
}

void cli_client_target_close(struct client_target *t)
{
	if (t->tls)
		tls_unref(t->tls);
	t->tls = NULL;
}
