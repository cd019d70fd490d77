/* net/conn.c - the life of a connection
 *
 *	CONNECTING --> HANDSHAKE --> UPGRADE --> OPEN --> CLOSING --> on_close
 *	  (outgoing)        TLS     (outgoing WebSocket)
 *
 * A plain one passes HANDSHAKE at the end of the turn.
 *
 * Everything that is not done at once waits in `later`, which runs at the end of the
 * turn: opening, a TLS handshake's steps (some per turn for the whole loop), the rest
 * of a long read, sending what was pushed, and the end.
 *
 * **Invariant:** on_close is called exactly once, from conn_later() or not at all
 * when conn_accept() or conn_open() failed; nothing of the connection is touched
 * afterwards.
 */
#include "net/conn.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "base/mem.h"
#include "net/conn_part.h"
#include "net/linger.h"
#include "net/tls_session.h"

/* --- the end ----------------------------------------------------------- */

void conn_close(struct conn *c, int err, const char *why)
{
	if (c->state == CONN_CLOSING)
		return;
	c->closing_after_flush = c->state == CONN_OPEN;
	c->state = CONN_CLOSING;
	c->close_err = err;
	c->close_why = mem_text(why);
	loop_defer(c->loop, &c->later);
}

const char *conn_end_text(const struct conn *c, const char *known)
{
	return c->state == CONN_UPGRADE ? "closed by the peer during the WebSocket handshake"
					: known;
}

int conn_failed(struct conn *c, int error)
{
	int err = error == ECONNRESET || error == EPIPE ? ERR_CLOSED : ERR_SYSTEM;
	const char *why = strerror(error);

	conn_close(c, err, err == ERR_CLOSED ? conn_end_text(c, why) : why);
	return err;
}

/* What was pushed is tried once. */
static void say_goodbye(struct conn *c)
{
	if (!c->closing_after_flush)
		return;
	if (c->websocket)
		conn_push_close(c);
	conn_send_pending(c);
	if (c->tls && buf_length(&c->out) == 0)
		tls_goodbye(c->tls);
}

/* lingers: the peer is there, and has perhaps not read our last words. */
static void release(struct conn *c, bool lingers)
{
	list_remove(&c->later.link);
	loop_remove(c->loop, &c->io);
	tls_session_free(c->tls);
	conn_free_websocket(c);
	if (lingers)
		linger(c->loop, c->io.fd);
	else
		close(c->io.fd);
	c->tls = NULL;
	c->io.fd = -1;
	free(c->name);
	c->name = NULL;
	buf_fini(&c->in);
	buf_fini(&c->out);
}

static void finish(struct conn *c)
{
	char *why = c->close_why;

	say_goodbye(c);
	release(c, c->close_err != ERR_CLOSED && c->close_err != ERR_SYSTEM);
	c->close_why = NULL;
	c->handler->on_close(c, c->close_err, why ? why : err_text(c->close_err));
	free(why);
}

void conn_abort(struct conn *c)
{
	release(c, false);
	free(c->close_why);
	c->close_why = NULL;
	c->state = CONN_CLOSING;
}

/* --- progress ---------------------------------------------------------- */

void conn_become_open(struct conn *c)
{
	c->state = CONN_OPEN;
	if (c->handler->on_open)
		c->handler->on_open(c);
}

static void step_handshake(struct conn *c)
{
	int done;

	if (c->tls && !loop_may_spend(c->loop)) {
		loop_defer(c->loop, &c->later);
		return;
	}
	done = c->tls ? tls_handshake(c->tls) : 1;
	if (done < 0)
		conn_close(c, done, tls_why(c->tls));
	else if (done && c->websocket)
		c->state = CONN_UPGRADE;
	else if (done)
		conn_become_open(c);
}

/* Sends what waits; tells the owner when that was all, or the socket has room again. */
static void step_write(struct conn *c, bool room_again)
{
	bool had = buf_length(&c->out) > 0;

	if (conn_send_pending(c) < 0)
		return;
	if (c->websocket) /* a ping may have waited for room */
		conn_unframed(c);
	if (c->state != CONN_OPEN || buf_length(&c->out) || !c->writable)
		return;
	if ((had || room_again) && c->handler->on_writable)
		c->handler->on_writable(c);
}

static void conn_later(struct deferred *d)
{
	struct conn *c = container_of(d, struct conn, later);

	if (c->state == CONN_HANDSHAKE)
		step_handshake(c);
	if (conn_flows(c))
		conn_read(c);
	if (conn_flows(c))
		step_write(c, false);
	if (c->state == CONN_CLOSING)
		finish(c);
}

static int socket_error(const struct conn *c)
{
	int error = 0;
	socklen_t size = sizeof(error);

	getsockopt(c->io.fd, SOL_SOCKET, SO_ERROR, &error, &size);
	return error;
}

static void step_connect(struct conn *c)
{
	int error = socket_error(c);

	if (error) {
		conn_failed(c, error);
		return;
	}
	c->state = CONN_HANDSHAKE;
	loop_defer(c->loop, &c->later);
}

static void on_ready_flowing(struct conn *c, bool room_again)
{
	/* Nobody reads a paused connection: a reset has to be asked for. */
	if (c->paused && c->hangup) {
		int error = socket_error(c);

		if (error)
			conn_failed(c, error);
	}
	if (conn_flows(c))
		conn_read(c);
	if (conn_flows(c) && (room_again || buf_length(&c->out)))
		step_write(c, room_again);
}

