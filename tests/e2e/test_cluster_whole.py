"""A cluster is one Global Broker from wherever one looks: figures, orders, on a real Redis Cluster."""
import os
import signal

from harness import notifications as wnm
from harness.isobar import isobar
from harness.process import wait_until

CENTRE = "de-dwd"
READER = {"user": "everyone", "password": "everyone", "read": ["#"], "session_expiry": "1h"}
NODES = {"accounts": [READER]}
RECEIVED = "wmo_wis2_gb_messages_received_total"
PUBLISHED = "wmo_wis2_gb_messages_published_total"
INVALID = "wmo_wis2_gb_messages_invalid_format_total"
CONNECTED = "wmo_wis2_gb_connected_flag"
DUPLICATES = "isobar_duplicates_total"


def states(broker, centre):
    return [s["state"] for s in broker.get_json("/api/v1/sources")["sources"] if s["centre_id"] == centre]


def holders(running, centre=CENTRE):
    return [n for n in running if "connected" in states(n, centre)]


def voices(running, centre=CENTRE):
    return [n for n in running for s in n.get_json("/api/v1/sources")["sources"]
            if s["centre_id"] == centre and s["voice"]]


def wait_holders(running, n=2, centre=CENTRE):
    """Until n hold the source and one of these counts for it; that one, and the others."""
    def is_so():
        found, voice = holders(running, centre), voices(running, centre)
        return voice + [h for h in found if h not in voice] if (len(found), len(voice)) == (n, 1) else None
    return wait_until(is_so, 20, lambda: f"states: {[states(r, centre) for r in running]}")


def shown(broker, centre=CENTRE):
    return {name: broker.metric(name, centre_id=centre)
            for name in (RECEIVED, PUBLISHED, INVALID, CONNECTED, DUPLICATES)}


def wait_shown(running, centre=CENTRE, limit=25, **wanted):
    """Until each of them shows these figures."""
    names = {"received": RECEIVED, "published": PUBLISHED, "invalid": INVALID,
             "connected": CONNECTED, "duplicates": DUPLICATES}
    wanted = {names[k]: v for k, v in wanted.items()}

    def is_so():
        return all({k: shown(n, centre)[k] for k in wanted} == wanted for n in running)
    wait_until(is_so, limit, lambda: f"wanted {wanted}, shown {[shown(n, centre) for n in running]}",
               pause=0.1)


def test_every_node_shows_the_figures_of_all_and_they_outlive_who_counted(nodes, node, client):
    peer = node(CENTRE)
    three = nodes(3, sources={CENTRE: {"centre_id": CENTRE, "kind": "node", "url": peer.url}})
    voice, _ = wait_holders(three)
    feed = client(peer.port, client_id="feed")

    def send(n, at):
        messages = [wnm.valid(CENTRE, number=at + i) for i in range(n)]
        feed.publish_all(messages)
        return messages
    sent = send(60, 0)
    wait_shown(three, received=60, published=60, invalid=0, connected=1, duplicates=0)
    feed.publish_all(sent[:20])         # published before
    feed.publish(wnm.Message(wnm.topic_of(CENTRE), b"{}"))
    wait_shown(three, received=81, published=60, invalid=1, connected=1, duplicates=20)

    def standby():
        return sorted(n.metric("isobar_standby_received_total", centre_id=CENTRE) for n in three)
    wait_until(lambda: standby() == [0, 0, 81], what=lambda: f"the second holder's: {standby()}")
    assert voice.metric("isobar_standby_received_total", centre_id=CENTRE) == 0

    voice.kill()                        # what it counted stays counted
    others = [n for n in three if n is not voice]
    wait_shown(others, received=81, published=60, invalid=1, connected=1, duplicates=20)
    wait_holders(others)
    sent += send(40, 60)
    wait_shown(others, received=121, published=100, invalid=1, connected=1, duplicates=20)
    voice.start()                       # and is not counted again
    wait_shown(three, received=121, published=100, invalid=1, connected=1, duplicates=20)
    wait_holders(three)
    send(10, 100)
    wait_shown(three, received=131, published=110, duplicates=20)
    for one in three:                   # a whole restart of everything
        one.stop()
    for one in three:
        one.start()
    wait_shown(three, received=131, published=110, invalid=1, connected=1, duplicates=20)


def test_the_last_sums_stay_while_redis_is_out_of_reach(nodes, node, client, empty):
    peer = node(CENTRE)
    two = nodes(2, sources={CENTRE: {"centre_id": CENTRE, "kind": "node", "url": peer.url}})
    wait_holders(two)
    client(peer.port, client_id="feed").publish_all([wnm.valid(CENTRE, number=i) for i in range(30)])
    wait_shown(two, received=30, published=30, connected=1)
    for instance in empty.nodes:
        instance.process.signal(signal.SIGSTOP)
    try:
        for broker in two:
            broker.wait_degraded("Redis")
        wait_shown(two, received=30, published=30, connected=1)
    finally:
        for instance in empty.nodes:
            instance.process.signal(signal.SIGCONT)
    for broker in two:
        broker.wait_degraded("")
    wait_shown(two, received=30, published=30, connected=1)


# --- orders ------------------------------------------------------------------------------------------

def test_the_status_of_each_node_names_all(nodes):
    two = nodes(2)

    def seen(broker):
        cluster = broker.get_json("/api/v1/status")["cluster"]
        return cluster["node"], [(n["name"], n["alive"], n["draining"], n["roles"]) for n in cluster["nodes"]]
    every = ["sources", "subscribers"]
    for broker in two:
        wait_until(lambda broker=broker: seen(broker) == (broker.name, [
            ("node-1", True, False, every), ("node-2", True, False, every)]), 10, lambda: f"{seen(broker)}")
        broker.wait_metric("isobar_cluster_nodes", 2, state="alive")
    two[1].kill()
    two[0].wait_metric("isobar_cluster_nodes", 1, state="dead")


