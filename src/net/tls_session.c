/* net/tls_session.c
 *
 * OpenSSL reads and writes through a small BIO of ours: recv() and send() without
 * SIGPIPE, with the errno kept. OpenSSL's error queue belongs to the thread and is
 * looked at by SSL_get_error(), so each call begins with an empty one and leaves an
 * empty one.
 */
#include "net/tls_session.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/error.h"
#include "base/mem.h"
#include "net/address.h"
#include "net/tls_context.h"

struct tls {
	SSL *ssl;
	struct tls_context *context; /* a reference */
	int fd;                      /* borrowed */
	int err;                     /* what failed; sticky */
	int system_errno;            /* of the socket */
	bool eof;                    /* the socket gave its end */
	bool shaken;                 /* handshake done */
	char *why;
};

/* --- the socket as a BIO ----------------------------------------------- */

static int socket_result(BIO *bio, struct tls *t, ssize_t n, int retry_flag)
{
	BIO_clear_retry_flags(bio);
	if (n >= 0)
		return (int)n;
	if (errno == EAGAIN || errno == EINTR)
		BIO_set_flags(bio, retry_flag | BIO_FLAGS_SHOULD_RETRY);
	else
		t->system_errno = errno;
	return -1;
}

static int socket_read(BIO *bio, char *p, int n)
{
	struct tls *t = BIO_get_data(bio);
	ssize_t got = recv(t->fd, p, (size_t)n, MSG_DONTWAIT);

	if (got == 0)
		t->eof = true;
	return socket_result(bio, t, got, BIO_FLAGS_READ);
}

static int socket_write(BIO *bio, const char *p, int n)
{
	struct tls *t = BIO_get_data(bio);

	return socket_result(
		bio, t, send(t->fd, p, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL), BIO_FLAGS_WRITE);
}

static long socket_control(BIO *bio, int command, long number, void *p)
{
	struct tls *t = BIO_get_data(bio);

	(void)number;
	(void)p;
	if (command == BIO_CTRL_EOF)
		return t->eof;
	return command == BIO_CTRL_FLUSH;
}

BIO_METHOD *tls_socket_method(void)
{
	BIO_METHOD *m = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "socket");

	if (m == NULL)
		return NULL;
	BIO_meth_set_read(m, socket_read);
	BIO_meth_set_write(m, socket_write);
	BIO_meth_set_ctrl(m, socket_control);
	return m;
}

/* --- life -------------------------------------------------------------- */

/* Whom a client talks to: SNI for names only (RFC 6066, section 3), and what the certificate
 * has to say. */
static bool expect_server(struct tls *t, const char *name)
{
	X509_VERIFY_PARAM *param = SSL_get0_param(t->ssl);
	struct address ignored;
	bool literal = address_parse(view_of(name), 0, &ignored);

	if (!literal && SSL_set_tlsext_host_name(t->ssl, name) != 1)
		return false;
	if (!t->context->verify)
		return true;
	if (literal)
		return X509_VERIFY_PARAM_set1_ip_asc(param, name) == 1;
	X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return X509_VERIFY_PARAM_set1_host(param, name, 0) == 1;
}

static bool set_up(struct tls *t, const char *server_name)
{
	BIO *bio;

	t->ssl = SSL_new(t->context->ctx);
	bio = t->ssl ? BIO_new(t->context->socket_method) : NULL;
	if (bio == NULL)
		return false;
	BIO_set_data(bio, t);
	BIO_set_init(bio, 1);
	SSL_set_bio(t->ssl, bio, bio);
	if (t->context->server) {
		SSL_set_accept_state(t->ssl);
		return true;
	}
	SSL_set_connect_state(t->ssl);
	/* A context that verifies and does not know whom would take anybody's certificate. */
	return server_name ? expect_server(t, server_name) : !t->context->verify;
}

struct tls *tls_session_new(struct tls_context *context, int fd, const char *server_name)
{
	struct tls *t = mem_new(sizeof(*t));

	t->context = tls_ref(context);
	t->fd = fd;
	ERR_clear_error();
	if (set_up(t, server_name))
		return t;
	tls_session_free(t);
	ERR_clear_error();
	return NULL;
}

void tls_session_free(struct tls *t)
{
	if (t == NULL)
		return;
	SSL_free(t->ssl);
	tls_unref(t->context);
	free(t->why);
	free(t);
}

bool tls_offer(struct tls *t, const char *protocol)
{
	uint8_t wire[256];
	size_t n = strlen(protocol);

	if (n == 0 || n > 255)
		return false;
	wire[0] = (uint8_t)n;
	memcpy(wire + 1, protocol, n);
	return SSL_set_alpn_protos(t->ssl, wire, (unsigned)n + 1) == 0;
}

/* --- failures ---------------------------------------------------------- */

static int failed(struct tls *t, int err, const char *why)
{
	t->err = err;
	t->why = mem_text(why);
	return err;
}

static int failed_in_system(struct tls *t)
{
	int err =
		t->system_errno == ECONNRESET || t->system_errno == EPIPE ? ERR_CLOSED : ERR_SYSTEM;

	if (t->system_errno)
		return failed(t, err, strerror(t->system_errno));
	return failed(
		t, ERR_CLOSED, t->shaken ? "closed by the peer" : "closed in the TLS handshake");
}