static void conn_on_ready(struct io *io, unsigned what)
{
	struct conn *c = container_of(io, struct conn, io);
	bool was_full = !c->writable;

	if (what & IO_HANGUP)
		c->hangup = true;
	if (what & IO_WRITE)
		c->writable = true;
	/* TLS may have to read in order to write and the other way round. */
	if (what & (IO_READ | IO_HANGUP) || c->tls)
		c->readable = true;
	if (conn_flows(c))
		on_ready_flowing(c, was_full && c->writable);
	else if (c->state == CONN_CONNECTING && what & (IO_WRITE | IO_HANGUP))
		step_connect(c);
	else if (c->state == CONN_HANDSHAKE)
		loop_defer(c->loop, &c->later);
}

void conn_pause(struct conn *c)
{
	c->paused = true;
}

void conn_resume(struct conn *c)
{
	if (!c->paused)
		return;
	c->paused = false;
	c->resumed = true;
	if (conn_flows(c))
		loop_defer(c->loop, &c->later);
}

bool conn_peer_name(const struct conn *c, char *out, size_t size)
{
	size_t n = c->name ? strlen(c->name) : 0;

	if (c->tls)
		return tls_peer_name(c->tls, out, size);
	if (n == 0 || n >= size)
		return false;
	memcpy(out, c->name, n + 1);
	return true;
}

bool conn_peer_subject(const struct conn *c, char *out, size_t size)
{
	return c->tls && tls_peer_subject(c->tls, out, size);
}

/* --- the beginning ----------------------------------------------------- */

static void set_up(struct conn *c, struct loop *l, int fd, const struct address *peer,
	const struct conn_handler *handler)
{
	memset(c, 0, sizeof(*c));
	c->io = (struct io){fd, conn_on_ready};
	c->loop = l;
	c->handler = handler;
	c->peer = *peer;
	c->later.run = conn_later;
	list_init(&c->later.link);
}

static void set_option(int fd, int level, int option, uint32_t value)
{
	int number = value > INT32_MAX ? INT32_MAX : (int)value;

	setsockopt(fd, level, option, &number, sizeof(number));
}

static void set_options(int fd, const struct conn_options *options)
{
	if (options && options->send_buffer_bytes)
		set_option(fd, SOL_SOCKET, SO_SNDBUF, options->send_buffer_bytes);
	if (options && options->receive_buffer_bytes)
		set_option(fd, SOL_SOCKET, SO_RCVBUF, options->receive_buffer_bytes);
}

/* Gives err after closing the socket; errno stays. */
static int abandon(struct conn *c, int err)
{
	int saved = errno;

	tls_session_free(c->tls);
	c->tls = NULL;
	conn_free_websocket(c);
	buf_fini(&c->out);
	close(c->io.fd);
	c->io.fd = -1;
	errno = saved;
	return err;
}

int conn_accept(struct conn *c, struct loop *l, const struct arrival *a,
	const struct conn_options *options, const struct conn_handler *handler)
{
	set_up(c, l, a->fd, a->peer, handler);
	c->tls_before = a->tls_before;
	c->state = CONN_HANDSHAKE;
	c->writable = true;
	set_options(a->fd, options);
	if (a->tls && (c->tls = tls_session_new(a->tls, a->fd, NULL)) == NULL)
		return abandon(c, ERR_TLS);
	if (loop_add(l, &c->io) < 0)
		return abandon(c, ERR_SYSTEM);
	c->name = mem_text(a->name);
	if (c->tls == NULL) /* otherwise the peer begins */
		loop_defer(l, &c->later);
	return 0;
}

static int begin_to_connect(struct conn *c, const struct address *to, const struct address *local)
{
	if (local) {
		/* The port is chosen at connect(), so one address serves many peers. */
		set_option(c->io.fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
		if (bind(c->io.fd, &local->any, address_length(local)) != 0)
			return ERR_SYSTEM;
	}
	if (connect(c->io.fd, &to->any, address_length(to)) != 0 && errno != EINPROGRESS)
		return ERR_SYSTEM;
	/* Not before connect(): a socket that is nowhere is reported as hung up. */
	return loop_add(c->loop, &c->io);
}

static bool asks_websocket(const struct conn_options *options)
{
	return options && options->url &&
	       (options->url->scheme == URL_WS || options->url->scheme == URL_WSS);
}

int conn_open(struct conn *c, struct loop *l, const struct address *to, const struct address *local,
	struct tls_context *tls, const char *server_name, const struct conn_options *options,
	const struct conn_handler *handler)
{
	int fd = socket(to->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	set_up(c, l, fd, to, handler);
	if (fd < 0)
		return ERR_SYSTEM;
	set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	set_options(fd, options);
	if (tls && (c->tls = tls_session_new(tls, fd, server_name)) == NULL)
		return abandon(c, ERR_TLS);
	if (asks_websocket(options)) {
		if (tls && !tls_offer(c->tls, "http/1.1"))
			return abandon(c, ERR_TLS);
		conn_ask_websocket(c, options->url);
	}
	return begin_to_connect(c, to, local) < 0 ? abandon(c, ERR_SYSTEM) : 0;
}

/* Everything goes along as it is; only what points to the struct itself is made anew. */
int conn_move(struct conn *to, struct conn *from, const struct conn_options *options,
	const struct conn_handler *handler)
{
	list_remove(&from->later.link);
	loop_remove(from->loop, &from->io);
	*to = *from;
	to->handler = handler;
	to->want = 0;
	to->paused = false;
	to->resumed = true;
	to->readable = true; /* an edge may have come and gone while nobody read */
	list_init(&to->later.link);
	from->tls = NULL;
	from->websocket = NULL;
	from->name = NULL;
	from->in = from->out = (struct buf){0};
	from->io.fd = -1;
	from->state = CONN_CLOSING;
	set_options(to->io.fd, options);
	if (loop_add(to->loop, &to->io) < 0) {
		conn_abort(to);
		return ERR_SYSTEM;
	}
	loop_defer(to->loop, &to->later);
	return 0;
}
