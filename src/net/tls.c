/* net/tls.c - contexts: certificates and settings, made once and then only read
 *
 * Memory of an idle session matters more than a little speed: the server keeps no
 * session cache (tickets carry the state), buffers are released between records.
 */
#include "net/tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/view.h"
#include "net/tls_context.h"
#include "net/tls_tickets.h"

#define ALPN_NAME_LARGEST 255
#define SERVER_SUITES "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
#define CIPHERS_LEGACY "ALL:!aNULL:!eNULL:@SECLEVEL=0"

/* --- texts ------------------------------------------------------------- */

/* "FILE: cause" from the newest fault in OpenSSL's queue, which is emptied. Gives ERR_TLS. */
static int fault(char **why, const char *what)
{
	unsigned long code = ERR_peek_last_error();
	const char *reason = NULL;

	if (ERR_SYSTEM_ERROR(code))
		reason = strerror(ERR_GET_REASON(code));
	else if (code)
		reason = ERR_reason_error_string(code);
	*why = mem_printf("%s: %s", what, reason ? reason : "OpenSSL refused it");
	ERR_clear_error();
	return ERR_TLS;
}

/* OpenSSL's newest fault after a file that is not there says only "system lib"; errno says which. */
static int file_fault(char **why, const char *path)
{
	for (unsigned long code; (code = ERR_peek_error()) != 0; ERR_get_error()) {
		if (!ERR_SYSTEM_ERROR(code))
			continue;
		*why = mem_printf("%s: %s", path, strerror(ERR_GET_REASON(code)));
		ERR_clear_error();
		return ERR_TLS;
	}
	*why = mem_printf("%s: not a PEM file of the right kind", path);
	return ERR_TLS;
}

/* --- parts ------------------------------------------------------------- */

/* A key under a pass phrase is refused: nobody is there to type it. */
static int no_pass_phrase(char *out, int size, int writing, void *context)
{
	(void)out;
	(void)size;
	(void)writing;
	(void)context;
	return -1;
}

/* "mqtt,http/1.1" in the wire's form: each name behind its length. */
static int set_alpn(struct tls_context *t, const char *names, char **why)
{
	struct view rest = view_of(names);

	if (names == NULL)
		return 0;
	t->alpn = mem_new(rest.n + 1);
	while (rest.p) {
		struct view name = view_cut(&rest, ',');

		if (name.n == 0 || name.n > ALPN_NAME_LARGEST) {
			*why = mem_printf("ALPN \"%s\": a name has 1 to 255 bytes", names);
			return ERR_TLS;
		}
		t->alpn[t->alpn_bytes] = (uint8_t)name.n;
		memcpy(t->alpn + t->alpn_bytes + 1, name.p, name.n);
		t->alpn_bytes += (unsigned)name.n + 1;
	}
	return 0;
}

/* Our order counts. Names of which none is ours mean that the peer wants another service: told by
 * no_application_protocol (RFC 7301, section 3.2), as that keeps protocols apart. */
static int select_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_bytes,
	const unsigned char *offered, unsigned offered_bytes, void *context)
{
	const struct tls_context *t = context;
	unsigned char *chosen;

	(void)ssl;
	if (SSL_select_next_proto(&chosen, out_bytes, t->alpn, t->alpn_bytes, offered,
		    offered_bytes) != OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	*out = chosen;
	return SSL_TLSEXT_ERR_OK;
}

static int64_t end_of_validity(const X509 *certificate)
{
	struct tm t;

	if (certificate == NULL || !ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &t))
		return 0;
	return (int64_t)timegm(&t);
}

/* A chain ends with the first of its certificates. */
static int64_t end_of_chain(SSL_CTX *ctx)
{
	int64_t end = end_of_validity(SSL_CTX_get0_certificate(ctx));
	STACK_OF(X509) *above = NULL;

	SSL_CTX_get0_chain_certs(ctx, &above);
	for (int i = 0; i < sk_X509_num(above); i++) {
		int64_t other = end_of_validity(sk_X509_value(above, i));

		end = other < end ? other : end;
	}
	return end;
}

static int load_certificate(struct tls_context *t, const struct tls_server_settings *s, char **why)
{
	if (SSL_CTX_use_certificate_chain_file(t->ctx, s->certificate) != 1)
		return file_fault(why, s->certificate);
	t->expires = end_of_chain(t->ctx);
	if (SSL_CTX_use_PrivateKey_file(t->ctx, s->key, SSL_FILETYPE_PEM) == 1)
		return 0;
	if (ERR_GET_REASON(ERR_peek_last_error()) == X509_R_KEY_VALUES_MISMATCH) {
		*why = mem_printf(
			"%s: not the key of the certificate in %s", s->key, s->certificate);
		ERR_clear_error();
		return ERR_TLS;
	}
	return file_fault(why, s->key);
}

