/* cli/run.c - `isobar run`: the Global Broker in the foreground
 *
 * The main thread starts the server and then only waits: for SIGHUP (reload), SIGTERM and SIGINT
 * (stop), and every few seconds it looks whether certificates have changed. Workers never see a
 * signal. Reading files and loading certificates happens here, so that no client waits for it.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "base/log.h"
#include "cli/arguments.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/everywhere.h"
#include "cli/notify.h"
#include "cli/server.h"
#include "journal/journal.h"

#define LOOK_EVERY_S 2 /* at certificates */

struct run_options {
	const char *file;
};

static const struct argument rows[] = {
	{'c', "config", ARGUMENT_TEXT, offsetof(struct run_options, file), 0, 0, "FILE",
		"configuration file (/etc/isobar/isobar.yaml if it exists, else built-in "
		"defaults)"},
};

static const struct argument_table table = {
	.usage = "isobar run [-c FILE]",
	.about = "Runs the Global Broker in the foreground and logs to stderr. SIGHUP reads\n"
		 "configuration, sources, accounts and certificates again without dropping a\n"
		 "client; SIGTERM and SIGINT stop it cleanly.",
	.rows = rows,
	.count = 1,
};

/* --- the process ------------------------------------------------------ */

/* As many descriptors as the system allows: one client needs one. */
static void raise_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == limit.rlim_max)
		return;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		log_warn("cli", "descriptors", "cannot be raised to %llu: %s",
			(unsigned long long)limit.rlim_max, strerror(errno));
}

static sigset_t block_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR1); /* other nodes have told of orders */
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	return set;
}

/* --- configuration ---------------------------------------------------- */

/* NULL when there are faults: they are on stderr. */
static struct config *load_first(const char *file)
{
	struct config *config = NULL;
	struct buf faults = {0};

	if (config_load(file, &config, &faults) < 0) {
		fwrite(buf_bytes(&faults), 1, buf_length(&faults), stderr);
		fprintf(stderr, "isobar run: not started; `isobar check` tells the same\n");
		config_free(config);
		config = NULL;
	}
	buf_fini(&faults);
	return config;
}

static void log_faults(struct buf *faults)
{
	struct view rest = buf_view(faults);

	while (rest.p) {
		struct view line = view_cut(&rest, '\n');

		if (line.n)
			log_error("cli", "configuration_fault", "%.*s", VIEW_ARG(line));
	}
	log_error("cli", "configuration_refused", "the one in force stays");
}

static void reload(struct server *server, const char *file)
{
	struct config *config = NULL;
	struct buf faults = {0};
	bool is_taken = false;

	log_info("cli", "reloading", "file=%s", file ? file : "default");
	if (config_load(file, &config, &faults) == 0) {
		notify_tell("RELOADING=1");
		is_taken = server_reload(server, &config) == 0;
		notify_tell("READY=1");
	} else {
		log_faults(&faults);
		config_free(config);
	}
	admin_tell_reload(server->admin, is_taken);
	buf_fini(&faults);
}

/* --- the command ------------------------------------------------------ */

/* A worker that hangs keeps this thread waiting, and the service manager ends the process. */
static void tell_alive(struct server *server)
{
	if (!notify_is_watched())
		return;
	server_await_turns(server);
	notify_tell("WATCHDOG=1");
}

static void serve_until_stopped(struct server *server, const char *file, const sigset_t *signals)
{
	const struct timespec pause = {.tv_sec = LOOK_EVERY_S};

	for (;;) {
		int number = sigtimedwait(signals, NULL, &pause);

		if (number == SIGTERM || number == SIGINT) {
			log_info("cli", "stopping", "signal=%s", number == SIGINT ? "INT" : "TERM");
			return;
		}
		if (everywhere_look(server->everywhere) || number == SIGHUP)
			reload(server, file);
		else if (number != SIGUSR1)
			server_look(server);
		tell_alive(server);
	}
}

static int run(const char *file)
{
	struct server server;
	sigset_t signals = block_signals();
	struct config *config = load_first(file);

	if (config == NULL)
		return CLI_USAGE;
	log_configure(config->log_level, config->log_json);
	log_info("cli", "starting", "version=%s configuration=%s centre_id=%s workers=%u",
		ISOBAR_VERSION, config->file ? config->file : "built-in", config->centre_id,
		config->workers);
	raise_descriptors();
	journal_guard_sigbus();
	if (server_start(&server, &config) < 0)
		return CLI_ENVIRONMENT;
	log_info("cli", "ready", "listeners=%u", server.served_count);
	notify_tell("READY=1");
	serve_until_stopped(&server, file, &signals);
	notify_tell("STOPPING=1");
	server_stop(&server);
	log_info("cli", "stopped", "status=0");
	return CLI_DONE;
}

int cli_run(int argc, char **argv)
{
	struct run_options options = {0};
	int rest = arguments_read(&table, argc, argv, &options);

	if (rest < 0)
		return arguments_status(rest);
	if (rest < argc) {
		fprintf(stderr, "isobar run: takes no argument; -c FILE names the configuration\n");
		return CLI_USAGE;
	}
	return run(options.file);
}
