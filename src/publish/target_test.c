/* A broker that is fed: what it is sent, what its answers do, what a lost connection means. */
#include "net/harness_clock.h"
#include "publish/fixture.h"

#include "mqtt/reason.h"

/* --- what it is sent --------------------------------------------------------- */

static void a_new_target_gets_what_comes_from_then_on(void **state)
{
	struct mqtt_packet connect;
	struct mqtt_publish first;
	struct fixture f;

	(void)state;
	fixture_init(&f);
	append_text(&f, TOPIC, "before");
	fixture_apply(&f);
	connect = greet_with(&f, false, (struct view){"", 0});
	assert_true(connect.connect.clean_start);
	assert_false(connect.connect.has_user_name);
	assert_true(view_starts_with(
		connect.connect.client_id, VIEW("io-wis2dev-global-broker-publish-")));
	append_numbers(&f, 0, 2);
	first = expect(&f, "0");
	assert_true(view_equal(first.topic, VIEW(TOPIC)));
	assert_false(first.dup || first.retain);
	answer(&f, first.packet_id, 0);
	answer(&f, expect(&f, "1").packet_id, MQTT_RC_NO_MATCHING_SUBSCRIBERS);
	await_figure(&f, &fixture_figures(&f)->acknowledged, 2);
	assert_int_equal(count_read(&fixture_figures(&f)->position), 3);
	fixture_fini(&f);
}

static void only_what_filters_want_and_nothing_hidden_is_sent(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f);
	fixture_apply(&f);
	greet(&f);
	append_text(&f, "sandbox/a", "x");
	append(&f, (struct journal_message){
			   .topic = VIEW(TOPIC), .payload = VIEW("y"), .flags = JOURNAL_HIDDEN});
	append_text(&f, "monitor/a/wis2/de-dwd", "event");
	expect(&f, "event");
	expect_silence(&f);
	fixture_fini(&f);
}

static void properties_and_what_is_left_of_the_expiry_are_passed_on(void **state)
{
	struct buf properties = {0};
	struct mqtt_packet packet;
	struct fixture f;

	(void)state;
	fixture_init(&f);
	fixture_apply(&f);
	greet(&f);
	mqtt_put_text(&properties, MQTT_PROPERTY_CONTENT_TYPE, VIEW("text/plain"));
	append(&f, (struct journal_message){.topic = VIEW(TOPIC),
			   .payload = VIEW("x"),
			   .properties = buf_view(&properties),
			   .expiry_s = 1000});
	packet = peer_read(&f.peer, MQTT_PUBLISH);
	assert_in_range(mqtt_number(&packet.properties, MQTT_PROPERTY_MESSAGE_EXPIRY_INTERVAL, 0),
		900, 1000);
	assert_true(
		view_equal(packet.properties.text[MQTT_PROPERTY_CONTENT_TYPE], VIEW("text/plain")));
	buf_fini(&properties);
	fixture_fini(&f);
}

static void the_retain_flag_goes_only_where_it_is_understood(void **state)
{
	static const char none[] = {0x25, 0}; /* retain available */

	(void)state;
	for (int understood = 0; understood < 2; understood++) {
		struct fixture f;

		fixture_init(&f);
		fixture_apply(&f);
		greet_with(&f, false,
			understood ? (struct view){"", 0} : (struct view){none, sizeof(none)});
		append(&f, (struct journal_message){.topic = VIEW(TOPIC),
				   .payload = VIEW("x"),
				   .flags = JOURNAL_RETAIN});
		assert_int_equal(expect(&f, "x").retain, understood);
		fixture_fini(&f);
	}
}

static void no_more_are_open_than_the_target_allows(void **state)
{
	static const char two[] = {0x21, 0, 2}; /* receive maximum */
	uint16_t first;
	struct fixture f;

	(void)state;
	fixture_init(&f);
	fixture_apply(&f);
	greet_with(&f, false, (struct view){two, sizeof(two)});
	append_numbers(&f, 0, 4);
	first = expect(&f, "0").packet_id;
	expect(&f, "1");
	expect_silence(&f);
	answer(&f, first, 0);
	expect(&f, "2");
	expect_silence(&f);
	fixture_fini(&f);
}

