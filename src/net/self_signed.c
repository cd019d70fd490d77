/* net/self_signed.c
 *
 * The key is written before the certificate that is made with it: whoever looks between the two finds a pair that
 * does not fit, once, and looks again.
 */
#include "net/self_signed.h"

#include <errno.h>
#include <libgen.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/file.h"
#include "base/mem.h"
#include "net/address.h"

#define DAY_S 86400
#define SKEW_S 3600 /* clocks of clients may be behind ours */
#define SERIAL_BYTES 16
#define COMMON_NAME_MOST 64 /* X.520, upper bound */

static bool is_address(const char *name)
{
	struct address a;

	return address_parse(view_of(name), 0, &a);
}

/* --- what is there ----------------------------------------------------- */

static EVP_PKEY *read_key(const char *path)
{
	FILE *f = fopen(path, "re");
	EVP_PKEY *key = f ? PEM_read_PrivateKey(f, NULL, NULL, NULL) : NULL;

	if (f)
		fclose(f);
	ERR_clear_error();
	return key;
}

static X509 *read_certificate(const char *path)
{
	FILE *f = fopen(path, "re");
	X509 *certificate = f ? PEM_read_X509(f, NULL, NULL, NULL) : NULL;

	if (f)
		fclose(f);
	ERR_clear_error();
	return certificate;
}

static bool is_for(X509 *certificate, const char *name)
{
	return is_address(name) ? X509_check_ip_asc(certificate, name, 0) == 1
				: X509_check_host(certificate, name, 0, 0, NULL) == 1;
}

static bool is_good(X509 *certificate, EVP_PKEY *key, const struct self_signed *s, int64_t now_s)
{
	time_t late = (time_t)(now_s + SELF_SIGNED_RENEW_DAYS * DAY_S);
	time_t now = (time_t)now_s;

	if (certificate == NULL || key == NULL || X509_check_private_key(certificate, key) != 1)
		return false;
	if (X509_cmp_time(X509_get0_notBefore(certificate), &now) > 0 ||
		X509_cmp_time(X509_get0_notAfter(certificate), &late) < 0)
		return false;
	for (unsigned i = 0; i < s->name_count; i++)
		if (!is_for(certificate, s->names[i]))
			return false;
	return true;
}

/* --- making one -------------------------------------------------------- */

static bool set_serial(X509 *certificate)
{
	uint8_t bytes[SERIAL_BYTES];
	BIGNUM *number;
	bool done;

	if (RAND_bytes(bytes, sizeof(bytes)) != 1)
		return false;
	bytes[0] &= 0x7f; /* positive (RFC 5280, section 4.1.2.2) */
	number = BN_bin2bn(bytes, sizeof(bytes), NULL);
	done = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate));
	BN_free(number);
	return done;
}

static bool set_subject(X509 *certificate, const char *name)
{
	X509_NAME *subject = X509_get_subject_name(certificate);
	size_t n = strlen(name) < COMMON_NAME_MOST ? strlen(name) : COMMON_NAME_MOST;

	return X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)name,
		       (int)n, -1, 0) == 1 &&
	       X509_set_issuer_name(certificate, subject) == 1;
}

static bool add_extension(X509 *certificate, int which, const char *value)
{
	X509V3_CTX context;
	X509_EXTENSION *extension;
	bool done;

	X509V3_set_ctx_nodb(&context);
	X509V3_set_ctx(&context, certificate, certificate, NULL, NULL, 0);
	extension = X509V3_EXT_conf_nid(NULL, &context, which, value);
	done = extension && X509_add_ext(certificate, extension, -1) == 1;
	X509_EXTENSION_free(extension);
	return done;
}

static bool add_names(X509 *certificate, const struct self_signed *s)
{
	struct buf value = {0};
	bool done;

	for (unsigned i = 0; i < s->name_count; i++)
		buf_printf(&value, "%s%s:%s", i ? "," : "", is_address(s->names[i]) ? "IP" : "DNS",
			s->names[i]);
	buf_append(&value, "", 1);
	done = add_extension(certificate, NID_subject_alt_name, (const char *)buf_bytes(&value));
	buf_fini(&value);
	return done;
}

static bool fill_in(X509 *certificate, EVP_PKEY *key, const struct self_signed *s, int64_t now_s)
{
	time_t from = (time_t)(now_s - SKEW_S);
	time_t until = (time_t)(now_s + SELF_SIGNED_DAYS * DAY_S);

	return X509_set_version(certificate, X509_VERSION_3) == 1 && set_serial(certificate) &&
	       set_subject(certificate, s->names[0]) &&
	       ASN1_TIME_set(X509_getm_notBefore(certificate), from) &&
	       ASN1_TIME_set(X509_getm_notAfter(certificate), until) &&
	       X509_set_pubkey(certificate, key) == 1 &&
	       add_extension(certificate, NID_basic_constraints, "critical,CA:FALSE") &&
	       add_extension(certificate, NID_key_usage, "critical,digitalSignature") &&
	       add_extension(certificate, NID_ext_key_usage, "serverAuth") &&
	       add_names(certificate, s) && X509_sign(certificate, key, EVP_sha256()) > 0;
}

/* --- files ------------------------------------------------------------- */

static int write_bio(const char *path, BIO *pem, mode_t mode)
{
	char *p;
	long n = BIO_get_mem_data(pem, &p);

	return file_replace(path, (struct view){p, (size_t)n}, mode);
}

static int write_key(const char *path, EVP_PKEY *key)
{
	BIO *pem = BIO_new(BIO_s_secmem());
	int err = ERR_TLS;

	if (pem && PEM_write_bio_PKCS8PrivateKey(pem, key, NULL, NULL, 0, NULL, NULL) == 1)
		err = write_bio(path, pem, 0600);
	BIO_free(pem);
	return err;
}

static int write_certificate(const char *path, X509 *certificate)
{
	BIO *pem = BIO_new(BIO_s_mem());
	int err = ERR_TLS;

	if (pem && PEM_write_bio_X509(pem, certificate) == 1)
		err = write_bio(path, pem, 0644);
	BIO_free(pem);
	return err;
}

static int make_folder_of(const char *path)
{
	char *copy = mem_text(path);
	int err = file_make_folder(dirname(copy));

	free(copy);
	return err;
}

/* *key: NULL, or one to go on with. */
static int make(const struct self_signed *s, int64_t now_s, EVP_PKEY **key)
{
	X509 *certificate = X509_new();
	int err = make_folder_of(s->key);

	if (err == 0)
		err = make_folder_of(s->certificate);
	if (err == 0 && *key == NULL) {
		*key = EVP_EC_gen("P-256");
		err = *key ? write_key(s->key, *key) : ERR_TLS;
	}
	if (err == 0)
		err = certificate && fill_in(certificate, *key, s, now_s) ? 0 : ERR_TLS;
	if (err == 0)
		err = write_certificate(s->certificate, certificate);
	X509_free(certificate);
	return err;
}

int self_signed_keep(const struct self_signed *s, int64_t now_s, char **why)
{
	EVP_PKEY *key = read_key(s->key);
	X509 *there = read_certificate(s->certificate);
	int err = 0;

	if (!is_good(there, key, s, now_s)) {
		err = make(s, now_s, &key);
		if (err < 0)
			*why = mem_printf("%s: %s", s->certificate,
				err == ERR_SYSTEM ? strerror(errno) : "OpenSSL cannot make it");
		else
			err = 1;
	}
	ERR_clear_error();
	X509_free(there);
	EVP_PKEY_free(key);
	return err;
}
