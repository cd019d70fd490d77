/* Which sessions may be resumed where and when, and how peers are refused: OpenSSL's own client against a
 * server context, over memory. */
#include "net/tls_tickets.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "base/mem.h"
#include "net/harness_tls.h"
#include "net/tls_context.h"

struct world {
	char folder[32];
	struct identity ca;
	struct identity first;  /* the server's certificate */
	struct identity second; /* and what replaces it */
	struct identity client;
	char ca_and_crl[128]; /* ca, and its list that revokes the client */
};

static struct tls_context *context_new(const struct identity *id, const char *client_ca,
	bool required, struct tls_tickets *tickets)
{
	struct tls_server_settings s = {.certificate = id->certificate_file,
		.key = id->key_file,
		.client_ca = client_ca,
		.client_certificate_required = required,
		.alpn = "mqtt",
		.tickets = tickets};
	struct tls_context *t = NULL;
	char *why = NULL;

	if (tls_server_new(&t, &s, &why) != 0)
		fail_msg("%s", why);
	return t;
}

static int keep_session(SSL *ssl, SSL_SESSION *session)
{
	SSL_SESSION **kept = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));

	SSL_SESSION_free(*kept);
	*kept = session;
	return 1;
}

/* A client that keeps its newest ticket in *kept. */
static SSL_CTX *client_new(SSL_SESSION **kept, const struct identity *id, int version)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

	SSL_CTX_set_app_data(ctx, kept);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT);
	SSL_CTX_sess_set_new_cb(ctx, keep_session);
	SSL_CTX_set_max_proto_version(ctx, version);
	if (id) {
		SSL_CTX_use_certificate(ctx, id->certificate);
		SSL_CTX_use_PrivateKey(ctx, id->key);
	}
	return ctx;
}

enum outcome { FULL, RESUMED, REFUSED };

struct attempt {
	const char *alpn;  /* the wire's form; NULL: none offered */
	const char *name;  /* SNI; NULL: none */
	int server_reason; /* when refused: what the server says */
	int client_reason; /* and what the client hears */
};

/* Steps of both sides in turn; the client reads once so that it gets its ticket. */
static enum outcome shake(SSL *server, SSL *client, struct attempt *a)
{
	char byte;
	int s = 0, c = 0;

	for (int i = 0; i < 10; i++) {
		ERR_clear_error();
		if (c != 1 && (c = SSL_do_handshake(client)) != 1 &&
			SSL_get_error(client, c) == SSL_ERROR_SSL)
			a->client_reason = ERR_GET_REASON(ERR_peek_error());
		if (c == 1 && SSL_read(client, &byte, 1) <= 0 && ERR_peek_error())
			a->client_reason = ERR_GET_REASON(ERR_peek_error());
		ERR_clear_error();
		if (s != 1 && (s = SSL_do_handshake(server)) != 1 &&
			SSL_get_error(server, s) == SSL_ERROR_SSL && a->server_reason == 0)
			a->server_reason = ERR_GET_REASON(ERR_peek_error());
	}
	ERR_clear_error();
	if (s != 1)
		return REFUSED;
	assert_int_equal(SSL_session_reused(server), SSL_session_reused(client));
	return SSL_session_reused(server) ? RESUMED : FULL;
}

static enum outcome attempt(
	struct tls_context *context, SSL_CTX *ctx, SSL_SESSION *with, struct attempt *a)
{
	SSL *server = SSL_new(context->ctx), *client = SSL_new(ctx);
	BIO *left, *right;
	enum outcome outcome;

	BIO_new_bio_pair(&left, 0, &right, 0);
	SSL_set_bio(server, left, left);
	SSL_set_bio(client, right, right);
	SSL_set_accept_state(server);
	SSL_set_connect_state(client);
	if (a->alpn)
		SSL_set_alpn_protos(
			client, (const unsigned char *)a->alpn, (unsigned)strlen(a->alpn));
	if (a->name)
		SSL_set_tlsext_host_name(client, a->name);
	if (with)
		SSL_set_session(client, with);
	outcome = shake(server, client, a);
	SSL_set_shutdown(
		client, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN); /* its session is good */
	SSL_free(server);
	SSL_free(client);
	return outcome;
}

static enum outcome simple(struct tls_context *context, SSL_CTX *ctx, SSL_SESSION *with)
{
	struct attempt a = {.alpn = "\4mqtt"};

	return attempt(context, ctx, with, &a);
}

static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

