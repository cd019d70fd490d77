/* cli/export.c - `isobar export`: what makes this broker the one it is, as one file
 *
 *     manifest | configuration, sources, accounts | sessions, retained, bans ... | journal | sums
 *
 * In this order, so that every position in a session lies at or below the end of the journal that
 * follows it. A broker that does not run is kept from starting meanwhile, by the journal's lock. One
 * that runs is asked for a copy of what only it can read consistently (broker/snapshot.h); the journal
 * is read beside it (journal/carry.h), and nobody waits for that.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <jansson.h>
#include <libgen.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/mem.h"
#include "broker/row.h"
#include "cli/arguments.h"
#include "cli/backup.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/control.h"
#include "cli/export_files.h"
#include "journal/carry.h"
#include "journal/journal.h"

#define FOLDERS_DEPTH 3
#define RECENT_MS 10000u

struct export
{
	const char *file;
	uint64_t since_ms;
	struct argument_list without;
	bool parts[PART_COUNT];
	struct config *config;
	const char *target; /* "-": standard output */
	struct backup_out out;
	struct export_files files;
	struct carry_figures journal;
	bool is_running;
	int lock;     /* the journal's */
	int data;     /* the folder */
	bool is_read; /* whose the system's error is */
	char *at;     /* owned: what is being read */
};

/* A journal's folder, and what it is called in the archive. */
struct segments {
	struct export *of;
	const char *name;
	const char *path;
};

#define FIELD(name) offsetof(struct export, name)

static const struct argument rows[] = {
	{'c', "config", ARGUMENT_TEXT, FIELD(file), 0, 0, "FILE",
		"configuration of the broker (default: /etc/isobar/isobar.yaml)"},
	{'s', "since", ARGUMENT_DURATION, FIELD(since_ms), 0, 0, "TIME",
		"messages of the last TIME, such as 6h (default: all in the journal)"},
	{0, "without", ARGUMENT_LIST, FIELD(without), 0, 0, "PART",
		"configuration, sources, accounts, sessions, retained or messages; several times"},
};

static const struct argument_table table = {"isobar export [options] FILE|-",
	"Writes all that makes this broker the one it is into one file, for moving it to another\n"
	"machine or as a backup: configuration, sources, accounts, sessions, retained messages, "
	"bans,\n"
	"and the journal with the identities of the antiloop. The broker may run. The file holds\n"
	"passwords and keys; tar lists and unpacks it.",
	rows, sizeof(rows) / sizeof(rows[0])};

/* --- members ---------------------------------------------------------- */

static void copy_name(char out[TAR_PERSON_BYTES], const char *name)
{
	snprintf(out, TAR_PERSON_BYTES, "%s", name && strlen(name) < TAR_PERSON_BYTES ? name : "");
}

/* As the file is; bytes of it. */
static struct tar_member member_of(int fd, const char *name, uint64_t bytes)
{
	struct tar_member m = {.size = bytes, .mode = 0600};
	struct passwd user, *owner = NULL;
	struct group people, *group = NULL;
	char room[4096];
	struct stat st;

	snprintf(m.name, sizeof(m.name), "%s", name);
	if (fstat(fd, &st) < 0)
		return m;
	m.mode = st.st_mode & 0777;
	m.time_s = st.st_mtime < 0 ? 0 : (uint64_t)st.st_mtime;
	if (getpwuid_r(st.st_uid, &user, room, sizeof(room), &owner) == 0 && owner)
		copy_name(m.owner, owner->pw_name);
	if (getgrgid_r(st.st_gid, &people, room, sizeof(room), &group) == 0 && group)
		copy_name(m.group, group->gr_name);
	return m;
}

/* The first bytes of the file; UINT64_MAX: all there are. */
static int put_fd(struct export *x, const char *name, const char *path, int fd, uint64_t bytes)
{
	off_t size = lseek(fd, 0, SEEK_END);
	struct tar_member m;

	free(x->at);
	x->at = mem_text(path);
	x->is_read = true;
	if (size < 0)
		return ERR_SYSTEM;
	m = member_of(fd, name, bytes == UINT64_MAX ? (uint64_t)size : bytes);
	return strlen(name) < TAR_NAME_BYTES ? backup_put_file(&x->out, &m, fd, &x->is_read)
					     : ERR_TOPIC;
}

