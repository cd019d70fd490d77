/* PUBLISH packets from a peer played by the test: judged, committed, counted, acknowledged. */
#include "source/fixture.h"

static void connect_source(struct fixture *f)
{
	fixture_apply(f);
	peer_greet(f);
}

static struct source_figures *figures(struct fixture *f)
{
	return &fixture_source(f)->figures;
}

static void a_notification_is_published_once_and_every_copy_acknowledged(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f);
	connect_source(&f);
	peer_publish(&f.peer, 1, 10);
	peer_expect_ack(&f.peer, 10);
	peer_publish(&f.peer, 1, 11);
	peer_expect_ack(&f.peer, 11);
	assert_int_equal(count_read(&figures(&f)->received), 2);
	assert_int_equal(count_read(&figures(&f)->published), 1);
	assert_int_equal(count_read(&figures(&f)->duplicates), 1);
	assert_int_equal(journal_tail(commit_journal(f.commit)), 1);
	assert_true(count_read(&figures(&f)->last_message_ms) > 0);
	fixture_fini(&f);
}

static void another_message_under_a_known_id_is_counted_by_the_voice(void **state)
{
	char payload[1024];
	struct fixture f;
	size_t n;

	(void)state;
	fixture_init(&f);
	connect_source(&f);
	peer_publish(&f.peer, 1, 10);
	n = notification(payload, sizeof(payload), 1, ",\"x\":1");
	peer_publish_raw(&f.peer, DWD_TOPIC, payload, n, 11);
	peer_expect_ack(&f.peer, 10);
	peer_expect_ack(&f.peer, 11);
	assert_int_equal(count_read(&figures(&f)->duplicates), 1);
	assert_int_equal(count_read(&figures(&f)->conflicts), 1);
	fixture_source(&f)->is_voice = false;
	peer_publish_raw(&f.peer, DWD_TOPIC, payload, n, 12);
	peer_expect_ack(&f.peer, 12);
	assert_int_equal(count_read(&figures(&f)->standby_duplicates), 1);
	assert_int_equal(count_read(&figures(&f)->conflicts), 1);
	fixture_fini(&f);
}

static void where_content_is_cut_a_copy_that_has_it_is_in_no_conflict(void **state)
{
	char payload[1024];
	struct fixture f;
	size_t n;

	(void)state;
	fixture_init(&f);
	f.config.strip_content = true;
	connect_source(&f);
	peer_publish(&f.peer, 1, 10);
	peer_expect_ack(&f.peer, 10);
	fixture_source(&f)->setup->config.strip_content = false;
	n = notification(payload, sizeof(payload), 1, "," CONTENT);
	peer_publish_raw(&f.peer, DWD_TOPIC, payload, n, 11);
	peer_expect_ack(&f.peer, 11);
	n = notification(payload, sizeof(payload), 1, ",\"x\":1");
	peer_publish_raw(&f.peer, DWD_TOPIC, payload, n, 12);
	peer_expect_ack(&f.peer, 12);
	assert_int_equal(count_read(&figures(&f)->duplicates), 2);
	assert_int_equal(count_read(&figures(&f)->conflicts), 1);
	fixture_fini(&f);
}

static void acknowledgements_leave_in_the_order_of_publish(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init_with(&f, JOURNAL_SYNC_ALWAYS, NULL);
	connect_source(&f);
	/* A refused message is done at once, a valid one only when the disk has it. */
	peer_publish(&f.peer, 1, 1);
	peer_publish_raw(&f.peer, DWD_TOPIC, "{", 1, 2);
	peer_publish(&f.peer, 2, 3);
	peer_publish(&f.peer, 1, 4);
	for (uint16_t id = 1; id <= 4; id++)
		peer_expect_ack(&f.peer, id);
	fixture_fini(&f);
}