def order(broker, *words, status=0, text=None):
    result = isobar(*words[:2], "-c", broker.path, *words[2:], text=text)
    assert result.returncode == status, result
    return result


def names(broker):
    return {s["name"] for s in broker.get_json("/api/v1/sources")["sources"]}


def test_a_source_changed_on_one_node_is_changed_on_all_and_on_one_that_was_away(nodes, node):
    first, second, away = three = nodes(3)
    peers = {centre: node(centre) for centre in ("de-dwd", "fr-meteofrance")}
    order(first, "source", "add", "de-dwd", "--url", peers["de-dwd"].url)
    wait_until(lambda: all("de-dwd" in names(n) for n in three), 10)
    wait_holders(three)
    away.process.wait_log(r'cli operator order=file what="source/de-dwd" by="node-1: .*uid=')

    away.kill()
    order(second, "source", "add", "fr-meteofrance", "--url", peers["fr-meteofrance"].url)
    order(first, "source", "remove", "de-dwd")
    wait_until(lambda: all(names(n) == {"fr-meteofrance"} for n in (first, second)), 10)
    away.start()        # brings nothing back, and gets what is new
    wait_until(lambda: all(names(n) == {"fr-meteofrance"} for n in three), 10,
               lambda: f"sources: {[names(n) for n in three]}")
    order(away, "source", "disable", "fr-meteofrance")
    wait_until(lambda: not any(s["enabled"] for n in three
                               for s in n.get_json("/api/v1/sources")["sources"]), 10)


def test_a_file_changed_by_hand_is_shared_and_is_the_last_word_about_it(nodes, node):
    first, second, late = nodes(3)
    late.kill()
    url = node("de-dwd").url
    order(first, "source", "add", "de-dwd", "--url", url)
    wait_until(lambda: names(second) == {"de-dwd"}, 10)
    order(first, "source", "remove", "de-dwd")
    wait_until(lambda: not names(first) | names(second), 10)
    for broker in (first, late):
        with open(os.path.join(broker.folder, "sources.d", "de-dwd.yaml"), "w", encoding="utf-8") as file:
            file.write(f"centre_id: de-dwd\nurl: {url}\n")
    order(first, "source", "share", "de-dwd")
    wait_until(lambda: names(first) & names(second) == {"de-dwd"}, 10)
    late.start()        # the removal that it missed does not count any more
    wait_until(lambda: names(late) == {"de-dwd"}, 10)
    late.process.wait_log(r'cli operator order=file what="source/de-dwd"')
    assert names(late) == {"de-dwd"}

    os.remove(os.path.join(second.folder, "sources.d", "de-dwd.yaml"))
    order(second, "source", "share", "de-dwd")
    wait_until(lambda: not names(first) | names(second) | names(late), 10)
    second.kill()
    order(second, "source", "share", "de-dwd", status=3)
    order(first, "source", "share", "../x", status=2)


def test_nodes_that_have_one_folder_together_all_take_in_what_changes_in_it(nodes, node):
    first, second = nodes(2)
    folders = [os.path.join(broker.folder, "sources.d") for broker in (first, second)]
    os.makedirs(folders[0], exist_ok=True)
    if os.path.isdir(folders[1]):
        os.rmdir(folders[1])
    os.symlink(*folders)
    order(first, "source", "add", "de-dwd", "--url", node("de-dwd").url)
    wait_until(lambda: names(first) & names(second) == {"de-dwd"}, 10)
    order(second, "source", "remove", "de-dwd")
    wait_until(lambda: not names(first) | names(second), 10)


def test_accounts_kicks_and_bans_hold_on_every_node(nodes, client):
    first, second = nodes(2)
    with open(os.path.join(first.folder, "accounts.yaml"), "w", encoding="utf-8") as file:
        file.write('- user: everyone\n  password: everyone\n  read: ["#"]\n')
    order(first, "account", "add", "ops", "--admin", "--password-file", "-", text="s3cret-of-ops\n")
    second.process.wait_log(r'operator order=file what="accounts"')
    second.process.wait_log(r"cli reloaded")
    on_second = client(second.port, user="ops", password="s3cret-of-ops", client_id="noisy")
    order(first, "client", "kick", "noisy", status=1)       # none was here
    on_second.wait_disconnected()
    order(first, "client", "ban", "noisy", "--why", "test")
    second.process.wait_log(r'operator order=ban what="?noisy"? .*by="?node-1: ')
    order(second, "client", "unban", "noisy")
    first.process.wait_log(r"operator order=unban what=\"?noisy")
    order(first, "client", "unban", "noisy", status=1)      # it is not


def test_what_is_no_order_is_dropped_and_said(nodes, empty):
    one, = nodes(1)
    put = empty.master_of("{isobar}:orders").command
    rows = ['{"by":"x","node":"y","order":{"order":"file","name":"source/../x","text":"a"}}',
            '{"by":"x","node":"y","order":{"order":"reload"}}', "{"]
    for i, text in enumerate(rows, start=1):
        mark = one.process.mark()
        put("hset", "{isobar}:orders", "", str(i), f"f{i}", f"{i} z/1 {text}")
        one.process.wait_log(r"cli order_refused", since=mark)
    put("hset", "{isobar}:orders", "", "4", "f4", "no number")
    order(one, "source", "list")
