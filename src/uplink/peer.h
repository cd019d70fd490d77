/* uplink/peer.h - for *_test.c only: a broker played by the test
 *
 * One thread: the test drives the loop of what connects until something holds, and reads and writes the
 * other end of the connection itself, packet by packet, through mqtt/.
 */
#ifndef UPLINK_PEER_H
#define UPLINK_PEER_H

#include "net/harness.h"

#include <poll.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "mqtt/packet.h"

struct peer {
	struct loop *loop; /* whose connections are played with */
	int listening;
	struct address at;
	int fd;          /* our end; -1: none */
	uint8_t version; /* what the CONNECT said */
	struct buf in;
	struct buf packet; /* the last one read; its views live here */
};

static inline void peer_init(struct peer *p, struct loop *loop)
{
	*p = (struct peer){.loop = loop, .fd = -1};
	p->listening = listen_on_loopback(&p->at);
}

static inline void peer_fini(struct peer *p)
{
	if (p->fd >= 0)
		close(p->fd);
	close(p->listening);
	buf_fini(&p->in);
	buf_fini(&p->packet);
}

static inline bool fd_is_readable(void *context)
{
	struct pollfd ready = {.fd = *(int *)context, .events = POLLIN};

	return poll(&ready, 1, 0) > 0;
}

static inline void drive_awake(struct loop *l, bool (*done)(void *context), void *context)
{
	struct turn_hook awake = {.on_turn = drive_keep_awake};

	loop_add_hook(l, &awake);
	drive_until(l, done, context);
	loop_remove_hook(l, &awake);
}

static inline void peer_accept(struct peer *p)
{
	drive_awake(p->loop, fd_is_readable, &p->listening);
	p->fd = accept(p->listening, NULL, NULL);
	assert_true(p->fd >= 0);
	buf_clear(&p->in);
}

static inline void peer_close(struct peer *p)
{
	close(p->fd);
	p->fd = -1;
	buf_clear(&p->in);
}

static inline void peer_send_bytes(struct peer *p, const void *bytes, size_t n)
{
	assert_int_equal(write(p->fd, bytes, n), n);
}

static inline void peer_send(struct peer *p, const struct mqtt_packet *packet)
{
	struct buf out = {0};

	assert_int_equal(mqtt_encode(&out, p->version, packet), 0);
	peer_send_bytes(p, out.data, buf_length(&out));
	buf_fini(&out);
}

/* The next packet from the source; false: it has closed. */
static inline bool peer_try_read(struct peer *p, struct mqtt_packet *out)
{
	for (;;) {
		uint8_t bytes[4096];
		int64_t used;
		ssize_t n;

		buf_clear(&p->packet);
		buf_append(&p->packet, buf_bytes(&p->in), buf_length(&p->in));
		used = buf_length(&p->in) == 0
			       ? 0
			       : mqtt_decode(p->packet.data, buf_length(&p->packet),
					 MQTT_FROM_CLIENT, p->version, 1u << 20, out, NULL);
		assert_true(used >= 0);
		if (used > 0) {
			buf_consume(&p->in, (size_t)used);
			return true;
		}
		drive_awake(p->loop, fd_is_readable, &p->fd);
		n = read(p->fd, bytes, sizeof(bytes));
		if (n <= 0)
			return false;
		buf_append(&p->in, bytes, (size_t)n);
	}
}

static inline struct mqtt_packet peer_read(struct peer *p, enum mqtt_type type)
{
	struct mqtt_packet packet;

	assert_true(peer_try_read(p, &packet));
	assert_string_equal(mqtt_type_name(packet.type), mqtt_type_name(type));
	return packet;
}

static inline void peer_expect_ack(struct peer *p, uint16_t packet_id)
{
	struct mqtt_packet packet = peer_read(p, MQTT_PUBACK);

	assert_int_equal(packet.ack.packet_id, packet_id);
	assert_int_equal(packet.ack.reason, 0);
}

static inline void peer_expect_close(struct peer *p)
{
	struct mqtt_packet packet;

	while (peer_try_read(p, &packet))
		;
	peer_close(p);
}

static inline struct mqtt_packet peer_read_connect(struct peer *p)
{
	struct mqtt_packet packet;

	peer_accept(p);
	packet = peer_read(p, MQTT_CONNECT);
	p->version = packet.connect.version;
	return packet;
}

static inline void peer_send_connack(struct peer *p, uint8_t reason)
{
	peer_send(p, &(struct mqtt_packet){.type = MQTT_CONNACK, .connack.reason = reason});
}

static inline void peer_send_suback(struct peer *p, const char *codes, size_t n)
{
	peer_send(p,
		&(struct mqtt_packet){.type = MQTT_SUBACK, .list = {1, {codes, n}, (uint32_t)n}});
}

#endif