static void half_packets_are_put_together(void **state)
{
	struct mqtt_packet packet = {.type = MQTT_PUBLISH};
	char payload[1024];
	struct buf out = {0};
	struct fixture f;

	(void)state;
	fixture_init(&f);
	connect_source(&f);
	packet.publish = (struct mqtt_publish){.topic = VIEW(DWD_TOPIC),
		.packet_id = 5,
		.qos = 1,
		.payload = {payload, notification(payload, sizeof(payload), 1, "")}};
	mqtt_encode(&out, MQTT_5, &packet);
	for (size_t i = 0; i < buf_length(&out); i++) {
		peer_send_bytes(&f.peer, out.data + i, 1);
		drive_turns(f.loop, 2);
	}
	peer_expect_ack(&f.peer, 5);
	assert_int_equal(count_read(&figures(&f)->published), 1);
	buf_fini(&out);
	fixture_fini(&f);
}

static void many_packets_of_one_read_are_all_taken(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f);
	f.config.receive_maximum = 2000;
	connect_source(&f);
	for (uint16_t i = 1; i <= 1500; i++)
		peer_publish(&f.peer, i, i);
	for (uint16_t i = 1; i <= 1500; i++)
		peer_expect_ack(&f.peer, i);
	assert_int_equal(count_read(&figures(&f)->published), 1500);
	fixture_fini(&f);
}

static void qos_0_is_published_and_not_acknowledged(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f);
	connect_source(&f);
	peer_publish(&f.peer, 1, 0);
	peer_publish(&f.peer, 2, 9);
	peer_expect_ack(&f.peer, 9);
	assert_int_equal(count_read(&figures(&f)->published), 2);
	fixture_fini(&f);
}

/* --- refused messages --------------------------------------------------- */

static void refused_messages_are_acknowledged_and_counted_by_rule(void **state)
{
	static const struct {
		const char *topic;
		const char *payload;
		enum rule rule;
		enum rule_check check;
	} rows[] = {
		{DWD_TOPIC, "[]", RULE_WNM_04, CHECK_MESSAGE},
		{"origin/a/wis2/fr-meteofrance" SYNOP, "{}", RULE_WTH_22, CHECK_CENTRE},
		{"origin/a/wis2/de-dwd/data/core/whether/x", "{}", RULE_WTH_11, CHECK_TOPIC},
		{"sandbox/x", "{}", RULE_WTH_04, CHECK_TOPIC},
	};
	struct fixture f;

	(void)state;
	fixture_init(&f);
	connect_source(&f);
	for (uint16_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t before = count_read(&figures(&f)->checks[rows[i].check]);

		peer_publish_raw(&f.peer, rows[i].topic, rows[i].payload, strlen(rows[i].payload),
			(uint16_t)(i + 1));
		peer_expect_ack(&f.peer, (uint16_t)(i + 1));
		assert_int_equal(count_read(&figures(&f)->rejected[rows[i].rule]), 1);
		assert_int_equal(count_read(&figures(&f)->checks[rows[i].check]), before + 1);
		assert_int_equal(count_read(&figures(&f)->received), i + 1);
	}
	assert_int_equal(count_read(&figures(&f)->published), 0);
	assert_int_equal(journal_tail(commit_journal(f.commit)), 0);
	fixture_fini(&f);
}

static void verify_moves_the_error_counter_and_published(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f);
	f.config.checks.checks[CHECK_MESSAGE] = GATE_VERIFY;
	connect_source(&f);
	peer_publish_raw(&f.peer, DWD_TOPIC, "{}", 2, 1);
	peer_expect_ack(&f.peer, 1);
	assert_int_equal(count_read(&figures(&f)->checks[CHECK_MESSAGE]), 1);
	assert_int_equal(count_read(&figures(&f)->published), 1);
	fixture_fini(&f);
}

