/* cli/config.c - the configuration as a whole: main file, accounts, sources, what must fit together
 *
 *     main file --> struct config --> accounts file, sources folder --> certificates can be loaded
 *
 * All files are read even when the first has faults, so that one run of `isobar check` tells
 * everything. Names of files that are defaults may be absent; names that were written may not.
 */
#include "cli/config.h"

#include <errno.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/error.h"
#include "base/mem.h"
#include "cli/config_keys.h"
#include "cli/hierarchy_files.h"
#include "net/tls.h"

#define DATA_DIR_WITHOUT_FILE "./isobar-data"
#define WORKERS_MOST 256

/* --- parts of the main file ------------------------------------------- */

static void add_default_listeners(struct config *c)
{
	struct view rest = view_of(config_key_find(SECTION_CONFIG, "listeners")->fallback);
	const char *why;

	while (rest.p) {
		struct config_listener l = {.text = mem_text_of(view_cut(&rest, ' '))};

		if (url_parse(view_of(l.text), &l.url, &why) < 0) {
			config_listener_fini(&l);
			continue;
		}
		c->listeners = mem_resize(c->listeners, (c->listener_count + 1) * sizeof(l));
		c->listeners[c->listener_count++] = l;
	}
}

static void set_defaults(struct config *c)
{
	gate_settings_default(&c->checks);
	config_defaults(SECTION_CONFIG, c);
}

static void resolve_workers(struct config *c)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	if (c->workers == 0)
		c->workers = cores < 1 ? 1 : cores > WORKERS_MOST ? WORKERS_MOST : (uint32_t)cores;
}

/* The disk that holds data_dir, which may not be there yet: then its nearest parent. */
static void resolve_share(struct config *c)
{
	struct statvfs disk;
	char *path = mem_text(c->data_dir);
	int found = statvfs(path, &disk);

	while (found < 0 && strcmp(path, "/") != 0 && strcmp(path, ".") != 0) {
		char *parent = mem_text(dirname(path));

		free(path);
		path = parent;
		found = statvfs(path, &disk);
	}
	free(path);
	if (found == 0)
		c->journal_size_bytes =
			(uint64_t)disk.f_blocks * disk.f_frsize / 100 * c->journal_size_percent;
}

/* The default folder of sources stands beside the file as well. */
static void move_sources_dir(const struct config_reader *r, struct config *c)
{
	char *name = c->sources_dir;

	c->sources_dir = config_path(r->folder, name);
	free(name);
}

static bool is_repeated(const struct config *c, uint32_t number)
{
	for (uint32_t i = 0; i < number; i++)
		if (strcmp(c->catalogues[i], c->catalogues[number]) == 0)
			return true;
	return false;
}

static void judge_catalogues(
	const struct config_reader *r, const struct yaml *root, const struct config *c)
{
	const struct yaml *at = config_find(root, "metadata");

	if (c->catalogue_count > BOOK_LISTS_MOST)
		config_fault(r, at, "metadata.catalogues", "are %u; at most %u are taken",
			c->catalogue_count, BOOK_LISTS_MOST);
	for (uint32_t i = 1; i < c->catalogue_count; i++)
		if (is_repeated(c, i))
			config_fault(r, at, "metadata.catalogues",
				"names the same address twice; each once is right");
}

/* What a shadow claims where others look, they do not publish; what it puts into a log that others
 * follow, they do. */
static void judge_shadow(
	const struct config_reader *r, const struct yaml *root, const struct config *c)
{
	const struct yaml *shared = config_find(config_find(root, "antiloop"), "compatible");

	if (!c->shadow)
		return;
	if (shared && shared->kind == YAML_SCALAR && strcmp(shared->text, "no") != 0)
		config_fault(r, shared, "antiloop.compatible",
			"shares a duplicate filter, and claims of a broker in shadow would hold "
			"messages back from all; no is right with shadow: yes");
	if (c->cluster.redis_count)
		config_fault(r, config_find(root, "cluster"), "cluster",
			"has a log that other nodes deliver from, and a broker in shadow publishes "
			"nothing; leave cluster out with shadow: yes");
}

/* The filter lies in the cluster's Redis. */
static void judge_compatible(
	const struct config_reader *r, const struct yaml *root, const struct config *c)
{
	if (c->compatible && config_find(root, "cluster") == NULL)
		config_fault(r, config_find(config_find(root, "antiloop"), "compatible"),
			"antiloop.compatible",
			"shares the duplicate filter in the antiloop's Redis Cluster, and there is "
			"no "
			"cluster section; cluster: {redis: [...]} with that one's addresses, or "
			"no, is "
			"right");
}

struct yaml *config_read_main(struct config_reader *r, struct view text, struct config *out)
{
	struct yaml *root = yaml_read(text, r->file, r->faults);