/* One that has gone meanwhile, or was never there, is left out. */
static int put_path(struct export *x, const char *name, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	int err;

	if (fd < 0) {
		if (errno == ENOENT)
			return 0;
		free(x->at);
		x->at = mem_text(path);
		x->is_read = true;
		return ERR_SYSTEM;
	}
	err = put_fd(x, name, path, fd, UINT64_MAX);
	close(fd);
	return err;
}

/* --- the manifest ----------------------------------------------------- */

static const char *byte_order(void)
{
	const uint16_t one = 1;

	return *(const uint8_t *)&one ? "little" : "big";
}

static int put_manifest(struct export *x)
{
	const struct config *c = x->config;
	struct tar_member m = {.name = "manifest.yaml", .mode = 0600};
	struct buf text = {0}, parts = {0};
	char made[CLOCK_TEXT_BYTES];
	char *file = c->file ? mem_text(c->file) : NULL;
	int err;

	m.time_s = clock_wall_ms() / 1000;
	clock_format(clock_wall_ms(), made);
	export_part_names(x->parts, true, &parts);
	buf_printf(&text,
		"# Made by isobar export; isobar import reads it. Holds passwords and keys.\n"
		"format: %d\nisobar: %s\nmade: %s\nstate: %s\nbyte_order: %s\n"
		"journal_format: %d\nsession_format: %u\nparts: [%.*s]\ncentre_id: ",
		BACKUP_FORMAT, ISOBAR_VERSION, made, x->is_running ? "running" : "stopped",
		byte_order(), JOURNAL_FORMAT, ROW_VERSION, VIEW_ARG(buf_view(&parts)));
	buf_json_string(&text, view_of(c->centre_id));
	if (file && x->parts[PART_CONFIGURATION]) {
		buf_text(&text, "\nconfiguration: ");
		buf_json_string(&text, view_of(basename(file)));
	}
	buf_text(&text, "\n");
	err = backup_put(&x->out, &m, buf_view(&text));
	free(file);
	buf_fini(&text);
	buf_fini(&parts);
	return err;
}

/* --- data_dir --------------------------------------------------------- */

/* Parts that have their own way, what is made anew, and what was put aside. */
static bool is_passed_over(const char *name)
{
	static const char *const own[] = {
		"journal", "sessions", "retained", "snapshot", "control", "import.new", "opening"};

	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
		if (strcmp(name, own[i]) == 0)
			return true;
	}
	return name[0] == '.' || strncmp(name, "replaced-", 9) == 0 ||
	       strstr(name, ".damaged-") != NULL;
}

static int put_segment_file(void *context, const char *name, int fd, uint64_t bytes)
{
	const struct segments *of = context;
	char *called = mem_printf("%s/%s", of->name, name);
	char *path = mem_printf("%s/%s", of->path, name);
	int err = put_fd(of->of, called, path, fd, bytes);

	free(path);
	free(called);
	return err;
}

static int put_segments(struct export *x, const char *name, const char *path, uint64_t since_ms,
	struct carry_figures *figures)
{
	struct segments of = {x, name, path};
	struct carry_rules rules = {since_ms, put_segment_file, &of};

	free(x->at);
	x->at = mem_text(path);
	x->is_read = true;
	return journal_carry(path, &rules, figures);
}

static bool has(const char *folder, const char *file)
{
	char *path = mem_printf("%s/%s", folder, file);
	bool is_there = access(path, F_OK) == 0;

	free(path);
	return is_there;
}

static int put_folder(struct export *x, const char *name, const char *path, int depth);

/* A journal of its own is read like the large one; a database that somebody writes cannot be. */
static int put_inner(struct export *x, const char *name, const char *path, int depth)
{
	struct carry_figures ignored;

	if (has(path, "lock"))
		return put_segments(x, name, path, 0, &ignored);
	if (!x->is_running || !has(path, "data.mdb"))
		return depth ? put_folder(x, name, path, depth - 1) : 0;
	buf_printf(&x->files.outside, "%s (stop the broker to have it)\n", path);
	return 0;
}

