/* cli/check.c - `isobar check`: every fault of the configuration, without starting anything */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/clock.h"
#include "cli/arguments.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/config.h"
#include "cli/quantity.h"
#include "net/tls.h"

struct check_options {
	const char *file;
};

static const struct argument rows[] = {
	{'c', "config", ARGUMENT_TEXT, offsetof(struct check_options, file), 0, 0, "FILE",
		"configuration file (/etc/isobar/isobar.yaml if it exists, else built-in "
		"defaults)"},
};

static const struct argument_table table = {
	.usage = "isobar check [-c FILE]",
	.about = "Validates configuration, sources and accounts without starting. Every fault is "
		 "printed "
		 "with\nfile:line:column, what is wrong and what would be right.",
	.rows = rows,
	.count = 1,
};

static void warn(const struct config *c, const struct config_listener *l, const char *what,
	const char *file, const char *why)
{
	printf("warning: %s:%" PRIu32 ":%" PRIu32 ": listeners: %s%s%s\n",
		c->file ? c->file : "built-in defaults", l->line, l->column, what, file, why);
}

/* It can be used, as config_load() has found; but will clients take it? */
static void judge_certificate(const struct config *c, const struct config_listener *l)
{
	const struct tls_server_settings settings = {
		.certificate = config_certificate(c, l), .key = config_key_file(c, l)};
	struct tls_context *context = NULL;
	char *why = NULL;
	int64_t left;

	if (tls_server_new(&context, &settings, &why) < 0) {
		free(why);
		return;
	}
	left = tls_expires(context) - (int64_t)(clock_wall_ms() / 1000);
	if (left <= 0)
		warn(c, l, "the certificate ", settings.certificate,
			" has expired: clients refuse it; renew it");
	else if (left < CERTIFICATE_WARN_S)
		warn(c, l, "the certificate ", settings.certificate,
			" expires within 30 days; see why it has not been renewed");
	if (tls_is_self_signed(context))
		warn(c, l, "the certificate ", settings.certificate,
			" is self-signed, which clients cannot verify; get one of an authority");
	tls_unref(context);
}

static void print_listener(const struct config *c, const struct config_listener *l)
{
	printf("listener: %s\n", l->text);
	if (config_lacks_certificate(c, l))
		warn(c, l, "TLS without a certificate; a self-signed one is made, ",
			"which clients cannot verify; ", "set tls.certificate and tls.key");
	else if (l->url.tls)
		judge_certificate(c, l);
}

static void print_summary(const struct config *c)
{
	char keep[QUANTITY_TEXT_BYTES];
	char size[QUANTITY_TEXT_BYTES];
	uint32_t enabled = 0;

	for (uint32_t i = 0; i < c->source_count; i++)
		enabled += c->sources[i].enabled;
	printf("ok: %s\n", c->file ? c->file : "built-in defaults");
	printf("centre_id: %s\n", c->centre_id);
	for (uint32_t i = 0; i < c->listener_count; i++)
		print_listener(c, &c->listeners[i]);
	printf("sources: %" PRIu32 " (%" PRIu32 " enabled)\n", c->source_count, enabled);
	printf("accounts: %" PRIu32 "\n", c->accounts->count);
	printf("journal: %s, %s or %s, whichever comes first\n", c->data_dir,
		quantity_format_duration(c->journal_keep_ms, keep),
		quantity_format_size(c->journal_size_bytes, size));
	if (c->cluster.redis_count)
		printf("cluster: node %s, %" PRIu32 " addresses of Redis\n", c->cluster.node,
			c->cluster.redis_count);
}

int cli_check(int argc, char **argv)
{
	struct check_options options = {0};
	struct config *config;
	struct buf faults = {0};
	int rest = arguments_read(&table, argc, argv, &options);
	int status = CLI_DONE;

	if (rest < 0)
		return arguments_status(rest);
	if (rest < argc) {
		fprintf(stderr,
			"isobar check: takes no argument; -c FILE names the configuration\n");
		return CLI_USAGE;
	}
	if (config_load(options.file, &config, &faults) < 0) {
		fwrite(buf_bytes(&faults), 1, buf_length(&faults), stdout);
		status = CLI_USAGE;
	} else {
		print_summary(config);
	}
	config_free(config);
	buf_fini(&faults);
	return status;
}
