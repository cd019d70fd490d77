/* Which handshakes succeed, and what the log is told about those that do not. */
#include "net/tls.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

#include "base/error.h"
#include "base/mem.h"
#include "net/conn.h"
#include "net/harness_tls.h"
#include "net/tls_context.h"

struct world {
	char folder[32];
	struct identity ca;
	struct identity other_ca;
	struct identity good;    /* localhost, 127.0.0.1; by ca */
	struct identity expired; /* localhost; by ca */
	struct identity wild;    /* *.example.org */
	struct identity rsa;     /* localhost; RSA */
	struct identity client;  /* "client-7" */
};

struct end {
	struct conn conn;
	int opened, closed, err;
	size_t got;
	char why[256];
	char name[32];
};

struct pair {
	struct loop *loop;
	struct end server, client;
};

static void on_open(struct conn *c)
{
	struct end *e = container_of(c, struct end, conn);

	e->opened++;
	conn_peer_name(c, e->name, sizeof(e->name));
	conn_push(c, "hello", 5);
}

static ssize_t on_bytes(struct conn *c, const uint8_t *p, size_t n)
{
	struct end *e = container_of(c, struct end, conn);

	(void)p;
	e->got += n;
	return (ssize_t)n;
}

static void on_close(struct conn *c, int err, const char *why)
{
	struct end *e = container_of(c, struct end, conn);

	e->closed++;
	e->err = err;
	snprintf(e->why, sizeof(e->why), "%s", why);
}

static const struct conn_handler handler = {on_open, on_bytes, NULL, on_close};

/* Both have got the other's hello, or both are closed. */
static bool decided(void *context)
{
	struct pair *p = context;

	return (p->server.got && p->client.got) || (p->server.closed && p->client.closed);
}

static bool both_closed(void *context)
{
	struct pair *p = context;

	return p->server.closed && p->client.closed;
}

static struct address connect_pair(
	struct pair *p, struct tls_context *server, struct tls_context *client, const char *name)
{
	struct address at;
	int listening = listen_on_loopback(&at), fd;

	p->loop = loop_new();
	assert_int_equal(
		conn_open(&p->client.conn, p->loop, &at, NULL, client, name, NULL, &handler), 0);
	fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	assert_int_equal(
		conn_accept(&p->server.conn, p->loop,
			&(struct arrival){.fd = fd, .peer = &at, .tls = server}, NULL, &handler),
		0);
	close(listening);
	return at;
}

static void finish(struct pair *p)
{
	conn_close(&p->client.conn, 0, NULL);
	if (!both_closed(p))
		drive_until(p->loop, both_closed, p);
	assert_int_equal(p->server.closed, 1);
	assert_int_equal(p->client.closed, 1);
	loop_free(p->loop);
}

/* Takes the contexts. */
static void handshake(
	struct pair *p, struct tls_context *server, struct tls_context *client, const char *name)
{
	*p = (struct pair){0};
	connect_pair(p, server, client, name);
	drive_until(p->loop, decided, p);
	tls_unref(server);
	tls_unref(client);
}

static void certificates_are_verified_and_faults_named(void **state)
{
	struct world *w = *state;
	const struct {
		const struct identity *server;
		const struct identity *ca; /* NULL: not verified */
		const char *name;
		const char *why; /* NULL: good */
	} rows[] = {
		{&w->good, &w->ca, "localhost", NULL},
		{&w->good, &w->ca, "127.0.0.1", NULL},
		{&w->good, &w->ca, "127.0.0.2", "IP address mismatch"},
		{&w->good, &w->ca, "elsewhere.example", "hostname mismatch"},
		{&w->wild, &w->ca, "a.example.org", NULL},
		{&w->wild, &w->ca, "a.b.example.org", "hostname mismatch"},
		{&w->expired, &w->ca, "localhost", "certificate has expired"},
		{&w->good, &w->other_ca, "localhost", "unable to get local issuer certificate"},
		{&w->expired, NULL, "elsewhere.example", NULL},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct tls_client_settings c = {.verify = rows[i].ca != NULL,
			.ca = rows[i].ca ? rows[i].ca->certificate_file : NULL};
		struct pair p;

		handshake(&p, server_context(rows[i].server, NULL, false), client_context(&c),
			rows[i].name);
		if ((rows[i].why == NULL) != (p.client.opened == 1))
			fail_msg("row %zu: %s", i, p.client.why);
		if (rows[i].why) {
			assert_int_equal(p.client.err, ERR_TLS);
			assert_string_equal(p.client.why, rows[i].why);
			assert_int_equal(p.server.got, 0);
			assert_int_equal(p.server.err, ERR_TLS); /* told by an alert */
		}
		finish(&p);
	}
}

