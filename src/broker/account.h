/* broker/account.h - who may connect, read and write
 *
 * Accounts are immutable once loaded; a reload makes a new set. Without an accounts file there is
 * one: everyone/everyone, read-only on origin/a/wis2/#, cache/a/wis2/#, monitor/a/wis2/# (GB-25 to
 * GB-28).
 *
 * Threads: any; the set is reference-counted.
 */
#ifndef BROKER_ACCOUNT_H
#define BROKER_ACCOUNT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/view.h"
#include "commit/gate.h"

struct account {
	char *user;          /* NULL: the anonymous one */
	char *password;      /* public password, compared directly; NULL: none */
	char *password_hash; /* crypt(5), "$y$..."; NULL: none */
	char *certificate; /* subject of a client certificate that stands for it: a common name, or
	                      * with `=` in it a whole subject as of RFC 2253; NULL: none */
	char **read;       /* filters, %u and %c replaced at use */
	uint32_t read_count;
	char **write;
	uint32_t write_count;
	char **deny;
	uint32_t deny_count;
	char **pages; /* words of admin/page.def: what it may see over HTTP without being an admin */
	uint32_t page_count;
	bool admin;                 /* reads everything, $SYS/# too, and sees all pages */
	uint8_t max_qos;            /* subscribe grants at most this */
	uint64_t session_expiry_ms; /* longest kept; UINT64_MAX: the broker's limit */
	uint64_t replay_ms;         /* how far back it may replay; 0: not at all */
	uint64_t backlog;     /* messages a session may lag; 0: as far as the journal reaches */
	uint32_t in_flight;   /* 0: the broker's limit */
	uint32_t connections; /* 0: no limit */
	uint64_t messages_per_second; /* 0: no limit */
	uint64_t bytes_per_second;    /* 0: no limit */
	struct throttle *throttle;    /* of the two rates, made by accounts_new(); NULL: no limit */
	bool address_scope;           /* client_id_scope: address */
	uint16_t number; /* as publisher in the journal: 0x8000 and up, sources are below */
	struct gate_policy policy; /* what it publishes passes this gate */
};
/* What holds for a key that an accounts file leaves out: no rights, QoS 2, the broker's session
 * expiry, 24 h of replay; no strings set. */
void account_default(struct account *a);
void account_fini(struct account *a);

struct accounts {
	_Atomic uint32_t refs;
	struct account *list;
	uint32_t count;
};
#define ACCOUNTS_MOST 4096u
/* Takes list (from mem_new(), policies compiled) and numbers it; one reference. At most
 * ACCOUNTS_MOST. */
struct accounts *accounts_new(struct account *list, uint32_t count);
/* everyone/everyone, one reference. */
struct accounts *accounts_public(const struct gate_settings *checks);
struct accounts *accounts_ref(struct accounts *a);
void accounts_unref(struct accounts *a);

/* The account of this name (has_user false: the anonymous one), or NULL. */
const struct account *accounts_find(const struct accounts *a, bool has_user, struct view user);

/* The user name of the account with this number; "" for none. */
struct view accounts_name(const struct accounts *a, uint16_t number);

/* The account that names the subject of a verified client certificate, or NULL. A common name never
 * stands for a whole subject, whatever characters it has. */
const struct account *accounts_find_certificate(
	const struct accounts *a, struct view subject, struct view common_name);
/* Does such a name mean a whole subject? */
bool account_is_subject(const char *certificate);

/* Is the filter wholly inside what the account may read, and not wholly denied? / may it publish
 * to this topic? A user name or client identifier that is empty or holds + # / never widens a
 * filter: a right whose %u or %c it would fill is not given. */
bool account_may_read(const struct account *a, struct view client_id, struct view filter);
bool account_may_write(const struct account *a, struct view client_id, struct view topic);
/* Taken out of both by `deny`, which has no placeholders. */
bool account_is_denied(const struct account *a, struct view topic);

#endif
