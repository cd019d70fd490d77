/* net/tls_tickets.c
 *
 * Tickets are as RFC 5077, section 4, recommends: AES in CBC mode under one key, HMAC-SHA-256 of all
 * of it under another, and in front a name by which the keys are found again:
 *
 *	| name 16 | iv 16 | encrypted state | mac 32 |
 *
 * A handshake asks at most twice, so a mutex is all the sharing needs.
 */
#include "net/tls_tickets.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "net/tls_context.h"

#define NAME_BYTES 16
#define KEY_BYTES 32
#define IV_BYTES 16

struct ticket_key {
	uint8_t name[NAME_BYTES];
	uint8_t cipher[KEY_BYTES];
	uint8_t mac[KEY_BYTES];
};

enum { PRESENT, PREVIOUS, KEYS };

struct tls_tickets {
	atomic_uint refs;
	pthread_mutex_t lock; /* of keys, since_ms and known */
	struct ticket_key keys[KEYS];
	unsigned known; /* of the keys */
	uint64_t since_ms;
	EVP_CIPHER *cipher;
};

/* --- keys -------------------------------------------------------------- */

static bool add_key(struct tls_tickets *t, uint64_t now_ms)
{
	struct ticket_key fresh;

	if (RAND_priv_bytes((uint8_t *)&fresh, sizeof(fresh)) != 1)
		return false;
	t->keys[PREVIOUS] = t->keys[PRESENT];
	t->keys[PRESENT] = fresh;
	t->known += t->known < KEYS;
	t->since_ms = now_ms;
	OPENSSL_cleanse(&fresh, sizeof(fresh));
	return true;
}

struct tls_tickets *tls_tickets_new(uint64_t now_ms)
{
	struct tls_tickets *t = mem_new(sizeof(*t));

	atomic_init(&t->refs, 1);
	pthread_mutex_init(&t->lock, NULL);
	t->cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
	if (t->cipher && add_key(t, now_ms))
		return t;
	tls_tickets_unref(t);
	return NULL;
}

struct tls_tickets *tls_tickets_ref(struct tls_tickets *t)
{
	atomic_fetch_add(&t->refs, 1);
	return t;
}

void tls_tickets_unref(struct tls_tickets *t)
{
	if (t == NULL || atomic_fetch_sub(&t->refs, 1) != 1)
		return;
	EVP_CIPHER_free(t->cipher);
	pthread_mutex_destroy(&t->lock);
	OPENSSL_cleanse(t->keys, sizeof(t->keys));
	free(t);
}

void tls_tickets_turn(struct tls_tickets *t, uint64_t now_ms)
{
	pthread_mutex_lock(&t->lock);
	if (now_ms - t->since_ms >= TLS_TICKET_KEY_MS)
		add_key(t, now_ms);
	pthread_mutex_unlock(&t->lock);
}

/* --- tickets ----------------------------------------------------------- */

/* Which key it was, or KEYS: none that is still known. */
static unsigned find_key(struct tls_tickets *t, const uint8_t *name, struct ticket_key *out)
{
	unsigned i = 0;

	pthread_mutex_lock(&t->lock);
	while (i < t->known && memcmp(t->keys[i].name, name, NAME_BYTES) != 0)
		i++;
	if (i < t->known)
		*out = t->keys[i];
	else
		i = KEYS;
	pthread_mutex_unlock(&t->lock);
	return i;
}

static bool set_keys(const struct tls_tickets *t, struct ticket_key *key, const uint8_t *iv,
	EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int encrypt)
{
	char digest[] = "SHA256";
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key->mac, sizeof(key->mac)),
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
		OSSL_PARAM_construct_end(),
	};

	return EVP_MAC_CTX_set_params(mac, params) == 1 &&
	       EVP_CipherInit_ex2(cipher, t->cipher, key->cipher, iv, encrypt, NULL) == 1;
}

/* OpenSSL's question (SSL_CTX_set_tlsext_ticket_key_evp_cb): 1 yes, 2 yes and make a new one, 0 no
 * ticket, so a full handshake, -1 a failure. */
static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
	EVP_MAC_CTX *mac, int encrypt)
{
	const struct tls_context *context = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
	struct tls_tickets *t = context->tickets;
	struct ticket_key key;
	unsigned which = PRESENT;
	bool done;

	if (encrypt) {
		pthread_mutex_lock(&t->lock);
		key = t->keys[PRESENT];
		pthread_mutex_unlock(&t->lock);
		memcpy(name, key.name, NAME_BYTES);
		if (RAND_bytes(iv, IV_BYTES) != 1)
			return -1;
	} else if ((which = find_key(t, name, &key)) == KEYS) {
		return 0;
	}
	done = set_keys(t, &key, iv, cipher, mac, encrypt);
	OPENSSL_cleanse(&key, sizeof(key));
	if (!done)
		return -1;
	/* Clients of TLS 1.3 use a ticket once (RFC 8446, appendix C.4), so each gets the next. */
	return which == PRESENT && SSL_version(ssl) < TLS1_3_VERSION ? 1 : 2;
}

void tls_tickets_use(struct tls_context *context, struct tls_tickets *t)
{
	context->tickets = tls_tickets_ref(t);
	SSL_CTX_set_app_data(context->ctx, context);
	SSL_CTX_set_tlsext_ticket_key_evp_cb(context->ctx, on_ticket);
	SSL_CTX_set_timeout(context->ctx, (long)(TLS_TICKET_KEY_MS / 1000));
}