static void client_certificates_are_asked_for_as_configured(void **state)
{
	struct world *w = *state;
	const struct {
		bool asked, required;
		const struct identity *client;
		bool good;
		const char *name;
	} rows[] = {
		{true, false, NULL, true, ""},
		{true, true, NULL, false, ""},
		{true, true, &w->client, true, "client-7"},
		{true, false, &w->client, true, "client-7"},
		{true, false, &w->other_ca, false, ""},
		{false, false, &w->client, true, ""},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct tls_client_settings c = {.verify = true, .ca = w->ca.certificate_file};
		struct tls_context *client = client_context(&c);
		struct pair p;

		if (rows[i].client) {
			SSL_CTX_use_certificate(client->ctx, rows[i].client->certificate);
			SSL_CTX_use_PrivateKey(client->ctx, rows[i].client->key);
		}
		handshake(&p,
			server_context(&w->good, rows[i].asked ? w->ca.certificate_file : NULL,
				rows[i].required),
			client, "localhost");
		if ((p.server.opened == 1) != rows[i].good)
			fail_msg("row %zu: %s / %s", i, p.server.why, p.client.why);
		assert_string_equal(p.server.name, rows[i].name);
		finish(&p);
	}
}

static void versions_and_old_peers_are_met_as_configured(void **state)
{
	struct world *w = *state;
	static const struct {
		int least, most;     /* the server's versions; 0: as configured */
		const char *ciphers; /* the server's */
		const char *max;     /* the client's */
		bool legacy;
		bool good;
	} rows[] = {
		{TLS1_3_VERSION, 0, NULL, NULL, false, true},
		{TLS1_3_VERSION, 0, NULL, "1.2", false, false},
		{0, TLS1_2_VERSION, NULL, "1.2", false, true},
		{0, TLS1_2_VERSION, NULL, NULL, false, true},
		{0, TLS1_2_VERSION, "AES128-SHA:@SECLEVEL=0", NULL, true, true},
		{TLS1_VERSION, TLS1_VERSION, "AES128-SHA:@SECLEVEL=0", NULL, false, false},
		{TLS1_VERSION, TLS1_VERSION, "AES128-SHA:@SECLEVEL=0", NULL, true, true},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct tls_client_settings c = {.verify = true,
			.ca = w->ca.certificate_file,
			.max = rows[i].max,
			.legacy = rows[i].legacy};
		struct tls_context *server = server_context(&w->rsa, NULL, false);
		struct pair p;

		if (rows[i].least)
			SSL_CTX_set_min_proto_version(server->ctx, rows[i].least);
		SSL_CTX_set_max_proto_version(server->ctx, rows[i].most);
		if (rows[i].ciphers)
			assert_int_equal(SSL_CTX_set_cipher_list(server->ctx, rows[i].ciphers), 1);
		handshake(&p, server, client_context(&c), "localhost");
		if ((p.client.opened == 1) != rows[i].good)
			fail_msg("row %zu: %s / %s", i, p.client.why, p.server.why);
		finish(&p);
	}
}

static void what_is_no_tls_is_refused_with_its_reason(void **state)
{
	struct world *w = *state;
	struct tls_context *server = server_context(&w->good, NULL, false);
	struct tls_client_settings c = {.verify = true, .ca = w->ca.certificate_file};
	struct tls_context *client = client_context(&c);
	struct pair p = {0};

	connect_pair(&p, server, NULL, NULL); /* sends hello in clear */
	drive_until(p.loop, both_closed, &p);
	assert_int_equal(p.server.err, ERR_TLS);
	assert_true(p.server.why[0] != '\0');
	assert_int_equal(p.server.opened, 0);
	finish(&p);
	p = (struct pair){0};
	connect_pair(&p, NULL, client, "localhost");
	drive_until(p.loop, both_closed, &p);
	assert_int_equal(p.client.err, ERR_TLS);
	assert_string_equal(p.client.why, "wrong version number");
	finish(&p);
	tls_unref(server);
	tls_unref(client);
}

