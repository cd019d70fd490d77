#include "net/self_signed.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/mem.h"
#include "net/harness.h"
#include "net/tls.h"

#define DAY 86400
#define NOW 1800000000 /* 2027-01-15 */

struct place {
	char folder[64];
	char *certificate;
	char *key;
	struct self_signed settings;
};

static const char *const two[] = {"gb.example.org", "192.0.2.1"};
static const char *const three[] = {"gb.example.org", "192.0.2.1", "2001:db8::1"};

static int set_up(void **state)
{
	struct place *p = mem_new(sizeof(*p));

	strcpy(p->folder, "/tmp/isobar-self-XXXXXX");
	assert_non_null(mkdtemp(p->folder));
	p->certificate = mem_printf("%s/self-signed/certificate.pem", p->folder);
	p->key = mem_printf("%s/self-signed/key.pem", p->folder);
	p->settings = (struct self_signed){p->certificate, p->key, two, 2};
	*state = p;
	return 0;
}

static int tear_down(void **state)
{
	struct place *p = *state;
	char *command = mem_printf("rm -rf '%s'", p->folder);

	assert_int_equal(system(command), 0);
	free(command);
	free(p->certificate);
	free(p->key);
	free(p);
	return 0;
}

static int keep(struct place *p, int64_t now_s)
{
	char *why = NULL;
	int got = self_signed_keep(&p->settings, now_s, &why);

	if (got < 0)
		fail_msg("%s", why);
	return got;
}

static X509 *certificate_of(const struct place *p)
{
	FILE *f = fopen(p->certificate, "r");
	X509 *c;

	assert_non_null(f);
	c = PEM_read_X509(f, NULL, NULL, NULL);
	fclose(f);
	assert_non_null(c);
	return c;
}

static EVP_PKEY *key_of(const struct place *p)
{
	FILE *f = fopen(p->key, "r");
	EVP_PKEY *key;

	assert_non_null(f);
	key = PEM_read_PrivateKey(f, NULL, NULL, NULL);
	fclose(f);
	assert_non_null(key);
	return key;
}

static void one_is_made_for_all_names_and_a_year(void **state)
{
	struct place *p = *state;
	time_t late = NOW + 365 * DAY - 1, later = NOW + 365 * DAY + 1, now = NOW;
	char curve[32];
	struct stat status;
	X509 *c;
	EVP_PKEY *key;

	p->settings.names = three;
	p->settings.name_count = 3;
	assert_int_equal(keep(p, NOW), 1);
	c = certificate_of(p);
	key = key_of(p);
	assert_int_equal(X509_check_private_key(c, key), 1);
	assert_int_equal(X509_self_signed(c, 1), 1);
	assert_int_equal(X509_check_host(c, "gb.example.org", 0, 0, NULL), 1);
	assert_int_equal(X509_check_host(c, "example.org", 0, 0, NULL), 0);
	assert_int_equal(X509_check_ip_asc(c, "192.0.2.1", 0), 1);
	assert_int_equal(X509_check_ip_asc(c, "2001:db8::1", 0), 1);
	assert_int_equal(X509_check_purpose(c, X509_PURPOSE_SSL_SERVER, 0), 1);
	assert_int_equal(X509_check_ca(c), 0);
	assert_true(X509_cmp_time(X509_get0_notBefore(c), &now) < 0);
	assert_true(X509_cmp_time(X509_get0_notAfter(c), &late) > 0);
	assert_true(X509_cmp_time(X509_get0_notAfter(c), &later) < 0);
	assert_int_equal(EVP_PKEY_get_group_name(key, curve, sizeof(curve), NULL), 1);
	assert_string_equal(curve, "prime256v1");
	assert_int_equal(stat(p->key, &status), 0);
	assert_int_equal(status.st_mode & 0777, 0600);
	X509_free(c);
	EVP_PKEY_free(key);
}

static void it_serves_and_is_known_as_self_signed(void **state)
{
	struct place *p = *state;
	struct tls_server_settings settings = {.certificate = p->certificate, .key = p->key};
	struct tls_context *t = NULL;
	char *why = NULL;

	assert_int_equal(keep(p, NOW), 1);
	assert_int_equal(tls_server_new(&t, &settings, &why), 0);
	assert_true(tls_is_self_signed(t));
	assert_int_equal(tls_expires(t), NOW + 365 * DAY);
	tls_unref(t);
}

static void a_good_one_stays_and_is_renewed_in_time_with_its_key(void **state)
{
	struct place *p = *state;
	X509 *first, *second;

	assert_int_equal(keep(p, NOW), 1);
	first = certificate_of(p);
	assert_int_equal(keep(p, NOW + 1), 0);
	assert_int_equal(keep(p, NOW + 334 * DAY), 0);
	assert_int_equal(keep(p, NOW + 336 * DAY), 1);
	second = certificate_of(p);
	assert_int_not_equal(X509_cmp(first, second), 0);
	assert_int_equal(EVP_PKEY_eq(X509_get0_pubkey(first), X509_get0_pubkey(second)), 1);
	assert_int_equal(keep(p, NOW + 336 * DAY), 0);
	X509_free(first);
	X509_free(second);
}

static void it_is_made_anew_for_a_name_more_but_not_for_one_less(void **state)
{
	struct place *p = *state;

	assert_int_equal(keep(p, NOW), 1);
	p->settings.names = three;
	p->settings.name_count = 3;
	assert_int_equal(keep(p, NOW), 1);
	p->settings.name_count = 1;
	assert_int_equal(keep(p, NOW), 0);
}

static void what_cannot_be_used_is_replaced(void **state)
{
	struct place *p = *state;
	const char *files[2] = {p->certificate, p->key};

	for (int i = 0; i < 2; i++) {
		FILE *f;

		keep(p, NOW);
		f = fopen(files[i], "w");
		assert_non_null(f);
		fputs("-----BEGIN", f);
		fclose(f);
		assert_int_equal(keep(p, NOW), 1);
		assert_int_equal(keep(p, NOW), 0);
	}
	assert_int_equal(keep(p, NOW - 2 * DAY), 1); /* from a clock that was ahead */
}

static void where_it_cannot_be_written_the_cause_is_told(void **state)
{
	struct place *p = *state;
	char *why = NULL;

	p->settings.certificate = "/proc/self-signed/certificate.pem";
	assert_int_equal(self_signed_keep(&p->settings, NOW, &why), ERR_SYSTEM);
	assert_non_null(strstr(why, "/proc/self-signed/certificate.pem: "));
	free(why);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			one_is_made_for_all_names_and_a_year, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			it_serves_and_is_known_as_self_signed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			a_good_one_stays_and_is_renewed_in_time_with_its_key, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			it_is_made_anew_for_a_name_more_but_not_for_one_less, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_cannot_be_used_is_replaced, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			where_it_cannot_be_written_the_cause_is_told, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