static void a_topic_that_is_none_does_not_end_the_connection(void **state)
{
	static const char bad[] = "\x32\x0d"
				  "\x00\x06"
				  "a/\xff/+/"
				  "\x00\x07"
				  "\x00"
				  "{}";
	static const char wild[] = "\x32\x0a"
				   "\x00\x03"
				   "a/#"
				   "\x00\x08"
				   "\x00"
				   "{}";
	struct fixture f;

	(void)state;
	fixture_init(&f);
	connect_source(&f);
	peer_send_bytes(&f.peer, bad, 2 + 13);
	assert_int_equal(sizeof(bad) - 1, 15);
	peer_expect_ack(&f.peer, 7);
	peer_send_bytes(&f.peer, wild, sizeof(wild) - 1);
	peer_expect_ack(&f.peer, 8);
	assert_int_equal(count_read(&figures(&f)->rejected[RULE_WTH_01]), 2);
	assert_int_equal(count_read(&figures(&f)->received), 2);
	fixture_fini(&f);
}

static void an_oversized_packet_is_read_past_counted_and_acknowledged_in_order(void **state)
{
	char *large = mem_new(1 << 20);
	struct fixture f;

	(void)state;
	fixture_init(&f);
	connect_source(&f);
	peer_publish(&f.peer, 1, 1);
	for (size_t sent = 0; sent < 3; sent++)
		drive_turns(f.loop, 1);
	{
		/* Topic, id, 200 000 bytes: more than the socket takes at once is sent in pieces. */
		static const uint8_t head[] = {0x32, 0xc8, 0x9a, 0x0c, 0, 1, 'x', 0, 2, 0};
		size_t rest = 200008 - 6;

		peer_send_bytes(&f.peer, head, sizeof(head));
		while (rest) {
			size_t n = rest < 10000 ? rest : 10000;

			peer_send_bytes(&f.peer, large, n);
			drive_turns(f.loop, 2);
			rest -= n;
		}
	}
	peer_publish(&f.peer, 2, 3);
	peer_expect_ack(&f.peer, 1);
	peer_expect_ack(&f.peer, 2);
	peer_expect_ack(&f.peer, 3);
	assert_int_equal(count_read(&figures(&f)->oversized), 1);
	assert_int_equal(count_read(&figures(&f)->received), 3);
	assert_int_equal(count_read(&figures(&f)->published), 2);
	assert_int_equal(buf_length(&fixture_source(&f)->uplink.conn.in), 0);
	free(large);
	fixture_fini(&f);
}

/* --- protocol faults ---------------------------------------------------- */

static void more_than_receive_maximum_is_tolerated(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init_with(&f, JOURNAL_SYNC_ALWAYS, NULL);
	f.config.receive_maximum = 2;
	connect_source(&f);
	for (uint16_t i = 1; i <= 10; i++)
		peer_publish(&f.peer, i, i);
	for (uint16_t i = 1; i <= 10; i++)
		peer_expect_ack(&f.peer, i);
	assert_int_equal(count_read(&figures(&f)->connects), 1);
	fixture_fini(&f);
}

/* A PUBLISH whose properties are broken. */
static const char poisoned[] = "\x32\x0a"
			       "\x00\x01"
			       "a"
			       "\x00\x09"
			       "\x02"
			       "\x7f\x00"
			       "{}";

static void three_faults_on_the_same_packet_end_in_one_clean_start(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f);
	fixture_apply(&f);
	for (int i = 0; i < 3; i++) {
		struct mqtt_packet packet = peer_read_connect(&f.peer);

		assert_false(packet.connect.clean_start);
		peer_send_connack(&f.peer, 0);
		peer_read(&f.peer, MQTT_SUBSCRIBE);
		peer_send_suback(&f.peer, "\1", 1);
		peer_send_bytes(&f.peer, poisoned, sizeof(poisoned) - 1);
		peer_expect_close(&f.peer);
	}
	assert_true(peer_read_connect(&f.peer).connect.clean_start);
	peer_send_connack(&f.peer, 0);
	await_figure(&f, &figures(&f)->lost_by_clean_start, 1);
	peer_read(&f.peer, MQTT_SUBSCRIBE);
	peer_close(&f.peer);
	assert_false(peer_read_connect(&f.peer).connect.clean_start);
	fixture_fini(&f);
}

