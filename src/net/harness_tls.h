/* net/harness_tls.h - for *_test.c only: certificates made on the spot, in a folder of their own */
#ifndef NET_HARNESS_TLS_H
#define NET_HARNESS_TLS_H

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

#include "net/harness.h"
#include "net/tls.h"

#define DAY (24L * 3600L)

struct identity {
	EVP_PKEY *key;
	X509 *certificate;
	char certificate_file[128];
	char key_file[128];
};

static inline void add_extension(X509 *x, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *e;

	X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
	e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	assert_non_null(e);
	X509_add_ext(x, e, -1);
	X509_EXTENSION_free(e);
}

static inline void write_pem(const struct identity *id)
{
	FILE *f = fopen(id->certificate_file, "w");

	assert_non_null(f);
	PEM_write_X509(f, id->certificate);
	fclose(f);
	f = fopen(id->key_file, "w");
	assert_non_null(f);
	PEM_write_PrivateKey(f, id->key, NULL, NULL, 0, NULL, NULL);
	fclose(f);
}

/* `names`: subjectAltName, e.g. "DNS:a.example,IP:127.0.0.1"; NULL: a CA. issuer NULL: self-signed.
 * Valid from yesterday until now + valid_s. */
static inline void identity_make(struct identity *id, const char *folder, const char *common_name,
	const char *names, long valid_s, const struct identity *issuer, bool rsa)
{
	X509 *x = X509_new();
	X509_NAME *subject = X509_get_subject_name(x);

	id->key = rsa ? EVP_RSA_gen(2048u) : EVP_EC_gen("P-256");
	assert_non_null(id->key);
	X509_set_version(x, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(x), 1 + rand());
	X509_gmtime_adj(X509_getm_notBefore(x), -DAY);
	X509_gmtime_adj(X509_getm_notAfter(x), valid_s);
	X509_NAME_add_entry_by_txt(
		subject, "CN", MBSTRING_UTF8, (const unsigned char *)common_name, -1, -1, 0);
	X509_set_issuer_name(x, issuer ? X509_get_subject_name(issuer->certificate) : subject);
	X509_set_pubkey(x, id->key);
	add_extension(x, issuer ? issuer->certificate : x, NID_basic_constraints,
		names ? "critical,CA:FALSE" : "critical,CA:TRUE");
	if (names)
		add_extension(x, x, NID_subject_alt_name, names);
	X509_sign(x, issuer ? issuer->key : id->key, EVP_sha256());
	id->certificate = x;
	snprintf(id->certificate_file, sizeof(id->certificate_file), "%s/%s.crt", folder,
		common_name);
	snprintf(id->key_file, sizeof(id->key_file), "%s/%s.key", folder, common_name);
	write_pem(id);
}

static inline void identity_free(struct identity *id)
{
	unlink(id->certificate_file);
	unlink(id->key_file);
	X509_free(id->certificate);
	EVP_PKEY_free(id->key);
}

static inline struct tls_context *server_context(
	const struct identity *id, const char *client_ca, bool required)
{
	struct tls_server_settings s = {.certificate = id->certificate_file,
		.key = id->key_file,
		.client_ca = client_ca,
		.client_certificate_required = required,
		.alpn = "mqtt"};
	struct tls_context *t = NULL;
	char *why = NULL;

	if (tls_server_new(&t, &s, &why) != 0)
		fail_msg("%s", why);
	return t;
}

static inline struct tls_context *client_context(const struct tls_client_settings *s)
{
	struct tls_context *t = NULL;
	char *why = NULL;

	if (tls_client_new(&t, s, &why) != 0)
		fail_msg("%s", why);
	return t;
}

#endif