/* Once there are revocation lists, each certificate needs that of its issuer. */
static void heed_revocations(SSL_CTX *ctx)
{
	X509_STORE *store = SSL_CTX_get_cert_store(ctx);
	STACK_OF(X509_OBJECT) *all = X509_STORE_get0_objects(store);

	for (int i = 0; i < sk_X509_OBJECT_num(all); i++)
		if (X509_OBJECT_get_type(sk_X509_OBJECT_value(all, i)) == X509_LU_CRL)
			X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK);
}

/* A session is resumed only where client certificates are judged by the very same file and rule;
 * anywhere else it would bring in a peer that nobody there has verified. */
static int set_session_context(
	struct tls_context *t, const struct tls_server_settings *s, char **why)
{
	uint8_t piece[4096] = {'i', 's', 'o', 'b', 'a', 'r', s->client_certificate_required};
	uint8_t digest[SHA256_DIGEST_LENGTH];
	EVP_MD_CTX *sum = EVP_MD_CTX_new();
	FILE *f = s->client_ca ? fopen(s->client_ca, "re") : NULL;
	size_t n = 7;
	bool done = sum && EVP_DigestInit_ex(sum, EVP_sha256(), NULL) == 1;

	do
		done = done && EVP_DigestUpdate(sum, piece, n) == 1;
	while (f && (n = fread(piece, 1, sizeof(piece), f)) > 0);
	done = done && (s->client_ca == NULL || (f && !ferror(f))) &&
	       EVP_DigestFinal_ex(sum, digest, NULL) == 1 &&
	       SSL_CTX_set_session_id_context(t->ctx, digest, sizeof(digest)) == 1;
	if (f)
		fclose(f);
	EVP_MD_CTX_free(sum);
	return done ? 0 : fault(why, s->client_ca ? s->client_ca : "TLS");
}

