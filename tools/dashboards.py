#!/usr/bin/python3
"""What the dashboards in deploy/grafana/dashboards show; how is grafana.py's.

    tools/dashboards.py            writes them
    tools/dashboards.py --check    fails when a file there is not what this makes
"""
import json
import pathlib
import sys

sys.dont_write_bytecode = True
from grafana import (GREEN_AT_ONE, RED_AT_ONE, YES_NO, column, dashboard,  # noqa: E402
                     datasource_variable, graph, label_variable, stat, table, timeline)

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "deploy/grafana/dashboards"
NODE = '{instance=~"$instance"}'
CENTRE = '{centre_id="$centre_id"}'
INSTANCE = label_variable("instance", "Node", "label_values(isobar_ready, instance)")
TO_CENTRE = "/d/isobar-centre?var-centre_id=${__value.raw}"


def rate(metric, labels=NODE, by=""):
    """A counter's rate, summed over nodes: each counts what it did itself."""
    return f"sum{f' by ({by}) ' if by else ' '}(rate({metric}{labels}[$__rate_interval]))"


def cluster_rate(metric, labels=NODE, by="", over="rate", window="$__rate_interval"):
    """Of the WIS2 counters and duplicates every node of a cluster shows the cluster's: the largest, not the sum."""
    inner = f"max by (centre_id, report_by) ({over}({metric}{labels}[{window}]))"
    return f"sum{f' by ({by}) ' if by else ' '}({inner})"


def quantile(share, metric, labels=NODE, by=""):
    return (f"histogram_quantile({share}, sum by (le{', ' + by if by else ''}) "
            f"(rate({metric}_bucket{labels}[$__rate_interval])))")


def over(edge):
    """Sessions behind by more records than that edge of a bucket."""
    buckets = (f'sum(isobar_lag_messages_bucket{{instance=~"$instance", le="{le}"}})' for le in ("+Inf", edge))
    return " - ".join(buckets)


INVALID = {
    "topic": "wmo_wis2_gb_messages_invalid_topic_total",
    "format": "wmo_wis2_gb_messages_invalid_format_total",
    "metadata": "wmo_wis2_gb_messages_no_metadata_total",
}
RECEIVED = "wmo_wis2_gb_messages_received_total"
PUBLISHED = "wmo_wis2_gb_messages_published_total"
LAST = "isobar_source_last_message_timestamp_seconds"