static void what_is_larger_than_the_target_takes_is_a_loss(void **state)
{
	static const char hundred[] = {0x27, 0, 0, 0, 100}; /* maximum packet size */
	struct buf large = {0};
	struct fixture f;

	(void)state;
	fixture_init(&f);
	fixture_apply(&f);
	greet_with(&f, false, (struct view){hundred, sizeof(hundred)});
	buf_printf(&large, "%100d", 7);
	append(&f, (struct journal_message){.topic = VIEW(TOPIC), .payload = buf_view(&large)});
	append_text(&f, TOPIC, "small");
	answer(&f, expect(&f, "small").packet_id, 0);
	await_figure(&f, &fixture_figures(&f)->acknowledged, 1);
	assert_int_equal(publish_lost(fixture_figures(&f), PUBLISH_OVERSIZE), 1);
	buf_fini(&large);
	fixture_fini(&f);
}

static void a_target_without_qos_1_is_left(void **state)
{
	static const char zero[] = {0x24, 0}; /* maximum QoS */
	struct mqtt_packet connack = {.type = MQTT_CONNACK};
	struct uplink_shown shown;
	struct fixture f;

	(void)state;
	fixture_init(&f);
	fixture_apply(&f);
	peer_read_connect(&f.peer);
	connack.properties.raw = (struct view){zero, sizeof(zero)};
	peer_send(&f.peer, &connack);
	peer_expect_close(&f.peer);
	uplink_look(&fixture_target(&f)->uplink, &shown);
	assert_non_null(strstr(shown.error, "QoS 0 only"));
	fixture_fini(&f);
}

/* --- a lost connection ----------------------------------------------------------- */

static void what_was_open_is_sent_again_with_its_id(void **state)
{
	(void)state;
	for (int present = 0; present < 2; present++) {
		struct mqtt_publish again;
		uint16_t ids[3];
		struct fixture f;

		fixture_init(&f);
		fixture_apply(&f);
		greet(&f);
		append_numbers(&f, 0, 3);
		ids[0] = expect(&f, "0").packet_id;
		ids[1] = expect(&f, "1").packet_id;
		ids[2] = expect(&f, "2").packet_id;
		answer(&f, ids[1], 0);
		await_figure(&f, &fixture_figures(&f)->acknowledged, 1);
		assert_int_equal(count_read(&fixture_figures(&f)->position), 0);
		fixture_target(&f)->excused = true; /* the broker was only restarted */
		peer_close(&f.peer);
		await_figure(&f, &fixture_figures(&f)->connected, 0);
		assert_false(greet_with(&f, present, (struct view){"", 0}).connect.clean_start);
		again = expect(&f, "0");
		assert_int_equal(again.packet_id, ids[0]);
		assert_int_equal(again.dup, present);
		assert_int_equal(expect(&f, "2").packet_id, ids[2]);
		append_text(&f, TOPIC, "new");
		assert_false(expect(&f, "new").dup);
		assert_int_equal(count_read(&fixture_figures(&f)->resent), 2);
		fixture_fini(&f);
	}
}

/* Reads one, then the broker closes; gives how long ago the position was. */
static void close_on(struct fixture *f, const char *payload)
{
	expect(f, payload);
	expect_silence(f);
	peer_close(&f->peer);
	await_figure(f, &fixture_figures(f)->connected, 0);
}

static void a_message_closed_upon_three_times_is_skipped(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f);
	fixture_apply(&f);
	greet(&f);
	append_numbers(&f, 0, 3);
	expect(&f, "0");
	expect(&f, "1");
	close_on(&f, "2"); /* which of them it was is not known */
	greet(&f);
	answer(&f, expect(&f, "0").packet_id, 0); /* one by one now */
	close_on(&f, "1");
	greet(&f);
	close_on(&f, "1");
	greet(&f);
	close_on(&f, "1");
	assert_int_equal(publish_lost(fixture_figures(&f), PUBLISH_CLOSED), 1);
	greet(&f);
	answer(&f, expect(&f, "2").packet_id, 0);
	append_numbers(&f, 3, 5);
	expect(&f, "3"); /* and all together again */
	expect(&f, "4");
	assert_int_equal(count_read(&fixture_figures(&f)->acknowledged), 2);
	fixture_fini(&f);
}