	set_defaults(out);
	config_read_map(r, SECTION_CONFIG, "", root, out);
	out->limits.loopback_leaves_any =
		config_find(config_find(root, "limits"), "sessions_per_address") == NULL;
	out->tls_written = config_find(config_find(root, "tls"), "certificate") ||
			   config_find(config_find(root, "tls"), "key");
	if (config_find(root, "listeners") == NULL)
		add_default_listeners(out);
	if (config_find(root, "sources") == NULL)
		move_sources_dir(r, out);
	judge_catalogues(r, root, out);
	judge_shadow(r, root, out);
	judge_compatible(r, root, out);
	config_judge_cluster(r, root, out);
	resolve_workers(out);
	if (out->journal_size_percent)
		resolve_share(out);
	return root;
}

/* --- certificates ----------------------------------------------------- */

const char *config_certificate(const struct config *c, const struct config_listener *l)
{
	return l->certificate ? l->certificate : c->tls_certificate;
}

const char *config_key_file(const struct config *c, const struct config_listener *l)
{
	return l->key ? l->key : c->tls_key;
}

const char *config_client_ca(const struct config *c, const struct config_listener *l)
{
	if (!l->client_certificate)
		return NULL;
	return l->client_ca ? l->client_ca : c->tls_client_ca;
}

static bool is_absent(const char *path)
{
	return access(path, F_OK) != 0 && (errno == ENOENT || errno == ENOTDIR);
}

bool config_lacks_certificate(const struct config *c, const struct config_listener *l)
{
	return l->url.tls && !c->tls_written && l->certificate == NULL && l->key == NULL &&
	       is_absent(c->tls_certificate) && is_absent(c->tls_key);
}

static bool is_readable(struct faults *faults, struct place at, const char *path, const char *what)
{
	if (access(path, R_OK) == 0)
		return true;
	fault_add(faults, at, "listeners", "TLS without a %s: cannot read %s: %s; set tls.%s", what,
		path, strerror(errno), what);
	return false;
}

/* Loads what a TLS listener would load, so that a fault shows before anything is served. */
static void judge_listener_tls(
	const struct config *c, const struct config_listener *l, struct faults *faults)
{
	struct place at = {c->file ? c->file : "built-in defaults", l->line, l->column};
	struct tls_server_settings settings = {
		.certificate = config_certificate(c, l),
		.key = config_key_file(c, l),
		.client_ca = config_client_ca(c, l),
		.client_certificate_required = l->client_certificate_required,
	};
	struct tls_context *context = NULL;
	char *why = NULL;

	if (l->client_certificate && settings.client_ca == NULL)
		fault_add(faults, at, "listeners",
			"client certificates without a client_ca; set tls.client_ca");
	if (config_lacks_certificate(c, l)) /* made at start */
		return;
	if (!is_readable(faults, at, settings.certificate, "certificate") ||
		!is_readable(faults, at, settings.key, "key"))
		return;
	if (tls_server_new(&context, &settings, &why) < 0)
		fault_add(faults, at, "listeners",
			"certificate cannot be used: %s; a PEM chain and its key are right", why);
	else
		tls_unref(context);
	free(why);
}

/* --- the other files -------------------------------------------------- */

static void read_accounts(struct config *c, bool written, struct faults *faults)
{
	char *folder = mem_printf("%s", c->accounts_file);
	char *slash = strrchr(folder, '/');
	struct config_reader r = {faults, c->accounts_file, folder, ""};
	struct buf text = {0};
	int err = config_read_file(c->accounts_file, &text);

	if (slash)
		slash[1] = '\0';
	else
		folder[0] = '\0';
	if (err == 0)
		c->accounts = config_read_accounts(&r, buf_view(&text), &c->checks);
	else if (written || errno != ENOENT)
		config_fault(&r, NULL, "accounts_file", "cannot be read: %s; %s", strerror(errno),
			errno == ENOENT ? "`isobar account add USER` makes it"
					: "make it readable");
	if (c->accounts == NULL)
		c->accounts = accounts_public(&c->checks);
	if (text.data)
		explicit_bzero(text.data, text.size);
	buf_fini(&text);
	free(folder);
}

/* A hierarchy that is refused refuses the configuration: at a reload the old one stays in force. */
static void read_hierarchy(struct config *c, const struct yaml *root, struct faults *faults)
{
	struct config_reader r = {faults, c->file ? c->file : "built-in defaults", "", ""};
	struct buf why = {0};

	c->hierarchy = hierarchy_read(c->topic_hierarchy, &why);
	if (c->hierarchy == NULL) {
		c->hierarchy = hierarchy_built_in();
		config_fault(&r, config_find(root, "topic_hierarchy"), "topic_hierarchy",
			"%s cannot be used: %.*s; the tables WMO publishes, in a folder or zip, "
			"can",
			c->topic_hierarchy, VIEW_ARG(buf_view(&why)));
	}
	buf_fini(&why);
}