OVERVIEW = dashboard(
    "isobar-overview", "Isobar: overview", "A Global Broker at a glance: is it well, what comes in, what goes out.",
    [datasource_variable(), INSTANCE], [
        ("Now", 4, [
            stat("Nodes ready", f"sum(isobar_ready{NODE})", thresholds=GREEN_AT_ONE, width=3,
                 help_text="/readyz answers 200"),
            stat("Nodes degraded", f"sum(isobar_degraded{NODE})", thresholds=RED_AT_ONE, width=3,
                 help_text="Subscribers are served, but not everything is taken in"),
            stat("Sources connected", f"sum(isobar_source_connected{NODE})", width=3),
            stat("Sources disconnected", f"count(isobar_source_connected{NODE} == 0) or vector(0)",
                 thresholds=RED_AT_ONE, width=3),
            stat("Published", cluster_rate(PUBLISHED), "mps", width=3, help_text="Messages a second, each once"),
            stat("Delivered", rate("isobar_delivered_total"), "mps", width=3),
            stat("Clients", f"sum(isobar_connections{NODE})", width=3),
            stat("Alerts", 'count(ALERTS{alertstate="firing"}) or vector(0)', thresholds=RED_AT_ONE, width=3),
        ]),
        ("Alerts", 6, [
            table("Firing", {"alertname": "alert", "severity": "severity", "instance": "node",
                             "centre_id": "centre", "source": "source", "reason": "reason", "rule": "rule"},
                  [column("firing", 'sum by (alertname, severity, instance, centre_id, source, reason, rule) '
                                    '(ALERTS{alertstate="firing"})')],
                  help_text="What each means and what to do: the runbook in docs/operating.md"),
        ]),
        ("Messages", 8, [
            graph("In", {"received": cluster_rate(RECEIVED), "published": cluster_rate(PUBLISHED),
                         "repeats": rate("isobar_repeats_total")}, "mps",
                  "Received counts every copy; published and repeats are what became of the valid ones"),
            graph("Rejected, by rule", {"{{rule}}": rate("isobar_rejected_total", by="rule")}, "mps",
                  "Discarded or let through; the rules are explained in docs/rules.md", stack=True),
            graph("Out", {"delivered": rate("isobar_delivered_total"),
                          "sent again": rate("isobar_resent_total"),
                          "dropped": rate("isobar_dropped_total")}, "mps"),
            graph("Received, the ten busiest centres", {
                "{{centre_id}}": f"topk(10, {cluster_rate(RECEIVED, by='centre_id')})"}, "mps", width=12),
            graph("Bytes", {"from sources": rate("isobar_source_bytes_total"),
                            "to clients": rate("isobar_delivered_bytes_total")}, "Bps", width=12),
        ]),
        ("Sources", 10, [
            table("Sources", {"centre_id": "centre", "source": "source", "kind": "kind"}, [
                column("connected", f"max by (centre_id, source, kind) (isobar_source_connected{NODE})",
                       mappings=YES_NO),
                column("silent for", f"min by (centre_id, source, kind) (time() - ({LAST}{NODE} > 0))", "s"),
                column("unacknowledged",
                       f"sum by (centre_id, source, kind) (isobar_source_unacknowledged{NODE})"),
                column("paused", f"max by (centre_id, source, kind) (isobar_source_paused{NODE})",
                       thresholds=RED_AT_ONE),
            ], help_text="A source that has never sent has no time in the second column",
                link=("centre", TO_CENTRE), sort="silent for"),
        ]),
        ("Delay", 8, [
            graph("From pubtime to receipt", {
                "half below": quantile(0.5, "isobar_publication_delay_seconds"),
                "95 % below": quantile(0.95, "isobar_publication_delay_seconds")}, "s",
                "What the centres and the way from them take", width=12),
            graph("From receipt to live subscribers", {
                "half below": quantile(0.5, "isobar_delivery_seconds"),
                "99 % below": quantile(0.99, "isobar_delivery_seconds")}, "s",
                "What Isobar takes", width=12),
        ]),
        ("Journal and disk", 8, [
            graph("How far back", {
                "{{instance}} oldest message": f"isobar_journal_oldest_seconds{NODE}",
                "{{instance}} at this rate": f"isobar_journal_reach_seconds{NODE}",
                "{{instance}} journal.keep": f"isobar_journal_keep_seconds{NODE}"}, "s"),
            graph("Disk", {"{{instance}} free": f"isobar_disk_free_bytes{NODE}",
                           "{{instance}} journal": f"isobar_journal_bytes{NODE} + isobar_journal_index_bytes{NODE}"},
                  "bytes"),
            graph("One sync", {"{{instance}}": rate("isobar_sync_seconds_sum", by="instance") + " / "
                               + rate("isobar_sync_seconds_count", by="instance")}, "s"),
            graph("Held", {"{{instance}}": rate("isobar_hold_seconds", by="instance")}, "percentunit",
                  "Share of the time in which sources were held because nothing could be taken in", max=1),
            graph("Antiloop", {"{{instance}} reaches back": f"isobar_antiloop_span_seconds{NODE}",
                               "{{instance}} antiloop.window": f"isobar_antiloop_window_seconds{NODE}"}, "s"),
            graph("Discovery metadata, age of the list", {
                "{{instance}}": f"isobar_catalogue_age_seconds{NODE}"}, "s",
                "After 48 hours everything passes"),
        ]),
        ("Process", 8, [
            graph("Processor", {"{{instance}}": rate("process_cpu_seconds_total",
                                                     '{job="isobar", instance=~"$instance"}', by="instance")},
                  "short", "Cores in use"),
            graph("Memory", {"{{instance}} without mapped files": f"isobar_anonymous_memory_bytes{NODE}"}, "bytes"),
            graph("Log", {"{{instance}} {{level}}": rate("isobar_log_lines_total", by="instance, level")}, "short",
                  "Lines a second of level warn and error"),
            table("Nodes", {"instance": "node", "version": "version", "topic_hierarchy": "topic hierarchy"}, [
                column("up for", f"(time() - max by (instance) (process_start_time_seconds{NODE})) * on (instance) "
                                 f"group_left (version, topic_hierarchy) isobar_build_info{NODE}", "s"),
                column("configuration read",
                       f"max by (instance) (isobar_reload_timestamp_seconds{NODE}) * 1000", "dateTimeAsIso"),
                column("reload taken", f"max by (instance) (isobar_reload_successful{NODE})", mappings=YES_NO),
                column("clock differs by", f"max by (instance) (isobar_clock_seconds{NODE} - "
                                           f"timestamp(isobar_clock_seconds{NODE}))", "s"),
            ], width=14),
            table("Certificates", {"instance": "node", "listener": "listener", "file": "file"}, [
                column("ends in", f"min by (instance, listener, file) (isobar_certificate_expiry_seconds{NODE})",
                       "s", thresholds=((None, "red"), (7 * 86400, "orange"), (30 * 86400, "green"))),
                column("self-signed", f"max by (instance, listener) (isobar_tls_self_signed{NODE})",
                       thresholds=RED_AT_ONE),
            ], width=10),
        ]),
    ])