static void a_peer_that_goes_in_the_handshake_is_a_close(void **state)
{
	struct world *w = *state;
	struct tls_context *server = server_context(&w->good, NULL, false);
	struct address nobody = loopback(1);
	struct pair p = {0};
	int fds[2];

	tcp_pair(fds);
	p.loop = loop_new();
	p.client.closed = 1;
	assert_int_equal(conn_accept(&p.server.conn, p.loop,
				 &(struct arrival){.fd = fds[0], .peer = &nobody, .tls = server},
				 NULL, &handler),
		0);
	assert_int_equal(write(fds[1], "\x16\x03\x01\x02\x00", 5), 5);
	drive_turns(p.loop, 3);
	close(fds[1]);
	drive_until(p.loop, both_closed, &p);
	assert_int_equal(p.server.err, ERR_CLOSED);
	assert_string_equal(p.server.why, "closed in the TLS handshake");
	finish(&p);
	tls_unref(server);
}

static int keep_session(SSL *ssl, SSL_SESSION *session)
{
	SSL_SESSION **kept = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));

	SSL_SESSION_free(*kept);
	*kept = session;
	return 1;
}

/* A blocking client of OpenSSL alone, in steps between the server's turns. */
static bool connect_client(struct pair *p, SSL *ssl, struct tls_context *server)
{
	struct address nobody = loopback(1);
	char byte[8];
	int fds[2];

	tcp_pair(fds);
	*p = (struct pair){.loop = loop_new()};
	p->client.closed = 1;
	assert_int_equal(conn_accept(&p->server.conn, p->loop,
				 &(struct arrival){.fd = fds[0], .peer = &nobody, .tls = server},
				 NULL, &handler),
		0);
	SSL_set_fd(ssl, fds[1]);
	SSL_set_connect_state(ssl);
	for (int i = 0; i < 1000; i++) {
		struct timeval short_time = {0, 1000};

		setsockopt(fds[1], SOL_SOCKET, SO_RCVTIMEO, &short_time, sizeof(short_time));
		drive_turns(p->loop, 2);
		if (SSL_read(ssl, byte, sizeof(byte)) == 5)
			return true;
	}
	return false;
}

static void sessions_are_resumed_and_alpn_is_agreed(void **state)
{
	struct world *w = *state;
	struct tls_context *server = server_context(&w->good, w->ca.certificate_file, false);
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL_SESSION *kept = NULL;
	const unsigned char *chosen;
	unsigned chosen_bytes;

	SSL_CTX_set_app_data(ctx, &kept);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT);
	SSL_CTX_sess_set_new_cb(ctx, keep_session);
	for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
		SSL_CTX_set_max_proto_version(ctx, version);
		for (int round = 0; round < 2; round++) {
			SSL *ssl = SSL_new(ctx);
			struct pair p;

			SSL_set_alpn_protos(ssl, (const unsigned char *)"\1x\4mqtt", 7);
			if (round)
				SSL_set_session(ssl, kept);
			assert_true(connect_client(&p, ssl, server));
			assert_int_equal(SSL_session_reused(ssl), round);
			SSL_get0_alpn_selected(ssl, &chosen, &chosen_bytes);
			assert_int_equal(chosen_bytes, 4);
			assert_memory_equal(chosen, "mqtt", 4);
			SSL_shutdown(ssl);
			close(SSL_get_fd(ssl));
			SSL_free(ssl);
			drive_until(p.loop, both_closed, &p);
			assert_int_equal(p.server.err, ERR_CLOSED);
			finish(&p);
		}
	}
	SSL_SESSION_free(kept);
	SSL_CTX_free(ctx);
	tls_unref(server);
}