static void in_3_1_1_the_session_is_dropped_by_a_connection_of_its_own(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f);
	f.config.protocol = MQTT_3_1_1;
	fixture_apply(&f);
	for (int i = 0; i < 3; i++) {
		static const char qos3[] = "\x36\x07"
					   "\x00\x01"
					   "a"
					   "\x00\x09"
					   "{}";

		peer_greet(&f);
		peer_send_bytes(&f.peer, qos3, sizeof(qos3) - 1);
		peer_expect_close(&f.peer);
	}
	assert_true(peer_read_connect(&f.peer).connect.clean_start);
	peer_send_connack(&f.peer, 0);
	peer_expect_close(&f.peer);
	assert_false(peer_read_connect(&f.peer).connect.clean_start);
	fixture_fini(&f);
}

/* --- holding back ------------------------------------------------------- */

static atomic_int writes_fail;
static struct journal_system failing;

static ssize_t fail_pwrite(int fd, const void *p, size_t n, off_t at)
{
	if (atomic_load(&writes_fail)) {
		errno = ENOSPC;
		return -1;
	}
	return system_real()->pwrite(fd, p, n, at);
}

static bool is_held(void *context)
{
	return ((struct source *)context)->pauses & PAUSED_HELD;
}

static void a_held_journal_withholds_acknowledgements_and_loses_nothing(void **state)
{
	struct fixture f;

	(void)state;
	failing = *system_real();
	failing.pwrite = fail_pwrite;
	fixture_init_with(&f, JOURNAL_SYNC_NEVER, &failing);
	connect_source(&f);
	peer_publish(&f.peer, 1, 1);
	peer_expect_ack(&f.peer, 1);
	atomic_store(&writes_fail, 1);
	peer_publish(&f.peer, 2, 2);
	peer_publish_raw(&f.peer, DWD_TOPIC, "[]", 2, 3);
	peer_publish(&f.peer, 3, 4);
	drive_until(f.loop, is_held, fixture_source(&f));
	assert_int_equal(count_read(&figures(&f)->published), 1);
	atomic_store(&writes_fail, 0);
	for (uint16_t id = 2; id <= 4; id++)
		peer_expect_ack(&f.peer, id);
	assert_int_equal(count_read(&figures(&f)->received), 4);
	assert_int_equal(count_read(&figures(&f)->published), 3);
	assert_int_equal(count_read(&figures(&f)->duplicates), 0);
	assert_int_equal(count_read(&figures(&f)->checks[CHECK_MESSAGE]), 1);
	fixture_fini(&f);
}

static void a_source_lost_while_held_connects_again_and_nothing_is_counted_twice(void **state)
{
	struct fixture f;

	(void)state;
	failing = *system_real();
	failing.pwrite = fail_pwrite;
	fixture_init_with(&f, JOURNAL_SYNC_NEVER, &failing);
	connect_source(&f);
	atomic_store(&writes_fail, 1);
	peer_publish(&f.peer, 1, 1);
	drive_until(f.loop, is_held, fixture_source(&f));
	f.config.rate = 1000; /* a change of configuration ends the connection */
	fixture_apply(&f);
	peer_expect_close(&f.peer);
	peer_greet(&f);
	atomic_store(&writes_fail, 0);
	peer_publish(&f.peer, 1, 1);
	peer_expect_ack(&f.peer, 1);
	assert_int_equal(count_read(&figures(&f)->received), 1);
	assert_int_equal(count_read(&figures(&f)->published), 1);
	fixture_fini(&f);
}