static void a_broker_that_shuts_down_blames_no_message(void **state)
{
	static const uint8_t reasons[] = {MQTT_RC_SERVER_SHUTTING_DOWN, MQTT_RC_SERVER_BUSY,
		MQTT_RC_SESSION_TAKEN_OVER, MQTT_RC_ADMINISTRATIVE_ACTION};
	struct fixture f;

	(void)state;
	fixture_init(&f);
	fixture_apply(&f);
	append_text(&f, TOPIC, "x");
	for (size_t i = 0; i < sizeof(reasons); i++) {
		greet(&f);
		if (i == 0)
			append_text(&f, TOPIC, "y");
		expect(&f, "x");
		peer_send(&f.peer, &(struct mqtt_packet){
					   .type = MQTT_DISCONNECT, .reason.reason = reasons[i]});
		peer_expect_close(&f.peer);
	}
	greet(&f);
	expect(&f, "x");
	expect(&f, "y"); /* not one by one */
	assert_int_equal(publish_lost(fixture_figures(&f), PUBLISH_CLOSED), 0);
	fixture_fini(&f);
}

static void a_connection_without_answers_is_given_up(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f);
	f.publisher->times.stall_ms = 1;
	fixture_apply(&f);
	greet(&f);
	append_text(&f, TOPIC, "x");
	expect(&f, "x");
	await_figure(&f, &fixture_figures(&f)->connected, 0);
	peer_close(&f.peer);
	greet(&f);
	expect(&f, "x");
	fixture_fini(&f);
}

/* --- refusals ----------------------------------------------------------------------- */

static void what_is_refused_for_good_is_counted_and_not_sent_again(void **state)
{
	static const uint8_t reasons[] = {
		MQTT_RC_NOT_AUTHORIZED, MQTT_RC_TOPIC_NAME_INVALID, MQTT_RC_PAYLOAD_FORMAT_INVALID};
	struct fixture f;

	(void)state;
	fixture_init(&f);
	fixture_apply(&f);
	greet(&f);
	append_numbers(&f, 0, 4);
	answer(&f, expect(&f, "0").packet_id, reasons[0]);
	answer(&f, expect(&f, "1").packet_id, reasons[1]);
	answer(&f, expect(&f, "2").packet_id, reasons[2]);
	answer(&f, expect(&f, "3").packet_id, 0);
	await_figure(&f, &fixture_figures(&f)->acknowledged, 1);
	assert_int_equal(count_read(&fixture_figures(&f)->refused), 3);
	assert_int_equal(count_read(&fixture_figures(&f)->position), 4);
	expect_silence(&f);
	fixture_fini(&f);
}

static void a_broker_that_refuses_and_closes_has_said_which_it_was(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f);
	fixture_apply(&f);
	greet(&f);
	append_numbers(&f, 0, 3);
	answer(&f, expect(&f, "0").packet_id, MQTT_RC_NOT_AUTHORIZED);
	expect(&f, "1");
	expect(&f, "2");
	await_figure(&f, &fixture_figures(&f)->refused, 1);
	peer_close(&f.peer);
	await_figure(&f, &fixture_figures(&f)->connected, 0);
	greet(&f);
	expect(&f, "1");
	expect(&f, "2"); /* not one by one */
	fixture_fini(&f);
}

static void quota_exceeded_is_tried_again_before_anything_newer(void **state)
{
	struct mqtt_publish again;
	uint16_t ids[3];
	struct fixture f;

	(void)state;
	fixture_init(&f);
	fixture_apply(&f);
	greet(&f);
	append_numbers(&f, 0, 3);
	ids[0] = expect(&f, "0").packet_id;
	ids[1] = expect(&f, "1").packet_id;
	ids[2] = expect(&f, "2").packet_id;
	answer(&f, ids[0], MQTT_RC_QUOTA_EXCEEDED);
	await_figure(&f, &fixture_figures(&f)->delayed, 1);
	append_text(&f, TOPIC, "new");
	expect_silence(&f); /* the others are not answered yet */
	answer(&f, ids[1], 0);
	answer(&f, ids[2], MQTT_RC_QUOTA_EXCEEDED);
	again = expect(&f, "0");
	assert_false(again.dup); /* it was answered: a new PUBLISH */
	expect(&f, "2");
	expect(&f, "new");
	answer(&f, again.packet_id, 0);
	await_figure(&f, &fixture_figures(&f)->acknowledged, 2);
	assert_int_equal(count_read(&fixture_figures(&f)->refused), 0);
	fixture_fini(&f);
}

static void a_fault_over_there_is_tried_three_times(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f);
	fixture_apply(&f);
	greet(&f);
	append_numbers(&f, 0, 2);
	for (int i = 0; i < 4; i++) { /* the first, among others, blames none */
		answer(&f, expect(&f, "0").packet_id, MQTT_RC_IMPLEMENTATION_SPECIFIC_ERROR);
		if (i == 0)
			answer(&f, expect(&f, "1").packet_id, 0);
	}
	await_figure(&f, &fixture_figures(&f)->refused, 1);
	append_text(&f, TOPIC, "next");
	expect(&f, "next");
	fixture_fini(&f);
}