static int load_client_ca(struct tls_context *t, const struct tls_server_settings *s, char **why)
{
	STACK_OF(X509_NAME) * names;

	if (s->client_ca == NULL)
		return 0;
	names = SSL_load_client_CA_file(s->client_ca);
	if (names == NULL || SSL_CTX_load_verify_file(t->ctx, s->client_ca) != 1) {
		sk_X509_NAME_pop_free(names, X509_NAME_free);
		return file_fault(why, s->client_ca);
	}
	heed_revocations(t->ctx);
	SSL_CTX_set_client_CA_list(t->ctx, names);
	SSL_CTX_set_verify(t->ctx,
		SSL_VERIFY_PEER |
			(s->client_certificate_required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
		NULL);
	return 0;
}

static struct tls_context *context_new(const SSL_METHOD *method)
{
	struct tls_context *t = mem_new(sizeof(*t));

	atomic_init(&t->refs, 1);
	ERR_clear_error();
	t->ctx = SSL_CTX_new(method);
	t->socket_method = tls_socket_method();
	if (t->ctx == NULL || t->socket_method == NULL) {
		tls_unref(t);
		return NULL;
	}
	SSL_CTX_set_mode(t->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE |
					 SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
					 SSL_MODE_RELEASE_BUFFERS);
	/* Many bytes per read, not a system call for each record's head and another for its body. */
	SSL_CTX_set_read_ahead(t->ctx, 1);
	SSL_CTX_set_min_proto_version(t->ctx, TLS1_2_VERSION);
	/* A peer that closes without a goodbye has closed; lengths are in the protocols above. */
	SSL_CTX_set_options(t->ctx,
		SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_IGNORE_UNEXPECTED_EOF);
	SSL_CTX_set_default_passwd_cb(t->ctx, no_pass_phrase);
	SSL_CTX_set_session_cache_mode(t->ctx, SSL_SESS_CACHE_OFF);
	return t;
}

/* Ends a making: the context to *out, or freed. */
static int finish(struct tls_context *t, int err, struct tls_context **out)
{
	if (err)
		tls_unref(t);
	else
		*out = t;
	return err;
}

/* --- server ------------------------------------------------------------ */

static int set_server(struct tls_context *t, const struct tls_server_settings *s, char **why)
{
	int err = load_certificate(t, s, why);

	if (err == 0)
		err = load_client_ca(t, s, why);
	if (err == 0)
		err = set_session_context(t, s, why);
	if (err == 0)
		err = set_alpn(t, s->alpn, why);
	if (err)
		return err;
	if (t->alpn)
		SSL_CTX_set_alpn_select_cb(t->ctx, select_alpn, t);
	SSL_CTX_set_options(t->ctx, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
	/* AES-128 first: its key schedule runs on SHA-256, which processors do in hardware, and a sixth
	 * of a handshake's time goes into that of SHA-384. */
	SSL_CTX_set_ciphersuites(t->ctx, SERVER_SUITES);
	SSL_CTX_set_num_tickets(t->ctx, 1);
	if (s->tickets)
		tls_tickets_use(t, s->tickets);
	return 0;
}

int tls_server_new(struct tls_context **out, const struct tls_server_settings *s, char **why)
{
	struct tls_context *t = context_new(TLS_server_method());

	if (t == NULL)
		return fault(why, "TLS");
	t->server = true;
	return finish(t, set_server(t, s, why), out);
}

/* --- client ------------------------------------------------------------ */

static int load_ca(struct tls_context *t, const char *ca, char **why)
{
	if (ca == NULL)
		return SSL_CTX_set_default_verify_paths(t->ctx) == 1 ? 0 : fault(why, "system CA");
	return SSL_CTX_load_verify_file(t->ctx, ca) == 1 ? 0 : file_fault(why, ca);
}

static int set_max(struct tls_context *t, const char *max, char **why)
{
	if (max == NULL || strcmp(max, "1.3") == 0)
		return 0;
	if (strcmp(max, "1.2") == 0)
		return SSL_CTX_set_max_proto_version(t->ctx, TLS1_2_VERSION) == 1
			       ? 0
			       : fault(why, "TLS 1.2");
	*why = mem_printf("TLS version \"%s\": known are 1.2 and 1.3", max);
	return ERR_TLS;
}

/* Key exchange without forward secrecy, SHA-1, small keys, TLS 1.0, peers without RFC 5746. */
static int set_legacy(struct tls_context *t, char **why)
{
	SSL_CTX_set_security_level(t->ctx, 0);
	if (SSL_CTX_set_cipher_list(t->ctx, CIPHERS_LEGACY) != 1)
		return fault(why, "legacy ciphers");
	SSL_CTX_set_min_proto_version(t->ctx, TLS1_VERSION);
	SSL_CTX_set_options(t->ctx, SSL_OP_LEGACY_SERVER_CONNECT);
	SSL_CTX_clear_options(t->ctx, SSL_OP_NO_RENEGOTIATION);
	return 0;
}

static int set_client(struct tls_context *t, const struct tls_client_settings *s, char **why)
{
	int err = s->verify ? load_ca(t, s->ca, why) : 0;

	if (err == 0)
		err = set_max(t, s->max, why);
	if (err == 0 && s->legacy)
		err = set_legacy(t, why);
	if (err == 0)
		err = set_alpn(t, s->alpn, why);
	if (err)
		return err;
	if (t->alpn && SSL_CTX_set_alpn_protos(t->ctx, t->alpn, t->alpn_bytes) != 0)
		return fault(why, "ALPN");
	SSL_CTX_set_verify(t->ctx, s->verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
	return 0;
}

int tls_client_new(struct tls_context **out, const struct tls_client_settings *s, char **why)
{
	struct tls_context *t = context_new(TLS_client_method());

	if (t == NULL)
		return fault(why, "TLS");
	t->verify = s->verify;
	return finish(t, set_client(t, s, why), out);
}

/* --- sharing ----------------------------------------------------------- */

struct tls_context *tls_ref(struct tls_context *t)
{
	atomic_fetch_add(&t->refs, 1);
	return t;
}

void tls_unref(struct tls_context *t)
{
	if (t == NULL || atomic_fetch_sub(&t->refs, 1) != 1)
		return;
	SSL_CTX_free(t->ctx);
	BIO_meth_free(t->socket_method);
	tls_tickets_unref(t->tickets);
	free(t->alpn);
	free(t);
}

int64_t tls_expires(const struct tls_context *t)
{
	return t->expires;
}

bool tls_is_self_signed(const struct tls_context *t)
{
	X509 *certificate = t->server ? SSL_CTX_get0_certificate(t->ctx) : NULL;
	int answer = certificate ? X509_self_signed(certificate, 0) : 0;

	ERR_clear_error();
	return answer == 1;
}