static void over_the_rate_acknowledgements_wait_and_nothing_is_dropped(void **state)
{
	uint64_t began;
	struct fixture f;

	(void)state;
	fixture_init(&f);
	f.config.rate = 20;
	connect_source(&f);
	began = clock_mono_ms();
	for (uint16_t i = 1; i <= 30; i++)
		peer_publish(&f.peer, i, i);
	for (uint16_t i = 1; i <= 30; i++)
		peer_expect_ack(&f.peer, i);
	/* A second's worth at once, then 20 a second. */
	assert_true(clock_mono_ms() - began >= 400);
	assert_int_equal(count_read(&figures(&f)->published), 30);
	fixture_fini(&f);
}

/* --- what is written ---------------------------------------------------- */

struct record {
	const struct journal_entry *entry;
	struct view topic;
	struct view payload;
	struct view properties;
};

static void read_first_record(struct fixture *f, struct journal_reader *r, struct record *out)
{
	const struct journal_segment *segment;
	const uint8_t *p;

	journal_reader_open(commit_journal(f->commit), r);
	journal_reader_enter(r);
	segment = journal_find(commit_journal(f->commit), 0);
	assert_non_null(segment);
	out->entry = &segment->entries[0];
	p = segment->packets + out->entry->offset;
	out->properties = (struct view){
		(const char *)p + out->entry->packet_bytes, out->entry->property_bytes};
	p += out->entry->header_bytes;
	out->topic = (struct view){(const char *)p + 2, (size_t)p[0] << 8 | p[1]};
	out->payload.p = out->topic.p + out->topic.n;
	out->payload.n = out->entry->packet_bytes - out->entry->header_bytes - 2u - out->topic.n;
}

static void content_is_cut_out_with_its_comma(void **state)
{
	static const struct {
		const char *extra;
		const char *want;
	} rows[] = {
		{"," CONTENT, ""},
		{", " CONTENT " ", ", "},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char payload[1024], want[1024];
		struct journal_reader r;
		struct record record;
		struct fixture f;
		size_t n = notification(payload, sizeof(payload), 1, rows[i].extra);
		size_t wanted = notification(want, sizeof(want), 1, rows[i].want);
		char *twice = strstr(want, ", ,");

		fixture_init(&f);
		f.config.strip_content = true;
		connect_source(&f);
		if (twice) { /* the comma behind it goes */
			memmove(twice + 2, twice + 3, strlen(twice + 2));
			wanted--;
		}
		peer_publish_raw(&f.peer, DWD_TOPIC, payload, n, 1);
		peer_expect_ack(&f.peer, 1);
		read_first_record(&f, &r, &record);
		assert_int_equal(record.payload.n, wanted);
		assert_memory_equal(record.payload.p, want, wanted);
		journal_reader_close(&r);
		fixture_fini(&f);
	}
}

static void content_at_the_end_takes_the_comma_before_it(void **state)
{
	static const char payload[] =
		"{\"id\":\"8893163b-1bef-4e36-a874-0e01cbd2bd7a\",\"conformsTo\":["
		"\"http://wis.wmo.int/spec/wnm/1/conf/"
		"core\"],\"type\":\"Feature\",\"geometry\":null,"
		"\"links\":[{\"rel\":\"canonical\",\"href\":\"http://example.org/"
		"1\"}],\"properties\":{"
		"\"pubtime\":\"2026-01-01T00:00:00Z\",\"data_id\":\"d/1\",\"datetime\":null "
		", " CONTENT "}}";
	struct journal_reader r;
	struct record record;
	struct fixture f;

	(void)state;
	fixture_init(&f);
	f.config.strip_content = true;
	connect_source(&f);
	peer_publish_raw(&f.peer, DWD_TOPIC, payload, sizeof(payload) - 1, 1);
	peer_expect_ack(&f.peer, 1);
	read_first_record(&f, &r, &record);
	assert_true(view_ends_with(record.payload, VIEW("\"datetime\":null }}")));
	journal_reader_close(&r);
	fixture_fini(&f);
}

