/* cli/import.c - `isobar import`: a broker from the file of `isobar export`
 *
 *     archive --stream--> files of the configuration: memory
 *                         data: DATA_DIR/import.new --checks--> DATA_DIR
 *
 * Every checksum is compared, the journal and the stores are opened as a start would open them, and only
 * then does anything change. Sequence numbers and positions stay what they were: the journal is the old
 * one, not a new one with the same messages.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "broker/row.h"
#include "broker/snapshot.h"
#include "cli/arguments.h"
#include "cli/backup.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/config_keys.h"
#include "cli/export_files.h"
#include "cli/landing.h"
#include "journal/journal.h"

#define MANIFEST_LARGEST 65536u
#define PIECE (256u << 10)
#define FOR_EVER_MS (UINT64_C(3650) * 86400000)

struct import {
	const char *file;
	struct argument_list without;
	bool replace;
	bool parts[PART_COUNT];
	const char *shown; /* the archive's name */
	struct backup_in in;
	uint64_t bytes; /* of the archive; 0: a pipe */
	char *main_name;
	char *centre_id;
	struct landing landing;
};

#define FIELD(name) offsetof(struct import, name)

static const struct argument rows[] = {
	{'c', "config", ARGUMENT_TEXT, FIELD(file), 0, 0, "FILE",
		"where the configuration is to be (default: /etc/isobar/isobar.yaml)"},
	{0, "replace", ARGUMENT_FLAG, FIELD(replace), 0, 0, NULL,
		"put aside what is there: nothing is deleted"},
	{0, "without", ARGUMENT_LIST, FIELD(without), 0, 0, "PART",
		"configuration, sources, accounts, sessions, retained or messages; several times"},
};

static const struct argument_table table = {"isobar import [options] FILE|-",
	"Makes this machine's broker the one that `isobar export` wrote. Checks the whole archive\n"
	"first; refuses a data_dir that is not empty, files that are there, and a broker that "
	"runs.",
	rows, sizeof(rows) / sizeof(rows[0])};

static int wrong(const struct import *m, const char *why)
{
	fprintf(stderr, "isobar import: %s: %s\n", m->shown, why);
	return CLI_NO;
}

/* What the archive's reader says. */
static int broken(const struct import *m, int64_t err)
{
	wrong(m, m->in.why ? m->in.why : err_text((int)err));
	return err == ERR_CORRUPT ? CLI_NO : CLI_ENVIRONMENT;
}

/* --- the manifest ----------------------------------------------------- */

/* The whole content of the member at hand. */
static int take_content(struct import *m, struct buf *out)
{
	int64_t n;

	while ((n = backup_read(&m->in, buf_reserve(out, 65536), 65536)) > 0)
		buf_grown(out, (size_t)n);
	return n < 0 ? broken(m, n) : CLI_DONE;
}

static const char *text_in(const struct yaml *map, const char *key)
{
	const struct yaml *y = config_find(map, key);

	return y && y->kind == YAML_SCALAR ? y->text : "";
}

static int judge_manifest(struct import *m, const struct yaml *map)
{
	const uint16_t one = 1;
	const char *order = *(const uint8_t *)&one ? "little" : "big";
	const char *name = text_in(map, "configuration");
	long format = strtol(text_in(map, "format"), NULL, 10);

	if (format < 1)
		return wrong(m, "its manifest does not say which format it has");
	if (format > BACKUP_FORMAT ||
		strtol(text_in(map, "journal_format"), NULL, 10) > JOURNAL_FORMAT ||
		strtol(text_in(map, "session_format"), NULL, 10) > (long)ROW_VERSION)
		return wrong(m, "was written by a newer version of isobar; install that one here");
	if (strcmp(text_in(map, "byte_order"), order) != 0)
		return wrong(m, "comes from a machine whose numbers have another byte order; its "
				"journal cannot be read here");
	if (name[0] && (!tar_name_is_safe(view_of(name)) || strchr(name, '/')))
		return wrong(m, "its manifest names no sound configuration file");
	m->main_name = name[0] && m->parts[PART_CONFIGURATION] ? mem_text(name) : NULL;
	m->centre_id = mem_text(text_in(map, "centre_id"));
	return CLI_DONE;
}