static bool is_same(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* The archive itself, or the one that it will replace, may lie in data_dir. */
static bool is_archive(const struct export *x, const struct stat *st)
{
	struct stat other;

	return (fstat(x->out.fd, &other) == 0 && is_same(st, &other)) ||
	       (stat(x->target, &other) == 0 && is_same(st, &other));
}

static int put_entry(
	struct export *x, const char *name, const char *path, int depth, bool is_folder)
{
	struct stat st;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : ERR_SYSTEM;
	if (S_ISREG(st.st_mode) && !is_folder)
		return is_archive(x, &st) ? 0 : put_path(x, name, path);
	return S_ISDIR(st.st_mode) && is_folder ? put_inner(x, name, path, depth) : 0;
}

/* Files first: a position in a journal goes before it. */
static int put_folder(struct export *x, const char *name, const char *path, int depth)
{
	struct dirent **entries = NULL;
	int n = scandir(path, &entries, NULL, alphasort);
	int err = 0;

	for (int i = 0; i < 2 * n; i++) {
		const char *entry = entries[i % n]->d_name;
		char *at = mem_printf("%s/%s", path, entry);
		char *called = mem_printf("%s/%s", name, entry);

		if (err == 0 && !is_passed_over(entry))
			err = put_entry(x, called, at, depth, i >= n);
		free(called);
		free(at);
	}
	for (int i = 0; i < n; i++)
		free(entries[i]);
	free(entries);
	return err;
}

/* The files of a store: from its folder, or the copy that the broker made. */
static int put_store(struct export *x, const char *store)
{
	static const char *const names[] = {"recent.0", "recent.1", "data.mdb"};
	int err = 0;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && err == 0; i++) {
		char *path = mem_printf("%s/%s%s/%s", x->config->data_dir,
			x->is_running ? "snapshot/" : "", store, names[i]);
		char *name = mem_printf("data/%s/%s", store, names[i]);

		err = put_path(x, name, path);
		if (x->is_running)
			unlink(path);
		free(name);
		free(path);
	}
	return err;
}

static int put_journal(struct export *x)
{
	char *dir = mem_printf("%s/journal", x->config->data_dir);
	uint64_t now = clock_wall_ms(), since_ms = 0;
	int err;

	if (!x->parts[PART_MESSAGES]) /* but what a second ago was retained may have no row yet */
		since_ms = x->is_running ? now - RECENT_MS : UINT64_MAX;
	else if (x->since_ms != UINT64_MAX)
		since_ms = now > x->since_ms ? now - x->since_ms : 0;
	err = put_segments(x, "data/journal", dir, since_ms, &x->journal);
	free(dir);
	return err;
}

static int put_all(struct export *x)
{
	int err = put_manifest(x);

	for (uint32_t i = 0; i < x->files.count && err == 0; i++)
		err = put_path(x, x->files.at[i].name, x->files.at[i].path);
	if (err == 0 && x->parts[PART_SESSIONS])
		err = put_store(x, "sessions");
	if (err == 0 && x->parts[PART_RETAINED])
		err = put_store(x, "retained");
	if (err == 0)
		err = put_folder(x, "data", x->config->data_dir, FOLDERS_DEPTH);
	if (err == 0)
		err = put_journal(x);
	return err ? err : backup_finish(&x->out);
}

/* --- who else is at it ------------------------------------------------ */

/* Of a descriptor, until it is closed. */
static bool lock(int fd)
{
	return fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0;
}

static int refuse(const char *what, const char *why)
{
	fprintf(stderr, "isobar export: %s: %s\n", what, why);
	return CLI_ENVIRONMENT;
}

/* The broker that runs copies its stores; one export at a time may ask it. */
static int ask_for_snapshot(struct export *x)
{
	if (!lock(x->data))
		return refuse(x->config->data_dir,
			errno == EWOULDBLOCK ? "another export is being made" : strerror(errno));
	return control_ask(
		x->config, "export", json_pack("{s:s}", "order", "snapshot"), NULL, NULL);
}

