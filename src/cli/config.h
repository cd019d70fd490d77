/* cli/config.h - the configuration file, sources and accounts, as structs of the rooms they are for
 *
 * YAML read with libfyaml; keys come from config.def, so that names, types, defaults, bounds and
 * help stand in one place. Every fault is reported with file:line:column, what is wrong and what
 * would be right; all faults of all files are collected, not only the first.
 */
#ifndef CLI_CONFIG_H
#define CLI_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/log.h"
#include "broker/account.h"
#include "broker/broker.h"
#include "catalogue/book.h"
#include "cluster/cluster.h"
#include "commit/commit.h"
#include "net/address.h"
#include "publish/publish.h"
#include "source/source.h"

#define CONFIG_FILE_DEFAULT "/etc/isobar/isobar.yaml"

struct config_listener {
	struct url url;
	char *text;    /* as written */
	uint32_t line; /* of the file, for faults found at start; 0: default */
	uint32_t column;
	char *certificate; /* per listener, NULL: the global ones */
	char *key;
	char *client_ca;
	bool client_certificate; /* asked for */
	bool client_certificate_required;
	char **proxy_networks; /* of load balancers; none: clients come straight */
	uint32_t proxy_network_count;
};

/* *to gets texts of its own. */
void config_listener_copy(struct config_listener *to, const struct config_listener *from);
/* Frees what it owns; zeroed afterwards. */
void config_listener_fini(struct config_listener *l);

/* `cluster:`; redis_count 0: one machine. */
struct config_cluster {
	char **redis;
	uint32_t redis_count;
	bool tls_verify;
	char *tls_ca; /* NULL: the system's */
	char *node;
	char **roles;
	uint32_t role_count;
	uint32_t replicas;
	uint64_t stream_keep_ms;
	uint64_t stream_bytes;
	char *advertise; /* NULL: none */
	uint8_t acknowledge;
	enum cluster_failure on_failure;
};

struct config {
	char *file; /* NULL: built-in defaults */
	char *centre_id;
	char *data_dir;
	uint32_t workers; /* `auto` resolved to the number of cores */
	struct config_listener *listeners;
	uint32_t listener_count;
	char **http_public;
	uint32_t http_public_count;
	char **websocket_paths;
	uint32_t websocket_path_count;
	char **websocket_origins;
	uint32_t websocket_origin_count;
	char *tls_certificate;
	char *tls_key;
	char *tls_client_ca;
	bool tls_written;      /* tls.certificate or tls.key stand in the file */
	char *own_certificate; /* where one of our own making lies or would */
	char *own_key;
	struct broker_limits limits;
	uint64_t journal_keep_ms;
	uint64_t journal_size_bytes;   /* a share of the disk is resolved when read */
	uint32_t journal_size_percent; /* as written; 0: a size was */
	enum journal_sync journal_sync;
	uint32_t journal_sync_ms;
	uint64_t window_ms;
	uint64_t ids;
	bool compatible; /* antiloop.compatible: wis2gb */
	struct gate_settings checks;
	char *topic_hierarchy;       /* NULL: built-in */
	struct hierarchy *hierarchy; /* what was read there; one reference */
	char **catalogues;           /* at most BOOK_LISTS_MOST, each once */
	uint32_t catalogue_count;
	uint64_t metadata_refresh_ms;
	uint64_t metadata_grace_ms;
	char *sources_dir;
	struct source_config *sources; /* in order of name */
	uint32_t source_count;
	char *accounts_file;
	struct accounts *accounts;      /* one reference */
	struct publish_config *publish; /* each with another name */
	uint32_t publish_count;
	char **bind;
	uint32_t bind_count;
	struct config_cluster cluster;
	bool shadow;
	enum log_level log_level;
	bool log_json;
};

bool config_cluster_differs(const struct config_cluster *a, const struct config_cluster *b);
/* enum cluster_role, or-ed. */
unsigned config_cluster_roles(const struct config_cluster *c);

/* Reads file (NULL: CONFIG_FILE_DEFAULT if it exists, else built-in defaults), its sources
 * folder and accounts file. 0, or ERR_CONFIG with one line per fault appended to faults. *out is
 * to be freed with config_free() in both cases when not NULL. */
int config_load(const char *file, struct config **out, struct buf *faults);
void config_free(struct config *c);

/* The certificate, key and client_ca in force for a TLS listener: its own, else the global ones. */
const char *config_certificate(const struct config *c, const struct config_listener *l);
const char *config_key_file(const struct config *c, const struct config_listener *l);
const char *config_client_ca(const struct config *c, const struct config_listener *l);
/* Has it none: none is configured, and none is in the default place, which is looked at in each call? Then
 * one of our own making serves. */
/* False: its file cannot be read, so its values are defaults, which may be those of another broker. */
bool config_is_readable(const struct config *c);

#define CERTIFICATE_WARN_S (30 * 86400) /* this long before its end people are told */
bool config_lacks_certificate(const struct config *c, const struct config_listener *l);

#endif
