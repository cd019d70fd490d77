/* net/self_signed.h - a certificate of our own making, for TLS listeners that have none
 *
 * Better than no TLS, as nobody can read on the way, and worse than a real one, as nobody can know who is at the
 * other end unless the operator hands out the file. ECDSA on P-256, valid for a year, made anew in time with the
 * same key, so that whoever trusts the key goes on trusting it.
 *
 * Threads: any, but not a worker's: it waits for the disk.
 */
#ifndef NET_SELF_SIGNED_H
#define NET_SELF_SIGNED_H

#include <stdint.h>

#define SELF_SIGNED_DAYS 365
#define SELF_SIGNED_RENEW_DAYS 30 /* so long before its end it is made anew */

struct self_signed {
	const char *certificate; /* files; their folder is made */
	const char *key;         /* mode 0600 */
	const char *const
		*names; /* host names and IP addresses, all of which it is for; the first is its
				   * common name */
	unsigned name_count; /* at least 1 */
};

/* Sees to it that the files hold such a pair. now_s: Unix time. 1: it was made, 0: a good one was there,
 * ERR_SYSTEM or ERR_TLS: *why is a text to free(). */
int self_signed_keep(const struct self_signed *s, int64_t now_s, char **why);

#endif