static void a_ticket_resumes_after_the_certificate_was_replaced(void **state)
{
	struct world *w = *state;
	struct tls_tickets *tickets = tls_tickets_new(1000);
	struct tls_context *old = context_new(&w->first, NULL, false, tickets);
	struct tls_context *new = context_new(&w->second, NULL, false, tickets);
	struct tls_context *stranger = context_new(&w->first, NULL, false, NULL);

	for (int v = 0; v < 2; v++) {
		SSL_SESSION *kept = NULL;
		SSL_CTX *ctx = client_new(&kept, NULL, versions[v]);

		assert_int_equal(simple(old, ctx, NULL), FULL);
		assert_int_equal(simple(stranger, ctx, kept), FULL);
		assert_int_equal(simple(old, ctx, NULL), FULL);
		assert_int_equal(simple(new, ctx, kept), RESUMED);
		SSL_SESSION_free(kept);
		SSL_CTX_free(ctx);
	}
	tls_unref(old);
	tls_unref(new);
	tls_unref(stranger);
	tls_tickets_unref(tickets);
}

static void each_resumption_brings_the_next_ticket(void **state)
{
	struct world *w = *state;
	struct tls_tickets *tickets = tls_tickets_new(0);
	struct tls_context *t = context_new(&w->first, NULL, false, tickets);
	SSL_SESSION *kept = NULL;
	SSL_CTX *ctx = client_new(&kept, NULL, TLS1_3_VERSION);

	assert_int_equal(simple(t, ctx, NULL), FULL);
	for (int i = 0; i < 3; i++) {
		SSL_SESSION *used = kept;

		SSL_SESSION_up_ref(used);
		assert_int_equal(simple(t, ctx, used), RESUMED);
		assert_ptr_not_equal(kept, used);
		SSL_SESSION_free(used);
	}
	SSL_SESSION_free(kept);
	SSL_CTX_free(ctx);
	tls_unref(t);
	tls_tickets_unref(tickets);
}

static void a_key_is_good_for_reading_one_more_period(void **state)
{
	static const struct {
		uint64_t turns[3]; /* when it is asked to change, in periods * 2 */
		enum outcome wanted;
	} rows[] = {
		{{0, 0, 1}, RESUMED},
		{{0, 0, 2}, RESUMED},
		{{0, 2, 3}, RESUMED},
		{{0, 2, 4}, FULL},
	};
	struct world *w = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (int v = 0; v < 2; v++) {
			struct tls_tickets *tickets = tls_tickets_new(0);
			struct tls_context *t = context_new(&w->first, NULL, false, tickets);
			SSL_SESSION *kept = NULL;
			SSL_CTX *ctx = client_new(&kept, NULL, versions[v]);

			assert_int_equal(simple(t, ctx, NULL), FULL);
			for (int n = 0; n < 3; n++)
				tls_tickets_turn(tickets, rows[i].turns[n] * TLS_TICKET_KEY_MS / 2);
			if (simple(t, ctx, kept) != rows[i].wanted)
				fail_msg("row %zu, version %d", i, v);
			SSL_SESSION_free(kept);
			SSL_CTX_free(ctx);
			tls_unref(t);
			tls_tickets_unref(tickets);
		}
	}
}

/* Otherwise a ticket of an open listener would open one that wants a certificate. */
static void a_ticket_is_worth_nothing_where_clients_are_judged_otherwise(void **state)
{
	struct world *w = *state;
	struct tls_tickets *tickets = tls_tickets_new(0);
	struct tls_context *open = context_new(&w->first, NULL, false, tickets);
	struct tls_context *asks = context_new(&w->first, w->ca.certificate_file, false, tickets);
	struct tls_context *requires =
		context_new(&w->first, w->ca.certificate_file, true, tickets);
	struct tls_context *revokes = context_new(&w->first, w->ca_and_crl, true, tickets);

	for (int v = 0; v < 2; v++) {
		SSL_SESSION *kept = NULL, *with = NULL;
		SSL_CTX *nobody = client_new(&kept, NULL, versions[v]);
		SSL_CTX *somebody = client_new(&with, &w->client, versions[v]);

		assert_int_equal(simple(open, nobody, NULL), FULL);
		assert_int_equal(simple(requires, nobody, kept), REFUSED);
		assert_int_equal(simple(asks, nobody, NULL), FULL);
		assert_int_equal(simple(requires, nobody, kept), REFUSED);
		assert_int_equal(simple(requires, somebody, NULL), FULL);
		assert_int_equal(simple(requires, somebody, with), RESUMED);
		assert_int_equal(simple(revokes, somebody, with), REFUSED);
		SSL_SESSION_free(kept);
		SSL_SESSION_free(with);
		SSL_CTX_free(nobody);
		SSL_CTX_free(somebody);
	}
	tls_unref(open);
	tls_unref(asks);
	tls_unref(requires);
	tls_unref(revokes);
	tls_tickets_unref(tickets);
}