static int take_manifest(struct import *m)
{
	struct buf text = {0}, ignored = {0};
	struct faults faults = {&ignored, 0};
	struct yaml *map = NULL;
	int status = CLI_NO;
	int err = backup_next(&m->in);

	if (err < 0)
		status = broken(m, err);
	else if (err == 0 || strcmp(m->in.member.name, "manifest.yaml") != 0 ||
		 m->in.member.size > MANIFEST_LARGEST)
		status = wrong(m, "does not begin with a manifest");
	else
		status = take_content(m, &text);
	if (status == CLI_DONE)
		map = yaml_read(buf_view(&text), "manifest.yaml", &faults);
	if (status == CLI_DONE)
		status = judge_manifest(m, map);
	yaml_free(map);
	buf_fini(&text);
	buf_fini(&ignored);
	return status;
}

/* --- members ---------------------------------------------------------- */

static int take_file(struct import *m)
{
	struct landing_file *f = landing_add(&m->landing, &m->in.member);

	return f ? take_content(m, &f->content) : CLI_NO;
}

static int prepare(struct import *m)
{
	if (m->landing.config)
		return CLI_DONE;
	m->landing.main_name = m->main_name;
	return landing_prepare(&m->landing, m->bytes);
}

static int copy_to(struct import *m, int fd)
{
	uint8_t *piece = mem_new(PIECE);
	int64_t n = 0;
	int status = CLI_DONE;

	while (status == CLI_DONE && (n = backup_read(&m->in, piece, PIECE)) > 0) {
		for (int64_t at = 0, got; at < n && status == CLI_DONE; at += got) {
			got = write(fd, piece + at, (size_t)(n - at));
			if (got < 0 && errno != EINTR) {
				fprintf(stderr, "isobar import: %s/%s: %s\n", m->landing.staging,
					m->in.member.name, strerror(errno));
				status = CLI_ENVIRONMENT;
			}
			got = got < 0 ? 0 : got;
		}
	}
	free(piece);
	return n < 0 ? broken(m, n) : status;
}

/* name: behind data/ */
static int take_data(struct import *m, const char *name)
{
	int status = prepare(m);
	int fd;

	if (status)
		return status;
	fd = landing_create(&m->landing, &m->in.member, name);
	if (fd < 0)
		return CLI_ENVIRONMENT;
	status = copy_to(m, fd);
	close(fd);
	return status;
}

static bool begins(const char *name, const char *with)
{
	return strncmp(name, with, strlen(with)) == 0;
}

static bool is_wanted(const struct import *m, const char *name)
{
	if (begins(name, "configuration/"))
		return m->parts[PART_CONFIGURATION];
	if (begins(name, "sources/"))
		return m->parts[PART_SOURCES];
	if (begins(name, "accounts/"))
		return m->parts[PART_ACCOUNTS];
	if (begins(name, "data/sessions/"))
		return m->parts[PART_SESSIONS];
	if (begins(name, "data/retained/"))
		return m->parts[PART_RETAINED];
	return m->parts[PART_MESSAGES] || !begins(name, "data/journal/") ||
	       !view_ends_with(view_of(name), VIEW(".packets"));
}

static int take_member(struct import *m)
{
	const char *name = m->in.member.name;

	if (begins(name, "data/"))
		return is_wanted(m, name) ? take_data(m, name + strlen("data/")) : CLI_DONE;
	if (!begins(name, "configuration/") && !begins(name, "sources/") &&
		!begins(name, "accounts/"))
		return wrong(m, "has a member that this version does not know");
	if (m->landing.config)
		return wrong(m, "its members are not in their order");
	return is_wanted(m, name) ? take_file(m) : CLI_DONE;
}

static int take_all(struct import *m)
{
	int status = take_manifest(m);
	int err = 1;

	while (status == CLI_DONE && (err = backup_next(&m->in)) == 1)
		status = take_member(m);
	if (status == CLI_DONE && err < 0)
		status = broken(m, err);
	return status ? status : prepare(m);
}