/* Runs: its copies are there. Does not: it cannot start. */
static int settle(struct export *x)
{
	int fd;

	x->data = open(x->config->data_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (x->data < 0)
		return refuse(x->config->data_dir, strerror(errno));
	fd = control_connect(x->config->data_dir);
	x->is_running = fd >= 0;
	if (fd >= 0) {
		close(fd);
		return ask_for_snapshot(x);
	}
	x->lock = openat(x->data, "journal/lock", O_RDWR | O_CLOEXEC);
	if (lock(x->lock))
		return CLI_DONE;
	if (errno == ENOENT)
		return refuse(x->config->data_dir, "no broker has run here: there is no journal");
	return refuse(x->config->data_dir, errno == EWOULDBLOCK
						   ? "a broker is starting or stopping, or runs "
						     "under another user; try again"
						   : strerror(errno));
}

/* --- the file --------------------------------------------------------- */

static int tell_failure(const struct export *x, int err)
{
	if (err == ERR_TOPIC)
		fprintf(stderr,
			"isobar export: %s: cannot go along: its name is too long, or has other "
			"characters than letters, digits and ._-+@=,~; --without its part is a "
			"way\n",
			x->at ? x->at : "?");
	else if (err == ERR_SYSTEM)
		fprintf(stderr, "isobar export: %s: %s\n", x->is_read && x->at ? x->at : x->target,
			strerror(errno));
	else
		fprintf(stderr, "isobar export: %s: %s\n", x->at ? x->at : "?",
			err == ERR_CORRUPT ? "became shorter while it was read" : err_text(err));
	return CLI_ENVIRONMENT;
}

static void tell_figures(const struct export *x)
{
	struct view rest = buf_view(&x->files.outside);

	while (rest.n) {
		struct view path = view_cut(&rest, '\n');

		fprintf(stderr, "isobar export: left out: %.*s\n", VIEW_ARG(path));
	}
	if (x->journal.damaged)
		fprintf(stderr, "isobar export: %u damaged segments of the journal left out\n",
			x->journal.damaged);
	fprintf(stderr,
		"isobar export: %s: %llu bytes; messages %llu to %llu, %llu identities, of a "
		"broker "
		"that %s\n",
		x->target, (unsigned long long)x->out.bytes, (unsigned long long)x->journal.head,
		(unsigned long long)x->journal.tail, (unsigned long long)x->journal.identities,
		x->is_running ? "runs" : "does not run");
	fprintf(stderr, "isobar export: it holds passwords and keys: keep it as you keep those\n");
}

static int write_to(struct export *x, int fd)
{
	int err;

	backup_out_init(&x->out, fd);
	err = put_all(x);
	if (err)
		return tell_failure(x, err);
	return CLI_DONE;
}

/* Under its name only once it is whole. */
static int write_file(struct export *x)
{
	char *part = mem_printf("%s.part", x->target);
	int fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	int status;

	if (fd < 0 || fchmod(fd, 0600) < 0) {
		status = refuse(part, strerror(errno));
	} else {
		status = write_to(x, fd);
		if (status == CLI_DONE && (fsync(fd) < 0 || rename(part, x->target) < 0))
			status = refuse(x->target, strerror(errno));
		if (status)
			unlink(part);
	}
	if (fd >= 0)
		close(fd);
	free(part);
	return status;
}

static int write_out(struct export *x)
{
	if (strcmp(x->target, "-") != 0)
		return write_file(x);
	x->target = "standard output";
	if (!isatty(STDOUT_FILENO))
		return write_to(x, STDOUT_FILENO);
	fprintf(stderr, "isobar export: standard output is a terminal; name a file, or a pipe\n");
	return CLI_USAGE;
}

/* --- the command ------------------------------------------------------ */

/* A broker runs on what it has read: faults made since are told, and gone over. */
static int load(struct export *x)
{
	struct buf faults = {0};

	if (config_load(x->file, &x->config, &faults) < 0)
		fwrite(buf_bytes(&faults), 1, buf_length(&faults), stderr);
	buf_fini(&faults);
	if (x->config->data_dir && (x->config->file == NULL || access(x->config->file, R_OK) == 0))
		return CLI_DONE;
	return CLI_USAGE;
}

static int run(struct export *x)
{
	int status = load(x);

	if (status == CLI_DONE)
		status = settle(x);
	if (status)
		return status;
	export_files_collect(&x->files, x->config, x->parts);
	status = write_out(x);
	if (status == CLI_DONE)
		tell_figures(x);
	return status;
}

int cli_export(int argc, char **argv)
{
	struct export x = {.since_ms = UINT64_MAX, .lock = -1, .data = -1};
	int at = arguments_read(&table, argc, argv, &x);
	int status = CLI_USAGE;

	if (at < 0)
		return arguments_status(at);
	if (argc - at != 1)
		fprintf(stderr, "isobar export: one file, or -; see isobar export --help\n");
	else if (export_parts("export", &x.without, x.parts)) {
		x.target = argv[at];
		status = run(&x);
	}
	backup_out_fini(&x.out);
	export_files_fini(&x.files);
	config_free(x.config);
	free(x.at);
	if (x.lock >= 0)
		close(x.lock);
	if (x.data >= 0)
		close(x.data);
	return status;
}