static void read_others(struct config *c, const struct yaml *root, struct faults *faults)
{
	bool sources_written = config_find(root, "sources") != NULL;

	read_accounts(c, config_find(root, "accounts_file") != NULL, faults);
	read_hierarchy(c, root, faults);
	if (c->file && (sources_written || access(c->sources_dir, F_OK) == 0))
		config_read_sources(c, c->sources_dir, faults);
	c->own_certificate = mem_printf("%s/self-signed/certificate.pem", c->data_dir);
	c->own_key = mem_printf("%s/self-signed/key.pem", c->data_dir);
	for (uint32_t i = 0; i < c->listener_count; i++)
		if (c->listeners[i].url.tls)
			judge_listener_tls(c, &c->listeners[i], faults);
}

/* --- public ----------------------------------------------------------- */

static char *folder_of(const char *file)
{
	const char *slash = strrchr(file, '/');

	return slash ? mem_text_of((struct view){file, (size_t)(slash - file) + 1}) : mem_text("");
}

static void load_file(struct config *c, struct faults *faults)
{
	char *folder = folder_of(c->file);
	struct config_reader r = {faults, c->file, folder, ""};
	struct buf text = {0};
	struct yaml *root;

	if (config_read_file(c->file, &text) < 0) {
		config_fault(
			&r, NULL, "", "cannot be read: %s; name a readable file", strerror(errno));
		set_defaults(c);
		c->hierarchy = hierarchy_built_in();
	} else {
		root = config_read_main(&r, buf_view(&text), c);
		read_others(c, root, faults);
		yaml_free(root);
	}
	if (text.data)
		explicit_bzero(text.data, text.size);
	buf_fini(&text);
	free(folder);
}

bool config_is_readable(const struct config *c)
{
	return c->file == NULL || access(c->file, R_OK) == 0;
}

static void load_built_in(struct config *c, struct faults *faults)
{
	struct config_reader r = {faults, "built-in defaults", "", ""};

	yaml_free(config_read_main(&r, VIEW(""), c));
	free(c->data_dir);
	c->data_dir = mem_text(DATA_DIR_WITHOUT_FILE);
	read_others(c, NULL, faults);
}

/* One that this user may not see is there all the same: what it says counts, not the built-in defaults. */
static bool has_default_file(void)
{
	return access(CONFIG_FILE_DEFAULT, F_OK) == 0 || errno == EACCES;
}

int config_load(const char *file, struct config **out, struct buf *faults)
{
	struct faults list = {faults, 0};
	struct config *c = mem_new(sizeof(*c));

	if (file == NULL && has_default_file())
		file = CONFIG_FILE_DEFAULT;
	c->file = mem_text(file);
	if (file)
		load_file(c, &list);
	else
		load_built_in(c, &list);
	faults_end(&list);
	*out = c;
	return list.count ? ERR_CONFIG : 0;
}

static void free_texts(char **texts, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		free(texts[i]);
	free(texts);
}

static void free_cluster(struct config_cluster *c)
{
	free_texts(c->redis, c->redis_count);
	free_texts(c->roles, c->role_count);
	free(c->tls_ca);
	free(c->node);
	free(c->advertise);
}

void config_listener_copy(struct config_listener *to, const struct config_listener *from)
{
	uint32_t n = from->proxy_network_count;

	*to = *from;
	to->text = mem_text(from->text);
	to->certificate = mem_text(from->certificate);
	to->key = mem_text(from->key);
	to->client_ca = mem_text(from->client_ca);
	to->proxy_networks = mem_new((n + 1) * sizeof(*to->proxy_networks));
	for (uint32_t i = 0; i < n; i++)
		to->proxy_networks[i] = mem_text(from->proxy_networks[i]);
}

void config_listener_fini(struct config_listener *l)
{
	free(l->text);
	free(l->certificate);
	free(l->key);
	free(l->client_ca);
	free_texts(l->proxy_networks, l->proxy_network_count);
	*l = (struct config_listener){0};
}

void config_free(struct config *c)
{
	if (c == NULL)
		return;
	for (uint32_t i = 0; i < c->listener_count; i++)
		config_listener_fini(&c->listeners[i]);
	for (uint32_t i = 0; i < c->source_count; i++)
		source_config_fini(&c->sources[i]);
	for (uint32_t i = 0; i < c->publish_count; i++)
		publish_config_fini(&c->publish[i]);
	free(c->publish);
	free_texts(c->bind, c->bind_count);
	free_cluster(&c->cluster);
	free_texts(c->http_public, c->http_public_count);
	free_texts(c->catalogues, c->catalogue_count);
	free_texts(c->websocket_paths, c->websocket_path_count);
	free_texts(c->websocket_origins, c->websocket_origin_count);
	accounts_unref(c->accounts);
	free(c->listeners);
	free(c->sources);
	free(c->file);
	free(c->centre_id);
	free(c->data_dir);
	free(c->tls_certificate);
	free(c->tls_key);
	free(c->tls_client_ca);
	free(c->own_certificate);
	free(c->own_key);
	free(c->accounts_file);
	hierarchy_unref(c->hierarchy);
	free(c->topic_hierarchy);
	free(c->sources_dir);
	free(c);
}