static void bytes_and_the_properties_to_forward_are_written(void **state)
{
	struct mqtt_packet packet = {.type = MQTT_PUBLISH};
	struct buf all = {0}, want = {0};
	struct journal_reader r;
	struct record record;
	char payload[1024];
	struct fixture f;

	(void)state;
	fixture_init(&f);
	connect_source(&f);
	mqtt_put_number(&all, MQTT_PROPERTY_PAYLOAD_FORMAT_INDICATOR, 1);
	mqtt_put_number(&all, MQTT_PROPERTY_MESSAGE_EXPIRY_INTERVAL, 600);
	mqtt_put_text(&all, MQTT_PROPERTY_RESPONSE_TOPIC, VIEW("x"));
	mqtt_put_user(&all, VIEW("a"), VIEW("b"));
	mqtt_put_text(&all, MQTT_PROPERTY_CONTENT_TYPE, VIEW("application/geo+json"));
	mqtt_put_number(&want, MQTT_PROPERTY_PAYLOAD_FORMAT_INDICATOR, 1);
	mqtt_put_user(&want, VIEW("a"), VIEW("b"));
	mqtt_put_text(&want, MQTT_PROPERTY_CONTENT_TYPE, VIEW("application/geo+json"));
	packet.properties.raw = buf_view(&all);
	packet.publish = (struct mqtt_publish){.topic = VIEW(DWD_TOPIC),
		.packet_id = 5,
		.qos = 1,
		.retain = true,
		.payload = {payload, notification(payload, sizeof(payload), 1, "")}};
	peer_send(&f.peer, &packet);
	peer_expect_ack(&f.peer, 5);
	read_first_record(&f, &r, &record);
	assert_true(view_equal(record.topic, VIEW(DWD_TOPIC)));
	assert_true(view_equal(record.payload, packet.publish.payload));
	assert_true(view_equal(record.properties, buf_view(&want)));
	assert_int_equal(record.entry->expiry_s, 600);
	assert_int_equal(record.entry->flags & (JOURNAL_CLAIMED | JOURNAL_RETAIN), JOURNAL_CLAIMED);
	assert_int_equal(journal_entry_qos(record.entry), 1);
	journal_reader_close(&r);
	buf_fini(&all);
	buf_fini(&want);
	fixture_fini(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_notification_is_published_once_and_every_copy_acknowledged),
		cmocka_unit_test(another_message_under_a_known_id_is_counted_by_the_voice),
		cmocka_unit_test(where_content_is_cut_a_copy_that_has_it_is_in_no_conflict),
		cmocka_unit_test(acknowledgements_leave_in_the_order_of_publish),
		cmocka_unit_test(half_packets_are_put_together),
		cmocka_unit_test(many_packets_of_one_read_are_all_taken),
		cmocka_unit_test(qos_0_is_published_and_not_acknowledged),
		cmocka_unit_test(refused_messages_are_acknowledged_and_counted_by_rule),
		cmocka_unit_test(verify_moves_the_error_counter_and_published),
		cmocka_unit_test(a_topic_that_is_none_does_not_end_the_connection),
		cmocka_unit_test(
			an_oversized_packet_is_read_past_counted_and_acknowledged_in_order),
		cmocka_unit_test(more_than_receive_maximum_is_tolerated),
		cmocka_unit_test(three_faults_on_the_same_packet_end_in_one_clean_start),
		cmocka_unit_test(in_3_1_1_the_session_is_dropped_by_a_connection_of_its_own),
		cmocka_unit_test(a_held_journal_withholds_acknowledgements_and_loses_nothing),
		cmocka_unit_test(
			a_source_lost_while_held_connects_again_and_nothing_is_counted_twice),
		cmocka_unit_test(over_the_rate_acknowledgements_wait_and_nothing_is_dropped),
		cmocka_unit_test(content_is_cut_out_with_its_comma),
		cmocka_unit_test(content_at_the_end_takes_the_comma_before_it),
		cmocka_unit_test(bytes_and_the_properties_to_forward_are_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