static int failed_in_protocol(struct tls *t)
{
	long verdict = SSL_get_verify_result(t->ssl);
	unsigned long code = ERR_peek_error();
	const char *reason = code ? ERR_reason_error_string(code) : NULL;

	if (!t->shaken && verdict != X509_V_OK &&
		ERR_GET_REASON(code) == SSL_R_CERTIFICATE_VERIFY_FAILED)
		reason = X509_verify_cert_error_string(verdict);
	return failed(t, ERR_TLS, reason ? reason : "TLS protocol error");
}

/* The socket failed or ended in the middle, rather than that a record was wrong. */
static bool has_ended(const struct tls *t)
{
	unsigned long code = ERR_peek_error();

	return t->system_errno ||
	       (t->eof &&
		       (code == 0 || ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING));
}

/* What a call of OpenSSL that gave no bytes means: 0 wait, or negative and sticky. */
static int outcome(struct tls *t, int result)
{
	int err;

	switch (SSL_get_error(t->ssl, result)) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		return 0;
	case SSL_ERROR_ZERO_RETURN:
		t->system_errno = 0;
		return failed_in_system(t);
	case SSL_ERROR_SYSCALL:
		err = failed_in_system(t);
		break;
	default:
		err = has_ended(t) ? failed_in_system(t) : failed_in_protocol(t);
	}
	ERR_clear_error();
	return err;
}

/* --- use --------------------------------------------------------------- */

/* A ticket may outlive the certificate its session began with; nothing looks at that again. */
static bool has_stale_peer(const struct tls *t)
{
	const X509 *peer = SSL_session_reused(t->ssl) ? SSL_get0_peer_certificate(t->ssl) : NULL;

	return t->context->server && peer && X509_cmp_current_time(X509_get0_notAfter(peer)) <= 0;
}

int tls_handshake(struct tls *t)
{
	int result;

	if (t->err)
		return t->err;
	ERR_clear_error();
	result = SSL_do_handshake(t->ssl);
	if (result != 1)
		return outcome(t, result);
	if (has_stale_peer(t))
		return failed(
			t, ERR_TLS, X509_verify_cert_error_string(X509_V_ERR_CERT_HAS_EXPIRED));
	t->shaken = true;
	return 1;
}

ssize_t tls_read(struct tls *t, uint8_t *p, size_t n)
{
	size_t got = 0, some;
	int result;

	if (t->err)
		return t->err;
	ERR_clear_error();
	while (got < n) {
		result = SSL_read_ex(t->ssl, p + got, n - got, &some);
		if (result != 1) {
			int err = outcome(t, result);

			return got ? (ssize_t)got : err;
		}
		got += some;
	}
	return (ssize_t)got;
}

ssize_t tls_write(struct tls *t, const uint8_t *p, size_t n)
{
	size_t sent;
	int result;

	if (t->err)
		return t->err;
	ERR_clear_error();
	result = SSL_write_ex(t->ssl, p, n < TLS_RECORD_BYTES ? n : TLS_RECORD_BYTES, &sent);
	return result == 1 ? (ssize_t)sent : outcome(t, result);
}

void tls_goodbye(struct tls *t)
{
	if (t->err || !t->shaken)
		return;
	ERR_clear_error();
	SSL_shutdown(t->ssl);
	ERR_clear_error();
}

int tls_error(const struct tls *t)
{
	return t->err;
}

const char *tls_why(const struct tls *t)
{
	return t->why ? t->why : "TLS protocol error";
}

bool tls_peer_name(const struct tls *t, char *out, size_t size)
{
	X509 *certificate = SSL_get0_peer_certificate(t->ssl);
	X509_NAME *subject = certificate ? X509_get_subject_name(certificate) : NULL;
	int at = subject ? X509_NAME_get_index_by_NID(subject, NID_commonName, -1) : -1;
	unsigned char *text = NULL;
	bool fits;
	int n;

	/* One name, not two of which a reader may choose. */
	if (at < 0 || X509_NAME_get_index_by_NID(subject, NID_commonName, at) >= 0)
		return false;
	n = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
	fits = n > 0 && (size_t)n < size && memchr(text, '\0', (size_t)n) == NULL;
	if (fits) {
		memcpy(out, text, (size_t)n);
		out[n] = '\0';
	}
	OPENSSL_free(text);
	return fits;
}

bool tls_peer_subject(const struct tls *t, char *out, size_t size)
{
	X509 *certificate = SSL_get0_peer_certificate(t->ssl);
	X509_NAME *subject = certificate ? X509_get_subject_name(certificate) : NULL;
	BIO *text = subject ? BIO_new(BIO_s_mem()) : NULL;
	char *p;
	long n;
	bool fits;

	if (text == NULL)
		return false;
	X509_NAME_print_ex(text, subject, 0, XN_FLAG_RFC2253);
	n = BIO_get_mem_data(text, &p);
	fits = n > 0 && (size_t)n < size; /* control characters are escaped */
	if (fits) {
		memcpy(out, p, (size_t)n);
		out[n] = '\0';
	}
	BIO_free(text);
	return fits;
}