/* --- checks ----------------------------------------------------------- */

struct found {
	struct snapshot_figures stores;
	uint64_t head;
	uint64_t tail;
};

/* As a start does it, and removing nothing, however old it is. */
static int check_journal(const struct import *m, struct found *f)
{
	char *dir = mem_printf("%s/journal", m->landing.staging);
	struct journal_config config = {
		.dir = dir,
		.keep_ms = FOR_EVER_MS,
		.size_bytes = UINT64_C(1) << 60,
		.index_keep_ms = FOR_EVER_MS,
		.least_ms = FOR_EVER_MS,
		.sync = JOURNAL_SYNC_NEVER,
		.segment_bytes = 8u << 20,
	};
	struct journal *j = NULL;
	char *why = NULL;
	int err = access(dir, F_OK) == 0 ? journal_open(&j, &config, &why) : 0;

	if (j) {
		f->head = journal_head(j);
		f->tail = journal_tail(j);
		journal_close(j);
	}
	free(dir);
	if (err)
		wrong(m, why ? why : err_text(err));
	free(why);
	return err ? CLI_NO : CLI_DONE;
}

static int check_data(const struct import *m, struct found *f)
{
	char *why = NULL;
	int err = snapshot_check(m->landing.staging, &f->stores, &why);

	if (err)
		wrong(m, why ? why : err_text(err));
	free(why);
	return err ? CLI_NO : check_journal(m, f);
}

/* What `isobar check` says of it: a certificate may still be missing. */
static void tell_faults(const struct import *m)
{
	struct config *c = NULL;
	struct buf faults = {0};

	if (config_load(m->landing.file, &c, &faults) < 0) {
		fprintf(stderr, "isobar import: before the broker starts, mend:\n");
		fwrite(buf_bytes(&faults), 1, buf_length(&faults), stderr);
	}
	config_free(c);
	buf_fini(&faults);
}

static void tell(const struct import *m, const struct found *f)
{
	printf("imported %s: %u files of the configuration, %llu sessions, %llu retained messages, "
	       "messages %llu to %llu\n",
		m->centre_id, m->landing.count, (unsigned long long)f->stores.sessions,
		(unsigned long long)f->stores.retained, (unsigned long long)f->head,
		(unsigned long long)f->tail);
}

static int run(struct import *m)
{
	struct found found = {0};
	int status = take_all(m);

	log_configure(LOG_WARN, false);
	if (status == CLI_DONE)
		status = check_data(m, &found);
	if (status) {
		landing_abandon(&m->landing);
		return status;
	}
	status = landing_install(&m->landing);
	if (status == CLI_DONE) {
		tell(m, &found);
		tell_faults(m);
	}
	return status;
}

static int open_archive(struct import *m, const char *name)
{
	struct stat st;
	int fd = STDIN_FILENO;

	m->shown = name;
	if (strcmp(name, "-") == 0)
		m->shown = "standard input";
	else
		fd = open(name, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0) {
		fprintf(stderr, "isobar import: %s: %s\n", name, strerror(errno));
		return -1;
	}
	m->bytes = S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
	return fd;
}

int cli_import(int argc, char **argv)
{
	struct import m = {.landing = {.count = 0}};
	int at = arguments_read(&table, argc, argv, &m);
	int status = CLI_ENVIRONMENT;
	int fd;

	if (at < 0)
		return arguments_status(at);
	if (argc - at != 1) {
		fprintf(stderr, "isobar import: one file, or -; see isobar import --help\n");
		return CLI_USAGE;
	}
	if (!export_parts("import", &m.without, m.parts))
		return CLI_USAGE;
	fd = open_archive(&m, argv[at]);
	if (fd < 0)
		return CLI_ENVIRONMENT;
	m.landing.file = m.file;
	m.landing.replaces = m.replace;
	backup_in_init(&m.in, fd);
	status = run(&m);
	backup_in_fini(&m.in);
	landing_fini(&m.landing);
	free(m.main_name);
	free(m.centre_id);
	if (fd != STDIN_FILENO)
		close(fd);
	return status;
}