CENTRE_BOARD = dashboard(
    "isobar-centre", "Isobar: one centre", "What one WIS2 Node, cache or Global Broker sends, and what becomes of it.",
    [datasource_variable(),
     label_variable("centre_id", "Centre", "label_values(wmo_wis2_gb_connected_flag, centre_id)", everything=False)], [
        ("Now", 4, [
            stat("Connected", f"max(wmo_wis2_gb_connected_flag{CENTRE})", thresholds=GREEN_AT_ONE, mappings=YES_NO),
            stat("Silent for", f"time() - max(wmo_wis2_gb_last_message_timestamp_seconds{CENTRE} > 0)", "s"),
            stat("Received", cluster_rate(RECEIVED, CENTRE), "mps"),
            stat("Published", cluster_rate(PUBLISHED, CENTRE), "mps"),
            stat("Invalid, last hour", " + ".join(cluster_rate(m, CENTRE, over="increase", window="1h") for m in INVALID.values()),
                 thresholds=RED_AT_ONE),
            stat("Connected again, last day", f"sum(increase(isobar_source_connects_total{CENTRE}[1d]))"),
        ]),
        ("Messages", 8, [
            graph("What becomes of them", {
                "received": cluster_rate(RECEIVED, CENTRE),
                "published": cluster_rate(PUBLISHED, CENTRE),
                "published before": cluster_rate("isobar_duplicates_total", CENTRE)}, "mps", width=12),
            graph("Invalid, by check", {name: cluster_rate(metric, CENTRE) for name, metric in INVALID.items()},
                  "mps", stack=True, width=12),
            graph("Rejected, by rule", {"{{rule}}": rate("isobar_rejected_total", CENTRE, by="rule")}, "mps",
                  "isobar verify and docs/rules.md explain them", stack=True, width=12),
            graph("Who brought its messages first", {
                "{{source}}": rate("isobar_first_total", CENTRE, by="source")}, "mps",
                "A node that is never first for its own centre has a slow connection", stack=True, width=12),
        ]),
        ("Time", 8, [
            graph("From pubtime to receipt", {
                "half below": quantile(0.5, "isobar_publication_delay_seconds", CENTRE),
                "95 % below": quantile(0.95, "isobar_publication_delay_seconds", CENTRE),
                "99 % below": quantile(0.99, "isobar_publication_delay_seconds", CENTRE)}, "s", width=12),
            graph("Silence of its sources", {
                "{{source}}": f"min by (source) (time() - ({LAST}{CENTRE} > 0))"}, "s", width=12),
        ]),
        ("Sources", 6, [
            timeline("Connected", f"max by (source) (isobar_source_connected{CENTRE})", "{{source}}"),
            graph("Unacknowledged", {"{{source}}": f"sum by (source) (isobar_source_unacknowledged{CENTRE})"}),
            graph("Paused", {"{{source}}": f"max by (source) (isobar_source_paused{CENTRE})"}, max=1,
                  help_text="1: nothing is read: the journal takes nothing, or its rate is used up"),
            graph("Bytes and oversized packets", {
                "bytes": rate("isobar_source_bytes_total", CENTRE),
                "oversized packets": rate("isobar_oversized_total", CENTRE)}, "Bps"),
        ]),
    ])