static void a_revoked_client_is_refused_with_the_reason(void **state)
{
	struct world *w = *state;
	struct tls_context *t = context_new(&w->first, w->ca_and_crl, false, NULL);
	SSL_SESSION *kept = NULL;
	SSL_CTX *revoked = client_new(&kept, &w->client, TLS1_3_VERSION);
	SSL_CTX *good = client_new(&kept, &w->second, TLS1_3_VERSION);
	SSL_CTX *nobody = client_new(&kept, NULL, TLS1_3_VERSION);
	struct attempt a = {.alpn = "\4mqtt"};

	assert_int_equal(attempt(t, revoked, NULL, &a), REFUSED);
	assert_int_equal(a.client_reason, SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED);
	assert_int_equal(simple(t, good, NULL), FULL);
	assert_int_equal(simple(t, nobody, NULL), FULL);
	SSL_SESSION_free(kept);
	SSL_CTX_free(revoked);
	SSL_CTX_free(good);
	SSL_CTX_free(nobody);
	tls_unref(t);
}

static void another_protocol_is_refused_and_any_name_is_served(void **state)
{
	static const struct {
		const char *alpn, *name;
		enum outcome wanted;
	} rows[] = {
		{NULL, NULL, FULL},
		{"\4mqtt", "a.example.org", FULL},
		{"\2h2\4mqtt", "anything", FULL},
		{"\2h2", NULL, REFUSED},
		{"\x8http/1.1", "a.example.org", REFUSED},
	};
	struct world *w = *state;
	struct tls_context *t = context_new(&w->first, NULL, false, NULL);
	SSL_SESSION *kept = NULL;
	SSL_CTX *ctx = client_new(&kept, NULL, TLS1_3_VERSION);

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct attempt a = {.alpn = rows[i].alpn, .name = rows[i].name};

		if (attempt(t, ctx, NULL, &a) != rows[i].wanted)
			fail_msg("row %zu", i);
		if (rows[i].wanted == REFUSED)
			assert_int_equal(
				a.client_reason, SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL);
	}
	SSL_SESSION_free(kept);
	SSL_CTX_free(ctx);
	tls_unref(t);
}

static void write_revocations(struct world *w)
{
	X509_CRL *crl = X509_CRL_new();
	X509_REVOKED *entry = X509_REVOKED_new();
	ASN1_TIME *from = X509_gmtime_adj(NULL, -DAY), *to = X509_gmtime_adj(NULL, DAY);
	FILE *f = fopen(w->ca_and_crl, "w");

	X509_CRL_set_version(crl, X509_CRL_VERSION_2);
	X509_CRL_set_issuer_name(crl, X509_get_subject_name(w->ca.certificate));
	X509_CRL_set1_lastUpdate(crl, from);
	X509_CRL_set1_nextUpdate(crl, to);
	X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(w->client.certificate));
	X509_REVOKED_set_revocationDate(entry, from);
	X509_CRL_add0_revoked(crl, entry);
	X509_CRL_sign(crl, w->ca.key, EVP_sha256());
	assert_non_null(f);
	PEM_write_X509_CRL(f, crl);
	PEM_write_X509(f, w->ca.certificate);
	fclose(f);
	X509_CRL_free(crl);
	ASN1_TIME_free(from);
	ASN1_TIME_free(to);
}

static int set_up(void **state)
{
	struct world *w = mem_new(sizeof(*w));

	snprintf(w->folder, sizeof(w->folder), "/tmp/net-tickets-%s",
		"XX"
		"XX"
		"XX");
	assert_non_null(mkdtemp(w->folder));
	identity_make(&w->ca, w->folder, "ca", NULL, 100 * DAY, NULL, false);
	identity_make(&w->first, w->folder, "first", "DNS:localhost", DAY, &w->ca, false);
	identity_make(&w->second, w->folder, "second", "DNS:localhost", DAY, &w->ca, false);
	identity_make(&w->client, w->folder, "client", "DNS:client", DAY, &w->ca, false);
	snprintf(w->ca_and_crl, sizeof(w->ca_and_crl), "%s/crl.pem", w->folder);
	write_revocations(w);
	*state = w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;

	unlink(w->ca_and_crl);
	identity_free(&w->ca);
	identity_free(&w->first);
	identity_free(&w->second);
	identity_free(&w->client);
	rmdir(w->folder);
	free(w);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_ticket_resumes_after_the_certificate_was_replaced),
		cmocka_unit_test(each_resumption_brings_the_next_ticket),
		cmocka_unit_test(a_key_is_good_for_reading_one_more_period),
		cmocka_unit_test(a_ticket_is_worth_nothing_where_clients_are_judged_otherwise),
		cmocka_unit_test(a_revoked_client_is_refused_with_the_reason),
		cmocka_unit_test(another_protocol_is_refused_and_any_name_is_served),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
