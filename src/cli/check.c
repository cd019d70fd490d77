/* cli/check.c - `isobar check`: every fault of the configuration, without starting anything */
#include <inttypes.h>
#include <stdio.h>

#include "base/buf.h"
#include "cli/arguments.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/config.h"
#include "cli/quantity.h"

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

static void print_listener(const struct config *c, const struct config_listener *l)
{
	printf("listener: %s\n", l->text);
	if (config_lacks_certificate(c, l))
		printf("warning: %s:%" PRIu32 ":%" PRIu32
		       ": listeners: TLS without a certificate; a self-signed one is made, which "
		       "clients cannot verify; set tls.certificate and tls.key\n",
			c->file ? c->file : "built-in defaults", l->line, l->column);
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