SUBSCRIBERS = dashboard(
    "isobar-subscribers", "Isobar: subscribers", "Who reads, how fast, and who is about to lose something.",
    [datasource_variable(), INSTANCE], [
        ("Now", 4, [
            stat("Connected", f"sum(isobar_connections{NODE})"),
            stat("Of those allowed", f"max(isobar_connections{NODE} / isobar_connections_limit{NODE})", "percentunit",
                 thresholds=((None, "green"), (0.7, "orange"), (0.9, "red"))),
            stat("Sessions", f"sum(isobar_sessions{NODE})"),
            stat("Subscriptions", f"sum(isobar_subscriptions{NODE})"),
            stat("Furthest behind", f"max(isobar_lag_most_seconds{NODE})", "s",
                 thresholds=((None, "green"), (600, "orange"), (3600, "red"))),
            stat("Lost, last day", 'sum(increase(isobar_dropped_total{instance=~"$instance", '
                 'reason=~"backlog|removed"}[1d]))', thresholds=RED_AT_ONE,
                 help_text="Wanted, and gone before they could be delivered"),
        ]),
        ("Delivery", 8, [
            graph("Messages", {"delivered": rate("isobar_delivered_total"),
                               "acknowledged": rate("isobar_acknowledged_total"),
                               "sent again": rate("isobar_resent_total"),
                               "over HTTP": rate("isobar_http_messages_total")}, "mps"),
            graph("Bytes", {"{{instance}}": rate("isobar_delivered_bytes_total", by="instance")}, "Bps"),
            graph("From receipt to hand-over, live sessions", {
                "half below": quantile(0.5, "isobar_delivery_seconds"),
                "95 % below": quantile(0.95, "isobar_delivery_seconds"),
                "99 % below": quantile(0.99, "isobar_delivery_seconds")}, "s"),
        ]),
        ("Who is behind", 8, [
            graph("Furthest behind, and where the journal ends", {
                "{{instance}} furthest behind": f"isobar_lag_most_seconds{NODE}",
                "{{instance}} oldest message": f"isobar_journal_oldest_seconds{NODE}"}, "s",
                "Where the lines meet, messages are lost"),
            graph("Sessions", {"connected": f"sum(isobar_sessions{NODE} - isobar_sessions_offline{NODE})",
                               "offline": f"sum(isobar_sessions_offline{NODE})",
                               "behind": f"sum(isobar_sessions_behind{NODE})"}),
            graph("Sessions by how far they are behind", {
                "over 1 000 messages": over("1024"), "over 33 000": over("32768"),
                "over a million": over("1048576")}),
            graph("Wanted and not delivered", {"{{reason}}": rate("isobar_dropped_total", by="reason")}, "mps",
                  stack=True),
            graph("Removed before a session got there", {
                "{{instance}}": rate("isobar_skipped_records_total", by="instance")}, "mps"),
            graph("Groups of shared subscriptions", {"{{instance}}": f"isobar_shared_groups{NODE}"}),
        ]),
        ("Connections", 8, [
            graph("Connected", {"{{instance}}": f"isobar_connections{NODE}"}),
            graph("Accepted", {"{{instance}}": rate("isobar_connects_total", by="instance")}, "ops",
                  "Connections a second"),
            graph("Refused, by reason", {"{{reason}}": rate("isobar_connects_refused_total", by="reason")}, "ops",
                  stack=True),
            graph("Closed at listeners for load balancers, by reason", {
                "{{reason}}": rate("isobar_proxy_refused_total", by="reason")}, "ops", stack=True),
        ]),
        ("Brokers that are fed", 8, [
            timeline("Connected", f"max by (target) (isobar_publish_connected{NODE})", "{{target}}"),
            graph("Messages they have taken", {
                "{{target}}": rate("isobar_publish_acknowledged_total", by="target")}, "mps"),
            graph("Behind", {"{{target}}": f"max by (target) (isobar_publish_lag_seconds{NODE})"}, "s"),
            graph("Not taken", {"{{target}} refused": rate("isobar_publish_refused_total", by="target"),
                                "{{target}} lost": rate("isobar_publish_lost_total", by="target"),
                                "{{target}} later": rate("isobar_publish_delayed_total", by="target")}, "mps"),
        ]),
        ("What clients publish", 8, [
            graph("Messages", {"received": rate("isobar_client_publishes_total"),
                               "refused": rate("isobar_client_publishes_refused_total")}, "mps"),
            graph("Retained", {"{{instance}}": f"isobar_retained_messages{NODE}"}),
            graph("Retained, bytes", {"{{instance}}": f"isobar_retained_bytes{NODE}"}, "bytes"),
        ]),
    ])