static void faulty_settings_name_the_file_and_the_cause(void **state)
{
	struct world *w = *state;
	const struct {
		struct tls_server_settings s;
		const char *what, *cause;
	} rows[] = {
		{{.certificate = "/nowhere.crt", .key = w->good.key_file},
			"/nowhere.crt: ", "No such file"},
		{{.certificate = w->good.key_file, .key = w->good.key_file}, w->good.key_file,
			"PEM"},
		{{.certificate = w->good.certificate_file, .key = "/nowhere.key"},
			"/nowhere.key: ", "No such file"},
		{{.certificate = w->good.certificate_file, .key = w->ca.key_file}, w->ca.key_file,
			"not the key of the certificate in"},
		{{.certificate = w->good.certificate_file,
			 .key = w->good.key_file,
			 .client_ca = "/nowhere.ca"},
			"/nowhere.ca: ", "No such file"},
		{{.certificate = w->good.certificate_file, .key = w->good.key_file, .alpn = "a,,b"},
			"ALPN", "1 to 255"},
	};
	struct tls_client_settings client = {.verify = true, .ca = "/nowhere.ca"};
	struct tls_client_settings version = {.max = "1.1"};
	struct tls_context *t = NULL;
	char *why = NULL;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(tls_server_new(&t, &rows[i].s, &why), ERR_TLS);
		if (strncmp(why, rows[i].what, strlen(rows[i].what)) || !strstr(why, rows[i].cause))
			fail_msg("row %zu: %s", i, why);
		free(why);
	}
	assert_int_equal(tls_client_new(&t, &client, &why), ERR_TLS);
	assert_non_null(strstr(why, "/nowhere.ca: No such file"));
	free(why);
	assert_int_equal(tls_client_new(&t, &version, &why), ERR_TLS);
	assert_non_null(strstr(why, "1.1"));
	free(why);
	assert_null(t);
}

static void the_end_of_validity_is_known(void **state)
{
	struct world *w = *state;
	struct tls_context *t = server_context(&w->good, NULL, false);
	int64_t want = (int64_t)time(NULL) + 10 * DAY;

	assert_in_range(tls_expires(t), want - 600, want);
	assert_ptr_equal(tls_ref(t), t);
	tls_unref(t);
	tls_unref(t);
}

static int set_up(void **state)
{
	struct world *w = mem_new(sizeof(*w));

	strcpy(w->folder, "/tmp/net-tls-"
			  "XX"
			  "XX"
			  "XX");
	assert_non_null(mkdtemp(w->folder));
	identity_make(&w->ca, w->folder, "ca", NULL, 100 * DAY, NULL, false);
	identity_make(&w->other_ca, w->folder, "other-ca", NULL, 100 * DAY, NULL, false);
	identity_make(
		&w->good, w->folder, "good", "DNS:localhost,IP:127.0.0.1", 10 * DAY, &w->ca, false);
	identity_make(&w->expired, w->folder, "expired", "DNS:localhost", -60, &w->ca, false);
	identity_make(&w->wild, w->folder, "wild", "DNS:*.example.org", DAY, &w->ca, false);
	identity_make(&w->rsa, w->folder, "rsa", "DNS:localhost", DAY, &w->ca, true);
	identity_make(&w->client, w->folder, "client-7", "DNS:client", DAY, &w->ca, false);
	*state = w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;

	identity_free(&w->ca);
	identity_free(&w->other_ca);
	identity_free(&w->good);
	identity_free(&w->expired);
	identity_free(&w->wild);
	identity_free(&w->rsa);
	identity_free(&w->client);
	rmdir(w->folder);
	free(w);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(certificates_are_verified_and_faults_named),
		cmocka_unit_test(client_certificates_are_asked_for_as_configured),
		cmocka_unit_test(versions_and_old_peers_are_met_as_configured),
		cmocka_unit_test(what_is_no_tls_is_refused_with_its_reason),
		cmocka_unit_test(a_peer_that_goes_in_the_handshake_is_a_close),
		cmocka_unit_test(sessions_are_resumed_and_alpn_is_agreed),
		cmocka_unit_test(faulty_settings_name_the_file_and_the_cause),
		cmocka_unit_test(the_end_of_validity_is_known),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