/* --- runs ------------------------------------------------------------------------------- */

static void the_next_run_goes_on_where_this_one_was(void **state)
{
	uint16_t open;
	struct fixture f;

	(void)state;
	fixture_init(&f);
	fixture_apply(&f);
	greet(&f);
	append_numbers(&f, 0, 3);
	answer(&f, expect(&f, "0").packet_id, 0);
	open = expect(&f, "1").packet_id;
	expect(&f, "2");
	answer(&f, open, 0);
	await_figure(&f, &fixture_figures(&f)->acknowledged, 2);
	fixture_close(&f); /* 2 is not answered */
	peer_close(&f.peer);
	append_numbers(&f, 3, 4);
	fixture_open(&f);
	fixture_apply(&f);
	assert_true(greet_with(&f, true, (struct view){"", 0}).connect.clean_start);
	expect(&f, "2");
	expect(&f, "3");
	fixture_fini(&f);
}

static bool is_draining(void *context)
{
	return fixture_target(context)->draining;
}

static void a_stop_waits_for_what_is_open(void **state)
{
	struct stopping s = {0};
	struct mqtt_packet packet;
	pthread_t thread;
	uint16_t id;
	struct fixture f;

	(void)state;
	fixture_init(&f);
	f.publisher->times.drain_ms = HARNESS_LIMIT_MS;
	fixture_apply(&f);
	greet(&f);
	append_text(&f, TOPIC, "x");
	id = expect(&f, "x").packet_id;
	s.fixture = &f;
	pthread_create(&thread, NULL, stop_and_say, &s);
	drive_awake(f.loop, is_draining, &f);
	harness_jump(
		f.loop, 5000); /* the tick of keep alive asks whether there is to be a connection */
	expect_silence(&f);    /* no DISCONNECT yet */
	append_text(&f, TOPIC, "not any more");
	answer(&f, id, 0);
	packet = peer_read(&f.peer, MQTT_DISCONNECT);
	assert_int_equal(packet.reason.reason, 0);
	drive_until(f.loop, is_stopped, &s);
	pthread_join(thread, NULL);
	assert_int_equal(count_read(&fixture_figures(&f)->position), 1);
	publisher_free(f.publisher);
	fixture_open(&f);
	fixture_fini(&f);
}

static void positions_that_cannot_be_read_repeat_and_lose_nothing(void **state)
{
	struct fixture f;
	FILE *file;

	(void)state;
	fixture_init(&f);
	append_numbers(&f, 0, 2);
	publisher_free(f.publisher);
	file = fopen(f.file, "w");
	fputs("not positions", file);
	fclose(file);
	fixture_open(&f);
	fixture_apply(&f);
	greet(&f);
	expect(&f, "0");
	expect(&f, "1");
	fixture_fini(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_new_target_gets_what_comes_from_then_on),
		cmocka_unit_test(only_what_filters_want_and_nothing_hidden_is_sent),
		cmocka_unit_test(properties_and_what_is_left_of_the_expiry_are_passed_on),
		cmocka_unit_test(the_retain_flag_goes_only_where_it_is_understood),
		cmocka_unit_test(no_more_are_open_than_the_target_allows),
		cmocka_unit_test(what_is_larger_than_the_target_takes_is_a_loss),
		cmocka_unit_test(a_target_without_qos_1_is_left),
		cmocka_unit_test(what_was_open_is_sent_again_with_its_id),
		cmocka_unit_test(a_message_closed_upon_three_times_is_skipped),
		cmocka_unit_test(a_broker_that_shuts_down_blames_no_message),
		cmocka_unit_test(a_connection_without_answers_is_given_up),
		cmocka_unit_test(what_is_refused_for_good_is_counted_and_not_sent_again),
		cmocka_unit_test(a_broker_that_refuses_and_closes_has_said_which_it_was),
		cmocka_unit_test(quota_exceeded_is_tried_again_before_anything_newer),
		cmocka_unit_test(a_fault_over_there_is_tried_three_times),
		cmocka_unit_test(the_next_run_goes_on_where_this_one_was),
		cmocka_unit_test(a_stop_waits_for_what_is_open),
		cmocka_unit_test(positions_that_cannot_be_read_repeat_and_lose_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