CLUSTER = dashboard(
    "isobar-cluster", "Isobar: cluster", "The nodes of one Global Broker, and the Redis Cluster they share.",
    [datasource_variable(), label_variable("instance", "Node", "label_values(isobar_cluster_state, instance)")], [
        ("Now", 4, [
            stat("Nodes that take messages in", f'sum(isobar_cluster_state{{instance=~"$instance", state="open"}})',
                 thresholds=GREEN_AT_ONE, help_text="Claimed in Redis as they come"),
            stat("Nodes without Redis", 'sum(isobar_cluster_state{instance=~"$instance", state=~"holding|spooling"})',
                 thresholds=RED_AT_ONE),
            stat("Shards with fewer replicas", f"max(isobar_redis_short_shards{NODE})", thresholds=RED_AT_ONE,
                 help_text="Of 16: they count with fewer replicas than cluster.acknowledge"),
            stat("Behind the shared log", f"max(isobar_follow_lag_seconds{NODE})", "s",
                 thresholds=((None, "green"), (2, "orange"), (10, "red"))),
            stat("In spools", f"sum(isobar_spool_messages{NODE})", thresholds=RED_AT_ONE,
                 help_text="Acknowledged, on a node's disk, not in Redis yet"),
            stat("Clients", f"sum(isobar_connections{NODE})"),
        ]),
        ("Nodes", 6, [
            timeline("Takes messages in", 'isobar_cluster_state{instance=~"$instance", state="open"}',
                     "{{instance}}", "Open: not holding, spooling or draining a spool"),
            graph("Published", {"{{instance}}": rate("isobar_committed_total", by="instance")}, "mps",
                  "By the node whose claim was the first"),
            graph("Repeats", {"{{instance}}": rate("isobar_repeats_total", by="instance")}, "mps"),
            graph("Delivered", {"{{instance}}": rate("isobar_delivered_total", by="instance")}, "mps"),
        ]),
        ("Claims", 8, [
            graph("Messages answered by the shared log", {
                "{{instance}}": rate("isobar_claims_total", by="instance")}, "mps"),
            graph("Calls of the script", {"calls": rate("isobar_claim_calls_total"),
                                          "made again": rate("isobar_claim_calls_repeated_total")}, "ops",
                  "Made again: too few replicas had them, or Redis refused them"),
            graph("Oldest call under way", {"{{instance}}": f"isobar_claim_waiting_seconds{NODE}"}, "s"),
            graph("Not answered yet", {"{{instance}}": f"isobar_claim_waiting_bytes{NODE}"}, "bytes",
                  "At 32 MiB no more is taken", width=12),
            graph("Sources held", {"{{instance}}": rate("isobar_hold_seconds", by="instance")}, "percentunit",
                  "Share of the time", max=1, width=12),
        ]),
        ("Shared log", 8, [
            graph("Read from it", {"{{instance}}": rate("isobar_followed_total", by="instance")}, "mps"),
            graph("Not in the node's journal yet", {
                "{{instance}}": f"isobar_follow_lag_messages{NODE}"}),
            graph("Age of the oldest of these", {"{{instance}}": f"isobar_follow_lag_seconds{NODE}"}, "s"),
            graph("Missed", {"{{instance}}": rate("isobar_follow_missed_total", by="instance")}, "mps",
                  "Gone from the shared log before the node had read them: it was away too long"),
            graph("In the spool", {"{{instance}}": f"isobar_spool_bytes{NODE}",
                                   "{{instance}} limit": f"isobar_spool_limit_bytes{NODE}"}, "bytes"),
            graph("Spooled, and escaped", {"spooled": rate("isobar_spooled_total"),
                                           "published twice": rate("isobar_escaped_total")}, "mps"),
        ]),
        ("Redis", 8, [
            graph("Connections", {"{{instance}}": f"isobar_redis_connections{NODE}"}),
            graph("Connections ended", {
                "{{instance}}": rate("isobar_redis_connections_lost_total", by="instance")}, "ops"),
            graph("Slots found elsewhere", {"{{instance}}": rate("isobar_redis_moved_total", by="instance")}, "ops"),
        ]),
    ])

ALL = {"overview": OVERVIEW, "centre": CENTRE_BOARD, "subscribers": SUBSCRIBERS, "cluster": CLUSTER}


def main(arguments):
    texts = {FOLDER / f"{name}.json": json.dumps(made, indent=1, ensure_ascii=False) + "\n"
             for name, made in ALL.items()}
    if "--check" in arguments:
        there = {path: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.json")}
        if there == texts:
            return 0
        print("deploy/grafana/dashboards is not what tools/dashboards.py makes: run it")
        return 1
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
